# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load balancer does: it passes connections to a virtual address on to a member that answers its monitor.

The first member that answers is the active one, and the others stand by. The monitors are the component's own streams
of messages, so that they are clients of the members, as those of real balancers are. Bytes are passed as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import typing as t

from .records import Log
from .serving import open_doors
from .settings import Peer, Pool, Settings

_CHUNK: t.Final = 65536
#: Seconds in which a member has to take a connection.
_CONNECT_SECONDS: t.Final = 1.0
#: A socket that is closed with this says that nobody is there: a reset, and no goodbye.
_RESET: t.Final = struct.pack("ii", 1, 0)


class Pools:
    """The pools of a component."""

    def __init__(self, log: Log, answers: t.Callable[[str], bool]) -> None:
        self._log = log
        self._answers = answers
        self._pools: t.Mapping[int, Pool] = {}
        self._peers: t.Mapping[str, Peer] = {}
        self._address = ""
        self._active: dict[str, str] = {}
        self._doors: dict[int, tuple[socket.socket, asyncio.Task[None]]] = {}
        self._passing: set[asyncio.Task[None]] = set()

    def apply(self, settings: Settings) -> None:
        """Take over new settings.

        Raises:
            SettingsError: a port cannot be opened; everything is as it was.
        """
        pools = {port: pool for pool in settings.pools.values() for port in pool.ports}
        opened = open_doors(settings.address, {port: "tcp" for port in pools if port not in self._doors})
        self._pools, self._peers, self._address = pools, settings.peers, settings.address
        for port in [port for port in self._doors if port not in pools]:
            self._close(port)
        for port, door in opened.items():
            self._doors[port] = (door, asyncio.ensure_future(self._accept(port, door)))
            self._log.write("passing %s %s:%d" % (pools[port].name, settings.address, port))

    async def stop(self) -> None:
        """Close every port, and end whatever is passed on."""
        for port in list(self._doors):
            self._close(port)
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def _close(self, port: int) -> None:
        door, task = self._doors.pop(port)
        task.cancel()
        asyncio.get_running_loop().remove_reader(door)
        door.close()

    async def _accept(self, port: int, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _unused = await loop.sock_accept(door)
            except OSError as error:
                self._log.write("error nobody can be accepted on %d: %s" % (port, error))
                await asyncio.sleep(0.1)
                continue
            task = asyncio.ensure_future(self._pass(port, connection))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass(self, port: int, connection: socket.socket) -> None:
        """Pass a connection on until either end ends it."""
        pool = self._pools[port]
        member = await self._connected(pool, port)
        if member is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.close()
            return
        to_client = await asyncio.open_connection(sock=connection)
        ways = [
            asyncio.ensure_future(_copy(source, target))
            for source, target in ((to_client[0], member[1]), (member[0], to_client[1]))
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for _unused, writer in (to_client, member):
                writer.close()

    async def _connected(self, pool: Pool, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a connection with the first member that takes one, those that answer their monitor first."""
        for name in sorted(pool.members, key=lambda name: not self._answers(name)):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    found = await asyncio.open_connection(
                        self._peers[name].address, port, local_addr=(self._address, 0)
                    )
                if self._active.get(pool.name) != name:
                    self._active[pool.name] = name
                    self._log.write("active %s %s" % (pool.name, name))
                return found
        return None


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
