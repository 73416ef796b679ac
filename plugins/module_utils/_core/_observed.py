# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts showed of instances, endpoints and listeners, as values; private to this collection.

``observe`` answers in JSON, described in ``docs/looking.md``. It is parsed here, once, so that gates ask values, and so
that what could not be seen is never taken for what is not there.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._chain import Head

#: Seconds for which a session has to last to be told from a handshake that fails.
HOLD: t.Final = 0.3

Json = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Socket:
    """A socket of an instance's processes, or one at their addresses that no process has any more.

    Attributes:
        local, peer: ``address:port`` of this end and of the other.
        owned: whether a process of the instance had it.
        now: whether it was there at the last moment of the look.
        new: whether it came up while somebody watched.
        lasted: seconds for which it was seen by somebody who watched; None if nobody did.
        ago: seconds since it was seen first by somebody who watched; None if nobody did.
        brief: whether it stood in one moment of the look and was gone a moment later.
    """

    local: str
    peer: str
    state: str = "ESTABLISHED"
    owned: bool = True
    now: bool = True
    new: bool = False
    lasted: float | None = None
    ago: float | None = None
    brief: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is a connection that stands now."""
        return self.now and self.state == "ESTABLISHED"

    @property
    def is_young(self) -> bool:
        """Whether it may be a handshake that is about to fail: it came up a moment ago, or was gone a moment later."""
        return self.brief or (self.new and self.lasted is not None and self.lasted < HOLD)


@dataclass(frozen=True)
class Session:
    """A session as its server lists it.

    Attributes:
        peer: ``address:port`` of the client.
        tls: whether it is over TLS.
        verified: whether its client presented a certificate that was accepted; None where the server does not say.
        listener: on which listener it is; None if the list does not say.
        ended: whether it is over.
        brief: whether it stood in one moment of the look and was gone a moment later.
    """

    peer: str
    tls: bool = False
    verified: bool | None = False
    listener: str | None = None
    ended: bool = False
    brief: bool = False

    @property
    def address(self) -> str:
        """The client's address."""
        return address_of(self.peer)

    @property
    def port(self) -> int:
        """The client's port; 0 if that is no number."""
        return port_of(self.peer)


@dataclass(frozen=True)
class Noted:
    """A step that is under way on an instance, as its marker says; ``phase`` is editing, reloading or reversing."""

    id: str
    stage: str
    of: tuple[str, ...] = ()
    phase: str = ""


@dataclass(frozen=True)
class SeenProcess:
    """The process of an instance; ``started`` in seconds since 1970."""

    pids: tuple[int, ...] = ()
    started: float | None = None
    user: str | None = None
    variables: t.Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class SeenHost:
    """What a host showed of itself.

    Attributes:
        addresses: the IP addresses of its interfaces, without those that every host has.
        probe_ports: the first and the last port that our probes are made from; empty if they have none of their own.
        clock_off: seconds by which its clock is ahead of the controller's, at least; below 0 if it is behind.
    """

    addresses: tuple[str, ...] = ()
    probe_ports: tuple[int, ...] = ()
    clock_off: float = 0.0

    def is_probe(self, port: int) -> bool:
        """Return whether a connection from this port is one of our own looks."""
        return bool(self.probe_ports) and self.probe_ports[0] <= port <= self.probe_ports[-1]


@dataclass(frozen=True)
class SeenInstance:
    """What a host showed of an instance.

    Attributes:
        generation: number of the installed generation; None if there is none.
        inputs: what went into it, as digests and names; None if its manifest is missing.
        files: its files as installed, by name.
        installed_at: when it was taken, in seconds since 1970.
        drift: a sentence for each file that is not as it was installed, by file.
        noted: the steps that are under way.
        loaded: the generation that the process has taken up, as far as a step of ours saw it.
        told: where the ledger's history ended when that step was handed out; None if it was told of none.
        keys: digests of the public halves of the keys that were born on the host; None if nobody looked.
        steps: ids of the steps whose snapshots are kept.
        finished: those of them that were finished.
        kept_since: when each was taken, in seconds since 1970.
        refused: those that the host could not take back, each with why, where that was asked.
        reads: values of options by id; None for an option that is not set. One that could not be read is not in it.
        missing: variables that the file for its environment lacks; None if nobody looked.
        sessions: what the server lists; None if it lists none.
        keeps_ended: whether that list also has sessions that ended lately.
        tls_only: whether that list says that whoever logs in in the clear is refused.
        sockets: the client's own.
        udp: for each UDP port that was asked for, whether a process of it has a socket there.
        unreadable: why something of it could not be seen, by what it is.
        adopted: by identity that was there before us, what its certificate says, and whether it is ``valid`` by the
            host's clock.
    """

    generation: str | None = None
    inputs: Json | None = None
    files: t.Mapping[str, Json] = field(default_factory=dict)
    installed_at: float | None = None
    drift: t.Mapping[str, str] = field(default_factory=dict)
    noted: tuple[Noted, ...] = ()
    loaded: str | None = None
    told: Head | None = None
    keys: frozenset[str] | None = None
    steps: frozenset[str] = frozenset()
    finished: frozenset[str] = frozenset()
    kept_since: t.Mapping[str, float] = field(default_factory=dict)
    refused: t.Mapping[str, str] = field(default_factory=dict)
    reads: t.Mapping[str, str | None] = field(default_factory=dict)
    process: SeenProcess = SeenProcess()
    missing: tuple[str, ...] | None = None
    sessions: tuple[Session, ...] | None = None
    keeps_ended: bool = False
    tls_only: bool = False
    sockets: tuple[Socket, ...] = ()
    udp: t.Mapping[int, bool] = field(default_factory=dict)
    unreadable: t.Mapping[str, str] = field(default_factory=dict)
    adopted: t.Mapping[str, Json] = field(default_factory=dict)


#: Classes of a plaintext probe that mean: plaintext is refused here.
_REFUSED: t.Final = ("connection_refused", "plaintext_refused", "tls_only", "udp_closed")


@dataclass(frozen=True)
class SeenProbe:
    """What somebody who dialled an endpoint saw.

    Attributes:
        outcome: ``tls``, ``clear``, or why neither; empty if nobody dialled.
        address: the address that was reached; empty if none was.
        kind: the class of what is wrong; empty if nothing is.
        verified: whether certificate and name were verified.
        security: ``clear``, ``tls_unverified``, ``verified`` or ``mutual``.
        sha256: fingerprint of the certificate that was presented.
        not_after: when that expires, in seconds since 1970.
        demanded: whether a client without a certificate is turned away; None if that was not tried, or nobody can tell.
        foreign: ``refused``, ``accepted`` or ``unknown`` for a foreign authority's certificate; empty if not tried.
        old_protocols: ``refused``, ``accepted`` or ``unknown`` for each old version that was tried.
    """

    outcome: str = ""
    kind: str = ""
    address: str = ""
    verified: bool = False
    security: str = ""
    reason: str = ""
    protocol: str = ""
    sha256: str = ""
    not_after: float | None = None
    demanded: bool | None = None
    foreign: str = ""
    old_protocols: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def refuses_plaintext(self) -> bool:
        """Whether plaintext is refused there; any other silence may be a server in trouble."""
        return self.kind in _REFUSED

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken there, be it only with those who present a certificate, which this look did not."""
        return self.outcome == "tls" or self.kind == "certificate_required"


@dataclass(frozen=True)
class Peer:
    """A peer of a listener that was watched; ``new`` if it came up while somebody watched."""

    address: str
    port: int
    state: str = "ESTABLISHED"
    new: bool = False


@dataclass(frozen=True)
class SeenWatch:
    """What a watch of a listener saw.

    Attributes:
        peers: who was connected to it.
        listening: whether somebody listens on it.
        seconds: for how long it was watched.
        events: whether the system also told of connections that came and went between two samples.
        unreadable: why it could not be watched; empty if it could.
    """

    peers: tuple[Peer, ...] = ()
    listening: bool = True
    seconds: float = 0.0
    events: bool = True
    unreadable: str = ""


@dataclass(frozen=True)
class SoakedPeer:
    """An address that was seen on a clear listener between runs; moments in seconds since 1970."""

    first: float
    last: float
    count: int


@dataclass(frozen=True)
class SeenSoak:
    """What was collected of a listener between runs.

    Attributes:
        at: the host's clock when it was read.
        intervals: when it was watched, each from and to.
        peers: who used it, by address.
    """

    at: float = 0.0
    intervals: tuple[tuple[float, float], ...] = ()
    peers: t.Mapping[str, SoakedPeer] = field(default_factory=dict)

    @property
    def watched(self) -> float:
        """The seconds for which it was watched."""
        return sum(last - first for first, last in self.intervals)


#: What is known of an instance at which nobody looked.
UNSEEN: t.Final = SeenInstance()
NOT_DIALLED: t.Final = SeenProbe()


def address_of(end: str) -> str:
    """Return the address of ``address:port``."""
    return end.rpartition(":")[0].strip("[]")


def port_of(end: str) -> int:
    """Return the port of ``address:port``; 0 if that is no number."""
    port = end.rpartition(":")[2]
    return int(port) if port.isdigit() else 0


def end_of(address: str, port: int) -> str:
    """Return ``address:port`` as sockets are shown."""
    return ("[%s]:%d" if ":" in address else "%s:%d") % (address, port)


def parse_host(data: Json) -> SeenHost:
    """Return a host from its observation."""
    addresses, ports = tuple(data.get("addresses") or ()), tuple(data.get("probe_ports") or ())
    return SeenHost(addresses, ports, float(data.get("clock_off") or 0.0))


def clock_off(clock: float, before: float, after: float) -> float:
    """Return by how much a clock that was read between two moments is ahead of them, at least; below 0 if behind."""
    return round(max(clock - after, 0.0) + min(clock - before, 0.0), 3)


def parse_instance(data: Json) -> SeenInstance:
    """Return an instance from its part of an observation."""
    manifest = data.get("manifest")
    environment = data.get("environment")
    rows = data.get("sessions")
    steps = dict(data.get("steps") or {})
    return SeenInstance(
        generation=data.get("generation"),
        inputs=None if manifest is None else dict(manifest.get("inputs") or {}),
        files=dict((manifest or {}).get("files") or {}),
        installed_at=(manifest or {}).get("installed_at"),
        drift=dict(data.get("drift") or {}),
        noted=tuple(_noted(row) for _name, row in sorted((data.get("pending") or {}).items())),
        loaded=(data.get("loaded") or {}).get("generation"),
        told=Head.parse((data.get("loaded") or {}).get("ledger")),
        keys=None if data.get("keys") is None else frozenset(data["keys"]),
        steps=frozenset(steps),
        finished=frozenset(name for name, row in steps.items() if row.get("finished")),
        kept_since={name: float(row["at"]) for name, row in steps.items() if row.get("at")},
        refused=dict(data.get("refused") or {}),
        reads=dict(data.get("reads") or {}),
        process=_process(data.get("process") or {}),
        missing=None if environment is None else tuple(environment.get("missing") or ()),
        sessions=None if rows is None else tuple(_session(row) for row in rows if row.get("peer")),
        keeps_ended=any("ended" in row and not row.get("gone") for row in rows or ()),
        tls_only=any(row.get("tls_only") is True for row in rows or ()),
        sockets=_sockets(data.get("sockets") or (), data.get("recent") or ()),
        udp={int(port): bool(there) for port, there in (data.get("udp") or {}).items()},
        unreadable=dict(data.get("unreadable") or {}),
        adopted=dict(data.get("adopted") or {}),
    )


def parse_probe_result(data: Json) -> SeenProbe:
    """Return a probe from its part of an observation."""
    demanded = data.get("demanded")
    return SeenProbe(
        outcome=str(data.get("outcome") or ""),
        kind=str(data.get("class") or ""),
        address=str(data.get("address") or ""),
        verified=data.get("verified") is True,
        security=str(data.get("security") or ""),
        reason=str(data.get("reason") or ""),
        protocol=str(data.get("protocol") or ""),
        sha256=str(data.get("sha256") or ""),
        not_after=data.get("not_after"),
        demanded=demanded if isinstance(demanded, bool) else None,
        foreign=str(data.get("foreign") or ""),
        old_protocols=dict(data.get("old_protocols") or {}),
    )


def parse_watch(data: Json) -> SeenWatch:
    """Return what was seen of a listener from its part of an observation."""
    coverage = data.get("coverage") or {}
    return SeenWatch(
        peers=tuple(
            Peer(str(row["address"]), int(row.get("port") or 0), str(row.get("state") or ""), bool(row.get("new")))
            for row in data.get("peers") or ()
        ),
        listening=data.get("listening") is not False,
        seconds=float(coverage.get("seconds") or 0.0),
        events=coverage.get("events") is not False,
        unreadable=str(data.get("unreadable") or ""),
    )


def parse_soak(data: Json, *, at: float) -> SeenSoak:
    """Return what was collected of a listener, as its host keeps it; ``at`` is the host's clock."""
    peers = {
        str(address): SoakedPeer(float(row["first"]), float(row["last"]), int(row["count"]))
        for address, row in (data.get("peers") or {}).items()
    }
    intervals = tuple((float(first), float(last)) for first, last in data.get("intervals") or ())
    return SeenSoak(at, intervals, peers)


def _sockets(standing: t.Iterable[Json], watched: t.Sequence[Json]) -> tuple[Socket, ...]:
    """Return the sockets of the last moment with what a watch before it knows of them, and what else it saw.

    What the watch saw at its end may be over in the last moment, and that is the one that counts.
    """
    last = [*standing]
    known = {_ends(row): row for row in watched}
    fresh = {"new": True, "lasted": 0.0, "ago": 0.0} if watched else {}
    rows = [{**row, **_age(known.get(_ends(row), fresh))} for row in last]
    there = {_ends(row) for row in last}
    seen = [{**row, "now": False} if _is_open(row) else row for row in watched if _ends(row) not in there]
    return tuple(_socket(row) for row in (*rows, *seen))


def _ends(row: Json) -> tuple[t.Any, t.Any]:
    return row.get("local"), row.get("peer")


def _is_open(row: Json) -> bool:
    return bool(row.get("now", True)) and row.get("state") == "ESTABLISHED"


def _age(row: Json) -> Json:
    return {name: row[name] for name in ("new", "lasted", "ago") if name in row}


def _socket(row: Json) -> Socket:
    return Socket(
        local=str(row.get("local") or ""),
        peer=str(row.get("peer") or ""),
        state=str(row.get("state") or ""),
        owned=bool(row.get("owned", True)),
        now=bool(row.get("now", True)),
        new=bool(row.get("new", False)),
        lasted=row.get("lasted"),
        ago=row.get("ago"),
        brief=bool(row.get("brief")),
    )


def _session(row: Json) -> Session:
    return Session(
        peer=str(row["peer"]),
        tls=bool(row.get("tls")),
        verified=bool(row["verified"]) if "verified" in row else None,
        listener=row.get("listener"),
        ended=bool(row.get("ended")),
        brief=bool(row.get("brief")),
    )


def _noted(data: Json) -> Noted:
    step = data.get("step") or {}
    return Noted(
        id=str(step.get("id") or ""),
        stage=str(step.get("stage") or ""),
        of=tuple(step.get("of") or ()),
        phase=str(data.get("phase") or ""),
    )


def _process(data: Json) -> SeenProcess:
    return SeenProcess(
        pids=tuple(data.get("pids") or ()),
        started=data.get("started"),
        user=data.get("user"),
        variables=dict(data.get("variables") or {}),
    )
