# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who still uses a clear listener that is about to be closed; private to this collection."""

from __future__ import annotations

import ipaddress
import typing as t

from ._dormant import is_asleep
from ._entities import Instance, Pair
from ._evidence import Fault, fails
from ._hold import Hold, waiting
from ._names import is_ip_address
from ._observed import Peer, SeenWatch
from ._scene import Scene
from ._sessions import sessions_of

Watched = t.Mapping[str, SeenWatch]


def listener_id(server: Instance, name: str) -> str:
    """Return how a watch calls a listener: ``component.listener@host``."""
    return "%s.%s@%s" % (server.component, name, server.host)


def strangers(scene: Scene, server: Instance, listeners: t.Iterable[str], watched: Watched) -> Hold | None:
    """Return who still uses these clear listeners of an instance, the first that is found.

    A peer belongs to the hosts that have its address. Connections that had ended before the watch began do not count.
    Who sends datagrams shows in no socket, so nobody is looked for on a UDP port.

    Args:
        scene: the model and what was seen.
        server: the instance.
        listeners: names of its listeners.
        watched: what was seen of them, by :func:`listener_id`.
    """
    for name in listeners:
        if scene.model.components[server.component].listeners[name].is_udp:
            continue
        listener = listener_id(server, name)
        seen = watched.get(listener)
        pairs = scene.model.pairs_of_listener(server.name, name)
        if seen is not None and not seen.listening and any(is_asleep(scene, pair) for pair in pairs):
            continue  # nobody can use what a standby opens at a failover
        unwatched = _why_unwatched(seen)
        if seen is None or unwatched:
            expected = "the peers of %s were watched" % listener
            return Hold(fails("enforced", expected, unwatched, "unseen"), waiting=False)
        found = _first_in_the_clear(scene, listener, pairs, seen.peers)
        if found is not None:
            return found
    return None


def ends_plaintext(scene: Scene, stage: str, pair: Pair) -> bool:
    """Return whether a step of this stage ends plaintext: an enforcement, and what holds its options as well.

    Some servers demand certificates only where they refuse plaintext, such as Postfix. Members of some clusters, such
    as Galera's, refuse plaintext as soon as they use TLS themselves.
    """
    if stage == "connect":
        return closes_itself(scene, pair)
    if stage != "demand" or pair.mode != "mutual":
        return stage == "enforce"
    ending = scene.options("enforce", pair)
    return bool(ending) and set(ending) <= set(scene.options("demand", pair))


def closes_itself(scene: Scene, pair: Pair) -> bool:
    """Return whether the client of a cluster link closes its own listener by using TLS itself."""
    if not pair.link or scene.shape(pair) != "same_port":
        return False
    own = scene.model.pairs_of_listener(pair.client.name, pair.listener.name)
    ending = scene.options("enforce", own[0]) if own else ()
    return bool(ending) and set(ending) <= set(scene.options("connect", pair))


def _why_unwatched(seen: SeenWatch | None) -> str:
    if seen is None:
        return "nobody watched them"
    if seen.unreadable:
        return seen.unreadable
    return "" if seen.listening else "nobody listens there, as far as its host can see"


def _first_in_the_clear(scene: Scene, listener: str, pairs: t.Sequence[Pair], peers: t.Iterable[Peer]) -> Hold | None:
    shape = scene.shape(pairs[0])
    for peer in peers:
        if (peer.state == "TIME_WAIT" and not peer.new) or is_within(scene, pairs[0].server, peer.address):
            continue
        if shape == "flip" and is_member(scene, pairs, peer.address):
            continue
        known = sorted({who for pair in pairs for who in who_may_be_at(scene, pair, peer.address)})
        if not known:
            return _in_the_clear(listener, "%s, which no enumerated client has" % peer.address, "stranger")
        if shape == "second_listener":
            who = "%s, a clear session of %s" % (peer.address, " or ".join(known))
            return _in_the_clear(listener, who, "leftover", todo=_ask_its_owner(scene, pairs, peer.address))
    if shape == "same_port":  # before a flip its own clients are in the clear, and move with it
        for pair in (each for each in pairs if not closes_itself(scene, each)):
            clear = sessions_of(scene, pair).clear
            if clear:
                return _in_the_clear(listener, "%s, a clear session of %s" % (clear[0], pair.client.name), "leftover")
    return None


def _ask_its_owner(scene: Scene, pairs: t.Iterable[Pair], address: str) -> str:
    """Return whom to ask, where a client that is not ours may be at an address: nobody of us can end its sessions."""
    for client in (pair.client for pair in pairs):
        if not scene.ours(client) and scene.whereabouts(client)(address):
            return "ask %s to have %s move to TLS; then run again" % (scene.model.owner_of(client), client.component)
    return ""


def who_may_be_at(scene: Scene, pair: Pair, address: str) -> t.Iterator[str]:
    """Yield the pair's client if it may have an address, and what may have passed its session on from there.

    What every host calls itself by counts on the server's alone.
    """
    beside = pair.client.host == pair.server.host
    if scene.whereabouts(pair.client)(address) or (beside and _is_loopback(address)):
        yield pair.client.name
    for between in scene.origins(pair)[1:]:
        if scene.whereabouts(between)(address):
            yield "%s through %s" % (pair.client.name, between.component)


def is_within(scene: Scene, server: Instance, address: str) -> bool:
    """Return whether who has an address may go on in the clear: the tunnel of a server that has one, over loopback.

    The program behind it listens there for good, so nobody on its host is cut off.
    """
    return "besides" in scene.kinds[server.name].process and _is_loopback(address)


def is_member(scene: Scene, pairs: t.Iterable[Pair], address: str) -> bool:
    """Return whether who has an address is a member of the cluster on its own host: itself, or a tool of its.

    Tools of a node of RabbitMQ are nodes too, which read the same options. They move with it where it flips.
    """
    links = [pair for pair in pairs if pair.link]
    return any(scene.whereabouts(pair.server)(address) or _is_loopback(address) for pair in links)


def _is_loopback(address: str) -> bool:
    return is_ip_address(address) and ipaddress.ip_address(address).is_loopback


def _in_the_clear(listener: str, who: str, fault: Fault, *, todo: str = "") -> Hold:
    return waiting("enforced", "nobody uses %s in the clear" % listener, who, fault=fault, todo=todo)
