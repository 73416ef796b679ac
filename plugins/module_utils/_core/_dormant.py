# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs that may show no session: a standby that refuses its port, a client that does not run now, and a client that
is not ours behind an address that others have too; private to this collection.

What sleeps cannot be dialled, so its gates judge by the settings that read back and the material that is loaded. That
suffices to go on, and not to take plaintext away: before that a TLS session was seen once, or a drill has a name. So it
is with a client of others whose sessions may as well be our own clients': no watch is long enough to see what a monitor
does once in five minutes.
"""

from __future__ import annotations

from ._entities import Instance, Pair
from ._scene import Scene

REFUSED = "connection_refused"


def is_asleep(scene: Scene, pair: Pair) -> bool:
    """Return whether the pair's server is a standby at whose ports nobody listens.

    Where its component has other members one of them has to answer this client: if none does, that is no standby but an
    outage.
    """
    if pair.connection.dormant != "standby":
        return False
    if (scene.clear(pair).kind, scene.tls(pair).kind) != (REFUSED, REFUSED):
        return False
    members = [
        other
        for other in scene.model.pairs_of_client(pair.client.name)
        if other.server.component == pair.server.component
        and other.listener.name == pair.listener.name
        and other.server != pair.server
    ]
    return not members or any(_answers(scene, other) for other in members)


def _answers(scene: Scene, pair: Pair) -> bool:
    return scene.clear(pair).outcome == "clear" or scene.tls(pair).outcome == "tls"


def may_rest(scene: Scene, instance: Instance) -> bool:
    """Return whether no process of the instance has to run, for all that it does is dormant."""
    pairs = scene.pairs_at(instance)
    return bool(pairs) and all(pair.connection.dormant for pair in pairs)


def is_resting(scene: Scene, instance: Instance) -> bool:
    """Return whether the instance does not run now, and need not: what is installed it reads when it is started."""
    seen = scene.seen(instance)
    if seen.process.pids or "process" in seen.unreadable or not scene.kinds[instance.name].process:
        return False
    return may_rest(scene, instance)


def must_be_seen(scene: Scene, pair: Pair) -> bool:
    """Return whether a TLS session of the pair has to be seen once before plaintext is taken away from it.

    A client of ours that is awake shows its sessions and its settings; of all others sessions are what there is.
    """
    return bool(pair.connection.dormant) or not scene.ours(pair.client)


def why_unexercised(scene: Scene, pair: Pair, *, live: bool) -> str:
    """Return why nobody knows that a pair works over TLS; empty if somebody does, or if it need not be seen.

    Args:
        scene: what is known.
        pair: the pair.
        live: whether a TLS session of it is seen now.
    """
    connection = pair.connection
    if not must_be_seen(scene, pair) or connection.drill or live or pair.id in scene.exercised:
        return ""
    if connection.dormant:
        words = "%s is dormant (%s): no TLS session of it was seen so far, and no drill is named"
        return words % (pair.id, connection.dormant)
    if not scene.ours(pair.server) or scene.clear(pair).refuses_plaintext:
        return ""  # plaintext is not ours to take away, or nobody has it any more
    words = "the client of %s is not ours: no TLS session was seen that can be nobody else's, and no drill is named"
    return words % pair.id
