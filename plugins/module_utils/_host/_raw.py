# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers in the clear, and who says that it speaks TLS only; private to this collection."""

from __future__ import annotations

import contextlib
import select
import socket
import time
import typing as t

from ._dial import Deadline, LookFailed, hang_up
from ._hello import answered, client_hello
from ._probe import PATIENCE, Login

if t.TYPE_CHECKING:
    from ._negotiate import Negotiation

#: What is said to a listener whose protocol is not known: empty lines, which most protocols of lines pass over.
_EMPTY_LINES: t.Final = b"\r\n\r\n\r\n"

#: A listener may close before anything is said to it (a proxy without a server behind it); it has this long to do so.
_BEFORE: t.Final = 0.02
#: One that is silent and speaks TLS may be slow: it is given this long to close.
_SLOW: t.Final = 1.0


def clear_answer(
    sock: socket.socket,
    connect: t.Callable[[], socket.socket],
    negotiation: Negotiation | None,
    deadline: Deadline,
    *,
    place: str,
    login: Login,
    patience: float = PATIENCE,
) -> str:
    """Return in half a sentence how an endpoint answers in the clear.

    A known protocol is spoken. To an unknown one empty lines are said over one connection, and a ClientHello over
    another: what answers the lines, or stays open, is clear. A listener that closes refuses plaintext only if it speaks
    TLS; one that does not has merely not understood us.

    Raises:
        LookFailed: nobody answers in the clear; "closed" with the class ``tls_only`` where TLS is spoken instead.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(hang_up, sock)
        if negotiation:
            return negotiation.clear(sock, deadline, place, login)
        before = _waits(sock, deadline, _BEFORE)
        if before == b"":
            raise LookFailed("closed", "closed_at_once", "%s closes the connection at once" % place)
        if before:
            return "answers in the clear"
        try:
            other = connect()
        except LookFailed as error:
            raise LookFailed("error", "unclear", "%s takes one connection, and not another" % place) from error
        stack.callback(hang_up, other)
        return _judge_silence(
            _Said(sock, _EMPTY_LINES), _Said(other, client_hello("TLSv1.2")), deadline, place, patience
        )


class _Said:
    """Something said to a listener, and what came back: None so far, nothing once it closed."""

    def __init__(self, sock: socket.socket, words: bytes) -> None:
        self.sock = sock
        self.answer: bytes | None = None
        sock.setblocking(False)
        try:
            sock.sendall(words)
        except OSError:
            self.answer = b""

    def hear(self) -> None:
        """Take what came."""
        try:
            self.answer = self.sock.recv(64)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.answer = b""


def _judge_silence(lines: _Said, hello: _Said, deadline: Deadline, place: str, patience: float) -> str:
    """Listen to both until it is clear what the listener is."""
    started = time.monotonic()
    while True:
        if lines.answer:
            if answered(lines.answer)[0] == "not_tls":
                return "answers in the clear"
            raise _tls_only(place)
        tls = None if hello.answer is None else answered(hello.answer)[0] != "not_tls"
        if tls is False:
            return "stays open in the clear" if lines.answer is None else "speaks no TLS, and closes on an empty line"
        if tls and lines.answer == b"":
            raise _tls_only(place)
        one_is_known = tls is not None or lines.answer is not None
        left = started + (max(patience, _SLOW) if one_is_known else patience) - time.monotonic()
        if left <= 0 or deadline.passed():
            break
        poll = select.poll()
        for said in (lines, hello):
            if said.answer is None:
                poll.register(said.sock, select.POLLIN)
        poll.poll(min(left, deadline.left()) * 1000)
        for said in (lines, hello):
            if said.answer is None:
                said.hear()
    if lines.answer is None:
        return "stays open in the clear, and speaks TLS too" if tls else "stays open in the clear"
    return "does not answer a ClientHello, and closes on an empty line"


def _waits(sock: socket.socket, deadline: Deadline, seconds: float) -> bytes | None:
    """Return what comes within some seconds: bytes, nothing if the connection ends, None if it stays silent."""
    deadline.arm(sock, most=seconds)
    try:
        return sock.recv(64)
    except socket.timeout:
        return None
    except OSError:
        return b""


def _tls_only(place: str) -> LookFailed:
    return LookFailed("closed", "tls_only", "%s refuses plaintext: it speaks TLS only" % place)
