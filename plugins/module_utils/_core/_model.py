# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the files that enumerate connections to the model, or to all their mistakes; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._check import check
from ._entities import (
    AuthoritySpec,
    Component,
    Connection,
    Host,
    IdentitySpec,
    Instance,
    Limits,
    Listener,
    Model,
    Pair,
    Through,
    instances_of,
)
from ._errors import TlsError
from ._expand import expand
from ._fields import AUTHORITY, COMPONENT, CONNECTION, DOCUMENT, HOST, IDENTITY, LIMITS, LISTENER
from ._names import authority_name, component_name, dns_name, identity_name, listener_name, shown
from ._reader import Reader, Table, ToALabel, nearest

__all__ = [
    "AuthoritySpec",
    "Component",
    "Connection",
    "Document",
    "Host",
    "IdentitySpec",
    "Instance",
    "Limits",
    "Listener",
    "Model",
    "ModelError",
    "Pair",
    "Through",
    "instances_of",
    "parse_limits",
    "parse_model",
]

#: The plugin's name, as the first line of the main file has it.
PLUGIN: t.Final = "connsec.tls.connections"
#: More mistakes than these are counted only.
MOST_MISTAKES: t.Final = 100


@dataclass(frozen=True)
class Document:
    """One file's content as plain data; ``source`` is its name for messages."""

    source: str
    data: t.Mapping[str, t.Any]


class ModelError(TlsError):
    """Everything that is wrong with the model, one line each."""

    def __init__(self, mistakes: t.Sequence[str]) -> None:
        """Keep the mistakes; the message is all of them, up to a length that somebody may read."""
        self.mistakes = tuple(mistakes)
        more = len(mistakes) - MOST_MISTAKES
        lines = [*mistakes[:MOST_MISTAKES], *(["and %d more" % more] if more > 0 else [])]
        super().__init__("\n".join(lines))


@dataclass
class Draft:
    """The entries of all files, checked one by one and not yet against each other."""

    hosts: dict[str, Host] = field(default_factory=dict)
    components: dict[str, Component] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)
    identities: dict[str, IdentitySpec] = field(default_factory=dict)
    authorities: dict[str, AuthoritySpec] = field(default_factory=dict)
    sources: dict[tuple[str, str], str] = field(default_factory=dict)


def parse_model(
    documents: t.Sequence[Document],
    inventory_hosts: t.Collection[str] | None = None,
    *,
    declared: t.Mapping[str, Host] | None = None,
    a_label: ToALabel = dns_name,
) -> Model:
    """Return the model that the documents describe.

    Args:
        documents: the main file first, then those that it names; entries of all of them belong together.
        inventory_hosts: the hosts that there are; None if any name will do.
        declared: os and addresses of hosts as inventory sources declare them.
        a_label: turns an international name into its A-label; without it such names are refused.

    Raises:
        ModelError: with every mistake, each naming its file and entry.
    """
    reader = Reader(a_label=a_label)
    draft = Draft()
    for document in documents:
        _read_document(reader, draft, document)
    known = dict(declared or {})
    default_authority = check(reader, draft, inventory_hosts=inventory_hosts, declared=known)
    if reader.mistakes:
        raise ModelError(reader.mistakes)
    model = Model(
        hosts=draft.hosts,
        components=draft.components,
        connections=tuple(draft.connections),
        identities=draft.identities,
        authorities=draft.authorities,
        default_authority=default_authority,
    )
    expanded = expand(reader, model)
    if reader.mistakes:
        raise ModelError(reader.mistakes)
    return expanded


def parse_limits(data: t.Any, where: str) -> Limits:
    """Return the limits that a kind declares.

    Raises:
        ModelError: with every mistake.
    """
    reader = Reader()
    limits = Limits(**reader.record(data, LIMITS, where))
    if reader.mistakes:
        raise ModelError(reader.mistakes)
    return limits


def _read_document(reader: Reader, draft: Draft, document: Document) -> None:
    if not isinstance(document.data, dict):
        reader.note(document.source, "the file is not a mapping; it has the entries %s" % ", ".join(DOCUMENT))
        return
    for name in document.data:
        if name not in DOCUMENT:
            reader.note(document.source, "there is no entry %s%s" % (shown(name), nearest(name, DOCUMENT)))
    plugin = document.data.get("plugin", PLUGIN)
    if plugin != PLUGIN:
        reader.note(document.source, "plugin: %s is not %s" % (shown(plugin), PLUGIN))
    _read_named(reader, draft, document, "authorities", authority_name, AUTHORITY, draft.authorities, AuthoritySpec)
    _read_named(reader, draft, document, "identities", identity_name, IDENTITY, draft.identities, _identity)
    # that a host's name is one is told by the inventory, with the nearest one
    _read_named(reader, draft, document, "hosts", lambda name, where: str(name), HOST, draft.hosts, _host)
    _read_components(reader, draft, document)
    _read_connections(reader, draft, document)


def _identity(name: str, **fields: t.Any) -> IdentitySpec:
    # which authority is the default is known once all of them are read
    return IdentitySpec(name=name, **{**fields, "authority": fields["authority"] or ""})


def _host(name: str, **fields: t.Any) -> Host:
    return Host(name=name, os=fields["os"] or "", addresses=fields["addresses"], os_reason="declared")


def _read_named(
    reader: Reader,
    draft: Draft,
    document: Document,
    section: str,
    name_check: t.Callable[[t.Any, str], str],
    table: Table,
    found: dict[str, t.Any],
    build: t.Callable[..., t.Any],
) -> None:
    """Read a section whose entries are alike."""
    where = "%s: %s" % (document.source, section)
    for name, content, place in reader.entries(document.data.get(section), name_check, where):
        if _once(reader, draft, section, name, place):
            found[name] = build(name=name, **reader.record({} if content is None else content, table, place))


def _once(reader: Reader, draft: Draft, section: str, name: str, place: str) -> bool:
    """Return whether an entry is the first of its name; note the second one."""
    first = draft.sources.setdefault((section, name), place)
    if first is not place:
        reader.note(place, "it is declared already at %s" % first)
    return first is place


def _read_components(reader: Reader, draft: Draft, document: Document) -> None:
    where = "%s: components" % document.source
    for name, content, place in reader.entries(document.data.get("components"), component_name, where):
        if not _once(reader, draft, "components", name, place):
            continue
        fields = reader.record(content, COMPONENT, place)
        fields["identities"], fields["further"] = fields["identities"]
        fields["listeners"] = {
            listener: Listener(name=listener, **reader.record(each, LISTENER, at))
            for listener, each, at in reader.entries(fields["listeners"], listener_name, place + ".listeners")
        }
        fields["hosts"] = tuple(fields["hosts"])
        draft.components[name] = Component(name=name, source=place, **fields)


def _read_connections(reader: Reader, draft: Draft, document: Document) -> None:
    where = "%s: connections" % document.source
    entries = document.data.get("connections")
    if entries is None:
        return
    if not isinstance(entries, (list, tuple)):
        reader.note(where, "%s is not a list; each entry begins with a dash" % shown(entries))
        return
    for n, content in enumerate(entries):
        place = "%s[%d]" % (where, n)
        fields = reader.record(content, CONNECTION, place)
        # an end that was refused is empty, so that the other one is checked all the same
        fields["client"] = fields["client"] or ""
        fields["server"], fields["listener"] = fields["server"] or ("", "")
        if fields["link"] is None:
            fields["link"] = fields["client"] == fields["server"]
        draft.connections.append(Connection(index=len(draft.connections), source=place, **fields))
