# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a connection from being touched: a decision, or what is not built yet; private to this collection.

Every field of the model is checked; where nothing acts on it yet, a row here blocks the connection with one sentence.
Whoever builds the behaviour takes the row out.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ._entities import Component, Connection, Host, Instance, Listener, Model
from ._environment import targets_on
from ._kind import InstanceKind


@dataclass(frozen=True)
class Entry:
    """A connection with everything that it names."""

    connection: Connection
    client: Component
    server: Component
    listener: Listener


def _decided(entry: Entry) -> str | None:
    connection = entry.connection
    if connection.secure:
        return None
    return "%s decided until %s not to protect it: %s" % (connection.approver, connection.until, connection.reason)


def _out_of_sight(entry: Entry) -> str | None:
    """Return that neither end is ours, if so: nobody of us could look at the connection."""
    if entry.client.managed or entry.server.managed:
        return None
    return "neither %s nor %s is ours, so nobody can look at it" % (entry.client.name, entry.server.name)


def _untrusted(entry: Entry) -> str | None:
    """Return that ours could not verify the other end, if nothing says by which CA certificates."""
    presenters = (entry.server, entry.client) if entry.listener.mode == "mutual" else (entry.server,)
    for presenter in presenters:
        if not (presenter.managed or presenter.trust_file):
            return "%s is not ours and has no trust_file, so ours cannot verify it: give its CA certificates" % (
                presenter.name
            )
    return None


#: The first rule that applies gives the sentence: decisions of people before what is missing.
RULES: t.Final[tuple[t.Callable[[Entry], str | None], ...]] = (_decided, _out_of_sight, _untrusted)


def why_blocked(entry: Entry) -> str | None:
    """Return why the connection may not be touched, in one sentence; None if it may."""
    for rule in RULES:
        why = rule(entry)
        if why:
            return why
    return None


def with_pairs_blocked(model: Model, why: t.Mapping[str, str]) -> Model:
    """Return the model with these pairs blocked, those that are not yet; ``why`` is by pair."""
    if not why:
        return model
    pairs = (replace(pair, blocked=pair.blocked or why.get(pair.id)) for pair in model.pairs)
    return replace(model, pairs=tuple(pairs))


def pairs_of_other_systems(model: Model, kinds: t.Mapping[str, InstanceKind]) -> dict[str, str]:
    """Return the pairs of which an end's kind, or what gives it its environment, is not built for its host's system."""
    found: dict[str, str] = {}
    for pair in model.pairs:
        for end in pair.ends if not pair.blocked else ():
            host = model.hosts.get(end.host)
            if end.name in kinds and host is not None and host.os != "linux":
                why = _not_there(end, kinds[end.name], host.os)
                if why:
                    found.setdefault(pair.id, why)
    return found


def _not_there(end: Instance, kind: InstanceKind, system: str) -> str:
    if system not in kind.systems:
        return "%s runs on %s, and kind %s is not built for it" % (end.name, system, kind.kind)
    target, known = str(kind.environment.get("target") or ""), targets_on(system)
    if target and target not in known:
        return "%s is given its environment by %s, which %s does not have; it has %s" % (
            end.name, target, system, ", ".join(sorted(known)),
        )  # fmt: skip
    return ""


def why_host_blocked(hosts: t.Iterable[Host]) -> str | None:
    """Return why a pair between these hosts may not be touched; None if it may."""
    for host in hosts:
        if host.os == "windows":
            return "%s runs %s, and looking at sockets and processes there is not built yet" % (host.name, host.os)
    return None
