# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host, read: ours never through a link, those of others through theirs; private to this collection."""

from __future__ import annotations

import errno
import os
import pwd
import stat
import typing as t
from dataclasses import dataclass

from .._core._errors import TlsError

LARGEST: t.Final = 8 << 20
#: What is read and written like a file, and is an entry of this host's directory: ``_ldap_entry``.
ENTRY: t.Final = "ldapi:///"
_TEXT_LIMIT: t.Final = 4 << 20


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


class FileUnreadable(TlsError):
    """A file cannot be read as text."""


def account_of(uid: int) -> str:
    """Return an account's name, else its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def read_regular(path: str, *, limit: int = LARGEST) -> Found | None:
    """Return a regular file, or None where there is nothing; an entry of a directory as if it were one of ours.

    Raises:
        FilesError: it is a link, no regular file, too long, or not readable.
        EntryRefused: the entry is not there, or nobody answers for it.
    """
    if path.startswith(ENTRY):
        from ._ldap_entry import read_entry

        return Found(read_entry(path), 0o600, Owner(os.geteuid(), os.getegid()))
    # Without O_NONBLOCK a fifo would hold us until somebody writes to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refusal(path, error, "read") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise FilesError("%s must be a regular file" % path)
        if status.st_size > limit:
            raise FilesError("%s is %d bytes long; at most %d are read" % (path, status.st_size, limit))
        with open(file, "rb", closefd=False) as stream:
            data = stream.read(limit + 1)
        return Found(data, stat.S_IMODE(status.st_mode), Owner(status.st_uid, status.st_gid))
    except OSError as error:
        raise refusal(path, error, "read") from error
    finally:
        os.close(file)


def read_text(path: str, *, limit: int = _TEXT_LIMIT) -> str | None:
    """Return a text file's content; None if there is none. Links are followed, for others make them.

    Raises:
        FileUnreadable: it is no file, too large, or may not be read.
    """
    if path.startswith(ENTRY):
        from ._ldap_entry import EntryRefused, read_entry

        try:
            return read_entry(path).decode("utf-8", "surrogateescape")
        except EntryRefused as error:
            raise FileUnreadable(str(error)) from error
    try:
        # Without O_NONBLOCK a fifo would hold us until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FileUnreadable("%s cannot be read: %s" % (path, getattr(error, "strerror", None) or error)) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileUnreadable("%s is not a file" % path)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise FileUnreadable("%s is larger than %d bytes" % (path, limit))
    return data.decode("utf-8", "surrogateescape")


def refusal(path: str, error: OSError, what: str) -> FilesError:
    """Return the sentence for what the system refused."""
    if error.errno == errno.ELOOP:
        return FilesError("%s is a link; name the file itself" % path)
    return FilesError("%s cannot be %s: %s" % (path, what, os.strerror(error.errno or 0)))
