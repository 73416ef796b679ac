# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dialling side of a component: one stream of numbered messages for each peer, over whatever its settings say.

A message that is not answered is sent again over a new connection. With new settings a client first gets a session
that works, and only then leaves the one it has; until then its messages go the old way, and its log says so.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ssl
import time
import typing as t

from . import postgresql
from .records import Log, Row
from .security import client_context
from .settings import SILENCE, Peer
from .wire import Wire

#: Seconds for connection, handshake and greeting together.
_CONNECT_SECONDS: t.Final = 5.0
#: Seconds between attempts; the last one stays.
_PAUSES: t.Final = (0.02, 0.05, 0.1, 0.1, 0.1, 0.2)
#: Seconds that a session which is left has for its outstanding answers.
_DRAIN: t.Final = 1.0
#: A peer that leaves so many messages without an answer is not there.
_MISSED: t.Final = 3


class Refused(Exception):
    """No session comes about; one sentence says why."""


class Route:
    """How to reach a peer: its settings, and what to present and verify, read once."""

    def __init__(self, peer: Peer, source: str) -> None:
        self.peer = peer
        self.source = source
        self.context: ssl.SSLContext | None = client_context(peer) if peer.tls else None

    @property
    def words(self) -> str:
        """The route, for the log."""
        return "%s:%d %s" % (self.peer.address, self.peer.port, "TLS" if self.peer.tls else "clear")


class Message:
    """A numbered message under way."""

    __slots__ = ("made", "session", "tries")

    def __init__(self, made: float) -> None:
        self.made = made
        self.tries = 0
        self.session: Session | None = None


class Session(Wire):
    """One connection to a peer."""

    def __init__(self, answered: t.Callable[[int], None], lost: t.Callable[[Session], None]) -> None:
        super().__init__()
        self._answered = answered
        self._lost = lost
        self._buffer = b""
        self._reply_wanted = False
        self._awaited: asyncio.Future[bytes] | None = None
        self._failure: Exception | None = None
        self.alive = True
        self.heard = time.monotonic()

    def secured(self) -> None:
        """Go on after the handshake."""
        self._wake(b"")

    def received(self, data: bytes) -> None:
        """Take answers."""
        if self._reply_wanted:
            self._wake(data)
            return
        self.heard = time.monotonic()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            word, _unused, number = line.partition(b" ")
            if word != b"ok" or not number.isdigit():
                self.close()
            elif int(number):
                self._answered(int(number))
            else:
                self._wake(b"")

    def failed(self, error: Exception) -> None:
        """Keep why there is no TLS session."""
        self._failure = error

    def ended(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self.alive = False
        if self._awaited is not None and not self._awaited.done():
            why = self._failure or error
            self._awaited.set_exception(Refused("the connection was ended%s" % (": %s" % why if why else "")))
        self._lost(self)

    def close(self) -> None:
        """End the session."""
        self.alive = False
        super().close()

    def _wake(self, data: bytes) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(data)

    async def _wait(self, act: t.Callable[[], None], *, reply: bool = False) -> bytes:
        """Do something and wait for what it leads to: a handshake, a greeting, or a reply of any form."""
        self._awaited = asyncio.get_running_loop().create_future()
        self._reply_wanted = reply
        try:
            if not self.is_open:
                raise Refused("the connection was ended")
            act()
            return await self._awaited
        finally:
            self._awaited, self._reply_wanted = None, False

    async def _ask(self, data: bytes) -> bytes:
        return await self._wait(lambda: self.send(data), reply=True)

    async def enter(self, route: Route) -> None:
        """Negotiate, shake hands and log in, as protocol and settings ask for."""
        peer, context = route.peer, route.context
        if context is not None:
            if peer.protocol == "postgresql" and await self._ask(postgresql.SSL_REQUEST) != postgresql.YES:
                raise Refused("it does not offer TLS")
            await self._wait(lambda: self.start_tls(context, server_side=False, name=peer.dialled))
        if peer.protocol == "postgresql":
            answer = await self._ask(postgresql.startup(peer.id))
            if answer != postgresql.LET_IN:
                raise Refused("it does not let us in: %r" % answer[:80])

    async def greet(self, peer: Peer) -> None:
        """Wait for the answer to number 0: only then have both ends accepted each other."""
        await self._wait(lambda: self.send(line_of(peer, 0, time.time())))


class Datagrams(Session):
    """The same without a connection: each message, and each answer, is a datagram."""

    def datagram_received(self, data: bytes, _unused: t.Any) -> None:
        """Take an answer."""
        self.received(data)

    def error_received(self, error: OSError) -> None:
        """Take it that nobody is there."""
        self._failure = error
        self.abort()

    def send(self, data: bytes) -> None:
        """Send a message."""
        if self.is_open:
            t.cast("asyncio.DatagramTransport", self._transport).sendto(data)


def line_of(peer: Peer, number: int, made: float) -> bytes:
    """Return a message as it is sent."""
    return b"%s %d %d %s\n" % (peer.id.encode(), number, made * 1000, peer.canary.encode())


async def dial(
    route: Route, answered: t.Callable[[int], None], lost: t.Callable[[Session], None], *, greet: bool
) -> Session:
    """Return a session with a peer.

    Raises:
        Refused: none comes about.
    """
    peer, loop = route.peer, asyncio.get_running_loop()
    session = Session(answered, lost) if peer.transport == "tcp" else Datagrams(answered, lost)
    remote, local = (peer.address, peer.port), (route.source, 0)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            if peer.transport == "tcp":
                await loop.create_connection(lambda: session, *remote, local_addr=local)
            else:
                await loop.create_datagram_endpoint(lambda: session, remote_addr=remote, local_addr=local)
            await session.enter(route)
            if greet:
                await session.greet(peer)
    except TimeoutError:
        session.abort()
        raise Refused("it does not answer in time") from None
    except (OSError, Refused) as error:
        session.abort()
        raise Refused(" ".join(str(error).split())) from error
    except asyncio.CancelledError:
        session.abort()
        raise
    return session


class Line:
    """The stream of messages to one peer."""

    def __init__(self, route: Route, log: Log) -> None:
        self._route = route
        self._log = log
        self._run = int(time.time() * 1000)
        self._number = self._run  # numbers of a later run are higher
        self._open: collections.OrderedDict[int, Message] = collections.OrderedDict()
        self._sent = self._answers = self._lost = self._repeated = 0
        self._last_answer: float | None = None
        self._longest_gap = 0.0
        self._said = ""
        self._route_works = False
        self._session: Session | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing: asyncio.Task[None] | None = None
        self._making: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin: messages are made as soon as the peer has answered once."""
        self._changing = self._spawn(self._change(self._route))

    def change(self, route: Route) -> None:
        """Take over new settings."""
        if self._changing is not None:
            self._changing.cancel()
        self._changing = self._spawn(self._change(route))

    def row(self) -> Row:
        """Return the row for the tallies."""
        peer = self._route.peer
        waiting = 0.0 if self._last_answer is None or not self._open else time.monotonic() - self._last_answer
        return {
            "run": self._run,
            "role": "client",
            "id": peer.id,
            "canary": peer.canary,
            "sent": self._sent,
            "answered": self._answers,
            "lost": self._lost,
            "repeated": self._repeated,
            "open": len(self._open),
            "interval_ms": round(peer.interval * 1000),
            "longest_gap_ms": round(max(self._longest_gap, waiting) * 1000),
            "tls": peer.tls,
        }

    @property
    def answers(self) -> bool:
        """Whether the peer has answered lately."""
        lately = time.monotonic() - _MISSED * self._route.peer.interval
        return self._last_answer is not None and self._last_answer > lately

    async def stop(self) -> None:
        """Make no more messages, wait a little for outstanding answers, and end."""
        if self._making is not None:
            self._making.cancel()
        end = time.monotonic() + _DRAIN
        while self._open and time.monotonic() < end:
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        session, self._session = self._session, None
        if session is not None:
            session.close()
        await asyncio.sleep(0)

    # ------------------------------------------------------------ settings

    async def _change(self, route: Route) -> None:
        """Get a session that works over a route, then leave the old one; one that rests in between leaves it first."""
        if route.peer.rest and self._session is not None:
            left, self._session = self._session, None
            left.close()
            await asyncio.sleep(route.peer.rest)
        session = await self._until_dialled(route)
        old, self._route = self._session, route
        self._session = None
        self._route_works = True
        self._log.write("session %s %s" % (route.peer.id, route.words))
        if route.peer.mode == "persistent":
            self._use(session)
        else:
            session.close()
        if self._making is None:
            self._making = self._spawn(self._make())
        if old is not None:
            self._spawn(self._leave(old))

    async def _until_dialled(self, route: Route) -> Session:
        for attempt in range(1 << 30):
            try:
                session = await dial(route, self._answered, self._ended, greet=True)
            except Refused as refused:
                self._say("%s %s: %s" % (route.peer.id, route.words, refused))
                await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
            else:
                if session.alive:
                    self._said = ""
                    return session
        raise AssertionError("unreachable")

    async def _leave(self, session: Session) -> None:
        end = time.monotonic() + _DRAIN
        while session.alive and time.monotonic() < end:
            if not any(message.session is session for message in self._open.values()):
                break
            await asyncio.sleep(0.01)
        session.close()
        if self._session is not None:
            self._use(self._session)

    def _say(self, reason: str) -> None:
        """Log why something does not work, once until it is another reason."""
        if reason != self._said:
            self._said = reason
            self._log.write("failing %s" % reason)

    # ------------------------------------------------------------ messages

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._number += 1
            self._sent += 1
            message = self._open[self._number] = Message(time.time())
            if self._route.peer.mode == "message":
                self._spawn(self._deliver(self._number, message))
            elif self._session is not None:
                self._send(self._number, message, self._session)
            self._expire()
            due = max(due + self._route.peer.interval, loop.time() - 1.0)
            await asyncio.sleep(due - loop.time())

    def _send(self, number: int, message: Message, session: Session) -> None:
        self._repeated += message.tries > 0
        message.tries += 1
        message.session = session
        session.send(line_of(self._route.peer, number, message.made))

    def _answered(self, number: int) -> None:
        if self._open.pop(number, None) is None:
            return
        now = time.monotonic()
        if self._last_answer is not None:
            self._longest_gap = max(self._longest_gap, now - self._last_answer)
        self._last_answer = now
        self._answers += 1

    def _expire(self) -> None:
        """Give up messages that were not answered in time, and a session that has fallen silent."""
        oldest = time.time() - self._route.peer.patience
        while self._open:
            number, message = next(iter(self._open.items()))
            if message.made > oldest:
                break
            del self._open[number]
            self._lost += 1
            self._log.write("lost %s %d" % (self._route.peer.id, number))
        session = self._session
        if session is not None and self._open and time.monotonic() - session.heard > SILENCE:
            waiting = next(iter(self._open.values()))
            if waiting.session is session and time.time() - waiting.made > SILENCE:
                self._say("%s does not answer any more" % self._route.peer.id)
                session.abort()

    # ------------------------------------------------------------ one session for all messages

    def _use(self, session: Session) -> None:
        """Send over this session from now on, and what was left without an answer first."""
        self._session = session
        for number, message in self._open.items():
            if message.session is None or not message.session.alive:
                self._send(number, message, session)

    def _ended(self, session: Session) -> None:
        """Note that a session is lost; if it is the one in use, get another."""
        if session is not self._session:
            return
        self._session = None
        if self._route_works and self._route.peer.mode == "persistent":
            self._log.write("ended %s %s" % (self._route.peer.id, self._route.words))
            if self._changing is None or self._changing.done():
                self._changing = self._spawn(self._change(self._route))

    # ------------------------------------------------------------ a connection for each message

    async def _deliver(self, number: int, message: Message) -> None:
        attempt = 0
        while number in self._open:
            route = self._route
            try:
                answered = asyncio.get_running_loop().create_future()
                await self._try(route, number, message, answered)
            except Refused as refused:
                self._say("%s %s: %s" % (route.peer.id, route.words, refused))
                await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
            attempt += 1

    async def _try(self, route: Route, number: int, message: Message, answer: asyncio.Future[None]) -> None:
        def answered(which: int) -> None:
            self._answered(which)
            if not answer.done():
                answer.set_result(None)

        def lost(_unused: Session) -> None:
            if not answer.done():
                answer.set_exception(Refused("the connection was ended before the answer"))
                answer.exception()  # seen

        session = await dial(route, answered, lost, greet=False)
        try:
            self._send(number, message, session)
            await asyncio.wait_for(asyncio.shield(answer), SILENCE)
            self._said = ""
        except TimeoutError:
            raise Refused("it does not answer") from None
        finally:
            session.close()

    # ------------------------------------------------------------ tasks

    def _spawn(self, work: t.Coroutine[t.Any, t.Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.write("error %r" % task.exception())


class Dialler:
    """The peers of a component, each with its stream of messages."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lines: dict[str, Line] = {}
        self._past: list[Row] = []
        self._leaving: list[asyncio.Future[None]] = []

    def apply(self, routes: t.Mapping[str, Route]) -> None:
        """Take over new settings."""
        for name, route in routes.items():
            if name in self._lines:
                self._lines[name].change(route)
            else:
                self._lines[name] = Line(route, self._log)
                self._lines[name].start()
        for name in [name for name in self._lines if name not in routes]:
            line = self._lines.pop(name)
            self._past.append(line.row())
            self._leaving.append(asyncio.ensure_future(line.stop()))

    def answers(self, name: str) -> bool:
        """Return whether a peer has answered lately."""
        return name in self._lines and self._lines[name].answers

    def rows(self) -> list[Row]:
        """Return the tallies."""
        return [*self._past, *(line.row() for line in self._lines.values())]

    async def stop(self) -> None:
        """End all streams."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*(line.stop() for line in self._lines.values()))


def routes_of(peers: t.Mapping[str, Peer], source: str) -> dict[str, Route]:
    """Return how to reach each peer.

    Raises:
        SettingsError: a file of one of them cannot be used.
    """
    return {name: Route(peer, source) for name, peer in peers.items()}
