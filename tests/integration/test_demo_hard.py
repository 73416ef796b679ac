# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo-hard` shows, held to its word: four runs that end with 0, nothing lost, all closed in the end.

It runs once, into a folder and on addresses of its own; then the fleet is started as it was left, and openssl judges
every listener.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from . import judges
from .harness import ROOT, Fleet

PROGRAM: t.Final = ROOT / "tests" / "fleet" / "demo_hard.py"
NET: t.Final = "127.%d.0" % (160 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))
ACCEPTED: t.Final = "desk@app2->gateway.trace@sip1"

#: Who waits for whom after each run, by a part of the pair's name and of what is to do about it.
WAITS: t.Final[tuple[dict[str, str], ...]] = (
    {"gateway.trunk": "Partner Ltd", "confserv": "network team", "portal": "company", "queue_standby": "drill"},
    {"confserv": "network team", "portal": "company", "queue_standby": "drill"},
    {"queue_standby": "drill"},
    {},
)


@dataclasses.dataclass(frozen=True)
class Hard:
    """A hard demo that has ended, with what it left."""

    fleet: Fleet
    text: str
    runs: list[dict[str, t.Any]]
    report: dict[str, t.Any]
    traffic: dict[str, dict[str, t.Any]]
    model: dict[str, t.Any]

    def log(self, instance: str) -> str:
        """Return the log of a program."""
        return (self.fleet.folder(instance) / "component.log").read_text(encoding="utf-8")

    def address(self, host: str) -> str:
        """Return the address of a host."""
        return str(self.model["hosts"][host]["addresses"][0])


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Hard:
    """The hard demo, from its first line to its last."""
    fleet = Fleet(tmp_path_factory.mktemp("hard") / "demo", net=NET)
    argv = [sys.executable, str(PROGRAM), "--root", str(fleet.root)]
    process = subprocess.Popen(
        argv, env=fleet.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    try:
        text, _unused = process.communicate(timeout=900)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        text, _unused = process.communicate(timeout=60)
    assert process.returncode == 0, text[-12000:]
    runs, report, traffic = (
        json.loads((fleet.root / name).read_text(encoding="utf-8"))
        for name in ("runs.json", "report.json", "traffic.json")
    )
    model = yaml.safe_load((fleet.inventory / "tls_connections.yml").read_text(encoding="utf-8"))
    by_pair = {row["id"]: row for row in traffic["connections"]}
    return Hard(fleet, text, runs["runs"], report, by_pair, model)


def test_each_of_its_four_runs_ends_with_0_and_moves_something_and_fails_nothing(hard: Hard):
    assert [(run["run"], run["exit"], run["failed"]) for run in hard.runs] == [(n, 0, []) for n in (1, 2, 3, 4)]
    assert all(run["moved"] for run in hard.runs)
    assert all(row["from"] != row["to"] for run in hard.runs for row in run["moved"])


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_run_says_in_its_last_lines_who_must_do_what_about_each_pair_that_waits(hard: Hard, number: int):
    run, waits = hard.runs[number - 1], WAITS[number - 1]
    said = " ".join(" ".join(run["last_lines"]).split())
    for part, words in waits.items():
        rows = [row for row in run["waiting"] if part in row["pair"]]
        assert rows, "%s does not wait: %s" % (part, run["waiting"])
        assert any(words in row["todo"] + row["seen"] for row in rows), rows
        assert all(row["pair"] in said for row in rows)
    assert {row["pair"] for row in run["waiting"] if not any(part in row["pair"] for part in waits)} == set()
    assert [row["pair"] for row in run["blocked"]] == [ACCEPTED]


def test_its_operator_would_call_it_finished(hard: Hard):
    found = {row["id"]: (row["stage"], row["status"]) for row in hard.report["connections"]}
    assert {name: state for name, state in found.items() if name != ACCEPTED} == dict.fromkeys(
        set(hard.traffic) - {ACCEPTED}, ("enforced", "done")
    )
    (accepted,) = [row for row in hard.report["connections"] if row["unprotected"]]
    assert (accepted["id"], accepted["unprotected"]["approver"]) == (ACCEPTED, "head of operations")


def test_no_message_was_lost_on_any_pair(hard: Hard):
    assert len(hard.traffic) >= 18
    for name, row in hard.traffic.items():
        assert (row["lost"], row["under_way"]) == (0, 0), row
        assert row["answered"] == row["sent"] > 10, name


def test_the_ha_pair_failed_over_in_the_middle_of_a_run(hard: Hard):
    killed = hard.log("confserv@cfg1")
    assert len(re.findall(r"^\S+ started", killed, re.M)) == 2
    assert " active confserv confserv.cfg2" in hard.log("balancer@balancer")
    assert "confserv@cfg1 was killed" in hard.text
    both = [hard.traffic["router@app1->confserv.default@%s" % host]["security"] for host in ("cfg1", "cfg2")]
    assert both == ["tls", "tls"]


def test_the_standby_served_nobody_before_it_took_over_and_nobody_in_the_clear_since(hard: Hard):
    log = hard.log("queue_standby@web1")
    assert re.findall(r"^\S+ message .* (\w+)$", log, re.M)
    assert set(re.findall(r"^\S+ message .* (\w+)$", log, re.M)) == {"mutual"}


def test_datagrams_came_before_tls_and_none_since(hard: Hard):
    log = hard.log("gateway@sip1")
    seen = re.findall(r"^\S+ message router@app1->gateway.signalling@sip1 .* (\w+)$", log, re.M)
    assert seen[0] == "clear" and seen[-1] == "mutual"


def test_nothing_of_it_runs_any_more(hard: Hard):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            if str(hard.fleet.root) in words + os.readlink(process / "cwd"):
                found.append(words)
    assert found == []


# ---------------------------------------------------------------- judged by openssl


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A listener as a client dials it: the address and port, the name that it verifies, its material."""

    name: str
    address: str
    port: int
    clear: int | None
    client: Path
    mutual: bool


@pytest.fixture(scope="module")
def again(hard: Hard) -> t.Iterator[Fleet]:
    """The fleet, up again as it was left."""
    hard.fleet.fleet("up")
    try:
        yield hard.fleet
    finally:
        hard.fleet.down()


def endpoints(hard: Hard) -> list[Endpoint]:
    """Return every listener that a client of ours dials, and the trunk that the partner does."""
    found = []
    for row in hard.report["connections"]:
        if row["unprotected"] or row["component_client"] == "balancer":
            continue
        component, name = row["listener"].split(".")
        spec = hard.model["components"][component]["listeners"][name]
        entry = next(
            each
            for each in hard.model["connections"]
            if (each["client"], each["server"]) == (row["component_client"], row["listener"])
        )
        secure = spec.get("secure_port")
        ours = row["component_client"] != "partner"
        client = hard.fleet.material(row["client"]) if ours else hard.fleet.folder("partner@partner")
        address = entry.get("dial") or hard.address(row["server_host"])
        mutual = spec.get("mode") == "mutual"
        port = secure or spec["port"]
        found.append(Endpoint(row["id"], address, port, spec["port"] if secure else None, client, mutual))
    return found


def handshake(end: Endpoint, *more: str) -> tuple[int, str]:
    """Return what openssl says of a handshake with an endpoint, verified by its client's CA list."""
    partner = (end.client / "from-example-bank.pem").exists()
    trust = end.client / ("from-example-bank.pem" if partner else "trust.pem")
    argv = [
        "openssl",
        "s_client",
        "-connect",
        "%s:%d" % (end.address, end.port),
        "-verify_return_error",
        "-x509_strict",
    ]
    argv += ["-CAfile", str(trust), "-no-CApath", "-verify_ip", end.address, "-brief", *more]
    return judges.said(argv, seconds=30)


def presenting(end: Endpoint) -> list[str]:
    """Return how a client presents what it has."""
    partner = (end.client / "own.pem").exists()
    names = ("own.pem", "own.key") if partner else ("fullchain.pem", "key.pem")
    argv = ["-cert", str(end.client / names[0]), "-key", str(end.client / names[1])]
    return [*argv, "-cert_chain", str(end.client / names[0])]


def test_openssl_accepts_every_listener_as_its_clients_do(hard: Hard, again: Fleet):
    if "openssl" in judges.missing():
        pytest.skip("NOT JUDGED: openssl is not installed")
    faults = {}
    for end in endpoints(hard):
        code, text = handshake(end, *(presenting(end) if end.mutual else ()))
        if code or "Verification: OK" not in text:
            faults[end.name] = text[-500:]
    assert not faults, faults


def test_openssl_is_refused_without_a_certificate_wherever_both_ends_show_one(hard: Hard, again: Fleet):
    if "openssl" in judges.missing():
        pytest.skip("NOT JUDGED: openssl is not installed")
    asked = [end for end in endpoints(hard) if end.mutual]
    assert len(asked) >= 9
    for end in asked:  # with TLS 1.3 a client is done before the server has said no
        code, text = handshake(end, "-tls1_2")
        assert code, "%s lets one in: %s" % (end.name, text)


def test_plaintext_is_refused_on_every_listener_but_the_accepted_one(hard: Hard, again: Fleet):
    def answers(address: str, port: int) -> bool:
        try:
            with socket.create_connection((address, port), 2) as sock:
                sock.sendall(b"somebody 1 0 canary\n")
                return sock.recv(100).startswith(b"ok")
        except OSError:
            return False

    open_ = [end.name for end in endpoints(hard) if end.clear and answers(end.address, end.clear)]
    assert open_ == []
    trace = hard.model["components"]["gateway"]["listeners"]["trace"]
    assert answers(hard.address("sip1"), trace["port"])


def test_the_portals_certificate_is_the_pki_teams_and_the_directorys_is_the_one_that_was_there(hard: Hard):
    if "openssl" in judges.missing():
        pytest.skip("NOT JUDGED: openssl is not installed")
    root = hard.fleet.root / "pki" / "company.pem"
    portal = hard.fleet.material("portal@web1")
    address = hard.address("web1")
    assert judges.openssl_verify(portal, trust=root, dialled=address, purpose="sslserver") == ""
    (row,) = [each for each in hard.report["connections"] if each["listener"] == "directory.ldaps"]
    certificate = hard.fleet.folder("directory@web1") / "own.pem"
    code, text = judges.said(["openssl", "x509", "-in", certificate, "-noout", "-enddate", "-dateopt", "iso_8601"])
    assert code == 0
    assert row["expires"][:10] == text.partition("=")[2][:10]
