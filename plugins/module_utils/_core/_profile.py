# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which protocols, suites and groups a listener is given, in the words of each library; private to this collection.

Source of ``intermediate``: Mozilla's guideline 6.0 (ssl-config-generator, src/static/guidelines/6.0.json).
``fips`` is the same without what FIPS 140-3 does not approve: ChaCha20-Poly1305, and X25519 alone. What is left is what
SP 800-52r2 (3.3.1) allows a server; our key types are all approved (FIPS 186-5, SP 800-131A r2).
``old`` is for stacks that know no suite of these: an exception of one listener, never a default. Source: the ``old`` of
Mozilla's guideline 5.7, the last that has one, without TLS 1.0 and 1.1 (RFC 8996 forbids them), 3DES (SP 800-131A r2
disallows it) and finite-field Diffie-Hellman (whose parameters not every server has).
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
#: What ``old`` has besides, in Mozilla's order: CBC, and RSA key exchange, which keeps no secret from who gets the key.
OLD_SUITES: t.Final = (
    Suite("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256", "TLSv1.2", "ec"),
    Suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256", "TLSv1.2", "rsa"),
    Suite("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA", "TLSv1.2", "ec"),
    Suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA", "TLSv1.2", "rsa"),
    Suite("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "ECDHE-ECDSA-AES256-SHA384", "TLSv1.2", "ec"),
    Suite("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384", "TLSv1.2", "rsa"),
    Suite("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA", "TLSv1.2", "ec"),
    Suite("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA", "TLSv1.2", "rsa"),
    Suite("TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", "TLSv1.2", "rsa"),
    Suite("TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384", "TLSv1.2", "rsa"),
    Suite("TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256", "TLSv1.2", "rsa"),
    Suite("TLS_RSA_WITH_AES_256_CBC_SHA256", "AES256-SHA256", "TLSv1.2", "rsa"),
    Suite("TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA", "TLSv1.2", "rsa"),
    Suite("TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA", "TLSv1.2", "rsa"),
)
SUITE_BY_NAME: t.Final[t.Mapping[str, Suite]] = {
    name: suite for suite in (*SUITES, *OLD_SUITES) for name in (suite.iana, suite.openssl)
}
PROTOCOLS: t.Final = ("TLSv1.2", "TLSv1.3")


@dataclass(frozen=True)
class Profile:
    """What a listener offers; tuples are in order of preference. A weak one is somebody's exception, with an end."""

    name: str
    protocols: tuple[str, ...]
    suites: tuple[Suite, ...]
    groups: tuple[str, ...]
    weak: bool = False

    def words(self) -> dict[str, str]:
        """Return it as options of kinds may ask for it, in the words of each library."""
        older = [suite.openssl for suite in self.suites if suite.protocol == "TLSv1.2"]
        newer = [suite.openssl for suite in self.suites if suite.protocol == "TLSv1.3"]
        return {
            "profile": self.name,
            "protocols": " ".join(self.protocols),
            "minimum_protocol": min(self.protocols),
            "maximum_protocol": max(self.protocols),
            "ciphers": ":".join(older),
            "ciphersuites": ":".join(newer),
            "groups": ":".join(self.groups),
            # OpenSSL knows hybrids from 3.5 on, and refuses a list with a group that it does not know
            "classic_groups": ":".join(group for group in self.groups if "MLKEM" not in group),
            "group_names": " ".join(group for group in self.groups if "MLKEM" not in group),
            "apache_protocols": " ".join(["-all", *("+" + protocol for protocol in self.protocols)]),
            "erlang_protocols": " ".join(protocol.lower() for protocol in self.protocols),
            # as terms of Erlang, for files that hold some
            "erlang_versions": ",".join("'%s'" % protocol.lower() for protocol in self.protocols),
            "erlang_suites": ",".join('"%s"' % suite.openssl for suite in self.suites),
            "java_protocols": ",".join(self.protocols),
            "java_suites": ",".join(suite.iana for suite in self.suites),
        }


def _without_chacha20(suites: tuple[Suite, ...]) -> tuple[Suite, ...]:
    return tuple(suite for suite in suites if "CHACHA20" not in suite.iana)


PROFILES: t.Final[t.Mapping[str, Profile]] = {
    "intermediate": Profile("intermediate", PROTOCOLS, SUITES, ("X25519MLKEM768", "X25519", "prime256v1", "secp384r1")),
    # X25519MLKEM768 stays: its ML-KEM half is approved, and a hybrid counts by its approved half
    "fips": Profile("fips", PROTOCOLS, _without_chacha20(SUITES), ("X25519MLKEM768", "prime256v1", "secp384r1")),
    "old": Profile("old", PROTOCOLS, (*SUITES, *OLD_SUITES), ("X25519", "prime256v1", "secp384r1"), weak=True),
}
