# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keystores for programs that read no PEM; private to this collection."""

from __future__ import annotations

import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import KeySerializationEncryption, NoEncryption, PrivateFormat, pkcs12

from ..module_utils._core._errors import TlsError
from ._der import parts_of, sequence
from ._pki import PrivateKey, der_sha256

# The password has 192 bits, so rounds add nothing; 2,048 is what readers expect at least.
ROUNDS = 2048


class FormatRefused(TlsError):
    """A keystore cannot be made of what was given."""


def _encryption(password: str) -> KeySerializationEncryption:
    return (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password.encode())
    )


def keystore(
    alias: str, *, key: PrivateKey, certificate: x509.Certificate, chain: t.Sequence[x509.Certificate], password: str
) -> bytes:
    """Return a PKCS#12 file with a key and its certificates: AES-256, and a MAC of SHA-256."""
    try:
        return pkcs12.serialize_key_and_certificates(
            alias.lower().encode(), key, certificate, list(chain), _encryption(password)
        )
    except ValueError as error:  # a key that is not the certificate's
        raise FormatRefused("no keystore can be made for %s: %s" % (alias, error)) from error


def truststore(roots: t.Mapping[str, t.Sequence[x509.Certificate]]) -> bytes:
    """Return a PKCS#12 file that Java reads as a list of trusted authorities, with any password and without one.

    Java counts only certificates that carry its own trusted-key-usage attribute; plain PKCS#12 lists none of them. A
    JVM that is given ``javax.net.ssl.trustStore`` alone passes over what is encrypted, and trusts nobody without a
    word. The list is public, so it is in the clear; and it has no checksum, which would be one under a password.

    Args:
        roots: the roots of each authority; an alias is its authority's name and the head of its fingerprint.
    """
    entries = sorted(
        ("%s-%s" % (authority, der_sha256(root)[:8]), root) for authority, several in roots.items() for root in several
    )
    if not entries:
        raise FormatRefused("a truststore needs at least one authority; name one in trust")
    certificates = [pkcs12.PKCS12Certificate(root, alias.encode()) for alias, root in entries]
    version, content, _checksum = parts_of(pkcs12.serialize_java_truststore(certificates, NoEncryption()))
    return sequence(version, content)  # RFC 7292, 4: macData is optional
