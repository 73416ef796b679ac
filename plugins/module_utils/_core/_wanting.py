# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which authorities, identities and trust the model asks for; private to this collection."""

from __future__ import annotations

import typing as t
from types import MappingProxyType

from ._entities import IdentitySpec, Instance, Model, Pair
from ._errors import TlsError
from ._kind import InstanceKind
from ._limits import Agreement, agree_on_key
from ._material import WantedAuthority, WantedIdentity, identity_target, is_list_of
from ._names import NameRefused, dns_name
from ._requesting import Awaited
from ._scene import HeldIdentity, Wanted
from ._terms import agreement


class Wishes:
    """What every instance presents and trusts, from all enumerated pairs, whatever a run's scope is.

    An identity carries every name that its server is dialled by, in whichever wave, so that a later wave needs no new
    certificate.
    """

    def __init__(
        self,
        model: Model,
        kinds: t.Mapping[str, InstanceKind],
        addresses: t.Mapping[str, tuple[str, ...]],
        *,
        unread: t.Collection[str] = (),
    ) -> None:
        """Work out who serves and who calls.

        Args:
            model, kinds, addresses: of the fleet.
            unread: the authorities whose CA lists cannot be read, so that nobody can be given them.
        """
        self._model = model
        self._unread = frozenset(unread)
        self._kinds = kinds
        self._addresses = addresses
        self._serving: dict[str, list[Pair]] = {}
        self._calling: dict[str, list[Pair]] = {}
        self._presented: dict[str, set[str]] = {}
        self._presenting: dict[str, list[tuple[Instance, Pair]]] = {}
        self._identities: dict[str, WantedIdentity] = {}
        for pair in model.pairs:
            if not pair.blocked:
                self._serving.setdefault(pair.server.name, []).append(pair)
                self._calling.setdefault(pair.client.name, []).append(pair)
                self._note_presented(pair)

    def _note_presented(self, pair: Pair) -> None:
        """Note which identities our ends of a pair present in it, or could: what is held in reserve is for all alike.

        So one that a listener is given later needs no new certificate.
        """
        for end in pair.ends:
            if not self._model.managed(end):
                continue
            component = self._model.components[end.component]
            fits = end == pair.server or not component.listeners
            name = self._model.presented_in(pair, end)
            for each in (*([name] if name is not None else []), *(component.reserved if fits else ())):
                self._presented.setdefault(end.name, set()).add(each)
                self._presenting.setdefault(each, []).append((end, pair))

    def presented_by(self, instance: Instance) -> tuple[str, ...]:
        """Return the names of the identities that an instance of ours presents to anybody, or holds in reserve."""
        return tuple(sorted(self._presented.get(instance.name, ())))

    def asked_by(self, instance: Instance) -> list[str]:
        """Return the authorities of others that sign what the instance presents to anybody."""
        specs = (self._model.identities.get(name) for name in self.presented_by(instance))
        return [spec.authority for spec in specs if spec is not None and spec.issuer == "requested"]

    def trusted_by(self, instance: Instance) -> tuple[str, ...]:
        """Return the authorities whose certificates the instance has to accept, as far as anybody can read them."""
        return tuple(name for name in self.needed_by(instance) if name not in self._unread)

    def needed_by(self, instance: Instance) -> tuple[str, ...]:
        """Return the authorities whose certificates the instance has to accept."""
        found = {self.issuer_of(pair, pair.server) for pair in self._calling.get(instance.name, ())}
        mutual = (pair for pair in self._serving.get(instance.name, ()) if pair.mode == "mutual")
        return tuple(sorted(found | {self.issuer_of(pair, pair.client) for pair in mutual}))

    def issuer_of(self, pair: Pair, presenter: Instance) -> str:
        """Return the authority whose list has what a presenter's certificate leads to."""
        component = self._model.components[presenter.component]
        if component.trust_file:
            return "peer/" + component.name
        return self._model.authority_of(self._model.identity_in(pair, presenter))

    def trust_files(self) -> dict[str, str]:
        """Return the files of the CA lists of others that instances of the model trust, by name."""
        if not self._model.trust_files:
            return {}
        trusted = {name for instance in self._model.instances() for name in self.trusted_by(instance)}
        trusted |= {each.authority for each in self._model.identities.values() if each.issuer == "requested"}
        return {name: path for name, path in self._model.trust_files.items() if name in trusted - self._unread}

    def authorities(self) -> tuple[WantedAuthority, ...]:
        """Return every authority of ours, ready to be made; one that nobody declared only where somebody trusts it."""
        return tuple(
            WantedAuthority(
                name=spec.name,
                organization=spec.organization,
                root_days=spec.root_days,
                issuing_days=spec.issuing_days,
                key_type=spec.key_type,
            )
            for name, spec in sorted(self._model.authorities.items())
            if not spec.trust_file and self._is_needed(name)
        )

    def _is_needed(self, name: str) -> bool:
        """Return whether an authority is made although all that others sign goes without it."""
        if name != self._model.default_authority or not self._model.trust_files:
            return True
        return any(name in self.trusted_by(instance) for instance in self._model.instances())

    def identities(self, instances: t.Iterable[Instance]) -> tuple[WantedIdentity, ...]:
        """Return the identities that these instances present and that are not on their hosts yet, each once.

        One that is shared carries the names of all that present it, whichever of them are asked for.

        Raises:
            TlsError: the ends of a connection have no key type in common, or nothing names an identity.
        """
        names = {name for instance in instances for name in self.presented_by(instance)}
        return tuple(self._known(name) for name in sorted(names) if not self._model.adopted(name))

    def _known(self, name: str) -> WantedIdentity:
        """Return an identity as it has been worked out before."""
        if name not in self._identities:
            self._identities[name] = self._identity(name, self._presenting[name])
        return self._identities[name]

    def agreement(self, pair: Pair) -> Agreement:
        """Return what both ends of the pair can do together."""
        return agreement(self._model, self._kinds, pair)

    def formats_of(self, instance: Instance) -> tuple[str, ...]:
        """Return the formats that the instance is given: PEM, and those of its kind that its component reads.

        Raises:
            TlsError: its component reads none of them.
        """
        kind, able = self._kinds[instance.name], self._model.components[instance.component].limits.formats
        kept = [form for form in kind.formats if able is None or form in able]
        if kind.formats and not kept:
            raise TlsError(
                "%s: its kind %s reads %s, and component %s is limited to %s; name another kind, or correct limits"
                % (instance.name, kind.kind, ", ".join(kind.formats), instance.component, ", ".join(able or ()))
            )
        return tuple(sorted({"pem", *kept}))

    def wanted(
        self,
        instance: Instance,
        *,
        certificates: t.Mapping[str, str],
        roots: t.Mapping[str, t.Sequence[str]],
        due: t.Mapping[str, str],
        awaited: t.Mapping[str, Awaited] | None = None,
        covered: t.Mapping[str, t.Sequence[str]] | None = None,
        lists: t.Mapping[str, t.Sequence[str]] = MappingProxyType({}),
    ) -> Wanted:
        """Return the material that the instance has to hold.

        Args:
            instance: the instance.
            certificates: SHA-256 of the certificate of each identity that is issued.
            roots: by authority, the SHA-256 of its roots.
            due: why something in the store is due, by target.
            awaited: the identities that wait for somebody who may sign.
            covered: by identity, the names that its present certificate is good for.
            lists: by authority, the names of its revocation lists.
        """
        identities = {
            name: HeldIdentity(
                name=name,
                folder=self._model.identity_folder(instance, name),
                certificate=certificates.get(name),
                awaits=(awaited or {}).get(name),
                covers=frozenset((covered or {}).get(name, ())),
            )
            for name in self.presented_by(instance)
            if not self._model.adopted(name)
        }
        reads = "crl" in self.formats_of(instance)
        authorities = self.trusted_by(instance)
        trust = {root for name in authorities for root in roots.get(name, ())}
        return Wanted(
            identities=identities,
            authorities=authorities,
            trust=tuple(sorted(trust)) if all(roots.get(name) for name in authorities) else None,
            formats=self.formats_of(instance),
            due=self._why_due(instance, [each.name for each in identities.values() if each.goes_in], authorities, due),
            lists=tuple(sorted(each for name in authorities for each in lists.get(name, ()))) if reads else None,
        )

    def _why_due(
        self, instance: Instance, identities: t.Iterable[str], authorities: t.Sequence[str], due: t.Mapping[str, str]
    ) -> str:
        """Return why what the instance holds is about to be another: a certificate of its, or a list that it reads."""
        why = next((due[target] for target in map(identity_target, identities) if target in due), "")
        if why or "crl" not in self.formats_of(instance):
            return why
        return next((due[each] for name in authorities for each in sorted(due) if is_list_of(each, name)), "")

    def _spec(self, name: str) -> IdentitySpec:
        found = self._model.identities.get(name)
        return found or IdentitySpec(name=name, authority=self._model.authority_of(name))

    def _identity(self, name: str, presented: t.Sequence[tuple[Instance, Pair]]) -> WantedIdentity:
        """Return an identity that is presented by these ends in these pairs."""
        spec = self._spec(name)
        authority = self._model.authorities[spec.authority]
        holders = {end.name: end for end, _pair in presented}
        serving = {end.name for end, pair in presented if end == pair.server}
        names = {*spec.names, *(pair.dial for end, pair in presented if end == pair.server)}
        for holder in holders.values():
            names |= set() if holder.name in serving else self._own_names(holder)
        usages = {*(spec.usages or ()), *("server" if end == pair.server else "client" for end, pair in presented)}
        usages |= {usage for holder in holders for usage in self._kinds[holder].usages}
        agreements = [(pair.id, self.agreement(pair)) for _end, pair in presented]
        return WantedIdentity(
            name=name,
            authority=spec.authority,
            names=tuple(names),
            usages=tuple(usages),
            key_type=agree_on_key(agreements),
            days=authority.leaf_days,
            days_reason=authority.days_reason,
            formats=tuple({form for holder in holders.values() for form in self.formats_of(holder)}),
            common_name=any(agreement.common_name for _unused, agreement in agreements),
            key_at=spec.key_at,
            issuer=spec.issuer,
        )

    def _own_names(self, holder: Instance) -> set[str]:
        """Return what a client that nobody dials is called by: its host's addresses, and its name where it is one."""
        names = set(self._addresses.get(holder.host, ()))
        try:
            names.add(dns_name(holder.host, "host"))
        except NameRefused:
            if not names:
                raise
        return names
