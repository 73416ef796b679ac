# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a connection is in four respects, with reasons, and the groups that follow; private to this collection."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ._entities import Component, Host, Instance, Model, Pair

#: What stands for the system of a host that is not ours.
UNMANAGED: t.Final = "unmanaged"


@dataclass(frozen=True)
class Category:
    """A pair's category; of the last two respects the client's comes first."""

    relation: str
    protocol: str
    operating_systems: tuple[str, str]
    implementation: tuple[str, str]
    reasons: t.Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, t.Any]:
        """Return the category as plain data."""
        return {
            "relation": self.relation,
            "protocol": self.protocol,
            "operating_systems": list(self.operating_systems),
            "implementation": list(self.implementation),
            "reasons": dict(self.reasons),
        }


@dataclass(frozen=True)
class Ends:
    """A pair with what its ends are."""

    pair: Pair
    client: Component
    server: Component
    client_host: Host | None
    server_host: Host | None


def _relation(ends: Ends) -> tuple[str, str]:
    third = [each.name for each in (ends.client, ends.server) if each.relation == "third_party"]
    if third:
        return "third_party", "%s is third-party" % " and ".join(dict.fromkeys(third))
    return "internal", "both ends are internal"


def _protocol(ends: Ends) -> tuple[str, str]:
    listener = ends.pair.listener
    return listener.protocol, "listener %s.%s says so" % (ends.server.name, listener.name)


def _operating_systems(ends: Ends) -> tuple[tuple[str, str], str]:
    def system(host: Host | None) -> str:
        return host.os if host else UNMANAGED

    def why(instance: Instance, host: Host | None) -> str:
        return "%s (%s)" % (instance.host, host.os_reason if host else "managed: false")

    here, there = why(ends.pair.client, ends.client_host), why(ends.pair.server, ends.server_host)
    return (system(ends.client_host), system(ends.server_host)), " and ".join(dict.fromkeys((here, there)))


def _implementation(ends: Ends) -> tuple[tuple[str, str], str]:
    kinds = (ends.client.kind, ends.server.kind)
    return kinds, "kind of %s" % " and of ".join(dict.fromkeys((ends.client.name, ends.server.name)))


#: The four respects, each a rule from the ends to the value and its reason.
RULES: t.Final[t.Mapping[str, t.Callable[[Ends], tuple[t.Any, str]]]] = {
    "relation": _relation,
    "protocol": _protocol,
    "operating_systems": _operating_systems,
    "implementation": _implementation,
}


def categorize(model: Model, pair: Pair) -> Category:
    """Return the pair's category in all four respects, each with its reason."""
    ends = Ends(
        pair=pair,
        client=model.components[pair.client.component],
        server=model.components[pair.server.component],
        client_host=_host(model, pair.client),
        server_host=_host(model, pair.server),
    )
    found = {respect: rule(ends) for respect, rule in RULES.items()}
    values = {respect: value for respect, (value, _unused) in found.items()}
    return Category(**values, reasons={respect: reason for respect, (_unused, reason) in found.items()})


def _host(model: Model, instance: Instance) -> Host | None:
    return model.hosts[instance.host] if model.managed(instance) else None


def groups(model: Model) -> dict[str, list[str]]:
    """Return the hosts of each ``tls_*`` group, sorted; ``tls_none`` is there and stays empty.

    A group of a pair's property (relation, protocol, wave) holds the hosts of both ends; a group of a host's or a
    component's property (os, kind) and of a role (presenters, receivers) holds the hosts that have it. A pair that is
    not to be protected has no presenter and no receiver.
    """
    found: dict[str, set[str]] = {}
    # tens of thousands of pairs come from far fewer combinations: each is added once
    done: set[tuple[str, str]] = set()

    def add(group: str, instance: Instance) -> None:
        if (group, instance.name) not in done:
            done.add((group, instance.name))
            if model.managed(instance):
                found.setdefault(group, set()).add(instance.host)

    for pair in model.pairs:
        client, server = model.components[pair.client.component], model.components[pair.server.component]
        third_party = "third_party" in (client.relation, server.relation)
        for shared in (
            "tls_relation_" + ("third_party" if third_party else "internal"),
            "tls_protocol_" + pair.listener.protocol,
            "tls_wave_%d" % pair.wave,
        ):
            add(shared, pair.client)
            add(shared, pair.server)
        for instance, component in ((pair.client, client), (pair.server, server)):
            add("tls_kind_" + component.kind, instance)
            if component.managed:
                add("tls_os_" + model.hosts[instance.host].os, instance)
        if not pair.connection.secure:
            continue
        presenters, receivers = [pair.server], [pair.client]
        if pair.mode == "mutual":
            presenters, receivers = presenters + receivers, receivers + presenters
        for instance in presenters:
            add("tls_presenters", instance)
        for instance in receivers:
            add("tls_receivers", instance)
    by_name: dict[str, set[str]] = {"tls_none": set()}
    for group, hosts in found.items():
        by_name.setdefault(group_name(group), set()).update(hosts)
    return {group: sorted(hosts) for group, hosts in sorted(by_name.items())}


def group_name(text: str) -> str:
    """Return a name that Ansible takes for a group: ``a.b-c`` becomes ``a_b_c``."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text)
