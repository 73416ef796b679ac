# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on Windows hosts: noted, edited, tested, taken up and taken back; modelled hosts run the module's own text."""

from __future__ import annotations

import json
import re
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ports import free_port

from . import direct
from .direct import Rig, rig
from .looks import instance, steps
from .plays import play
from .twin import WindowsTwin

SERVICE: t.Final = "NT SERVICE\\Confserv"
TOP: t.Final = "C:\\ProgramData\\connsec"
BASE: t.Final = TOP + "\\confserv"
OPTIONS: t.Final = "C:\\conf\\confserv.ini"
PLAIN: t.Final = "; hand-made\r\n[net]\r\nport = 2020\r\n[db]\r\npassword = geheim-1\r\n"
TESTER: t.Final = "C:\\Program Files\\Confserv\\check.exe"
TARGET: t.Final = "step permit-sql confserv@win1"
#: A configuration test that refuses a file with the word `broken`; it is given the file's path on Windows.
TESTS: t.Final = """
import os, pathlib, sys
path = pathlib.Path(os.environ["TWIN_DRIVES"], "C", *sys.argv[1].split("\\\\")[1:])
sys.exit("line 3 is broken\\npassword = geheim-2" if b"broken" in path.read_bytes() else 0)
"""
#: A service that listens on the port that its configuration names.
SERVES: t.Final = """
import configparser, socket, sys, time
options = configparser.ConfigParser()
options.read(sys.argv[1], encoding="utf-8")
place = socket.create_server(("127.0.0.1", options.getint("net", "port")))
while True:
    time.sleep(1)
"""


@pytest.fixture
def one(tmp_path: Path) -> t.Iterator[Rig]:
    """One host with a service that runs, its options, and material of ours."""
    made = rig(tmp_path)
    made.twin.add_service("Confserv", username=SERVICE, state="running")
    made.twin.write(OPTIONS, PLAIN.encode())
    made.twin.add_program(TESTER, [sys.executable, "-c", TESTS])
    made.install(made.row(account=SERVICE))
    yield made
    made.twin.stop()


def _step(state: str = "whole", value: str | None = "on", **more: t.Any) -> dict[str, t.Any]:
    options = [{"section": "net", "key": "tls", "value": value}]
    row = {
        "state": state,
        "id": "permit-sql",
        "stage": "permit",
        "target": TARGET,
        "reason": "tls is not set",
        "instance": "confserv@win1",
        "component": "confserv",
        "host": "win1",
        "directory": TOP,
        "folder": "confserv",
        "pairs": ["a"],
        "edits": [{"path": OPTIONS, "format": "ini", "options": options}],
        "files": [OPTIONS],
        "test": [TESTER, OPTIONS],
        "apply": "restart",
        "restart": {"service": "Confserv"},
        "process": {"service": "Confserv"},
    }
    return {**row, **more}


def _text(twin: WindowsTwin) -> str:
    return (twin.read(OPTIONS) or b"").decode()


def _bare(twin: WindowsTwin) -> t.Any:
    """Return the host without what a restart changes, and without what a process was seen to load."""
    found = twin.snapshot()
    for row in found["state"]["services"].values():
        row.update(process=None, starts=0)
    rules = found["state"]["rules"]
    gone = [path for path in rules if path.startswith((BASE + "\\steps").lower())]
    for path in gone:
        del rules[path]
    mine = ("connsec/confserv/loaded.json", "connsec/confserv/steps")
    found["files"] = {name: each for name, each in found["files"].items() if not name.endswith(mine)}
    return found


def test_a_step_edits_tests_restarts_and_notes_what_was_loaded(one: Rig) -> None:
    twin = one.twin
    began = time.time()
    done = steps(twin, _step())
    assert done.failures == {}
    assert [change.reason for change in done.changes] == ["is not set, planned 'on'", "tls is not set"]
    assert _text(twin) == PLAIN.replace("port = 2020\r\n", "port = 2020\r\ntls = on\r\n")
    assert twin.service("Confserv")["starts"] == 2
    seen = instance(twin, process={"service": "Confserv"}, account=SERVICE)
    assert seen["pending"] == {} and seen["unreadable"] == {} and seen["drift"] == {}
    assert seen["steps"]["permit-sql"]["finished"] and seen["steps"]["permit-sql"]["files"] == [OPTIONS]
    assert seen["loaded"]["generation"] == "000001" and seen["loaded"]["pids"] == seen["process"]["pids"]
    assert began - 0.01 <= seen["steps"]["permit-sql"]["at"] <= seen["loaded"]["at"] <= time.time()
    assert seen["process"]["started"] <= seen["loaded"]["at"]


def test_a_play_has_a_step_done_and_looks_afterwards(one: Rig) -> None:
    twin, before = one.twin, one.twin.snapshot()
    request = {"system": "windows", "instances": [{"name": "confserv@win1", "folder": "confserv"}], "token": "t"}
    task = {"connsec.tls.step": {"steps": [_step()], "look": request}}
    checked = play([twin], [task], "--check", "--diff")
    assert checked.code == 0, checked.text
    assert twin.trips == 2 and twin.violations == [] and twin.refusals == [] and twin.snapshot() == before
    done = play([twin], [task])
    (result,) = done.results()
    assert done.code == 0 and twin.trips == 5 and twin.refusals == [], done.text
    assert result["reasons"] == checked.results()[0]["reasons"]
    assert result["observation"]["instances"]["confserv@win1"]["steps"]["permit-sql"]["finished"]
    assert "geheim-1" not in done.text + json.dumps(result) + (twin.folder / "log.jsonl").read_text()


def test_a_step_is_taken_back_exactly_and_what_others_wrote_stays(one: Rig) -> None:
    twin, before = one.twin, _bare(one.twin)
    steps(twin, _step())
    taken = steps(twin, _step("reverse"))
    assert taken.failures == {} and len(taken.changes) == 1
    assert _bare(twin) == before and twin.service("Confserv")["starts"] == 3
    assert steps(twin, _step("reverse")).changes == []
    steps(twin, _step())
    twin.write(OPTIONS, (_text(twin) + "[new]\r\na = b\r\n").encode())
    steps(twin, _step("reverse"))
    assert _text(twin) == PLAIN + "[new]\r\na = b\r\n"


def test_a_step_whose_lines_others_changed_is_not_taken_back_and_nothing_is_touched(one: Rig) -> None:
    twin = one.twin
    steps(twin, _step())
    twin.write(OPTIONS, _text(twin).replace("tls = on", "tls = off").encode())
    before = twin.snapshot()
    with_conflict = steps(twin, _step("reverse"))
    assert "permit-sql cannot be taken back, for %s is not as it left it" % OPTIONS in with_conflict.failures[TARGET]
    assert twin.snapshot() == before and with_conflict.changes == []


def test_a_configuration_that_its_test_refuses_is_not_loaded_and_is_taken_back_whole(one: Rig) -> None:
    twin, before = one.twin, _bare(one.twin)
    failed = steps(twin, _step(value="broken"))
    assert "ended with 1" in failed.failures[TARGET] and "line 3 is broken" in failed.failures[TARGET]
    assert "geheim-2" not in failed.failures[TARGET] and "password = ***" in failed.failures[TARGET]
    assert twin.service("Confserv")["starts"] == 1
    seen = instance(twin)
    assert seen["pending"]["permit-sql"]["phase"] == "editing" and seen["loaded"] is None
    assert steps(twin, _step("reverse")).failures == {}
    assert _bare(twin) == before


def test_a_file_that_was_changed_since_it_was_read_is_not_written(one: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    twin, real = one.twin, direct.module

    def late(*given: t.Any, **more: t.Any) -> t.Any:
        if given[2].get("orders"):
            twin.write(OPTIONS, b"[net]\r\nport = 1\r\n")
        return real(*given, **more)

    monkeypatch.setattr(direct, "module", late)
    failed = steps(twin, _step())
    assert "was changed since it was read" in failed.failures[TARGET]
    assert _text(twin) == "[net]\r\nport = 1\r\n" and twin.service("Confserv")["starts"] == 1


def test_a_service_that_does_not_start_fails_the_step_which_the_next_run_completes(one: Rig) -> None:
    twin = one.twin
    twin.break_services("Confserv")
    failed = steps(twin, _step())
    assert "cannot be started" in failed.failures[TARGET]
    assert instance(twin)["pending"]["permit-sql"]["phase"] == "reloading"
    twin.break_services()
    assert steps(twin, _step(may_rest=True)).failures == {}
    assert twin.service("Confserv")["state"] == "running"
    assert instance(twin)["pending"] == {}
    steps(twin, _step("reverse"))
    assert _text(twin) == PLAIN


def test_what_somebody_stopped_is_not_started(one: Rig) -> None:
    one.twin.stop("Confserv")
    assert steps(one.twin, _step(may_rest=True)).failures == {}
    assert one.twin.service("Confserv") | {"starts": 1, "state": "stopped"} == one.twin.service("Confserv")
    assert "tls = on" in _text(one.twin)


def test_a_real_service_listens_where_its_new_options_say(one: Rig) -> None:
    twin, old, new = one.twin, free_port(), free_port()
    twin.write(OPTIONS, PLAIN.replace("2020", str(old)).encode())
    real = str(twin.folder / "drives/C/conf/confserv.ini")
    twin.add_service("Real", program=[sys.executable, "-c", SERVES, real], state="running")
    options = [{"section": "net", "key": "port", "value": str(new)}]
    ports = [
        {"address": "127.0.0.1", "port": new, "open": True},
        {"address": "127.0.0.1", "port": old, "open": False},
    ]
    given = _step(
        edits=[{"path": OPTIONS, "format": "ini", "options": options}],
        restart={"service": "Real"},
        process={"service": "Real"},
        wait_for=ports,
    )
    assert steps(twin, given).failures == {}
    seen = instance(twin, process={"service": "Real"}, sockets=True)
    assert [row["local"] for row in seen["sockets"] if row["state"] == "LISTEN"] == ["127.0.0.1:%d" % new]
    back = {**given, "state": "reverse", "wait_for": [{"address": "127.0.0.1", "port": old, "open": True}]}
    assert steps(twin, back).failures == {}
    twin.write(OPTIONS, b"[net]\r\nport = %d\r\n" % old)
    closed = steps(twin, _step(**{**given, "state": "whole", "edits": [], "wait_for": [{**ports[0]}]}))
    assert "port %d of 127.0.0.1 is not open after 10000 ms" % new in closed.failures[TARGET]


def test_a_file_that_a_step_makes_goes_with_it(one: Rig) -> None:
    twin, path = one.twin, "C:\\conf\\tls.ini"
    before = _bare(twin)
    edits = [{"path": path, "format": "ini", "options": [{"section": "tls", "key": "a", "value": "b"}]}]
    given: dict[str, t.Any] = {"edits": edits, "files": [path], "makes": {path: "0644"}, "test": []}
    assert steps(twin, _step(**given)).failures == {}
    assert twin.read(path) is not None
    steps(twin, _step("reverse", **given))
    assert twin.read(path) is None and _bare(twin) == before


def test_begin_and_finish_surround_what_others_edit(one: Rig) -> None:
    twin = one.twin
    assert len(steps(twin, _step("begin")).changes) == 1 and steps(twin, _step("begin")).changes == []
    assert instance(twin)["pending"]["permit-sql"]["phase"] == "editing" and twin.service("Confserv")["starts"] == 1
    twin.write(OPTIONS, PLAIN.replace("2020", "2021").encode())
    assert steps(twin, _step("finish")).failures == {} and twin.service("Confserv")["starts"] == 2
    assert instance(twin)["pending"] == {}
    steps(twin, _step("reverse"))
    assert _text(twin) == PLAIN


def test_a_step_that_is_forgotten_stays_as_it_is(one: Rig) -> None:
    twin = one.twin
    steps(twin, _step())
    text = _text(twin)
    assert len(steps(twin, _step("forget")).changes) == 1 and steps(twin, _step("forget")).changes == []
    assert _text(twin) == text and instance(twin)["steps"] == {} and twin.service("Confserv")["starts"] == 2


def test_who_reads_the_service_s_files_does_not_read_what_steps_kept(one: Rig) -> None:
    twin = one.twin
    steps(twin, _step())
    kept = BASE + "\\steps\\permit-sql\\before.json"
    assert b"geheim-1" in (twin.read(kept) or b"")
    assert twin.readers(kept) == {"NT AUTHORITY\\SYSTEM", "BUILTIN\\Administrators"}
    readers = twin.readers(OPTIONS)
    steps(twin, _step("reverse"))
    assert twin.readers(OPTIONS) == readers and twin.files_with(b"geheim-1") == ["drives/C/conf/confserv.ini"]


@pytest.mark.parametrize("killed", range(1, 11))
def test_a_run_that_is_killed_anywhere_is_completed_or_taken_back(
    one: Rig, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    twin, real, before = one.twin, direct.module, _bare(one.twin)

    def cut(*given: t.Any, **more: t.Any) -> t.Any:
        twin_, name, arguments = given
        return real(twin_, name, {**arguments, "orders": arguments.get("orders", [])[:killed]}, **more)

    with monkeypatch.context() as patched:
        patched.setattr(direct, "module", cut)
        steps(twin, _step())
    if killed % 2:
        assert steps(twin, _step()).failures == {} and "tls = on" in _text(twin)
    assert steps(twin, _step("reverse")).failures == {}
    assert _bare(twin) == before and instance(twin)["pending"] == {}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"process": {"pid_file": "C:\\x"}}, "on Windows a process is found by its service"),
        ({"process": {"service": "No"}}, "there is no service No"),
        ({"process": {"service": "Confserv", "needs": "C:\\x"}}, "a process that needs files"),
        ({"effects": {OPTIONS: {"service": "x"}}}, "programs beside the process are not told on Windows yet"),
        ({"reload": {"signal": "HUP"}}, "there are no signals on Windows; let reload name"),
        ({"files": []}, "which its kind does not declare"),
        ({"files": ["C:\\conf\\no.ini"], "edits": [{"path": "C:\\conf\\no.ini", "format": "ini", "options": []}]},
         "C:.conf.no.ini does not exist"),
        ({"id": "a\\b"}, "cannot be the id of a step"),
    ],
)  # fmt: skip
def test_what_is_not_done_on_windows_is_refused_in_one_sentence(one: Rig, more: dict[str, t.Any], words: str) -> None:
    before = one.twin.snapshot()
    failed = steps(one.twin, _step(**more))
    assert re.search(words, failed.failures[TARGET]) and failed.changes == []
    assert one.twin.snapshot() == before


def test_a_step_that_is_given_twice_is_refused(one: Rig) -> None:
    with pytest.raises(TlsError, match="a step is given twice"):
        steps(one.twin, _step(), _step())


def test_two_steps_of_an_instance_are_done_one_after_another(one: Rig) -> None:
    twin = one.twin
    options = [{"section": "net", "key": "only", "value": "yes"}]
    second = _step(
        id="enforce-sql",
        stage="enforce",
        target="step enforce-sql confserv@win1",
        edits=[{"path": OPTIONS, "format": "ini", "options": options}],
    )
    assert steps(twin, _step(), second).failures == {}
    assert "tls = on\r\nonly = yes\r\n" in _text(twin) and twin.service("Confserv")["starts"] == 3
    for each in (_step("reverse"), {**second, "state": "reverse"}):
        assert steps(twin, each).failures == {}
    assert _text(twin) == PLAIN
