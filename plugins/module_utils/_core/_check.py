# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checking the entries of a model against each other and against the inventory; private to this collection."""

from __future__ import annotations

import difflib
import typing as t
from dataclasses import replace

from ._entities import (
    AuthoritySpec,
    Component,
    Connection,
    Host,
    IdentitySpec,
    Listener,
    instances_of,
    passing,
    terminating,
)
from ._few import few
from ._fields import LONGEST_LEAF_DAYS
from ._manifest import FILES
from ._names import NameRefused, host_name, is_ip_address, part_of_path, shown
from ._profile import PROFILES
from ._reader import MOST_HINTS, Reader


class Entries(t.Protocol):
    """What was read of all files."""

    hosts: dict[str, Host]
    components: dict[str, Component]
    connections: list[Connection]
    identities: dict[str, IdentitySpec]
    authorities: dict[str, AuthoritySpec]
    sources: dict[tuple[str, str], str]


def check(
    reader: Reader,
    entries: Entries,
    *,
    inventory_hosts: t.Collection[str] | None,
    declared: t.Mapping[str, Host],
) -> str:
    """Note every mistake between entries, put defaults in that depend on others, and return the default authority."""
    default_authority = _authorities(reader, entries)
    _identities(reader, entries, default_authority)
    known = inventory_hosts if inventory_hosts is None else frozenset(inventory_hosts)
    _hosts(reader, entries, known, declared)
    for component in entries.components.values():
        _component(reader, entries, component)
    _shared_keys(reader, entries)
    seen: dict[tuple[str, str, str], str] = {}
    for connection in entries.connections:
        _connection(reader, entries, connection)
        key = (connection.client, connection.server, connection.listener)
        first = seen.setdefault(key, connection.source) if all(key) else connection.source
        if first is not connection.source:
            reader.note(connection.source, "%s is enumerated already at %s" % (connection.name, first))
    return default_authority


def _authorities(reader: Reader, entries: Entries) -> str:
    """Check the authorities and return which one is meant where none is named."""
    for name, authority in entries.authorities.items():
        where = entries.sources["authorities", name]
        if authority.trust_file and authority != AuthoritySpec(name=name, trust_file=authority.trust_file):
            reader.note(where, "it has a trust_file, so it is not ours, and nothing else can be said of it")
            continue
        if authority.issuing_days > authority.root_days:
            reader.note(
                where + ".issuing_days", "an issuing authority cannot outlive its root (%d)" % authority.root_days
            )
        if authority.leaf_days >= authority.issuing_days:
            reader.note(where + ".leaf_days", "a certificate cannot outlive its issuer (%d)" % authority.issuing_days)
        elif authority.leaf_days > LONGEST_LEAF_DAYS and not authority.days_reason:
            what = "%d is more than %d days; give days_reason" % (authority.leaf_days, LONGEST_LEAF_DAYS)
            reader.note(where + ".leaf_days", what)
    default = AuthoritySpec().name
    ours = [name for name, authority in entries.authorities.items() if not authority.trust_file]
    if not ours:
        if default in entries.authorities:
            what = "%s is the name of our own authority; give one with a trust_file another" % default
            reader.note(entries.sources["authorities", default], what)
        entries.authorities.setdefault(default, AuthoritySpec())
    elif len(ours) == 1:
        return ours[0]
    elif default not in ours:
        what = "one of several must be called %s, for instances that name none; there are %s"
        reader.note(entries.sources["authorities", ours[0]], what % (default, ", ".join(sorted(ours))))
    return default


def _identities(reader: Reader, entries: Entries, default_authority: str) -> None:
    for name, identity in list(entries.identities.items()):
        where = entries.sources["identities", name]
        _issuer(reader, entries, identity, where, default_authority)
        _files(reader, identity, where)
        if name.lower() in FILES:
            reader.note(where, "a file of every generation is called so, and identities become folders beside it")
        if "@" in name and name not in _instance_names(entries, name):
            reader.note(
                where, "there is no instance %s%s" % (shown(name), reader.nearest(name, _instance_names(entries, name)))
            )


def _shared_keys(reader: Reader, entries: Entries) -> None:
    """Note the identities whose key is born on a host and would have to leave it, for another instance presents it."""
    holders: dict[str, list[str]] = {}
    for component in entries.components.values():
        for instance in instances_of(component):
            for name in {instance.name, *component.named_identities}:
                holders.setdefault(name, []).append(instance.name)
    for name, identity in entries.identities.items():
        sharing = sorted(holders.get(name, ()))
        if identity.is_born_on_host and len(sharing) > 1:
            what = "a key that is born on a host is one instance's alone, and %s present %s; name an identity for each"
            what += ", such as %s, or leave key_at out"
            reader.note(entries.sources["identities", name] + ".key_at", what % (few(sharing), name, sharing[0]))


def _issuer(reader: Reader, entries: Entries, identity: IdentitySpec, where: str, default_authority: str) -> None:
    """Put in who issues an identity where it does not say, and note who cannot."""
    is_ours = identity.issuer == "own"
    others = [name for name, authority in entries.authorities.items() if authority.trust_file]
    if not identity.authority and (is_ours or len(others) == 1):
        name = default_authority if is_ours else others[0]
        entries.identities[identity.name] = replace(identity, authority=name)
    elif not identity.authority:
        entries.identities[identity.name] = replace(identity, authority=default_authority)
        known = ", ".join(sorted(others)) or "none has one yet"
        what = "it is %s: name its authority, one with a trust_file (%s)" % (identity.issuer, known)
        reader.note(where + ".authority", what)
    elif identity.authority not in entries.authorities:
        what = "there is no authority %s%s" % (
            shown(identity.authority),
            reader.nearest(identity.authority, entries.authorities),
        )
        reader.note(where + ".authority", what)
    elif is_ours and identity.authority in others:
        what = "%s is not ours (it has a trust_file), so what it signs is requested or installed: say so in issuer"
        reader.note(where + ".authority", what % identity.authority)
    elif not is_ours and identity.authority not in others:
        what = "%s is ours: an identity that is %s needs an authority with a trust_file"
        reader.note(where + ".authority", what % (identity.authority, identity.issuer))


def _files(reader: Reader, identity: IdentitySpec, where: str) -> None:
    """Note files of an identity that we install, and one that is installed already without any."""
    if identity.issuer != "installed" and identity.files:
        reader.note(where + ".files", "only an identity with issuer: installed has them; ours lie where we put them")
    elif identity.issuer == "installed" and not {"certificate"} < set(identity.files):
        what = "it is installed: say where on its hosts, as certificate (PEM) and key, or certificate and keystore"
        reader.note(where + ".files", what)


def _instance_names(entries: Entries, name: str) -> list[str]:
    """Return the instances of the component that a name begins with; of all if there is no such component."""
    component = entries.components.get(name.partition("@")[0])
    components = [component] if component else list(entries.components.values())
    return [instance.name for each in components for instance in instances_of(each)]


def _hosts(reader: Reader, entries: Entries, known: frozenset[str] | None, declared: t.Mapping[str, Host]) -> None:
    """Check every host that is named, and complete what is known of it."""
    places: dict[str, str] = {name: entries.sources["hosts", name] for name in entries.hosts}
    for component in entries.components.values():
        for n, name in enumerate(component.hosts):
            places.setdefault(name, "%s.hosts[%d]" % (component.source, n))
    folded: dict[str, str] = {}
    for name, where in places.items():
        try:
            host_name(name, where)
        except NameRefused as error:
            reader.mistakes.append(str(error))
            continue
        if known is not None and name not in known:
            what = "there is no host %s in the inventory sources read before this one%s" % (
                shown(name),
                reader.nearest(name, known),
            )
            reader.note(where, what)
            continue
        other = folded.setdefault(name.lower(), name)
        if other != name:
            reader.note(
                where, "%s and %s differ in case only, and would share a folder on some systems" % (name, other)
            )
        entries.hosts[name] = _completed(reader, entries.hosts.get(name), declared.get(name), name, where)


def _completed(reader: Reader, own: Host | None, declared: Host | None, name: str, where: str) -> Host:
    """Return a host with what the model and inventory variables say; note where they differ."""
    if own is None or not (own.os or own.addresses):
        return declared or Host(name)
    found = replace(own, source=where)
    if declared is None:
        return found if found.os else replace(found, os=Host(name).os, os_reason=Host(name).os_reason)
    said = declared.os_reason == "declared"
    if own.os and said and own.os != declared.os:
        reader.note(where + ".os", "it is %s here and %s in %s" % (own.os, declared.os, declared.source))
    if own.addresses and declared.addresses and own.addresses != declared.addresses:
        here, there = ", ".join(own.addresses), ", ".join(declared.addresses)
        reader.note(where + ".addresses", "it is %s here and %s in %s" % (here, there, declared.source))
    if not own.os:
        found = replace(found, os=declared.os, os_reason=declared.os_reason)
    return found if own.addresses else replace(found, addresses=declared.addresses)


def _component(reader: Reader, entries: Entries, component: Component) -> None:
    where = component.source
    if component.managed:
        if not component.hosts:
            reader.note(where + ".hosts", "a component is on one host at least, or has managed: false")
        for name in ("addresses", "trust_file"):
            if getattr(component, name):
                reader.note(
                    "%s.%s" % (where, name),
                    "only a component with managed: false has it; ours have hosts.<host>.addresses",
                )
    else:
        if component.hosts:
            reader.note(where + ".hosts", "a component that is not ours (managed: false) has addresses and no hosts")
        if not component.addresses:
            reader.note(where + ".addresses", "a component that is not ours (managed: false) needs them")
        if component.name in entries.hosts:
            what = "a component that is not ours cannot be called like the host %s: give it another name"
            reader.note(where, what % component.name)
    for instance in instances_of(component):
        try:
            part_of_path(instance.name, where)
        except NameRefused as error:
            reader.mistakes.append(str(error))
    _listeners(reader, entries, component)
    names = {"%s.identities.%s" % (where, usage): name for usage, name in component.identities.items()}
    names.update({"%s.identities[%d]" % (where, n + 1): name for n, name in enumerate(component.further)})
    for place, name in names.items():
        _identity_reference(reader, entries, name, place)


def _listeners(reader: Reader, entries: Entries, component: Component) -> None:
    taken: dict[tuple[str, int], str] = {}
    for listener in component.listeners.values():
        where = "%s.listeners.%s" % (component.source, listener.name)
        for field in ("port", "secure_port"):
            port = getattr(listener, field)
            # a secure port is TCP: UDP to TLS is a second listener
            transport = "tcp" if field == "secure_port" else listener.transport
            if port is None:
                continue
            first = taken.setdefault((transport, port), "%s of %s" % (field, listener.name))
            if first != "%s of %s" % (field, listener.name):
                reader.note("%s.%s" % (where, field), "%d is the %s already" % (port, first))
        if listener.transport == "udp" and listener.secure_port is None:
            reader.note(where, "udp moves to a second listener over TLS: give secure_port")
        _exception(reader, listener, where)
        if listener.identity:
            _identity_reference(reader, entries, listener.identity, where + ".identity", usage="server")


def _exception(reader: Reader, listener: Listener, where: str) -> None:
    """Check that a weak profile is somebody's decision that ends, and that nothing hints at one that was not taken."""
    weak = PROFILES[listener.profile].weak
    for field in ("reason", "approver", "until"):
        given = getattr(listener, field) is not None
        if weak and not given:
            reader.note(where, "profile %s is an exception: it needs %s" % (listener.profile, field))
        elif given and not weak:
            reader.note("%s.%s" % (where, field), "it belongs to a weak profile, which is not there")


def _identity_reference(reader: Reader, entries: Entries, name: str, where: str, *, usage: str = "") -> None:
    usage = usage or (where.rpartition(".")[2] if where.rpartition(".")[2] in ("server", "client") else "")
    spec = entries.identities.get(name)
    if spec is None and not ("@" in name and name in _instance_names(entries, name)):
        reader.note(where, "there is no identity %s%s" % (shown(name), reader.nearest(name, entries.identities)))
    elif spec and usage and spec.usages and usage not in spec.usages:
        reader.note(where, "identity %s is for %s only" % (name, " and ".join(spec.usages)))


def _connection(reader: Reader, entries: Entries, connection: Connection) -> None:
    where = connection.source
    if connection.client and connection.client not in entries.components:
        what = "there is no component %s%s" % (
            shown(connection.client),
            reader.nearest(connection.client, entries.components),
        )
        reader.note(where + ".client", what)
    server = entries.components.get(connection.server)
    full = "%s.%s" % (connection.server, connection.listener)
    if server and connection.listener not in server.listeners:
        own = ["%s.%s" % (server.name, name) for name in server.listeners]
        hint = reader.nearest(full, own) if own else "; %s has no listeners" % server.name
        reader.note(where + ".server", "there is no listener %s%s" % (shown(full), hint))
    elif connection.server and not server:
        hint = reader.nearest(full, _listener_names(reader, entries, connection))
        reader.note(where + ".server", "there is no listener %s%s" % (shown(full), hint))
    for n, between in enumerate(connection.through):
        if between.component and between.component not in entries.components:
            what = "there is no component %s%s" % (
                shown(between.component),
                reader.nearest(between.component, entries.components),
            )
            reader.note("%s.through[%d].component" % (where, n), what)
    _between(reader, entries, connection)
    _recognized(reader, entries.components.get(connection.client), connection)
    _link(reader, server, connection)
    _decision(reader, connection)
    _drill(reader, entries.components.get(connection.client), connection)


def _listener_names(reader: Reader, entries: Entries, connection: Connection) -> list[str]:
    """Return the listeners that could have been meant, from the component that could have been."""
    if len(reader.mistakes) >= MOST_HINTS:
        return []
    close = difflib.get_close_matches(connection.server[:100], list(entries.components), n=3)
    return ["%s.%s" % (name, listener) for name in close for listener in entries.components[name].listeners]


def _between(reader: Reader, entries: Entries, connection: Connection) -> None:
    """Check what lies between: what is dialled to get through, and that TLS goes on where somebody ends it."""
    where, name = connection.source + ".through", terminating(connection.through)
    between = entries.components.get(name) if name else None
    onward = "%s->%s.%s" % (name, connection.server, connection.listener)
    if between and between.managed:
        what = "%s is ours and ends TLS: enumerate %s->%s.<its listener> and %s instead"
        reader.note(where, what % (name, connection.client, name, onward))
    elif between and not any(each.name == onward for each in entries.connections):
        what = "%s ends TLS, so its own connection is one to protect as well: enumerate %s" % (name, onward)
        reader.note(where, what)
    elif passing(connection.through) and not connection.dial:
        reader.note(
            connection.source + ".dial",
            "it is needed: what is dialled to get through %s" % (connection.through[0].component),
        )


def _recognized(reader: Reader, client: Component | None, connection: Connection) -> None:
    """Note a client that is not ours and that no server could recognize: what sockets show are IP addresses."""
    if client is None or client.managed or not client.addresses or not connection.secure:
        return
    if not any("/" in each or is_ip_address(each) for each in client.addresses):
        what = "%s is known by names alone, and sockets show IP addresses: give it some, or its networks" % client.name
        reader.note(connection.source + ".client", what)


def _link(reader: Reader, server: Component | None, connection: Connection) -> None:
    same = connection.client == connection.server
    if not (connection.client and connection.server):
        return
    if connection.link and not same:
        what = "a link is among members of one component, and %s is not %s" % (connection.client, connection.server)
        reader.note(connection.source + ".link", what)
    elif same and not connection.link:
        reader.note(connection.source + ".link", "%s dials its own members: this is a link" % connection.client)
    elif same and server and server.managed and len(server.hosts) < 2:
        reader.note(connection.source, "%s is on one host: a link needs two members" % server.name)


def _decision(reader: Reader, connection: Connection) -> None:
    """Check that a decision not to protect is complete, and that nothing hints at one that was not taken."""
    for field in ("reason", "approver", "until"):
        given = getattr(connection, field) is not None
        if not connection.secure and not given:
            reader.note(connection.source, "secure: false needs %s" % field)
        elif connection.secure and given:
            reader.note("%s.%s" % (connection.source, field), "it belongs to secure: false, which is not there")


def _drill(reader: Reader, client: Component | None, connection: Connection) -> None:
    """Note the name of a drill where sessions and settings show that TLS works, so that nobody has to say so."""
    if connection.drill and not connection.dormant and client is not None and client.managed:
        what = "it belongs to a dormant connection, or to a client that is not ours; this is neither"
        reader.note(connection.source + ".drill", what)
