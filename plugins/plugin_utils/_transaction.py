# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One batch: announce, sign, write, publish; the caller holds both locks; private to this collection."""

from __future__ import annotations

import dataclasses
import datetime
import os
import secrets
import typing as t
from dataclasses import dataclass
from functools import partial

from cryptography import x509

from ..module_utils._core._issuing import Signing
from ..module_utils._core._material import (
    IdentityInfo,
    Revocation,
    WantedAuthority,
    WantedIdentity,
    authority_target,
    identity_of,
    identity_target,
)
from . import _pki
from ._csr import Request
from ._folder import Batch, Folder, StoreError
from ._found import Authority, Found, as_issued, identity_file, issuing_part
from ._journal import Intent, Issued, Journal, JournalState, abandoned, crl_numbered, intents, issued, revocations
from ._parallel import spread
from ._secrets import FILE as SECRET_FILE
from ._secrets import Later, Passphrases, Secret, new_secret, open_secret, passphrase_for_new


@dataclass(frozen=True, repr=False)
class Opened:
    """A store folder's secret, and the content of its file where that is still to be written."""

    secret: Secret
    new: Later[bytes] | None = None


def open_secrets(
    folders: tuple[Folder, Folder], changes: t.Sequence[Signing], passphrases: Passphrases, *, make: bool
) -> dict[str, Opened]:
    """Open the secrets that the changes need, side by side, because scrypt takes its time.

    Where a store has none yet, it is made if ``make`` says so; else only the passphrase is looked at.
    """

    wanted = {}
    if any(change.act == "sign" for change in changes):
        wanted["authorities"] = folders[0], passphrases.authorities
    if any(identity_of(change.target) and not change.keyless for change in changes):
        wanted["identities"] = (folders[1], passphrases.identities)
    opening = {
        store: Later(partial(open_secret, folder, store=store, passphrase=passphrase))
        for store, (folder, passphrase) in wanted.items()
    }
    opened = {}
    for store, (folder, passphrase) in wanted.items():
        secret = opening[store].result()
        if secret is not None:
            opened[store] = Opened(secret)
        elif make:
            opened[store] = Opened(*new_secret(folder, store=store, passphrase=passphrase))
        else:
            passphrase_for_new(folder, store=store, passphrase=passphrase)
    return opened


@dataclass(frozen=True, repr=False)
class _Request:
    """A certificate to make: its key and serial number exist, its signature does not.

    The private half of the key is None where it was born on a host.
    """

    target: str
    authority: str
    part: str
    key: _pki.PrivateKey | None
    public: _pki.PublicKey
    serial: int
    spki_sha256: str
    reason: str
    identity: WantedIdentity | None = None

    @property
    def own_key(self) -> _pki.PrivateKey:
        """The key of an authority, which is always made here."""
        return t.cast("_pki.PrivateKey", self.key)


@dataclass(frozen=True, repr=False)
class _Chain:
    """What stands above the identities of an authority."""

    issuer: _pki.Signer
    pem: bytes
    root: x509.Certificate


class Transaction:
    """One batch, under both locks."""

    def __init__(
        self,
        authority_folder: Folder,
        identity_folder: Folder,
        found: Found,
        opened: t.Mapping[str, Opened],
        *,
        now: int,
        workers: int | None,
    ) -> None:
        self._authority_folder = authority_folder
        self._identity_folder = identity_folder
        self._found = found
        self._opened = opened
        self._now = now
        self._workers = workers
        self._journal = Journal(authority_folder)
        at = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat()
        self._stamp = {"batch": secrets.token_hex(8), "at": at}
        self._issued: list[Issued] = []
        self._revoked: list[Revocation] = []
        self._own: dict[str, Folder] = {}
        self._signers: dict[tuple[str, str], tuple[_pki.Signer, bytes]] = {}

    def close(self) -> None:
        """Leave no temporary files, and let the folders go."""
        for folder in self._own.values():
            folder.sweep()
            folder.close()

    def run(
        self,
        authorities: t.Sequence[WantedAuthority],
        identities: t.Sequence[WantedIdentity],
        due: t.Mapping[str, str],
        asked: t.Mapping[str, Request],
        revoke: t.Sequence[Revocation] = (),
    ) -> dict[str, IdentityInfo]:
        """Make everything that we sign and is due, and return the new identities; ``asked`` is what hosts ask for."""
        if not due:
            return {}
        known = {each.serial for each in self._found.journal.revoked}
        fresh = [dataclasses.replace(each, at=self._now) for each in revoke if each.serial not in known]
        self._revoked = [*self._found.journal.revoked, *fresh]
        requests = self._requests(authorities, identities, due, asked)
        numbers = self._crl_numbers(authorities, due)
        self._announce(requests, numbers, fresh)
        batch = Batch()
        self._add_secret("authorities", self._authority_folder, batch)
        self._make_authorities(authorities, requests, numbers, batch)
        self._add_secret("identities", self._identity_folder, batch)
        made = self._make_identities([request for request in requests if request.identity], batch)
        batch.publish()
        self._journal.append(issued(self._issued, **self._stamp), state=JournalState())
        return made

    def _add_secret(self, store: str, folder: Folder, batch: Batch) -> None:
        opened = self._opened.get(store)
        if opened is not None and opened.new is not None:
            batch.add(folder, SECRET_FILE, opened.new.result())

    # announce

    def _requests(
        self,
        authorities: t.Sequence[WantedAuthority],
        identities: t.Sequence[WantedIdentity],
        due: t.Mapping[str, str],
        asked: t.Mapping[str, Request],
    ) -> list[_Request]:
        plans: list[tuple[str, str, str, str, WantedIdentity | None]] = []
        for authority in authorities:
            for part in ("root", "issuing"):
                target = authority_target(authority.name, part)
                if target in due:
                    plans.append((target, authority.name, part, authority.key_type, None))
        for wanted in identities:
            target = identity_target(wanted.name)
            if target in due:
                plans.append((target, wanted.authority, "identity", wanted.key_type, wanted))
        born = [asked[plan[4].name].public if plan[4] and plan[4].key_at == "host" else None for plan in plans]
        made = iter(self._keys([plan[3] for plan, public in zip(plans, born, strict=True) if public is None]))
        taken = set(self._found.journal.serials)
        requests = []
        for (target, name, part, _key_type, identity), own in zip(plans, born, strict=True):
            key = next(made) if own is None else None
            public = own or t.cast("_pki.PrivateKey", key).public_key()
            digest = _pki.sha256(_pki.public_bytes(public))
            requests.append(
                _Request(target, name, part, key, public, _new_serial(taken), digest, due[target], identity)
            )
        return requests

    def _keys(self, key_types: t.Sequence[str]) -> list[_pki.PrivateKey]:
        """Make keys; RSA takes a tenth of a second each, so those are made side by side."""
        rsa = [index for index, key_type in enumerate(key_types) if key_type.startswith("rsa")]
        made = spread(lambda n: _pki.plain_pem(_pki.KEY_TYPES[key_types[rsa[n]]]()), len(rsa), workers=self._workers)
        ready = {index: _pki.load_plain(pem) for index, pem in zip(rsa, made, strict=True)}
        return [ready[i] if i in ready else _pki.KEY_TYPES[key_type]() for i, key_type in enumerate(key_types)]

    def _crl_numbers(
        self, authorities: t.Sequence[WantedAuthority], due: t.Mapping[str, str]
    ) -> dict[tuple[str, str], int]:
        """Return the numbers of the lists to make, by authority and part: from the clock, so a restore repeats none."""
        numbers = {}
        for authority in authorities:
            held = self._found.authorities.get(authority.name, Authority())
            newest = held.issuing[-1].info.number if held.issuing else 0
            fresh = authority_target(authority.name, "issuing") in due
            parts = {"root CRL": "root", "issuing CRL": issuing_part(newest + 1 if fresh else newest)}
            parts.update({"issuing %d CRL" % ca.info.number: issuing_part(ca.info.number) for ca in held.issuing})
            for label, part in parts.items():
                if authority_target(authority.name, label) in due:
                    before = self._found.journal.crl_numbers.get("%s/%s" % (authority.name, part), 0)
                    seen = [ca.info.crl.number for ca in held.cas if ca.info.crl]
                    numbers[authority.name, part] = max([self._now, before + 1, *[number + 1 for number in seen]])
        return numbers

    def _announce(
        self,
        requests: t.Sequence[_Request],
        numbers: t.Mapping[tuple[str, str], int],
        revoked: t.Sequence[Revocation],
    ) -> None:
        """Put on the disk what is about to be signed, and close what an earlier run announced."""
        left = sorted(self._found.journal.open)
        published = self._found.published
        entries = issued([published[serial] for serial in left if serial in published], **self._stamp)
        entries += abandoned([serial for serial in left if serial not in published], **self._stamp)
        entries += intents([self._intent(request, requests) for request in requests], **self._stamp)
        entries += revocations(revoked, **self._stamp)
        entries += [crl_numbered("%s/%s" % key, number, **self._stamp) for key, number in numbers.items()]
        self._journal.append(entries, state=self._found.journal)

    def _intent(self, request: _Request, requests: t.Sequence[_Request]) -> Intent:
        issuer_part = "issuing" if request.identity else "root"
        fresh = (r.spki_sha256 for r in requests if r.authority == request.authority and r.part == issuer_part)
        held = self._found.authorities.get(request.authority, Authority())
        issuer = held.issuing[-1] if request.identity and held.issuing else held.root
        return Intent(
            target=request.target,
            authority=request.authority,
            serial=_pki.serial_text(request.serial),
            spki_sha256=request.spki_sha256,
            issuer_spki_sha256=next(fresh, issuer.info.spki_sha256 if issuer else request.spki_sha256),
            names=request.identity.names if request.identity else (),
            usages=request.identity.usages if request.identity else (),
            days=request.identity.days if request.identity else 0,
            reason=request.reason,
        )

    # sign

    def _make_authorities(
        self,
        authorities: t.Sequence[WantedAuthority],
        requests: t.Sequence[_Request],
        numbers: t.Mapping[tuple[str, str], int],
        batch: Batch,
    ) -> None:
        by_part = {(r.authority, r.part): r for r in requests if not r.identity}
        for authority in authorities:
            name = authority.name
            request = by_part.get((name, "root"))
            if request:
                root = _pki.build_root(authority, key=request.own_key, serial=request.serial, now=self._now)
                self._take_in(name, "root", root, batch)
            request = by_part.get((name, "issuing"))
            if request:
                held = self._found.authorities.get(name, Authority())
                number = 1 + (held.issuing[-1].info.number if held.issuing else 0)
                issuing = _pki.build_issuing(
                    authority,
                    number=number,
                    key=request.own_key,
                    serial=request.serial,
                    root=self._signer(name, "root"),
                    now=self._now,
                )
                self._take_in(name, issuing_part(number), issuing, batch)
        for (name, part), number in numbers.items():
            life = _pki.ROOT_CRL_LIFE if part == "root" else _pki.ISSUING_CRL_LIFE
            signer = self._signer(name, part)
            issuer = _pki.der_sha256(signer.certificate)
            revoked = [each for each in self._revoked if each.issuer == issuer and each.not_after >= self._now]
            crl = _pki.build_crl(signer, number=number, life=life, now=self._now, revoked=revoked)
            batch.add(self._folder_of(name), part + ".crl.pem", crl)

    def _take_in(self, name: str, part: str, signer: _pki.Signer, batch: Batch) -> None:
        """Have a new authority sign in this batch, and its file published with it."""
        pem = _pki.certificate_pem(signer.certificate)
        self._issued.append(as_issued(_pki.ca_info(signer.certificate, number=0, crl=None)))
        digest = _pki.sha256(_pki.public_bytes(signer.key))
        key = _pki.encrypted_pem(signer.key, self._secret("authorities").key_password(digest))
        self._signers[name, part] = signer, pem
        batch.add(self._folder_of(name), part + ".pem", _pki.Bundle((pem,), key).to_bytes())

    def _folder_of(self, name: str) -> Folder:
        if name not in self._own:
            self._own[name] = Folder(os.path.join(self._authority_folder.path, name))
            self._own[name].make()
            self._own[name].sweep()
        return self._own[name]

    def _secret(self, store: str) -> Secret:
        return self._opened[store].secret

    def _signer(self, name: str, part: str) -> _pki.Signer:
        return self._signer_and_pem(name, part)[0]

    def _signer_and_pem(self, name: str, part: str) -> tuple[_pki.Signer, bytes]:
        if (name, part) not in self._signers:
            held = self._found.authorities.get(name, Authority())
            ca = next((ca for ca in held.cas if ca.part == part), None)
            if ca is None:
                raise StoreError("authority %s has no %s in the store" % (name, part))
            password = self._secret("authorities").key_password(ca.info.spki_sha256)
            key = _pki.load_key(ca.bundle, password=password, where=ca.where)
            signer = _pki.Signer(ca.certificate, key, ca.info.key_type)
            self._signers[name, part] = signer, ca.bundle.certificates[0]
        return self._signers[name, part]

    def _newest_issuing(self, name: str) -> str:
        fresh = [part for authority, part in self._signers if authority == name and part != "root"]
        held = self._found.authorities.get(name, Authority())
        return max(fresh + [ca.part for ca in held.issuing], default="issuing")

    def _chain_of(self, name: str) -> _Chain:
        issuer, pem = self._signer_and_pem(name, self._newest_issuing(name))
        held = self._found.authorities.get(name, Authority()).root
        root = held.certificate if held else self._signer(name, "root").certificate
        return _Chain(issuer, pem, root)

    def _make_identities(self, requests: t.Sequence[_Request], batch: Batch) -> dict[str, IdentityInfo]:
        if not requests:
            return {}
        secret = self._secret("identities")
        chains = {name: self._chain_of(name) for name in {request.authority for request in requests}}

        def make(index: int) -> tuple[str, IdentityInfo]:
            request = requests[index]
            wanted = t.cast("WantedIdentity", request.identity)
            above = chains[request.authority]
            leaf = _pki.build_leaf(
                wanted, key=request.public, serial=request.serial, issuer=above.issuer, now=self._now
            )
            key = None
            if request.key is not None:
                key = _pki.encrypted_pem(request.key, secret.key_password(request.spki_sha256))
            content = _pki.Bundle((_pki.certificate_pem(leaf), above.pem), key).to_bytes()
            chain = [above.issuer.certificate]
            info = _pki.identity_info(
                wanted.name, leaf, chain=chain, root=above.root, authority=request.authority, key_at=wanted.key_at
            )
            return self._identity_folder.write_temporary(content), info

        made = {}
        few = 1 if len(requests) < 64 else None  # below this a fork costs more than it saves
        for temporary, info in spread(make, len(requests), workers=self._workers or few):
            batch.adopt(self._identity_folder, temporary, identity_file(info.name))
            self._issued.append(as_issued(info))
            made[info.name] = info
        return made


def _new_serial(taken: set[str]) -> int:
    while True:
        serial = x509.random_serial_number()  # 159 random bits (BR 7.1.2 asks for 64)
        if _pki.serial_text(serial) not in taken:
            taken.add(_pki.serial_text(serial))
            return serial
