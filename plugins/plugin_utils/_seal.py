# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seal of the ledger, by which it shows that only those wrote to it who know its passphrase; private here.

The key is stretched from the passphrase and lies nowhere. What is kept is the salt, and what tells whether a passphrase
is the right one: nothing of that is secret, so it stands in the file that it protects, and both change by one rename.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import typing as t
from dataclasses import dataclass, replace

from ..module_utils._core._chain import Sealing, canonical
from ._secrets import COSTS, Secret, passphrase_of, stretched

VARIABLES: t.Final = ("tls_ledger_passphrase", "tls_ledger_former_passphrase")
_LEAST: t.Final = 1 << 10
_MOST: t.Final = 1 << 17
_stretched: dict[tuple[bytes, int, bytes], Secret] = {}


@dataclass(frozen=True, repr=False)
class SealKeys:
    """What a run was given for the ledger's seal.

    Attributes:
        passphrase: the ledger's; None in a run that does not have it.
        former: the one that the ledger was sealed with so far, where it is changed.
        adopt: whether a ledger without a seal is sealed as it is found.
    """

    passphrase: str | None = None
    former: str | None = None
    adopt: bool = False

    def __repr__(self) -> str:
        """Say nothing, so that a traceback cannot either."""
        return "SealKeys(...)"


def seal_keys(variables: t.Mapping[str, t.Any], *, adopt: bool = False) -> SealKeys:
    """Return what a user gave for the ledger's seal.

    Args:
        variables: those of ``VARIABLES`` that are set, rendered.
        adopt: whether a ledger without a seal is sealed as it is found.

    Raises:
        StoreError: one of them is not text.
    """
    passphrase, former = (passphrase_of(variables, name) for name in VARIABLES)
    return SealKeys(passphrase, former, adopt)


@dataclass(frozen=True)
class Seal:
    """A seal as it is kept.

    Attributes:
        salt: what the passphrase was stretched with.
        cost: scrypt's N.
        check: what tells whether a passphrase is the right one.
        first: the number of the first entry that carries a seal.
        authenticator: of what the file says besides.
    """

    salt: bytes
    cost: int
    check: str
    first: int
    authenticator: str = ""

    @staticmethod
    def new(passphrase: bytes, *, first: int) -> tuple[Seal, Secret]:
        """Return a seal that covers nothing yet, and its key."""
        blank = Seal(os.urandom(16), COSTS["ledger"], "", first)
        secret = blank._stretch(passphrase)
        return replace(blank, check=secret.authenticator("passphrase", b"")), secret

    @staticmethod
    def from_json(data: t.Mapping[str, t.Any]) -> Seal:
        """Return the seal that was written as ``data``.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        kdf = data["kdf"]
        cost = int(kdf["n"])
        if (kdf["name"], kdf["r"], kdf["p"]) != ("scrypt", 8, 1) or not _LEAST <= cost <= _MOST or cost & (cost - 1):
            raise ValueError("not scrypt as we use it")
        return Seal(
            bytes.fromhex(kdf["salt"]), cost, str(data["check"]), int(data["first"]), str(data["authenticator"])
        )

    def to_json(self) -> dict[str, t.Any]:
        """Return it as plain data."""
        return {
            "kdf": {"name": "scrypt", "n": self.cost, "r": 8, "p": 1, "salt": self.salt.hex()},
            "check": self.check,
            "first": self.first,
            "authenticator": self.authenticator,
        }

    def opened(self, passphrase: bytes) -> Secret | None:
        """Return the key; None if the passphrase is another one."""
        secret = self._stretch(passphrase)
        return secret if _same(secret.authenticator("passphrase", b""), self.check) else None

    def over(self, content: t.Mapping[str, t.Any], secret: Secret) -> Seal:
        """Return the seal that covers this content."""
        return replace(self, authenticator=self._authenticator(content, secret))

    def fits(self, content: t.Mapping[str, t.Any], secret: Secret) -> bool:
        """Return whether it covers this content."""
        return _same(self._authenticator(content, secret), self.authenticator)

    def sealing(self, secret: Secret) -> Sealing:
        """Return how entries are sealed."""
        return Sealing(self.first, functools.partial(secret.authenticator, "entry"))

    def _authenticator(self, content: t.Mapping[str, t.Any], secret: Secret) -> str:
        return secret.authenticator("ledger", canonical({**content, "first": self.first}))

    def _stretch(self, passphrase: bytes) -> Secret:
        known = self.salt, self.cost, hashlib.sha256(passphrase).digest()
        if known not in _stretched:  # an action asks several times
            _stretched[known] = Secret(stretched(passphrase, salt=self.salt, cost=self.cost))
        return _stretched[known]


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
