# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both ends of a connection can do together, and which end took the rest away; private to this collection."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field

from ._entities import Limits
from ._errors import TlsError
from ._profile import PROFILES, SUITE_BY_NAME, Profile

#: In order of preference: what an identity's key is made as, if both ends take it.
KEY_TYPES: t.Final = ("ec-p256", "ec-p384", "rsa-3072", "rsa-2048", "rsa-4096")
FORMATS: t.Final = ("pem", "combined", "pkcs12", "java", "crl")
NAME_TYPES: t.Final = ("dns", "ip")


class NothingInCommon(TlsError):
    """Two ends have nothing in common, so no connection over TLS can come about."""


@dataclass(frozen=True)
class Agreement:
    """What is left for a connection, in order of preference.

    Attributes:
        suites: IANA names.
        common_name: whether some end needs a name as common name as well.
        reasons: for each respect that was narrowed, by whom.
    """

    protocols: tuple[str, ...]
    suites: tuple[str, ...]
    key_types: tuple[str, ...]
    common_name: bool = False
    reasons: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def key_type(self) -> str:
        """Return the key type that identities of this connection are made with."""
        return self.key_types[0]


_UNLIMITED: t.Final = Limits()

#: Respects in which ends are intersected: name of it in :class:`Limits` -> how a message calls it.
RESPECTS: t.Final[t.Mapping[str, str]] = {
    "protocols": "protocol version",
    "suites": "cipher suite",
    "key_types": "key type",
}


def agree(ends: t.Iterable[tuple[str, Limits]], *, profile: str = "intermediate") -> Agreement:
    """Return what all ends of a connection can do.

    Args:
        ends: each limited thing with the name that a message calls it: ``component router``, ``kind java``, ...
        profile: name of the listener's profile, from which everything starts.

    Raises:
        NothingInCommon: nothing is left in one respect; the sentence names who took what away.
    """
    return _agreed(tuple((who, limits) for who, limits in ends if limits != _UNLIMITED), profile)


@functools.lru_cache(maxsize=None)  # most ends have no limits, and those that have are few different ones
def _agreed(ends: tuple[tuple[str, Limits], ...], profile: str) -> Agreement:
    start = PROFILES[profile]
    left = {
        "protocols": start.protocols,
        "suites": tuple(suite.iana for suite in start.suites),
        "key_types": KEY_TYPES,
    }
    reasons: dict[str, str] = {}
    common_name = False
    for who, limits in ends:
        for respect in RESPECTS:
            able: tuple[str, ...] | None = getattr(limits, respect)
            if able is not None:
                left[respect] = _narrow(left[respect], able, respect, who, reasons)
        if limits.common_name:
            common_name = True
            reasons["common_name"] = "%s needs a common name" % who
    _fit_suites(left, start, reasons)
    return Agreement(left["protocols"], left["suites"], left["key_types"], common_name, reasons)


def _narrow(
    left: tuple[str, ...], able: tuple[str, ...], respect: str, who: str, reasons: dict[str, str]
) -> tuple[str, ...]:
    kept = tuple(value for value in left if value in able)
    if kept != left:
        said = "%s is limited to %s" % (who, ", ".join(able) or "nothing")
        reasons[respect] = "; ".join(filter(None, [reasons.get(respect), said]))
    if not kept:
        raise NothingInCommon("the ends have no %s in common: %s" % (RESPECTS[respect], reasons[respect]))
    return kept


def _fit_suites(left: dict[str, tuple[str, ...]], start: Profile, reasons: dict[str, str]) -> None:
    """Drop suites of protocols that are gone, protocols without a suite, and keys that no suite can use."""
    suites = [suite for suite in start.suites if suite.iana in left["suites"] and suite.protocol in left["protocols"]]
    usable = {suite.protocol for suite in suites}
    uses = {suite.authentication for suite in suites}
    keys = tuple(key for key in left["key_types"] if "any" in uses or key.split("-")[0] in uses)
    why = "; ".join(reasons[respect] for respect in RESPECTS if respect in reasons)
    if not suites:
        raise NothingInCommon("the ends have no cipher suite for a protocol version that both know: %s" % why)
    if not keys:
        raise NothingInCommon("the ends have no key type that a cipher suite of theirs can use: %s" % why)
    if keys != left["key_types"]:
        reasons["key_types"] = "no suite that is left uses other keys (%s)" % why
    left["protocols"] = tuple(protocol for protocol in left["protocols"] if protocol in usable)
    left["suites"] = tuple(suite.iana for suite in suites)
    left["key_types"] = keys


def agree_on_key(agreements: t.Iterable[tuple[str, Agreement]]) -> str:
    """Return the key type of an identity that is presented on all these connections (name, agreement).

    Raises:
        NothingInCommon: no key type suits all of them; they need identities of their own.
    """
    left: tuple[str, ...] = KEY_TYPES
    for name, agreement in agreements:
        kept = tuple(key for key in left if key in agreement.key_types)
        if not kept:
            raise NothingInCommon(
                "%s takes %s only and the other connections of this identity take %s; give it an identity of its own"
                % (name, ", ".join(agreement.key_types), ", ".join(left))
            )
        left = kept
    return left[0]


def clean_suite(name: str) -> str | None:
    """Return the IANA name of a suite that a profile has, from that or from OpenSSL's name."""
    suite = SUITE_BY_NAME.get(name)
    return suite.iana if suite else None
