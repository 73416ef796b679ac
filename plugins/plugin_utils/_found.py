# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the store, read and checked, without a lock and without a passphrase; private to this collection."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import typing as t
from dataclasses import dataclass, field

from cryptography import x509

from ..module_utils._core._material import AuthorityInfo, CaInfo, IdentityInfo, WantedIdentity, identity_of
from ..module_utils._core._names import identity_name
from . import _pki
from ._folder import Folder
from ._journal import Issued, Journal, JournalState
from ._place import StorePaths
from ._trust_list import TrustList, is_issued, read_trust_lists

_CA_FILE = re.compile(r"(?:root|issuing-(\d{6}))\.pem\Z")


@dataclass(frozen=True)
class Ca:
    """A certificate authority's file, read."""

    bundle: _pki.Bundle
    certificate: x509.Certificate
    info: CaInfo
    crl: bytes | None
    where: str

    @property
    def part(self) -> str:
        """The name of its files: ``root``, or ``issuing-`` and its number."""
        return issuing_part(self.info.number) if self.info.number else "root"

    @property
    def pem(self) -> str:
        """Its certificate."""
        return self.bundle.certificates[0].decode()


@dataclass(frozen=True)
class Authority:
    """An authority's folder, read."""

    root: Ca | None = None
    issuing: tuple[Ca, ...] = ()

    @property
    def cas(self) -> tuple[Ca, ...]:
        """Both its sorts, the root first."""
        return (self.root, *self.issuing) if self.root else self.issuing

    def living(self, now: int) -> tuple[Ca, ...]:
        """Return those of them that have not ended, whose lists its readers are given."""
        return tuple(ca for ca in self.cas if now <= ca.info.not_after)

    def info(self, name: str) -> AuthorityInfo:
        """Return what is public about it."""
        return AuthorityInfo(name, self.root.info if self.root else None, tuple(ca.info for ca in self.issuing))


def list_name(authority: str, ca: Ca) -> str:
    """Return what a generation's manifest calls a revocation list: whose it is, and its number."""
    return "%s/%s %d" % (authority, ca.part, ca.info.crl.number if ca.info.crl else 0)


@dataclass(frozen=True)
class Found:
    """Everything of the store that matters to what is wanted.

    Attributes:
        authorities: every authority of the store.
        lists: the CA lists of others, by name.
        identities: the wanted identities that have a certificate.
        journal: what the journal says.
        holds_identities: whether there is any identity at all.
        published: by serial number, the certificates of all these, and of those whose intent is still open.
    """

    authorities: t.Mapping[str, Authority]
    identities: t.Mapping[str, IdentityInfo]
    journal: JournalState
    holds_identities: bool
    published: t.Mapping[str, Issued]
    lists: t.Mapping[str, TrustList] = field(default_factory=dict)


@contextlib.contextmanager
def opened(paths: StorePaths) -> t.Iterator[tuple[Folder, Folder]]:
    """Hold the folders of authorities and of identities open."""
    with (
        contextlib.closing(Folder(paths.authorities, guarded=True)) as authorities,
        contextlib.closing(Folder(paths.identities, guarded=True)) as identities,
    ):
        yield authorities, identities


def look(
    authority_folder: Folder,
    identity_folder: Folder,
    wanted: t.Iterable[WantedIdentity],
    *,
    lists: t.Mapping[str, TrustList],
) -> Found:
    """Return what the store holds of the wanted identities, and every authority; ``lists`` are those of others."""
    authorities = read_authorities(authority_folder)
    journal = Journal(authority_folder).read()
    announced = [name for intent in journal.open.values() if (name := identity_of(intent.target))]
    issuers = {each.name: each.authority for each in wanted}
    reader = IdentityReader(identity_folder, authorities, lists)
    names = dict.fromkeys([*issuers, *announced])
    read = {name: info for name in names if (info := reader.read(name, issuers.get(name, "")))}
    identities = {name: read[name] for name in issuers if name in read}
    holds = any(name.endswith((".pem", ".requested")) for name in identity_folder.names())
    return Found(authorities, identities, journal, holds, published(authorities, read.values()), lists)


def published(authorities: t.Mapping[str, Authority], identities: t.Iterable[IdentityInfo]) -> dict[str, Issued]:
    """Return what was published, by serial number."""
    entries = [as_issued(ca.info) for authority in authorities.values() for ca in authority.cas]
    entries += [as_issued(info) for info in identities]
    return {entry.serial: entry for entry in entries}


def as_issued(info: CaInfo | IdentityInfo) -> Issued:
    """Return what the journal keeps of a published certificate."""
    return Issued(info.serial, info.sha256, info.not_after)


def read_authorities(folder: Folder) -> dict[str, Authority]:
    """Return every authority of the store by name."""
    found = {}
    for name, own in folder.inner():
        cas = {file: _read_ca(own, file) for file in own.names() if _CA_FILE.match(file)}
        root = cas.pop("root.pem", None)
        if root is not None or cas:
            found[name] = Authority(root, tuple(cas[file] for file in sorted(cas)))
    return found


@dataclass(frozen=True)
class Standing:
    """What may be gone back to.

    Attributes:
        revoked: serial numbers that a list of the store names, and fingerprints of the authorities among them.
        roots: fingerprints of every root of the store.
    """

    revoked: frozenset[str]
    roots: frozenset[str]


def standing(paths: StorePaths, *, trust_files: t.Mapping[str, str] | None = None) -> Standing:
    """Return what of the store's certificates still stands, and of the CA lists of others, by authority."""
    others = [sha256 for each in read_trust_lists(trust_files or {}).values() for sha256 in each.sha256]
    with opened(paths) as (folder, _unused):
        authorities = read_authorities(folder).values()
    cas = [ca for authority in authorities for ca in authority.cas]
    serials = {serial for ca in cas if ca.crl for serial in _pki.revoked_serials(ca.crl)}
    fallen = {ca.info.sha256 for ca in cas if ca.info.serial in serials}
    roots = [each.root.info.sha256 for each in authorities if each.root]
    return Standing(frozenset(serials | fallen), frozenset([*roots, *others]))


def _read_ca(folder: Folder, file: str) -> Ca:
    where = os.path.join(folder.path, file)
    bundle = _pki.parse_bundle(folder.read(file) or b"", where=where, least=1)
    certificate = _pki.load_certificate(bundle.certificates[0], where=where)
    crl_file = file[: -len(".pem")] + ".crl.pem"
    crl = folder.read(crl_file)
    crl_info = crl and _pki.read_crl_info(crl, issuer=certificate, where=os.path.join(folder.path, crl_file))
    match = _CA_FILE.match(file)
    number = int(match.group(1) or 0) if match else 0
    return Ca(bundle, certificate, _pki.ca_info(certificate, number=number, crl=crl_info or None), crl, where)


class IdentityReader:
    """Reads identities of the store; a thousand of them share one issuing certificate, which is parsed once."""

    def __init__(
        self, folder: Folder, authorities: t.Mapping[str, Authority], lists: t.Mapping[str, TrustList]
    ) -> None:
        self._folder = folder
        self._lists = lists
        self._authorities = {
            ca.info.sha256: (name, authority) for name, authority in authorities.items() for ca in authority.issuing
        }
        self._parsed: dict[bytes, x509.Certificate] = {}

    def read(self, name: str, authority: str = "") -> IdentityInfo | None:
        """Return what is public about an identity, or None where there is none.

        ``authority`` is the one that is meant where CA lists of several have the root above it.
        """
        bundle = read_bundle(self._folder, name)
        if bundle is None:
            return None
        where = os.path.join(self._folder.path, identity_file(name))
        chain = tuple(self._certificate(pem, where=where) for pem in bundle.certificates[1:])
        issuer, root = self._above(bundle, chain, where=where, prefer=authority)
        return _pki.read_identity_info(
            name,
            bundle.certificates[0],
            chain=chain,
            root=root,
            authority=issuer,
            key_at=bundle.key_at,
            where=where,
        )

    def root_above(self, name: str) -> x509.Certificate | None:
        """Return the root above an identity; None where it is not known."""
        bundle = read_bundle(self._folder, name)
        where = os.path.join(self._folder.path, identity_file(name))
        if bundle is None:
            return None
        chain = tuple(self._certificate(pem, where=where) for pem in bundle.certificates[1:])
        return self._above(bundle, chain, where=where, prefer="")[1]

    def _above(
        self, bundle: _pki.Bundle, chain: tuple[x509.Certificate, ...], *, where: str, prefer: str
    ) -> tuple[str, x509.Certificate | None]:
        """Return who issued a chain, and the root above it: an authority of ours, or one of others' lists."""
        if chain:
            name, authority = self._authorities.get(_pki.der_sha256(chain[0]), ("", Authority()))
            if name:
                return name, authority.root.certificate if authority.root else None
        if not self._lists:
            return "", None
        last = chain[-1] if chain else self._certificate(bundle.certificates[0], where=where)
        for name in sorted(self._lists, key=lambda each: (each != prefer, each)):
            for anchor in self._lists[name].anchors:
                if is_issued(last, anchor):
                    return name, anchor
        return "", None

    def _certificate(self, pem: bytes, *, where: str) -> x509.Certificate:
        if pem not in self._parsed:
            self._parsed[pem] = _pki.load_certificate(pem, where=where)
        return self._parsed[pem]


def read_bundle(folder: Folder, name: str) -> _pki.Bundle | None:
    """Return the file of an identity in its parts, or None where there is none."""
    text = folder.read(identity_file(name))
    where = os.path.join(folder.path, identity_file(name))
    return None if text is None else _pki.parse_bundle(text, where=where, least=1, keyless=True)


@functools.cache  # thousands of names are checked once for each file of theirs that is looked at
def identity_file(name: str) -> str:
    """Return an identity's file name."""
    return identity_name(name, "identities") + ".pem"


def issuing_part(number: int) -> str:
    """Return the name of the files of an issuing authority."""
    return "issuing-%06d" % number
