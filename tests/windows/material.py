# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and PFX files for tests of the twin, made without any code of the collection."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES
from cryptography.x509.oid import NameOID

_NOW: t.Final = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def thumbprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA1()).hex().upper()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def issued(
    name: str,
    issuer: Pair | None = None,
    *,
    authority: bool = False,
    names: t.Sequence[x509.GeneralName] = (),
    days: tuple[float, float] = (-1 / 24, 30),
    usage: t.Sequence[x509.ObjectIdentifier] = (),
    key: rsa.RSAPrivateKey | None = None,
) -> Pair:
    """Return a certificate by this issuer, or one that signed itself.

    Args:
        name: its common name.
        issuer: who signs it.
        authority: whether it may sign others.
        names: what subjectAltName holds; one DNS name if nothing else is said.
        days: from when until when it is valid, in days from now.
        usage: for what it may be used; anything if nothing is said.
        key: its private key; a new one if nothing is said, which takes its time.
    """
    key = key or rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    others: t.Sequence[x509.GeneralName] = names or [x509.DNSName("%s.example.com" % name)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW + datetime.timedelta(days=days[0]))
        .not_valid_after(_NOW + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    return Pair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def pfx(pair: Pair, password: str, *, chain: t.Sequence[Pair] = (), old: bool = False) -> bytes:
    """Return a PFX: AES-256 with a SHA-256 MAC, or in the old form of 3DES with SHA-1."""
    build = serialization.PrivateFormat.PKCS12.encryption_builder()
    if old:
        build = build.key_cert_algorithm(PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())
    else:
        build = build.key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256())
    others = [each.certificate for each in chain]
    return pkcs12.serialize_key_and_certificates(
        None, pair.key, pair.certificate, others, build.build(password.encode())
    )
