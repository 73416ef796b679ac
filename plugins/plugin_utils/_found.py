# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the store, read and checked, without a lock and without a passphrase; private to this collection."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t
from dataclasses import dataclass

from cryptography import x509

from ..module_utils._core._material import AuthorityInfo, CaInfo, IdentityInfo
from ..module_utils._core._names import identity_name
from . import _pki
from ._folder import Folder
from ._journal import Journal, JournalState

_CA_FILE = re.compile(r"(?:root|issuing-(\d{6}))\.pem\Z")


@dataclass(frozen=True)
class Ca:
    """A certificate authority's file, read."""

    bundle: _pki.Bundle
    certificate: x509.Certificate
    info: CaInfo
    crl: bytes | None
    where: str


@dataclass(frozen=True)
class Authority:
    """An authority's folder, read."""

    root: Ca | None = None
    issuing: tuple[Ca, ...] = ()

    def info(self, name: str) -> AuthorityInfo:
        return AuthorityInfo(name, self.root.info if self.root else None, tuple(ca.info for ca in self.issuing))


@dataclass(frozen=True)
class Found:
    """Everything of the store that matters to what is wanted."""

    authorities: t.Mapping[str, Authority]
    identities: t.Mapping[str, IdentityInfo]
    journal: JournalState
    holds_identities: bool


def identity_file(name: str) -> str:
    """Return an identity's file name."""
    return identity_name(name, "identities") + ".pem"


def look(authority_folder: Folder, identity_folder: Folder, names: t.Iterable[str]) -> Found:
    found = read_authorities(authority_folder)
    issuers = {ca.info.sha256: name for name, authority in found.items() for ca in authority.issuing}
    known_pem: dict[bytes, str] = {}
    identities = {}
    for name in names:
        info = read_identity(identity_folder, name, issuers=issuers, known_pem=known_pem)
        if info is not None:
            identities[name] = info
    journal = Journal(authority_folder).read()
    holds = any(name.endswith(".pem") for name in identity_folder.names())
    return Found(found, identities, journal, holds)


def read_authorities(folder: Folder) -> dict[str, Authority]:
    found = {}
    for name in folder.names():
        path = os.path.join(folder.path, name)
        if not os.path.isdir(path) or os.path.islink(path):
            continue
        with contextlib.closing(Folder(path)) as own:
            cas = {file: _read_ca(own, file) for file in own.names() if _CA_FILE.match(file)}
        root = cas.pop("root.pem", None)
        if root is not None or cas:
            found[name] = Authority(root, tuple(cas[file] for file in sorted(cas)))
    return found


def _read_ca(folder: Folder, file: str) -> Ca:
    where = os.path.join(folder.path, file)
    bundle = _pki.parse_bundle(folder.read(file) or b"", where=where, least=1)
    certificate = _pki.load_certificate(bundle.certificates[0], where=where)
    crl_file = _crl_file(file)
    crl = folder.read(crl_file, limit=1 << 26)
    crl_info = crl and _pki.read_crl_info(crl, issuer=certificate, where=os.path.join(folder.path, crl_file))
    match = _CA_FILE.match(file)
    number = int(match.group(1) or 0) if match else 0
    return Ca(bundle, certificate, _pki.ca_info(certificate, number=number, crl=crl_info or None), crl, where)


def _crl_file(file: str) -> str:
    return file[: -len(".pem")] + ".crl.pem"


def read_identity(
    folder: Folder, name: str, *, issuers: t.Mapping[str, str], known_pem: dict[bytes, str]
) -> IdentityInfo | None:
    file = identity_file(name)
    text = folder.read(file)
    if text is None:
        return None
    where = os.path.join(folder.path, file)
    bundle = _pki.parse_bundle(text, where=where, least=2)
    chain = bundle.certificates[1:]
    for pem in chain:
        if pem not in known_pem:  # a thousand identities share one issuing certificate
            known_pem[pem] = _pki.der_sha256(_pki.load_certificate(pem, where=where))
    fingerprints = tuple(known_pem[pem] for pem in chain)
    return _pki.read_identity_info(
        name,
        bundle.certificates[0],
        chain_sha256=fingerprints,
        authority=issuers.get(fingerprints[0], ""),
        where=where,
    )


def published_serials(found: Found) -> frozenset[str]:
    cas = [ca for authority in found.authorities.values() for ca in (authority.root, *authority.issuing) if ca]
    return frozenset([ca.info.serial for ca in cas] + [info.serial for info in found.identities.values()])


def issuing_part(number: int) -> str:
    return "issuing-%06d" % number


def part_of(ca: Ca) -> str:
    return issuing_part(ca.info.number) if ca.info.number else "root"
