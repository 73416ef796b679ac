# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small certification authority, independent of the one that the collection has."""

from __future__ import annotations

import datetime
import ipaddress
import typing as t
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PASSWORD: t.Final = "a password of tests"
_DAY: t.Final = datetime.timedelta(days=1)
_SIGNS: t.Final = {"key_cert_sign": True, "crl_sign": True}


@dataclass(frozen=True)
class Material:
    """The files of one identity."""

    certificate: Path
    key: Path
    trust: Path
    keystore: Path
    truststore: Path
    password: Path


class Authority:
    """It signs what it is asked for."""

    def __init__(self, name: str, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._count = 0
        subject = _name("%s root" % name)
        self._root = (
            _builder(subject, subject, self._key.public_key(), days=30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(**_SIGNS), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.trust = folder / "trust.pem"
        self.trust.write_bytes(self._root.public_bytes(Encoding.PEM))

    def issue(self, address: str) -> Material:
        """Return key and certificate of a host, for both ends of a connection, in every format."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        identifier = self._root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder(_name(address), self._root.subject, key.public_key(), days=20)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False
            )
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False)
            .sign(self._key, hashes.SHA256())
        )
        names = ("certificate.pem", "key.pem", "keystore.p12", "truststore.p12", "keystore.password")
        paths = [folder / name for name in names]
        encryption = BestAvailableEncryption(PASSWORD.encode())
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        paths[2].write_bytes(pkcs12.serialize_key_and_certificates(b"it", key, certificate, [self._root], encryption))
        trusted = [pkcs12.PKCS12Certificate(self._root, b"root")]
        paths[3].write_bytes(pkcs12.serialize_java_truststore(trusted, encryption))
        paths[4].write_text(PASSWORD, encoding="utf-8")
        return Material(paths[0], paths[1], self.trust, paths[2], paths[3], paths[4])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(**used: bool) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    bits = {name: used.get(name, False) for name in (*names.split(), *_SIGNS)}
    return x509.KeyUsage(**bits, encipher_only=False, decipher_only=False)
