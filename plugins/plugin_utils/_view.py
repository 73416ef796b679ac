# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store holds of what is wanted, and what is due in it; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field
from types import MappingProxyType

from ..module_utils._core._few import few
from ..module_utils._core._issuing import (
    Signing,
    notes_on_authority,
    notes_on_identities,
    plan_authority,
    plan_identity,
)
from ..module_utils._core._material import (
    AuthorityInfo,
    IdentityInfo,
    WantedAuthority,
    WantedIdentity,
    authority_target,
    identity_target,
)
from ._folder import StoreError
from ._found import Authority, Found, identity_file, look, opened
from ._place import StorePaths

#: Digests of the public halves of keys that hosts have, by identity.
Held = t.Mapping[str, t.Collection[str]]


@dataclass(frozen=True)
class StoreView:
    """What the store holds of what is wanted, and what is due.

    Attributes:
        changes: what is due, with its reason; after ``carry_out``, what was done.
        postponed: what is due and waits for a run that has the authorities' passphrase.
        identities: the wanted identities that have a certificate.
        authorities: every authority of the store.
        trust: by authority, the fingerprints of its roots.
        roots: by authority, its roots as PEM.
        issuing: by authority, its issuing authorities as PEM.
        crls: by authority, the revocation lists of all of these as PEM.
        holds_identities: whether the store holds any identity, wanted or not.
        unfinished: what a killed run announced and never published, one sentence each.
        notes: what somebody should know.
    """

    changes: tuple[Signing, ...] = ()
    postponed: tuple[Signing, ...] = ()
    identities: t.Mapping[str, IdentityInfo] = field(default_factory=dict)
    authorities: t.Mapping[str, AuthorityInfo] = field(default_factory=dict)
    trust: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    roots: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    issuing: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    crls: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    holds_identities: bool = False
    unfinished: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def due(self) -> dict[str, str]:
        """Return the reasons of all changes by target."""
        return {change.target: change.reason for change in self.changes}

    def without_signing(self) -> StoreView:
        """Return what a run sees that has no passphrase of the authorities: what can wait does, with a note.

        What stays in ``changes`` is urgent, and such a run cannot do it. An identity whose renewal waits is wanted as
        it is.
        """
        waiting = tuple(change for change in self.changes if change.can_wait)
        if not waiting:
            return self
        note = "due, but tls_authorities_passphrase is not set: " + few(
            "%s (%s)" % (change.target, change.reason) for change in waiting
        )
        return dataclasses.replace(
            self,
            changes=tuple(change for change in self.changes if not change.can_wait),
            postponed=self.postponed + waiting,
            notes=(*self.notes, note),
        )


def without_requests(view: StoreView, identities: t.Sequence[WantedIdentity], asked: t.Collection[str]) -> StoreView:
    """Return what is due where these identities have a request, and others whose key is born on a host have none yet.

    A certificate is made of a request only, so theirs waits.
    """
    keyless = {identity_target(each.name) for each in identities if each.key_at == "host" and each.name not in asked}
    waiting = tuple(change for change in view.changes if change.target in keyless)
    changes = tuple(change for change in view.changes if change.target not in keyless)
    return dataclasses.replace(view, changes=changes, postponed=view.postponed + waiting)


def inspect(
    paths: StorePaths,
    authorities: t.Sequence[WantedAuthority],
    identities: t.Sequence[WantedIdentity],
    *,
    now: int,
    held: Held = MappingProxyType({}),
) -> StoreView:
    """Return what the store holds and what is due. Needs no passphrase, takes no lock, changes nothing.

    Raises:
        StoreLost: a part of the store is missing that must not be made anew.
        StoreError: a file is damaged, or what is wanted contradicts itself.
    """
    _refuse_doubles(authorities, identities)
    with opened(paths) as (authority_folder, identity_folder):
        found = look(authority_folder, identity_folder, [wanted.name for wanted in identities])
    return view_of(found, authorities, identities, now=now, held=held)


def view_of(
    found: Found,
    authorities: t.Sequence[WantedAuthority],
    identities: t.Sequence[WantedIdentity],
    *,
    now: int,
    held: Held = MappingProxyType({}),
) -> StoreView:
    """Return what was found beside what is wanted.

    Args:
        found: what the store holds.
        authorities, identities: what is wanted.
        now: seconds since 1970.
        held: by identity, the keys that its host has, where they are born there and somebody looked.
    """
    infos = {name: authority.info(name) for name, authority in sorted(found.authorities.items())}
    changes: list[Signing] = []
    notes: list[str] = []
    for authority in sorted(authorities, key=lambda each: each.name):
        info = infos.get(authority.name, AuthorityInfo(authority.name))
        had_root = authority_target(authority.name, "root") in found.journal.issued
        changes += plan_authority(authority, found=info, now=now, had_root=had_root)
        notes += notes_on_authority(authority, found=info, now=now)
    for identity in sorted(identities, key=lambda each: each.name):
        change = plan_identity(
            identity, found=found.identities.get(identity.name), now=now, held=held.get(identity.name)
        )
        if change is not None:
            changes.append(change)
    notes += notes_on_identities(identities, found=found.identities, authorities=infos)
    there = sorted(found.authorities.items())
    rooted = [(name, authority.root) for name, authority in there if authority.root]
    return StoreView(
        changes=tuple(changes),
        identities=found.identities,
        authorities=infos,
        trust={name: (root.info.sha256,) for name, root in rooted},
        roots={name: (root.pem,) for name, root in rooted},
        issuing={name: tuple(ca.pem for ca in authority.issuing) for name, authority in there},
        crls={name: _lists_of(authority) for name, authority in there},
        holds_identities=found.holds_identities,
        unfinished=_unfinished(found),
        notes=tuple(notes),
    )


def _lists_of(authority: Authority) -> tuple[str, ...]:
    return tuple(ca.crl.decode("ascii", "replace") for ca in authority.cas if ca.crl and ca.info.crl)


def _unfinished(found: Found) -> tuple[str, ...]:
    return tuple(
        "a run that was stopped had announced %s (serial %s) and never published it" % (intent.target, serial)
        for serial, intent in sorted(found.journal.open.items(), key=lambda item: item[1].target)
        if serial not in found.published
    )


def _refuse_doubles(authorities: t.Sequence[WantedAuthority], identities: t.Sequence[WantedIdentity]) -> None:
    for what, names in (("authority", [a.name for a in authorities]), ("identity", [i.name for i in identities])):
        double = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        if double is not None:
            raise StoreError("%s %s is given twice; give each name once" % (what, double))
    files: dict[str, str] = {}
    for wanted in identities:
        other = files.setdefault(identity_file(wanted.name).lower(), wanted.name)
        if other != wanted.name:
            raise StoreError("identities %s and %s differ in case only; rename one" % (other, wanted.name))
    known = {wanted.name for wanted in authorities}
    for wanted in identities:
        if wanted.authority not in known:
            raise StoreError(
                "identity %s names authority %s; the authorities are %s"
                % (wanted.name, wanted.authority, ", ".join(sorted(known)) or "not given")
            )
