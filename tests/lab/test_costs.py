# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs over SSH: how often it asks a host for something, counted where Ansible does."""

from __future__ import annotations

import re
import typing as t
from collections import Counter
from pathlib import Path

from integration.harness import SWITCH, Run

from .driver import Lab
from .fleet import LabFleet

HOSTS: t.Final = "web1,app1"
WEB: t.Final = {
    "web": {"port": 8080, "secure_port": 8443, "protocol": "http"},
    "api": {"port": 8081, "secure_port": 8444, "protocol": "http", "mode": "mutual"},
}
MODEL: t.Final = {
    "components": {
        "shop": {"kind": "nginx", "hosts": ["web1"], "listeners": WEB},
        "forum": {
            "kind": "nginx",
            "hosts": ["web1"],
            "listeners": {"web": {"port": 80, "secure_port": 443, "protocol": "http"}},
        },
        "desk": {"kind": "pem_service", "hosts": ["app1"]},
    },
    "connections": [{"client": "desk", "server": name} for name in ("shop.web", "shop.api", "forum.web")],
}


def round_trips(run: Run, play: str) -> Counter[str]:
    """Return how often a play asked each host for something, as -vvv shows it."""
    (text,) = re.findall(r"^PLAY \[%s\].*?(?=^PLAY )" % play, run.text, re.M | re.S)
    return Counter(re.findall(r"^<(\S+)> SSH: EXEC ", text, re.M))


def test_material_of_a_host_costs_one_round_trip_whatever_it_has(lab: Lab, tmp_path: Path) -> None:
    fleet = LabFleet(lab, tmp_path / "fleet", model=MODEL, settings={"shop": {}, "forum": {}})
    listens = "sed -i 's/listen 80 .*/listen 80; listen 8080; listen 8081;/' /etc/nginx/sites-available/default"
    lab.ssh("web1", listens + " && systemctl start nginx")
    run = fleet.playbook("rollout", "-vvv", *SWITCH, "-e", "tls_until=presented").must_end(0)
    assert fleet.lab.ssh("web1", "ls /etc/connsec").split() == ["forum", "shop"]
    assert round_trips(run, "Material") == {host.address: 1 for host in lab.hosts}
