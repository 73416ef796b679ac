# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules material, options and step in four beats: check, do, check again, do again; and what they never show."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.connsec.tls.plugins.module_utils._host._files import locked
from ansible_collections.connsec.tls.plugins.module_utils._host._installed import Json
from faults import killing

from .bench import PERMIT, Bench, until
from .instances import FOLDER, NAME, Installed, asked, files, tree

COLLECTION = "ansible_collections.connsec.tls.plugins.modules."
BUILD = Path(__file__).resolve().parents[3] / "build"
TARGET = "step permit-default router@urs1"

Run = t.Callable[..., Json]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a module's main() and returns its result."""

    def run_(name: str, *, check: bool = False, diff: bool = False, **arguments: t.Any) -> Json:
        given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}
        with patch_module_args(given), pytest.raises(SystemExit):
            importlib.import_module(COLLECTION + name).main()
        result = json.loads(capsys.readouterr().out)
        if not result.get("failed"):
            assert result["changed"] == bool(result["reasons"]) == bool(result["diff"])
        return result

    return run_


def four_beats(run: Run, name: str, seen: t.Callable[[], t.Any], **arguments: t.Any) -> list[Json]:
    """Check, do, check again and do again; assert that checks change nothing and that doing settles it."""
    before = seen()
    check = run(name, check=True, diff=True, **arguments)
    assert seen() == before, "a check changed something"
    do = run(name, diff=True, **arguments)
    after = seen()
    assert after != before
    again = [run(name, check=check_, diff=True, **arguments) for check_ in (True, False)]
    assert seen() == after
    results = [check, do, *again]
    assert [result["changed"] for result in results] == [True, True, False, False], results
    assert check["reasons"] == do["reasons"]
    assert check["diff"] == do["diff"]
    return results


# material


def instance(version: str = "1", **more: t.Any) -> Json:
    """Return an instance as the action plugin hands it to the module."""
    rows = [
        {"name": file.name, "content": base64.b64encode(file.data).decode(), "secret": file.secret}
        for file in files(version)
    ]
    return {**asked(version), "files": rows, **more}


@pytest.fixture
def router(tmp_path: Path) -> Installed:
    return Installed(tmp_path / "connsec")


def test_material_is_installed_in_four_beats(run: Run, router: Installed) -> None:
    arguments = {"directory": str(router.directory), "instances": [instance()]}
    results = four_beats(run, "material", lambda: tree(router.base), **arguments)
    assert results[0]["reasons"] == {"material router@urs1": "no generation is installed"}
    assert [result["generations"][NAME] for result in results] == [None, "000001", "000001", "000001"]
    results = four_beats(run, "material", lambda: tree(router.base), **{**arguments, "instances": [instance("2")]})
    assert results[0]["reasons"] == {"material router@urs1": "the certificate is another"}
    back = {"directory": str(router.directory), "state": "previous", "instances": [instance(files=[], trusted=["r1"])]}
    results = four_beats(run, "material", lambda: tree(router.base), **back)
    assert results[1]["generations"] == {NAME: "000001"}


def test_an_instance_is_removed_in_four_beats(run: Run, router: Installed) -> None:
    router.install()
    gone = {"directory": str(router.directory), "state": "absent", "instances": [instance(files=[])]}
    results = four_beats(run, "material", lambda: tree(router.base), **gone)
    assert results[0]["reasons"] == {"removal router@urs1": "the model does not name it"}


def test_a_check_of_material_makes_no_folder(run: Run, router: Installed) -> None:
    assert run("material", check=True, directory=str(router.directory), instances=[instance(files=[])])["changed"]
    assert not router.directory.exists()


def test_a_mode_is_repaired_in_four_beats(run: Run, router: Installed) -> None:
    router.install()
    router.path("key.pem").chmod(0o644)
    results = four_beats(
        run, "material", lambda: tree(router.base), directory=str(router.directory), instances=[instance()]
    )
    assert results[1]["diff"][0]["before"] == "key.pem is 0644, planned 0400\n"


def test_material_never_shows_what_it_installs(run: Run, router: Installed) -> None:
    secret = {"inputs": {**asked()["inputs"], "password": "digest-of-hunter2"}}
    for version in "12":
        result = run("material", diff=True, directory=str(router.directory), instances=[instance(version, **secret)])
        del result["invocation"]["module_args"]["instances"][0]["inputs"]
        for file in files(version):
            assert base64.b64encode(file.data).decode() not in json.dumps(result)
        assert "hunter2" not in json.dumps(result)


def test_several_instances_are_installed_at_once_and_only_what_is_due(run: Run, router: Installed) -> None:
    router.install()
    other = instance(name="gateway@urs1", folder="gateway")
    result = run("material", directory=str(router.directory), instances=[instance(), other])
    assert list(result["reasons"]) == ["material gateway@urs1"]
    assert result["generations"] == {NAME: "000001", "gateway@urs1": "000001"}


def test_an_instance_that_cannot_be_had_keeps_no_other_one_back(run: Run, router: Installed) -> None:
    bad = instance(name="gateway@urs1", folder="gateway", account="nobody-here")
    worse = instance(name="proxy@urs1", folder="proxy", files=[{"name": "a", "content": "?"}])
    look = {"instances": [{"name": NAME, "process": {}}], "token": "7"}
    result = run("material", directory=str(router.directory), instances=[bad, instance(), worse], look=look)
    assert result["failed"]
    assert set(result["failures"]) == {"gateway@urs1", "proxy@urs1"}
    assert "there is no account 'nobody-here'" in result["failures"]["gateway@urs1"]
    assert router.seen()["generation"] == "000001"
    assert result["observation"]["token"] == "7"


def test_material_answers_a_look_afterwards(run: Run, router: Installed) -> None:
    look = {"instances": [{"name": NAME, "process": {}}], "token": "7"}
    result = run("material", directory=str(router.directory), instances=[instance()], look=look)
    assert result["observation"]["token"] == "7"


def test_material_waits_its_turn(run: Run, router: Installed) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(str(router.directory)))
        began = time.monotonic()
        threading.Timer(0.2, stack.pop_all().close).start()
        assert run("material", directory=str(router.directory), instances=[instance()])["changed"]
    assert time.monotonic() - began >= 0.15
    assert router.seen()["generation"] == "000001"


MATERIAL_REFUSED: list[tuple[dict[str, t.Any], str]] = [
    ({"instances": [instance(), instance()]}, "an instance, or its folder, is given twice"),
    ({"instances": [instance(), instance(name="other@urs1")]}, "an instance, or its folder, is given twice"),
    ({"instances": [instance(files=[{"name": "a", "content": "?"}])]}, "the content of a is not base64"),
    ({"instances": [instance()], "state": "previous"}, "router@urs1 has no earlier generation to go back to"),
    ({"instances": [instance(account="nobody-here")]}, "there is no account 'nobody-here' on this host"),
    ({"instances": [instance(folder="../x")]}, "it is a single name such as router"),
]


@pytest.mark.parametrize(("arguments", "says"), MATERIAL_REFUSED)
def test_material_refuses_in_one_sentence(run: Run, router: Installed, arguments, says: str) -> None:
    result = run("material", directory=str(router.directory), **arguments)
    assert result["failed"]
    assert says in result["msg"]
    assert "\n" not in result["msg"]
    assert not (router.base / "current").exists()


def test_a_material_process_that_was_killed_is_followed_by_one_that_installs(router: Installed) -> None:
    def process(environment: t.Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(filter(None, [str(BUILD), environment.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, "-m", COLLECTION + "material"],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": {"directory": str(router.directory), "instances": [instance()]}}),
            env={**environment, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    assert process(killing("rename current before")).returncode == -signal.SIGKILL
    assert router.seen()["generation"] is None
    result = json.loads(process(os.environ).stdout)
    assert result["generations"] == {NAME: "000002"}
    assert not list(router.base.rglob("*connsec-new"))


# options


def test_options_are_set_in_four_beats(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "router.ini"
    path.write_text("[listener]\nport = 2020\nold = 1\n")
    options = [
        {"section": "listener", "key": "tls_port", "value": "2021"},
        {"section": "listener", "key": "old", "state": "absent"},
        {"section": "listener", "key": "port", "value": "2020"},
    ]
    results = four_beats(run, "options", path.read_text, path=str(path), options=options)
    assert path.read_text() == "[listener]\nport = 2020\ntls_port = 2021\n"
    assert results[0]["reasons"] == {
        "%s [listener] tls_port" % path: "is not set, planned '2021'",
        "%s [listener] old" % path: "is '1', planned not set",
    }
    assert [(row["before"], row["after"]) for row in results[0]["diff"]] == [("", "2021\n"), ("1\n", "")]


@pytest.mark.parametrize(("format_", "line"), [("conf", "password hunter2\n"), ("properties", "password: hunter2\n")])
def test_options_never_show_a_secret(run: Run, tmp_path: Path, format_: str, line: str) -> None:
    path = tmp_path / "router.conf"
    path.write_text(line)
    options = [{"key": "password", "value": "hunter3"}, {"key": "api_token", "value": "hunter4"}]
    for result in four_beats(run, "options", path.read_text, path=str(path), format=format_, options=options):
        assert "hunter" not in json.dumps(result)
    assert path.read_text() == line.replace("hunter2", "hunter3") + line.replace("password", "api_token").replace(
        "hunter2", "hunter4"
    )


OPTIONS_REFUSED: list[tuple[dict[str, t.Any], str]] = [
    ({"options": [{"key": "k"}]}, "option k needs either a value or state: absent"),
    ({"options": [{"key": "k", "value": "a\nb"}]}, "k holds a line end or another control character"),
    ({"options": [{"key": "k", "value": "v", "separator": "->"}]}, "separator is '->'"),
    (
        {"options": [{"key": "k", "value": "v"}], "format": "yaml"},
        "value of format must be one of: ini, conf, postfix, properties, apache, haproxy, hba, nginx, xml",
    ),
]


@pytest.mark.parametrize(("arguments", "says"), OPTIONS_REFUSED)
def test_options_refuse_in_one_sentence_and_touch_nothing(run: Run, tmp_path: Path, arguments, says: str) -> None:
    path = tmp_path / "router.ini"
    path.write_text("old = 1\n")
    result = run("options", path=str(path), **arguments)
    assert result["failed"]
    assert says in result["msg"]
    assert path.read_text() == "old = 1\n"


def test_options_refuse_a_file_that_is_a_link(run: Run, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("k = 1\n")
    (tmp_path / "router.ini").symlink_to("theirs")
    result = run("options", path=str(tmp_path / "router.ini"), options=[{"key": "k", "value": "2"}])
    assert "router.ini is a link; name the file itself" in result["msg"]
    assert (tmp_path / "theirs").read_text() == "k = 1\n"


# step


def seen(bench: Bench) -> t.Any:
    return tree(bench.base), bench.options.read_text(), bench.loads()


@pytest.mark.parametrize("state", ["begin", "reverse", "forget"])
def test_parts_of_a_step_are_done_in_four_beats(run: Run, bench: Bench, state: str) -> None:
    if state != "begin":
        bench.step().carry_out("whole")
    spec = bench.spec(edits=[], wait_for=[bench.waits(bench.port)])
    results = four_beats(run, "step", lambda: seen(bench), steps=[{**spec, "state": state}])
    assert results[1]["reasons"] == {TARGET: "the listener answers in the clear only"}
    assert bench.options.read_text() == bench.original or state == "forget"


def test_a_whole_step_is_checked_and_done(run: Run, bench: Bench) -> None:
    before = seen(bench)
    row = bench.spec(state="whole", edits=[bench.edit(tls_port=bench.tls_port, password="hunter3")])
    check = run("step", check=True, diff=True, steps=[row])
    assert seen(bench) == before
    done = run("step", diff=True, steps=[row])
    assert (
        done["reasons"]
        == check["reasons"]
        == {
            "%s [listener] tls_port" % bench.options: "is not set, planned '%d'" % bench.tls_port,
            "%s [listener] password" % bench.options: "is '********', planned '********'",
            TARGET: "the listener answers in the clear only",
        }
    )
    assert "hunter" not in json.dumps([check, done])
    assert bench.answers(bench.tls_port)
    settled = tree(bench.folder)["router.ini"]
    assert list(run("step", diff=True, steps=[row])["reasons"]) == [TARGET]  # it reloads each time
    assert tree(bench.folder)["router.ini"] == settled


def test_a_check_of_a_step_says_what_would_fail(run: Run, still: Bench) -> None:
    result = run("step", check=True, steps=[still.spec(state="whole", edits=[still.edit(tls_port="a\nb")])])
    assert result["failed"]
    assert result["failures"] == {TARGET: "[listener] tls_port holds a line end or another control character"}
    assert not still.directory.exists()


def test_a_step_that_fails_keeps_no_other_one_back(run: Run, still: Bench) -> None:
    good = still.spec(state="whole")
    bad = still.spec(state="whole", id="permit-other", target="step permit-other", edits=[], test=["false"])
    result = run("step", steps=[bad, good])
    assert result["failed"]
    assert result["failures"] == {"step permit-other": "the configuration test (false) ended with 1: it said nothing"}
    assert result["msg"] == result["failures"]["step permit-other"]
    assert "tls_port = %d" % still.tls_port in still.options.read_text()


def test_steps_that_go_back_together_are_each_planned_on_what_the_ones_before_would_leave(
    run: Run, still: Bench
) -> None:
    made = still.folder / "tls.conf"
    words = {"files": [str(made)], "makes": {str(made): "0640"}}
    rows = []
    for name, value in (("enforce-default", 1), ("connect-other", 2)):
        edits = [{"path": str(made), "format": "conf", "options": [{"key": "port", "value": str(value)}]}]
        still.step(**words, id=name, edits=edits).carry_out("whole")
        rows.insert(0, still.spec(**words, id=name, target="undo %s" % name, state="reverse", edits=[]))
    check = run("step", check=True, steps=rows)
    assert (check["failures"], made.read_text()) == ({}, "port = 2\n")
    result = run("step", steps=rows)
    assert (result["failures"], made.exists(), still.is_clean()) == ({}, False, True)


def test_nothing_settles_after_a_step_that_failed(run: Run, still: Bench) -> None:
    look = {"instances": [], "settle": [{"id": "x", "address": "127.0.0.1", "port": 1, "seconds": 60}]}
    began = time.monotonic()
    result = run("step", steps=[still.spec(state="whole", test=["false"])], look=look)
    assert result["observation"]["settled"] == {}
    assert time.monotonic() - began < 30


def test_a_failure_does_not_show_a_secret(run: Run, bench: Bench) -> None:
    row = bench.spec(state="whole", edits=[bench.edit(tls_port="many", password="hunter3")])
    result = run("step", diff=True, steps=[row])
    assert "ended with 1: tls_port is no number / password = ********" in result["msg"]
    assert "hunter" not in json.dumps(result)


STEPS_REFUSED: list[tuple[t.Callable[[Json], list[Json]], str]] = [
    (lambda spec: [{**spec, "state": "undo"}], "a step's state is 'undo'; it is one of begin, finish, whole, reverse"),
    (lambda spec: [{**spec, "state": None}], "a step has no state; every step has state, id, stage"),
    (lambda spec: [{"state": "begin", "id": "x"}], "a step has no stage; every step has state, id, stage"),
    (
        lambda spec: [{**spec, "state": "begin"}, {**spec, "state": "finish"}],
        "a step is given twice; give each step once",
    ),
    (lambda spec: [{**spec, "state": "begin", "id": "../x"}], "'../x' cannot be the id of a step"),
]


@pytest.mark.parametrize(("rows", "says"), STEPS_REFUSED)
def test_steps_that_make_no_sense_are_refused_in_one_sentence(run: Run, still: Bench, rows, says: str) -> None:
    result = run("step", steps=rows(still.spec()))
    assert result["failed"]
    assert says in result["msg"]
    assert not still.directory.exists()


def test_a_load_and_a_permit_of_one_host_share_a_round_trip(run: Run, bench: Bench) -> None:
    load = bench.spec(state="whole", id="load-router", stage="load", target="step load", edits=[], wait_for=[])
    result = run("step", steps=[load, bench.spec(state="whole")])
    assert {"step load", TARGET} <= set(result["reasons"])
    until(lambda: bench.loads() == 3)
    assert sorted(os.listdir(bench.base / "steps")) == [PERMIT]
    assert (bench.directory / FOLDER).is_dir()
