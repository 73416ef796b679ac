# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's contact centre: every kind at once, moved under load, and judged by programs that we did not write."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from integration import judges

from . import driver
from .centre.centre import Centre, wanted
from .conftest import NET
from .fleet import Pair
from .judges import STRANGERS, Judge

#: What every run changes on hosts that nobody touches: logs, counters, what Ansible keeps open.
_STILL: t.Final = "find /etc /opt /usr/local /var/lib/connsec -xdev -printf '%p %m %u %g %l %T@\\n' 2>/dev/null | sort"
_ALIKE: t.Final = ("/opt/load/desk", "/opt/load/agents", "/etc/mtab", "/etc/resolv.conf")
#: The first port that the collection's own looks use: from there a probe is nobody's client.
_OURS: t.Final = 61000
#: Servers that offer the groups of their library, and have no option for others: their pages say so.
_OWN_GROUPS: t.Final = ("kamailio", "rabbitmq", "redis", "tomcat")
#: Scans of suites that end in an error of sslyze itself.
_NOT_SCANNED: t.Final = ("kamailio",)
#: STARTTLS as sslyze calls it.
_STARTTLS: t.Final = {"smtp": "smtp", "postgresql": "postgres", "ldap": "ldap"}
#: In which words servers on one port refuse who does not speak TLS.
_REFUSALS: t.Final = {
    "ldap": "confidentiality required",
    "postgresql": "no encryption",
    "smtp": "Must issue a STARTTLS command first",
}
#: What sslyze does not speak.
_UNSPOKEN: t.Final = ("mysql",)


def still(centre: Centre) -> dict[str, list[str]]:
    """Return what lies on every host, with modes, owners, links and times."""
    found = {}

    def look(host: str) -> None:
        found[host] = [line for line in centre.lab.ssh(host, _STILL).splitlines() if not line.startswith(_ALIKE)]

    centre.everywhere(look)
    return found


class Members:
    """A probe of both members of the portal, every 50 ms; each has to answer on its clear or on its secure port."""

    def __init__(self, addresses: t.Sequence[str]) -> None:
        self.down_together = 0
        self.probes = 0
        self._addresses = addresses
        self._ended = threading.Event()
        self._ports = iter(range(_OURS, 65000))
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Members:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            self.probes += 1
            self.down_together += not any(self._answers(address) for address in self._addresses)

    def _answers(self, address: str) -> bool:
        return any(self._connects(address, port) for port in (8443, 8080))

    def _connects(self, address: str, port: int) -> bool:
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", next(self._ports, 0)))
            sock.settimeout(1.0)
            sock.connect((address, port))
            return True
        return False


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Centre]:
    """A centre that talked in the clear, was looked at in check mode, and was moved wave after wave."""
    driver.build(print)
    with driver.lab(NET, wanted()) as lab:
        centre = Centre(lab, tmp_path_factory.mktemp("centre") / "lab")
        centre.begin()
        before = still(centre)
        centre.playbook("rollout", "--check", "--diff", "-e", "tls_until=enforced", "-e", "tls_scope=all").must_end(0)
        assert still(centre) == before, "check mode left a trace"
        with Members([lab.host(name).address for name in ("web1", "web2")]) as members:
            centre.roll_out(print)
        assert members.probes > 100
        assert members.down_together == 0
        yield centre


def test_every_pair_is_enforced_and_no_request_is_lost_where_nothing_is_restarted(moved: Centre) -> None:
    assert set(moved.stages().values()) == {("enforced", "done")}
    assert set(moved.stages()) == {pair.id for pair in moved.pairs}
    traffic = moved.leave()
    assert {row["security"] for row in traffic} == {"tls"}
    assert {row["id"] for row in traffic if not row["answered"]} == set()
    assert {row["id"]: row["said"] for row in traffic if row["lost"] and row["permissive"]} == {}
    print({row["kind"]: row["lost"] for row in traffic if not row["permissive"]})


def test_nobody_who_asks_in_the_clear_is_answered(moved: Centre) -> None:
    judge = Judge(moved.lab, "app1", "desk")
    for host, port, protocol in sorted({(p.server_host, p.about["port"], p.about["protocol"]) for p in moved.pairs}):
        if protocol == "mysql":  # which begins with a login that depends on what the server says first
            asked = "mariadb --skip-ssl --host=%s --user=load --execute='select 1' 2>&1 || true" % host
            assert "Access denied" in moved.lab.ssh("app1", asked)
        elif protocol in _REFUSALS:
            assert _REFUSALS[protocol] in judge.in_the_clear(host, port, protocol)
        else:
            assert "Connection refused" in judge.in_the_clear(host, port, protocol)


def test_sslyze_finds_nothing_that_the_profile_does_not_allow(moved: Centre, tmp_path: Path) -> None:
    if "sslyze" in judges.missing():
        pytest.skip("LEFT OUT: sslyze is not installed")
    client = tmp_path / "client"
    client.mkdir()
    for name in ("fullchain.pem", "key.pem", "trust.pem"):
        (client / name).write_text(moved.lab.ssh("app1", "cat", "/etc/connsec/desk/current/" + name))
    listeners = {(pair.server_host, pair.about.get("secure_port", pair.about["port"])): pair for pair in moved.pairs}

    def scan(port: int, pair: Pair) -> str:
        """Return what sslyze has against a listener."""
        name, at, root = pair.server_host + ".lab.test", moved.lab.host(pair.server_host).address, client / "trust.pem"
        if pair.about.get("mode") == "mutual":
            rows = judges.sslyze_as(client, name, port, root=root, work=tmp_path, at=at)
            return "; ".join(each for each in rows if not _is_known(pair.kind, each))
        starttls = None if "secure_port" in pair.about else _STARTTLS[pair.about["protocol"]]
        said = judges.sslyze(name, port, root=root, starttls=starttls, at=at)
        reasons = set(re.findall(r"^ +\* (\w+): ", said.partition("Not compliant")[2], re.MULTILINE))
        return "" if reasons == {"tls_curves"} and pair.kind in _OWN_GROUPS else said

    with ThreadPoolExecutor(4) as pool:
        scans = {
            "%s:%d %s" % (host, port, pair.kind): pool.submit(scan, port, pair)
            for (host, port), pair in sorted(listeners.items())
            if pair.about["protocol"] not in _UNSPOKEN
        }
        faults = {name: scan.result() for name, scan in scans.items()}
    assert {name: found for name, found in faults.items() if found} == {}


def _is_known(kind: str, fault: str) -> bool:
    """Return whether a kind's page says so, or sslyze could not tell."""
    own = kind in _OWN_GROUPS and fault.startswith("curve ")
    return own or (kind in _NOT_SCANNED and "BUG_IN_SSLYZE" in fault)


def test_a_second_run_changes_nothing_and_restarts_nobody(moved: Centre) -> None:
    running, began = moved.running(), time.monotonic()
    run = moved.playbook("rollout", "-e", "tls_until=enforced", "-e", "tls_scope=all").must_end(0)
    print("nothing due: %.1f s" % (time.monotonic() - began))
    assert run.changed == 0, run.text[-3000:]
    assert moved.running() == running


def test_whoever_presents_nothing_or_something_foreign_is_refused_on_every_mutual_listener(moved: Centre) -> None:
    judge = Judge(moved.lab, "app1", "desk")
    mutual = [pair for pair in moved.pairs if pair.about.get("mode") == "mutual"]
    assert {pair.kind for pair in mutual} >= {"apache", "kamailio", "nginx", "redis", "tomcat"}
    for host, port, protocol in sorted({(p.server_host, p.about["secure_port"], p.about["protocol"]) for p in mutual}):
        where = "%s.lab.test:%d" % (host, port)
        assert judge.is_served(where, protocol, who="itself"), where
        for stranger in STRANGERS:
            assert not judge.is_served(where, protocol, who=stranger), (where, stranger)
