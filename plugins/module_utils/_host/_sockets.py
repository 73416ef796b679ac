# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets of this host as Linux lists them, and the peers of TCP listeners; private to this collection."""

from __future__ import annotations

import functools
import os
import socket
import struct
import time
import typing as t
from dataclasses import dataclass, field

from .._core._errors import TlsError
from ._destroyed import Destroyed
from ._network import probe_ports

#: include/net/tcp_states.h
STATES: t.Final[t.Mapping[str, str]] = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
    "0C": "NEW_SYN_RECV",
}

_WILDCARDS: t.Final = ("0.0.0.0", "::")

End = t.Tuple[str, int]


class SocketsUnknown(TlsError):
    """This system does not list its sockets in a way that is known here."""


@dataclass(frozen=True)
class Row:
    """One TCP socket.

    Attributes:
        local: address and port of this end.
        peer: address and port of the other end; 0.0.0.0 and 0 for a listener.
        state: name of its state.
        inode: what ``/proc/<pid>/fd`` shows of it; 0 once no process has it any more.
    """

    local: End
    peer: End
    state: str
    inode: int

    def to_json(self) -> dict[str, t.Any]:
        """Return the row as observation shows it."""
        return {"local": shown(self.local), "peer": shown(self.peer), "state": self.state, "owned": self.inode != 0}


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


def shown(end: End) -> str:
    """Return an address and a port as one text."""
    return ("[%s]:%d" if ":" in end[0] else "%s:%d") % end


def net_folder(pid: int | None) -> str:
    """Return where the system lists the sockets of a process's network namespace."""
    folder = "/proc/%d/net" % pid if pid else "/proc/net"
    return folder if os.path.isdir(folder) else "/proc/net"


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink("/proc/%d/ns/net" % pid)
    except OSError:
        return None


def tcp_rows(ports: t.Collection[int] | None = None, *, folder: str = "/proc/net") -> list[Row]:
    """Return the TCP sockets, or those with one of ``ports`` at either end.

    Raises:
        SocketsUnknown: this is not Linux.
    """
    wanted = None if ports is None else frozenset(b"%04X" % port for port in ports)
    rows: list[Row] = []
    read = 0
    for name in ("tcp", "tcp6"):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue  # without IPv6 there is no tcp6
        read += 1
        for line in lines:
            fields = line.split(None, 10)
            if len(fields) > 9 and (wanted is None or fields[1][-4:] in wanted or fields[2][-4:] in wanted):
                state = fields[3].decode()
                rows.append(Row(_end(fields[1]), _end(fields[2]), STATES.get(state, state), int(fields[9])))
    if not read:
        raise SocketsUnknown("%s lists no TCP sockets; sockets can be looked at on Linux only" % folder)
    return rows


@functools.lru_cache(maxsize=4096)
def _address(digits: bytes) -> str:
    """Return an address; the kernel writes it as words in the order of this machine."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack("=%dI" % len(words), *words)
    if len(packed) == 16 and packed.startswith(b"\0" * 10 + b"\xff\xff"):
        packed = packed[12:]  # an IPv4 peer of an IPv6 socket
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _end(text: bytes) -> End:
    return _address(text[:-5]), int(text[-4:], 16)


def inodes(pids: t.Iterable[int]) -> set[int]:
    """Return the inodes of the sockets that these processes have; a process that is gone has none.

    Raises:
        SocketsUnknown: this account may not look at them.
    """
    found: set[int] = set()
    for pid in pids:
        folder = "/proc/%d/fd" % pid
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise SocketsUnknown("the sockets of process %d may be seen by its account and root only" % pid) from error
        for name in names:
            try:
                target = os.readlink("%s/%s" % (folder, name))
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    return found


def own_sockets(pids: t.Sequence[int], *, addresses: t.Collection[str] = ()) -> list[Row]:
    """Return the sockets of these processes, and what is left of sockets at these addresses.

    A socket in TIME_WAIT belongs to no process any more, so it is counted to those that use its address, unless its
    port is one of our looks'.

    Args:
        pids: the processes; the sockets are those of the first one's network namespace.
        addresses: addresses of the processes' host, beside those that their sockets have.
    """
    if not pids:
        return []
    mine = inodes(pids)
    rows = tcp_rows(folder=net_folder(pids[0]))
    owned = [row for row in rows if row.inode in mine and row.inode]
    local = {*addresses, *(row.local[0] for row in owned)} - set(_WILDCARDS)
    ended = [row for row in rows if row.state == "TIME_WAIT" and row.local[0] in local]
    return owned + [row for row in ended if row.local[1] not in probe_ports()]


def udp_ports(pids: t.Sequence[int]) -> set[int]:
    """Return the ports on which these processes have a UDP socket.

    Raises:
        SocketsUnknown: this is not Linux, or this account may not look at them.
    """
    mine, found, read = inodes(pids), set(), 0
    for name in ("udp", "udp6"):
        try:
            with open(os.path.join(net_folder(pids[0]), name), "rb") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue  # without IPv6 there is no udp6
        read += 1
        found |= {_end(line.split()[1])[1] for line in lines if int(line.split()[9]) in mine}
    if not read:
        raise SocketsUnknown("%s lists no UDP sockets; sockets can be looked at on Linux only" % net_folder(pids[0]))
    return found


def peers_of(rows: t.Sequence[Row], watched: Watched) -> dict[End, str]:
    """Return the peers of a listener with the state of each.

    A peer on this same host is also seen from its own end, which may last longer than the server's.
    """
    bound, named = _bound(rows, watched.port), set(watched.addresses)
    exact = bool(named) and (bool(named & bound) or not bound & set(_WILDCARDS))
    others = bound - set(_WILDCARDS)

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
    return bool(bound & {*named, *_WILDCARDS} if named else bound)


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
