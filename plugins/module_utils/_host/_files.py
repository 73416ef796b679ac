# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host: whole, durable, with their mode from birth, never through a link; private to this collection."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import stat
import time
import typing as t

from ._reading import ENTRY, FilesError, Owner, account_of, refusal

#: What our temporary files end with; the number before it is the process that made it, which a sweep looks for.
TEMPORARY: t.Final = ".connsec-new"
LOCK: t.Final = ".lock"
#: Where the kernel shows SELinux, if the system has it.
SELINUX: t.Final = "/sys/fs/selinux/enforce"
#: Seconds that a module waits for another one that works on the same host.
PATIENCE: t.Final = 30.0


def owner_of_account(account: str | None) -> Owner:
    """Return the owner for the files of an account; our own if none is named.

    Raises:
        FilesError: there is no such account on this host, or we may not give files to it.
    """
    ours = Owner(os.geteuid(), os.getegid())
    if account is None:
        return ours
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        raise FilesError("there is no account %r on this host; make it, or name another one" % account) from None
    if ours.uid not in (0, entry.pw_uid):
        raise FilesError(
            "only root can give files to %s, and this is %s; set become, or leave account out"
            % (account, account_of(ours.uid))
        )
    return Owner(entry.pw_uid, entry.pw_gid)


def write_durable(path: str, data: bytes, *, mode: int, owner: Owner | None = None) -> None:
    """Write a file so that a reader, or a crash, meets the old one or the new one and nothing else.

    Args:
        path: where; what is there is replaced, unless it is a link or no regular file.
        data: its whole content.
        mode: its mode, whatever the umask is; at no moment anybody has more.
        owner: whom it is to belong to; ours if None.

    Raises:
        FilesError: it cannot be written; the old one stays, and no temporary file is left.
        ProgramError: its SELinux label cannot be set.
        EntryRefused: it is an entry of a directory, whose server refuses it.
    """
    if path.startswith(ENTRY):
        from ._ldap_entry import write_entry

        write_entry(path, data)
        return
    folder, name = os.path.split(path)
    is_new = not _is_file(path)
    sweep(folder, name)
    temporary = os.path.join(folder, ".%s.%d%s" % (name, os.getpid(), TEMPORARY))
    try:
        _write_new(temporary, data, mode=mode, owner=owner, like=path)
        os.rename(temporary, path)
        sync_folder(folder)
    except OSError as error:
        raise refusal(path, error, "written") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    if is_new:
        label(path)


def label(path: str, *, below: bool = False) -> None:
    """Give what we have made, and perhaps all that lies in it, its SELinux label, where the system has SELinux.

    Raises:
        TlsError: the system refuses.
    """
    if os.path.exists(SELINUX):
        from ._labels import restore

        restore(path, below=below)


def write_new(path: str, data: bytes, *, mode: int, owner: Owner | None = None) -> None:
    """Write a file that must not be there yet, and return when the disk has it."""
    try:
        _write_new(path, data, mode=mode, owner=owner)
    except OSError as error:
        raise refusal(path, error, "written") from error


def _write_new(path: str, data: bytes, *, mode: int, owner: Owner | None, like: str | None = None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, 0o600 & mode)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
        if like is not None:
            _copy_attributes(like, file)
        give(file, owner)
        os.fchmod(file, mode)
        os.fsync(file)
    finally:
        os.close(file)


def _copy_attributes(path: str, file: int) -> None:
    """Take over what modes do not say, access lists and SELinux's label, where the system lets us."""
    if not hasattr(os, "listxattr"):
        return
    with contextlib.suppress(OSError):
        for name in os.listxattr(path, follow_symlinks=False):
            with contextlib.suppress(OSError):
                os.setxattr(file, name, os.getxattr(path, name, follow_symlinks=False))


def give(file: int, owner: Owner | None) -> None:
    """Give an open file or folder to its owner, where it is not theirs yet."""
    status = os.fstat(file)
    if owner is not None and (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
        os.fchown(file, owner.uid, owner.gid)


def _is_file(path: str) -> bool:
    """Return whether a file is there; refuse whatever else has its name."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise refusal(path, error, "written") from error
    if not stat.S_ISREG(found.st_mode):
        what = "a link" if stat.S_ISLNK(found.st_mode) else "no regular file"
        raise FilesError("%s is %s; nothing is written through it: name the file itself" % (path, what))
    return True


def as_found(path: str) -> tuple[int, Owner | None]:
    """Return mode and owner of a file, which it keeps: an environment file may hold secrets of others."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return 0o644, None  # the sessions and programs that read it are not root's
    return stat.S_IMODE(found.st_mode), Owner(found.st_uid, found.st_gid)


def remove(path: str) -> bool:
    """Remove a file durably; return whether there was one."""
    try:
        os.unlink(path)
        sync_folder(os.path.dirname(path))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise refusal(path, error, "removed") from error
    return True


def make_directory(path: str, *, mode: int = 0o755, owner: Owner | None = None) -> None:
    """Make a folder, and those above it, where they are missing; refuse a link, and one that others may write to.

    Raises:
        FilesError: something else has its name, or others could swap what lies in it.
    """
    parent = os.path.dirname(path)
    try:
        if parent and not os.path.isdir(parent):
            make_directory(parent, mode=mode, owner=owner)
        with contextlib.suppress(FileExistsError):
            _make_one(path, mode=mode, owner=owner)
        status = os.lstat(path)
    except OSError as error:
        raise refusal(path, error, "made") from error
    if not stat.S_ISDIR(status.st_mode):
        raise FilesError("%s must be a folder and not a link or a file" % path)
    if status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX:
        raise FilesError("everybody may write to %s (mode %04o); make it 0755" % (path, stat.S_IMODE(status.st_mode)))


def make_own(path: str) -> None:
    """Make a folder of this collection's own, where it is missing; refuse one that another account could rearrange.

    Raises:
        FilesError: something else has its name, it belongs to another account, or others may write to it.
    """
    make_directory(path)
    status = os.lstat(path)
    if status.st_uid not in (0, os.geteuid()):
        raise FilesError(
            "%s belongs to %s, who could swap what lies in it; give it to %s"
            % (path, account_of(status.st_uid), account_of(os.geteuid()))
        )
    if status.st_mode & 0o022:
        raise FilesError("others may write to %s (mode %04o); make it 0755" % (path, stat.S_IMODE(status.st_mode)))


def _make_one(path: str, *, mode: int, owner: Owner | None) -> None:
    before = os.umask(0)  # a folder that was made narrower, and we killed, would stay so
    try:
        os.mkdir(path, mode)
    finally:
        os.umask(before)
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        give(file, owner)
    finally:
        os.close(file)
    label(path)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """Return when the disk has the names in a folder.

    AIX has no such call for folders (fsync there takes files open for writing): its journal has the name.
    """
    file = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
    finally:
        os.close(file)


def sweep(folder: str, name: str) -> None:
    """Remove the temporary files of one file that killed processes left; those of a living one stay."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder or "."):
            if not (entry.startswith(".%s." % name) and entry.endswith(TEMPORARY)):
                continue
            maker = entry[len(name) + 2 : -len(TEMPORARY)]
            if maker == str(os.getpid()) or (maker.isdigit() and not _lives(int(maker))):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, entry))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def locked(directory: str, *, patience: float = PATIENCE) -> t.Iterator[None]:
    """Hold this host against another module of ours: one that a killed run left behind may still be at work.

    Raises:
        FilesError: another one has worked for longer than we wait; the sentence names its process.
    """
    make_own(directory)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(os.path.join(directory, LOCK), flags, 0o600)
    except OSError as error:
        raise refusal(os.path.join(directory, LOCK), error, "opened") from error
    try:
        _take(file, directory, patience=patience)
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d" % os.getpid(), 0)
        yield
    finally:
        os.close(file)


def _take(file: int, directory: str, *, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise refusal(directory, error, "locked") from error
        if time.monotonic() >= until:
            holder = os.pread(file, 20, 0).decode("ascii", "replace") or "another"
            raise FilesError(
                "process %s has been at work on %s for %g seconds; run again when it has ended"
                % (holder, directory, patience)
            )
        time.sleep(0.05)
