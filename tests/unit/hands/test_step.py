# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step on a component that runs: noted, kept, tested, taken up, and taken back without anybody else's edits."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._spec import SpecRefused, StepSpec
from ansible_collections.connsec.tls.plugins.module_utils._host import _causes, _program, _snapshot, _step
from ansible_collections.connsec.tls.plugins.module_utils._host._program import ProgramError
from ansible_collections.connsec.tls.plugins.module_utils._host._reading import FilesError
from ansible_collections.connsec.tls.plugins.module_utils._host._sockets import tcp_rows
from ansible_collections.connsec.tls.plugins.module_utils._host._step import StepRefused
from ansible_collections.connsec.tls.plugins.module_utils._host._way_back import refusals

from .bench import COMPONENT, PERMIT, PYTHON, Bench, until
from .instances import FOLDER, tree


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for ten seconds for what will not come; the second look comes as late as in earnest."""
    monkeypatch.setattr(_step, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(_program, "_MOMENT", 0.1)


def reasons(step: _step.Step, state: _step.State = "whole") -> list[str]:
    return [change.reason for change in step.plan(state)]


def noting(bench: Bench, *command: str) -> list[str]:
    """Return a command that writes the marker's phase down before it does what it is for."""
    script = 'sed "s/.*phase.: .\\([a-z]*\\).*/\\1/" "$0" >>"$1"; shift; exec "$@"'
    return ["sh", "-c", script, str(bench.base / "pending.json"), str(bench.folder / "phases"), *command]


def phases(bench: Bench) -> list[str]:
    return (bench.folder / "phases").read_text().split()


def hup(bench: Bench) -> tuple[str, ...]:
    return "sh", "-c", 'kill -HUP "$(cat "$0")"', str(bench.pid_file)


# Doing it


def test_a_host_keeps_what_it_was_told_of_the_ledger_with_what_it_loaded(bench: Bench) -> None:
    bench.step().carry_out("whole")
    assert "ledger" not in bench.loaded()
    told = {"entries": 40, "last": "ab" * 32}
    bench.reverse(ledger=told).carry_out("reverse")
    assert bench.loaded()["ledger"] == told


def test_a_whole_step_sets_its_options_and_the_process_has_them(bench: Bench) -> None:
    assert reasons(bench.step()) == [
        "is not set, planned '%d'" % bench.tls_port,
        "the listener answers in the clear only",
    ]
    bench.step().carry_out("whole")
    assert bench.options.read_text() == bench.original.replace("hunter2\n", "hunter2\ntls_port = %d\n" % bench.tls_port)
    assert stat.S_IMODE(bench.options.stat().st_mode) == 0o640
    until(lambda: bench.loads() == 2)
    assert bench.answers(bench.port)
    assert bench.answers(bench.tls_port)
    assert bench.is_clean()
    assert bench.loaded()["pids"] == [int(bench.pid_file.read_text())]
    assert bench.loaded()["generation"] is None
    assert reasons(bench.step()) == ["the listener answers in the clear only"]


def test_the_marker_says_how_far_a_step_and_its_reverse_have_come(bench: Bench) -> None:
    test = noting(bench, *bench.spec()["test"])
    reload = {"command": noting(bench, *hup(bench))}
    bench.step(test=test, reload=reload).carry_out("whole")
    assert phases(bench) == ["editing", "reloading"]
    assert bench.phase() is None
    bench.reverse(test=test, reload=reload).carry_out("reverse")
    assert phases(bench) == ["editing", "reloading", "reversing", "reversing"]
    assert bench.phase() is None


def test_the_marker_names_the_step_and_is_for_us_alone(still: Bench) -> None:
    still.step().begin()
    marker = still.marker()[PERMIT]
    spec = still.spec()
    assert marker["step"] == {name: spec[name] for name in ("id", "stage", "of", "pairs")}
    assert marker["phase"] == "editing"
    assert (still.base / "pending.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_what_the_files_held_is_kept_before_the_first_edit_and_for_us_alone(still: Bench, mask: int) -> None:
    before = os.umask(mask)
    try:
        assert still.step().begin()
    finally:
        os.umask(before)
    assert still.kept() == [still.original] == [still.options.read_text()]
    found = tree(still.base / "steps")
    assert {name.split("/")[-1][:8]: row[:4] for name, row in found.items()} == {
        PERMIT[:8]: "0700",
        "before": "0700",
        "before.j": "0600",
        next(iter((still.base / "steps" / PERMIT / "before").iterdir())).name[:8]: "0600",
    }
    assert not still.step().begin()
    assert tree(still.base / "steps") == found


def test_begin_edit_and_finish_are_a_whole_step_in_parts(bench: Bench) -> None:
    step = bench.step(edits=[])
    assert reasons(step, "begin") == ["the listener answers in the clear only"]
    step.carry_out("begin")
    assert reasons(step, "begin") == []
    assert bench.phase() == "editing"
    bench.options.write_text(bench.original.replace("[log]", "tls_port = %d\n[log]" % bench.tls_port))
    assert bench.loads() == 1
    step.carry_out("finish")
    until(lambda: bench.loads() == 2)
    assert bench.is_clean()
    bench.reverse().carry_out("reverse")
    assert bench.options.read_text() == bench.original
    until(lambda: bench.loads() == 3)


def test_a_load_edits_nothing_and_notes_what_was_loaded(bench: Bench) -> None:
    generations = bench.base / "generations" / "000004"
    generations.mkdir(parents=True)
    (bench.base / "current").symlink_to("generations/000004")
    step = bench.step(id="load-router", stage="load", edits=[], wait_for=[bench.waits(bench.port)])
    step.carry_out("whole")
    until(lambda: bench.loads() == 2)
    assert bench.loaded()["generation"] == "000004"
    assert bench.loaded()["pids"] == [int(bench.pid_file.read_text())]
    assert not (bench.base / "steps").exists()
    assert bench.is_clean()


def test_several_edits_of_one_file_are_all_made(still: Bench) -> None:
    step = still.step(edits=[still.edit(tls_port=1), still.edit(verify="yes")])
    step.carry_out("whole")
    assert "tls_port = 1\nverify = yes\n" in still.options.read_text()


def test_a_restart_is_done_where_the_kind_asks_for_one(bench: Bench) -> None:
    spec = bench.spec()
    restart = {"command": noting(bench, *hup(bench))}
    bench.step(apply="restart", reload={"command": ["false"]}, restart=restart).carry_out("whole")
    assert phases(bench) == ["reloading"]
    bench.step(reload={}, restart=restart, wait_for=spec["wait_for"]).carry_out("whole")  # it cannot be reloaded
    assert phases(bench) == ["reloading", "reloading"]


# What goes wrong


def test_a_configuration_that_fails_its_test_is_not_given_to_the_process(bench: Bench) -> None:
    step = bench.step(edits=[bench.edit(tls_port="many")])
    with pytest.raises(ProgramError, match=r"the configuration test .* ended with 1: tls_port is no number") as raised:
        step.carry_out("whole")
    assert "hunter2" not in str(raised.value)
    assert "password = ********" in str(raised.value)
    assert bench.loads() == 1
    assert bench.phase() == "editing"
    assert bench.answers(bench.port)
    bench.reverse().carry_out("reverse")
    assert bench.options.read_text() == bench.original
    assert bench.options.stat().st_mode & 0o777 == 0o640
    assert bench.is_clean()
    assert not (bench.base / "steps" / PERMIT).exists()


def test_a_reload_that_kills_the_process_is_told_and_its_reverse_starts_it_again(bench: Bench, impatient) -> None:
    restart = {"command": ["sh", "-c", '"$@" & while ! test -s "$0"; do sleep 0.01; done']}
    restart["command"] += [str(bench.pid_file), *PYTHON, str(COMPONENT), str(bench.folder)]
    step = bench.step(edits=[bench.edit(dies="yes")], wait_for=[], restart=restart)
    with pytest.raises(ProgramError, match=r"no process of .*pid runs after 0.2 s"):
        step.carry_out("whole")
    assert bench.phase() == "reloading"
    assert not bench.answers(bench.port)
    bench.pid_file.unlink()
    bench.reverse(restart=restart).carry_out("reverse")
    assert bench.options.read_text() == bench.original
    assert bench.answers(bench.port)
    assert bench.is_clean()


def test_a_process_that_died_of_a_step_is_started_when_the_step_is_done_again(bench: Bench, impatient) -> None:
    restart = {"command": ["sh", "-c", '"$@" & while ! test -s "$0"; do sleep 0.01; done']}
    restart["command"] += [str(bench.pid_file), *PYTHON, str(COMPONENT), str(bench.folder)]
    with pytest.raises(ProgramError):
        bench.step(edits=[bench.edit(dies="yes")], wait_for=[], restart=restart).carry_out("whole")
    bench.pid_file.unlink()
    mended = bench.edit(tls_port=bench.tls_port)
    mended["options"].append({"section": "listener", "key": "dies", "state": "absent"})
    bench.step(edits=[mended], restart=restart).carry_out("whole")
    assert bench.answers(bench.tls_port)
    assert bench.is_clean()


def test_a_process_that_somebody_has_stopped_is_not_started_by_a_step(bench: Bench, impatient) -> None:
    bench.end()
    for state in ("whole", "whole", "reverse"):
        step = bench.step(restart={"command": ["touch", str(bench.folder / "started")]})
        with pytest.raises(ProgramError, match="so nothing can be signalled; start it"):
            step.carry_out(state)
    assert not (bench.folder / "started").exists()
    assert bench.options.read_text() == bench.original


def test_a_reverse_starts_no_process_that_somebody_has_stopped(bench: Bench, impatient) -> None:
    bench.step().carry_out("whole")
    bench.end()
    for _unused in range(2):
        with pytest.raises(ProgramError, match=r"no process of .* runs, so nothing can be signalled; start it"):
            bench.reverse(restart={"command": ["false"]}).carry_out("reverse")
        assert bench.options.read_text() == bench.original
        assert bench.phase() == "reversing"
    bench.pid_file.unlink()
    bench.start()
    bench.reverse().carry_out("reverse")
    assert bench.is_clean()


def test_a_process_that_ended_is_gone_though_nobody_has_waited_for_it(bench: Bench, impatient) -> None:
    """In a container without an init, what a daemon leaves is listed for ever."""
    child = os.fork()
    if not child:
        os._exit(0)
    bench.pid_file.write_text("%d\n" % child)
    until(lambda: Path("/proc/%d/stat" % child).read_text().rpartition(")")[2].split()[0] == "Z")
    try:
        with pytest.raises(ProgramError, match=r"no process of .*pid runs"):
            bench.step(reload={}, wait_for=[]).carry_out("whole")
    finally:
        os.waitpid(child, 0)


def test_a_pid_file_that_is_half_written_is_waited_for(bench: Bench) -> None:
    script = 'pid=$(cat "$0"); : >"$0"; kill -HUP $pid; (sleep 0.3; echo $pid >"$0") &'
    bench.step(reload={"command": ["sh", "-c", script, str(bench.pid_file)]}).carry_out("whole")
    assert bench.answers(bench.tls_port)


def test_a_pid_file_that_stays_empty_is_named(bench: Bench, impatient) -> None:
    bench.pid_file.write_text("")
    with pytest.raises(TlsError, match=r"the pid file .*pid does not begin with a number"):
        bench.step(reload={}).carry_out("whole")
    bench.pid_file.unlink()


def test_what_need_not_run_is_neither_reloaded_nor_started(bench: Bench, impatient) -> None:
    loads = bench.loads()
    bench.end()
    bench.pid_file.unlink(missing_ok=True)
    rests = bench.step(may_rest=True, restart={"command": ["false"]})
    rests.carry_out("whole")
    assert "tls_port" in bench.options.read_text()
    assert bench.loads() == loads
    assert bench.is_clean()


def test_a_port_that_is_not_insisted_on_is_waited_for_and_left_to_the_gates(bench: Bench, impatient) -> None:
    missing = {**bench.waits(bench.tls_port), "insist": False}
    bench.step(edits=[], wait_for=[missing]).carry_out("whole")
    assert bench.is_clean()
    with pytest.raises(ProgramError, match="is open still"):
        bench.step(edits=[], wait_for=[missing, bench.waits(bench.port, until_open=False)]).carry_out("whole")


def test_what_the_system_denies_is_told_with_what_did_not_come_about(bench: Bench, impatient, monkeypatch) -> None:
    asked: list[t.Any] = []

    def causes(process, *, ports, paths, since):
        asked.append((process, ports, paths))
        return ["the first cause", "the second"]

    monkeypatch.setattr(_causes, "causes", causes)
    key = str(bench.base / "current" / "outer" / "key.pem")
    closed = bench.waits(bench.port, until_open=False)
    rows = [closed, bench.waits(bench.tls_port)]
    step = bench.step(edits=[bench.edit(files="ca:%s verify" % key)], wait_for=rows)
    with pytest.raises(ProgramError, match=r"is open still after 0.2 s; the first cause; the second$"):
        step.carry_out("whole")
    assert asked == [({"pid_file": str(bench.pid_file)}, [bench.tls_port], [key])]


WAITS: list[tuple[str, bool, str]] = [
    ("tls_port", True, "port %d of 127.0.0.1 is not open after 0.2 s"),
    ("port", False, "port %d of 127.0.0.1 is open still after 0.2 s"),
]


@pytest.mark.parametrize(("port", "until_open", "says"), WAITS)
def test_a_port_that_is_not_as_it_should_fails_the_step(bench: Bench, impatient, port, until_open, says) -> None:
    number = getattr(bench, port)
    step = bench.step(edits=[], wait_for=[bench.waits(number, until_open=until_open)])
    with pytest.raises(ProgramError, match=says % number):
        step.carry_out("whole")
    assert bench.phase() == "reloading"


def test_a_port_is_waited_for_as_long_as_the_kind_interrupts(bench: Bench, impatient) -> None:
    bench.step(edits=[bench.edit(tls_port=bench.tls_port, delay="0.6")], interruption=8).carry_out("whole")
    bench.step(edits=[bench.edit(delay="0")]).carry_out("whole")
    assert bench.answers(bench.tls_port)


RELOADS: list[tuple[dict[str, t.Any], str]] = [
    ({"signal": "NEVER", "pid_file": "x"}, "there is no signal 'NEVER'; HUP and USR1 are usual"),
    ({"signal": "HUP", "pid_file": "/nowhere"}, "no process of /nowhere runs, so nothing can be signalled; start it"),
    ({"command": ["/nowhere"]}, r"the reload \(/nowhere\) cannot be started: No such file or directory"),
    ({"command": ["sh", "-c", "exit 3"]}, r"the reload \(sh\) ended with 3: it said nothing"),
    ({"command": ["sh", "-c", "seq 9; exit 3"]}, r"ended with 3: 5 / 6 / 7 / 8 / 9$"),
]


@pytest.mark.parametrize(("reload", "says"), RELOADS)
def test_a_reload_that_cannot_be_done_says_why_and_stays_due(still: Bench, reload, says) -> None:
    with pytest.raises(ProgramError, match=says):
        still.step(reload=reload).carry_out("whole")
    assert still.phase() == "reloading"
    still.step().carry_out("whole")
    assert still.is_clean()


def test_a_service_is_reloaded_and_found_by_its_manager(bench: Bench, monkeypatch) -> None:
    tools = bench.folder / "bin"
    tools.mkdir()
    (tools / "systemctl").write_text(
        '#!/bin/sh\necho "$@" >>%s/calls\ntest "$1" != show || echo "MainPID=$(cat %s)"\n' % (tools, bench.pid_file)
    )
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tools, os.environ["PATH"]))
    bench.step(reload={"service": "router"}, process={"service": "router"}, wait_for=[]).carry_out("whole")
    calls = (tools / "calls").read_text().splitlines()
    assert set(calls) == {"reload -- router", "show --property=MainPID,ControlGroup -- router"}
    assert calls.count("reload -- router") == 1
    assert bench.loaded()["pids"] == [int(bench.pid_file.read_text())]


def test_a_service_is_restarted_although_it_failed_too_often_before(still: Bench, monkeypatch) -> None:
    tools = still.folder / "bin"
    tools.mkdir()
    (tools / "systemctl").write_text('#!/bin/sh\necho "$@" >>%s/calls\ntest "$1" = restart\n' % tools)
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tools, os.environ["PATH"]))
    still.step(restart={"service": "router"}, apply="restart").carry_out("whole")
    assert (tools / "calls").read_text().splitlines() == ["reset-failed -- router", "restart -- router"]


def test_nothing_stays_of_a_look_at_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert _program.answers("127.0.0.1", port)
        assert not [row for row in tcp_rows({port}) if row.state != "LISTEN"]
    assert not _program.answers("127.0.0.1", port)


STRANGE: list[tuple[dict[str, t.Any], str]] = [
    ({"id": "../x"}, "'../x' cannot be the id of a step; it is a word such as permit-default"),
    ({"id": ""}, "'' cannot be the id of a step"),
    ({"id": "x\n"}, "cannot be the id of a step"),
]


@pytest.mark.parametrize(("words", "says"), STRANGE)
def test_an_id_that_would_leave_the_folder_is_refused(still: Bench, words, says) -> None:
    with pytest.raises(FilesError, match=says):
        still.step(**words)


NEEDED = ("state", "id", "stage", "target", "reason", "instance", "component", "host", "directory", "folder")


@pytest.mark.parametrize("name", NEEDED)
def test_a_step_that_lacks_a_word_is_refused(still: Bench, name: str) -> None:
    spec = still.spec()
    del spec[name]
    with pytest.raises(SpecRefused, match="a step has no %s; every step has state, id, " % name):
        StepSpec.parse(spec)


def test_a_step_with_a_word_that_no_step_has_is_refused(still: Bench) -> None:
    with pytest.raises(SpecRefused, match="a step knows no 'flies'; every step has"):
        StepSpec.parse(still.spec(flies=[]))


def test_a_file_that_the_kind_does_not_declare_is_not_edited(still: Bench) -> None:
    step = still.step(files=[])
    for act in (step.plan, step.carry_out):
        with pytest.raises(
            StepRefused, match=r"permit-default is to edit .*router.ini, which its kind does not declare"
        ):
            act("whole")
    assert still.options.read_text() == still.original


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("other"), os.mkfifo, Path.mkdir])
def test_a_configuration_that_is_no_regular_file_is_refused_before_anything_is_noted(still: Bench, make) -> None:
    still.options.unlink()
    make(still.options)
    with pytest.raises(FilesError):
        still.step(edits=[]).carry_out("begin")
    assert still.phase() is None


# Doing it again


def test_a_second_try_goes_back_to_what_the_first_one_found(still: Bench) -> None:
    step = still.step()
    step.begin()
    for file in step._edits():
        file.write()
    still.step().carry_out("whole")  # as after a kill in between
    assert still.kept() == [still.original]
    still.reverse().carry_out("reverse")
    assert still.options.read_text() == still.original


def test_a_try_that_failed_in_its_reload_goes_back_to_what_it_found(still: Bench) -> None:
    with pytest.raises(ProgramError):
        still.step(reload={"command": ["false"]}).carry_out("whole")
    still.step().carry_out("whole")
    assert still.kept() == [still.original]
    still.reverse().carry_out("reverse")
    assert still.options.read_text() == still.original


def test_a_step_that_is_done_again_goes_back_to_what_others_made_of_the_file_since(still: Bench) -> None:
    still.step().carry_out("whole")
    still.options.write_text("# theirs\n" + still.options.read_text().replace(str(still.tls_port), "1"))
    still.step().carry_out("whole")
    assert still.kept() == ["# theirs\n" + still.original]
    still.reverse().carry_out("reverse")
    assert still.options.read_text() == "# theirs\n" + still.original


def test_what_a_step_keeps_of_earlier_tries_is_dropped(still: Bench) -> None:
    for remark in "abc":
        still.step().carry_out("whole")
        still.options.write_text("# %s\n" % remark + still.options.read_text())
    assert len(still.kept()) == 1


def test_steps_keep_apart_what_they_found(still: Bench) -> None:
    still.step().carry_out("whole")
    between = still.options.read_text()
    still.step(id="demand-default", edits=[still.edit(verify="yes")]).carry_out("whole")
    assert still.kept() == [still.original]
    assert still.kept("demand-default") == [between]
    still.reverse().carry_out("reverse")  # the earlier one goes first: the later one's line stays
    assert still.options.read_text() == still.original.replace("hunter2\n", "hunter2\nverify = yes\n")
    still.reverse(id="demand-default").carry_out("reverse")
    assert still.options.read_text() == still.original


# Taking it back


def test_a_reverse_restores_every_byte_and_what_modes_say(bench: Bench) -> None:
    before = bench.options.stat()
    bench.step().carry_out("whole")
    bench.options.chmod(0o640)
    assert bench.reverse().is_reversible()
    bench.reverse().carry_out("reverse")
    assert bench.options.read_text() == bench.original
    found = bench.options.stat()
    assert (found.st_mode, found.st_uid, found.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    until(lambda: bench.loads() == 3)
    assert not bench.answers(bench.tls_port)
    assert bench.is_clean()
    assert reasons(bench.reverse(), "reverse") == []
    assert not bench.reverse().reverse()


def test_a_line_that_somebody_wrote_since_survives_the_reverse(bench: Bench) -> None:
    bench.step().carry_out("whole")
    bench.options.write_text("# theirs\n" + bench.options.read_text().replace("info", "debug"))
    bench.reverse().carry_out("reverse")
    assert bench.options.read_text() == "# theirs\n" + bench.original.replace("info", "debug")
    assert bench.is_clean()


def test_a_line_of_ours_that_somebody_changed_since_refuses_the_reverse_with_the_difference(bench: Bench) -> None:
    bench.step(edits=[bench.edit(tls_port=bench.tls_port, password="hunter3")]).carry_out("whole")
    theirs = bench.options.read_text().replace("hunter3", "hunter4")
    bench.options.write_text(theirs)
    step = bench.reverse()
    for act in (step.plan, step.carry_out):
        with pytest.raises(
            StepRefused, match=r"permit-default cannot be taken back, for .* is not as it left"
        ) as raised:
            act("reverse")
        assert "-password = ********; -tls_port = %d; +password = ********" % bench.tls_port in str(raised.value)
        assert "hunter" not in str(raised.value)
    assert bench.options.read_text() == theirs
    assert bench.phase() is None
    until(lambda: bench.loads() == 2)


@pytest.mark.parametrize("edit", ["", "# theirs\n"])
def test_a_mode_that_somebody_set_since_survives_the_reverse(still: Bench, edit: str) -> None:
    still.step().carry_out("whole")
    still.options.write_text(edit + still.options.read_text())
    still.options.chmod(0o600)
    still.reverse().carry_out("reverse")
    assert still.options.read_text() == edit + still.original
    assert still.options.stat().st_mode & 0o777 == 0o600


def test_a_mode_that_the_step_set_is_taken_back(still: Bench) -> None:
    step = still.step(edits=[])
    step.carry_out("begin")
    still.options.chmod(0o600)
    step.carry_out("finish")
    still.reverse().carry_out("reverse")
    assert still.options.stat().st_mode & 0o777 == 0o640


def test_what_somebody_took_back_by_hand_stays(still: Bench) -> None:
    still.step().carry_out("whole")
    still.options.write_text(still.original)
    still.reverse().carry_out("reverse")
    assert still.options.read_text() == still.original
    assert still.is_clean()


def test_a_file_that_the_step_made_goes_away_with_it(still: Bench) -> None:
    made = still.folder / "tls.ini"
    step = still.step(files=[str(still.options), str(made)], edits=[])
    step.carry_out("begin")
    made.write_text("[tls]\n")
    step.carry_out("finish")
    still.reverse(files=[str(still.options), str(made)]).carry_out("reverse")
    assert not made.exists()
    assert still.options.read_text() == still.original


def test_a_file_that_the_step_made_and_somebody_edited_is_not_removed(still: Bench) -> None:
    made = still.folder / "tls.ini"
    step = still.step(files=[str(made)], edits=[])
    step.carry_out("begin")
    made.write_text("[tls]\n")
    step.carry_out("finish")
    made.write_text("[tls]\ntheirs = 1\n")
    says = r"tls.ini is not as it left it: it goes away with .* written into it since: \+theirs = 1; move"
    with pytest.raises(StepRefused, match=says):
        still.reverse(files=[str(made)]).carry_out("reverse")
    assert made.read_text() == "[tls]\ntheirs = 1\n"
    made.write_text("[tls]\n")
    still.reverse(files=[str(made)]).carry_out("reverse")
    assert not made.exists()


def test_a_reverse_that_fails_its_test_stays_noted_and_can_be_done_again(bench: Bench) -> None:
    bench.step().carry_out("whole")
    with pytest.raises(ProgramError):
        bench.reverse(test=["false"]).carry_out("reverse")
    assert bench.phase() == "reversing"
    until(lambda: bench.loads() == 2)
    assert reasons(bench.reverse(), "reverse") == ["the listener answers in the clear only"]
    bench.reverse().carry_out("reverse")
    assert bench.options.read_text() == bench.original
    until(lambda: bench.loads() == 3)
    assert bench.is_clean()


BESIDE = "theirs = 1\n"


def with_a_line_beside_ours(still: Bench) -> str:
    """Do the step, write a line behind the one that it wrote, and return what the file is without the step."""
    still.step().carry_out("whole")
    ours = "tls_port = %d\n" % still.tls_port
    still.options.write_text(still.options.read_text().replace(ours, ours + BESIDE))
    return still.options.read_text().replace(ours, "")


def test_a_reverse_that_failed_after_its_edits_is_done_again_though_a_line_beside_ours_is_theirs(still: Bench) -> None:
    without = with_a_line_beside_ours(still)
    for _unused in range(2):
        with pytest.raises(ProgramError):
            still.reverse(test=["false"]).carry_out("reverse")
        assert still.options.read_text() == without
    still.reverse().carry_out("reverse")
    assert still.options.read_text() == without
    assert still.is_clean()


def test_a_step_that_is_done_again_after_half_a_reverse_keeps_what_is_theirs(still: Bench) -> None:
    without = with_a_line_beside_ours(still)
    with pytest.raises(ProgramError):
        still.reverse(test=["false"]).carry_out("reverse")
    still.step().carry_out("whole")
    assert still.kept() == [without]
    still.reverse().carry_out("reverse")
    assert still.options.read_text() == without


def test_what_was_edited_between_two_tries_survives_the_reverse(still: Bench) -> None:
    with pytest.raises(ProgramError):
        still.step(reload={"command": ["false"]}).carry_out("whole")
    still.options.write_text("# theirs\n" + still.options.read_text())
    still.step().carry_out("whole")
    still.reverse().carry_out("reverse")
    assert still.options.read_text() == "# theirs\n" + still.original


def test_what_was_edited_after_a_kill_in_mid_edit_survives_the_reverse(still: Bench) -> None:
    step = still.step()
    step.begin()
    (file,) = step._edits()
    step._snapshot.intend(file.path, file.edited)
    file.write()  # and killed
    still.options.write_text("# theirs\n" + still.options.read_text())
    still.reverse().carry_out("reverse")
    assert still.options.read_text() == "# theirs\n" + still.original
    assert still.is_clean()


def test_what_a_kind_was_cut_off_in_is_not_guessed_by_a_later_run(still: Bench) -> None:
    still.step(edits=[]).carry_out("begin")
    half = "# half of it, or theirs\n" + still.original
    still.options.write_text(half)
    with pytest.raises(StepRefused, match=r"it was edited while the step was under way; finish the step with"):
        still.reverse().carry_out("reverse")
    assert still.options.read_text() == half
    still.reverse(own=True).carry_out("reverse")
    assert still.options.read_text() == still.original
    assert still.is_clean()


def test_two_steps_of_an_instance_are_noted_beside_each_other(still: Bench) -> None:
    other = still.step(id="connect-other", edits=[])
    other.carry_out("begin")
    still.step().carry_out("whole")
    assert list(still.marker()) == ["connect-other"]
    other.carry_out("finish")
    assert still.is_clean()


def test_a_snapshot_that_was_damaged_is_not_gone_back_to(still: Bench) -> None:
    still.step().carry_out("whole")
    after = still.options.read_text()
    for path in (still.base / "steps" / PERMIT / "before").iterdir():
        path.write_text("something else")
    with pytest.raises(FilesError, match=r"the snapshot in .*permit-default is damaged; take the step back by hand"):
        still.reverse().carry_out("reverse")
    assert still.options.read_text() == after


def test_where_nothing_was_done_there_is_nothing_to_take_back(still: Bench) -> None:
    assert reasons(still.reverse(), "reverse") == []
    still.reverse().carry_out("reverse")
    assert sorted(os.listdir(still.directory)) == [".lock"]


# Whether it could be taken back


def could_not(still: Bench, *names: str) -> dict[str, str]:
    return refusals(str(still.directory), FOLDER, [[name] for name in names])


def test_a_host_tells_what_it_could_not_take_back_and_writes_nothing(still: Bench) -> None:
    still.step().carry_out("whole")
    assert could_not(still, "enforce-default", PERMIT) == {}
    edited = still.options.read_text().replace("tls_port = ", "tls_port = 9")
    still.options.write_text(edited)
    said = could_not(still, "enforce-default", PERMIT)
    assert list(said) == [PERMIT] and "cannot be taken back" in said[PERMIT]
    assert still.options.read_text() == edited
    assert still.marker() == {}


def test_steps_are_tried_on_what_the_ones_before_would_leave(still: Bench) -> None:
    still.step().carry_out("whole")
    still.step(id="demand-default", edits=[still.edit(tls_port=1)]).carry_out("whole")
    assert list(could_not(still, PERMIT)) == [PERMIT], "alone it cannot, for the later step wrote the same line"
    assert could_not(still, "demand-default", PERMIT) == {}


def test_a_snapshot_that_was_damaged_is_told_before_anything_is_done(still: Bench) -> None:
    still.step().carry_out("whole")
    for path in (still.base / "steps" / PERMIT / "before").iterdir():
        path.write_text("something else")
    assert "is damaged; take the step back by hand" in could_not(still, PERMIT)[PERMIT]


# Forgetting it


def test_a_step_that_is_forgotten_leaves_nothing_and_is_not_taken_back(still: Bench) -> None:
    still.step().carry_out("whole")
    after = still.options.read_text()
    step = still.reverse()
    assert reasons(step, "forget") == ["the listener answers in the clear only"]
    step.carry_out("forget")
    assert reasons(step, "forget") == []
    assert not (still.base / "steps" / PERMIT).exists()
    step.carry_out("reverse")
    assert still.options.read_text() == after


def test_what_a_killed_run_left_of_a_snapshot_is_forgotten_as_well(still: Bench) -> None:
    still.step().carry_out("whole")
    (still.base / "steps" / PERMIT / "before.json").unlink()
    assert reasons(still.reverse(), "forget")
    still.reverse().carry_out("forget")
    assert not (still.base / "steps" / PERMIT).exists()


# Beside each other


def test_an_instance_whose_folder_is_a_link_is_refused(still: Bench, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    still.directory.mkdir()
    (still.directory / FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FilesError, match="must be a folder and not a link or a file"):
        still.step().carry_out("whole")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert still.options.read_text() == still.original


def test_a_marker_that_is_damaged_is_named(still: Bench) -> None:
    still.step().begin()
    (still.base / "pending.json").write_text("{")
    with pytest.raises(FilesError, match=r"pending.json is damaged; remove it, and the next run makes it anew"):
        still.step().plan("begin")


def test_the_folders_of_other_steps_stay(still: Bench) -> None:
    still.step().carry_out("whole")
    shutil.copytree(still.base / "steps" / PERMIT, still.base / "steps" / "connect-other")
    still.reverse().carry_out("reverse")
    assert sorted(os.listdir(still.base / "steps")) == ["connect-other"]


# Files that a step makes

MADE = [{"section": "tls", "key": "port", "value": "1"}]


def test_a_file_that_is_missing_is_made_with_its_mode_and_goes_with_the_step(still: Bench) -> None:
    made = still.folder / "tls.ini"
    words = {"files": [str(made)], "makes": {str(made): "0640"}}
    step = still.step(**words, edits=[{"path": str(made), "format": "ini", "options": MADE}])
    assert reasons(step)[0] == "is not set, planned '1'"
    step.carry_out("whole")
    assert made.read_text() == "[tls]\nport = 1\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o640
    still.step(**words).carry_out("reverse")
    assert not made.exists()


def test_a_file_that_is_missing_is_not_made_for_what_is_to_be_absent(still: Bench) -> None:
    made = still.folder / "tls.ini"
    row = {"section": "tls", "key": "port", "state": "absent"}
    edits = [{"path": str(made), "format": "ini", "options": [row]}]
    still.step(files=[str(made)], makes={str(made): "0640"}, edits=edits).carry_out("whole")
    assert not made.exists()


def test_a_file_that_is_missing_and_not_ours_to_make_is_refused(still: Bench) -> None:
    made = str(still.folder / "tls.ini")
    with pytest.raises(FilesError, match="does not exist; options are set in a file that is there"):
        still.step(files=[made], edits=[{"path": made, "format": "ini", "options": MADE}]).plan("whole")


def test_a_file_that_a_killed_step_has_made_goes_with_its_reverse(still: Bench, monkeypatch) -> None:
    made = still.folder / "tls.ini"
    words = {"files": [str(made)], "makes": {str(made): "0644"}}
    step = still.step(**words, edits=[{"path": str(made), "format": "ini", "options": MADE}])
    monkeypatch.setattr(step, "finish", lambda: None)
    step.carry_out("whole")
    assert made.exists()
    still.step(**words).carry_out("reverse")
    assert not made.exists()


# Files that several steps share, one of which made it


class Shared:
    """A file that is missing at first, and the steps that edit it."""

    def __init__(self, still: Bench, folder: str = "router") -> None:
        """Take the component, and the folder of the instance whose steps these are."""
        self.still, self.folder = still, folder
        self.made = still.folder / "conf.d" / "tls.conf"

    def step(self, name: str, *keys: str) -> _step.Step:
        """Return the step that sets these options of the file; each key is a letter, and its value its step's name."""
        rows = [{"key": key, "value": name} for key in keys]
        edits = [{"path": str(self.made), "format": "conf", "options": rows}] if rows else []
        words = {"id": name, "folder": self.folder, "files": [str(self.made)], "makes": {str(self.made): "0640"}}
        return self.still.step(**words, edits=edits)

    def do(self, **steps: str) -> None:
        """Do steps, each with the keys that it sets."""
        for name, keys in steps.items():
            self.step(name, *keys).carry_out("whole")

    def undo(self, *names: str) -> None:
        """Take steps back, tried in memory first as a plan of going back has it."""
        assert refusals(str(self.still.directory), self.folder, [[name] for name in names]) == {}
        for name in names:
            self.step(name).carry_out("reverse")

    def text(self) -> str | None:
        """Return what the file holds, its lines run together; None where there is none."""
        return self.made.read_text().replace(" = ", "=").replace("\n", " ") if self.made.exists() else None

    def is_gone(self) -> bool:
        """Return whether nothing is left of the file, its folder, and what steps kept."""
        kept = list((self.still.directory / self.folder / "steps").glob("*"))
        return not self.made.parent.exists() and not kept and self.still.is_clean()


#: The steps that are done, each with the options that it sets; and the order in which they go back.
ORDERS = [
    ({"first": "a", "second": "b"}, ["second", "first"]),
    ({"first": "a", "second": "b"}, ["first", "second"]),
    ({"first": "a", "second": ""}, ["second", "first"]),
    ({"first": "a", "second": ""}, ["first", "second"]),
    ({"first": "ab", "second": "b"}, ["second", "first"]),
    ({"first": "", "second": "a", "third": "b"}, ["third", "second", "first"]),
    ({"first": "", "second": "a", "third": "b"}, ["first", "second", "third"]),
    ({"first": "a", "second": "b", "third": "c"}, ["second", "first", "third"]),
    ({"first": "a", "second": "b", "third": "bc"}, ["third", "first", "second"]),
    ({"first": "a", "second": "", "third": "", "fourth": "c"}, ["first", "second", "fourth", "third"]),
]


@pytest.mark.parametrize(("done", "back"), ORDERS, ids="-".join)
def test_a_file_that_several_steps_share_goes_away_with_the_last_of_them(still: Bench, done, back) -> None:
    shared = Shared(still)
    shared.do(**done)
    assert shared.text()
    shared.undo(*back)
    assert shared.is_gone()


def test_what_a_later_step_wrote_into_a_file_stays_when_the_one_that_made_it_goes(still: Bench) -> None:
    shared = Shared(still)
    shared.do(first="ab", second="c")
    shared.made.chmod(0o600)
    shared.undo("first")
    assert (shared.text(), stat.S_IMODE(shared.made.stat().st_mode)) == ("c=second ", 0o600)
    shared.undo("second")
    assert shared.is_gone()


def test_the_line_of_an_earlier_step_comes_back_when_the_one_that_changed_it_goes(still: Bench) -> None:
    shared = Shared(still)
    shared.do(first="ab", second="b")
    assert shared.text() == "a=first b=second "
    assert "line 1 was changed again since" in refusals(str(still.directory), "router", [["first"]])["first"]
    shared.undo("second")
    assert shared.text() == "a=first b=first "


@pytest.mark.parametrize("back", [["first", "second"], ["second", "first"]], ids="-".join)
def test_a_step_that_was_done_again_above_another_one_leaves_nothing_in_a_file_that_it_made(still: Bench, back) -> None:
    shared = Shared(still)
    shared.do(first="ab", second="c")
    shared.made.write_text(shared.made.read_text().replace("a = first", "a = drifted"))
    shared.do(first="a")
    assert shared.text() == "a=first b=first c=second "
    shared.undo(*back)
    assert shared.is_gone()


def test_a_file_that_two_instances_share_goes_away_with_the_last_step_of_both(still: Bench) -> None:
    one, other = Shared(still), Shared(still, "dialer")
    one.do(first="a")
    other.do(second="b")
    one.undo("first")
    assert one.text() == "b=second "
    other.undo("second")
    assert other.is_gone()


@pytest.mark.parametrize("back", [["second", "first"], ["first", "second"]], ids="-".join)
def test_what_somebody_wrote_into_a_shared_file_refuses_the_last_of_its_steps_and_stays(still: Bench, back) -> None:
    shared = Shared(still)
    shared.do(first="a", second="b", third="")
    with open(shared.made, "a") as file:
        file.write("their_password = 1\n")
    said = refusals(str(still.directory), "router", [[back[0]], ["third"], [back[1]]])
    assert list(said) == [back[1]]
    assert "somebody has written into it since: +their_password = ********; move that" in said[back[1]]
    shared.undo(back[0])
    last = shared.step(back[1])
    for act in (last.plan, last.carry_out):
        with pytest.raises(StepRefused, match="is not as it left it: it goes away with the steps that made it"):
            act("reverse")
    assert shared.text() == "%s their_password=1 " % ("a=first" if back[1] == "first" else "b=second")


def test_a_shared_file_that_somebody_removed_is_not_made_anew(still: Bench) -> None:
    shared = Shared(still)
    shared.do(first="a", second="b")
    shared.made.unlink()
    said = refusals(str(still.directory), "router", [["second"], ["first"]])
    assert list(said) == ["second"] and "tls.conf was made or removed since the step" in said["second"]


def test_a_file_stays_for_good_once_one_of_the_steps_that_made_it_is_forgotten(still: Bench) -> None:
    shared = Shared(still)
    shared.do(first="a", second="b", third="c")
    shared.step("first").carry_out("forget")
    shared.undo("third", "second")
    assert shared.text() == "a=first "


def test_the_step_that_made_a_file_goes_back_after_a_later_one_is_forgotten(still: Bench) -> None:
    shared = Shared(still)
    shared.do(first="a", second="b")
    shared.step("second").carry_out("forget")
    shared.undo("first")
    assert shared.text() == "b=second "


@pytest.mark.parametrize("done", [{"first": "a", "second": "b"}, {"first": "a", "second": ""}], ids=str)
def test_a_step_that_was_cut_off_above_the_one_that_made_its_file_goes_back(still: Bench, monkeypatch, done) -> None:
    shared = Shared(still)
    shared.do(first=done["first"])
    cut = shared.step("second", *done["second"])
    monkeypatch.setattr(cut, "finish", lambda: None)
    cut.carry_out("whole")
    shared.undo("first", "second")
    assert shared.is_gone()


def test_steps_that_are_done_while_the_clock_is_set_back_are_still_in_their_order(still: Bench, monkeypatch) -> None:
    shared = Shared(still)
    shared.do(first="ab")
    monkeypatch.setattr(_snapshot.time, "time", lambda: 1.0)
    shared.do(second="b")
    assert refusals(str(still.directory), "router", [["first", "second"]]) == {}, "the latest goes first"


# Workers that a reload replaces

LISTENS = """
import signal, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
signal.signal(signal.SIGUSR1, lambda *_: listener.close())
print("up", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def worker() -> t.Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", LISTENS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_worker_of_before_the_reload_is_waited_for_until_it_does_not_listen(worker: subprocess.Popen[str]) -> None:
    with pytest.raises(ProgramError, match="process %d of before the reload still listens after 0.1 s" % worker.pid):
        _program.wait_for_retirement([worker.pid], seconds=0.1)
    worker.send_signal(signal.SIGUSR1)
    _program.wait_for_retirement([worker.pid], seconds=5)
    _program.wait_for_retirement([], seconds=0)


def test_a_worker_that_is_gone_does_not_listen(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()
    _program.wait_for_retirement([worker.pid], seconds=0)
