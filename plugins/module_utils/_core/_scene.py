# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the fleet at one moment, and the words of a step; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from functools import cached_property

from ._chain import Head
from ._entities import CLIENT_STAGES, Instance, Listener, Model, Pair, passing
from ._flows import Flow, flows_of
from ._kind import InstanceKind, KindError, Option, expand
from ._limits import Agreement
from ._names import in_network, is_ip_address
from ._observed import NOT_DIALLED, UNSEEN, SeenHost, SeenInstance, SeenProbe, SeenSoak
from ._requesting import Awaited
from ._terms import Known, agreement, common, known_by, offer


@dataclass(frozen=True)
class HeldIdentity:
    """An identity that an instance has to hold.

    Attributes:
        name: its name.
        folder: where its files lie in a generation; empty for the default one's, which lie at the top.
        certificate: SHA-256 of its certificate; None while it is not issued.
        awaits: who has to sign for the planned certificate first; None if nobody has to.
        covers: the names that the certificate is good for meanwhile.
    """

    name: str
    folder: str = ""
    certificate: str | None = None
    awaits: Awaited | None = None
    covers: frozenset[str] = frozenset()

    def lacks_signature(self, name: str | None = None) -> bool:
        """Return whether it waits for a signature and has nothing to present meanwhile, or nothing for this name."""
        return self.awaits is not None and (name not in self.covers if name else not self.covers)

    @property
    def goes_in(self) -> bool:
        """Whether it is a part of the next generation; one that was never signed is not, and trust goes ahead of it."""
        return self.awaits is None or self.certificate is not None


@dataclass(frozen=True)
class Wanted:
    """The material that an instance has to hold.

    Attributes:
        identities: those that it presents, by name, without those that were on its host before us.
        authorities: names of the authorities that it trusts.
        trust: SHA-256 of their root certificates; None while they are not made.
        formats: the formats that its kind reads, and ``pem``.
        due: why a certificate is about to be another one, or a revocation list is; empty if none is.
        lists: names of the revocation lists that it is given; None if its kind reads none.
    """

    identities: t.Mapping[str, HeldIdentity]
    authorities: tuple[str, ...]
    trust: tuple[str, ...] | None
    formats: tuple[str, ...]
    due: str = ""
    lists: tuple[str, ...] | None = None

    @property
    def placed(self) -> dict[str, HeldIdentity]:
        """The identities of the next generation, by folder."""
        return {each.folder: each for each in self.identities.values() if each.goes_in}


@dataclass(frozen=True)
class Scene:
    """The model, what is wanted of it, and what was seen of it.

    Attributes:
        kinds, wanted: by instance name.
        instances: what was seen of them; those at which nobody looked are not in it.
        addresses, directories, lost: by host; ``lost`` says why a host could not be worked on.
        hosts: what hosts showed of themselves.
        probes: by probe name.
        recorded: the stage of each pair that the ledger has.
        highest: the furthest stage of each pair that the ledger has and nobody went back from.
        exercised: when a TLS session was seen first of a pair that has to be seen, as the ledger has it.
        soaked: what was collected of listeners between runs, by listener id.
        since: when each pair came to its stage, as the ledger has it, in seconds since 1970.
        head: where the ledger's history ended when the run began to change hosts; None before that.
        looked: whether anybody looks in this run; without, the ledger is all that is known.
        check_mode: whether nothing is to be changed, so that gates have nothing to look at.
    """

    model: Model
    kinds: t.Mapping[str, InstanceKind]
    wanted: t.Mapping[str, Wanted]
    addresses: t.Mapping[str, tuple[str, ...]]
    directories: t.Mapping[str, str]
    instances: t.Mapping[str, SeenInstance] = field(default_factory=dict)
    probes: t.Mapping[str, SeenProbe] = field(default_factory=dict)
    lost: t.Mapping[str, str] = field(default_factory=dict)
    hosts: t.Mapping[str, SeenHost] = field(default_factory=dict)
    recorded: t.Mapping[str, str] = field(default_factory=dict)
    highest: t.Mapping[str, str] = field(default_factory=dict)
    exercised: t.Mapping[str, str] = field(default_factory=dict)
    soaked: t.Mapping[str, SeenSoak] = field(default_factory=dict)
    since: t.Mapping[str, float] = field(default_factory=dict)
    head: Head | None = None
    looked: bool = True
    check_mode: bool = False

    # what was seen

    def seen(self, instance: Instance) -> SeenInstance:
        """Return what was seen of an instance."""
        return self.instances.get(instance.name, UNSEEN)

    def host(self, name: str) -> SeenHost:
        """Return what a host showed of itself."""
        return self.hosts.get(name, SeenHost())

    def tls(self, pair: Pair) -> SeenProbe:
        """Return what was seen when the listener was dialled over TLS, from the pair's vantage."""
        return self.probes.get(tls_probe(pair), NOT_DIALLED)

    def clear(self, pair: Pair) -> SeenProbe:
        """Return what was seen when the listener was dialled in the clear, from the pair's vantage."""
        if pair.listener.is_udp:
            return self._datagrams(pair)
        return self.probes.get(clear_probe(pair), NOT_DIALLED)

    def _datagrams(self, pair: Pair) -> SeenProbe:
        """Return what is seen of a clear UDP port: nobody need answer a datagram, but its server's socket shows."""
        port, server = pair.listener.port, pair.server.name
        if not self.ours(pair.server):
            return SeenProbe(reason="over UDP nothing at our end shows whether %s listens on port %d" % (server, port))
        found = self.seen(pair.server).udp.get(port)
        if found is None:
            unreadable = self.seen(pair.server).unreadable
            return SeenProbe(reason=unreadable.get("udp") or unreadable.get("process") or "")
        if found:
            return SeenProbe("clear", security="clear", reason="%s has a UDP socket on port %d" % (server, port))
        return SeenProbe("refused", "udp_closed", reason="%s has no UDP socket on port %d" % (server, port))

    def front(self, pair: Pair) -> SeenProbe:
        """Return what the client's host saw when it dialled what its client dials, whichever member answered."""
        return self.probes.get(front_probe(pair), NOT_DIALLED)

    # what is known

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """The lines of the firewall sheet."""
        return flows_of(self.model, self.kinds)

    def flow(self, pair: Pair) -> Flow | None:
        """Return the line of the firewall sheet that the pair's client needs for what it dials; None for no new one."""
        return self._flow_by_pair.get(pair.id)

    @cached_property
    def _flow_by_pair(self) -> dict[str, Flow]:
        found: dict[str, Flow] = {}
        for flow in self.flows:
            for name in flow.pairs:  # what passes a client on has a line of its own, which is not its client's to see
                if flow.source == self.model.pair(name).client.host:
                    found[name] = flow
        return found

    def ours(self, instance: Instance) -> bool:
        """Return whether the instance is on a host of ours; at another nothing is read, installed or done."""
        return self.model.managed(instance)

    def our_ends(self, pair: Pair) -> tuple[Instance, ...]:
        """Return the ends of a pair that are ours."""
        return tuple(end for end in pair.ends if self.ours(end))

    def vantage(self, pair: Pair) -> Instance:
        """Return the end from whose host the pair's listener is looked at.

        That is the client, unless it is not ours, or what it dials leads to any member: then each member is looked at
        from its own host, in its client's stead.
        """
        return pair.client if self.ours(pair.client) and not pair.fronted else pair.server

    def witness(self, pair: Pair) -> Instance:
        """Return the end whose sockets show the pair's sessions: the client, or else our own."""
        return pair.client if self.ours(pair.client) else pair.server

    def origins(self, pair: Pair) -> tuple[Instance, ...]:
        """Return the client, and what passes its sessions on: the server sees them come from any of these."""
        between = passing(pair.connection.through)
        return (pair.client, *(each for name in between for each in self.model.instances_of(name)))

    def shape(self, pair: Pair) -> str:
        """Return the shape of the pair's listener."""
        return self.shape_of(pair.server, pair.listener)

    def shape_of(self, server: Instance, listener: Listener) -> str:
        """Return the shape of a listener; of one that is not ours only its ports are known."""
        if self.ours(server):
            return self.kinds[server.name].shape
        return "same_port" if listener.secure_port is None else "second_listener"

    def whereabouts(self, *instances: Instance) -> t.Callable[[str], bool]:
        """Return what tells whether an IP address may be one of these; those that are not ours may have networks."""
        at = {address for each in instances if self.ours(each) for address in self.addresses_of(each.host)}
        places = [place for each in instances if not self.ours(each) for place in self.model.addresses_of(each)]
        return lambda address: (
            address in at or (is_ip_address(address) and any(in_network(address, place) for place in places))
        )

    def pairs_at(self, instance: Instance) -> list[Pair]:
        """Return the pairs that have this instance at one of their ends and are not blocked."""
        return [pair for pair in self.model.pairs_of_client(instance.name) if not pair.blocked] + self.served(instance)

    def served(self, instance: Instance) -> list[Pair]:
        """Return the pairs of all listeners of an instance that are not blocked."""
        names = self.model.components[instance.component].listeners
        found = (pair for name in names for pair in self.model.pairs_of_listener(instance.name, name))
        return [pair for pair in found if not pair.blocked]

    def presented(self, instance: Instance) -> tuple[str, ...]:
        """Return the names of the identities that an instance presents to anybody, or holds in reserve."""
        found = {self.model.presented_in(pair, instance) for pair in self.pairs_at(instance)}
        found |= set(self.model.components[instance.component].reserved)
        return tuple(sorted(name for name in found if name is not None))

    def held(self, pair: Pair, end: Instance) -> HeldIdentity | None:
        """Return the identity that an end presents in a pair, if we install it."""
        wanted, name = self.wanted.get(end.name), self.model.presented_in(pair, end)
        return wanted.identities.get(name) if wanted and name else None

    def address(self, host: str) -> str:
        """Return the host's first address, else its name."""
        addresses = self.addresses.get(host, ())
        return addresses[0] if addresses else host

    def addresses_of(self, host: str) -> frozenset[str]:
        """Return the IP addresses that a host has: those of the model, and those that it was seen to have."""
        named = (address for address in self.addresses.get(host, ()) if is_ip_address(address))
        return frozenset((*named, *self.host(host).addresses))

    # limits

    def agreement(self, pair: Pair) -> Agreement:
        """Return what both ends of the pair can do together, and who took the rest away."""
        return agreement(self.model, self.kinds, pair)

    def known(self, pair: Pair) -> Known:
        """Return what the pair's client knows, as a handshake can be held to it."""
        return known_by(self.model, self.kinds, pair.client)

    # the words of options

    def paths(self, instance: Instance, identity: str | None = None) -> dict[str, str]:
        """Return where the instance finds its material: fixed names below its own folder, and what was there before.

        Args:
            instance: the instance.
            identity: the name of the one that it presents; the default one if None.
        """
        current = "%s/%s/current" % (self.directories[instance.host], instance.component)
        name = identity or self.model.default_identity(instance)
        folder = self.model.identity_folder(instance, name)
        own = "%s/%s" % (current, folder) if folder else current
        return {
            "certificate": own + "/certificate.pem",
            "chain": own + "/chain.pem",
            "fullchain": own + "/fullchain.pem",
            "key": own + "/key.pem",
            "combined": own + "/combined.pem",
            "trust": current + "/trust.pem",
            "keystore": own + "/keystore.p12",
            "keystore_password_file": own + "/keystore.password",
            "truststore": current + "/truststore.p12",
            **self.model.adopted(name),
        }

    def paths_in(self, pair: Pair, end: Instance) -> dict[str, str]:
        """Return where an end finds its material for a pair: with the files of the identity that it has for it."""
        return self.paths(end, self.model.identity_in(pair, end))

    def listener_words(self, instance: Instance, listener: Listener) -> t.Mapping[str, t.Any]:
        """Return the words that options of a listener may use; every pair of it asks, stage by stage."""
        key = (instance.name, listener.name)
        if key not in self._listener_words:
            identity = self.model.components[instance.component].presents(instance, listener)
            self._listener_words[key] = {**self.paths(instance, identity), **self._words(instance, listener)}
        return self._listener_words[key]

    @cached_property
    def _listener_words(self) -> dict[tuple[str, str], dict[str, t.Any]]:
        return {}

    def _words(self, instance: Instance, listener: Listener) -> dict[str, t.Any]:
        same = self.shape_of(instance, listener) != "second_listener"
        return {
            "instance": instance.name,
            "host": instance.host,
            "component": instance.component,
            "listener": listener.name,
            "mode": listener.mode,
            "port": listener.port,
            "secure_port": listener.port if same else listener.secure_port,
            "address": self.address(instance.host),
            **offer(self.model, self.kinds, instance, listener),
        }

    def pair_words(self, pair: Pair) -> dict[str, t.Any]:
        """Return the words that options of a client's pair may use."""
        return {
            **(self.listener_words if self.ours(pair.server) else self._words)(pair.server, pair.listener),
            **self.paths_in(pair, pair.client),
            "instance": pair.client.name,
            "host": pair.client.host,
            "component": pair.client.component,
            "client": pair.client.component,
            "server": pair.server.component,
            "server_host": pair.server.host,
            "dial": pair.dial,
            "address": self.address(pair.client.host),
            **common(self.model, self.kinds, pair),
        }

    def options(self, stage: str, pair: Pair) -> tuple[Option, ...]:
        """Return the options that a stage asks for at this pair: the client's for ``connect``, else the server's.

        There are none at an end that is not ours.
        """
        if not self.ours(pair.end_of(stage)):
            return ()
        if stage in CLIENT_STAGES:
            return expand(self.kinds[pair.client.name].reads[stage], self.pair_words(pair))
        if self.shape(pair) == "second_listener" and pair.listener.secure_port is None:
            raise KindError(
                "%s: listener %s needs a secure_port, for its kind %s opens a second listener"
                % (pair.id, pair.listener.name, self.kinds[pair.server.name].kind)
            )
        return expand(self.kinds[pair.server.name].reads[stage], self.listener_words(pair.server, pair.listener))


def option_id(option: Option) -> str:
    """Return the name under which an option's value is read back."""
    return "%s|%s|%s" % (option.file, option.section, option.key)


def tls_probe(pair: Pair) -> str:
    """Return the name of the pair's TLS probe."""
    return pair.id + "#tls"


def front_probe(pair: Pair) -> str:
    """Return the name of the TLS probe that all members share which the client reaches by one name."""
    return "%s->%s.%s#front" % (pair.client.name, pair.server.component, pair.listener.name)


def clear_probe(pair: Pair) -> str:
    """Return the name of the pair's plaintext probe."""
    return pair.id + "#clear"


#: What a later stage writes in the same place supersedes what an earlier one wrote.
_LATER: t.Final = {"permit": ("permit", "demand", "enforce"), "demand": ("demand", "enforce"), "enforce": ("enforce",)}


@dataclass(frozen=True)
class Setting:
    """How the options of a stage stand at a pair.

    Attributes:
        differs: those that hold something else than they should.
        unread: those of which nobody knows what they hold.
        declared: whether the stage asks for any.
    """

    differs: tuple[Option, ...] = ()
    unread: tuple[Option, ...] = ()
    declared: bool = True

    @property
    def is_made(self) -> bool:
        """Whether all of them are known to be as they should."""
        return not (self.differs or self.unread)

    @property
    def missing(self) -> tuple[Option, ...]:
        """Those that a step has to write."""
        return (*self.differs, *self.unread)


def setting(scene: Scene, stage: str, pair: Pair) -> Setting:
    """Return how the options of a stage stand; a later stage's value in the place of an earlier one's counts."""
    reads = scene.seen(pair.end_of(stage)).reads
    accepted: dict[str, set[str | None]] = {}
    for later in _LATER.get(stage, (stage,)):
        for option in scene.options(later, pair):
            accepted.setdefault(option_id(option), set()).add(option.value)
    asked = scene.options(stage, pair)
    unread = tuple(option for option in asked if option_id(option) not in reads)
    differs = (o for o in asked if option_id(o) in reads and reads[option_id(o)] not in accepted[option_id(o)])
    return Setting(tuple(differs), unread, bool(asked))
