# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that was lost or is another one, in which nothing may be made; private to this collection.

A root that is made anew has nobody's trust, so that every identity below it would be refused. What was lost, wholly or
in part, is therefore never filled again silently.
"""

from __future__ import annotations

import typing as t

from ._errors import TlsError
from ._few import few
from ._material import AuthorityInfo


class StoreLost(TlsError):
    """The store, or a part of it, is missing or another one."""


def refuse_lost_root(found: AuthorityInfo, *, was_made: bool) -> None:
    """Refuse an authority that has no root any more.

    Args:
        found: the authority, as the store has it.
        was_made: whether the journal says that its root was issued.

    Raises:
        StoreLost: naming what tells that there was one.
    """
    if found.root is not None:
        return
    if found.issuing:
        sign = "what it signed is still there"
    elif was_made:
        sign = "the journal says that it was issued"
    else:
        return
    raise StoreLost(
        "the root of authority %s is gone from the store, and %s; restore the authority's folder from a backup, because"
        " nobody would trust a new root" % (found.name, sign)
    )


def refuse_refill(folder: str, *, generations_seen: t.Collection[str], holds_authorities: bool) -> None:
    """Refuse to fill an empty folder of the store while hosts hold generations that came from it.

    Args:
        folder: the path of the empty folder.
        generations_seen: the hosts that hold generations of ours.
        holds_authorities: whether it is the folder of the authorities, else it is that of the identities.
    """
    if not generations_seen:
        return
    why = (
        "filling it anew would replace the authorities that they trust"
        if holds_authorities
        else "filling it anew would replace every certificate that they present"
    )
    raise StoreLost(
        "the store %s is empty, while generations that came from it lie on %s; restore it from a backup or correct"
        " tls_store, because %s" % (folder, few(generations_seen), why)
    )


def refuse_foreign_store(
    store: str,
    *,
    roots: t.Collection[str],
    installed: t.Mapping[str, t.Collection[str]],
    remembered: t.Collection[str] = (),
) -> None:
    """Refuse a store that is not the one that the fleet's material came from.

    One instance of another origin is a matter of its host, and mended there. A store of whose roots no instance at all
    holds one is another store.

    Args:
        store: the path of the authorities' folder.
        roots: the SHA-256 of every root that the store holds.
        installed: for each instance that holds a generation, ``component@host``, the SHA-256 of the roots that its
            manifest names: those that it trusts, and the one above its own identity.
        remembered: the pairs that the ledger has at ``trusted`` or further.

    Raises:
        StoreLost: the store is empty or another one.
    """
    if not roots and installed:
        raise _foreign(store, "is empty, while generations are installed for %s" % few(installed))
    if not roots and remembered:
        raise _foreign(store, "is empty, while the ledger has %s at trusted or further" % few(remembered))
    named = {name: held for name, held in installed.items() if held}
    if named and not any(set(held) & set(roots) for held in named.values()):
        raise _foreign(store, "is another one: none of its roots is known to %s" % few(named))


def _foreign(store: str, what: str) -> StoreLost:
    return StoreLost(
        "the store %s %s; set tls_store to the one that their material came from, or restore that from a backup"
        % (store, what)
    )
