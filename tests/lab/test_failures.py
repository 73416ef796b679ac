# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fails on real hosts: one that is lost, a full disk, servers that do not start or do not get their port.

The rest goes on, those connections go back or stay, the last lines say why, the next run completes, and the one after
changes nothing.
"""

from __future__ import annotations

import re
import time
import typing as t
from pathlib import Path

from integration.harness import ENFORCE, SWITCH, Run

from .driver import Lab
from .fleet import LabFleet

HOSTS: t.Final = "web1,web2=48m,web3,db1,app1"
WEB: t.Final = {"web": {"port": 8080, "secure_port": 8443, "protocol": "http"}}
COMPONENTS: t.Final[dict[str, t.Any]] = {
    "shop": {"kind": "nginx", "hosts": ["web1"], "listeners": WEB},
    "forum": {"kind": "nginx", "hosts": ["web2"], "listeners": WEB},
    "wiki": {"kind": "nginx", "hosts": ["web3"], "listeners": WEB},
    "history": {"kind": "mariadb", "hosts": ["db1"], "listeners": {"sql": {"port": 3306, "protocol": "mysql"}}},
}
CONFIG: t.Final = "/etc/nginx/sites-available/default"
SHOP, FORUM, WIKI = ("desk@app1->%s" % each for each in ("shop.web@web1", "forum.web@web2", "wiki.web@web3"))
HISTORY: t.Final = "desk@app1->history.sql@db1"
DATABASE: t.Final = """\
sed -i 's/^bind-address.*/bind-address = 0.0.0.0/' /etc/mysql/mariadb.conf.d/50-server.cnf
systemctl start mariadb
mariadb -e "create user 'load'@'%'"
"""
#: Fills a disk to its last byte.
FILL: t.Final = "dd if=/dev/zero of=/var/fill bs=64k; dd if=/dev/zero of=/var/fill.last bs=1; df /var | tail -1; true"
#: A server that starts with the configuration that it has, and not with the one that it is given.
STUBBORN: t.Final = "[Service]\nExecStartPre=/bin/sh -c '! test -e /etc/mysql/mariadb.conf.d/70-tls.cnf'\n"
#: A program that somebody else runs on the port that a server is to have.
SQUAT: t.Final = """\
systemd-run --quiet --unit=squatter python3 -m http.server 8443
until ss -Hltn sport = 8443 | grep -q .; do sleep 0.1; done
systemctl is-active squatter
"""


def fleet_of(lab: Lab, root: Path, *servers: str) -> LabFleet:
    """Return servers that talk in the clear with one client; on the host of the forum little can be written."""
    components = {name: COMPONENTS[name] for name in servers}
    listeners = ["%s.%s" % (name, listener) for name in servers for listener in components[name]["listeners"]]
    model = {
        "components": {**components, "desk": {"kind": "pem_service", "hosts": ["app1"]}},
        "connections": [{"client": "desk", "server": each} for each in listeners],
    }
    fleet = LabFleet(lab, root, model=model, settings={name: {} for name in servers})
    for row in components.values():
        (host,) = row["hosts"]
        if row["kind"] == "mariadb":
            lab.ssh(host, "bash", "-eu", given=DATABASE)
        else:
            words = "sed -i '/listen .*::.*/d; s/listen 80 .*/listen 8080;/' %s; systemctl start nginx" % CONFIG
            lab.ssh(host, words)
    fleet.work()
    return fleet


def lose_in_its_first_round(fleet: LabFleet, host: str) -> Run:
    """Roll out, and pull a host's cable between the look at it and its step."""
    process, until = fleet.start("rollout", *ENFORCE), time.monotonic() + 300
    while "round 1 of" not in fleet.log:
        assert process.poll() is None and time.monotonic() < until, fleet.log[-3000:]
        time.sleep(0.02)
    fleet.lab.pause(host)
    run = fleet.finish(process)
    fleet.lab.resume(host)
    return run


def must_fail(fleet: LabFleet, run: Run, at: t.Mapping[str, str], words: t.Mapping[str, str]) -> None:
    """Fail unless these pairs alone failed, at these stages, and the last lines say so in these words."""
    print(run.must_end(2).last_lines)
    stages = fleet.stages()
    others = set(stages) - set(at)
    assert {name: stages[name] for name in at} == {name: (stage, "failed") for name, stage in at.items()}
    assert {stages[name] for name in others} == {("enforced", "done")}, run.last_lines
    for pair, said in words.items():
        assert re.search(r"FAILED %s\n.*%s" % (re.escape(pair), said), run.last_lines), run.last_lines


def must_complete(fleet: LabFleet) -> None:
    """Fail unless both ends of all pairs talk, the next run completes, and the one after changes nothing."""
    assert fleet.must_be_answered()[SHOP]["lost"] == 0
    fleet.enforced()
    fleet.unchanged()
    assert fleet.must_be_answered()[SHOP]["lost"] == 0


def test_a_lost_host_a_taken_port_and_a_service_that_does_not_start_keep_their_own_pairs_back(
    fresh_lab: Lab, tmp_path: Path
) -> None:
    lab, fleet = fresh_lab, fleet_of(fresh_lab, tmp_path / "fleet", "shop", "forum", "wiki", "history")
    lab.ssh("web3", "bash", "-eu", given=SQUAT)
    fleet.put("db1", "/etc/systemd/system/mariadb.service.d/stubborn.conf", STUBBORN)
    lab.ssh("db1", "systemctl daemon-reload")
    before = fleet.held("web3", CONFIG)

    run = lose_in_its_first_round(fleet, "web2")
    at = {FORUM: "plain", WIKI: "presented", HISTORY: "presented"}
    words = {
        FORUM: "gate reach: expected Ansible works on web2; seen: it is unreach",
        WIKI: "its program has not taken the new configuration",
        HISTORY: "mariadb",
    }
    must_fail(fleet, run, at, words)
    assert fleet.held("web3", CONFIG) == before
    assert "No such file" in fleet.refuses("db1", "cat /etc/mysql/mariadb.conf.d/70-tls.cnf")

    lab.ssh("web3", "systemctl stop squatter")
    lab.ssh("db1", "rm /etc/systemd/system/mariadb.service.d/stubborn.conf && systemctl daemon-reload")
    must_complete(fleet)


def test_a_full_disk_holds_back_what_would_be_written_on_it(fresh_lab: Lab, tmp_path: Path) -> None:
    fleet = fleet_of(fresh_lab, tmp_path / "fleet", "shop", "forum")
    before = fleet.held("web2", CONFIG)
    print(fresh_lab.ssh("web2", FILL))
    run = fleet.playbook("rollout", *ENFORCE)
    must_fail(fleet, run, {FORUM: "plain"}, {FORUM: "No space left on device"})
    fresh_lab.ssh("web2", "rm /var/fill /var/fill.last")
    fleet.must_be_answered()

    fleet.playbook("rollout", *SWITCH, "-e", "tls_until=presented").must_end(0)
    print(fresh_lab.ssh("web2", FILL))
    run = fleet.playbook("rollout", *ENFORCE)
    must_fail(fleet, run, {FORUM: "presented"}, {FORUM: "No space left on device"})
    assert fleet.held("web2", CONFIG) == before
    fresh_lab.ssh("web2", "rm /var/fill /var/fill.last")
    must_complete(fleet)
