# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of authorities and identities: look at it, fill it, take material out of it; private to this collection.

Layout (folders 0700, files 0600)::

    authorities/secret.json                         the master key, under the passphrase
    authorities/journal.jsonl                       what was about to be signed, and was
    authorities/<name>/root.pem                     certificate and encrypted key, one file each
    authorities/<name>/issuing-000001.pem
    authorities/<name>/{root,issuing-000001}.crl.pem
    identities/secret.json
    identities/<name>.pem                           certificate, issuing certificate, encrypted key
    identities/<name>.requested                     what others are asked to sign, and its encrypted key
    requests/<name>/{request,answer}.pem            the request for them, and where their answer belongs

A key and its certificate share a file, so no reader ever sees one without the other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
from dataclasses import dataclass
from types import MappingProxyType

from ..module_utils._core._lost_store import refuse_refill
from ..module_utils._core._material import NOT_ISSUED_YET, Revocation, WantedAuthority, WantedIdentity, identity_of
from ._asking import Asking
from ._csr import Request, read_request
from ._folder import Folder, StoreError
from ._found import look, opened, standing
from ._holdings import MaterialFiles, NotIssued, material
from ._place import StorePaths, refuse_bad_place, store_paths
from ._secrets import PASSPHRASES, Passphrases, passphrases_of
from ._transaction import Transaction, open_secrets
from ._trust_list import TrustList, read_trust_lists
from ._view import Held, StoreView, inspect, look_at_requests, view_of, without_requests

__all__ = [
    "NOT_ISSUED_YET",
    "PASSPHRASES",
    "Held",
    "MaterialFiles",
    "NotIssued",
    "Passphrases",
    "Request",
    "StoreError",
    "StorePaths",
    "StoreView",
    "carry_out",
    "inspect",
    "material",
    "passphrases_of",
    "preflight",
    "read_request",
    "refuse_bad_place",
    "standing",
    "store_paths",
]


def preflight(
    paths: StorePaths, view: StoreView, *, passphrases: Passphrases, generations_seen: t.Sequence[str] = ()
) -> StoreView:
    """Return the view with what this run can do. Changes nothing.

    A run without the authorities' passphrase goes on as long as nothing that is due is urgent.

    Raises:
        StoreError: the run cannot start: a passphrase is missing or wrong, or a store was lost.
    """
    if not passphrases.authorities:
        view = view.without_signing()
    if view.changes:
        _refuse_refill(paths, view, generations_seen)
        with opened(paths) as folders:
            open_secrets(folders, view.changes, passphrases, make=False)
    return view


def _refuse_refill(paths: StorePaths, view: StoreView, generations_seen: t.Sequence[str]) -> None:
    identities_due = [change for change in view.changes if identity_of(change.target)]
    if not view.authorities and len(identities_due) < len(view.changes):
        refuse_refill(paths.authorities, generations_seen=generations_seen, holds_authorities=True)
    elif identities_due and not view.holds_identities:
        refuse_refill(paths.identities, generations_seen=generations_seen, holds_authorities=False)


def carry_out(
    paths: StorePaths,
    authorities: t.Sequence[WantedAuthority],
    identities: t.Sequence[WantedIdentity],
    *,
    now: int,
    passphrases: Passphrases,
    generations_seen: t.Sequence[str] = (),
    requests: t.Mapping[str, Request] = MappingProxyType({}),
    held: Held = MappingProxyType({}),
    revoke: t.Sequence[Revocation] = (),
    workers: int | None = None,
    trust_files: t.Mapping[str, str] | None = None,
) -> StoreView:
    """Do what is due, in one transaction, and return the new view with the changes that were made.

    The order is the safety: intents on the disk, then signatures, then all files on the disk under temporary names,
    then their names, authorities before identities, then the journal's last word.

    Args:
        paths: of the store.
        authorities, identities: what is wanted.
        now: seconds since 1970.
        passphrases: what the user gave.
        generations_seen: the hosts that show generations of ours.
        requests: by identity, what hosts ask for of which the key is born there; without one its certificate waits.
        held: by identity, the keys that its host had, where they are born there and somebody looked.
        revoke: certificates to revoke.
        workers: how many processes sign; by default one for each processor.
        trust_files: the CA lists of authorities that are not ours, by name.
    """
    held = {**held, **{name: request.held or (request.spki_sha256,) for name, request in requests.items()}}
    lists = read_trust_lists(trust_files or {})
    job = _Job(paths, authorities, identities, now, passphrases, generations_seen, requests, held, revoke, lists)
    found = inspect(paths, authorities, identities, now=now, held=held, revoke=revoke, trust_files=trust_files)
    view = job.able(found)
    if not view.changes:
        return view
    with opened(paths) as (authority_folder, identity_folder):
        authority_folder.make()
        identity_folder.make()
        with authority_folder.locked(), identity_folder.locked():
            return job.run(authority_folder, identity_folder, workers=workers)


@dataclass(frozen=True, repr=False)
class _Job:
    """What one transaction is to do, in the words of :func:`carry_out`; ``lists`` are the CA lists of others."""

    paths: StorePaths
    authorities: t.Sequence[WantedAuthority]
    identities: t.Sequence[WantedIdentity]
    now: int
    passphrases: Passphrases
    generations_seen: t.Sequence[str]
    requests: t.Mapping[str, Request]
    held: Held
    revoke: t.Sequence[Revocation]
    lists: t.Mapping[str, TrustList]

    def able(self, view: StoreView) -> StoreView:
        """Return a view with what this run can do."""
        born = without_requests(view, self.identities, self.requests)
        return preflight(self.paths, born, passphrases=self.passphrases, generations_seen=self.generations_seen)

    def run(self, authority_folder: Folder, identity_folder: Folder, *, workers: int | None) -> StoreView:
        """Look again, now that both folders are locked, do what is due, and return the new view with what was made."""
        folders, now, wanted = (authority_folder, identity_folder), self.now, (self.authorities, self.identities)
        found = look(*folders, self.identities, lists=self.lists)
        asked = look_at_requests(self.paths, identity_folder, self.identities, self.lists)
        view = self.able(view_of(found, asked, *wanted, now=now, held=self.held, revoke=self.revoke))
        if not view.changes:
            return view
        secrets = open_secrets(folders, view.changes, self.passphrases, make=True)
        transaction = Transaction(*folders, found, secrets, now=now, workers=workers)
        with contextlib.closing(transaction):
            issued = transaction.run(*wanted, view.acts("sign"), self.requests, self.revoke)
        identities = secrets.get("identities")
        asking = Asking(self.paths.requests, identity_folder, identities, asked, born=self.requests, now=now)
        after = look(*folders, asking.run(self.identities, view), lists=self.lists)
        asked = look_at_requests(self.paths, identity_folder, self.identities, self.lists)
        holding = dataclasses.replace(after, identities={**found.identities, **issued, **after.identities})
        new = view_of(holding, asked, *wanted, now=now)
        return dataclasses.replace(new, changes=view.changes, postponed=view.postponed, unfinished=view.unfinished)
