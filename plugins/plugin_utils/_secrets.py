# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The passphrases of the store and what is derived from them; private to this collection."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import threading
import typing as t
import unicodedata
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ._folder import Folder, StoreError
from ._library import allowed_by_openssl

FILE = "secret.json"
SHORTEST_PASSPHRASE = 8  # SP 800-63B; a store is better off with twenty random characters

COSTS: t.Mapping[str, int] = {
    # scrypt's N. Authorities are opened only to sign. Identities are opened once for every host of a run, each in its
    # own worker, and what they protect is renewed every 90 days.
    "authorities": 1 << 15,
    "identities": 1 << 14,
    # The ledger's is stretched in every action of a run that writes to it.
    "ledger": 1 << 14,
}
VARIABLES: t.Mapping[str, str] = {
    "authorities": "tls_authorities_passphrase (or tls_store_passphrase)",
    "identities": "tls_identities_passphrase (or tls_store_passphrase)",
    "ledger": "tls_ledger_passphrase",
}
PASSPHRASES: t.Final = ("tls_store_passphrase", "tls_authorities_passphrase", "tls_identities_passphrase")
_T = t.TypeVar("_T")
_opened: dict[tuple[str, bytes], bytes] = {}


class PassphraseMissing(StoreError):
    """A passphrase is needed and was not given."""


class PassphraseWrong(StoreError):
    """A passphrase was given that does not open the store."""


@dataclass(frozen=True, repr=False)
class Passphrases:
    """The passphrases that a run was given; None for one that it was not."""

    authorities: str | None = None
    identities: str | None = None

    def __repr__(self) -> str:
        """Say nothing, so that a traceback cannot either."""
        return "Passphrases(...)"


def passphrases_of(variables: t.Mapping[str, t.Any]) -> Passphrases:
    """Return the passphrases that a user gave.

    Args:
        variables: those of ``PASSPHRASES`` that are set, rendered.

    Raises:
        StoreError: one of them is not text.
    """
    common = passphrase_of(variables, "tls_store_passphrase")
    return Passphrases(
        authorities=passphrase_of(variables, "tls_authorities_passphrase") or common,
        identities=passphrase_of(variables, "tls_identities_passphrase") or common,
    )


def passphrase_of(variables: t.Mapping[str, t.Any], name: str) -> str | None:
    """Return the passphrase that a variable holds; None where it is not set, or empty.

    Raises:
        StoreError: it is not text.
    """
    value = variables.get(name)
    if value is not None and not isinstance(value, str):
        raise StoreError("%s must be text; put it in quotes" % name)
    return "".join(value) if value else None  # a copy without Ansible's tags


class Secret:
    """A store's master key, in memory; what protects the store is derived from it."""

    def __init__(self, master: bytes) -> None:
        self._master = master

    def __repr__(self) -> str:
        return "Secret(...)"

    def _derived(self, label: str) -> bytes:
        # the master key is 256 random bits, so one HMAC is all the derivation that is needed (RFC 5869, expand)
        return hmac.digest(self._master, label.encode() + b"\x01", "sha256")

    def key_password(self, spki_sha256: str) -> bytes:
        """Return the password of the PKCS#8 file of one key."""
        return base64.b64encode(self._derived("private key " + spki_sha256))

    def keystore_password(self, instance: str) -> str:
        """Return the password of an instance's keystore: 200 bits in letters and digits, which every program reads."""
        text = base64.b32encode(self._derived("keystore password " + instance)[:25]).decode()
        return text.rstrip("=").lower()

    def digest(self, text: str) -> str:
        """Return a fingerprint of a secret that says nothing about it to those who do not hold the master key."""
        return hmac.digest(self._derived("digest"), text.encode(), "sha256").hex()

    def authenticator(self, of: str, data: bytes) -> str:
        """Return what shows that somebody who holds the master key wrote this; ``of`` says as what it was written."""
        return hmac.digest(self._derived("authenticator " + of), data, "sha256").hex()


def open_secret(folder: Folder, *, store: str, passphrase: str | None) -> Secret | None:
    """Return the secret of a store folder, or None where the folder has none yet.

    Args:
        folder: the folder.
        store: ``authorities`` or ``identities``, for the message.
        passphrase: what the user gave.
    """
    text = folder.read(FILE, limit=4096)
    if text is None:
        return None
    box = _parse(text, where=os.path.join(folder.path, FILE))
    checked = checked_passphrase(passphrase, store=store, folder=folder)
    known = (folder.path, hashlib.sha256(text + checked).digest())
    if known not in _opened:
        wrapping = stretched(checked, salt=box.salt, cost=box.n)
        try:
            _opened[known] = AESGCM(wrapping).decrypt(box.nonce, box.wrapped, _label(store))
        except InvalidTag as error:
            raise PassphraseWrong(
                "%s does not open the store folder %s; give the passphrase that it was made with"
                % (VARIABLES[store], folder.path)
            ) from error
    return Secret(_opened[known])


def passphrase_for_new(folder: Folder, *, store: str, passphrase: str | None) -> bytes:
    """Return the passphrase that a new store folder will have.

    Raises:
        StoreError: it is missing or too short, or the folder holds keys already, which a new secret could not open.
    """
    _refuse_keys_without_secret(folder)
    checked = checked_passphrase(passphrase, store=store, folder=folder)
    refuse_short(checked, store=store)
    return checked


def refuse_short(passphrase: bytes, *, store: str) -> None:
    """Refuse a passphrase that is too short for something new."""
    if len(passphrase.decode()) < SHORTEST_PASSPHRASE:
        raise StoreError(
            "%s is shorter than %d characters; a new store needs a longer one" % (VARIABLES[store], SHORTEST_PASSPHRASE)
        )


def _refuse_keys_without_secret(folder: Folder) -> None:
    if _holds_keys(folder) or any(_holds_keys(inner) for _name, inner in folder.inner()):
        raise StoreError(
            "%s holds keys, and its %s is gone; restore that file from a backup: without it none of them can be read"
            % (folder.path, FILE)
        )


def _holds_keys(folder: Folder) -> bool:
    return any(name.endswith(".pem") for name in folder.names())


def new_secret(folder: Folder, *, store: str, passphrase: str | None) -> tuple[Secret, Later[bytes]]:
    """Return the secret of a store folder that has none, and the content of the file that will hold it.

    The secret can be used at once; the content takes scrypt's time and is ready later.
    """
    checked = passphrase_for_new(folder, store=store, passphrase=passphrase)
    master = os.urandom(32)
    return Secret(master), Later(lambda: _sealed(master, checked, store=store))


def _sealed(master: bytes, passphrase: bytes, *, store: str) -> bytes:
    salt, nonce, cost = os.urandom(16), os.urandom(12), COSTS[store]
    wrapping = stretched(passphrase, salt=salt, cost=cost)
    content = {
        "version": 1,
        "kdf": {"name": "scrypt", "n": cost, "r": 8, "p": 1, "salt": salt.hex()},
        "cipher": {"name": "aes-256-gcm", "nonce": nonce.hex()},
        "master": AESGCM(wrapping).encrypt(nonce, master, _label(store)).hex(),
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def stretched(passphrase: bytes, *, salt: bytes, cost: int) -> bytes:
    """Return 256 bits of a passphrase, at the cost of scrypt's N."""
    with allowed_by_openssl("scrypt"):
        return hashlib.scrypt(passphrase, salt=salt, n=cost, r=8, p=1, dklen=32, maxmem=1 << 28)


class Later(t.Generic[_T]):
    """The result of a function that a thread is at work on; scrypt lets other threads run."""

    def __init__(self, function: t.Callable[[], _T]) -> None:
        self._answer: _T | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(function,))
        self._thread.start()

    def _run(self, function: t.Callable[[], _T]) -> None:
        try:
            self._answer = function()
        except Exception as error:
            self._error = error

    def result(self) -> _T:
        """Wait for the result and return it, or raise the error."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return t.cast("_T", self._answer)


@dataclass(frozen=True)
class _Box:
    salt: bytes
    n: int
    nonce: bytes
    wrapped: bytes


def _parse(text: bytes, *, where: str) -> _Box:
    damaged = StoreError("%s is damaged; restore it from a backup: without it no key of the store can be read" % where)
    try:
        content = json.loads(text)
        version, kdf, cipher = content["version"], content["kdf"], content["cipher"]
        box = _Box(
            salt=bytes.fromhex(kdf["salt"]),
            n=int(kdf["n"]),
            nonce=bytes.fromhex(cipher["nonce"]),
            wrapped=bytes.fromhex(content["master"]),
        )
        known = (kdf["name"], kdf["r"], kdf["p"], cipher["name"]) == ("scrypt", 8, 1, "aes-256-gcm")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged from error
    if version != 1:
        raise StoreError("%s has version %r; this release of connsec.tls reads version 1" % (where, version))
    power_of_two = box.n & (box.n - 1) == 0
    if not known or not 1 << 10 <= box.n <= 1 << 17 or not power_of_two or len(box.nonce) != 12:
        raise damaged
    return box


def _label(store: str) -> bytes:
    return b"connsec.tls store " + store.encode()


def checked_passphrase(passphrase: str | None, *, store: str, folder: Folder) -> bytes:
    """Return a passphrase as its bytes, the same however its letters were composed.

    Raises:
        PassphraseMissing: there is none.
    """
    if passphrase is None or passphrase == "":
        raise PassphraseMissing(
            "the store folder %s needs its passphrase; set %s, best from Ansible Vault"
            % (folder.path, VARIABLES[store])
        )
    return unicodedata.normalize("NFC", passphrase).encode()
