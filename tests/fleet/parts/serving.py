# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The serving side of a component: listeners that open, close and change while sessions go on.

A session is a line protocol: `<client> <number> [<made at, in ms>] <canary>`, answered with `ok <number>`. Number 0 is
a greeting, which shows both ends that the session works. It may follow a login as PostgreSQL has it.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import itertools
import socket
import ssl
import struct
import time
import typing as t
from dataclasses import dataclass

from . import postgresql
from .records import Log, Row, SessionList
from .security import server_context
from .settings import Listener, Settings, SettingsError
from .wire import Wire

_LINE_LIMIT: t.Final = 4096
_BACKLOG: t.Final = 128
#: Seconds between two writings of the list of sessions, at least.
_SESSIONS_EVERY: t.Final = 0.1
#: Seconds for which clients that end as well, as those in a cluster do, may still get their last answers.
_GRACE: t.Final = 0.3
#: Delay from which a message counts as late.
_LATE_MS: t.Final = 250.0
#: Numbers of a client that are remembered to know one that is sent again.
_REMEMBERED: t.Final = 2048


class Inbox:
    """What one client has sent in this run of the server."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._numbers: collections.OrderedDict[int, None] = collections.OrderedDict()
        self._last: float | None = None
        self.received = self.repeated = self.late = self.resets = 0
        self.longest_gap = 0.0
        self.security = "clear"

    def take(self, number: int, now: float, delay_ms: float) -> bool:
        """Count a message; return whether it had come before."""
        if number in self._numbers:
            self.repeated += 1
            return True
        self._numbers[number] = None
        if len(self._numbers) > _REMEMBERED:
            self._numbers.popitem(last=False)
        self.received += 1
        self.late += delay_ms > _LATE_MS
        if self._last is not None:
            self.longest_gap = max(self.longest_gap, now - self._last)
        self._last = now
        return False

    def to_json(self, run: int) -> Row:
        """Return the row for the tallies."""
        return {
            "run": run,
            "role": "server",
            "id": self._client,
            "received": self.received,
            "repeated": self.repeated,
            "late": self.late,
            "resets": self.resets,
            "longest_gap_ms": round(self.longest_gap * 1000),
            "tls": self.security != "clear",
            "verified": self.security == "mutual",
        }


@dataclass(frozen=True)
class Message:
    """A message as it comes in; number 0 is a greeting."""

    client: str
    number: int
    made: int | None

    @classmethod
    def parse(cls, line: bytes) -> Message:
        """Return a line as a message.

        Raises:
            ValueError: it is none.
        """
        client, number, *made, _canary = line.decode().split(" ")
        if len(made) > 1:
            raise ValueError(line)
        return cls(client, int(number), int(made[0]) if made else None)

    @property
    def answer(self) -> bytes:
        """What its sender waits for."""
        return b"ok %d\n" % self.number


class Session(Wire):
    """One connection of a client, from its first byte to its end."""

    _keys = itertools.count()

    def __init__(self, server: Server, listener: Listener, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._server = server
        self._context = context
        self._key = next(self._keys)
        self._buffer = b""
        self._take: t.Callable[[], bool] = (
            self._take_negotiation if listener.protocol == "postgresql" else self._take_line
        )
        self.listener = listener
        self.client: str | None = None
        self.peer = "unknown"

    def opened(self) -> None:
        """Note who it is."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        self.peer = "%s:%d" % name[:2] if name else "unknown"
        self._server.sessions.add(self)
        if self._context is not None:
            self.start_tls(self._context, server_side=True)

    def ended(self, error: Exception | None) -> None:
        """Note its end."""
        self._server.sessions.discard(self)
        if self.client is None:
            return
        reset = isinstance(error, ConnectionError)
        if reset:
            self._server.inbox(self.client).resets += 1
        self._server.listed.ended(self._key)
        self._server.sessions_changed()
        words = "end %s %s %s%s" % (self.listener.name, self.peer, self.client, " reset" if reset else "")
        self._server.log.write(words)

    def failed(self, error: Exception) -> None:
        """Note why there is no TLS session."""
        self._server.log.write("refused %s %s %s" % (self.listener.name, self.peer, error))

    def received(self, data: bytes) -> None:
        """Take everything that is complete."""
        self._buffer += data
        while self._buffer and self.is_open and self._take():
            pass

    def refuse(self, reason: str) -> None:
        """End the session and say why."""
        self._server.log.write("refused %s %s %s" % (self.listener.name, self.peer, reason))
        self.close()

    def _take_line(self) -> bool:
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            if len(self._buffer) > _LINE_LIMIT:
                self.refuse("its line has no end")
            return False
        self._buffer = rest
        try:
            message = Message.parse(line)
        except ValueError:
            self.send(b"error a message is: client number [made-at-ms] canary\n")
            self.refuse("it sent something that is no message")
            return True
        if self.client != message.client:
            self._login(message.client)
        self._server.count(message, self._security())
        self.send(message.answer)
        return True

    def _login(self, client: str) -> None:
        """Note whose session this is; only then is it one."""
        self.client = client
        self._server.log.write("session %s %s %s %s" % (self.listener.name, self.peer, client, self._security()))
        self._server.listed.opened(
            self._key,
            {
                "peer": self.peer,
                "tls": self.is_tls,
                "verified": self.shows_certificate,
                "listener": self.listener.name,
                "client": client,
            },
        )
        self._server.sessions_changed()

    def _security(self) -> str:
        return "clear" if not self.is_tls else "mutual" if self.shows_certificate else "tls"

    def _take_negotiation(self) -> bool:
        try:
            first = postgresql.take_first(self._buffer)
        except postgresql.NotPostgresql as error:
            self.refuse("it sent %s" % error)
            return False
        if first is None:
            return False
        message, self._buffer = first
        if message == postgresql.SSL_REQUEST:
            self._negotiate()
        elif self._server.mode(self.listener) == "only" and not self.is_tls:
            self.send(postgresql.refusal('no pg_hba.conf entry for host "%s", no encryption' % self.peer))
            self.refuse("it does not use TLS")
        else:
            self.send(postgresql.LET_IN)
            self._take = self._take_line
            self._login(postgresql.user_of(message))
        return True

    def _negotiate(self) -> None:
        context = self._server.context(self.listener.name)
        if self.is_tls or context is None:
            self.send(postgresql.NO)
        elif self._buffer:
            self.refuse("it sent more before the handshake")  # as CVE-2021-23214 has it
        else:
            self.send(postgresql.YES)
            self.start_tls(context, server_side=True)


class Role(t.NamedTuple):
    """What a port is there for."""

    listener: str
    secure: bool
    transport: str


def _roles(listeners: t.Iterable[Listener]) -> dict[int, Role]:
    roles = {}
    for each in listeners:
        if each.port is not None:
            roles[each.port] = Role(each.name, each.protocol == "line" and each.tls == "only", each.transport)
        if each.tls_port is not None:
            roles[each.tls_port] = Role(each.name, True, "tcp")
    return roles


#: Of Linux, in every architecture that Python's ``socket`` has no name for them.
_ATTACH_FILTER: t.Final = 26
_DETACH_FILTER: t.Final = 27
#: Where classic BPF finds the source address of a packet's IPv4 header (linux/filter.h: SKF_NET_OFF, and 12 bytes).
_SOURCE: t.Final = 0xFFF00000 + 12


def cut_off(door: socket.socket, source: str | None) -> None:
    """Have the kernel lose what comes to a listening socket from an address, as a firewall between them would.

    Whoever dials from there gets no answer at all, and the program never knows. None lets everybody through.
    """
    if source is None:
        with contextlib.suppress(FileNotFoundError):  # nobody was cut off
            door.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        return
    address = int.from_bytes(socket.inet_aton(source), "big")
    # load a word; compare it, and skip none or one; return how much of the packet is kept: nothing, or all of it
    program = [(0x20, 0, 0, _SOURCE), (0x15, 0, 1, address), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    filtering = struct.pack("@HP", len(program), ctypes.addressof(code))
    door.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, filtering)


_SOCKETS: t.Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def open_doors(address: str, ports: t.Mapping[int, str]) -> dict[int, socket.socket]:
    """Return a socket for each port, with the transport that it has: all of them, or none.

    Raises:
        SettingsError: one cannot be opened.
    """
    opened: dict[int, socket.socket] = {}
    for port, transport in ports.items():
        door = opened[port] = socket.socket(socket.AF_INET, _SOCKETS[transport])
        try:
            if transport == "tcp":
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((address, port))
            if transport == "tcp":
                door.listen(_BACKLOG)
            door.setblocking(False)
        except OSError as error:
            for each in opened.values():
                each.close()
            raise SettingsError("%s:%d cannot be opened: %s" % (address, port, error.strerror)) from error
    return opened


class Server:
    """The listeners of a component."""

    def __init__(self, log: Log, listed: SessionList) -> None:
        self.log = log
        self.listed = listed
        self.sessions: set[Session] = set()
        self._run = int(time.time() * 1000)
        self._inboxes: dict[str, Inbox] = {}
        self._listeners: t.Mapping[str, Listener] = {}
        self._contexts: t.Mapping[str, ssl.SSLContext] = {}
        self._doors: dict[int, tuple[socket.socket, asyncio.Task[None]]] = {}
        self._roles: t.Mapping[int, Role] = {}
        self._arrivals: set[asyncio.Task[None]] = set()
        self._write_due = False

    def mode(self, listener: Listener) -> str:
        """Return whether a listener has TLS now: off, permit or only."""
        return self._listeners.get(listener.name, listener).tls

    def context(self, name: str) -> ssl.SSLContext | None:
        """Return what a listener presents now."""
        return self._contexts.get(name)

    def inbox(self, client: str) -> Inbox:
        """Return what a client has sent."""
        if client not in self._inboxes:
            self._inboxes[client] = Inbox(client)
        return self._inboxes[client]

    def count(self, message: Message, security: str) -> None:
        """Note that a message has come, and how: clear, tls or mutual."""
        if not message.number:
            return
        now = time.time()
        delay = 0.0 if message.made is None else max(now * 1000 - message.made, 0.0)
        inbox = self.inbox(message.client)
        again = inbox.take(message.number, now, delay)
        inbox.security = security
        words = (message.client, message.number, "again" if again else "first", delay, security)
        self.log.write("message %s %d %s %.1f %s" % words)

    def rows(self) -> list[Row]:
        """Return the tallies."""
        return [inbox.to_json(self._run) for inbox in self._inboxes.values()]

    def sessions_changed(self) -> None:
        """Write the list of sessions soon; several changes are written at once."""
        if not self._write_due:
            self._write_due = True
            asyncio.get_running_loop().call_later(_SESSIONS_EVERY, self._write_sessions)

    def _write_sessions(self) -> None:
        self._write_due = False
        self.listed.write()

    def apply(self, settings: Settings, contexts: t.Mapping[str, ssl.SSLContext]) -> None:
        """Take over new settings. New ports are opened first, so that either all of them hold or none.

        Raises:
            SettingsError: a port cannot be opened; everything is as it was.
        """
        roles = {} if settings.is_standby else _roles(settings.listeners.values())
        opened = open_doors(
            settings.address, {port: roles[port].transport for port in roles if port not in self._doors}
        )
        before = self._listeners
        self._roles, self._listeners, self._contexts = roles, settings.listeners, contexts
        for port in [port for port in self._doors if port not in roles]:
            self._close(port)
        doors = {**opened, **{port: door for port, (door, _task) in self._doors.items()}}
        for port, door in doors.items():
            if roles[port].secure:
                cut_off(door, self._listeners[roles[port].listener].cut_off)
        for port, door in opened.items():
            work = self._accept if roles[port].transport == "tcp" else self._answer
            self._doors[port] = (door, asyncio.ensure_future(work(port, door)))
            self.log.write("listening %s %s:%d" % (roles[port].listener, settings.address, port))
        self._end_flipped(before)
        if settings.is_standby:
            for session in list(self.sessions):
                session.refuse("it is a standby now")

    def _close(self, port: int) -> None:
        door, task = self._doors.pop(port)
        task.cancel()
        asyncio.get_running_loop().remove_reader(door)
        door.close()
        self.log.write("closed %d" % port)

    def _end_flipped(self, before: t.Mapping[str, Listener]) -> None:
        """End the sessions of listeners that speak clear or TLS only, and now the other one."""
        for session in list(self.sessions):
            old, new = before.get(session.listener.name), self._listeners.get(session.listener.name)
            if old and new and new.protocol == "line" and old.tls != new.tls and session.is_tls != (new.tls == "only"):
                session.refuse("its listener changed to %s" % ("TLS" if new.tls == "only" else "clear"))

    async def _accept(self, port: int, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _unused = await loop.sock_accept(door)
            except OSError as error:
                self.log.write("error nobody can be accepted on %d: %s" % (port, error))
                await asyncio.sleep(0.1)
                continue
            task = asyncio.ensure_future(self._arrive(port, connection))
            self._arrivals.add(task)
            task.add_done_callback(self._arrivals.discard)

    async def _arrive(self, port: int, connection: socket.socket) -> None:
        role = self._roles.get(port)
        listener = self._listeners.get(role.listener) if role else None
        if role is None or listener is None or listener.broken:
            connection.close()
            return
        context = self._contexts[role.listener] if role.secure else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Session(self, listener, context), connection
            )
        except OSError as error:
            self.log.write("refused %s %s" % (role.listener, error))
            connection.close()

    async def _answer(self, port: int, door: socket.socket) -> None:
        """Answer datagrams: a message each, and no session."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(
                OSError, ValueError
            ):  # one that is no message has no answer, nor is anybody waited for
                data, peer = await loop.sock_recvfrom(door, _LINE_LIMIT)
                message = Message.parse(data.rstrip(b"\n"))
                self.count(message, "clear")
                await loop.sock_sendto(door, message.answer, peer)

    async def stop(self) -> None:
        """Close every port and session; those whose clients end at the same time are ended by these."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._gone(), _GRACE)
        for port in list(self._doors):
            self._close(port)
        for session in list(self.sessions):
            session.close()
        for task in self._arrivals:
            task.cancel()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._gone(), 0.5)
        self.listed.write()

    async def _gone(self) -> None:
        while self.sessions:
            await asyncio.sleep(0.005)


def server_contexts(settings: Settings) -> dict[str, ssl.SSLContext]:
    """Return what each listener that speaks TLS presents.

    Raises:
        SettingsError: a file of one of them cannot be used.
    """
    return {name: server_context(each) for name, each in settings.listeners.items() if each.speaks_tls}
