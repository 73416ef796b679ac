# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed before or after any of its effects, a hand leaves the old or the new, and the next run finishes or takes back.

The places are not listed: a child does the work again and again, and dies one effect later each time, until it lives.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host import _program
from faults import sitecustomize as faults

from .bench import PERMIT, Bench
from .instances import Installed, tree

EFFECTS = ("create", "rename", "remove")
WHENS = ("before", "after")


def dies(work: t.Callable[[], t.Any], at: str, count: Path) -> bool:
    """Do work in a child that dies at a place; return whether it did, or came to its end."""
    child = os.fork()
    if not child:
        try:
            faults._COUNTER = str(count)
            sys.addaudithook(faults._Killer(*at.split()))
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), "the child failed before it could die"
    return status != 0


def places(work: t.Callable[[], t.Any], effect: str, when: str, count: Path) -> list[str]:
    """Do the work in a child that lives, and return the places at which it could have died."""
    assert not dies(work, "%s * %s 1000000" % (effect, when), count)
    assert count.exists(), "it has no such effect, so there is nothing to test"
    return ["%s * %s %d" % (effect, when, number + 1) for number in range(count.stat().st_size)]


def deaths(
    prepare: t.Callable[[Path], t.Any], work: t.Callable[[t.Any], t.Any], effect: str, when: str, folder: Path
) -> t.Iterator[t.Any]:
    """Yield what was prepared after each death in the work on it; where what is not there is removed, it may live."""

    def act(place: Path) -> t.Callable[[], t.Any]:
        place.mkdir()
        made.append(prepare(place))
        return lambda: work(made[-1])

    made: list[t.Any] = []
    for number, at in enumerate(places(act(folder / "whole"), effect, when, folder / "count")):
        died = dies(act(folder / str(number)), at, folder / ("count-%d" % number))
        assert died or at.startswith("remove * after")
        yield made[-1]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing: the kernel keeps what a killed process wrote, and nobody dies of a configuration here."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    monkeypatch.setattr(_program, "_MOMENT", 0)


# Material


def empty(folder: Path) -> Installed:
    return Installed(folder / "connsec")


def installed(*versions: str) -> t.Callable[[Path], Installed]:
    """Return what prepares a folder with these versions installed."""

    def prepare(folder: Path) -> Installed:
        made = empty(folder)
        for version in versions:
            made.install(version)
        return made

    return prepare


def spoilt(folder: Path) -> Installed:
    made = installed("1")(folder)
    made.path("key.pem").unlink()
    return made


def version_of(router: Installed) -> str | None:
    """Return the version that is current, which is whole."""
    if not (router.base / "current").exists():
        return None
    held = {name: router.path(name).read_bytes().split()[1] for name in ("certificate.pem", "key.pem", "trust.pem")}
    assert len(set(held.values())) == 1, "two versions are mixed"
    assert not router.seen()["drift"]
    return held["key.pem"].decode()


def assert_nothing_half_done(router: Installed) -> None:
    assert not list(router.directory.rglob("*connsec-new*"))
    for folder in (router.base / "generations").iterdir():
        assert (folder / "manifest.json").exists()
    modes = {Path(name).name: row[:4] for name, row in tree(router.base / "generations").items() if ".pem" in name}
    assert modes == {"certificate.pem": "0444", "key.pem": "0400", "trust.pem": "0444"}


INSTALLS: list[tuple[str, t.Callable[[Path], Installed], set[str | None]]] = [
    ("the first", empty, {None, "2"}),
    ("one that makes an old one go", installed("8", "9", "0", "1"), {"1", "2"}),
]


@pytest.mark.parametrize(("prepare", "versions"), [row[1:] for row in INSTALLS], ids=[row[0] for row in INSTALLS])
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("effect", EFFECTS)
def test_material_is_the_old_or_the_new_one_and_the_next_run_installs_it(
    tmp_path: Path, effect: str, when: str, prepare: t.Callable[[Path], Installed], versions: set[str | None]
) -> None:
    for router in deaths(prepare, lambda made: made.install("2"), effect, when, tmp_path):
        assert version_of(router) in versions
        if version_of(router) == "2" and prepare is not empty:
            router.go_back()
            assert version_of(router) == "1"
        router.install("2")
        assert version_of(router) == "2"
        assert router.plan("2") is None
        router.install("3")
        assert_nothing_half_done(router)
        router.go_back()
        assert version_of(router) == "2"


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("effect", ["create", "rename"])
def test_material_that_drifted_is_mended_by_the_next_run(tmp_path: Path, effect: str, when: str) -> None:
    for router in deaths(spoilt, lambda made: made.install("1"), effect, when, tmp_path):
        router.install("1")
        assert version_of(router) == "1"
        assert router.plan("1") is None


@pytest.mark.parametrize("when", WHENS)
def test_the_way_back_is_gone_or_not(tmp_path: Path, when: str) -> None:
    for router in deaths(installed("1", "2"), lambda made: made.go_back(), "rename", when, tmp_path):
        assert version_of(router) in ("1", "2")
        router.go_back()
        assert version_of(router) == "1"
        router.install("3")
        assert_nothing_half_done(router)


@pytest.mark.skipif(os.geteuid() != 0, reason="LEFT OUT: only root can give files away")
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("effect", EFFECTS)
def test_files_that_change_hands_belong_to_one_account_and_the_next_run_gives_the_rest(tmp_path, effect, when) -> None:
    for router in deaths(installed("1"), lambda made: made.install("1", account="nobody"), effect, when, tmp_path):
        router.install("1", account="nobody")
        assert router.plan("1", account="nobody") is None
        assert router.seen()["drift"] == {}
        assert {router.path(name).owner() for name in ("certificate.pem", "key.pem", "trust.pem")} == {"nobody"}
        assert_nothing_half_done(router)


# Steps


def component(folder: Path) -> Bench:
    """Return a component that does not run, so that its steps have nothing to test, to reload and to wait for."""
    made = Bench(folder)
    made.usual = {"test": [], "reload": {}, "process": {}, "wait_for": []}
    return made


def finished(folder: Path) -> Bench:
    made = component(folder)
    made.step().carry_out("whole")
    return made


def edited_since(folder: Path) -> Bench:
    """Return one with a finished step, ours undone by hand, and a line of theirs."""
    made = finished(folder)
    made.options.write_text("# theirs\n" + made.original)
    return made


def due_again(folder: Path) -> Bench:
    """Return one with a finished step and a line of theirs, as where its reload is due again."""
    made = finished(folder)
    made.options.write_text("# theirs\n" + made.options.read_text())
    return made


def beside_ours(folder: Path) -> Bench:
    """Return one with a finished step, and a line of theirs beside ours."""
    made = finished(folder)
    ours = "tls_port = %d\n" % made.tls_port
    made.options.write_text(made.options.read_text().replace(ours, ours + "theirs = 1\n"))
    return made


def without(made: Bench, prepare: t.Callable[[Path], Bench]) -> str:
    """Return what the file holds without the step."""
    if prepare in (edited_since, due_again):
        return "# theirs\n" + made.original
    if prepare is beside_ours:
        return made.original.replace("hunter2\n", "hunter2\ntheirs = 1\n")
    return made.original


def with_ours(made: Bench, text: str) -> str:
    """Return what the file holds with the step."""
    return text.replace("hunter2\n", "hunter2\ntls_port = %d\n" % made.tls_port)


#: What is there after one effect is there before the next as well, so each of both is followed by one way to go on.
THEN = [("before", "whole"), ("after", "reverse")]


@pytest.mark.parametrize(
    "prepare", [component, edited_since, due_again], ids=["the first time", "again", "still there"]
)
@pytest.mark.parametrize(("when", "then"), THEN)
@pytest.mark.parametrize("effect", EFFECTS)
def test_a_step_is_finished_or_taken_back_by_the_next_run(tmp_path, effect, when, prepare, then) -> None:
    for made in deaths(prepare, lambda made: made.step().carry_out("whole"), effect, when, tmp_path):
        old = without(made, prepare)
        new = with_ours(made, old)
        found = made.options.read_text()
        assert found in (old, new)
        assert found == old or (made.kept() and (made.phase() or made.loaded()))
        if then == "whole":
            made.step().carry_out("whole")
            assert made.options.read_text() == new
            assert old in made.kept()
            assert made.is_clean()
        made.reverse().carry_out("reverse")
        assert made.options.read_text() == old
        assert made.options.stat().st_mode & 0o777 == 0o640
        if (made.base / "steps" / PERMIT).exists():  # killed before there was a snapshot to go back to
            made.step().carry_out("whole")
            made.reverse().carry_out("reverse")
        assert made.is_clean()
        assert not (made.base / "steps" / PERMIT).exists()


@pytest.mark.parametrize("prepare", [finished, beside_ours], ids=["ours alone", "theirs beside"])
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("effect", EFFECTS)
def test_a_reverse_is_finished_by_the_next_run(tmp_path, effect, when, prepare) -> None:
    for made in deaths(prepare, lambda made: made.reverse().carry_out("reverse"), effect, when, tmp_path):
        old = without(made, prepare)
        assert made.options.read_text() in (old, with_ours(made, old))
        made.reverse().carry_out("reverse")
        assert made.options.read_text() == old
        assert made.is_clean()
        assert not (made.base / "steps" / PERMIT).exists()


@pytest.mark.parametrize("when", WHENS)
def test_a_snapshot_is_forgotten_by_the_next_run(tmp_path: Path, when: str) -> None:
    for made in deaths(finished, lambda made: made.reverse().carry_out("forget"), "remove", when, tmp_path):
        made.reverse().plan("reverse")  # half of one is none, and does not count as damaged
        made.reverse().carry_out("forget")
        assert not (made.base / "steps" / PERMIT).exists()
        assert made.options.read_text() == with_ours(made, made.original)


@pytest.mark.parametrize(("when", "then"), THEN)
@pytest.mark.parametrize("effect", ["run", "signal"])
def test_a_component_that_runs_is_given_its_configuration_or_the_old_one(bench: Bench, effect, when, then) -> None:
    count = bench.folder / "count"
    for at in places(lambda: bench.step().carry_out("whole"), effect, when, count):
        bench.reverse().carry_out("reverse")
        count.unlink()
        assert dies(lambda: bench.step().carry_out("whole"), at, count)
        assert bench.answers(bench.port)
        assert bench.phase() == ("editing" if effect == "run" else "reloading")
        assert bench.kept() == [bench.original]
        if then == "whole":
            bench.step().carry_out("whole")
            assert bench.answers(bench.tls_port)
            assert bench.is_clean()
        bench.reverse().carry_out("reverse")
        assert bench.options.read_text() == bench.original
        assert bench.answers(bench.port)
        assert not bench.answers(bench.tls_port)
        assert bench.is_clean()


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("effect", ["run", "signal"])
def test_a_component_that_runs_is_given_its_old_configuration_by_the_next_reverse(bench: Bench, effect, when) -> None:
    bench.step().carry_out("whole")
    assert dies(lambda: bench.reverse().carry_out("reverse"), "%s * %s" % (effect, when), bench.folder / "count")
    assert bench.options.read_text() == bench.original
    assert bench.phase() == "reversing"
    bench.reverse().carry_out("reverse")
    assert bench.answers(bench.port)
    assert not bench.answers(bench.tls_port)
    assert bench.is_clean()
