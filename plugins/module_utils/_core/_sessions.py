# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sessions a pair has, and whether they are clear, from sockets and lists; private to this collection.

On a second listener the port tells clear from TLS, and the client's own sockets tell whose a session is. On one port
sockets cannot show TLS, and the server has to list its sessions. Clients that share a host share its addresses, so a
listed session is a client's only by its port. What speaks against a pair counts for every client that it may belong
to; what speaks for one counts only where it can belong to nobody else.

Of a client that is not ours only our server's end is seen: its sessions are those from the client's addresses.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ._entities import Instance, Pair
from ._names import is_ip_address
from ._observed import Session, Socket, address_of, end_of, port_of
from ._scene import Scene

#: Seconds in which a client that has read its new options gets all of its connections over.
SWITCHING: t.Final = 0.6


@dataclass(frozen=True)
class Sessions:
    """What is seen of a pair's sessions, in words for messages.

    Attributes:
        clear: clear sessions that stand now.
        clear_held: whether one of those is more than a moment's.
        tls: TLS sessions: those that stand, and those that came and went while somebody looked.
        perhaps: TLS sessions that may as well be another client's.
        mutual: whether the server says of one of them that its client presented a certificate.
        held: whether one of them stands now.
        dials: whether the client was seen dialling the TLS listener, whatever came of it.
        stays_clear: whether it was seen dialling the clear one while somebody looked, and not merely before the other.
    """

    clear: tuple[str, ...] = ()
    clear_held: bool = False
    tls: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    mutual: bool = False
    held: bool = False
    dials: bool = False
    stays_clear: bool = False


def sessions_of(scene: Scene, pair: Pair) -> Sessions:
    """Return the sessions of a pair."""
    return _by_port(scene, pair) if scene.shape(pair) == "second_listener" else _by_list(scene, pair)


def presented_by(scene: Scene, pair: Pair) -> list[Session]:
    """Return the TLS sessions of the client that its server lists."""
    return [session for session in _listed(scene, pair) if session.tls and _is_its(scene, pair, session.peer)]


def presented_perhaps(scene: Scene, pair: Pair) -> list[Session]:
    """Return the TLS sessions that its server lists and that may be the client's, or another's as well."""
    return [session for session in _listed(scene, pair) if session.tls and _may_be_its(scene, pair, session.peer)]


def rivals(scene: Scene, pair: Pair) -> list[Pair]:
    """Return the pairs of other clients of the listener on the client's own host, which share its addresses."""
    if len(scene.origins(pair)) > 1:
        return []
    pairs = scene.model.pairs_of_listener(pair.server.name, pair.listener.name)
    return [each for each in pairs if each.client.host == pair.client.host and each.client != pair.client]


def standing_of(scene: Scene, pair: Pair, addresses: t.Collection[str]) -> list[Session]:
    """Return the sessions from these addresses that the pair's server lists on its listener, and that are not over."""
    return [each for each in _listed(scene, pair) if each.address in addresses and not each.ended and not each.brief]


def clear_targets(scene: Scene, pair: Pair) -> tuple[str, ...]:
    """Return the ends that the client may be connected to in the clear; datagrams need no connection."""
    if pair.listener.is_udp:
        return ()
    return tuple(end_of(address, pair.listener.port) for address in _server_addresses(scene, pair))


def tls_targets(scene: Scene, pair: Pair) -> tuple[str, ...]:
    """Return the ends that the client may be connected to over TLS, on a second listener."""
    port = pair.listener.secure_port
    return tuple(end_of(address, port) for address in _server_addresses(scene, pair)) if port else ()


def _server_addresses(scene: Scene, pair: Pair) -> list[str]:
    known = [pair.dial, scene.tls(pair).address, scene.clear(pair).address, scene.front(pair).address]
    known += scene.addresses_of(pair.server.host) if scene.ours(pair.server) else scene.model.addresses_of(pair.server)
    return sorted({each for each in known if each and is_ip_address(each) and "/" not in each})


def _by_port(scene: Scene, pair: Pair) -> Sessions:
    perhaps: list[Socket] = []
    if scene.ours(pair.client):
        clear, dialled = (_to(scene, pair, targets(scene, pair)) for targets in (clear_targets, tls_targets))
    else:
        reached = _from(scene, pair, pair.listener.secure_port)
        clear = [] if pair.listener.is_udp else _from(scene, pair, pair.listener.port)
        dialled = [socket for socket in reached if not _neighbours(scene, pair, socket.local)]
        perhaps = [socket for socket in reached if socket not in dialled and socket.is_open]
    standing = {socket.local for socket in dialled if socket.is_open and not socket.brief}
    if scene.seen(pair.server).sessions is None or len(scene.origins(pair)) > 1:
        # Nobody can tell a short session from a handshake that failed; nor whose one is that somebody passed on.
        tls = [socket.local for socket in dialled if socket.is_open and socket.owned and not socket.is_young]
        mutual = any(session.verified for session in presented_by(scene, pair))
    else:
        # One that ended long ago says nothing of today: it has to be among the sockets that were seen.
        locals_ = {socket.local for socket in dialled}
        listed = [session for session in presented_by(scene, pair) if not session.ended or session.peer in locals_]
        tls = sorted(session.peer for session in listed)
        standing |= {session.peer for session in listed if not session.ended and not session.brief}
        mutual = any(session.verified for session in listed)
    return Sessions(
        clear=tuple("%s to %s" % (socket.local, socket.peer) for socket in clear if socket.is_open),
        clear_held=any(socket.is_open and not socket.brief for socket in clear),
        tls=tuple(tls),
        perhaps=tuple(socket.local for socket in perhaps),
        mutual=mutual,
        held=any(local in standing for local in tls),
        dials=any(socket.is_open or socket.new for socket in dialled),
        stays_clear=_stays_clear(clear, dialled),
    )


def _stays_clear(clear: t.Iterable[Socket], dialled: t.Iterable[Socket]) -> bool:
    """Return whether the clear listener was dialled anew, and not merely before the client had read its new options.

    One whose handshakes fail dials both in turn; one that works dials the clear listener until it dials the other.
    """
    over = max((socket.ago for socket in dialled if socket.new and socket.ago is not None), default=None)
    anew = [socket for socket in clear if socket.new]
    return any(over is None or socket.ago is None or socket.ago < over - SWITCHING for socket in anew)


def _by_list(scene: Scene, pair: Pair) -> Sessions:
    listed = _listed(scene, pair)
    tls = presented_by(scene, pair)
    clear = [s for s in listed if not s.tls and not s.ended and _may_be_its(scene, pair, s.peer)]
    return Sessions(
        clear=tuple(session.peer for session in clear),
        clear_held=any(not session.brief for session in clear),
        tls=tuple(session.peer for session in tls),
        perhaps=tuple(session.peer for session in presented_perhaps(scene, pair) if not session.ended),
        mutual=any(session.verified for session in tls),
        held=any(not session.ended and not session.brief for session in tls),
        dials=bool(tls),
    )


def _to(scene: Scene, pair: Pair, targets: t.Collection[str]) -> list[Socket]:
    return [socket for socket in scene.seen(pair.client).sockets if socket.peer in targets]


def _from(scene: Scene, pair: Pair, port: int | None) -> list[Socket]:
    """Return the sockets of a client that is not ours, as its server's sockets at a port show them."""
    is_its = scene.whereabouts(*scene.origins(pair))
    return [
        replace(socket, local=socket.peer, peer=socket.local)
        for socket in scene.seen(pair.server).sockets
        if port_of(socket.local) == port and is_its(address_of(socket.peer))
    ]


def _listed(scene: Scene, pair: Pair) -> list[Session]:
    """Return the sessions that the server lists on this listener from where the client is, without our own looks'."""
    host, is_its = scene.witness(pair).host, scene.whereabouts(*scene.origins(pair))
    own = scene.addresses_of(host)
    return [
        session
        for session in scene.seen(pair.server).sessions or ()
        if session.listener in (None, pair.listener.name)
        and is_its(session.address)
        and not (
            session.address in own
            and scene.host(host).is_probe(session.port)
            and not _owners(scene, host, session.peer)
        )
    ]


def _may_be_its(scene: Scene, pair: Pair, local: str) -> bool:
    """Return whether a socket with this end may be the client's."""
    owners = _owners(scene, pair.client.host, local)
    return pair.client.name in owners if owners else True


def _is_its(scene: Scene, pair: Pair, local: str) -> bool:
    """Return whether a socket with this end can be nobody's but the client's.

    Whoever was seen owning it has it. One that nobody owns any more is the client's if no other client of this listener
    on the host could have made it: those that were seen with sockets of their own have other ones.
    """
    owners = _owners(scene, pair.client.host, local)
    if owners:
        return pair.client.name in owners
    rivals = _neighbours(scene, pair, local)
    if address_of(local) in scene.addresses_of(pair.client.host):
        rivals = [other for other in rivals if not _owns_one(scene, other)]
    return not rivals


def _neighbours(scene: Scene, pair: Pair, local: str) -> list[Pair]:
    """Return the pairs of other clients of this listener that may be where a session comes from."""
    pairs = scene.model.pairs_of_listener(pair.server.name, pair.listener.name)
    address = address_of(local)
    if scene.ours(pair.client) and (len(scene.origins(pair)) == 1 or address in scene.addresses_of(pair.client.host)):
        return [other for other in pairs if other.client.host == pair.client.host and other.client != pair.client]
    others = (other for other in pairs if other.client != pair.client)
    return [other for other in others if scene.whereabouts(*scene.origins(other))(address)]


def _owns_one(scene: Scene, pair: Pair) -> bool:
    """Return whether a client holds a session; one that connects anew all the time may have had any other as well."""
    targets = {*clear_targets(scene, pair), *tls_targets(scene, pair)}
    return any(socket.owned and socket.is_open and not socket.is_young for socket in _to(scene, pair, targets))


def _owners(scene: Scene, host: str, local: str) -> set[str]:
    """Return the instances of a host that had a socket with this end."""
    return {
        name
        for name, seen in scene.instances.items()
        if Instance.parse(name).host == host and any(s.owned and s.local == local for s in seen.sockets)
    }
