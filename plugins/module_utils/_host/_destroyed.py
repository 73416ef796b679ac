# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TCP sockets that Linux says it has just destroyed; private to this collection.

A client that connects, asks and is gone within a few milliseconds stands in no sample of the socket table. The kernel
tells of each socket when it is destroyed (sock_diag(7), the groups of ``enum sknetlink_groups``), so a watch that
listens misses nobody.
"""

from __future__ import annotations

import errno
import socket
import struct
import typing as t

if t.TYPE_CHECKING:
    from ._sockets import Row

_NETLINK_SOCK_DIAG: t.Final = 4
_TCP_DESTROY: t.Final = 1 << 0  # SKNLGRP_INET_TCP_DESTROY
_TCP6_DESTROY: t.Final = 1 << 2  # SKNLGRP_INET6_TCP_DESTROY
_HEADER: t.Final = struct.Struct("=IHHII")
_MESSAGE: t.Final = struct.Struct("!4xHH16s16s")
_MESSAGE_SIZE: t.Final = 1 << 16


class Destroyed:
    """The destroyed sockets since the last asking; where the system does not tell, none, and not ``complete``.

    Attributes:
        complete: whether every socket was told of.
    """

    def __init__(self) -> None:
        self.complete = False
        self._socket: socket.socket | None = None

    def __enter__(self) -> Destroyed:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self._socket.bind((0, _TCP_DESTROY | _TCP6_DESTROY))
            self._socket.setblocking(False)
            self.complete = True
        except (OSError, AttributeError):  # another system, or one that allows it to root only
            self.__exit__()
        return self

    def __exit__(self, *_unused: object) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def take(self) -> list[Row]:
        """Return the sockets that were destroyed since the last time."""
        found: list[Row] = []
        while self._socket is not None:
            try:
                data = self._socket.recv(_MESSAGE_SIZE)
            except BlockingIOError:
                break
            except OSError as error:
                self.complete = False  # the kernel told more than was listened to
                if error.errno != errno.ENOBUFS:
                    break
                continue
            found.extend(_rows(data))
        return found


def _rows(data: bytes) -> t.Iterator[Row]:
    """Return the sockets of a series of netlink messages: struct nlmsghdr, then struct inet_diag_msg."""
    from ._sockets import Row

    at = 0
    while at + _HEADER.size + _MESSAGE.size <= len(data):
        length = _HEADER.unpack_from(data, at)[0]
        body = at + _HEADER.size
        family = data[body]
        source_port, port, source, destination = _MESSAGE.unpack_from(data, body)
        yield Row((_address(family, source), source_port), (_address(family, destination), port), "CLOSE", 0)
        if length < _HEADER.size:
            return
        at += (length + 3) & ~3


def _address(family: int, packed: bytes) -> str:
    if family == socket.AF_INET6 and not packed.startswith(b"\0" * 10 + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET6, packed)
    return socket.inet_ntop(socket.AF_INET, packed[:4] if family == socket.AF_INET else packed[12:])
