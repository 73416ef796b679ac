# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of the store: locked, written in durable batches, never through links; private to this collection."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import stat
import time
import typing as t

from ..module_utils._core._errors import TlsError
from ._guard import why_can_be_swapped, why_not_ours

_TEMPORARY = ".new-"
#: Up to so many files a batch syncs one by one.
_FEW = 8
_LOCK = ".lock"
LARGEST_FILE = 1 << 20


class StoreError(TlsError):
    """Something about the store on the controller is not as it must be."""


class Folder:
    """A folder that belongs to the store; every file in it is reached through its descriptor, so nobody can swap it.

    Reading makes nothing: a folder that is not there reads as empty. One that others can write to is not even read.
    """

    def __init__(self, path: str, *, guarded: bool = False) -> None:
        """Take the folder at a path.

        Args:
            path: of the folder.
            guarded: whether nobody else may be able to swap it either, as for the store's own: whoever swaps a folder
                of authorities decides whom the fleet trusts.
        """
        self.path = os.path.abspath(path)
        self._guarded = guarded
        self._fd: int | None = None

    def __repr__(self) -> str:
        return "Folder(%r)" % self.path

    def close(self) -> None:
        """Let the folder go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @property
    def device(self) -> int:
        """The number of the file system that the folder lies on."""
        return os.fstat(self._must_be_open()).st_dev

    def _opened(self) -> int | None:
        if self._fd is None:
            try:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                self._refuse_if(why_not_ours(self.path, os.fstat(self._fd)))
                self._refuse_a_swap()
            except FileNotFoundError:
                return None
            except OSError as error:
                raise self._refusal(error) from error
        return self._fd

    def _refuse_a_swap(self) -> None:
        if self._guarded:
            self._refuse_if(why_can_be_swapped(self.path))

    def _refuse_if(self, why: str | None) -> None:
        if why is not None:
            self.close()
            raise StoreError("the store folder %s cannot be trusted: %s" % (self.path, why))

    def _refusal(self, error: OSError) -> StoreError:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return StoreError(
                "%s must be a folder and not a link or a file; give the path of the folder itself" % self.path
            )
        return StoreError("the store folder %s cannot be used: %s" % (self.path, os.strerror(error.errno or 0)))

    def make(self) -> None:
        """Make the folder with mode 0700 where it is missing."""
        try:
            self._refuse_a_swap()
            _make_folders(self.path)
        except OSError as error:
            raise self._refusal(error) from error
        if self._opened() is None:
            raise StoreError("the store folder %s went away while it was made" % self.path)

    def names(self) -> list[str]:
        """Return the names in the folder, without our own temporary files and locks."""
        fd = self._opened()
        return [] if fd is None else sorted(name for name in os.listdir(fd) if not name.startswith("."))

    def inner(self) -> t.Iterator[tuple[str, Folder]]:
        """Return the folders in the folder with their names, each open until the next is asked for; no links."""
        for name in self.names():
            path = os.path.join(self.path, name)
            if os.path.isdir(path) and not os.path.islink(path):
                with contextlib.closing(Folder(path)) as folder:
                    yield name, folder

    def read(self, name: str, *, limit: int = LARGEST_FILE) -> bytes | None:
        """Return a file's content, or None where there is none."""
        fd = self._opened()
        if fd is None:
            return None
        where = os.path.join(self.path, name)
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError("%s cannot be read: %s" % (where, os.strerror(error.errno or 0))) from error
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise StoreError("%s must be a regular file" % where)
            if status.st_size > limit:
                raise StoreError("%s is %d bytes long; at most %d belong there" % (where, status.st_size, limit))
            return _read_all(file, status.st_size)
        except OSError as error:
            raise StoreError("%s cannot be read: %s" % (where, os.strerror(error.errno or 0))) from error
        finally:
            os.close(file)

    def lines(self, name: str, *, end: int = 0) -> t.Iterator[bytes]:
        """Yield a file's lines without their ends, whatever its size; nothing where there is no file.

        Args:
            name: of the file.
            end: yield only the lines of about so many bytes at its end; 0 for all.
        """
        fd = self._opened()
        if fd is None:
            return
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=fd)
        except FileNotFoundError:
            return
        except OSError as error:
            where = os.path.join(self.path, name)
            raise StoreError("%s cannot be read: %s" % (where, os.strerror(error.errno or 0))) from error
        with open(file, "rb") as stream:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise StoreError("%s must be a regular file" % os.path.join(self.path, name))
            size = os.fstat(file).st_size
            if end and size > end:
                stream.seek(size - end)
                stream.readline()  # the rest of a line
            for line in stream:
                yield line.rstrip(b"\n")

    def ends_with_a_line(self, name: str) -> bool:
        """Return whether a file's last line is finished; so is that of one that is empty or not there."""
        fd = self._opened()
        if fd is None:
            return True
        with self._errors_of(name):
            try:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=fd)
            except FileNotFoundError:
                return True
            try:
                size = os.fstat(file).st_size
                return size == 0 or os.pread(file, 1, size - 1) == b"\n"
            finally:
                os.close(file)

    def append(self, name: str, data: bytes) -> None:
        """Append to a file and return when the disk has it."""
        fd = self._must_be_open()
        with self._errors_of(name):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(name, flags, 0o600, dir_fd=fd)
            try:
                _write_all(file, data)
                os.fsync(file)
            finally:
                os.close(file)
            os.fsync(fd)

    def exists(self) -> bool:
        """Return whether the folder is there."""
        return self._opened() is not None

    def write_temporary(self, data: bytes, *, mode: int = 0o600) -> str:
        """Write a new file that has its mode from its first moment, and return its temporary name.

        Nobody else can read it, unless ``mode`` says so, for what is meant for others.
        """
        fd = self._must_be_open()
        temporary = _TEMPORARY + secrets.token_hex(8)
        with self._errors_of(temporary):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(temporary, flags, mode, dir_fd=fd)
            try:
                if mode & 0o077:
                    os.fchmod(file, mode)  # whatever the umask is
                _write_all(file, data)
            finally:
                os.close(file)
        return temporary

    def publish(self, temporary: str, name: str) -> None:
        """Give a temporary file its name, in one step."""
        fd = self._must_be_open()
        with self._errors_of(name):
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        fd = self._must_be_open()
        with self._errors_of(name), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)

    def sync(self) -> None:
        """Return when the disk has the folder's names."""
        with self._errors_of("."):
            os.fsync(self._must_be_open())

    def sync_file(self, name: str) -> None:
        """Return when the disk has a file's content."""
        fd = self._must_be_open()
        with self._errors_of(name):
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def sync_all(self) -> None:
        """Return when the disk has everything that was written to the folder's file system, by whomever."""
        with self._errors_of("."):
            _sync_file_system(self._must_be_open())

    def sweep(self) -> None:
        """Remove what a killed or failed run left behind; only under the lock."""
        fd = self._must_be_open()
        for name in os.listdir(fd):
            if name.startswith(_TEMPORARY):
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=fd)

    @contextlib.contextmanager
    def locked(self, *, patience: float = 60.0) -> t.Iterator[None]:
        """Hold the folder against every other process, which waits or is told who holds it."""
        fd = self._must_be_open()
        with self._errors_of(_LOCK):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(_LOCK, flags, 0o600, dir_fd=fd)
        try:
            self._take(lock, patience=patience)
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"process %d" % os.getpid(), 0)
            self.sweep()
            try:
                yield
            finally:
                self.sweep()
        finally:
            os.close(lock)

    def _take(self, lock: int, *, patience: float) -> None:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise StoreError("%s cannot be locked: %s" % (self.path, os.strerror(error.errno or 0))) from error
            if time.monotonic() >= until:
                holder = os.pread(lock, 100, 0).decode("ascii", "replace") or "another process"
                raise StoreError("%s has held the store %s for %d seconds; try again when it is done" % (
                    holder, self.path, patience,
                ))  # fmt: skip
            time.sleep(0.05)

    def _must_be_open(self) -> int:
        fd = self._opened()
        if fd is None:
            raise StoreError("the store folder %s is not there" % self.path)
        return fd

    @contextlib.contextmanager
    def _errors_of(self, name: str) -> t.Iterator[None]:
        try:
            yield
        except OSError as error:
            where = os.path.normpath(os.path.join(self.path, name))
            raise StoreError("%s cannot be written: %s" % (where, os.strerror(error.errno or 0))) from error


class Batch:
    """Files of several folders that become visible, in order, only after all of them are on the disk."""

    def __init__(self) -> None:
        self._files: list[tuple[Folder, str, str]] = []

    def add(self, folder: Folder, name: str, data: bytes) -> None:
        """Write a file under a temporary name."""
        self.adopt(folder, folder.write_temporary(data), name)

    def adopt(self, folder: Folder, temporary: str, name: str) -> None:
        """Take in a file that was already written under a temporary name."""
        self._files.append((folder, temporary, name))

    def publish(self) -> None:
        """Have the disk take all of them, then give the files their names, one folder after the other.

        A few files are synced one by one: who else writes to their file system may have the disk take gigabytes first.
        For many, one sync of the file system costs a fifth of that.
        """
        folders = list(dict.fromkeys(folder for folder, _temporary, _name in self._files))
        if len(self._files) <= _FEW:
            for owner, temporary, _name in self._files:
                owner.sync_file(temporary)
        else:
            for folder in {folder.device: folder for folder in folders}.values():
                folder.sync_all()
        for folder in folders:
            for owner, temporary, name in self._files:
                if owner is folder:
                    folder.publish(temporary, name)
            folder.sync()


def _make_folders(path: str) -> None:
    """Make a folder and the missing ones above it with mode 0700; ``os.makedirs`` would use 0777 above the last."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        _make_folders(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)


def _read_all(file: int, size: int) -> bytes:
    data = b""
    while len(data) <= size:
        more = os.read(file, size + 1 - len(data))
        if not more:
            break
        data += more
    return data


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _sync_file_system(fd: int) -> None:
    """Call syncfs(2), which unlike sync(2) tells of errors."""
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):  # a controller that is not Linux
        os.sync()
        return
    if syncfs(fd) != 0:
        raise OSError(ctypes.get_errno(), "syncfs")
