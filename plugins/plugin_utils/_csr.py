# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate requests, read and checked: they prove that somebody has a key; private to this collection.

Nothing but the public key is taken from one that we answer: names and usages are the plan's, whatever it asks for. One
that goes on to others has to ask for exactly what is planned.
"""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from ..module_utils._core._birth import Terms
from ..module_utils._core._errors import TlsError
from ..module_utils._core._few import few
from ..module_utils._core._material import WantedIdentity, common_name_of
from . import _pki

#: Hashes with which nobody can make another request of the same signature.
_SOUND_HASHES = frozenset({"sha256", "sha384", "sha512"})
_USUAL_EXPONENT = 65537


class RequestRefused(TlsError):
    """A certificate request proves nothing, or is not of the key that is planned."""


@dataclass(frozen=True)
class Request:
    """A certificate request whose sender has its key.

    Attributes:
        pem: the request.
        public: its public key.
        spki_sha256: that key's digest.
        held: the digests of all keys that its host has, where it said so.
    """

    pem: str
    public: _pki.PublicKey
    spki_sha256: str
    held: tuple[str, ...] = ()


def read_request(pem: str, *, identity: str, key_type: str, spki_sha256: str = "") -> Request:
    """Return a request that proves that its sender has a key of the planned type.

    Args:
        pem: the request.
        identity: for whom it is, for the message.
        key_type: the planned one.
        spki_sha256: the digest of the key that was announced; empty if none was.

    Raises:
        RequestRefused: saying what is wrong with it, and what would do.
    """
    where = "the certificate request of %s" % identity
    loaded = _loaded(pem, where)
    found = _pki.key_type_of(loaded)
    if found != key_type:
        raise RequestRefused("%s has a key of type %s, planned %s; make it with such a key" % (where, found, key_type))
    public = loaded.public_key()
    if isinstance(public, rsa.RSAPublicKey) and public.public_numbers().e != _USUAL_EXPONENT:
        raise RequestRefused("%s has an RSA key whose exponent is not %d" % (where, _USUAL_EXPONENT))
    if not isinstance(public, _pki.PublicKey):  # key_type_of knows no others
        raise RequestRefused("%s has a key that is neither EC nor RSA" % where)
    _refuse_unproved(loaded, where)
    digest = _pki.sha256(_pki.public_bytes(public))
    if spki_sha256 and digest != spki_sha256:
        raise RequestRefused(
            "%s has another key (%s) than the one that was announced (%s); somebody changed it on the way"
            % (where, digest[:16], spki_sha256[:16])
        )
    return Request(pem, public, digest)


def _loaded(pem: str, where: str) -> x509.CertificateSigningRequest:
    text = pem.encode("ascii", "replace")
    if len(text) > _pki.LARGEST_PEM:
        raise RequestRefused("%s is %d bytes long; at most %d are read" % (where, len(text), _pki.LARGEST_PEM))
    try:
        return x509.load_pem_x509_csr(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RequestRefused("%s is not a PKCS#10 request in PEM" % where) from error


def _refuse_unproved(request: x509.CertificateSigningRequest, where: str) -> None:
    """Refuse a request that was not signed with its own key: whoever sent it may not have it."""
    try:
        hashed = request.signature_hash_algorithm
        if hashed is None or hashed.name not in _SOUND_HASHES:
            name = hashed.name.upper() if hashed else "no hash"
            raise RequestRefused("%s is signed with %s; sign it with SHA-256" % (where, name))
        sound = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        sound = False
    if not sound:
        raise RequestRefused("the signature of %s is not of its own key, so nobody knows who has that" % where)


def refuse_other_terms(pem: str, wanted: WantedIdentity) -> None:
    """Refuse a request for others that does not ask for what is planned: they sign what they are shown.

    Raises:
        RequestRefused: saying what it asks for.
    """
    where = "the certificate request of %s" % wanted.name
    asked = terms_of(_loaded(pem, where), where)
    common_name = common_name_of(wanted)
    planned = Terms(wanted.names, wanted.usages, common_name)
    for what, ours, theirs in zip(("names", "usages", "a subject"), _rows(planned), _rows(asked), strict=True):
        if ours != theirs:
            raise RequestRefused(
                "%s asks for %s %s, planned %s; nobody is shown it: run again, and look at that host if it stays so"
                % (where, what, theirs or "none", ours or "none")
            )


def _rows(terms: Terms) -> tuple[str, ...]:
    return ", ".join(terms.names), ", ".join(terms.usages), terms.common_name


def terms_of(request: x509.CertificateSigningRequest, where: str) -> Terms:
    """Return what a request asks for; usages that are none of ours by their identifiers."""
    ours = {oid: usage for usage, oid in _pki.EXTENDED_KEY_USAGES.items()}
    names: list[str] = []
    usages: list[str] = []
    try:
        for each in request.extensions:
            if isinstance(each.value, x509.SubjectAlternativeName):
                names += [_words_of(name) for name in each.value]
            elif isinstance(each.value, x509.ExtendedKeyUsage):
                usages += [ours.get(oid, oid.dotted_string) for oid in each.value]
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise RequestRefused("%s has extensions that cannot be read" % where) from error
    common_names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    alone = len(common_names) == 1 == len(request.subject.rdns)
    subject = str(common_names[0].value) if alone else request.subject.rfc4514_string()
    return Terms(tuple(sorted(names)), tuple(sorted(usages)), subject)


def _words_of(name: x509.GeneralName) -> str:
    if isinstance(name, (x509.DNSName, x509.IPAddress)):
        return str(name.value).lower()
    return "%s %s" % (type(name).__name__, name.value)


def read_requests(
    given: t.Mapping[str, t.Any], identities: t.Sequence[WantedIdentity]
) -> tuple[dict[str, Request], dict[str, str]]:
    """Return what was asked for by identity, and a sentence for each request that is refused.

    Args:
        given: by identity, a request as PEM, or ``{request, spki_sha256}`` with the key that was announced.
        identities: those that are wanted.
    """
    wanted = {each.name: each for each in identities if each.key_at == "host"}
    requests: dict[str, Request] = {}
    refused: dict[str, str] = {}
    for name, row in sorted(given.items()):
        if name not in wanted:
            refused[name] = "a certificate request came for %s, whose key is not born on a host" % name
            continue
        pem, announced = (
            (str(row.get(key) or "") for key in ("request", "spki_sha256")) if isinstance(row, dict) else (str(row), "")
        )
        try:
            read = read_request(pem, identity=name, key_type=wanted[name].key_type, spki_sha256=announced)
            if wanted[name].issuer == "requested":
                refuse_other_terms(pem, wanted[name])
            held = row.get("held") or () if isinstance(row, dict) else ()
            requests[name] = dataclasses.replace(read, held=tuple(str(each) for each in held))
        except RequestRefused as error:
            refused[name] = str(error)
    return _apart(requests, refused)


def _apart(requests: dict[str, Request], refused: dict[str, str]) -> tuple[dict[str, Request], dict[str, str]]:
    """Refuse the requests of several identities that have one key: machines that were copied have each other's."""
    holders: dict[str, list[str]] = {}
    for name, request in requests.items():
        holders.setdefault(request.spki_sha256, []).append(name)
    for names in holders.values():
        for name in names if len(names) > 1 else ():
            refused[name] = "%s came with one and the same key; a host was copied: remove pending-key-* there" % few(
                names
            )
            del requests[name]
    return requests, refused
