# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From connections of components to pairs of instances; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ._blocked import Entry, why_blocked, why_host_blocked
from ._entities import (
    Component,
    Connection,
    Instance,
    Limits,
    Listener,
    Model,
    Pair,
    instances_of,
    passing,
    terminating,
)
from ._limits import NothingInCommon, agree
from ._names import NameRefused, endpoint_name, is_ip_address
from ._reader import Reader

#: A fleet has tens of thousands; more are a mistake in two lists of hosts, and would fill the memory.
MOST_PAIRS: t.Final = 200_000


def expand(reader: Reader, model: Model) -> Model:
    """Return the model with its pairs; note what shows only now: ends with nothing in common, names nobody can dial."""
    instances = {name: instances_of(component) for name, component in model.components.items()}
    agreed: set[tuple[Limits, ...]] = set()
    pairs: list[Pair] = []
    for connection in model.connections:
        _agree(reader, model, connection, agreed)
        room = MOST_PAIRS - len(pairs)
        end, _listener = tls_end_of(model, connection)
        if len(instances[connection.client]) * len(instances[end.name]) > room:
            reader.note(
                connection.source, "it makes more than %d pairs of the model; is it meant for all hosts?" % MOST_PAIRS
            )
            break
        pairs.extend(_pairs(reader, model, connection, instances))
    return replace(model, pairs=tuple(sorted(pairs, key=lambda pair: pair.id)))


def _pairs(
    reader: Reader, model: Model, connection: Connection, instances: t.Mapping[str, t.Sequence[Instance]]
) -> t.Iterator[Pair]:
    client = model.components[connection.client]
    server, listener = tls_end_of(model, connection)
    blocked = why_blocked(Entry(connection, client, server, listener))
    members = instances[server.name]
    several = bool(connection.dial) and len(members) > 1
    fronted = server.managed and (several or bool(passing(connection.through)))
    for there in members:
        dial = connection.dial or _default_dial(reader, model, connection, there)
        _check_name_type(reader, connection, client.limits, dial)
        tail = "->%s.%s@%s" % (there.component, listener.name, there.host)
        for here in instances[client.name]:
            # a cluster link excludes self
            if here != there:
                ends = [model.hosts[end.host] for end in (here, there) if end.host in model.hosts]
                why = blocked or why_host_blocked(ends)
                yield Pair(here.name + tail, here, there, listener, connection, dial, why, fronted)


def tls_end_of(model: Model, connection: Connection) -> tuple[Component, Listener]:
    """Return the component at which the client's TLS ends, and the listener that it is to it.

    Something in between that terminates TLS has the server's listener under a name of its own: its ports are what the
    client dials, and what the server demands does not reach the client.
    """
    server = model.components[connection.server]
    listener, between = server.listeners[connection.listener], terminating(connection.through)
    if between is None:
        return server, listener
    name = "%s.%s" % (connection.server, connection.listener)
    return model.components[between], replace(listener, name=name, mode="simple", identity=None)


def _default_dial(reader: Reader, model: Model, connection: Connection, server: Instance) -> str:
    """Return the first address of the server's host, else its name in the inventory."""
    where = connection.source + ".dial"
    if not model.managed(server):
        for address in model.addresses_of(server):
            if "/" not in address:
                return address
        reader.note(where, "it is needed, for %s has only networks as addresses" % server.component)
        return ""
    addresses = model.addresses_of(server)
    if addresses:
        return addresses[0]
    try:
        return endpoint_name(server.host, where)
    except NameRefused:
        what = "%s is no DNS name; give it, or hosts.%s.addresses" % (server.host, server.host)
        reader.note(where, what)
        return ""


def _check_name_type(reader: Reader, connection: Connection, limits: Limits, dial: str) -> None:
    kind = "ip" if is_ip_address(dial) else "dns"
    if dial and limits.names is not None and kind not in limits.names:
        what = "%s is dialled, and %s verifies %s names only" % (dial, connection.client, " and ".join(limits.names))
        reader.note(connection.source + ".dial", what)


def _agree(reader: Reader, model: Model, connection: Connection, agreed: set[tuple[Limits, ...]]) -> None:
    """Note a connection whose ends can do nothing together; what was found good once is not looked at again."""
    if not connection.secure:
        return
    ends, listener = ends_of(model, connection)
    key = tuple(limits for _unused, limits in ends)
    if (not ends and listener.profile == "intermediate") or key in agreed:
        return
    try:
        agree(ends, profile=listener.profile)
    except NothingInCommon as error:
        reader.note(connection.source, str(error))
    else:
        agreed.add(key)


def ends_of(model: Model, connection: Connection) -> tuple[list[tuple[str, Limits]], Listener]:
    """Return the limited things of a connection, each with its name for messages, and the listener."""
    client = model.components[connection.client]
    server, listener = tls_end_of(model, connection)
    things = [
        ("component " + client.name, client.limits),
        ("component " + server.name, server.limits),
        ("listener %s.%s" % (server.name, listener.name), listener.limits),
    ]
    return [(name, limits) for name, limits in things if not limits.none], listener
