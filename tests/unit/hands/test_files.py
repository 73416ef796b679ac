# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are written whole, with their mode from birth, and never through a link; a failure leaves the old one alone."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host import _files
from ansible_collections.connsec.tls.plugins.module_utils._host._files import (
    TEMPORARY,
    locked,
    make_directory,
    owner_of_account,
    remove,
    sweep,
    write_durable,
    write_new,
)
from ansible_collections.connsec.tls.plugins.module_utils._host._reading import (
    FilesError,
    Owner,
    account_of,
    read_regular,
)

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="LEFT OUT: only root can give files away")
US = Owner(os.geteuid(), os.getegid())
NOBODY = pwd.getpwnam("nobody")


@contextlib.contextmanager
def umask(mask: int) -> t.Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def said_to_nobody(folder: Path, work: t.Callable[[], t.Any]) -> str:
    """Return what work says in a folder to an account that is not root, in a child, for there is no way back."""
    folder.chmod(0o755)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.setgroups([])
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        try:
            work()
        except FilesError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as said:
        return said.read()


# Writing


@pytest.mark.parametrize("mask", [0o000, 0o077])
@pytest.mark.parametrize("mode", [0o400, 0o444, 0o600, 0o644, 0o660])
def test_a_file_has_its_mode_whatever_the_umask_is(tmp_path: Path, mask: int, mode: int) -> None:
    with umask(mask):
        write_durable(str(tmp_path / "a"), b"one", mode=mode)
        write_new(str(tmp_path / "b"), b"one", mode=mode)
        write_durable(str(tmp_path / "a"), b"two", mode=mode)
    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "b") == mode
    assert (tmp_path / "a").read_bytes() == b"two"
    assert names_in(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("mode", [0o400, 0o644, 0o666])
def test_at_no_moment_anybody_has_more_than_the_mode_says(tmp_path: Path, monkeypatch, mode: int) -> None:
    seen = []
    for name in ("write", "fchmod", "fsync", "rename"):

        def look(*arguments: t.Any, real: t.Callable[..., t.Any] = getattr(os, name)) -> t.Any:
            seen.extend(mode_of(path) for path in tmp_path.glob(".a.*"))
            return real(*arguments)

        monkeypatch.setattr(os, name, look)
    with umask(0):
        write_durable(str(tmp_path / "a"), b"secret", mode=mode)
    assert len(seen) >= 3
    assert all(found & ~mode == 0 for found in seen)


def test_a_long_file_is_written_whole(tmp_path: Path) -> None:
    data = bytes(range(256)) * (4 << 10)
    write_durable(str(tmp_path / "a"), data, mode=0o600)
    found = read_regular(str(tmp_path / "a"))
    assert found is not None
    assert (found.data, found.mode, found.owner) == (data, 0o600, US)


def test_a_name_without_a_folder_is_written_where_we_are(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_durable("a", b"one", mode=0o600)
    write_durable("a", b"two", mode=0o600)
    assert (tmp_path / "a").read_bytes() == b"two"
    assert remove("a")
    assert names_in(tmp_path) == []


def test_a_new_file_must_not_be_there_yet(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("theirs")
    with pytest.raises(FilesError, match="a cannot be written: File exists"):
        write_new(str(tmp_path / "a"), b"ours", mode=0o600)
    assert (tmp_path / "a").read_text() == "theirs"


def test_another_name_of_a_file_keeps_what_it_held(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "b")
    write_durable(str(tmp_path / "a"), b"new", mode=0o600)
    assert (tmp_path / "a").read_text() == "new"
    assert (tmp_path / "b").read_text() == "old"


def make_link(path: Path) -> None:
    (path.parent / "elsewhere").write_text("theirs")
    path.symlink_to("elsewhere")


def make_loose_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path must be short
        try:
            sock.bind(path.name)
        finally:
            os.chdir(here)


STRANGE: list[tuple[t.Callable[[Path], t.Any], str, str]] = [
    # how it is made, what a write says, what a read says
    (make_link, "is a link; nothing is written through it: name the file itself", "is a link; name the file itself"),
    (make_loose_link, "is a link; nothing is written through it", "is a link; name the file itself"),
    (os.mkfifo, "is no regular file", "must be a regular file"),
    (Path.mkdir, "is no regular file", "must be a regular file"),
    (make_socket, "is no regular file", "cannot be read: No such device or address"),
]


@pytest.mark.parametrize(("make", "written", "read"), STRANGE)
def test_what_is_no_regular_file_is_neither_written_nor_read(tmp_path: Path, make, written, read) -> None:
    path = tmp_path / "a"
    make(path)
    before = names_in(tmp_path)
    with pytest.raises(FilesError, match=written):
        write_durable(str(path), b"ours", mode=0o600)
    with pytest.raises(FilesError, match=read):
        read_regular(str(path))
    assert names_in(tmp_path) == before
    if make is make_link:
        assert (tmp_path / "elsewhere").read_text() == "theirs"


def test_a_link_that_is_swapped_in_at_the_last_moment_is_replaced_and_not_followed(tmp_path: Path, monkeypatch) -> None:
    rename = os.rename

    def swap(source: str, target: str) -> None:
        make_link(Path(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", swap)
    write_durable(str(tmp_path / "a"), b"ours", mode=0o600)
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "theirs"


def test_a_temporary_file_of_somebody_else_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("theirs")
    ours = tmp_path / (".a.%d%s" % (os.getpid(), TEMPORARY))
    ours.symlink_to("elsewhere")
    write_durable(str(tmp_path / "a"), b"ours", mode=0o600)
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert (tmp_path / "a").read_text() == "ours"
    assert not ours.is_symlink()


@pytest.mark.parametrize("call", ["write", "fsync", "fchmod", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_refuses_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, call, number) -> None:
    (tmp_path / "a").write_text("old")

    def refuse(*arguments: t.Any) -> t.NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(FilesError, match="a cannot be written: %s" % os.strerror(number)):
        write_durable(str(tmp_path / "a"), b"new", mode=0o600)
    assert (tmp_path / "a").read_text() == "old"
    assert names_in(tmp_path) == ["a"]


def test_a_file_that_would_be_too_long_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(FilesError, match="a cannot be written: File too large"):
            write_durable(str(tmp_path / "a"), b"x" * 5000, mode=0o600)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "a").read_text() == "old"
    assert names_in(tmp_path) == ["a"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="no/a cannot be written: No such file or directory"):
        write_durable(str(tmp_path / "no" / "a"), b"", mode=0o600)


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="LEFT OUT: there are no extended attributes here")
def test_what_modes_do_not_say_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    try:
        os.setxattr(path, "user.label", b"theirs")
    except OSError:
        pytest.skip("LEFT OUT: this file system has no extended attributes")
    write_durable(str(path), b"new", mode=0o600)
    assert os.getxattr(path, "user.label") == b"theirs"


@needs_root
def test_a_file_is_given_to_its_owner(tmp_path: Path) -> None:
    nobody = Owner(NOBODY.pw_uid, NOBODY.pw_gid)
    write_durable(str(tmp_path / "a"), b"one", mode=0o400, owner=nobody)
    found = read_regular(str(tmp_path / "a"))
    assert found is not None
    assert (found.owner, found.mode) == (nobody, 0o400)


# Reading


def test_nothing_is_read_where_nothing_is(tmp_path: Path) -> None:
    assert read_regular(str(tmp_path / "no")) is None
    assert read_regular(str(tmp_path / "no" / "no")) is None


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular(str(tmp_path / "a"), limit=5) is not None
    with pytest.raises(FilesError, match="is 5 bytes long; at most 4 are read"):
        read_regular(str(tmp_path / "a"), limit=4)


@needs_root
def test_a_file_that_we_may_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("secret")
    (tmp_path / "a").chmod(0o400)
    assert said_to_nobody(tmp_path, lambda: read_regular("a")) == "a cannot be read: Permission denied"


# Removing


def test_a_file_is_removed_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    assert remove(str(tmp_path / "a"))
    assert not remove(str(tmp_path / "a"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(FilesError, match="folder cannot be removed"):
        remove(str(tmp_path / "folder"))


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    make_link(tmp_path / "a")
    assert remove(str(tmp_path / "a"))
    assert names_in(tmp_path) == ["elsewhere"]


# Folders


@pytest.mark.parametrize("mask", [0o000, 0o077])
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_and_those_above_it_have_their_mode_whatever_the_umask_is(tmp_path: Path, mask, mode) -> None:
    with umask(mask):
        make_directory(str(tmp_path / "a" / "b"), mode=mode)
        make_directory(str(tmp_path / "a" / "b"), mode=mode)
        assert os.umask(mask) == mask
    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "a" / "b") == mode


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(0o750)
    make_directory(str(tmp_path / "a"), mode=0o755)
    assert mode_of(tmp_path / "a") == 0o750


def make_link_to_folder(path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    path.symlink_to("elsewhere")


def make_writable(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


NO_FOLDERS: list[tuple[t.Callable[[Path], t.Any], str]] = [
    (make_link_to_folder, "must be a folder and not a link or a file"),
    (make_loose_link, "must be a folder and not a link or a file"),
    (Path.touch, "must be a folder and not a link or a file"),
    (os.mkfifo, "must be a folder and not a link or a file"),
    (make_writable, r"everybody may write to .*a \(mode 0777\); make it 0755"),
]


@pytest.mark.parametrize(("make", "says"), NO_FOLDERS)
def test_a_folder_that_others_could_swap_is_refused(tmp_path: Path, make, says) -> None:
    make(tmp_path / "a")
    with pytest.raises(FilesError, match=says):
        make_directory(str(tmp_path / "a"))


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(FilesError, match="must be a folder"):
        make_directory(str(tmp_path / "a" / "b"))


def test_a_folder_like_tmp_will_do(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o1777)
    make_directory(str(tmp_path / "a"))


@needs_root
def test_a_folder_is_given_to_its_owner(tmp_path: Path) -> None:
    make_directory(str(tmp_path / "a"), mode=0o700, owner=Owner(NOBODY.pw_uid, NOBODY.pw_gid))
    assert (tmp_path / "a").stat().st_uid == NOBODY.pw_uid


# What killed processes left


@pytest.fixture
def ended() -> int:
    """Return the number of a process that is gone."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_temporary_files_of_processes_that_are_gone_are_swept_and_those_of_living_ones_stay(tmp_path, ended) -> None:
    gone = [".a.%d%s" % (ended, TEMPORARY), ".a.%d%s" % (os.getpid(), TEMPORARY)]
    kept = [
        ".a.%d%s" % (os.getppid(), TEMPORARY),  # a living process's
        ".a.1%s" % TEMPORARY,
        ".b.%d%s" % (ended, TEMPORARY),  # another file's
        ".a.b.%d%s" % (ended, TEMPORARY),
        ".a.%d" % ended,
        ".a.x%s" % TEMPORARY,
        "a.%d%s" % (ended, TEMPORARY),
    ]
    for name in [*gone, *kept]:
        (tmp_path / name).touch()
    sweep(str(tmp_path), "a")
    assert names_in(tmp_path) == sorted(kept)
    write_durable(str(tmp_path / "b"), b"", mode=0o600)
    assert ".b.%d%s" % (ended, TEMPORARY) not in names_in(tmp_path)


def test_sweeping_where_no_folder_is_does_nothing(tmp_path: Path) -> None:
    sweep(str(tmp_path / "no"), "a")


# Locks

HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.connsec.tls.plugins.module_utils._host._files import locked
with locked(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""
BUILD = Path(__file__).resolve().parents[3] / "build"


@pytest.fixture
def holder(tmp_path: Path) -> t.Iterator[subprocess.Popen[bytes]]:
    """Return a process that holds the lock of a folder until its input ends."""
    command = [sys.executable, "-c", HOLD, str(BUILD), str(tmp_path / "ours")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_that_is_held_for_too_long_names_its_holder(tmp_path: Path, holder) -> None:
    began = time.monotonic()
    says = r"process %d has been at work on .*ours for 0.2 seconds; run again when it has ended" % holder.pid
    with pytest.raises(FilesError, match=says), locked(str(tmp_path / "ours"), patience=0.2):
        raise AssertionError("it was held twice")
    assert 0.2 <= time.monotonic() - began < 2


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_a_lock_is_waited_for_until_its_holder_leaves_or_is_killed(tmp_path: Path, holder, end: str) -> None:
    let_go = holder.kill if end == "is killed" else holder.stdin.close
    threading.Timer(0.2, let_go).start()
    began = time.monotonic()
    with locked(str(tmp_path / "ours"), patience=20):
        assert 0.1 <= time.monotonic() - began < 10
        assert (tmp_path / "ours" / _files.LOCK).read_text() == str(os.getpid())


def test_a_lock_makes_its_folder_and_is_for_us_alone(tmp_path: Path) -> None:
    with umask(0), locked(str(tmp_path / "ours")):
        pass
    assert mode_of(tmp_path / "ours") == 0o755
    assert mode_of(tmp_path / "ours" / _files.LOCK) == 0o600
    with locked(str(tmp_path / "ours"), patience=0):
        pass


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / _files.LOCK).symlink_to("elsewhere")
    with pytest.raises(FilesError, match="is a link"), locked(str(tmp_path)):
        pass
    assert names_in(tmp_path) == [_files.LOCK]


def test_what_goes_wrong_under_a_lock_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(str(tmp_path)):
        os.stat(tmp_path / "no")


# Accounts


def test_an_account_that_is_not_there_is_named() -> None:
    with pytest.raises(FilesError, match="there is no account 'nobody-here' on this host; make it, or name another"):
        owner_of_account("nobody-here")


def test_files_are_ours_if_no_account_is_named() -> None:
    assert owner_of_account(None) == US
    assert owner_of_account(account_of(US.uid)).uid == US.uid


def test_an_account_without_a_name_goes_by_its_number() -> None:
    assert account_of(4_000_000) == "4000000"


@needs_root
def test_only_root_can_give_files_away(tmp_path: Path) -> None:
    assert said_to_nobody(tmp_path, lambda: owner_of_account("root")) == (
        "only root can give files to root, and this is nobody; set become, or leave account out"
    )
