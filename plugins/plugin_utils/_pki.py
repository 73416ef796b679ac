# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, certificates and lists, each built as one expression and read back as a value; private to this collection."""

from __future__ import annotations

import datetime
import functools
import hashlib
import ipaddress
import re
import typing as t
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..module_utils._core._material import (
    DAY,
    CaInfo,
    CrlInfo,
    IdentityInfo,
    Revocation,
    WantedAuthority,
    WantedIdentity,
    common_name_of,
)
from ._folder import StoreError
from ._pkcs8 import encrypted

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
SignatureHash = hashes.SHA256 | hashes.SHA384

KEY_TYPES: t.Mapping[str, t.Callable[[], PrivateKey]] = {
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa-4096": lambda: rsa.generate_private_key(65537, 4096),
}
SIGNATURE_HASHES: t.Mapping[str, t.Callable[[], SignatureHash]] = {
    "ec-p384": hashes.SHA384,  # BR 7.1.3.2: the hash goes with the curve
    "rsa-4096": hashes.SHA256,  # RSA authorities exist for old receivers
}
EXTENDED_KEY_USAGES: t.Mapping[str, x509.ObjectIdentifier] = {
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
}

BACKDATED = 3600  # clocks differ, and a certificate from the future breaks a connection
ROOT_CRL_LIFE = 364 * DAY  # BR 4.9.7: at most twelve months for lists of authorities
ISSUING_CRL_LIFE = 7 * DAY  # BR 4.9.7: at most ten days
LARGEST_PEM = 1 << 16  # CVE-2024-12401: a PEM parser must not be given megabytes

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----\r?\n?")
_KEY = re.compile(
    rb"-----BEGIN ENCRYPTED PRIVATE KEY-----\r?\n[A-Za-z0-9+/=\r\n]+-----END ENCRYPTED PRIVATE KEY-----\r?\n?"
)
#: Stands where the key would: a file that lost its key is damaged, and none that never had one.
_KEY_AT_HOST = b"The private key of this certificate was born on its host and is nowhere else.\n"


@dataclass(frozen=True, repr=False)
class Signer:
    """An authority that can sign: its certificate and key."""

    certificate: x509.Certificate
    key: PrivateKey
    key_type: str

    def hash(self) -> SignatureHash:
        """Return the hash that goes with the key."""
        return SIGNATURE_HASHES[self.key_type]()


def public_bytes(key: PrivateKey | PublicKey) -> bytes:
    """Return a key's SubjectPublicKeyInfo."""
    public = key.public_key() if isinstance(key, PrivateKey) else key
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def encrypted_pem(key: PrivateKey, password: bytes) -> bytes:
    """Return a key as PKCS#8, encrypted under a password that the store derives."""
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return encrypted(der, password=password)


def plain_pem(key: PrivateKey) -> bytes:
    """Return a key as PKCS#8, in the clear, for the one host that uses it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_plain(pem: bytes) -> PrivateKey:
    """Return a key that another process of ours has just made."""
    return t.cast("PrivateKey", serialization.load_pem_private_key(pem, None))


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _time(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _seconds(time: datetime.datetime) -> int:
    return int(time.timestamp())


def _key_usage(*, signature: bool = False, encipherment: bool = False, ca: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _ca_name(wanted: WantedAuthority, common_name: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, wanted.organization)] if wanted.organization else []
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def build_root(wanted: WantedAuthority, *, key: PrivateKey, serial: int, now: int) -> Signer:
    """Return a new self-signed root. Its name carries a part of its key's digest, so that no two roots share one."""
    start = now - BACKDATED
    name = _ca_name(wanted, "%s root %s" % (wanted.name[:50], sha256(public_bytes(key))[:6]))
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(_time(start))
        .not_valid_after(_time(start + wanted.root_days * DAY - 1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(key, SIGNATURE_HASHES[wanted.key_type]())
    )
    return Signer(certificate, key, wanted.key_type)


def build_issuing(
    wanted: WantedAuthority, *, number: int, key: PrivateKey, serial: int, root: Signer, now: int
) -> Signer:
    """Return a new issuing authority under a root; nothing but identities can hang below it."""
    start, end = _life(wanted.issuing_days, issuer=root.certificate, now=now, who="authority %s" % wanted.name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_ca_name(wanted, "%s issuing %d %s" % (wanted.name[:40], number, sha256(public_bytes(key))[:6])))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(_time(start))
        .not_valid_after(_time(end))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_key_id(root.certificate), critical=False)
        .sign(root.key, root.hash())
    )
    return Signer(certificate, key, wanted.key_type)


def build_leaf(wanted: WantedIdentity, *, key: PublicKey, serial: int, issuer: Signer, now: int) -> x509.Certificate:
    """Return the certificate of an identity, which never outlives its issuer."""
    common_name = common_name_of(wanted)
    start, end = _life(wanted.days, issuer=issuer.certificate, now=now, who="identity %s" % wanted.name)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_time(start))
        .not_valid_after(_time(end))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage_of(key), critical=True)
        .add_extension(extended_key_usage(wanted.usages), critical=False)
        .add_extension(
            subject_alternative_name(wanted.names),
            critical=not common_name,  # RFC 5280 4.2.1.6: critical where the subject is empty
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_key_id(issuer.certificate), critical=False)
        .sign(issuer.key, issuer.hash())
    )


def key_usage_of(key: PublicKey) -> x509.KeyUsage:
    """Return what an identity's key may do: RFC 8446 and ECDHE suites sign; only RSA key exchange enciphers."""
    return _key_usage(signature=True, encipherment=isinstance(key, rsa.RSAPublicKey))


def extended_key_usage(usages: t.Iterable[str]) -> x509.ExtendedKeyUsage:
    """Return usages as an extension."""
    return x509.ExtendedKeyUsage([EXTENDED_KEY_USAGES[usage] for usage in usages])


def subject_alternative_name(names: t.Iterable[str]) -> x509.SubjectAlternativeName:
    """Return DNS names and IP addresses as an extension."""
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def build_crl(issuer: Signer, *, number: int, life: int, now: int, revoked: t.Sequence[Revocation] = ()) -> bytes:
    """Return an authority's revocation list as PEM, with what it issued and is revoked."""
    start = max(now - BACKDATED, _seconds(issuer.certificate.not_valid_before_utc))
    end = min(now + life, _seconds(issuer.certificate.not_valid_after_utc))
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(_time(start))
        .next_update(_time(end))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key_id(issuer.certificate), critical=False)
    )
    for each in sorted(revoked, key=lambda each: each.serial):
        made = made.add_revoked_certificate(_revoked(each))
    return made.sign(issuer.key, issuer.hash()).public_bytes(serialization.Encoding.PEM)


def _revoked(each: Revocation) -> x509.RevokedCertificate:
    """Return an entry of a list: what was revoked left the fleet, and nobody says that its key is known to others."""
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(int(each.serial, 16))
        .revocation_date(_time(each.at))
        .add_extension(x509.CRLReason(x509.ReasonFlags.cessation_of_operation), critical=False)
        .build()
    )


def _life(days: int, *, issuer: x509.Certificate, now: int, who: str) -> tuple[int, int]:
    """Return the first and last second of a life of ``days`` that lies within the issuer's."""
    least, most = _seconds(issuer.not_valid_before_utc), _seconds(issuer.not_valid_after_utc)
    if not least <= now < most:
        raise StoreError(
            "%s cannot be issued: its issuer is valid from %s to %s, and the controller's clock says %s; "
            "check the clock, or plan a rotation" % (who, _time(least), _time(most), _time(now))
        )
    start = max(now - BACKDATED, least)
    return start, min(start + days * DAY - 1, most)  # both ends count (RFC 5280 4.1.2.5), hence a second less


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _authority_key_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )


# Reading


@dataclass(frozen=True)
class Bundle:
    """A PEM file of the store: certificates from the leaf upwards, and the encrypted key of the first.

    The key of an identity may have been born on its host, and then nobody else has it.
    """

    certificates: tuple[bytes, ...]
    key: bytes | None

    @property
    def key_at(self) -> str:
        """Where the key is: at the ``controller``, which is here, or at its ``host``."""
        return "host" if self.key is None else "controller"

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return b"".join(self.certificates) + (_KEY_AT_HOST if self.key is None else self.key)


def parse_bundle(text: bytes, *, where: str, least: int, keyless: bool = False) -> Bundle:
    """Return the parts of a PEM file, or raise an error that names the file.

    Args:
        text: its content.
        where: its path.
        least: how many certificates it has at least.
        keyless: whether it may be without a key.
    """
    certificates = tuple(_CERTIFICATE.findall(text)) if len(text) <= LARGEST_PEM else ()
    keys = _KEY.findall(text) if len(text) <= LARGEST_PEM else []
    without = keyless and _KEY_AT_HOST in text
    if len(certificates) < least or len(keys) != (0 if without else 1):
        raise _damaged(where)
    return Bundle(certificates, None if without else keys[0])


def load_certificate(pem: bytes, *, where: str) -> x509.Certificate:
    """Return a certificate, or raise an error that names the file."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise _damaged(where) from error


def load_key(bundle: Bundle, *, password: bytes, where: str) -> PrivateKey:
    """Return the key of a bundle, which must be the one of its first certificate."""
    if bundle.key is None:
        raise _damaged(where)
    try:
        key = serialization.load_pem_private_key(bundle.key, password)
        certificate = load_certificate(bundle.certificates[0], where=where)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _damaged(where) from error
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)) or public_bytes(key) != spki(certificate):
        raise StoreError("%s holds a key that is not its certificate's; restore the file from a backup" % where)
    return key


def refuse_unless_issued_by(certificate: x509.Certificate, issuer: x509.Certificate, *, where: str) -> None:
    """Raise an error that names the file unless a certificate was signed by an issuer."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise StoreError("%s: its certificates are not a chain; restore the file from a backup" % where) from error


def spki(certificate: x509.Certificate) -> bytes:
    """Return a certificate's SubjectPublicKeyInfo."""
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_type_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Return a certificate's key type in our words, or ``unknown``."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "ec-p256", "secp384r1": "ec-p384"}.get(key.curve.name, "unknown")
    return "rsa-%d" % key.key_size if isinstance(key, rsa.RSAPublicKey) else "unknown"


def der_sha256(certificate: x509.Certificate) -> str:
    """Return a certificate's fingerprint."""
    return sha256(certificate.public_bytes(serialization.Encoding.DER))


def revoked_serials(crl: bytes) -> frozenset[str]:
    """Return the serial numbers that a revocation list names."""
    return frozenset(serial_text(entry.serial_number) for entry in x509.load_pem_x509_crl(crl))


def serial_text(serial: int) -> str:
    """Return a serial number as lower-case hexadecimal."""
    return "%x" % serial


def identity_info(
    name: str,
    certificate: x509.Certificate,
    *,
    chain: t.Sequence[x509.Certificate],
    root: x509.Certificate | None,
    authority: str,
    key_at: str = "controller",
) -> IdentityInfo:
    """Return what is public about an identity.

    Args:
        name: its name.
        certificate: its own.
        chain: those that it presents besides, from its issuer upwards.
        root: the one above them; None where it is not in the store.
        authority: who issued it; empty where that is not in the store.
        key_at: where its key is, ``controller`` or ``host``.
    """
    above = [*chain, *([root] if root else [])]
    extensions = certificate.extensions
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return IdentityInfo(
        name=name,
        authority=authority,
        sha256=der_sha256(certificate),
        serial=serial_text(certificate.serial_number),
        not_before=_seconds(certificate.not_valid_before_utc),
        not_after=_seconds(certificate.not_valid_after_utc),
        names=tuple(sorted(str(each.value) for each in names)),
        usages=tuple(usage for usage, oid in EXTENDED_KEY_USAGES.items() if oid in usages),
        key_type=key_type_of(certificate),
        spki_sha256=sha256(spki(certificate)),
        issuer=certificate.issuer.rfc4514_string(),
        chain_sha256=tuple(der_sha256(each) for each in chain),
        chain_not_after=min(_seconds(each.not_valid_after_utc) for each in (certificate, *above)),
        common_name=str(common_names[0].value) if common_names else "",
        key_at=key_at,
    )


@functools.lru_cache(maxsize=1 << 16)  # a plan looks at the same certificates more than once
def read_identity_info(
    name: str,
    certificate: bytes,
    *,
    chain: tuple[x509.Certificate, ...],
    root: x509.Certificate | None,
    authority: str,
    key_at: str,
    where: str,
) -> IdentityInfo:
    """Return what is public about an identity of the store, or raise an error that names the file."""
    loaded = load_certificate(certificate, where=where)
    try:
        return identity_info(name, loaded, chain=chain, root=root, authority=authority, key_at=key_at)
    except (ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound) as error:
        raise _damaged(where) from error


def ca_info(certificate: x509.Certificate, *, number: int, crl: CrlInfo | None) -> CaInfo:
    """Return what is public about a certificate authority."""
    return CaInfo(
        number=number,
        sha256=der_sha256(certificate),
        serial=serial_text(certificate.serial_number),
        subject=certificate.subject.rfc4514_string(),
        not_before=_seconds(certificate.not_valid_before_utc),
        not_after=_seconds(certificate.not_valid_after_utc),
        key_type=key_type_of(certificate),
        spki_sha256=sha256(spki(certificate)),
        crl=crl,
    )


def read_crl_info(pem: bytes, *, issuer: x509.Certificate, where: str) -> CrlInfo | None:
    """Return what a revocation list says of itself, or None where it is another authority's."""
    try:
        crl = x509.load_pem_x509_crl(pem)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        if crl.next_update_utc is None or not crl.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
            return None
        serials = tuple(sorted(serial_text(entry.serial_number) for entry in crl))
        return CrlInfo(number, _seconds(crl.last_update_utc), _seconds(crl.next_update_utc), serials)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound) as error:
        raise _damaged(where) from error


def _damaged(where: str) -> StoreError:
    return StoreError(
        "%s is damaged; restore it from a backup (the file of an identity may also be removed: it is then issued anew)"
        % where
    )
