# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what a PKI team brought back: PEM in any order, DER or PKCS#7; private to this collection."""

from __future__ import annotations

import contextlib
import typing as t
import warnings
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from ..module_utils._core._requesting import Answer
from . import _pki
from ._trust_list import TrustList, chain_to, is_ca

LARGEST_ANSWER = 1 << 18


@dataclass(frozen=True)
class ReadAnswer:
    """An answer, and its certificates from the leaf upwards, without the root; none where no chain was found."""

    answer: Answer
    chain: tuple[x509.Certificate, ...] = ()


def read_answer(data: bytes, *, spki_sha256: str, trust: TrustList) -> ReadAnswer:
    """Return what an answer to the request with this key says, whatever it is.

    Args:
        data: the file.
        spki_sha256: of the key that the request was made for.
        trust: the CA list of the authority that was asked.
    """
    if b"PRIVATE KEY" in data:
        return ReadAnswer(Answer(unreadable="it holds a private key, which nobody was asked for; take it out"))
    certificates = _certificates(data)
    if not certificates:
        return ReadAnswer(Answer(unreadable="it holds no certificate that can be read, as PEM, DER or PKCS#7"))
    leaf = next((each for each in certificates if _spki_sha256(each) == spki_sha256), None)
    if leaf is None:
        return ReadAnswer(Answer(foreign_key=True))
    try:
        chain = chain_to(leaf, [*certificates, *trust.certificates], anchors=trust.anchors)
        untrusted = "" if chain else _why_untrusted(leaf, trust)
        return ReadAnswer(_described(leaf, untrusted), (chain[:-1] or chain) if chain else ())
    except (ValueError, UnsupportedAlgorithm) as error:
        return ReadAnswer(Answer(unreadable="its certificate cannot be read: %s" % error))


def _readers() -> tuple[t.Callable[[bytes], list[x509.Certificate]], ...]:
    """Return what may be able to read an answer."""
    from cryptography.hazmat.primitives.serialization import pkcs7  # with Python's e-mail package: 20 ms of each run

    return (
        x509.load_pem_x509_certificates,
        pkcs7.load_pem_pkcs7_certificates,
        pkcs7.load_der_pkcs7_certificates,
        lambda data: [x509.load_der_x509_certificate(data)],
    )


def _certificates(data: bytes) -> list[x509.Certificate]:
    for read in _readers():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of encodings that are not quite right, as openssl's own PKCS#7
            with contextlib.suppress(ValueError, UnsupportedAlgorithm):
                return list(read(data))
    return []


def _spki_sha256(certificate: x509.Certificate) -> str:
    try:
        return _pki.sha256(_pki.spki(certificate))
    except (ValueError, UnsupportedAlgorithm):
        return ""


def _why_untrusted(leaf: x509.Certificate, trust: TrustList) -> str:
    return "nothing leads from its issuer, %s, to the CA list %s" % (leaf.issuer.rfc4514_string(), trust.where)


def _described(leaf: x509.Certificate, untrusted: str) -> Answer:
    names, others = _names(leaf)
    purposes = _extension(leaf, x509.ExtendedKeyUsage) or ()
    ours = {oid: usage for usage, oid in _pki.EXTENDED_KEY_USAGES.items()}
    key_usage = _extension(leaf, x509.KeyUsage)
    common_names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Answer(
        names=tuple(sorted(set(names))),
        other_names=tuple(others),
        nameless=not leaf.subject.rdns and not _is_critical(leaf, x509.SubjectAlternativeName),
        usages=tuple(sorted(ours[oid] for oid in purposes if oid in ours)),
        other_usages=tuple(oid.dotted_string for oid in purposes if oid not in ours),
        signs=key_usage is None or key_usage.digital_signature,
        is_ca=is_ca(leaf),
        common_name=str(common_names[0].value) if common_names else "",
        not_before=int(leaf.not_valid_before_utc.timestamp()),
        not_after=int(leaf.not_valid_after_utc.timestamp()),
        untrusted=untrusted,
    )


def _names(leaf: x509.Certificate) -> tuple[list[str], list[str]]:
    names, others = [], []
    for each in _extension(leaf, x509.SubjectAlternativeName) or ():
        if isinstance(each, (x509.DNSName, x509.IPAddress)):
            names.append(str(each.value).lower())
        else:
            others.append("%s %s" % (type(each).__name__, each.value))
    return names, others


def _is_critical(leaf: x509.Certificate, kind: type[x509.ExtensionType]) -> bool:
    return any(each.critical for each in leaf.extensions if isinstance(each.value, kind))


_E = t.TypeVar("_E", bound=x509.ExtensionType)


def _extension(leaf: x509.Certificate, kind: type[_E]) -> _E | None:
    try:
        return leaf.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
