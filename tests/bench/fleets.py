# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets for the bench: twenty local hosts that really run, and thousands that are only enumerated."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import typing as t
from pathlib import Path

import stores
import yaml
from commands import PASSPHRASE, ROOT, environment

FLEET: t.Final = ROOT / "tests" / "fleet" / "fleet.py"

# ---------------------------------------------------------------- twenty hosts that run

#: The options that each stage needs, as tests/fleet/README.md describes them.
_LISTENER: t.Final = {"section": "listener.{listener}"}
_PEER: t.Final = {"section": "peer.{server}.{server_host}"}
_STAGES: t.Final = {
    "permit": [
        {**_LISTENER, "key": "certificate", "value": "{fullchain}"},
        {**_LISTENER, "key": "key", "value": "{key}"},
        {**_LISTENER, "key": "tls_port", "value": "{secure_port}"},
    ],
    "enforce": [{**_LISTENER, "key": "port", "state": "absent"}],
    "connect": [
        {**_PEER, "key": "port", "value": "{secure_port}"},
        {**_PEER, "key": "name", "value": "{dial}"},
        {**_PEER, "key": "trust", "value": "{trust}"},
        {**_PEER, "key": "tls", "value": "yes"},
    ],
    "verify": [{**_PEER, "key": "verify", "value": "yes"}],
}


def local_fleet(folder: Path, *, hosts: int = 20) -> Path:
    """Return a folder with a fleet of so many local hosts: one half serves, and each of the other dials one of them.

    Every host is a loopback address and a folder. Each client holds one session, and all pairs are of one wave. The
    inventory to use is `inventory`, which `running` makes of `source`, bound to the folder.
    """
    names = ["h%02d" % number for number in range(1, hosts + 1)]
    servers = {"service%02d" % number: host for number, host in enumerate(names[: hosts // 2], 1)}
    clients = {"client%02d" % number: host for number, host in enumerate(names[hosts // 2 :], 1)}
    listeners = {"main": {"port": 12020, "secure_port": 12021, "protocol": "line"}}
    source = folder / "source"
    (source / "group_vars").mkdir(parents=True)
    local = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "ansible_pipelining": True,
    }
    _write(source / "hosts.yml", {"all": {"vars": local, "hosts": {name: {} for name in names}}})
    model = {
        "plugin": "connsec.tls.connections",
        "hosts": {name: {"os": "linux", "addresses": ["127.81.0.%d" % (10 + at)]} for at, name in enumerate(names)},
        "components": {
            **{
                name: {"kind": "pem_service", "hosts": [host], "listeners": listeners} for name, host in servers.items()
            },
            **{name: {"kind": "pem_service", "hosts": [host]} for name, host in clients.items()},
        },
        "connections": [
            {"client": client, "server": server + ".main"} for client, server in zip(clients, servers, strict=True)
        ],
    }
    _write(source / "tls_connections.yml", model)
    variables = {
        "tls_directory": "{{ fleet_host }}/connsec",
        "tls_store": "{{ fleet_root }}/store",
        "tls_store_passphrase": PASSPHRASE,
        "tls_watch": 0.3,
        "tls_soak": 0,
        "tls_settings": {
            **{name: _settings(name, "permit", "enforce") for name in servers},
            **{name: _settings(name, "connect", "verify") for name in clients},
        },
        "fleet_host": "{{ fleet_root }}/hosts/{{ inventory_hostname }}",
        "fleet_root": "",  # these two are bound to their place by tests/fleet
        "fleet_programs": "",
    }
    _write(source / "group_vars" / "all.yml", variables)
    return folder


def _settings(component: str, *stages: str) -> dict[str, t.Any]:
    """Return how a component is configured, tested, reloaded and looked at."""
    home = "{{ fleet_host }}/%s/" % component
    test = ["{{ ansible_playbook_python }}", "{{ fleet_programs }}/component.py", "--check", home + "options.ini"]
    return {
        "config": home + "options.ini",
        "test": test,
        "process": {"pid_file": home + "component.pid"},
        "reload": {"signal": "HUP", "pid_file": home + "component.pid"},
        "sessions": {"file": home + "sessions.jsonl"},
        **{stage: _STAGES[stage] for stage in stages},
    }


@contextlib.contextmanager
def running(folder: Path) -> t.Iterator[None]:
    """Start a local fleet's programs, wait until every client was answered, and stop them at the end."""
    try:
        _fleet("up", folder, "--inventory", str(folder / "source"))
        yield
    finally:
        _fleet("down", folder)


def _fleet(verb: str, folder: Path, *more: str) -> None:
    """Run the fleets' own program, which knows its processes by number and start."""
    subprocess.run(
        [sys.executable, str(FLEET), verb, "--root", str(folder), *more],
        env=environment(),
        check=True,
        stdout=subprocess.DEVNULL,
    )


# ---------------------------------------------------------------- thousands that are enumerated

#: A kind that needs no settings of its hosts.
_FILE: t.Final = {"file": "/etc/agent/options.ini", "format": "ini"}
_KIND: t.Final = {
    "shape": "second_listener",
    "edits": "options",
    "files": [_FILE["file"]],
    "process": {"service": "agent"},
    "reload": {"service": "agent"},
    "reads": {stage: [{**_FILE, **option} for option in options] for stage, options in _STAGES.items()},
}


#: How far the pairs of each wave are: a migration that is half done.
_REACHED: t.Final = {1: "switched", 2: "switched", 3: "presented", 4: "plain", 5: "plain"}


def large_fleet(folder: Path, *, hosts: int) -> Path:
    """Return a folder with an inventory of so many hosts and three times as many pairs, half way through a migration.

    Every server's certificate is in the store, and every pair in the ledger. The main file is tiny and names the
    model's own files, as the documentation advises for large fleets.
    """
    inventory = folder / "inventory"
    model = folder / "model"
    (inventory / "group_vars").mkdir(parents=True)
    model.mkdir()
    numbers = range(hosts)
    addresses = ["10.%d.%d.%d" % (at >> 14, (at >> 7) & 127, (at & 127) + 1) for at in numbers]
    instances = ["agent%05d@h%05d" % (at, at) for at in numbers]
    ends = [(at, (at + step) % hosts) for at in numbers for step in (1, 7, 31)]
    waves = {at: 1 + at % len(_REACHED) for at in numbers}

    (inventory / "hosts.ini").write_text("".join("h%05d ansible_connection=local\n" % at for at in numbers))
    _write(inventory / "group_vars" / "all.yml", {"tls_store": str(folder / "store")})
    _write(inventory / "tls_connections.yml", {"plugin": "connsec.tls.connections", "model": ["../model/*.yml"]})
    listeners = "{main: {port: 4000, secure_port: 4001, protocol: line}}"
    rows = ["hosts:"]
    rows += ["  h%05d: {os: linux, addresses: [%s]}" % (at, addresses[at]) for at in numbers]
    rows.append("components:")
    rows += ["  agent%05d: {kind: bench, hosts: [h%05d], listeners: %s}" % (at, at, listeners) for at in numbers]
    rows.append("connections:")
    rows += ["  - {client: agent%05d, server: agent%05d.main, wave: %d}" % (*pair, waves[pair[0]]) for pair in ends]
    (model / "fleet.yml").write_text("\n".join(rows) + "\n")
    role = folder / "roles" / "kind_bench" / "vars"
    role.mkdir(parents=True)
    _write(role / "main.yml", {"tls_kind": _KIND})

    paths = stores.issue(folder / "store", dict(zip(instances, addresses, strict=True)))
    stages = {
        "%s->agent%05d.main@h%05d" % (instances[client], server, server): _REACHED[waves[client]]
        for client, server in ends
    }
    stores.record(paths, stages)
    return folder


def _write(path: Path, data: t.Any) -> None:
    path.write_text(yaml.safe_dump(data, sort_keys=False, width=1000))
