# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers of TCP listeners over some seconds; private to this collection."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import dataclass, field

from ._destroyed import Destroyed
from ._sockets import WILDCARDS, End, Row, net_folder, tcp_rows


@dataclass(frozen=True)
class Watched:
    """A listener whose peers are wanted.

    Attributes:
        id: name of the result.
        addresses: the addresses that clients dial; none for every address of this host.
        port: its port.
        pid: a process whose network namespace it is in; None for that of this process.
    """

    id: str
    addresses: tuple[str, ...]
    port: int
    pid: int | None = None

    @property
    def folder(self) -> str:
        """Where the system lists its sockets."""
        return net_folder(self.pid)

    @property
    def is_here(self) -> bool:
        """Whether it is in this process's own network namespace, of which alone the kernel tells events."""
        return self.pid is None or _namespace(self.pid) in (None, _namespace(os.getpid()))


@dataclass
class Peer:
    """A peer of a listener, over all samples in which it was seen."""

    address: str
    port: int
    state: str
    new: bool
    samples: int = 0


@dataclass
class _Seen:
    """What is known of one listener: its peers, and whether somebody listened in any sample."""

    peers: dict[End, Peer] = field(default_factory=dict)
    listening: bool = False


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink("/proc/%d/ns/net" % pid)
    except OSError:
        return None


def peers_of(rows: t.Sequence[Row], watched: Watched) -> dict[End, str]:
    """Return the peers of a listener with the state of each.

    A peer on this same host is also seen from its own end, which may last longer than the server's.
    """
    bound, named = _bound(rows, watched.port), set(watched.addresses)
    exact = bool(named) and (bool(named & bound) or not bound & set(WILDCARDS))
    others = bound - set(WILDCARDS)

    def here(end: End) -> bool:
        if end[1] != watched.port:
            return False
        return end[0] in named if exact else end[0] not in others or not named

    found: dict[End, str] = {}
    for row in rows:
        if row.state == "LISTEN":
            continue
        if here(row.local):
            found[row.peer] = row.state
        elif row.peer[1] == watched.port and exact and here(row.peer):
            found.setdefault(row.local, row.state)
    return found


def _bound(rows: t.Sequence[Row], port: int) -> set[str]:
    return {row.local[0] for row in rows if row.state == "LISTEN" and row.local[1] == port}


def listens(rows: t.Sequence[Row], watched: Watched) -> bool:
    """Return whether somebody listens there."""
    bound, named = _bound(rows, watched.port), set(watched.addresses)
    return bool(bound & {*named, *WILDCARDS} if named else bound)


def watch(
    listeners: t.Sequence[Watched],
    *,
    seconds: float,
    interval: float = 0.05,
    also: t.Callable[[], None] = lambda: None,
    until: t.Callable[[], bool] = lambda: False,
) -> dict[str, t.Any]:
    """Return the peers that the listeners had during some seconds.

    The sockets are sampled; those that come and go between two samples are told by the kernel, where it does that.

    Args:
        listeners: the listeners to watch.
        seconds: for how long.
        interval: seconds between two samples.
        also: called after each sample.
        until: ends the watch early.
    """
    watching = _Watching(listeners)
    started = time.monotonic()
    with Destroyed() as destroyed:
        while True:
            watching.sample(destroyed)
            also()
            left = started + seconds - time.monotonic()
            if left <= 0 or until():
                break
            time.sleep(min(interval, left))
        return watching.to_json(time.monotonic() - started, told=destroyed.complete)


class _Watching:
    """Listeners that are watched, with what was seen of them so far."""

    def __init__(self, listeners: t.Sequence[Watched]) -> None:
        self._listeners = listeners
        self._ports = {listener.port for listener in listeners}
        self._folders = {listener.folder for listener in listeners}
        self._here = {listener.id: listener.is_here for listener in listeners}
        self._seen = {listener.id: _Seen() for listener in listeners}
        self._samples = 0

    def sample(self, destroyed: Destroyed) -> None:
        """Take the peers of this moment, and those that the kernel says have gone since the last."""
        rows = {folder: tcp_rows(self._ports, folder=folder) for folder in self._folders}
        for listener in self._listeners:
            at = rows[listener.folder]
            _take(self._seen[listener.id], peers_of(at, listener), first=self._samples == 0)
            self._seen[listener.id].listening |= listens(at, listener)
        gone = destroyed.take()
        for listener in self._listeners if self._samples else ():
            if self._here[listener.id]:
                at = _listening(rows[listener.folder])
                _take_gone(self._seen[listener.id], peers_of([*at, *gone], listener))
        self._samples += 1

    def to_json(self, seconds: float, *, told: bool) -> dict[str, t.Any]:
        """Return what was seen in so many seconds; ``told`` is whether the kernel told all that it was to tell."""
        coverage = {"samples": self._samples, "seconds": round(seconds, 3)}
        return {
            name: {
                "peers": [vars(peer) for _unused, peer in sorted(found.peers.items())],
                "listening": found.listening,
                "coverage": {**coverage, "events": told and self._here[name]},
            }
            for name, found in self._seen.items()
        }


def _listening(rows: t.Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.state == "LISTEN"]


def _take(seen: _Seen, found: t.Mapping[End, str], *, first: bool) -> None:
    for end, state in found.items():
        peer = seen.peers.setdefault(end, Peer(end[0], end[1], state, new=not first))
        peer.state = state
        peer.samples += 1


def _take_gone(seen: _Seen, found: t.Mapping[End, str]) -> None:
    for end in found:
        seen.peers.setdefault(end, Peer(end[0], end[1], "CLOSE", new=True))
