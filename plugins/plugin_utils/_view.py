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
    Revocation,
    WantedAuthority,
    WantedIdentity,
    authority_target,
    identity_of,
    identity_target,
)
from ..module_utils._core._requesting import Awaited, RequestPlaces, awaited, plan_requested
from ..module_utils._core._revoking import refuse_what_others_revoke
from ._answers import ReadAnswer
from ._folder import Folder, StoreError
from ._found import Authority, Found, identity_file, list_name, look, opened
from ._place import StorePaths
from ._requests import KeptRequest, is_shown_at, look_for_answer, places_of, read_request
from ._trust_list import TrustList, notes_on_lists, read_trust_lists

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
        lists: by authority, the names of the revocation lists that its readers are given.
        crls: by authority, the revocation lists of all of these as PEM.
        holds_identities: whether the store holds any identity, wanted or not.
        unfinished: what a killed run announced and never published, one sentence each.
        notes: what somebody should know.
        awaited: the identities that wait for somebody who may sign.
    """

    changes: tuple[Signing, ...] = ()
    postponed: tuple[Signing, ...] = ()
    identities: t.Mapping[str, IdentityInfo] = field(default_factory=dict)
    authorities: t.Mapping[str, AuthorityInfo] = field(default_factory=dict)
    trust: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    roots: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    issuing: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lists: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    crls: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    holds_identities: bool = False
    unfinished: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    awaited: t.Mapping[str, Awaited] = field(default_factory=dict)

    @property
    def due(self) -> dict[str, str]:
        """Return the reasons of all changes by target."""
        return {change.target: change.reason for change in self.changes}

    @property
    def coming(self) -> dict[str, str]:
        """Return the reasons of those changes that end in a certificate; a request does not."""
        return self.acts("sign", "take")

    def acts(self, *acts: str) -> dict[str, str]:
        """Return the reasons of the changes of these sorts by target."""
        return {change.target: change.reason for change in self.changes if change.act in acts}

    def without_signing(self) -> StoreView:
        """Return what a run sees that has no passphrase of the authorities: what we would sign waits, with a note.

        An identity whose renewal waits is wanted as it is; one that cannot be used as planned is awaited. What stays in
        ``changes`` is an authority that is missing, and such a run cannot make it.
        """
        signing = [change for change in self.changes if change.act == "sign"]
        missing = {change.target for change in signing if not change.can_wait and not identity_of(change.target)}
        waiting = tuple(change for change in signing if change.can_wait or not missing)
        if not waiting:
            return self
        note = "due, but tls_authorities_passphrase is not set: " + few(
            "%s (%s)" % (change.target, change.reason) for change in waiting
        )
        urgent = {name: change for change in waiting if not change.can_wait and (name := identity_of(change.target))}
        return dataclasses.replace(
            self,
            changes=tuple(change for change in self.changes if change not in waiting),
            postponed=self.postponed + waiting,
            notes=(*self.notes, note),
            awaited={**self.awaited, **{name: _unsigned(name, change) for name, change in urgent.items()}},
        )


def without_requests(view: StoreView, identities: t.Sequence[WantedIdentity], asked: t.Collection[str]) -> StoreView:
    """Return what is due where these identities have a request, and others whose key is born on a host have none yet.

    A certificate is made of a request only, and others are shown nothing else, so theirs waits.
    """
    keyless = {identity_target(each.name) for each in identities if each.key_at == "host" and each.name not in asked}
    waiting = tuple(change for change in view.changes if change.target in keyless and change.act in ("sign", "ask"))
    changes = tuple(change for change in view.changes if change not in waiting)
    return dataclasses.replace(view, changes=changes, postponed=view.postponed + waiting)


def _unsigned(name: str, change: Signing) -> Awaited:
    """Return who has to run before an identity that we sign is as planned."""
    authority = str(change.after["authority"])
    seen = "identity %s waits for a signature of authority %s, and tls_authorities_passphrase is not set (%s)"
    todo = "have somebody who may sign run connsec.tls.rollout with tls_authorities_passphrase"
    return Awaited(authority, seen % (name, authority, change.reason), todo)


def inspect(
    paths: StorePaths,
    authorities: t.Sequence[WantedAuthority],
    identities: t.Sequence[WantedIdentity],
    *,
    now: int,
    held: Held = MappingProxyType({}),
    revoke: t.Sequence[Revocation] = (),
    trust_files: t.Mapping[str, str] | None = None,
) -> StoreView:
    """Return what the store holds and what is due. Needs no passphrase, takes no lock, changes nothing.

    Args:
        paths: of the store.
        authorities: ours, that are wanted.
        identities: that are wanted.
        now: seconds since 1970.
        held: by identity, the keys that its host has.
        revoke: certificates to revoke.
        trust_files: the CA lists of authorities that are not ours, by name.

    Raises:
        StoreLost: a part of the store is missing that must not be made anew.
        StoreError: a file is damaged, or what is wanted contradicts itself.
    """
    lists = read_trust_lists(trust_files or {})
    refuse_contradictions(authorities, identities, lists)
    with opened(paths) as (authority_folder, identity_folder):
        found = look(authority_folder, identity_folder, identities, lists=lists)
        asked = look_at_requests(paths, identity_folder, identities, lists)
    return view_of(found, asked, authorities, identities, now=now, held=held, revoke=revoke)


@dataclass(frozen=True, repr=False)
class Asked:
    """The request of an identity that others sign: the open one, what was answered, and where both belong."""

    places: RequestPlaces
    request: KeptRequest | None = None
    answer: ReadAnswer | None = None
    is_shown: bool = False


def look_at_requests(
    paths: StorePaths,
    identity_folder: Folder,
    identities: t.Iterable[WantedIdentity],
    lists: t.Mapping[str, TrustList],
) -> dict[str, Asked]:
    """Return what was asked and answered of the identities that others sign, by name."""
    found = {}
    for wanted in identities:
        if wanted.issuer == "requested":
            request = read_request(identity_folder, wanted.name)
            trust = lists[wanted.authority]
            answer = look_for_answer(paths.requests, wanted.name, request, trust) if request else None
            is_shown = request is not None and is_shown_at(paths.requests, wanted.name, request)
            found[wanted.name] = Asked(places_of(paths.requests, wanted.name), request, answer, is_shown)
    return found


def view_of(
    found: Found,
    asked: t.Mapping[str, Asked],
    authorities: t.Sequence[WantedAuthority],
    identities: t.Sequence[WantedIdentity],
    *,
    now: int,
    held: Held = MappingProxyType({}),
    revoke: t.Sequence[Revocation] = (),
) -> StoreView:
    """Return what was found beside what is wanted.

    Args:
        found: what the store holds.
        authorities, identities: what is wanted.
        now: seconds since 1970.
        held: by identity, the keys that its host has, where they are born there and somebody looked.
        revoke: certificates to revoke.

    Raises:
        MaterialRefused: no list of the store could name a certificate that is to be revoked.
    """
    infos = {name: authority.info(name) for name, authority in sorted(found.authorities.items())}
    known = {each.serial for each in found.journal.revoked}  # of which the issuer may be gone by now
    fresh = [each for each in revoke if each.serial not in known]
    refuse_what_others_revoke(fresh, authorities=infos, named={each.name for each in authorities})
    revoked = [*found.journal.revoked, *revoke]
    changes = _due_of_authorities(found, authorities, infos, now=now, revoked=revoked)
    fallen = {each.serial for each in revoked}
    rows = {
        each.name: _due_of_identity(found, each, asked.get(each.name), now=now, held=held.get(each.name), fallen=fallen)
        for each in sorted(identities, key=lambda each: each.name)
    }
    changes += [change for change, _awaits in rows.values() if change is not None]
    awaiting = {name: awaits for name, (_change, awaits) in rows.items() if awaits is not None}
    notes = notes_on_lists(found.lists, now=now)
    for authority in sorted(authorities, key=lambda each: each.name):
        notes += notes_on_authority(authority, found=infos.get(authority.name, AuthorityInfo(authority.name)), now=now)
    notes += [each.seen for each in awaiting.values()]
    notes += notes_on_identities(identities, found=found.identities, authorities=infos)
    return StoreView(
        changes=tuple(changes),
        identities=found.identities,
        authorities=infos,
        holds_identities=found.holds_identities,
        unfinished=_unfinished(found),
        notes=tuple(notes),
        awaited=awaiting,
        **_certificates_of(found, now=now),
    )


def _due_of_authorities(
    found: Found,
    authorities: t.Iterable[WantedAuthority],
    infos: t.Mapping[str, AuthorityInfo],
    *,
    now: int,
    revoked: t.Sequence[Revocation],
) -> list[Signing]:
    """Return what is due of authorities and their lists."""
    changes: list[Signing] = []
    for authority in sorted(authorities, key=lambda each: each.name):
        info = infos.get(authority.name, AuthorityInfo(authority.name))
        had_root = authority_target(authority.name, "root") in found.journal.issued
        changes += plan_authority(authority, found=info, now=now, had_root=had_root, revoked=revoked)
    return changes


def _due_of_identity(
    found: Found,
    identity: WantedIdentity,
    asked: Asked | None,
    *,
    now: int,
    held: t.Collection[str] | None,
    fallen: t.Collection[str],
) -> tuple[Signing | None, Awaited | None]:
    """Return what is due of an identity, and for whom it waits where others sign it."""
    there = found.identities.get(identity.name)
    if asked is None:
        return plan_identity(identity, found=there, now=now, held=held, revoked=fallen), None
    on_host = held if identity.key_at == "host" else None
    return _requested(identity, there, asked, now=now, on_host=on_host)


def _certificates_of(found: Found, *, now: int) -> dict[str, t.Any]:
    """Return the certificates and lists of authorities, as the view has them: ours, and the lists of others."""
    ours = sorted(found.authorities.items())
    rooted = [(name, authority.root) for name, authority in ours if authority.root]
    others = sorted(found.lists.items())
    return {
        "trust": {
            **{name: (root.info.sha256,) for name, root in rooted},
            **{name: each.sha256 for name, each in others},
        },
        "roots": {
            **{name: (root.pem,) for name, root in rooted},
            **{name: tuple(pem.decode() for pem in each.pems) for name, each in others},
        },
        "issuing": {name: tuple(ca.pem for ca in authority.issuing) for name, authority in ours},
        "crls": {name: _lists_of(authority) for name, authority in ours},
        "lists": {name: tuple(list_name(name, ca) for ca in authority.living(now)) for name, authority in ours},
    }


def _requested(
    wanted: WantedIdentity,
    held: IdentityInfo | None,
    asked: Asked,
    *,
    now: int,
    on_host: t.Collection[str] | None,
) -> tuple[Signing | None, Awaited | None]:
    """Return what to do about an identity that others sign, and for whom it waits.

    A request whose key the identity has is answered already; a run was stopped before it could say so. ``on_host`` are
    the keys that its host has, where they are born there and somebody looked.
    """
    request = asked.request.open if asked.request else None
    answer = asked.answer.answer if asked.answer else None
    if request and held and request.spki_sha256 == held.spki_sha256:
        request, answer = None, None
    given: dict[str, t.Any] = {"found": held, "request": request, "answer": answer, "now": now, "held": on_host}
    change = plan_requested(wanted, is_shown=asked.is_shown, **given)
    awaits = awaited(wanted, places=asked.places, **given)
    return change, awaits


def _lists_of(authority: Authority) -> tuple[str, ...]:
    return tuple(ca.crl.decode("ascii", "replace") for ca in authority.cas if ca.crl and ca.info.crl)


def _unfinished(found: Found) -> tuple[str, ...]:
    return tuple(
        "a run that was stopped had announced %s (serial %s) and never published it" % (intent.target, serial)
        for serial, intent in sorted(found.journal.open.items(), key=lambda item: item[1].target)
        if serial not in found.published
    )


def refuse_contradictions(
    authorities: t.Sequence[WantedAuthority], identities: t.Sequence[WantedIdentity], lists: t.Mapping[str, TrustList]
) -> None:
    """Refuse names that are given twice, and identities whose authority cannot issue them.

    Raises:
        StoreError: naming them.
    """
    _refuse_doubles([*(each.name for each in authorities), *lists], [each.name for each in identities])
    files: dict[str, str] = {}
    for wanted in identities:
        other = files.setdefault(identity_file(wanted.name).lower(), wanted.name)
        if other != wanted.name:
            raise StoreError("identities %s and %s differ in case only; rename one" % (other, wanted.name))
    ours = {wanted.name for wanted in authorities}
    for wanted in identities:
        known = ours if wanted.issuer == "own" else set(lists)
        if wanted.authority not in known:
            raise StoreError(
                "identity %s names authority %s; the authorities %s are %s"
                % (
                    wanted.name,
                    wanted.authority,
                    "of ours" if wanted.issuer == "own" else "with a trust_file",
                    ", ".join(sorted(known)) or "not given",
                )
            )


def _refuse_doubles(authorities: t.Sequence[str], identities: t.Sequence[str]) -> None:
    for what, names in (("authority", authorities), ("identity", identities)):
        double = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        if double is not None:
            raise StoreError("%s %s is given twice; give each name once" % (what, double))
