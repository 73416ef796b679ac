# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be issued, why, and whether it can wait for somebody who may sign; private to this collection."""

from __future__ import annotations

import datetime
import hashlib
import typing as t
from dataclasses import dataclass

from ._change import Change
from ._few import few
from ._lost_store import refuse_lost_root
from ._material import (
    DAY,
    AuthorityInfo,
    CaInfo,
    IdentityInfo,
    Revocation,
    WantedAuthority,
    WantedIdentity,
    authority_target,
    common_name_of,
    identity_target,
)

ISSUING_SIGNS_FOR = 1095 * DAY  # SP 800-57 part 1, table 1: a signature key is used for one to three years


@dataclass(frozen=True)
class Signing(Change):
    """A change of the store, on the way to a certificate or a list.

    Attributes:
        can_wait: whether the fleet goes on with what the store holds until somebody signs.
        act: ``sign`` takes a signature of an authority of ours; ``ask`` makes a request for others to sign, ``show``
            puts one where they find it again, and ``take`` takes their answer in.
        keyless: whether the store has no key of it, because that is born on its host and others sign.
    """

    can_wait: bool = False
    act: t.Literal["sign", "ask", "show", "take"] = "sign"
    keyless: bool = False


def renewal_at(name: str, *, not_before: int, not_after: int) -> int:
    """Return when an identity is due: two thirds of its life, and up to a fiftieth later, always the same for a name.

    The small delay keeps thousands of identities that were issued in one batch from being due in one second for ever.
    """
    life = not_after - not_before + 1
    spread = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return not_before + life * 2 // 3 + life * spread // (50 << 32)


# Identities


def plan_identity(
    wanted: WantedIdentity,
    *,
    found: IdentityInfo | None,
    now: int,
    held: t.Collection[str] | None = None,
    revoked: t.Collection[str] = (),
) -> Signing | None:
    """Return the change that takes an identity from what was ``found`` to what is ``wanted``, if one is needed.

    Formats are no reason: every format is made from the same key and certificate when a host is given them.

    Args:
        wanted: the identity as planned.
        found: the identity as the store has it.
        now: seconds since 1970.
        held: digests of the public halves of the keys that its host has, where they are born there; None if nobody
            looked.
        revoked: serial numbers of what is revoked.
    """
    urgent = _reason_of_ours(wanted, found=found, now=now) or reason_of_key(wanted, found=found, held=held)
    if urgent is None and found is not None and found.serial in revoked:
        urgent = "it is revoked"
    reason = urgent or _reason_to_renew(wanted, found=found, now=now)
    if reason is None:
        return None
    before, after = identity_rows(wanted, found)
    return Signing(identity_target(wanted.name), before, after, reason, can_wait=urgent is None)


def identity_rows(wanted: WantedIdentity, found: IdentityInfo | None) -> tuple[t.Any, t.Any]:
    """Return what an identity is and what it is to be, as a user may see it in a diff."""
    before, after = (
        {
            "authority": each.authority,
            "key_type": each.key_type,
            "names": list(each.names),
            "usages": list(each.usages),
        }
        if each
        else None
        for each in (found, wanted)
    )
    return before, after


def _reason_of_ours(wanted: WantedIdentity, *, found: IdentityInfo | None, now: int) -> str | None:
    """Return why a certificate that we sign cannot be used as planned; ours has a common name only where one is."""
    reason = reason_to_issue(wanted, found=found, now=now)
    if not reason and found and found.common_name != common_name_of(wanted):
        return "common name is %r, planned %r" % (found.common_name, common_name_of(wanted))
    return reason


def reason_to_issue(wanted: WantedIdentity, *, found: IdentityInfo | None, now: int) -> str | None:
    """Return why the certificate that there is cannot be used as planned."""
    if found is None:
        return "no certificate yet"
    if found.names != wanted.names:
        return "names differ: " + _difference(found.names, wanted.names)
    if found.usages != wanted.usages:
        return "usages differ: " + _difference(found.usages, wanted.usages)
    if found.key_type != wanted.key_type:
        return "key type is %s, planned %s" % (found.key_type, wanted.key_type)
    if not found.authority:
        return "its issuer is not in the store"
    if found.authority != wanted.authority:
        return "issuer is authority %s, planned %s" % (found.authority, wanted.authority)
    if wanted.common_name and found.common_name != common_name_of(wanted):
        return "common name is %r, planned %r" % (found.common_name, common_name_of(wanted))
    if now > found.not_after:
        return "it has expired"
    if now > found.chain_not_after:
        return "an authority above it has expired"
    return None


def reason_of_key(wanted: WantedIdentity, *, found: IdentityInfo | None, held: t.Collection[str] | None) -> str | None:
    """Return why nobody has the key of the certificate that there is."""
    if found is None or found.key_at != "host" or held is None or found.spki_sha256 in held:
        return None
    return "its key is not on its host any more"


def _reason_to_renew(wanted: WantedIdentity, *, found: IdentityInfo | None, now: int) -> str | None:
    """Return why a certificate that serves for now should be followed by another."""
    if found is None:
        return None
    if _life(found) > wanted.days * DAY:
        return "its life is %d days, planned %d" % (-(-_life(found) // DAY), wanted.days)
    if found.key_at != wanted.key_at:
        return "its key was made at the %s, planned at the %s" % (found.key_at, wanted.key_at)
    if now >= renewal_at(wanted.name, not_before=found.not_before, not_after=found.not_after):
        return "two thirds of its life have passed"
    return None


def _life(info: IdentityInfo) -> int:
    return info.not_after - info.not_before + 1  # both ends count (RFC 5280 4.1.2.5)


def _difference(found: t.Sequence[str], wanted: t.Sequence[str]) -> str:
    added = ["+" + name for name in sorted(set(wanted) - set(found))]
    return " ".join(added + ["-" + name for name in sorted(set(found) - set(wanted))])


def notes_on_identities(
    wanted: t.Iterable[WantedIdentity],
    *,
    found: t.Mapping[str, IdentityInfo],
    authorities: t.Mapping[str, AuthorityInfo],
) -> tuple[str, ...]:
    """Return one sentence for each issuing authority that ends before the planned end of what it issued."""
    ends = {ca.sha256: ca.not_after for authority in authorities.values() for ca in authority.issuing}
    cut: dict[tuple[str, int], list[str]] = {}
    for identity in wanted:
        info = found.get(identity.name)
        if info and _life(info) < identity.days * DAY and info.not_after == ends.get(info.chain_sha256[0]):
            cut.setdefault((info.authority, info.not_after), []).append(identity.name)
    return tuple(
        "the issuing authority of %s ends on %s, and so do the certificates of %s, earlier than planned"
        % (authority, datetime.datetime.fromtimestamp(end, datetime.timezone.utc).date(), few(names))
        for (authority, end), names in sorted(cut.items())
    )


# Authorities


def plan_authority(
    wanted: WantedAuthority,
    *,
    found: AuthorityInfo,
    now: int,
    had_root: bool = False,
    revoked: t.Sequence[Revocation] = (),
) -> tuple[Signing, ...]:
    """Return the changes that an authority needs: a root, an issuing authority, and their revocation lists.

    A root is made once; to replace it is a rotation, which is planned apart. A new issuing authority leaves the trust
    of receivers as it is, and the identities of the one before stay valid until their own renewal. Lists can always
    wait: hosts are given none that has expired.

    Args:
        wanted: the authority as planned.
        found: the authority as the store has it.
        now: seconds since 1970.
        had_root: whether the journal says that a root of it was issued.
        revoked: what has to stand on lists, whoever issued it.

    Raises:
        StoreLost: it had a root, and the store has lost it.
    """
    refuse_lost_root(found, was_made=had_root)
    made = {"key_type": wanted.key_type, "organization": wanted.organization}
    changes = []
    if found.root is None:
        after = {**made, "days": wanted.root_days}
        changes.append(Signing(authority_target(wanted.name, "root"), None, after, "no certificate yet"))
    newest = found.issuing[-1] if found.issuing else None
    issuing_reason = _reason_for_issuing(newest, now=now)
    if issuing_reason:
        before = newest and {"number": newest.number}
        after = {**made, "days": wanted.issuing_days}
        can_wait = newest is not None and now <= newest.not_after
        target = authority_target(wanted.name, "issuing")
        changes.append(Signing(target, before, after, issuing_reason, can_wait=can_wait))
    for part, ca in _lists(found, is_succeeded=issuing_reason is not None, now=now):
        crl_reason = _reason_for_crl(ca, revoked=revoked, now=now)
        if crl_reason:
            target = authority_target(wanted.name, part)
            changes.append(Signing(target, None, "a current list", crl_reason, can_wait=True))
    return tuple(changes)


def _lists(found: AuthorityInfo, *, is_succeeded: bool, now: int) -> t.Iterator[tuple[str, CaInfo | None]]:
    """Return those that have to have a list, by part; ``is_succeeded`` if a new issuing authority is made."""
    yield "root CRL", found.root
    older = found.issuing if is_succeeded else found.issuing[:-1]
    yield "issuing CRL", None if is_succeeded else found.issuing[-1]
    for ca in older:
        if now <= ca.not_after:
            yield "issuing %d CRL" % ca.number, ca


def _reason_for_issuing(issuing: CaInfo | None, *, now: int) -> str | None:
    if issuing is None:
        return "no certificate yet"
    if now > issuing.not_after:
        return "it has expired"
    if now >= issuing.not_before + ISSUING_SIGNS_FOR:
        return "its key has signed for three years"
    if now >= issuing.not_before + (issuing.not_after - issuing.not_before) * 2 // 3:
        return "two thirds of its life have passed"
    return None


def _reason_for_crl(ca: CaInfo | None, *, revoked: t.Sequence[Revocation], now: int) -> str | None:
    crl = ca.crl if ca else None
    if ca is None or crl is None:
        return "no list yet"
    missing = [each for each in revoked if each.issuer == ca.sha256 and each.serial not in crl.serials]
    names = sorted({each.name for each in missing if each.not_after >= now})
    if names:
        return "%s revoked" % (("%s is" if len(names) == 1 else "%s are") % few(names))
    if now > crl.next_update:
        return "it has expired"
    if now >= crl.this_update + (crl.next_update - crl.this_update) // 2:
        return "half of its life has passed"
    return None


def notes_on_authority(wanted: WantedAuthority, *, found: AuthorityInfo, now: int) -> tuple[str, ...]:
    """Return what somebody should know about an authority although nothing can be done about it in this run."""
    if found.root is None:
        return ()
    notes = []
    if found.root.key_type != wanted.key_type:
        notes.append(
            "authority %s has %s keys and %s is planned; this needs a rotation, so it stays as it is"
            % (wanted.name, found.root.key_type, wanted.key_type)
        )
    if now > found.root.not_after - 730 * DAY and wanted.root_days > 730:
        left = max(0, (found.root.not_after - now) // DAY)
        notes.append("the root of authority %s ends in %d days; plan its rotation" % (wanted.name, left))
    return tuple(notes)
