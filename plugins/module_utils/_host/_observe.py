# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that gates need of one host, seen in one call; private to this collection.

A call of a module costs about as much as a ping, so everything that a gate needs of a host comes from one. Nothing of
it is changed. Libraries that cost time are imported where they are needed, for most looks at most hosts need none of
them.
"""

from __future__ import annotations

import os
import time
import typing as t

from .._core._errors import TlsError
from ._network import own_addresses, probe_ports
from ._sight import Asked, Json, RequestRefused, Sight
from ._system import SYSTEM

#: A request never makes a host watch for longer than this.
_WATCH_LIMIT: t.Final = 3600.0
#: Seconds between two looks at sockets, by which a session that stands is told from one that comes and goes.
_STANDING: t.Final = 0.25
#: What a request may ask for.
_KEYS: t.Final = ("directory", "instances", "probes", "watch", "settle", "soak", "leftovers", "token", "system")


def observe(request: Asked, *, stranger: t.Mapping[str, str] | None = None) -> Json:
    """Return what a host shows.

    The processes' sockets are listed before anything is probed, and settled before that, so that no connection of our
    own is taken for one of theirs.

    Args:
        request: ``directory``, ``instances``, ``probes``, ``watch``, ``settle``, ``soak``, ``leftovers``, ``token`` and
            ``system``, all optional; described in ``docs/looking.md``.
        stranger: certificate and key of an authority that nobody trusts, for the probes that ask for it.

    Raises:
        RequestRefused: the request makes no sense.
        TlsError: a probe of it makes no sense.
    """
    directory = str(request.get("directory") or "/etc/connsec")
    if request.get("system", "linux" if "token" in request else SYSTEM) != SYSTEM:
        raise RequestRefused(
            "this host runs %s, and the model says %s: correct its os" % (SYSTEM, request.get("system", "linux"))
        )
    sights = _sights(request, directory)
    probes = _parsed(request.get("probes") or (), stranger)
    for sight in sights.values():
        sight.addresses |= {probe.source or probe.prefer_source for probe in probes} - {None}
    settled = _settled(request.get("settle"), sights)
    watched = _watch(request.get("watch") or {}, sights)
    ours, listed = probe_ports(), time.monotonic()
    for sight in sights.values():
        sight.begin_sessions()
    seen: Json = {
        "clock": round(time.time(), 3),
        "addresses": own_addresses(),
        "probe_ports": [ours[0], ours[-1]] if ours else [],
        "instances": {name: sight.to_json() for name, sight in sights.items()},
        "probes": {},
        "watch": watched,
        "settled": settled,
        "source_ports": [],
    }
    if probes:
        from ._handshake import look

        seen["probes"] = look(probes)
        seen["source_ports"] = sorted({port for one in seen["probes"].values() for port in one["source_ports"]})
    seen.update(_besides(request, directory))
    _tell_what_stays(sights, seen["instances"], listed + _STANDING)
    return seen


def _tell_what_stays(sights: t.Mapping[str, Sight], seen: t.Mapping[str, Json], at: float) -> None:
    """Look once more for the sessions that stood, and tell of each that is gone; ``at`` is when, by time.monotonic.

    Who connects for a moment may be caught in it, and would be taken for somebody who holds a session.
    """
    open_ones = {name: _open_ones(seen[name]) for name in sights if not sights[name].asked.get("glance")}
    if not any(sockets or sessions for sockets, sessions in open_ones.values()):
        return
    time.sleep(max(0.0, at - time.monotonic()))
    for name, (_sockets, sessions) in open_ones.items():
        if sessions:
            sights[name].begin_sessions()
    for name, (sockets, sessions) in open_ones.items():
        now: Json = {"sockets": [row.to_json() for row in sights[name].sockets()] if sockets else []}
        now["sessions"] = _listed_again(sights[name], sessions)
        still_sockets, still_sessions = _open_ones(now)
        ends = {(row["local"], row["peer"]) for row in still_sockets}
        peers = {row.get("peer") for row in still_sessions}
        for row in sockets:
            if (row["local"], row["peer"]) not in ends:
                row["brief"] = True
        for row in sessions:
            if row.get("peer") not in peers:
                row["brief"] = True


def _listed_again(sight: Sight, sessions: list[Json]) -> list[Json]:
    """Return what is listed now, where something was; the same where that cannot be had: then nobody is known to go."""
    try:
        return (sight.sessions() or []) if sessions else []
    except (TlsError, OSError):
        return sessions


def _open_ones(seen: Json) -> tuple[list[Json], list[Json]]:
    """Return the sockets and the listed sessions of an instance that stand."""
    sockets = [row for row in seen["sockets"] if row["state"] == "ESTABLISHED"]
    return sockets, [row for row in seen["sessions"] or () if not row.get("ended")]


def _sights(request: Asked, directory: str) -> dict[str, Sight]:
    """Return the instances to look at, by name."""
    unknown = sorted(set(request) - set(_KEYS))
    if unknown:
        raise RequestRefused("a request has no %r; it has %s" % (unknown[0], ", ".join(_KEYS)))
    return {str(asked["name"]): Sight(asked, directory) for asked in request.get("instances") or ()}


def _settled(asked: t.Sequence[Asked] | None, sights: t.Mapping[str, Sight]) -> Json:
    """Wait until sessions have settled, where that is asked for."""
    if not asked:
        return {}
    from ._settling import settle

    return dict(settle(asked, sights))


def _besides(request: Asked, directory: str) -> Json:
    """Return what the host keeps besides its instances, where that is asked for, and the question's token."""
    seen: Json = {}
    if request.get("soak"):
        from ._collected import collected

        seen["soak"] = collected(directory)
    if request.get("leftovers"):
        seen["leftovers"] = _leftovers(directory, request["leftovers"].get("known") or ())
    if "token" in request:
        seen["token"] = request["token"]
    return seen


def _parsed(requests: t.Sequence[Asked], stranger: Asked | None) -> list[t.Any]:
    if not requests:
        return []
    from ._probe import parse_probe

    return [
        parse_probe({**request, "foreign": stranger if request.get("foreign") is True else request.get("foreign")})
        for request in requests
    ]


def _watch(asked: Asked, sights: t.Mapping[str, Sight]) -> Json:
    """Watch listeners and instances for as long as is asked."""
    if not asked:
        return {}
    from ._watching import watch

    seconds, interval = float(asked.get("seconds") or 0.0), float(asked.get("interval") or 0.05)
    if not 0 <= seconds <= _WATCH_LIMIT or interval < 0.001:
        raise RequestRefused(
            "a watch of %r seconds every %r is not one; the limit is %d" % (seconds, interval, _WATCH_LIMIT)
        )
    listeners = [_watched(row) for row in asked.get("listeners") or ()]
    names = [str(name) for name in asked.get("instances") or ()]
    strange = sorted(set(names) - set(sights))
    if strange:
        raise RequestRefused("the sockets of %s are to be watched, but the request does not describe it" % strange[0])

    def note() -> None:
        for name in names:
            sights[name].note_recent()

    seen = watch(listeners, seconds=seconds, interval=interval, also=note)
    return {"listeners": seen, "sockets": {name: sights[name].recent_rows() for name in names}}


def _leftovers(directory: str, known: t.Collection[str]) -> Json:
    """Return the folders of ours that are none of those known."""
    try:
        strange = sorted({*os.listdir(directory)} - {".lock", *known})
    except OSError:
        return {}
    if not strange:
        return {}
    from ._leftovers import leftovers

    return dict(leftovers(directory, strange))


def _watched(row: Asked) -> t.Any:
    """Return the listener that a row of a watch is about, in the network namespace of its process."""
    from ._process import ProcessUnknown, pids_of
    from ._watching import Watched

    try:
        pids = pids_of(row.get("process"))
    except ProcessUnknown:
        pids = []  # that is told where its instance is looked at
    return Watched(str(row["id"]), tuple(row.get("addresses") or ()), int(row["port"]), pids[0] if pids else None)
