# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CA lists of others, and the way from a certificate up to one of them; private to this collection."""

from __future__ import annotations

import functools
import os
import stat
import typing as t
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from ..module_utils._core._few import few
from . import _pki
from ._folder import StoreError

LARGEST_LIST = 1 << 20
#: No chain of the real world is longer; answers are data from outside.
LONGEST_CHAIN = 10


@dataclass(frozen=True)
class TrustList:
    """The certificates of others that receivers accept, read from a file of the controller.

    Attributes:
        where: the file, for messages.
        certificates: each once, in the order of the file.
        sha256: their fingerprints.
    """

    where: str
    certificates: tuple[x509.Certificate, ...]
    sha256: tuple[str, ...]

    @property
    def pems(self) -> tuple[bytes, ...]:
        """Return them as PEM."""
        return tuple(_pki.certificate_pem(certificate) for certificate in self.certificates)

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """Return those at which a chain may end: the self-signed ones."""
        return tuple(each for each in self.certificates if is_self_signed(each))


def read_trust_lists(files: t.Mapping[str, str]) -> dict[str, TrustList]:
    """Return the lists by name, from their files by name.

    Raises:
        StoreError: a file cannot be read, or is no list of certificates that can be trusted.
    """
    return {name: parse_trust_list(_read(path, name), where=path) for name, path in sorted(files.items())}


def unreadable_lists(files: t.Mapping[str, str]) -> dict[str, str]:
    """Return the lists that nobody can be given, by name, with what is wrong with their files."""
    found = {}
    for name, path in sorted(files.items()):
        try:
            parse_trust_list(_read(path, name), where=path)
        except StoreError as error:
            found[name] = str(error)
    return found


def _read(path: str, name: str) -> bytes:
    said = "the CA list of %s, trust_file %s, " % (name.rpartition("/")[2], path)
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_LIST:
                raise StoreError(
                    said + "is no file of at most %d bytes; put CA certificates in PEM there" % LARGEST_LIST
                )
            return file.read(LARGEST_LIST + 1)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise StoreError(said + "cannot be read: %s; put CA certificates in PEM there" % why) from error


@functools.lru_cache(maxsize=256)
def parse_trust_list(text: bytes, *, where: str) -> TrustList:
    """Return the certificates of a file, which holds nothing else that matters.

    Raises:
        StoreError: it holds a private key, no certificate, or one that cannot be an anchor of trust.
    """
    if b"PRIVATE KEY" in text:
        raise StoreError("%s holds a private key; a CA list has certificates only, so take the key out" % where)
    try:
        certificates = tuple(dict.fromkeys(x509.load_pem_x509_certificates(text)))
    except ValueError as error:
        raise StoreError("%s has no certificates in PEM that can be read; put CA certificates there" % where) from error
    loose = [each.subject.rfc4514_string() for each in certificates if not _is_rooted(each, certificates)]
    if loose:
        raise StoreError(
            "%s lacks the root above %s; a list ends in self-signed certificates, so add it" % (where, few(loose))
        )
    leaves = [each.subject.rfc4514_string() for each in certificates if not (is_ca(each) or is_self_signed(each))]
    if leaves:
        raise StoreError("%s holds %s, which is no authority's certificate; take it out" % (where, few(leaves)))
    return TrustList(where, certificates, tuple(_pki.der_sha256(each) for each in certificates))


def _is_rooted(certificate: x509.Certificate, among: t.Sequence[x509.Certificate]) -> bool:
    return chain_to(certificate, among, anchors=[each for each in among if is_self_signed(each)]) is not None


def chain_to(
    certificate: x509.Certificate, between: t.Iterable[x509.Certificate], *, anchors: t.Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...] | None:
    """Return the chain from a certificate up to one of the anchors, both included; None if there is none.

    Args:
        certificate: the first one.
        between: those that may stand between, in any order.
        anchors: those at which it may end.
    """
    above = [*anchors, *(each for each in between if each not in anchors)]
    ways: list[tuple[x509.Certificate, ...]] = [(certificate,)]
    for _depth in range(LONGEST_CHAIN):
        for way in ways:
            if way[-1] in anchors:
                return way
        ways = [
            (*way, each)
            for way in ways
            for each in above
            if each not in way and is_ca(each) and is_issued(way[-1], each)
        ]
    return None


def is_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether a certificate was signed by an issuer."""
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is its own issuer: a root, or a peer that is pinned."""
    return is_issued(certificate, certificate)


def is_ca(certificate: x509.Certificate) -> bool:
    """Return whether a certificate says that it is an authority's; an old root may not say so."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return is_self_signed(certificate)
    except ValueError:
        return False


def notes_on_lists(lists: t.Mapping[str, TrustList], *, now: int) -> list[str]:
    """Return a sentence for each list with certificates that have expired."""
    notes = []
    for name, each in lists.items():
        over = [c.subject.rfc4514_string() for c in each.certificates if c.not_valid_after_utc.timestamp() < now]
        if over:
            notes.append("%s, the CA list of %s, holds certificates that have expired: %s" % (
                each.where, name, few(over),
            ))  # fmt: skip
    return notes
