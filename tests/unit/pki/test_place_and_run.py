# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the store may lie, and who may use it at a time."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.plugin_utils import _place, _run
from ansible_collections.connsec.tls.plugins.plugin_utils._folder import Folder, StoreError
from ansible_collections.connsec.tls.plugins.plugin_utils._place import StorePaths, refuse_bad_place, store_paths

from .conftest import Bench, snapshot, wanted


def paths_in(folder: Path) -> StorePaths:
    return store_paths({"tls_store": str(folder)}, inventory_directory=None)


@pytest.mark.parametrize(
    ("variables", "inventory", "expected"),
    [
        ({}, "/x/prod", ("/x/prod-store/authorities", "/x/prod-store/identities", "/x/prod-store/ledger")),
        ({"tls_store": "/s"}, None, ("/s/authorities", "/s/identities", "/s/ledger")),
        ({"tls_store": "../s"}, "/x/prod", ("/x/s/authorities", "/x/s/identities", "/x/s/ledger")),
        (
            {"tls_store": "/s", "tls_store_authorities": "/vault/ca"},
            "/x/prod",
            ("/vault/ca", "/s/identities", "/s/ledger"),
        ),
    ],
)
def test_the_store_lies_where_the_variables_say_or_beside_the_inventory(
    variables: dict[str, str], inventory: str | None, expected: tuple[str, str, str]
) -> None:
    assert store_paths(variables, inventory_directory=inventory) == StorePaths(*expected)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "tls_store is not set"),
        ({"tls_store": "relative"}, "absolute"),
        ({"tls_store": 5}, "the path of a folder"),
        ({"tls_store": "/a\nb"}, "the path of a folder"),
        ({"tls_store": "/s", "tls_store_ledger": "/s/identities"}, "three folders"),
    ],
)
def test_a_place_that_cannot_be_is_refused(variables: dict[str, t.Any], says: str) -> None:
    with pytest.raises(StoreError, match=says):
        store_paths(variables, inventory_directory=None)


def test_a_store_inside_the_inventory_is_refused_also_by_way_of_a_link(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (tmp_path / "link").symlink_to(inventory)
    for folder in (inventory, inventory / "store", tmp_path / "link" / "store"):
        with pytest.raises(StoreError, match="inside the inventory folder"):
            refuse_bad_place(paths_in(folder), inventory_directory=str(inventory))
    refuse_bad_place(paths_in(tmp_path / "inventory-store"), inventory_directory=str(inventory))


@pytest.mark.parametrize("git", [True, False], ids=["git is asked", "git is not installed"])
@pytest.mark.parametrize(
    ("ignore", "refused"),
    [(None, True), ("other/\n", True), ("/store/\n", False), ("store\n", False), ("# store\n", True)],
)
def test_a_store_in_a_git_work_tree_must_be_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, git: bool, ignore: str | None, refused: bool
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "tree")], check=True)
    if ignore:
        (tmp_path / "tree/.gitignore").write_text(ignore)
    if not git:
        monkeypatch.setattr(_place.shutil, "which", lambda _name: None)
    paths = paths_in(tmp_path / "tree" / "store")
    if refused:
        with pytest.raises(StoreError, match="which does not ignore it"):
            refuse_bad_place(paths, inventory_directory=None)
    else:
        refuse_bad_place(paths, inventory_directory=None)
    assert not (tmp_path / "tree" / "store").exists()


def test_patterns_of_git_count_where_git_is_asked(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("*-store/\n!keep-store/\n")
    refuse_bad_place(paths_in(tmp_path / "prod-store"), inventory_directory=None)
    with pytest.raises(StoreError, match="does not ignore it"):
        refuse_bad_place(paths_in(tmp_path / "keep-store"), inventory_directory=None)


HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.connsec.tls.plugins.plugin_utils._folder import Folder
folder = Folder(sys.argv[2])
with folder.locked():
    print("held", flush=True)
    sys.stdin.read()
"""
CLAIM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.connsec.tls.plugins.plugin_utils import _run
from ansible_collections.connsec.tls.plugins.plugin_utils._place import StorePaths
_run.claim(StorePaths("x", "y", sys.argv[2]), at="now", what="rollout", pid=os.getpid(), operator="ada")
print("claimed", flush=True)
sys.stdin.read()
"""
BUILD = str(Path(__file__).resolve().parents[3] / "build")


def started(program: str, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, BUILD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() in ("held\n", "claimed\n")
    return process


def ended(process: subprocess.Popen[str], *, kill: bool = False) -> None:
    if kill:
        process.kill()
    process.communicate("")


def test_a_second_transaction_waits_and_then_names_the_holder(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "s"))
    folder.make()
    process = started(HOLD, tmp_path / "s")
    try:
        with pytest.raises(StoreError, match="process %d has held" % process.pid), folder.locked(patience=0.2):
            pass
    finally:
        ended(process, kill=True)
    with folder.locked(patience=0):
        pass


def test_a_run_that_lives_holds_the_store_and_is_named(store: Bench, tmp_path: Path) -> None:
    process = started(CLAIM, Path(store.paths.ledger))
    try:
        with pytest.raises(_run.RunHeld, match=r"rollout by ada \(process %d on " % process.pid):
            _run.claim(store.paths, at="now", pid=os.getpid())
        holder = _run.holder(store.paths)
        assert holder is not None and holder.pid == process.pid
        assert not _run.release(store.paths, pid=os.getpid())
    finally:
        ended(process, kill=True)
    assert _run.holder(store.paths) is None
    assert _run.claim(store.paths, at="now", pid=os.getpid()).pid == os.getpid()
    assert _run.claim(store.paths, at="later", pid=os.getpid()).at == "now"
    assert _run.release(store.paths, pid=os.getpid())
    assert _run.holder(store.paths) is None


@pytest.mark.parametrize(
    ("change", "held"),
    [
        ({}, True),
        ({"boot": "another boot"}, False),
        ({"started": "1"}, False),
        ({"pid": 2**22 - 1, "started": "1"}, False),
        ({"host": "elsewhere"}, True),
    ],
)
def test_a_run_record_is_void_once_its_process_cannot_be_alive(
    store: Bench, monkeypatch: pytest.MonkeyPatch, change: dict[str, t.Any], held: bool
) -> None:
    _run.claim(store.paths, at="now", pid=os.getpid())
    path = Path(store.paths.ledger, "run.json")
    import json

    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert (_run.holder(store.paths) is not None) == held
    if held and change:
        with pytest.raises(_run.RunHeld, match="elsewhere"):
            _run.claim(store.paths, at="now", pid=os.getppid())


@pytest.mark.parametrize("left", [b"", b"\0" * 200])
def test_a_run_record_that_a_system_took_with_it_is_void(store: Bench, left: bytes) -> None:
    _run.claim(store.paths, at="now", pid=os.getpid())
    Path(store.paths.ledger, "run.json").write_bytes(left)
    assert _run.holder(store.paths) is None
    assert _run.claim(store.paths, at="later", pid=os.getpid()).at == "later"


@pytest.mark.parametrize("junk", ["[]", "{}", '{"pid": "x"}'])
def test_a_damaged_run_record_is_named(store: Bench, junk: str) -> None:
    _run.claim(store.paths, at="now", pid=os.getpid())
    Path(store.paths.ledger, "run.json").write_text(junk)
    with pytest.raises(StoreError, match=r"run\.json is damaged"):
        _run.holder(store.paths)


def test_looking_for_a_holder_makes_nothing(store: Bench) -> None:
    assert _run.holder(store.paths) is None
    assert not _run.release(store.paths, pid=os.getpid())
    assert snapshot(store.folder) == {}


def test_a_task_beside_a_run_is_refused_and_one_of_the_run_is_not(store: Bench) -> None:
    _run.refuse_while_held(store.paths, pid=os.getpid())
    process = started(CLAIM, Path(store.paths.ledger))
    try:
        with pytest.raises(_run.RunHeld, match=r"rollout by ada \(process %d on .*, since now\) holds" % process.pid):
            _run.refuse_while_held(store.paths, pid=os.getpid())
        _run.refuse_while_held(store.paths, pid=process.pid)
    finally:
        ended(process, kill=True)
    _run.refuse_while_held(store.paths, pid=os.getpid())


def test_a_run_says_since_when_by_the_clock(store: Bench) -> None:
    run = _run.claim(store.paths, what="rollout", pid=os.getpid())
    since = datetime.datetime.fromisoformat(run.at)
    assert abs((datetime.datetime.now(datetime.UTC) - since).total_seconds()) < 60
    assert str(run).endswith("since %s)" % run.at)


@pytest.mark.parametrize("part", ["authorities", "identities", "ledger"])
def test_a_folder_that_others_can_write_to_is_not_even_read(store: Bench, part: str) -> None:
    store.carry_out(wanted())
    _run.claim(store.paths, pid=os.getpid())
    os.chmod(store.folder / part, 0o770)
    look = _run.holder if part == "ledger" else (lambda _paths: store.inspect(wanted()))
    with pytest.raises(StoreError, match=r"%s cannot be trusted: others may write to .*\(mode 0770\)" % part):
        look(store.paths)


def test_a_folder_whose_parent_others_can_write_to_is_not_read_nor_made(store: Bench) -> None:
    store.folder.mkdir(mode=0o700)
    os.chmod(store.folder, 0o775)
    with pytest.raises(StoreError, match=r"authorities cannot be trusted: others may write to .*/store \(mode 0775\)"):
        store.carry_out(wanted())
    assert list(store.folder.iterdir()) == []
    os.chmod(store.folder, 0o700)
    store.carry_out(wanted())
    os.chmod(store.folder, 0o775)
    with pytest.raises(StoreError, match="cannot be trusted"):
        store.material()


def test_a_sticky_folder_and_what_lies_above_one_of_ours_are_fine(store: Bench) -> None:
    store.folder.mkdir()
    os.chmod(store.folder, 0o1777)
    store.carry_out(wanted())
    os.chmod(store.folder, 0o700)
    os.chmod(store.folder.parent, 0o777)
    assert not store.inspect(wanted()).changes


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TRIED: only root can give a folder away")
@pytest.mark.parametrize("given", ["store/authorities", "store"])
def test_a_folder_of_another_account_is_not_read(store: Bench, given: str) -> None:
    store.carry_out(wanted())
    os.chown(store.folder.parent / given, 1234, -1)
    with pytest.raises(StoreError, match=r"%s belongs to another account \(uid 1234\)" % given):
        store.inspect(wanted())


@pytest.mark.parametrize(
    ("ignore", "refused"),
    [
        ("secret.json\n", True),
        ("*.json\n*.jsonl\n", True),
        ("*.pem\n*.json\n*.jsonl\n", True),
        ("/store/*/*\n!root.pem\n", True),
        ("/store/**\n", False),
        ("*\n", False),
    ],
)
def test_a_pattern_that_ignores_only_some_of_the_store_is_not_enough(
    tmp_path: Path, ignore: str, refused: bool
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(ignore)
    if refused:
        with pytest.raises(StoreError, match="does not ignore it"):
            refuse_bad_place(paths_in(tmp_path / "store"), inventory_directory=None)
    else:
        refuse_bad_place(paths_in(tmp_path / "store"), inventory_directory=None)
