# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ideas that a model consists of, complete and valid from birth; private to this collection."""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import asdict, dataclass, field
from functools import cached_property

from ._errors import TlsError

Mode = t.Literal["simple", "mutual"]
MODES: t.Final = ("simple", "mutual")
#: Stages whose options stand in the client's files; the others' stand in the server's.
CLIENT_STAGES: t.Final = ("connect", "verify")
SYSTEMS: t.Final = ("linux", "aix", "solaris", "windows")


@dataclass(frozen=True)
class Host:
    """A host of the inventory.

    Attributes:
        os: ``linux``, ``aix``, ``solaris`` or ``windows``.
        os_reason: why that is so, for ``enumerate``.
        addresses: what others dial; the first one is the default of ``dial``.
        source: where os and addresses were declared, for messages.
    """

    name: str
    os: str = "linux"
    os_reason: str = "nothing is declared"
    addresses: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Limits:
    """What one end can do; None means that nothing is known to be missing."""

    protocols: tuple[str, ...] | None = None
    key_types: tuple[str, ...] | None = None
    suites: tuple[str, ...] | None = None
    formats: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    common_name: bool = False

    @property
    def none(self) -> bool:
        """Whether this end is not limited at all."""
        return self == _NO_LIMITS


_NO_LIMITS = Limits()


@dataclass(frozen=True)
class Listener:
    """A named port of a component, perhaps with a second, secure port.

    Attributes:
        reason, approver, until: why it may have a weak profile, who said so, and until when.
    """

    name: str
    port: int
    protocol: str
    secure_port: int | None = None
    mode: Mode = "simple"
    transport: str = "tcp"
    identity: str | None = None
    limits: Limits = _NO_LIMITS
    profile: str = "intermediate"
    reason: str | None = None
    approver: str | None = None
    until: str | None = None

    @property
    def is_udp(self) -> bool:
        """Whether its clear port is UDP: datagrams, of which no socket shows who sends them."""
        return self.transport == "udp"


@dataclass(frozen=True)
class Component:
    """A program that listens or connects, on one host or on several.

    Attributes:
        identities: identity by usage (``server``, ``client``), where it is not the instance's own.
        further: identities that its instances hold besides.
        source: where it was declared, for messages.
    """

    name: str
    kind: str
    hosts: tuple[str, ...] = ()
    listeners: t.Mapping[str, Listener] = field(default_factory=dict)
    managed: bool = True
    relation: str = "internal"
    account: str | None = None
    addresses: tuple[str, ...] = ()
    trust_file: str | None = None
    owner: str | None = None
    version: str | None = None
    limits: Limits = _NO_LIMITS
    identities: t.Mapping[str, str] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    window: str | None = None
    source: str = ""

    def presents(self, instance: Instance, listener: Listener | None) -> str:
        """Return the identity that an instance of it presents at a listener; as a client, if that is None."""
        own = listener.identity if listener else None
        return own or self.identities.get("server" if listener else "client") or instance.name

    def identities_of(self, instance: Instance) -> set[str]:
        """Return every identity that an instance of it may present to somebody, or holds in reserve."""
        return {*self.reserved, *(self.presents(instance, listener) for listener in (*self.listeners.values(), None))}

    @property
    def reserved(self) -> tuple[str, ...]:
        """Return the identities that its instances hold and present to nobody so far."""
        presented = {*self.identities.values(), *(each.identity for each in self.listeners.values())}
        return tuple(sorted(set(self.further) - presented))

    def default_identity(self, instance: Instance) -> str:
        """Return the identity whose files lie at the top of an instance's generations, whether anybody is shown it.

        That is the one for servers. What is enumerated has no say in it, so that paths never change.
        """
        return self.identities.get("server") or instance.name

    @property
    def named_identities(self) -> tuple[str, ...]:
        """Return the declared identities that its instances present or hold; empty if only their own."""
        listeners = (each.identity for each in self.listeners.values() if each.identity)
        return tuple(sorted({*self.identities.values(), *self.further, *listeners}))


@dataclass(frozen=True)
class Through:
    """Something between client and server, and whether it passes TLS on or ends it."""

    component: str
    does: str


def passing(through: t.Iterable[Through]) -> tuple[str, ...]:
    """Return the components that pass TLS on, from the client to its end or to whatever terminates it."""
    return tuple(each.component for each in itertools.takewhile(lambda each: each.does == "pass", through))


def terminating(through: t.Iterable[Through]) -> str | None:
    """Return the component at which the client's TLS ends; None if its server itself does that."""
    return next((each.component for each in through if each.does == "terminate"), None)


@dataclass(frozen=True)
class Connection:
    """One enumerated entry: a client component that connects to a listener of a server component."""

    index: int
    client: str
    server: str
    listener: str
    wave: int = 1
    dial: str | None = None
    through: tuple[Through, ...] = ()
    link: bool = False
    dormant: str | None = None
    drill: str | None = None
    secure: bool = True
    reason: str | None = None
    approver: str | None = None
    until: str | None = None
    source: str = ""

    @property
    def name(self) -> str:
        """Return how users call it."""
        return "%s->%s.%s" % (self.client, self.server, self.listener)

    def is_overdue(self, today: str) -> bool:
        """Return whether a decision not to protect it has ended; ``today`` is a date like ``2027-06-30``."""
        return not self.secure and bool(self.until) and str(self.until) < today


@dataclass(frozen=True)
class IdentitySpec:
    """A named identity, or the default of an instance's own; ``files`` of one that is installed already, by word."""

    name: str
    issuer: str = "own"
    key_at: str = "controller"
    authority: str = "connsec"
    usages: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    files: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def is_born_on_host(self) -> bool:
        """Whether its key is made on its host; one that was there before us has its key where it is."""
        return self.key_at == "host" and self.issuer != "installed"


@dataclass(frozen=True)
class AuthoritySpec:
    """A CA: ours, with its root and its issuing authority, or another's, known by the file of its CA list."""

    name: str = "connsec"
    organization: str = ""
    root_days: int = 3652
    issuing_days: int = 1826
    leaf_days: int = 90
    days_reason: str = ""
    key_type: str = "ec-p384"
    trust_file: str | None = None


@dataclass(frozen=True)
class Instance:
    """One component on one host; one that is not ours has one instance, at a place of its own name that is no host."""

    component: str
    host: str

    @property
    def name(self) -> str:
        """Return ``component@host``."""
        return self.component + "@" + self.host

    @staticmethod
    def parse(name: str) -> Instance:
        """Return the instance of this name; neither a component's name nor a host's has an @."""
        component, _unused, host = name.partition("@")
        return Instance(component, host)


@dataclass(frozen=True)
class Pair:
    """A client instance and a listener of a server instance: what stages and evidence belong to.

    Attributes:
        dial: what the client dials: connected to, and verified as a name of the certificate.
        fronted: whether that leads to this member or to another one, so that both ways are looked at.
        blocked: why nothing may be done to it yet, in one sentence; None if it may go on.
    """

    id: str
    client: Instance
    server: Instance
    listener: Listener
    connection: Connection
    dial: str
    blocked: str | None = None
    fronted: bool = False

    @property
    def ends(self) -> tuple[Instance, Instance]:
        """Return its client and its server."""
        return self.client, self.server

    def end_of(self, stage: str) -> Instance:
        """Return the end whose files a stage's options stand in, and whose process a step of it has reload."""
        return self.client if stage in CLIENT_STAGES else self.server

    @property
    def wave(self) -> int:
        """Return the wave that advances it."""
        return self.connection.wave

    @property
    def mode(self) -> Mode:
        """Return who presents a certificate: the server (``simple``), or both (``mutual``)."""
        return self.listener.mode

    @property
    def link(self) -> bool:
        """Return whether both ends are members of one component."""
        return self.connection.link


@dataclass(frozen=True)
class Model:
    """What the files say, checked and expanded; everything is found in one step by name.

    Attributes:
        hosts: the hosts of components, and those with an entry of their own.
        pairs: sorted by id.
    """

    hosts: t.Mapping[str, Host] = field(default_factory=dict)
    components: t.Mapping[str, Component] = field(default_factory=dict)
    connections: tuple[Connection, ...] = ()
    identities: t.Mapping[str, IdentitySpec] = field(default_factory=dict)
    authorities: t.Mapping[str, AuthoritySpec] = field(default_factory=dict)
    default_authority: str = "connsec"
    pairs: tuple[Pair, ...] = ()

    def pair(self, name: str) -> Pair:
        """Return the pair of this id."""
        try:
            return self._by_id[name]
        except KeyError:
            raise TlsError("there is no pair %r in the model" % name) from None

    def pairs_of_listener(self, instance: str, listener: str) -> tuple[Pair, ...]:
        """Return the pairs whose server is this listener (``confserv@cfg1``, ``default``)."""
        return self._by_listener.get((instance, listener), ())

    def pairs_of_client(self, instance: str) -> tuple[Pair, ...]:
        """Return the pairs whose client is this instance."""
        return self._by_client.get(instance, ())

    def instances(self) -> tuple[Instance, ...]:
        """Return every instance, sorted by name, those of components that are not ours included."""
        return self._instances

    def instances_of(self, component: str) -> tuple[Instance, ...]:
        """Return the instances of a component, in the order of its hosts."""
        return instances_of(self.components[component])

    def managed(self, instance: Instance) -> bool:
        """Return whether the instance is on a host of ours."""
        return self.components[instance.component].managed

    def owner_of(self, instance: Instance) -> str:
        """Return who answers for an instance, in words."""
        return self.components[instance.component].owner or "the owner of %s" % instance.component

    def addresses_of(self, instance: Instance) -> tuple[str, ...]:
        """Return what others dial to reach the instance; of somebody else's component, networks as well."""
        component = self.components[instance.component]
        return self.hosts[instance.host].addresses if component.managed else component.addresses

    def authority_of(self, identity: str) -> str:
        """Return the authority that issues an identity."""
        return self.identities[identity].authority if identity in self.identities else self.default_authority

    def identity_in(self, pair: Pair, end: Instance) -> str:
        """Return the identity that an end has for a pair, whether it is asked for one or not."""
        return self.components[end.component].presents(end, pair.listener if end == pair.server else None)

    def presented_in(self, pair: Pair, end: Instance) -> str | None:
        """Return the identity that an end presents in a pair; None for a client whose server does not ask for one."""
        return self.identity_in(pair, end) if end == pair.server or pair.mode == "mutual" else None

    def default_identity(self, instance: Instance) -> str:
        """Return the identity whose files lie at the top of an instance's generations."""
        return self.components[instance.component].default_identity(instance)

    def identity_folder(self, instance: Instance, identity: str) -> str:
        """Return where the files of an identity lie in an instance's generations; empty for the default one's."""
        return "" if identity == self.default_identity(instance) else identity

    def adopted(self, identity: str) -> t.Mapping[str, str]:
        """Return the files of an identity that was on its hosts before us, by the words of options."""
        spec = self.identities.get(identity)
        if spec is None or spec.issuer != "installed":
            return {}
        return {"fullchain": spec.files["certificate"], **spec.files}

    def keeps_key(self, instance: Instance) -> bool:
        """Return whether the key of an identity of the instance is born on its host and stays there."""
        if not self.identities:
            return False
        names = self.components[instance.component].identities_of(instance)
        return any(self.identities[name].is_born_on_host for name in names if name in self.identities)

    @cached_property
    def trust_files(self) -> dict[str, str]:
        """Return the files of the CA lists of others, by authority; of a component that is not ours, by ``peer/`` name.

        Authorities have no slash in their names, so that the two never meet.
        """
        found = {name: spec.trust_file for name, spec in self.authorities.items() if spec.trust_file}
        peers = {"peer/" + name: each.trust_file for name, each in self.components.items() if each.trust_file}
        return {**found, **peers}

    def to_json(self) -> dict[str, t.Any]:
        """Return the model as plain data, pairs by what they consist of."""
        plain = {
            "hosts": {name: asdict(host) for name, host in sorted(self.hosts.items())},
            "components": {name: asdict(component) for name, component in sorted(self.components.items())},
            "connections": [asdict(connection) for connection in self.connections],
            "identities": {name: asdict(identity) for name, identity in sorted(self.identities.items())},
            "authorities": {name: asdict(authority) for name, authority in sorted(self.authorities.items())},
            "pairs": [pair_to_json(pair) for pair in self.pairs],
        }
        result: dict[str, t.Any] = _lists(plain)
        return result

    @cached_property
    def _by_id(self) -> dict[str, Pair]:
        return {pair.id: pair for pair in self.pairs}

    @cached_property
    def _by_listener(self) -> dict[tuple[str, str], tuple[Pair, ...]]:
        return _grouped(self.pairs, lambda pair: (pair.server.name, pair.listener.name))

    @cached_property
    def _by_client(self) -> dict[str, tuple[Pair, ...]]:
        return _grouped(self.pairs, lambda pair: pair.client.name)

    @cached_property
    def _instances(self) -> tuple[Instance, ...]:
        found = [each for component in self.components.values() for each in instances_of(component)]
        return tuple(sorted(found, key=lambda each: each.name))


K = t.TypeVar("K")


def _grouped(pairs: t.Iterable[Pair], key: t.Callable[[Pair], K]) -> dict[K, tuple[Pair, ...]]:
    groups: dict[K, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return {name: tuple(members) for name, members in groups.items()}


def instances_of(component: Component) -> tuple[Instance, ...]:
    """Return the instances of a component; one that is not ours has a single one, on a host of its own name."""
    hosts = component.hosts if component.managed else (component.name,)
    return tuple(Instance(component.name, host) for host in hosts)


def pair_to_json(pair: Pair) -> dict[str, t.Any]:
    """Return a pair as plain data."""
    return {
        "id": pair.id,
        "client": pair.client.name,
        "server": pair.server.name,
        "listener": pair.listener.name,
        "connection": pair.connection.index,
        "wave": pair.wave,
        "mode": pair.mode,
        "dial": pair.dial,
        "blocked": pair.blocked,
    }


def _lists(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {name: _lists(each) for name, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, (list, tuple)) else value
