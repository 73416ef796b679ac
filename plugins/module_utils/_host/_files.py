# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host: read and written whole, durably, with their mode from birth, never through a link; private to this collection."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import secrets
import stat
import time
import typing as t
from dataclasses import dataclass

from .._core._errors import TlsError
from ._fault import point

#: Names of our temporary files begin like this; what a killed run left is swept by the next.
TEMPORARY: t.Final = ".connsec-new-"
LOCK: t.Final = ".lock"
LARGEST: t.Final = 8 << 20
#: Seconds that a module waits for another one that works on the same host.
PATIENCE: t.Final = 30.0


class FilesError(TlsError):
    """A file of this host cannot be read or written as it has to be."""


@dataclass(frozen=True)
class Owner:
    """Whom a file belongs to."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Found:
    """A regular file as it was found."""

    data: bytes
    mode: int
    owner: Owner


def owner_of_account(account: str | None) -> Owner:
    """Return the owner for the files of an account; our own if none is named.

    Raises:
        FilesError: there is no such account on this host.
    """
    if account is None:
        return Owner(os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        raise FilesError("there is no account %r on this host; make it, or name another one" % account) from None
    return Owner(entry.pw_uid, entry.pw_gid)


def account_of(uid: int) -> str:
    """Return an account's name, else its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def read_file(path: str, *, limit: int = LARGEST) -> Found | None:
    """Return a regular file, or None where there is nothing.

    Raises:
        FilesError: it is a link, no regular file, too long, or not readable.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refusal(path, error, "read") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise FilesError("%s must be a regular file" % path)
        if status.st_size > limit:
            raise FilesError("%s is %d bytes long; at most %d are read" % (path, status.st_size, limit))
        with os.fdopen(os.dup(file), "rb") as stream:
            data = stream.read(limit + 1)
        return Found(data, stat.S_IMODE(status.st_mode), Owner(status.st_uid, status.st_gid))
    except OSError as error:
        raise _refusal(path, error, "read") from error
    finally:
        os.close(file)


def write_file(path: str, data: bytes, *, mode: int, owner: Owner | None = None, fault: str = "files") -> None:
    """Write a file so that a reader, or a crash, meets the old one or the new one and nothing else.

    Args:
        path: where; what is there is replaced, unless it is a link or no regular file.
        data: its whole content.
        mode: its mode, from birth and whatever the umask is.
        owner: whom it is to belong to; ours if None.
        fault: first part of the names of the points at which a test may kill us.

    Raises:
        FilesError: it cannot be written; the old one stays, and no temporary file is left.
    """
    folder = os.path.dirname(path)
    _refuse_what_is_no_file(path)
    temporary = os.path.join(folder, TEMPORARY + secrets.token_hex(8))
    try:
        _write_new(temporary, data, mode=mode, owner=owner)
        point("%s.rename.before" % fault)
        os.rename(temporary, path)
        sync_folder(folder)
        point("%s.rename.after" % fault)
    except OSError as error:
        raise _refusal(path, error, "written") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def write_new(path: str, data: bytes, *, mode: int, owner: Owner | None = None) -> None:
    """Write a file that must not be there yet, and return when the disk has it."""
    try:
        _write_new(path, data, mode=mode, owner=owner)
    except OSError as error:
        raise _refusal(path, error, "written") from error


def _write_new(path: str, data: bytes, *, mode: int, owner: Owner | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, 0o600 & mode)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
        _give(file, owner)
        os.fchmod(file, mode)
        os.fsync(file)
    finally:
        os.close(file)


def _give(file: int, owner: Owner | None) -> None:
    status = os.fstat(file)
    if owner is not None and (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
        os.fchown(file, owner.uid, owner.gid)


def _refuse_what_is_no_file(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refusal(path, error, "written") from error
    if not stat.S_ISREG(found.st_mode):
        what = "a link" if stat.S_ISLNK(found.st_mode) else "no regular file"
        raise FilesError("%s is %s; nothing is written through it: name the file itself" % (path, what))


def make_folder(path: str, *, mode: int = 0o755, owner: Owner | None = None) -> None:
    """Make a folder where it is missing; refuse a link, and one that others may write to.

    Raises:
        FilesError: something else has its name, or others could swap what lies in it.
    """
    try:
        try:
            os.mkdir(path, mode & 0o700)
        except FileExistsError:
            pass
        else:
            file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _give(file, owner)
                os.fchmod(file, mode)
            finally:
                os.close(file)
            sync_folder(os.path.dirname(path))
        status = os.lstat(path)
    except OSError as error:
        raise _refusal(path, error, "made") from error
    if not stat.S_ISDIR(status.st_mode):
        raise FilesError("%s must be a folder and not a link or a file" % path)
    if status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX:
        raise FilesError("everybody may write to %s (mode %04o); make it 0755" % (path, stat.S_IMODE(status.st_mode)))


def sync_folder(path: str) -> None:
    """Return when the disk has the names in a folder."""
    file = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sweep(folder: str) -> None:
    """Remove what a killed run of ours left in a folder; only under the lock."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))


@contextlib.contextmanager
def locked(directory: str) -> t.Iterator[None]:
    """Hold this host against another module of ours: one that a killed run left behind may still be at work.

    Raises:
        FilesError: another one has worked for longer than we wait; the sentence names its process.
    """
    make_folder(directory)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(os.path.join(directory, LOCK), flags, 0o600)
    except OSError as error:
        raise _refusal(os.path.join(directory, LOCK), error, "opened") from error
    try:
        _take(file, directory)
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d" % os.getpid(), 0)
        yield
    finally:
        os.close(file)


def _take(file: int, directory: str) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise _refusal(directory, error, "locked") from error
        if time.monotonic() >= until:
            holder = os.pread(file, 20, 0).decode("ascii", "replace") or "another process"
            raise FilesError(
                "process %s of an earlier run is still at work on %s; run again when it has ended" % (holder, directory)
            )
        time.sleep(0.05)


def _refusal(path: str, error: OSError, what: str) -> FilesError:
    if error.errno == errno.ELOOP:
        return FilesError("%s is a link; name the file itself" % path)
    return FilesError("%s cannot be %s: %s" % (path, what, os.strerror(error.errno or 0)))
