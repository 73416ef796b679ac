# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances that nobody names any more: found on a real disk, kept while something uses them, and removed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host import _removal
from ansible_collections.connsec.tls.plugins.module_utils._host._leftovers import leftovers
from ansible_collections.connsec.tls.plugins.module_utils._host._observe import observe
from ansible_collections.connsec.tls.plugins.module_utils._host._reading import FilesError
from ansible_collections.connsec.tls.plugins.module_utils._host._removal import Removal

from .instances import FOLDER, NAME, Installed


@pytest.fixture
def router(tmp_path: Path) -> Installed:
    router = Installed(tmp_path / "connsec")
    router.install("1", public={"": {"name": NAME, "serial": "0a", "not_after": 200}})
    return router


def seen(router: Installed, *known: str) -> dict[str, t.Any]:
    request = {"directory": str(router.directory), "leftovers": {"known": known}}
    return dict(observe(request)["leftovers"])


def removal(router: Installed, **more: t.Any) -> Removal:
    return Removal(str(router.directory), {"name": NAME, "folder": FOLDER, **more})


@contextlib.contextmanager
def process(*words: str, **variables: str) -> t.Iterator[int]:
    """Run a process with these arguments and variables."""
    argv = [sys.executable, "-c", "print(flush=True); input()", *words]
    environment = {**os.environ, **variables}
    running = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        assert running.stdout is not None
        running.stdout.readline()
        yield running.pid
    finally:
        running.communicate(b"\n")


def test_a_folder_of_ours_that_nobody_names_is_told_with_what_went_in(router: Installed) -> None:
    (row,) = seen(router, "desk").values()
    assert (row["instance"], row["generation"], row["trust"]) == (NAME, "000001", ["r1"])
    assert row["identities"] == [{"name": NAME, "serial": "0a", "not_after": 200, "issuer": None, "root": None}]
    assert row["used"] == []
    assert seen(router, FOLDER) == {}


def test_what_is_not_ours_is_not_told(router: Installed) -> None:
    (router.directory / "theirs" / "generations").mkdir(parents=True)
    (router.directory / "file").write_text("")
    assert list(seen(router, "desk")) == [FOLDER]
    nowhere = {"directory": str(router.directory / "nowhere"), "leftovers": {"known": ["desk"]}}
    assert observe(nowhere)["leftovers"] == {}


def test_a_removal_takes_all_of_it_and_a_second_one_finds_nothing(router: Installed) -> None:
    router.install("2")
    change = removal(router).plan()
    assert change is not None and "router/generations" in change.before
    removal(router).make()
    assert sorted(os.listdir(router.directory)) in ([], [".lock"])
    assert removal(router).plan() is None


def test_a_removal_that_was_cut_off_is_found_and_finished(router: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(path: str, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_removal.shutil, "rmtree", refuses)
        with pytest.raises(FilesError, match=r"cannot be removed: No space left on device"):
            removal(router).make()
    assert seen(router, "desk") == {".gone-router": {"instance": None, "half": True, "used": []}}
    again = removal(router, folder=".gone-router")
    assert again.plan() is not None
    again.make()
    assert seen(router, "desk") == {}


def refused(router: Installed) -> str:
    """Return what uses the folder; the look tells it, and the removal is refused for it."""
    row = leftovers(str(router.directory), [FOLDER])[FOLDER]
    with pytest.raises(FilesError) as caught:
        removal(router).plan()
    assert str(caught.value) == "%s is not removed: %s" % (NAME, row["used"][0])
    return str(row["used"][0])


def test_a_process_that_was_given_it_and_still_runs_keeps_it(router: Installed) -> None:
    with process() as pid:
        loaded = {"generation": "000001", "at": time.time(), "pids": [pid]}
        (router.base / "loaded.json").write_text(json.dumps(loaded))
        assert refused(router) == "process %d was given it and still runs" % pid
        loaded["at"] = time.time() - 3600
        (router.base / "loaded.json").write_text(json.dumps(loaded))
        assert removal(router).plan() is not None, "another process has the number of the one that ended"
    loaded["at"] = time.time()
    (router.base / "loaded.json").write_text(json.dumps(loaded))
    assert removal(router).plan() is not None


def test_a_process_that_names_it_keeps_it(router: Installed) -> None:
    trust = str(router.base / "current" / "trust.pem")
    with process("--trust", trust) as pid:
        assert refused(router) == "process %d names it" % pid
    with process(SSL_CERT_FILE=trust) as pid:
        assert refused(router) == "process %d names it" % pid
    with process(str(router.base) + "2/current/trust.pem"):
        assert removal(router).plan() is not None


def test_a_configuration_that_a_step_edited_and_that_names_it_keeps_it(router: Installed, tmp_path: Path) -> None:
    options = tmp_path / "router.ini"
    options.write_text("trust = %s/current/trust.pem\n" % router.base)
    step = router.base / "steps" / "connect-a"
    step.mkdir(parents=True)
    (step / "before.json").write_text(json.dumps({"files": {str(options): None}, "at": 1.0}))
    assert refused(router) == "%s names it" % options
    options.write_text("trust = /etc/ssl/certs\n")
    assert removal(router).plan() is not None


def test_a_step_that_is_under_way_keeps_it(router: Installed) -> None:
    (router.base / "pending.json").write_text(json.dumps({"connect-a": {"phase": "editing"}}))
    assert refused(router) == "a step of it is under way"


def test_the_lines_that_gave_its_processes_an_environment_go_with_it(router: Installed, tmp_path: Path) -> None:
    path = tmp_path / "environment"
    block = "# BEGIN connsec %s\nSSL_CERT_FILE=/x\n# END connsec %s\n" % (NAME, NAME)
    path.write_text("THEIRS=1\n" + block)
    router.install("2", environment={"target": "file", "path": str(path)})
    change = removal(router).plan()
    assert change is not None and str(path) in change.before
    removal(router).make()
    assert path.read_text() == "THEIRS=1\n"


@pytest.mark.parametrize("folder", ["..", "a/b", ""])
def test_a_folder_that_is_no_single_name_is_refused(router: Installed, folder: str) -> None:
    with pytest.raises(FilesError, match="it is a single name such as router"):
        removal(router, folder=folder)


def test_the_folder_of_another_instance_is_not_removed(router: Installed) -> None:
    with pytest.raises(FilesError, match=r"is not the folder of desk@urs1, and stays"):
        removal(router, name="desk@urs1").plan()
