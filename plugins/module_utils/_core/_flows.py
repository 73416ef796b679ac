# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall sheet: which new flows TLS brings to the network, line by line; private to this collection.

Only a second listener brings any: its clients dial another port than before. Lines are numbered over the whole model,
whatever a run's scope is, so that a gate can cite the line that the network team was given.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._entities import Instance, Model, Pair, passing
from ._kind import InstanceKind

#: What a probe makes of a flow that is not open: who drops it, or who could also be a host where nobody listens yet.
CLOSED: t.Final = ("no_answer", "no_route", "not_permitted")


@dataclass(frozen=True)
class Flow:
    """A line of the firewall sheet.

    Attributes:
        line: its number, from 1.
        source: the client's host.
        source_addresses: the addresses that it may come from; empty if the model has none.
        target: the server's host.
        dial: what is dialled there: a name or an address.
        port: the secure port.
        transport: ``tcp``; TLS needs nothing else, whatever the clear listener uses.
        connections: which connections need it.
        pairs: ids of the pairs that do.
        wave: the first wave that needs it.
    """

    line: int
    source: str
    source_addresses: tuple[str, ...]
    target: str
    dial: str
    port: int
    transport: str
    connections: tuple[str, ...]
    pairs: tuple[str, ...]
    wave: int

    @property
    def words(self) -> str:
        """How a message says it."""
        addresses = " (%s)" % ", ".join(self.source_addresses) if self.source_addresses else ""
        return "%s%s -> %s %s %d" % (self.source, addresses, self.dial, self.transport, self.port)


def flows_of(model: Model, kinds: t.Mapping[str, InstanceKind]) -> tuple[Flow, ...]:
    """Return every new flow between hosts that the model's connections need once they use TLS, in order."""
    found: dict[tuple[str, str, str, int], list[Pair]] = {}
    sources: dict[str, Instance] = {}
    for pair in model.pairs:
        port = pair.listener.secure_port
        if pair.blocked or port is None or pair.client.host == pair.server.host:
            continue
        kind = kinds.get(pair.server.name)  # of a server that is not ours a secure port is all that tells
        if kind is None or kind.shape == "second_listener":
            for source, target, dial in _hops(model, pair):
                sources[source.host] = source
                found.setdefault((source.host, target, dial, port), []).append(pair)
    return tuple(
        Flow(
            line=line,
            source=source,
            source_addresses=model.addresses_of(sources[source]),
            target=target,
            dial=dial,
            port=port,
            transport="tcp",
            connections=tuple(sorted({pair.connection.name for pair in pairs})),
            pairs=tuple(sorted(pair.id for pair in pairs)),
            wave=min(pair.wave for pair in pairs),
        )
        for line, ((source, target, dial, port), pairs) in enumerate(sorted(found.items()), start=1)
    )


def _hops(model: Model, pair: Pair) -> t.Iterator[tuple[Instance, str, str]]:
    """Yield the ways from the client to its server: from which instance, to which host, and what is dialled there.

    What passes TLS on is dialled by the client, and dials each member by itself.
    """
    between = [each for name in passing(pair.connection.through) for each in model.instances_of(name)]
    if not between:
        yield pair.client, pair.server.host, pair.dial
        return
    yield pair.client, between[0].host, pair.dial
    for each in between:
        addresses = model.addresses_of(pair.server)
        yield each, pair.server.host, addresses[0] if addresses else pair.server.host
