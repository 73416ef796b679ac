# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets for the bench: twenty local hosts that really run, and thousands that are only enumerated."""

from __future__ import annotations

import json
from pathlib import Path


def large_fleet(folder: Path, *, hosts: int) -> Path:
    """Return a folder with an inventory of so many hosts and three times as many pairs.

    The main file is tiny and names the model's own files, as the documentation advises for large fleets.
    """
    inventory = folder / "inventory"
    model = folder / "model"
    (inventory / "group_vars").mkdir(parents=True)
    model.mkdir()
    names = ["h%05d" % number for number in range(hosts)]
    (inventory / "hosts.ini").write_text("".join("%s ansible_connection=local\n" % name for name in names))
    settings = {"tls_settings": {}, "tls_store": str(folder / "store"), "tls_directory": "/etc/connsec"}
    (inventory / "group_vars" / "all.yml").write_text(json.dumps(settings))
    (inventory / "tls_connections.yml").write_text("plugin: connsec.tls.connections\nmodel: ['../model/*.yml']\n")
    rows = ["hosts:"]
    rows += [
        "  %s: {os: linux, addresses: [10.%d.%d.%d]}" % (n, i >> 14, (i >> 7) & 127, (i & 127) + 1)
        for i, n in enumerate(names)
    ]
    rows.append("components:")
    rows += [
        "  agent%05d: {kind: bench, hosts: [%s], listeners: {main: {port: 4000, secure_port: 4001, protocol: line}}}"
        % (i, name)
        for i, name in enumerate(names)
    ]
    (model / "components.yml").write_text("\n".join(rows) + "\n")
    rows = ["connections:"]
    for i in range(hosts):
        for step in (1, 7, 31):
            rows.append(
                "  - {client: agent%05d, server: agent%05d.main, wave: %d}" % (i, (i + step) % hosts, 1 + i % 5)
            )
    (model / "connections.yml").write_text("\n".join(rows) + "\n")
    role = folder / "roles" / "kind_bench" / "vars"
    role.mkdir(parents=True)
    (role / "main.yml").write_text("tls_kind: {shape: second_listener}\n")
    return folder
