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
from pathlib import Path

import pytest
from integration import judges

from . import driver
from .centre.centre import HOSTS, Centre, wanted
from .centre.run import leave, roll_out
from .conftest import NET
from .strangers import STRANGERS, Callers

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
#: In which words servers on one port refuse who does not speak TLS: Postfix, PostgreSQL, slapd.
_REFUSALS: t.Final = (b"STARTTLS", b"no encryption", b"confidentiality required")
#: What sslyze does not speak.
_UNSPOKEN: t.Final = ("mysql",)


def still(centre: Centre) -> dict[str, list[str]]:
    """Return what lies on every host, with modes, owners, links and times."""
    return {
        host: [line for line in centre.lab.ssh(host, _STILL).splitlines() if not line.startswith(_ALIKE)]
        for host in HOSTS
    }


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
        centre.start()
        before = still(centre)
        done = centre.playbook("rollout", "--check", "--diff", "-e", "tls_until=enforced", "-e", "tls_scope=all")
        assert done.returncode == 0, done.stdout[-4000:]
        assert still(centre) == before, "check mode left a trace"
        with Members([lab.host(name).address for name in ("web1", "web2")]) as members:
            roll_out(centre)
        assert members.probes > 100
        assert members.down_together == 0
        yield centre


def test_every_pair_is_enforced_and_no_request_is_lost_where_nothing_is_restarted(moved: Centre) -> None:
    assert set(moved.stages().values()) == {("enforced", "done")}
    assert set(moved.stages()) == set(moved.pairs())
    traffic = leave(moved)["connections"]
    assert {row["security"] for row in traffic} == {"tls"}
    assert {row["id"] for row in traffic if not row["answered"]} == set()
    assert {row["id"]: row["said"] for row in traffic if row["lost"] and row["permissive"]} == {}
    print({row["kind"]: row["lost"] for row in traffic if not row["permissive"]})


def test_nobody_who_asks_in_the_clear_is_answered(moved: Centre) -> None:
    for name, row in moved.pairs().items():
        address = moved.lab.host(row["host"]).address
        if "secure_port" in row:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, row["port"]), timeout=5).close()
            continue
        if row["protocol"] == "mysql":  # which begins with a login that depends on what the server says first
            asked = "mariadb --skip-ssl --host=%s --user=load --execute='select 1' 2>&1 || true" % row["host"]
            assert "Access denied" in moved.lab.ssh("app1", asked)
            continue
        said = _said_in_the_clear(address, row)
        assert any(words in said for words in (b"STARTTLS", b"28000", b"no encryption", b"confidentiality required")), (
            name,
            said,
        )


def _said_in_the_clear(address: str, row: t.Mapping[str, t.Any]) -> bytes:
    """Return what a server on one port says to somebody who begins a session in the clear."""
    begin = {
        "smtp": b"EHLO lab\r\nMAIL FROM:<a@lab.test>\r\nQUIT\r\n",
        # a search of the root entry (RFC 4511, 4.5.1)
        "ldap": b"0*\x02\x01\x01c%\x04\x00\n\x01\x00\n\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00"
        b"\x87\x0bobjectClass0\x05\x04\x031.1",
        "postgresql": b"\x00\x00\x00\x21\x00\x03\x00\x00user\x00load\x00database\x00load\x00\x00",
    }[row["protocol"]]
    said = b""
    with socket.create_connection((address, row["port"]), timeout=5) as sock:
        if row["protocol"] == "smtp":
            said += sock.recv(1000)
        for line in begin.splitlines(keepends=True) if row["protocol"] == "smtp" else [begin]:
            sock.sendall(line)
            time.sleep(0.1)
        sock.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while part := sock.recv(1000):
                said += part
    return said


def test_sslyze_finds_nothing_that_the_profile_does_not_allow(moved: Centre, tmp_path: Path) -> None:
    if "sslyze" in judges.missing():
        pytest.skip("LEFT OUT: sslyze is not installed")
    client = tmp_path / "client"
    client.mkdir()
    for name in ("fullchain.pem", "key.pem", "trust.pem"):
        (client / name).write_text(moved.lab.ssh("app1", "cat", "/etc/connsec/desk/current/" + name))
    faults = {}
    listeners = {(row["host"], row.get("secure_port", row["port"])): row for row in moved.pairs().values()}
    for (host, port), row in sorted(listeners.items()):
        if row["protocol"] in _UNSPOKEN:
            continue
        name, at, root = host + ".lab.test", moved.lab.host(host).address, client / "trust.pem"
        if row.get("mode") == "mutual":
            rows = judges.sslyze_as(client, name, port, root=root, work=tmp_path, at=at)
            found = "; ".join(each for each in rows if not _is_known(row["kind"], each))
        else:
            starttls = None if "secure_port" in row else _STARTTLS[row["protocol"]]
            said = judges.sslyze(name, port, root=root, starttls=starttls, at=at)
            reasons = set(re.findall(r"^ +\* (\w+): ", said.partition("Not compliant")[2], re.MULTILINE))
            found = "" if reasons == {"tls_curves"} and row["kind"] in _OWN_GROUPS else said
        if found:
            faults["%s:%d %s" % (host, port, row["kind"])] = found
    assert faults == {}


def _is_known(kind: str, fault: str) -> bool:
    """Return whether a kind's page says so, or sslyze could not tell."""
    own = kind in _OWN_GROUPS and fault.startswith("curve ")
    return own or (kind in _NOT_SCANNED and "BUG_IN_SSLYZE" in fault)


def test_a_second_run_changes_nothing_and_restarts_nobody(moved: Centre) -> None:
    started, began = moved.started(), time.monotonic()
    done = moved.playbook("rollout", "-e", "tls_until=enforced", "-e", "tls_scope=all")
    print("nothing due: %.1f s" % (time.monotonic() - began))
    assert done.returncode == 0, done.stdout[-4000:]
    assert "changed=0" in done.stdout
    assert all("changed=0" in line for line in done.stdout.splitlines() if " : ok=" in line)
    assert moved.started() == started


def test_whoever_presents_nothing_or_something_foreign_is_refused_on_every_mutual_listener(
    moved: Centre, tmp_path: Path
) -> None:
    callers = Callers(moved.lab, "app1", "desk", tmp_path / "desk")
    mutual = [row for row in moved.pairs().values() if row.get("mode") == "mutual"]
    assert {row["kind"] for row in mutual} >= {"apache", "kamailio", "nginx", "redis", "tomcat"}
    for host, port, protocol in sorted({(row["host"], row["secure_port"], row["protocol"]) for row in mutual}):
        at, name = (moved.lab.host(host).address, port), host + ".lab.test"
        assert callers.served("itself", *at, name=name, protocol=protocol), (host, port)
        for stranger in STRANGERS:
            assert not callers.served(stranger, *at, name=name, protocol=protocol), (host, port, stranger)
