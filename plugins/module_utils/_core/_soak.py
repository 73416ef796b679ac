# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who used a clear listener between runs, and for how long somebody watched it; private to this collection."""

from __future__ import annotations

import datetime
import math
import typing as t

from ._entities import Instance, Model, Pair
from ._evidence import Evidence, fails
from ._observed import SeenSoak
from ._scene import Scene
from ._stages import rank
from ._strangers import is_within, listener_id, who_may_be_at

DAY: t.Final = 86400.0
#: Where the collector can run.
_COLLECTED_ON: t.Final = ("linux", "aix", "solaris")
#: Clocks of hosts may differ by as much, in seconds.
_SKEW: t.Final = 300.0


def listeners_by_host(scene: Scene) -> dict[str, list[dict[str, t.Any]]]:
    """Return the listeners that the collector of each host is to watch: those of pairs that nobody blocks."""
    servers = {(pair.server, pair.listener) for pair in scene.model.pairs if not pair.blocked}
    servers = {row for row in servers if scene.model.managed(row[0]) and collects(scene, row[0])}
    found: dict[str, list[dict[str, t.Any]]] = {}
    for server, listener in servers:
        addresses = sorted(scene.addresses_of(server.host))
        row = {"id": listener_id(server, listener.name), "addresses": addresses, "port": listener.port}
        looks = {} if scene.model.hosts[server.host].os == "linux" else _looks_at(scene, server, listener.name)
        row.update({"looks": looks} if looks else {})
        found.setdefault(server.host, []).append(row)
    return {host: sorted(rows, key=lambda row: str(row["id"])) for host, rows in found.items()}


def _looks_at(scene: Scene, server: Instance, listener: str) -> dict[str, int]:
    """Return from which port on our looks at a listener are made, by the address that they come from.

    A server on Linux tells that by its own settings, which are taken for those of all.
    """
    pairs = scene.model.pairs_of_listener(server.name, listener)
    hosts = sorted({scene.vantage(pair).host for pair in pairs})
    return {
        address: scene.host(host).probe_ports[0]
        for host in hosts
        if scene.host(host).probe_ports
        for address in sorted(scene.addresses_of(host))
    }


def collects(scene: Scene, server: Instance) -> bool:
    """Return whether the collector can run at a server."""
    return scene.model.hosts[server.host].os in _COLLECTED_ON


def servers_of(model: Model, pair_ids: t.Collection[str]) -> list[Instance]:
    """Return the servers of these pairs, each host once."""
    found = {
        pair.server.host: pair.server for pair in model.pairs if pair.id in pair_ids and model.managed(pair.server)
    }
    return [found[host] for host in sorted(found)]


def why_not_soaked(scene: Scene, pair: Pair, seconds: float) -> Evidence | None:
    """Return why what was collected of a pair's listener does not allow to close it; None if it does.

    Args:
        scene: what is known.
        pair: the pair.
        seconds: for how long its peers have to be known (``tls_soak``).
    """
    if not scene.model.managed(pair.server):
        return None  # who uses it is known to its owner
    listener = listener_id(pair.server, pair.listener.name)
    if not collects(scene, pair.server):
        expected = "the peers of %s were collected for %s" % (listener, _days(seconds))
        found = "collecting them is not built for %s" % scene.model.hosts[pair.server.host].os
        todo = "run again with -e tls_soak=0, if watching for tls_watch seconds will do"
        return fails("enforced", expected, found, "held", todo=todo)
    seen = scene.soaked.get(listener, SeenSoak())
    who = _who_used_it(scene, pair, seen, seconds)
    if who is not None:
        return who
    if seen.watched >= seconds:
        return None
    expected = "the peers of %s were collected for %s" % (listener, _days(seconds))
    todo = "have a timer run the collector on %s (docs/task_soak.md), and run again" % pair.server.host
    if seen.intervals:
        todo = "run again when that is full, or with -e tls_soak=0, if watching for tls_watch seconds will do"
    return fails("enforced", expected, coverage(seen), "held", todo=todo)


def coverage(seen: SeenSoak) -> str:
    """Return in words for how long a listener was watched, and where that has gaps."""
    if not seen.intervals:
        return "nobody has collected them so far"
    first, last = seen.intervals[0][0], seen.intervals[-1][1]
    words = "they were for %s since %s, last at %s" % (_days(seen.watched), _moment(first), _moment(last))
    gaps = [after[0] - before[1] for before, after in zip(seen.intervals, seen.intervals[1:])]
    return words + ("; nobody watched %d times, for up to %s" % (len(gaps), _days(max(gaps))) if gaps else "")


def _who_used_it(scene: Scene, pair: Pair, seen: SeenSoak, seconds: float) -> Evidence | None:
    """Return who was collected that keeps a listener open, the last one seen: a stranger, or else a left-over session.

    A session is left over where a client went on in the clear after it was switched.
    """
    listener = listener_id(pair.server, pair.listener.name)
    pairs = scene.model.pairs_of_listener(pair.server.name, pair.listener.name)
    expected = "nobody uses %s in the clear" % listener
    leftover = None
    for address, peer in sorted(seen.peers.items(), key=lambda row: -row[1].last):
        if peer.last < seen.at - seconds:
            break
        if is_within(scene, pair.server, address):
            continue
        known = [each for each in pairs if any(who_may_be_at(scene, each, address))]
        often = "seen %d times, last at %s" % (peer.count, _moment(peer.last))
        if not known:
            who = "%s, which no enumerated client has, was %s" % (address, often)
            return fails("enforced", expected, who, "stranger")
        if leftover is None and _went_on(scene, known, peer.last):
            who = "%s, a clear session of %s after it was switched, was %s" % (address, known[0].client.name, often)
            leftover = fails("enforced", expected, who, "leftover")
    return leftover


def _went_on(scene: Scene, known: t.Sequence[Pair], last: float) -> bool:
    """Return whether every client that a session may be of was on TLS when it was last seen in the clear."""
    late = all(last > _on_tls_since(scene, each) + _SKEW for each in known)
    return late and scene.shape(known[0]) == "second_listener"


def _on_tls_since(scene: Scene, pair: Pair) -> float:
    """Return since when the ledger has the pair on TLS, in seconds since 1970; infinity if it does not."""
    on_tls = rank(scene.recorded.get(pair.id, "plain")) >= rank("switched")
    return scene.since.get(pair.id, math.inf) if on_tls else math.inf


def _days(seconds: float) -> str:
    if seconds < 2 * 3600:
        return "%d minutes" % (seconds // 60)
    return "%.1f hours" % (seconds / 3600) if seconds < DAY else "%.1f days" % (seconds / DAY)


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
