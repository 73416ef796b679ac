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

from ._entities import Component, Connection, Host, IdentitySpec, Listener, instances_of


@dataclass(frozen=True)
class Entry:
    """A connection with everything that it names."""

    connection: Connection
    client: Component
    server: Component
    listener: Listener
    identities: t.Mapping[str, IdentitySpec]


def presented(component: Component, listener: Listener | None = None) -> tuple[str, ...]:
    """Return the declared identities that instances of a component present or hold, perhaps at one listener alone."""
    if listener is None:
        return component.named_identities
    return replace(component, listeners={listener.name: listener}).named_identities


def _through(entry: Entry) -> str | None:
    for between in entry.connection.through:
        return "it goes through %s, and looking behind something in between is not built yet" % between.component
    return None


def _decided(entry: Entry) -> str | None:
    connection = entry.connection
    if connection.secure:
        return None
    return "%s decided until %s not to protect it: %s" % (connection.approver, connection.until, connection.reason)


def _unmanaged(entry: Entry) -> str | None:
    for component in (entry.client, entry.server):
        if not component.managed:
            return "%s is not ours (managed: false), and judging by what our end sees is not built yet" % component.name
    return None


def _transport(entry: Entry) -> str | None:
    if entry.listener.transport == "tcp":
        return None
    return "its listener uses udp; DTLS and media are not covered, and moving it to TLS is not built yet"


def _key_for_others(entry: Entry) -> str | None:
    for component in (entry.server, entry.client):
        for name in (*component.named_identities, *(each.name for each in instances_of(component))):
            spec = entry.identities.get(name)
            if spec and spec.issuer != "own" and spec.key_at == "host":
                what = "identity %s is issued by others (issuer: %s) while its key stays on the host (key_at: host)"
                return what % (name, spec.issuer) + ", which is not built yet"
    return None


def _several_identities(entry: Entry) -> str | None:
    for component in (entry.client, entry.server):
        names = presented(component)
        usages = {component.identities.get(usage) for usage in ("server", "client")}
        if len(names) > 1 or (names and None in usages and component.identities):
            return "%s holds more than one identity (%s), which is not built yet" % (component.name, ", ".join(names))
        if any(each.identity for each in component.listeners.values()):
            return "a listener of %s has an identity of its own (%s), which is not built yet" % (
                component.name,
                names[0],
            )
    return None


#: The first rule that applies gives the sentence: decisions of people before what is missing.
RULES: t.Final[tuple[t.Callable[[Entry], str | None], ...]] = (
    _decided,
    _unmanaged,
    _through,
    _transport,
    _key_for_others,
    _several_identities,
)


def why_blocked(entry: Entry) -> str | None:
    """Return why the connection may not be touched, in one sentence; None if it may."""
    for rule in RULES:
        why = rule(entry)
        if why:
            return why
    return None


def why_host_blocked(hosts: t.Iterable[Host]) -> str | None:
    """Return why a pair between these hosts may not be touched; None if it may."""
    for host in hosts:
        if host.os != "linux":
            return "%s runs %s, and looking at sockets and processes there is not built yet" % (host.name, host.os)
    return None
