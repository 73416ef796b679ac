# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PKCS#8 encryption under a password that is a key: PBES2 as every program reads it; private to this collection.

cryptography's own is fixed at PBKDF2 with 2,048 rounds, which cost more than a signature. Rounds slow down those who
guess passwords. Ours are 256 bits out of the store's master key, which nobody guesses; the rounds that matter are
scrypt's, over the passphrase.
"""

from __future__ import annotations

import base64
import hashlib
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from ._der import octets, sequence
from ._library import allowed_by_openssl

ROUNDS = 1
LEAST_PASSWORD = 43  # base64 of 256 bits

_PBES2 = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")  # 1.2.840.113549.1.5.12
_HMAC_SHA256 = bytes.fromhex("300c06082a864886f70d02090500")  # 1.2.840.113549.2.9, NULL
_AES_256_CBC = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42


def encrypted(private_key_info: bytes, *, password: bytes) -> bytes:
    """Return a PrivateKeyInfo (DER) as the PEM of an EncryptedPrivateKeyInfo (RFC 5958, RFC 8018).

    Args:
        private_key_info: the key in the clear.
        password: at least 256 random bits, as text.
    """
    if len(password) < LEAST_PASSWORD:
        raise ValueError("a password that somebody could guess needs many rounds; this is for derived ones")
    salt, vector = os.urandom(16), os.urandom(16)
    with allowed_by_openssl("PBKDF2 with one round"):
        key = hashlib.pbkdf2_hmac("sha256", password, salt, ROUNDS, 32)
    padder, encryptor = PKCS7(128).padder(), Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    sealed = encryptor.update(padder.update(private_key_info) + padder.finalize()) + encryptor.finalize()
    derivation = sequence(_PBKDF2, sequence(octets(salt), b"\x02\x01" + bytes([ROUNDS]), _HMAC_SHA256))
    scheme = sequence(_PBES2, sequence(derivation, sequence(_AES_256_CBC, octets(vector))))
    return _armoured(sequence(scheme, octets(sealed)))


def _armoured(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, b"-----END ENCRYPTED PRIVATE KEY-----", b""])
