# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the fleet at one moment, and the words of a step; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ._entities import Instance, Listener, Model, Pair
from ._kind import InstanceKind, KindError, Option, expand

Observed = t.Mapping[str, t.Any]

#: Stages whose options stand in the client's files; the others' stand in the server's.
CLIENT_STAGES: t.Final = ("connect", "verify")


@dataclass(frozen=True)
class Evidence:
    """What one gate expected and what it saw.

    Attributes:
        gate: the stage that this gate guards, or ``reach`` where nobody could look.
        holds: whether the stage holds.
        expected: what had to be seen.
        seen: what was seen.
        todo: what somebody should do about it; empty where it holds.
        security: ``clear``, ``tls_unverified``, ``verified`` or ``mutual``; empty where the gate says nothing about it.
        live: whether it was seen on live traffic; a probe or a setting read back leaves it ``unexercised``.
        fault: a short word for what is wrong, for rules; empty where it holds.
    """

    gate: str
    holds: bool
    expected: str
    seen: str
    todo: str = ""
    security: str = ""
    live: bool = False
    fault: str = ""


@dataclass(frozen=True)
class Wanted:
    """The material that an instance has to hold.

    Attributes:
        identity: name of the identity that it presents; None if it presents none.
        certificate: SHA-256 of that identity's certificate; None while it is not issued.
        authorities: names of the authorities that it trusts.
        trust: SHA-256 of their root certificates; None while they are not made.
        formats: the formats that its kind reads.
    """

    identity: str | None
    certificate: str | None
    authorities: tuple[str, ...]
    trust: tuple[str, ...] | None
    formats: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everything that it names has been made."""
        return self.trust is not None and (self.identity is None or self.certificate is not None)


@dataclass(frozen=True)
class Scene:
    """The model, what is wanted of it, and what was seen of it.

    Attributes:
        kinds, wanted, instances: by instance name.
        addresses, directories, lost: by host; ``lost`` says why a host could not be looked at.
        probes: by probe name.
        remembered: the stage of each pair as the ledger has it, where nobody looked (``tls_observe: false``).
        check_mode: whether nothing is to be changed, so that gates have nothing to look at.
    """

    model: Model
    kinds: t.Mapping[str, InstanceKind]
    wanted: t.Mapping[str, Wanted]
    addresses: t.Mapping[str, tuple[str, ...]]
    directories: t.Mapping[str, str]
    instances: t.Mapping[str, Observed] = field(default_factory=dict)
    probes: t.Mapping[str, Observed] = field(default_factory=dict)
    lost: t.Mapping[str, str] = field(default_factory=dict)
    remembered: t.Mapping[str, str] | None = None
    check_mode: bool = False

    def seeing(
        self, *, instances: t.Mapping[str, Observed], probes: t.Mapping[str, Observed], lost: t.Mapping[str, str]
    ) -> Scene:
        """Return the scene with newer observations over the older ones."""
        return replace(
            self,
            instances={**self.instances, **instances},
            probes={**self.probes, **probes},
            lost={**self.lost, **lost},
        )

    def shape(self, pair: Pair) -> str:
        """Return the shape of the pair's listener."""
        return self.kinds[pair.server.name].shape

    def pairs_at(self, instance: Instance) -> t.Sequence[Pair]:
        """Return the pairs that have this instance at one of their ends and are not blocked."""
        found = list(self.model.pairs_of_client(instance.name))
        for name in self.model.components[instance.component].listeners:
            found += self.model.pairs_of_listener(instance.name, name)
        return [pair for pair in found if not pair.blocked]

    def paths(self, instance: Instance) -> dict[str, str]:
        """Return where the instance finds its material: fixed names below its own folder."""
        current = "%s/%s/current" % (self.directories[instance.host], instance.component)
        return {
            "certificate": current + "/certificate.pem",
            "chain": current + "/chain.pem",
            "fullchain": current + "/fullchain.pem",
            "key": current + "/key.pem",
            "trust": current + "/trust.pem",
            "keystore": current + "/keystore.p12",
            "keystore_password_file": current + "/keystore.password",
            "truststore": current + "/truststore.p12",
        }

    def listener_words(self, instance: Instance, listener: Listener) -> dict[str, t.Any]:
        """Return the words that options of a listener may use."""
        same = self.kinds[instance.name].shape != "second_listener"
        return {
            **self.paths(instance),
            "instance": instance.name,
            "host": instance.host,
            "component": instance.component,
            "listener": listener.name,
            "port": listener.port,
            "secure_port": listener.port if same else listener.secure_port,
            "address": self.address(instance.host),
        }

    def pair_words(self, pair: Pair) -> dict[str, t.Any]:
        """Return the words that options of a client's pair may use."""
        return {
            **self.listener_words(pair.server, pair.listener),
            **self.paths(pair.client),
            "instance": pair.client.name,
            "host": pair.client.host,
            "component": pair.client.component,
            "client": pair.client.component,
            "server": pair.server.component,
            "server_host": pair.server.host,
            "dial": pair.dial,
            "address": self.address(pair.client.host),
        }

    def address(self, host: str) -> str:
        """Return the host's first address, else its name."""
        addresses = self.addresses.get(host, ())
        return addresses[0] if addresses else host

    def options(self, stage: str, pair: Pair) -> tuple[Option, ...]:
        """Return the options that a stage asks for at this pair: the client's for ``connect``, else the server's."""
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


def clear_probe(pair: Pair) -> str:
    """Return the name of the pair's plaintext probe."""
    return pair.id + "#clear"


#: What a later stage writes in the same place supersedes what an earlier one wrote.
_LATER: t.Final = {"permit": ("permit", "demand", "enforce"), "demand": ("demand", "enforce"), "enforce": ("enforce",)}


def unset(scene: Scene, stage: str, pair: Pair) -> tuple[Option, ...]:
    """Return the options of a stage that the host's files do not hold; a later stage's value in their place counts."""
    instance = pair.client if stage in CLIENT_STAGES else pair.server
    reads: t.Mapping[str, t.Any] = scene.instances.get(instance.name, {}).get("reads", {})
    accepted: dict[str, set[str | None]] = {}
    for later in _LATER.get(stage, (stage,)):
        for option in scene.options(later, pair):
            accepted.setdefault(option_id(option), set()).add(option.value)
    return tuple(
        option
        for option in scene.options(stage, pair)
        if option_id(option) not in reads or reads[option_id(option)] not in accepted[option_id(option)]
    )
