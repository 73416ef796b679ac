# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` shows a newcomer, held to its word: all is enforced, nothing was lost, nothing is in the clear.

The demo runs once, into a folder and on addresses of its own, with a packet capture around it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import html.parser
import json
import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import yaml

from . import capture, judges
from .harness import ROOT, Fleet

DEMO: t.Final = ROOT / "tests" / "fleet" / "demo.py"
NET: t.Final = "127.%d.0" % (140 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))
#: Milliseconds without an answer after which a client sends again (tests/fleet/parts/settings.py).
SENDS_AGAIN: t.Final = 1000
#: Seconds for which a message that was sent in the clear may still be under way when its client has switched.
UNDER_WAY: t.Final = 0.5


@dataclasses.dataclass(frozen=True)
class Demo:
    """A demo that has ended, with what it left."""

    fleet: Fleet
    text: str
    plan: str
    report: dict[str, t.Any]
    traffic: dict[str, t.Any]
    packets: Path | None

    @property
    def pairs(self) -> list[dict[str, t.Any]]:
        """The pairs of its report."""
        return list(self.report["connections"])

    @property
    def counts(self) -> dict[str, dict[str, t.Any]]:
        """What became of each pair's messages."""
        return {row["id"]: row for row in self.traffic["connections"]}


def demo_program(fleet: Fleet, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo's program as `make demo` does, with its output in a pipe."""
    argv = [sys.executable, str(DEMO), "--root", str(fleet.root), *arguments]
    return subprocess.Popen(
        argv, env=fleet.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )


def ended(process: subprocess.Popen[str], *, code: int, seconds: float = 90) -> str:
    """Wait for the demo's program and return what it said; one that takes too long is ended, with its fleet."""
    try:
        text, _unused = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        text, _unused = process.communicate(timeout=60)
        pytest.fail("it took longer than %g s:\n%s" % (seconds, text[-8000:]))
    assert process.returncode == code, text[-8000:]
    return text


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, from its first line to its last."""
    folder = tmp_path_factory.mktemp("demo")
    fleet = Fleet(folder / "demo", net=NET)
    packets = None if capture.why_not() else folder / "packets.pcap"
    with capture.capturing(NET, packets) if packets else contextlib.nullcontext():
        text = ended(demo_program(fleet), code=0, seconds=600)
    files = [fleet.root / name for name in ("report.json", "traffic.json", "logs/plan.log")]
    report, traffic, plan = (file.read_text(encoding="utf-8") for file in files)
    return Demo(fleet, text, plan, json.loads(report), json.loads(traffic), packets)


def running(fleet: Fleet) -> list[Path]:
    """Return the processes that have the demo's folder among their arguments, or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            if str(fleet.root) in words + os.readlink(process / "cwd"):
                found.append(process)
    return found


# ---------------------------------------------------------------- the demo itself


def test_it_ends_well_having_shown_its_plan_and_every_wave(demo: Demo):
    for words in ("PLAN (plan, until enforced)", "Wave 1: 6 pairs", "Wave 2: ", "Wave 3: ", "pairs passed the gate"):
        assert words in demo.text, words
    assert "plaintext is refused everywhere" in demo.text
    assert not re.search(r"^(TASK|PLAY|ok:|changed:|skipping:)", demo.text, re.M), "Ansible's own lines show"
    assert max(map(len, demo.text.splitlines())) < 200


def test_it_stops_what_it_started(demo: Demo):
    assert running(demo.fleet) == []


def test_every_pair_is_enforced(demo: Demo):
    assert {row["id"]: (row["stage"], row["status"]) for row in demo.pairs} == dict.fromkeys(
        demo.counts, ("enforced", "done")
    )
    assert demo.report["findings"] == []


def test_every_pair_was_seen_on_live_traffic_and_none_in_a_probe_alone(demo: Demo):
    assert [row["id"] for row in demo.pairs if not any(item["live"] for item in row["evidence"])] == []


def test_no_message_was_lost_on_any_pair(demo: Demo):
    assert len(demo.counts) >= 16
    for name, row in demo.counts.items():
        assert (row["lost"], row["under_way"]) == (0, 0), name
        assert row["answered"] == row["sent"] > 100, name


def announced(demo: Demo) -> dict[str, float]:
    """Return the seconds for which the plan said that an instance would interrupt its connections."""
    rounds = re.findall(r"^  round \d+ of \d+: .*; interrupts (.*)$", demo.plan, re.M)
    assert rounds, demo.plan
    return {name: float(seconds) for words in rounds for name, seconds in re.findall(r"(\S+) for up to (\S+) s", words)}


def test_no_pair_was_silent_for_longer_than_the_plan_announced(demo: Demo):
    said = announced(demo)
    for pair in demo.pairs:
        row, most = demo.counts[pair["id"]], max(said.get(pair[end], 0.0) for end in ("client", "server"))
        assert row["announced_ms"] == most * 1000, pair["id"]
        if most:
            assert row["longest_gap_ms"] <= most * 1000, row
        else:
            # no interruption: no session was ended under a message, and no answer took so long that it was sent again
            assert (row["resent"], row["repeated"], row["resets"]) == (0, 0, 0), row
            assert row["longest_gap_ms"] < SENDS_AGAIN, row


def test_each_server_saw_the_security_that_the_listener_asks_for(demo: Demo):
    assert {row["id"]: demo.counts[row["id"]]["security"] for row in demo.pairs} == {
        row["id"]: "mutual" if row["mode"] == "mutual" else "tls" for row in demo.pairs
    }


# ---------------------------------------------------------------- what it leaves


def documented(path: Path, heading: str) -> set[str]:
    """Return the fields that a table of the docs names under a heading."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r"^#+ [^\n]*`%s`[^\n]*\n(.*?)(?=^#|\Z)" % re.escape(heading), text, re.M | re.S)
    assert found, "%s has no heading for `%s`" % (path, heading)
    return {name for cell in re.findall(r"^\|([^|]+)\|", found.group(1), re.M) for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("part", ["connections", "identities"])
def test_the_report_has_exactly_the_documented_fields(demo: Demo, part: str):
    rows = demo.report[part]
    assert rows
    for row in rows:
        assert set(row) == documented(ROOT / "docs" / "report.md", part)


def test_the_report_says_what_machines_need(demo: Demo):
    report = demo.report
    assert report["version"] == 1
    assert set(report) == documented(ROOT / "docs" / "report.md", "report.json")
    needed = {"id", "client", "server", "mode", "wave", "category", "stage", "status", "evidence", "expires"}
    assert needed <= set(demo.pairs[0])
    for row in demo.pairs:
        for item in row["evidence"]:
            assert set(item) == documented(ROOT / "docs" / "report.md", "evidence")
        assert all(item["holds"] for item in row["evidence"])
        assert row["expires"] and row["since"]
    assert {"host", "path", "owner", "issuer", "serial", "expires"} <= set(report["identities"][0])
    for identity in report["identities"]:
        assert Path(identity["path"]).is_file()
        assert all(identity[name] for name in ("owner", "issuer", "serial", "expires"))


def test_the_traffic_has_exactly_the_documented_fields(demo: Demo):
    assert demo.traffic["version"] == 1
    for row in demo.traffic["connections"]:
        assert set(row) == documented(ROOT / "tests" / "fleet" / "README.md", "traffic.json")
    assert {row["id"] for row in demo.traffic["connections"] if not row["permissive"]} == {
        row["id"] for row in demo.pairs if row["server"].startswith("recorder@")
    }


class Fetched(html.parser.HTMLParser):
    """Whatever a page would fetch, or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_style = tag == "style"
        if tag in ("script", "iframe", "object", "embed", "img", "base", "form", "audio", "video"):
            self.found.append(tag)
        for name, value in attrs:
            outside = name in ("href", "xlink:href", "action") and not (value or "").startswith("#")
            if outside or name in ("src", "srcset", "data", "poster", "ping", "style") or name.startswith("on"):
                self.found.append("%s %s=%s" % (tag, name, value))

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.found += re.findall(r"@import.*|url\(.*|https?:.*", data)
            self.in_style = False


def test_the_page_is_one_file_that_fetches_nothing(demo: Demo):
    page = (demo.fleet.root / "report.html").read_text(encoding="utf-8")
    reader = Fetched()
    reader.feed(page)
    assert reader.found == []
    assert "default-src 'none'" in html.unescape(page)
    for row in demo.pairs:
        assert row["client"] in page and row["server"] in page


# ---------------------------------------------------------------- on the wire


def switched_at(fleet: Fleet, pair: dict[str, t.Any]) -> float:
    """Return when the client began to use TLS for good, by its own log."""
    log = (fleet.folder(pair["client"]) / "component.log").read_text(encoding="utf-8")
    sessions = re.findall(r"^(\S+) session %s \S+ (clear|TLS)$" % re.escape(pair["id"]), log, re.M)
    clear = [at for at, (_when, security) in enumerate(sessions) if security == "clear"]
    assert clear, "%s never talked in the clear" % pair["id"]
    return float(sessions[clear[-1] + 1][0])


def test_no_text_of_a_pair_is_on_the_wire_after_it_was_switched(demo: Demo):
    if demo.packets is None:
        pytest.skip("NO PACKET WAS CAPTURED, AND THE WIRE IS NOT LOOKED AT: %s" % capture.why_not())
    canaries = {row["id"]: demo.counts[row["id"]]["canary"] for row in demo.pairs}
    times = capture.seen(demo.packets, canaries.values())
    for pair in demo.pairs:
        moment = switched_at(demo.fleet, pair)
        when = times[canaries[pair["id"]]]
        assert sum(1 for at in when if at < moment) > 20, "the capture does not see %s at all" % pair["id"]
        late = [at for at in when if at > moment + UNDER_WAY]
        assert not late, "%s: %d packets with its text, up to %.1f s after" % (pair["id"], len(late), late[-1] - moment)


# ---------------------------------------------------------------- and then


@pytest.fixture(scope="module")
def again(demo: Demo) -> t.Iterator[Fleet]:
    """The fleet of the demo, up again as it was left."""
    demo.fleet.fleet("up")
    try:
        yield demo.fleet
    finally:
        demo.fleet.down()


def test_a_second_rollout_changes_nothing_and_reloads_nothing(again: Fleet):
    fleet = again

    def processes() -> dict[str, str]:
        files = sorted((fleet.root / "hosts").glob("*/*/process.json"))
        return {str(file.relative_to(fleet.root)): file.read_text() for file in files}

    def reloads() -> list[str]:
        logs = sorted((fleet.root / "hosts").glob("*/*/component.log"))
        return [
            line for log in logs for line in log.read_text().splitlines() if re.search(r"reloaded|started|kept", line)
        ]

    before = processes(), reloads()
    run = fleet.playbook("rollout", "-e", "tls_until=enforced").must_end(0)
    assert run.changed == 0, run.text[-5000:]
    assert "nothing is due" in run.text
    assert (processes(), reloads()) == before
    assert {row["security"] for row in fleet.traffic().values()} <= {"mutual", "tls"}
    fleet.must_talk()


# ---------------------------------------------------------------- judged by others


def material(identity: dict[str, t.Any]) -> Path:
    """Return the folder in which an identity of the report lies."""
    return Path(identity["path"]).parent


def test_openssl_and_gnutls_accept_every_certificate_for_what_is_dialled(demo: Demo):
    if {"openssl", "certtool"} & set(judges.missing()):
        pytest.skip("NOT JUDGED: openssl or certtool is not installed")
    dialled = {row["server"]: address_of(demo, row["server"]) for row in demo.pairs}
    identities = {row["name"]: row for row in demo.report["identities"]}
    assert set(dialled) <= set(identities)
    for name, row in identities.items():
        # whoever dials it, or is dialled by it and demands its certificate, is who has to accept it
        pair = next(
            each for each in demo.pairs if name in (each["server"], each["client"] * (each["mode"] == "mutual"))
        )
        peer = pair["client"] if pair["server"] == name else pair["server"]
        trust = demo.fleet.material(peer) / "trust.pem"
        purpose = "sslserver" if name in dialled else "sslclient"
        address = dialled.get(name, row["names"][0])
        assert judges.openssl_verify(material(row), trust=trust, dialled=address, purpose=purpose) == "", name
        assert judges.certtool_verify(material(row), trust=trust, dialled=address) == "", name


def address_of(demo: Demo, instance: str) -> str:
    """Return what clients dial of an instance: the first address of its host, in the demo."""
    model = yaml.safe_load((demo.fleet.inventory / "tls_connections.yml").read_text(encoding="utf-8"))
    return str(model["hosts"][instance.partition("@")[2]]["addresses"][0])


def test_java_reads_the_keystore_and_the_truststore_of_what_runs_on_java(demo: Demo):
    if "keytool" in judges.missing():
        pytest.skip("NOT JUDGED: keytool is not installed")
    stores = sorted(demo.fleet.root.glob("hosts/*/connsec/*/current/keystore.p12"))
    assert stores
    for store in stores:
        password = store.with_name("keystore.password")
        assert judges.keytool_entries(store, password) == ["PrivateKeyEntry"]
        assert set(judges.keytool_entries(store.with_name("truststore.p12"), None)) == {"trustedCertEntry"}


def test_every_endpoint_is_as_mozilla_wants_it(demo: Demo, again: Fleet, tmp_path: Path):
    if "sslyze" in judges.missing():
        pytest.skip("NOT JUDGED: sslyze is not installed")
    listeners = {row["listener"] + "@" + row["server_host"]: row for row in demo.pairs}
    model = yaml.safe_load((again.inventory / "tls_connections.yml").read_text(encoding="utf-8"))
    faults = {}
    for name, pair in listeners.items():
        component, listener = pair["listener"].split(".")
        spec = model["components"][component]["listeners"][listener]
        client, address = again.material(pair["client"]), address_of(demo, pair["server"])
        root, port = client / "trust.pem", spec.get("secure_port") or spec["port"]
        starttls = "postgres" if spec["protocol"] == "postgresql" else None
        if pair["mode"] == "mutual":
            found = "; ".join(judges.sslyze_as(client, address, port, root=root, work=tmp_path))
        else:
            found = judges.sslyze(address, port, root=root, starttls=starttls)
        if found:
            faults[name] = found
    assert not faults, "\n".join("%s:\n%s" % row for row in faults.items())


def test_no_secret_of_the_demo_is_in_what_it_said_or_wrote_for_people(demo: Demo):
    root = demo.fleet.root
    secrets = {"the passphrase": (root / "passphrase").read_bytes().strip()}
    for path in [*root.glob("hosts/*/connsec/*/current/*"), *root.glob("store/**/*.pem")]:
        if path.name == "keystore.password":
            secrets[str(path)] = path.read_bytes().strip()
        elif path.suffix == ".pem" and b"PRIVATE KEY" in path.read_bytes():
            secrets[str(path)] = path.read_bytes().partition(b"PRIVATE KEY-----\n")[2].splitlines()[1]
    assert len(secrets) > 15 and any(name.endswith("keystore.password") for name in secrets)
    written = [root / "report.json", root / "report.html", root / "traffic.json", *root.glob("store/ledger/*")]
    texts = {path: path.read_bytes() for path in [*written, *root.glob("logs/*")] if path.is_file()}
    assert len(texts) > 6
    assert [
        (name, str(path)) for name, secret in secrets.items() for path, text in texts.items() if secret in text
    ] == []
    assert [name for name, secret in secrets.items() if secret.decode() in demo.text] == []


# ---------------------------------------------------------------- interrupted


@pytest.fixture(scope="module")
def interrupted(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The folder of a demo that somebody ended in its first wave."""
    fleet = Fleet(tmp_path_factory.mktemp("interrupted") / "demo", net=NET[:-1] + "1")  # the other one is up
    process = demo_program(fleet)
    assert process.stdout
    for line in process.stdout:
        if "every host has been looked at" in line:
            break
    process.send_signal(signal.SIGTERM)
    assert "interrupted" in ended(process, code=130)
    return fleet


def test_an_interrupted_demo_stops_everything(interrupted: Fleet):
    assert running(interrupted) == []


#: A playbook that has lost Ctrl-C, and its worker in a session of its own, which says its number.
DEAF: t.Final = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
if len(sys.argv) < 3:
    subprocess.Popen([sys.executable, *sys.orig_argv[1:], "worker"], start_new_session=True)
else:
    pathlib.Path(sys.argv[1], "worker").touch()
time.sleep(600)
"""
#: Ends it as the demo does.
ENDS: t.Final = """
import pathlib, subprocess, sys, time, demo
process = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], start_new_session=True)
while not pathlib.Path(sys.argv[2], "worker").exists():
    time.sleep(0.02)
demo.end(process, patience=0.5)
print(process.returncode)
"""


def test_a_playbook_that_does_not_hear_ctrl_c_is_ended_with_workers_in_sessions_of_their_own(tmp_path: Path):
    argv = [sys.executable, "-c", ENDS, DEAF, str(tmp_path)]
    ending = subprocess.run(argv, cwd=DEMO.parent, capture_output=True, text=True, timeout=60, check=True)
    assert int(ending.stdout) == -signal.SIGKILL
    until = time.monotonic() + 30  # whoever takes over orphans buries them
    while running(Fleet(tmp_path, net=NET)):
        assert time.monotonic() < until, "its worker runs"
        time.sleep(0.02)


def test_up_replaces_the_demo_that_was_there_by_a_fleet_in_the_clear_and_down_stops_it(interrupted: Fleet):
    (interrupted.root / "left-over").touch()
    text = ended(demo_program(interrupted, "up"), code=0)
    assert not (interrupted.root / "left-over").exists()
    assert {row["security"] for row in interrupted.traffic().values()} == {"clear"}
    must_work_in_a_shell(text)
    ended(demo_program(interrupted, "down"), code=0)
    assert running(interrupted) == []


def must_work_in_a_shell(text: str) -> None:
    """Fail unless the printed commands name every playbook, and the first one runs as it is printed."""
    commands = re.findall(r"^  (ansible-playbook .*)$", text, re.M)
    assert [re.findall(r"connsec\.tls\.(\w+)", each)[0] for each in commands] == [
        *("enumerate", "plan", "rollout", "verify", "report", "rollback"),
    ]
    script = "\n".join([*re.findall(r"^  (export .*)$", text, re.M), commands[0]])
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CONNSEC_"))}
    done = subprocess.run(
        ["bash", "-euc", script], env=plain, cwd="/", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "router@urs1->confserv.default@cfg1" in done.stdout


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path):
    (tmp_path / "mine").write_text("precious")
    text = ended(demo_program(Fleet(tmp_path, net=NET)), code=1)
    assert "holds something that is not a demo" in text
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
