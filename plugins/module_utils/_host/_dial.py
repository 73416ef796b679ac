# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect to an endpoint within a deadline, and say what came of it; private to this collection."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
import typing as t

from .._core._errors import TlsError
from ._network import probe_ports

Outcome = t.Literal["tls", "clear", "refused", "timeout", "unreachable", "reset", "closed", "alert", "error"]
Address = t.Tuple[int, t.Any]

#: errno -> (outcome, class, the sentence's end).
_CONNECT_ERRORS: t.Final[t.Mapping[int, tuple[Outcome, str, str]]] = {
    errno.ECONNREFUSED: ("refused", "connection_refused", "refuses the connection"),
    errno.ECONNRESET: ("reset", "reset", "resets the connection"),
    errno.EPIPE: ("reset", "reset", "resets the connection"),
    errno.ENOTCONN: ("reset", "reset", "resets the connection"),
    errno.ECONNABORTED: ("reset", "reset", "resets the connection"),
    errno.ETIMEDOUT: ("timeout", "no_answer", "does not answer"),
    errno.EHOSTUNREACH: ("unreachable", "no_route", "cannot be reached"),
    errno.ENETUNREACH: ("unreachable", "no_route", "cannot be reached"),
    errno.EACCES: ("unreachable", "not_permitted", "may not be connected to from here"),
    errno.EPERM: ("unreachable", "not_permitted", "may not be connected to from here"),
}

_PORTS_TRIED: t.Final = 8

#: A name that leads to more addresses than this is tried at the first of them only.
_ADDRESSES_TRIED: t.Final = 4


class LookFailed(TlsError):
    """A look ended before it could show what it looked for.

    Attributes:
        outcome: what happened on the network.
        kind: the class of the failure, a closed set of words listed in ``docs/looking.md``.
        alert: the TLS alert that the other end sent, if it sent one.
    """

    def __init__(self, outcome: Outcome, kind: str, reason: str, *, alert: str | None = None) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.kind = kind
        self.alert = alert


class Deadline:
    """The moment at which a look ends, whatever it is waiting for."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; never zero, which sockets understand as "do not wait"."""
        return max(self._end - time.monotonic(), 0.001)

    def passed(self) -> bool:
        """Return whether no time is left."""
        return time.monotonic() >= self._end

    def arm(self, sock: socket.socket, *, most: float | None = None) -> None:
        """Let the socket's next operation end with the deadline, or after ``most`` seconds if that is sooner."""
        sock.settimeout(self.left() if most is None else min(self.left(), most))


def failure(error: OSError, place: str) -> LookFailed:
    """Return what an error of the operating system means for a look at ``place``."""
    if isinstance(error, socket.timeout):
        return LookFailed("timeout", "no_answer", "%s does not answer in time" % place)
    outcome, kind, says = _CONNECT_ERRORS.get(error.errno or 0, ("error", "system_error", "cannot be looked at"))
    return LookFailed(outcome, kind, "%s %s: %s" % (place, says, error.strerror or error))


def resolve(address: str, port: int, deadline: Deadline, *, place: str) -> list[Address]:
    """Return the socket addresses that ``address`` stands for.

    The system's resolver knows no deadline, so a name is resolved in a thread that is left behind when it hangs.

    Raises:
        LookFailed: there is no such name, or no answer in time.
    """
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [(row[0], row[4]) for row in found]
    except socket.gaierror:
        pass  # not an address, so a name
    answers: list[t.Any] = []

    def ask() -> None:
        try:
            answers.append(socket.getaddrinfo(address, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(deadline.left())
    if not answers:
        raise LookFailed("timeout", "name_unresolved", "the name of %s is not resolved in time" % place)
    if isinstance(answers[0], Exception):
        raise LookFailed(
            "unreachable", "name_unresolved", "the name of %s is not resolved: %s" % (place, answers[0])
        ) from answers[0]
    return [(row[0], row[4]) for row in answers[0]]


def dial(
    addresses: t.Sequence[Address], source: str | None, deadline: Deadline, *, place: str, must: bool = True
) -> socket.socket:
    """Return a socket that is connected to the first of the addresses that accepts.

    Args:
        addresses: from :func:`resolve`.
        source: local address to connect from; None for the system's choice.
        deadline: when to give up.
        place: what is dialled, for messages.
        must: whether nothing is dialled from another address, where this host does not have ``source``.

    Raises:
        LookFailed: nobody accepts.
    """
    failed: LookFailed | None = None
    for family, address in addresses[:_ADDRESSES_TRIED]:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            _bind(sock, family, source, must=must)
            deadline.arm(sock)
            sock.connect(address)
            return sock
        except LookFailed:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            failed = failure(error, place)
    raise failed or LookFailed("unreachable", "name_unresolved", "%s has no address" % place)


def _bind(sock: socket.socket, family: int, source: str | None, *, must: bool) -> None:
    """Bind to the source address and a port of ours; to one that the system chooses if those are all in use."""
    host = source or ""
    if source is not None and (":" in source) != (family == socket.AF_INET6):
        return
    ours = probe_ports()
    ports = [ours[int.from_bytes(os.urandom(2), "big") % len(ours)] for _unused in range(_PORTS_TRIED)] if ours else []
    try:
        for port in ports:
            try:
                sock.bind((host, port))
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        if source is not None:
            sock.bind((host, 0))
    except OSError as error:
        if not must:
            _bind(sock, family, None, must=True)
            return
        raise LookFailed(
            "error",
            "source_unavailable",
            "this host cannot connect from %s: %s; give an address that it has" % (source, error.strerror or error),
        ) from error


def receive(sock: socket.socket, size: int, deadline: Deadline) -> bytes:
    """Return exactly ``size`` bytes, or what came before the other end closed."""
    data = b""
    while len(data) < size:
        deadline.arm(sock)
        part = sock.recv(size - len(data))
        if not part:
            break
        data += part
    return data


def hang_up(sock: socket.socket, *, patience: float = 0.0) -> None:
    """Close so that the other end sees an ordinary end, and nothing of the connection stays here.

    The end that closes first keeps a TIME_WAIT row for a minute, which would look like a session of the component that
    a later look takes stock of. So the other end is given ``patience`` to close first. After that we end the stream,
    and reset what is left of the connection: an end of stream that has arrived is read as one, whatever follows it.
    """
    with contextlib.closing(sock):
        if not _ended(sock, patience):
            with contextlib.suppress(OSError):  # the other end was first
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_WR)


def _ended(sock: socket.socket, patience: float) -> bool:
    """Return whether the other end ends the connection within ``patience``; take what is still on its way."""
    end = time.monotonic() + patience
    try:
        while time.monotonic() < end:
            sock.settimeout(max(end - time.monotonic(), 0.001))
            if not sock.recv(4096):
                return True
    except socket.timeout:
        return False
    except OSError:
        return True
    return False
