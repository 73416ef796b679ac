# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's contact centre: every kind at once, moved under load, and judged by programs that we did not write."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import statistics
import struct
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration import judges

from . import driver
from .centre.centre import Centre, wanted
from .conftest import NET, taking, told
from .fleet import CLIENTS, Pair
from .judges import STRANGERS, Judge
from .ledger import OF_JAVA_8, must_have_an_rsa_key, must_refuse_what_is_older, sessions_over_tls

#: What every run changes on hosts that nobody touches: logs, counters, what Ansible keeps open.
_STILL: t.Final = (
    "find /etc /home /opt /root /srv /usr/local /var/lib/connsec -xdev"
    " -printf '%p %m %u %g %l %T@\\n' 2>/dev/null | sort"
)
_ALIKE: t.Final = (
    *("/opt/load/desk", "/opt/load/agents", "/opt/load/ledger ", "/opt/load/ledger/tally"),
    *("/etc/mtab", "/etc/resolv.conf"),
)
#: What a run of the whole way is told.
ALL: t.Final = ("-e", "tls_until=enforced", "-e", "tls_scope=all")
#: The material of a client, on its host.
_MATERIAL: t.Final = "/etc/connsec/desk/current/"
#: How many listeners are judged at once.
_AT_ONCE: t.Final = 4
#: Seconds between two looks at members.
_EVERY: t.Final = 0.05
#: The first port that the collection's own looks use: from there a probe is nobody's client.
_OURS: t.Final = 61000
#: Servers that offer the groups of their library, and have no option for others: their pages say so.
_OWN_GROUPS: t.Final = ("kamailio", "rabbitmq", "redis", "tomcat")
#: Scans of suites that end in an error of sslyze itself.
_NOT_SCANNED: t.Final = ("kamailio",)
#: STARTTLS as sslyze and openssl call it.
_STARTTLS: t.Final = {"ldap": "ldap", "mysql": "mysql", "postgresql": "postgres", "smtp": "smtp"}
#: In which words servers on one port refuse who does not speak TLS. MariaDB uses those for a wrong password; here it is
#: asked for an account that has none, and was let in before.
_REFUSALS: t.Final = {
    "ldap": "confidentiality required",
    "mysql": "Access denied",
    "postgresql": "no encryption",
    "smtp": "Must issue a STARTTLS command first",
}
#: What sslyze does not speak.
_UNSPOKEN: t.Final = ("mysql",)


def still(centre: Centre) -> dict[str, list[str]]:
    """Return what lies on every host, with modes, owners, links and times, and since when its services run."""
    found = {"services": sorted(" ".join(row) for row in centre.running().items())}

    def look(host: str) -> None:
        found[host] = [line for line in centre.lab.ssh(host, _STILL).splitlines() if not line.startswith(_ALIKE)]

    centre.everywhere(look)
    return found


class Members:
    """A probe of both members of the portal, every 50 ms; one has to answer on its clear or on its secure port."""

    def __init__(self, addresses: t.Sequence[str]) -> None:
        self.down_together = 0
        self.times: list[float] = []
        self._addresses = addresses
        self._ended = threading.Event()
        self._ports = itertools.cycle(range(_OURS, 65000))
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Members:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def pause(self) -> float:
        """The usual time between two probes, in seconds."""
        return statistics.median(later - earlier for earlier, later in itertools.pairwise(self.times))

    def _run(self) -> None:
        at = time.monotonic()
        while not self._ended.wait(max(0.0, at - time.monotonic())):
            self.times.append(time.monotonic())
            self.down_together += not any(self._answers(address) for address in self._addresses)
            at = max(at + _EVERY, time.monotonic())

    def _answers(self, address: str) -> bool:
        return any(self._connects(address, port) for port in (8443, 8080))

    def _connects(self, address: str, port: int) -> bool:
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # its port is used again, and must not have to wait for that
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.bind(("", next(self._ports)))
            sock.settimeout(1.0)
            sock.connect((address, port))
            return True
        return False


@dataclass(frozen=True)
class Watched:
    """What was seen while the centre moved: its hosts before and after a run in check mode, and its members."""

    before: dict[str, list[str]]
    checked: dict[str, list[str]]
    members: Members


def port_of(pair: Pair) -> int:
    """Return the port on which a pair's server speaks TLS."""
    return int(pair.about.get("secure_port", pair.about["port"]))


def listeners_of(centre: Centre) -> list[Pair]:
    """Return one pair of each listener."""
    found = {(pair.server_host, pair.about["port"]): pair for pair in centre.pairs}
    return [found[key] for key in sorted(found)]


def everyone(work: t.Callable[[Pair], t.Any], pairs: t.Sequence[Pair]) -> dict[str, t.Any]:
    """Do something for pairs, a few at a time, and return what came of it by pair; the first error is raised."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip((pair.id for pair in pairs), pool.map(work, pairs), strict=True))


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Centre]:
    """A centre whose hosts are up, and whose clients are answered in the clear."""
    driver.build(print)
    with contextlib.ExitStack() as stack:
        with taking("centre: %d hosts are booted" % len(wanted())):
            lab = stack.enter_context(driver.lab(NET, wanted()))
        found = Centre(lab, tmp_path_factory.mktemp("centre") / "lab")
        with taking("centre: servers run, and %d pairs are answered in the clear" % len(found.pairs)):
            found.begin()
        yield found


@pytest.fixture(scope="module")
def watched(centre: Centre) -> Watched:
    """Look at the centre in check mode, and move it wave after wave, while its clients ask."""
    before = still(centre)
    with taking("centre: check mode"):
        centre.playbook("rollout", "--check", "--diff", *ALL).must_end(0)
    checked = still(centre)
    with Members([centre.lab.host(name).address for name in ("web1", "web2")]) as members:
        centre.roll_out(lambda words: told("centre: " + words))
    return Watched(before, checked, members)


@pytest.fixture(scope="module")
def moved(centre: Centre, watched: Watched) -> Centre:
    """The centre when it has moved."""
    return centre


def test_check_mode_leaves_no_trace_on_any_host_and_restarts_nobody(watched: Watched) -> None:
    assert watched.checked == watched.before


def test_the_members_of_a_component_are_never_down_together(watched: Watched) -> None:
    assert watched.members.pause < 2 * _EVERY
    assert watched.members.down_together == 0


def test_every_pair_is_enforced_and_no_request_is_lost_where_nothing_is_restarted(moved: Centre) -> None:
    assert set(moved.stages().values()) == {("enforced", "done")}
    assert set(moved.stages()) == {pair.id for pair in moved.pairs}
    assert {pair.kind for pair in moved.pairs} == set(CLIENTS)
    traffic = moved.leave()
    assert {row["kind"] for row in traffic} == set(CLIENTS)
    for kind in sorted(CLIENTS):
        sent, lost = (sum(row[name] for row in traffic if row["kind"] == kind) for name in ("sent", "lost"))
        told("centre: %s lost %d of %d requests" % (kind, lost, sent))
    assert {row["security"] for row in traffic} == {"tls"}
    assert {row["id"] for row in traffic if not row["answered"]} == set()
    assert {row["id"]: row["said"] for row in traffic if row["lost"] and row["permissive"]} == {}


def test_nobody_who_asks_in_the_clear_is_answered(moved: Centre) -> None:
    judge = Judge(moved.lab, "app1", "desk")

    def answer(pair: Pair) -> str:
        host, port, protocol = pair.server_host, pair.about["port"], pair.about["protocol"]
        if protocol == "mysql":  # which begins with a login that depends on what the server says first
            return moved.lab.ssh("app1", "mariadb --skip-ssl --host=%s --user=load -e 'select 1' 2>&1 || true" % host)
        return judge.in_the_clear(host, port, protocol)

    pairs = listeners_of(moved)
    said = everyone(answer, pairs)
    expected = {pair.id: _REFUSALS.get(pair.about["protocol"], "Connection refused") for pair in pairs}
    assert {name: words for name, words in said.items() if expected[name] not in words} == {}


def test_openssl_agrees_with_every_listener_on_tls_and_on_nothing_old(moved: Centre) -> None:
    judge = Judge(moved.lab, "app1", "desk")

    def look(pair: Pair) -> None:
        about, where = pair.about, "%s.lab.test:%d" % (pair.server_host, port_of(pair))
        start = () if "secure_port" in about else ("-starttls", _STARTTLS[about["protocol"]])
        judge.must_be_on_tls(where, *start, who="itself" if about.get("mode") == "mutual" else "nobody")

    everyone(look, listeners_of(moved))


def test_the_negotiations_of_handshake_info_find_the_same(moved: Centre) -> None:
    endpoints, expected = [], {}
    for pair in listeners_of(moved):
        about, mutual = pair.about, pair.about.get("mode") == "mutual"
        row = {"address": pair.server_host + ".lab.test", "port": port_of(pair)}
        if "secure_port" not in about:
            row.update(protocol=about["protocol"], user="load", database="load")
        if mutual:
            row.update(certificate=_MATERIAL + "fullchain.pem", key=_MATERIAL + "key.pem")
        endpoints.append({**row, "id": pair.id, "trust": _MATERIAL + "trust.pem", "old_protocols": True})
        expected[pair.id] = ("tls", "mutual" if mutual else "verified")
    seen = moved.ask("app1", "handshake_info", {"endpoints": endpoints})["endpoints"]
    assert {name: (row["outcome"], row["security"]) for name, row in seen.items()} == expected
    assert {how for row in seen.values() for how in row["old_protocols"].values()} == {"refused"}
    assert {pair.about["protocol"] for pair in listeners_of(moved)} >= {"ldap", "mysql", "postgresql", "smtp"}


def test_sslyze_finds_nothing_that_the_profile_does_not_allow(moved: Centre, tmp_path: Path) -> None:
    if "sslyze" in judges.missing():
        pytest.skip("LEFT OUT: sslyze is not installed")
    client = tmp_path / "client"
    client.mkdir()
    for name in ("fullchain.pem", "key.pem", "trust.pem"):
        (client / name).write_text(moved.lab.ssh("app1", "cat", _MATERIAL + name))

    def scan(pair: Pair) -> str:
        """Return what sslyze has against a listener."""
        name, at, root = pair.server_host + ".lab.test", moved.lab.host(pair.server_host).address, client / "trust.pem"
        port = port_of(pair)
        if pair.about.get("mode") == "mutual":
            rows = judges.sslyze_as(client, name, port, root=root, work=tmp_path, at=at)
            return "; ".join(each for each in rows if not _is_known(pair.kind, each))
        starttls = None if "secure_port" in pair.about else _STARTTLS[pair.about["protocol"]]
        said = judges.sslyze(name, port, root=root, starttls=starttls, at=at)
        reasons = set(re.findall(r"^ +\* (\w+): ", said.partition("Not compliant")[2], re.MULTILINE))
        return "" if reasons == {"tls_curves"} and pair.kind in _OWN_GROUPS else said

    spoken = [pair for pair in listeners_of(moved) if pair.about["protocol"] not in _UNSPOKEN]
    assert {name: found for name, found in everyone(scan, spoken).items() if found} == {}


def _is_known(kind: str, fault: str) -> bool:
    """Return whether a kind's page says so, or sslyze could not tell."""
    own = kind in _OWN_GROUPS and fault.startswith("curve ")
    return own or (kind in _NOT_SCANNED and "BUG_IN_SSLYZE" in fault)


def test_an_old_jvm_is_served_by_what_both_ends_know(moved: Centre) -> None:
    until = time.monotonic() + 30
    while "ledger" not in (seen := sessions_over_tls(moved.lab, "db1", "load")):  # it comes back every four seconds
        assert time.monotonic() < until, seen
    protocol, suite = seen["ledger"]
    assert protocol == "TLSv1.2", seen
    assert suite in OF_JAVA_8, seen
    must_have_an_rsa_key(moved.lab, "db1", "crm_db")
    must_refuse_what_is_older(Judge(moved.lab, "app1", "desk"), "db1.lab.test:5432", suite)


def test_a_second_run_changes_nothing_and_restarts_nobody(moved: Centre) -> None:
    running = moved.running()
    with taking("centre: a second run, with nothing due"):
        run = moved.playbook("rollout", *ALL).must_end(0)
    assert run.changed == 0, run.text[-3000:]
    assert moved.running() == running


def test_whoever_presents_nothing_or_something_foreign_is_refused_on_every_mutual_listener(moved: Centre) -> None:
    judge = Judge(moved.lab, "app1", "desk")
    mutual = [pair for pair in listeners_of(moved) if pair.about.get("mode") == "mutual"]
    assert {pair.kind for pair in mutual} == {"apache", "kamailio", "nginx", "redis", "tomcat"}

    def served(pair: Pair) -> list[str]:
        where, protocol = "%s.lab.test:%d" % (pair.server_host, port_of(pair)), pair.about["protocol"]
        return [who for who in ("itself", *STRANGERS) if judge.is_served(where, protocol, who=who)]

    assert everyone(served, mutual) == {pair.id: ["itself"] for pair in mutual}


def test_its_own_client_of_every_server_is_still_answered_over_tls(moved: Centre) -> None:
    """The clients that ask all the while are the servers' own (programs/load.py), and verify whom they ask."""
    assert {row["tls"] for row in moved.must_be_answered().values()} == {True}
