# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates this store can revoke: those of its own authorities; private to this collection."""

from __future__ import annotations

import typing as t

from ._few import few
from ._material import AuthorityInfo, MaterialRefused, Revocation

#: Characters of a fingerprint by which people tell it from others.
_SHOWN: t.Final = 16


def refuse_what_others_revoke(
    revoke: t.Iterable[Revocation], *, authorities: t.Mapping[str, AuthorityInfo], named: t.Collection[str]
) -> None:
    """Refuse to revoke what no list that is signed here could name: nobody would ever refuse it.

    Args:
        revoke: certificates to revoke.
        authorities: what the store holds, by name.
        named: the authorities whose lists are signed.

    Raises:
        MaterialRefused: a certificate was issued by somebody else, or by an authority that is not named.
    """
    for each in revoke:
        what = "revoke: certificate %s of %s" % (each.serial, each.name)
        issuer = next((name for name, info in authorities.items() if each.issuer in _fingerprints(info)), None)
        if issuer is None:
            known = [
                "%s %s" % (name, one[:_SHOWN]) for name, info in authorities.items() for one in _fingerprints(info)
            ]
            raise MaterialRefused(
                "%s was issued by %r, and the store has no such authority (it has %s); take the issuer's fingerprint"
                " from the result of connsec.tls.pki, or have whoever issued it revoke it"
                % (what, each.issuer, few(known) or "none")
            )
        if issuer not in named:
            raise MaterialRefused(
                "%s was issued by authority %s, whose list is not signed here; name it in `authorities`"
                % (what, issuer)
            )


def _fingerprints(info: AuthorityInfo) -> list[str]:
    """Return the fingerprints of an authority's certificates, the newest first."""
    return [ca.sha256 for ca in (*reversed(info.issuing), *([info.root] if info.root else []))]
