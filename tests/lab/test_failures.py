# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fails on real hosts: one that is lost, a full disk, servers that do not start or do not get their port.

The rest goes on, that connection goes back or stays, the last lines say why, the next run completes, and the one after
changes nothing.
"""

from __future__ import annotations

import re
import time
import typing as t
from pathlib import Path

import pytest
from integration.harness import ENFORCE, SWITCH, Run

from .driver import Lab
from .fleet import LabFleet

HOSTS: t.Final = "web1,web2=48m,db1,app1"
WEB: t.Final = {"web": {"port": 8080, "secure_port": 8443, "protocol": "http"}}
MODEL: t.Final = {
    "components": {
        "shop": {"kind": "nginx", "hosts": ["web1"], "listeners": WEB},
        "forum": {"kind": "nginx", "hosts": ["web2"], "listeners": WEB},
        "history": {
            "kind": "mariadb",
            "hosts": ["db1"],
            "listeners": {"sql": {"port": 3306, "protocol": "mysql"}},
        },
        "desk": {"kind": "pem_service", "hosts": ["app1"]},
    },
    "connections": [{"client": "desk", "server": name} for name in ("shop.web", "forum.web", "history.sql")],
}
CONFIG: t.Final = "/etc/nginx/sites-available/default"
SETTINGS: t.Final[dict[str, t.Any]] = {"shop": {}, "forum": {}, "history": {}}
SHOP, FORUM, HISTORY = ("desk@app1->%s" % each for each in ("shop.web@web1", "forum.web@web2", "history.sql@db1"))
DATABASE: t.Final = """\
sed -i 's/^bind-address.*/bind-address = 0.0.0.0/' /etc/mysql/mariadb.conf.d/50-server.cnf
systemctl start mariadb
mariadb -e "create user 'load'@'%'"
"""
#: Fills a disk to its last byte.
FILL: t.Final = "dd if=/dev/zero of=/var/fill bs=64k; dd if=/dev/zero of=/var/fill.last bs=1; df /var | tail -1; true"
#: A server that starts with the configuration that it has, and not with the one that it is given.
STUBBORN: t.Final = "[Service]\nExecStartPre=/bin/sh -c '! test -e /etc/mysql/mariadb.conf.d/70-tls.cnf'\n"


@pytest.fixture
def fleet(fresh_lab: Lab, tmp_path: Path) -> LabFleet:
    """Three servers that talk in the clear with one client, and on one of their hosts little can be written."""
    found = LabFleet(fresh_lab, tmp_path / "fleet", model=MODEL, settings=SETTINGS)
    for name in ("web1", "web2"):
        words = "sed -i '/listen .*::.*/d; s/listen 80 .*/listen 8080;/' %s; systemctl start nginx" % CONFIG
        fresh_lab.ssh(name, words)
    fresh_lab.ssh("db1", "bash", "-eu", given=DATABASE)
    found.work()
    return found


def must_complete(fleet: LabFleet) -> None:
    """Fail unless both ends of all pairs talk, the next run completes, and the one after changes nothing."""
    assert fleet.must_be_answered()[SHOP]["lost"] == 0
    fleet.enforced()
    fleet.unchanged()
    assert fleet.must_be_answered()[SHOP]["lost"] == 0


def must_stay(fleet: LabFleet, run: Run, pair: str, *, at: str, words: str) -> None:
    """Fail unless one pair alone failed, at this stage, and the last lines say so in these words."""
    assert fleet.stages() == {
        SHOP: ("enforced", "done"),
        FORUM: ("enforced", "done"),
        HISTORY: ("enforced", "done"),
        pair: (at, "failed"),
    }, run.last_lines
    assert re.search(r"FAILED %s\n.*%s" % (re.escape(pair), words), run.last_lines), run.last_lines


def test_a_host_that_is_lost_between_the_look_and_its_step_keeps_its_own_pair_back(fleet: LabFleet) -> None:
    process, until = fleet.start("rollout", *ENFORCE), time.monotonic() + 120
    while "round 1 of" not in fleet.log:
        assert process.poll() is None and time.monotonic() < until, fleet.log[-3000:]
        time.sleep(0.02)
    fleet.lab.pause("web2")
    run = fleet.finish(process).must_end(2)
    fleet.lab.resume("web2")
    print(run.last_lines)
    must_stay(fleet, run, FORUM, at="plain", words="gate reach: expected Ansible works on web2; seen: it is unreach")
    must_complete(fleet)


@pytest.mark.parametrize("until", ["plain", "presented"], ids=["material", "configuration"])
def test_a_full_disk_holds_back_what_would_be_written_on_it(fleet: LabFleet, until: str) -> None:
    if until == "presented":
        fleet.playbook("rollout", *SWITCH, "-e", "tls_until=presented").must_end(0)
    print(fleet.lab.ssh("web2", FILL))
    before = fleet.held("web2", CONFIG)
    run = fleet.playbook("rollout", *ENFORCE).must_end(2)
    print(run.last_lines)
    must_stay(fleet, run, FORUM, at=until, words="No space left on device")
    assert fleet.held("web2", CONFIG) == before
    fleet.lab.ssh("web2", "rm /var/fill /var/fill.last")
    must_complete(fleet)


def test_a_service_that_does_not_start_with_its_new_configuration_has_the_old_one_back(fleet: LabFleet) -> None:
    fleet.put("db1", "/etc/systemd/system/mariadb.service.d/stubborn.conf", STUBBORN)
    fleet.lab.ssh("db1", "systemctl daemon-reload")
    run = fleet.playbook("rollout", *ENFORCE).must_end(2)
    print(run.last_lines)
    must_stay(fleet, run, HISTORY, at="presented", words="mariadb")
    assert "No such file" in fleet.refuses("db1", "cat /etc/mysql/mariadb.conf.d/70-tls.cnf")
    fleet.lab.ssh("db1", "rm /etc/systemd/system/mariadb.service.d/stubborn.conf && systemctl daemon-reload")
    must_complete(fleet)


def test_a_server_whose_secure_port_somebody_else_has_stays_in_the_clear(fleet: LabFleet) -> None:
    before = fleet.held("web2", CONFIG)
    squat = "systemd-run --quiet --unit=squatter python3 -m http.server 8443"
    fleet.lab.ssh("web2", squat + "; until ss -Hltn sport = 8443 | grep -q .; do sleep 0.1; done")
    fleet.lab.ssh("web2", "systemctl is-active squatter")
    run = fleet.playbook("rollout", *ENFORCE).must_end(2)
    print(run.last_lines)
    must_stay(fleet, run, FORUM, at="presented", words="its program has not taken the new configuration")
    assert fleet.held("web2", CONFIG) == before
    fleet.lab.ssh("web2", "systemctl stop squatter")
    must_complete(fleet)
