# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at Windows hosts: the same observation as of other systems, from a module's own text on a modelled host."""

from __future__ import annotations

import json
import socket
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._host._observe import observe
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .direct import Rig, authority, rig
from .endpoints import openssl, written
from .looks import instance, observed, variables
from .material import issued
from .plays import play
from .twin import WindowsTwin

SERVICE: t.Final = "NT SERVICE\\Confserv"
BASE: t.Final = "C:\\ProgramData\\connsec\\confserv"
OPTIONS: t.Final = "C:\\conf\\confserv.ini"
PROCESS: t.Final = {"service": "Confserv"}
#: A program that listens, as services do, and says on which port.
LISTENS: t.Final = """
import pathlib, socket, sys, time
place = socket.create_server(("127.0.0.1", 0))
pathlib.Path(sys.argv[1]).write_text(str(place.getsockname()[1]))
while True:
    time.sleep(1)
"""


@pytest.fixture
def one(tmp_path: Path) -> t.Iterator[Rig]:
    """One host with Windows Server 2019 and a service that runs."""
    made = rig(tmp_path)
    made.twin.add_service("Confserv", username=SERVICE, state="running")
    yield made
    made.twin.stop()


def _row(key: str, **more: t.Any) -> dict[str, t.Any]:
    return {"id": key, "file": OPTIONS, "format": "ini", "section": "tls", "key": key, **more}


def test_a_look_costs_one_round_trip_and_has_the_keys_of_other_systems(one: Rig) -> None:
    twin = one.twin
    row = {"name": "confserv@win1", "folder": "confserv", "process": PROCESS, "sockets": True}
    before = twin.snapshot()
    request = {"instances": [row], "token": "t1", "system": "windows"}
    run = play([twin], [{"connsec.tls.observe": {"request": request}}], "--check")
    assert run.code == 0, run.text
    (result,) = run.results()
    assert [trip.what for trip in twin.log] == ["connsec.tls.win_observe"]
    assert twin.violations == [] and twin.refusals == [] and twin.snapshot() == before
    seen, began = result["observation"], result["asked_between"]
    here = observe({"instances": [{"name": "confserv@win1", "folder": "confserv"}], "token": "t1"})
    assert set(seen) == set(here)
    assert set(seen["instances"]["confserv@win1"]) == set(here["instances"]["confserv@win1"]) | set(
        observe({"directory": str(twin.folder), "instances": [row | {"process": {}}]})["instances"]["confserv@win1"]
    )
    assert began[0] <= seen["clock"] + 0.01 and seen["clock"] <= began[1] + 0.01
    assert seen["addresses"] == ["192.0.2.10"] and seen["token"] == "t1" and not result["changed"]


def test_a_host_whose_os_the_model_does_not_know_is_not_looked_at(one: Rig) -> None:
    with pytest.raises(TlsError, match="this host runs windows, and the model says linux"):
        observed(one.twin, token="t1")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"watch": {"seconds": 1}}, "nobody watches listeners on Windows yet; leave watch out"),
        ({"settle": [{}]}, "nobody waits for sessions on Windows yet"),
        ({"soak": True}, "nothing is collected between runs on Windows yet"),
        ({"leftovers": {"known": []}}, "nobody looks for folders on Windows"),
        (
            {"probes": [{"id": "p", "foreign": True}]},
            "probe p: nothing foreign is presented from Windows",
        ),
        ({"probes": [{"id": "p", "pinned": True}]}, "probe p: a chain has to end at a root on Windows"),
        ({"probes": [{"id": "p", "pined": True}]}, "probe p: a probe has no 'pined'"),
        ({"wach": {}}, "a request has no 'wach'"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_one_sentence(one: Rig, request_: dict[str, t.Any], words: str) -> None:
    with pytest.raises(TlsError, match=words):
        observed(one.twin, **request_)


def test_a_service_is_its_process_with_its_sockets_and_nobody_elses(one: Rig, tmp_path: Path) -> None:
    twin, told = one.twin, tmp_path / "port"
    twin.add_service("Real", program=[sys.executable, "-c", LISTENS, str(told)])
    twin.add_socket("Confserv", "192.0.2.10:443", "0.0.0.0:0", state="Listen")
    began = time.time()
    twin.start("Real")
    while not told.exists() or not told.read_text():
        assert time.time() < began + 20
        time.sleep(0.02)
    port = int(told.read_text())
    seen = instance(twin, process={"service": "real"}, sockets=True)
    listening = {"local": "127.0.0.1:%d" % port, "peer": "0.0.0.0:0", "state": "LISTEN", "owned": True}
    assert listening in seen["sockets"] and len(seen["sockets"]) == 1
    (pid,) = seen["process"]["pids"]
    assert Path("/proc/%d/cmdline" % pid).read_bytes().split(b"\0")[-2] == str(told).encode()
    assert began - 0.01 <= seen["process"]["started"] <= time.time()
    assert seen["process"]["user"] == "LocalSystem" and seen["unreadable"] == {}
    twin.stop("Real")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)
    stopped = instance(twin, process={"service": "real"}, sockets=True)
    assert stopped["process"]["pids"] == [] and stopped["sockets"] == []


def test_a_session_that_is_gone_at_the_second_look_is_brief(one: Rig) -> None:
    twin = one.twin
    twin.add_socket("Confserv", "192.0.2.10:443", "198.51.100.1:5000")
    twin.add_socket("Confserv", "192.0.2.10:443", "198.51.100.2:5000", seen=1)
    rows = instance(twin, process=PROCESS, sockets=True)["sockets"]
    assert [(row["peer"], row.get("brief", False)) for row in rows] == [
        ("198.51.100.1:5000", False),
        ("198.51.100.2:5000", True),
    ]
    rows = instance(twin, process=PROCESS, sockets=True, glance=True)["sockets"]
    assert [(row["peer"], "brief" in row) for row in rows] == [("198.51.100.1:5000", False)]


def test_what_is_left_of_a_session_belongs_to_nobody(one: Rig) -> None:
    one.twin.add_socket("Confserv", "192.0.2.10:443", "0.0.0.0:0", state="Listen")
    one.twin.add_socket("Confserv", "192.0.2.10:443", "198.51.100.1:5000", state="TimeWait")
    rows = instance(one.twin, process=PROCESS, sockets=True)["sockets"]
    assert [(row["state"], row["owned"]) for row in rows] == [("LISTEN", True), ("TIME_WAIT", False)]


def test_a_service_that_is_not_there_is_named(one: Rig) -> None:
    seen = instance(one.twin, process={"service": "Nobody"}, sockets=True)
    assert seen["unreadable"] == {"process": "there is no service Nobody"} and seen["process"]["pids"] == []
    seen = instance(one.twin, process={"pid_file": "C:\\x.pid"})
    assert "found by its service, and not by pid_file" in seen["unreadable"]["process"]


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_options_are_read_back_here_and_nothing_else_of_their_file_is_shown(one: Rig, coding: str) -> None:
    text = "[tls]\r\nport = 636\r\npath = C:\\ProgramData\\connsec\r\n[db]\r\npassword = geheim-1\r\n"
    one.twin.write(OPTIONS, text.encode(coding))
    seen = instance(one.twin, reads=[_row("port"), _row("path"), _row("missing")])
    assert seen["reads"] == {"port": "636", "path": "C:\\ProgramData\\connsec", "missing": None}
    assert "geheim-1" not in json.dumps(seen)


def test_a_file_that_cannot_be_read_is_named_and_one_that_a_step_makes_is_empty(one: Rig) -> None:
    seen = instance(one.twin, reads=[_row("port"), _row("mode", made=True)])
    assert seen["reads"] == {"mode": None} and seen["unreadable"] == {"port": "%s does not exist" % OPTIONS}
    one.twin.write(OPTIONS, b"x" * ((4 << 20) + 1))
    seen = instance(one.twin, reads=[_row("port")])
    assert seen["unreadable"]["port"] == "%s cannot be read: it is larger than 4194304 bytes" % OPTIONS


def test_installed_material_is_seen_and_what_was_changed_in_it(one: Rig) -> None:
    one.install(one.row(account=SERVICE, formats=["store", "pem"]))
    seen = instance(one.twin, account=SERVICE)
    assert seen["generation"] == "000001" and seen["previous"] is None and seen["drift"] == {}
    assert seen["manifest"]["instance"] == "confserv@win1"
    assert abs(seen["manifest"]["installed_at"] - time.time()) < 60
    assert seen["pending"] == {} and seen["loaded"] is None and seen["steps"] == {} and seen["unreadable"] == {}
    one.twin.write(BASE + "\\generations\\000001\\trust.pem", b"another")
    assert instance(one.twin, account=SERVICE)["drift"] == {"trust.pem": "trust.pem differs from what was installed"}
    assert instance(one.twin)["drift"] == {"trust.pem": "trust.pem differs from what was installed"}


def test_a_note_of_ours_that_is_damaged_is_named(one: Rig) -> None:
    one.install(one.row(account=SERVICE))
    one.twin.write(BASE + "\\loaded.json", b'{"generation": "000001", "pids": [4]}')
    assert instance(one.twin)["loaded"] == {"generation": "000001", "pids": [4]}
    one.twin.write(BASE + "\\pending.json", b"{")
    seen = instance(one.twin)
    assert "pending.json is damaged" in seen["unreadable"]["installed"] and "generation" not in seen


def test_a_certificate_that_was_there_before_us_is_read(one: Rig) -> None:
    leaf = one.leaf()
    one.twin.write("C:\\pki\\own.pem", leaf.certificate.public_bytes(Encoding.PEM) + authority()[1].pem)
    files = {"certificate": "C:\\pki\\own.pem"}
    seen = instance(one.twin, adopted={"default": files})["adopted"]["default"]
    assert seen["valid"] is True and int(seen["serial"], 16) == leaf.certificate.serial_number
    gone = instance(one.twin, adopted={"default": {**files, "key": "C:\\pki\\own.key"}})
    assert gone["adopted"] == {}
    assert gone["unreadable"] == {"adopted default": "C:\\pki\\own.key, its key, is not there"}


def test_a_probe_sees_a_real_server_and_presents_the_certificate_of_the_store(one: Rig, tmp_path: Path) -> None:
    one.install(one.row(account=SERVICE))
    root, issuing = authority()
    server = issued("db1", issuing, names=[x509.DNSName("db1.example.com")])
    probe = {
        "id": "db", "address": "127.0.0.1", "name": "db1.example.com", "demand": True, "tls": True, "pinned": False,
        "trust": BASE + "\\current\\trust.pem", "certificate": BASE + "\\current\\fullchain.pem",
        "key": BASE + "\\current\\key.pem", "prefer_source": "127.0.0.7", "timeout": 10.0,
    }  # fmt: skip
    trusted, _key = written(tmp_path, "trusted", root, issuing)  # .NET here sends no chain out of the modelled stores
    with openssl(tmp_path, server, issuing, more=["-Verify", "3", "-CAfile", trusted, "-verify_return_error"]) as port:
        seen = observed(one.twin, probes=[{**probe, "port": port}])
    assert seen["probes"]["db"]["security"] == "mutual", seen["probes"]
    assert seen["probes"]["db"]["demanded"] is True
    assert seen["source_ports"] == sorted(seen["probes"]["db"]["source_ports"]) != []
    with pytest.raises(TlsError, match="is no certificate of an installed generation; name its thumbprint"):
        observed(one.twin, probes=[{**probe, "port": 1, "certificate": "C:\\x.pem"}])


def test_what_a_look_cannot_tell_is_named(one: Rig) -> None:
    seen = instance(one.twin, back=[["permit-sql"]], keys=True)
    assert seen["unreadable"] == {
        "refused": "which steps cannot be taken back is not told by a look on Windows",
        "keys": "keys that are born on their host are not built for Windows",
    }


def test_sessions_that_a_file_lists_are_seen(one: Rig) -> None:
    one.twin.write("C:\\logs\\sessions", b'{"peer": "198.51.100.1:5000"}\r\nnothing\r\n')
    seen = instance(one.twin, sessions={"file": "C:\\logs\\sessions"})
    assert seen["sessions"] == [{"peer": "198.51.100.1:5000"}]
    assert seen["unreadable"] == {"sessions": "1 lines of the session list are not JSON"}
    assert "by a file" in instance(one.twin, sessions={"command": ["x"]})["unreadable"]["sessions"]


def test_a_process_has_the_variables_that_were_written_before_it_was_started(one: Rig) -> None:
    wanted = {"SSL_CERT_FILE": "C:\\ca.pem"}
    spec = {"target": "service", "unit": "Confserv"}
    asked: dict[str, t.Any] = {"process": PROCESS, "environment": spec, "variables": wanted}
    seen = instance(one.twin, **asked)
    assert seen["environment"]["missing"] == ["SSL_CERT_FILE"] and "is not set" in seen["environment"]["reason"]
    assert seen["process"]["variables"] == {"SSL_CERT_FILE": None}
    variables(one.twin, {"name": "confserv@win1", **spec, "variables": wanted})
    seen = instance(one.twin, **asked)
    assert seen["environment"]["missing"] == [] and seen["process"]["variables"] == {"SSL_CERT_FILE": None}
    _restart(one.twin)
    assert instance(one.twin, **asked)["process"]["variables"] == wanted


def _restart(twin: WindowsTwin) -> None:
    time.sleep(0.01)
    twin.stop("Confserv")
    twin.start("Confserv")
