# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which protocols, suites and groups a listener is given, in the words of each library; private to this collection.

Source of ``intermediate``: Mozilla's guideline 6.0 (ssl-config-generator, src/static/guidelines/6.0.json).
``fips`` is the same without what FIPS 140-3 does not approve: ChaCha20-Poly1305, and X25519 alone.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """A cipher suite by its IANA name, which Java uses as well, and by OpenSSL's."""

    iana: str
    openssl: str
    protocol: str
    authentication: str


#: In Mozilla's order. TLS 1.3 leaves open how the server authenticates.
SUITES: t.Final = (
    Suite("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", "TLSv1.3", "any"),
    Suite("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", "TLSv1.3", "any"),
    Suite("TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3", "any"),
    Suite("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2", "ec"),
    Suite("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2", "rsa"),
    Suite("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", "ec"),
    Suite("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2", "rsa"),
    Suite("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2", "ec"),
    Suite("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", "TLSv1.2", "rsa"),
)
SUITE_BY_NAME: t.Final[t.Mapping[str, Suite]] = {
    name: suite for suite in SUITES for name in (suite.iana, suite.openssl)
}
PROTOCOLS: t.Final = ("TLSv1.2", "TLSv1.3")


@dataclass(frozen=True)
class Profile:
    """What a listener offers; tuples are in order of preference."""

    name: str
    protocols: tuple[str, ...]
    suites: tuple[Suite, ...]
    groups: tuple[str, ...]

    def openssl_ciphers(self) -> str:
        """Return OpenSSL's cipher list for TLS 1.2 (``CipherString``, ``ssl_ciphers``)."""
        return ":".join(suite.openssl for suite in self.suites if suite.protocol == "TLSv1.2")

    def openssl_ciphersuites(self) -> str:
        """Return OpenSSL's list of TLS 1.3 suites (``Ciphersuites``)."""
        return ":".join(suite.openssl for suite in self.suites if suite.protocol == "TLSv1.3")

    def java_protocols(self) -> tuple[str, ...]:
        """Return the names that JSSE has for the protocols."""
        return self.protocols

    def java_suites(self) -> tuple[str, ...]:
        """Return the names that JSSE has for the suites."""
        return tuple(suite.iana for suite in self.suites)


def _without_chacha20(suites: tuple[Suite, ...]) -> tuple[Suite, ...]:
    return tuple(suite for suite in suites if "CHACHA20" not in suite.iana)


PROFILES: t.Final[t.Mapping[str, Profile]] = {
    "intermediate": Profile("intermediate", PROTOCOLS, SUITES, ("X25519MLKEM768", "X25519", "prime256v1", "secp384r1")),
    # X25519MLKEM768 stays: its ML-KEM half is approved, and a hybrid counts by its approved half
    "fips": Profile("fips", PROTOCOLS, _without_chacha20(SUITES), ("X25519MLKEM768", "prime256v1", "secp384r1")),
}
