# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SChannel of a Windows host can negotiate, out of what ``win_schannel`` shows; private to this collection.

Sources, both of Microsoft: "Protocols in TLS/SSL (Schannel SSP)" for what a Windows has, and "Transport Layer Security
(TLS) registry settings" for what the registry makes of it. ``Enabled`` 0 takes a version from everybody;
``DisabledByDefault`` takes it from programs that do not ask for it by name.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ._errors import TlsError

Side = t.Literal["client", "server"]
Key = t.Literal["rsa", "ecdsa"]
State = t.Literal["on", "by_request", "off", "unknown"]

#: All versions, as the registry names them.
VERSIONS: t.Final = ("SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3")
#: The versions that this collection rolls out.
WANTED: t.Final = ("TLS 1.2", "TLS 1.3")

#: From a build on: what holds where the registry says nothing; "none" where that Windows has no such version at all.
#: Server 2016 is 14393, Server 2022 is 20348. Of Server 2025, 26100, the page says only that TLS 1.0 and 1.1 are on
#: their way out, so nothing is claimed of them there.
_DEFAULTS: t.Final[tuple[tuple[int, t.Mapping[str, str]], ...]] = (
    (
        14393,
        {"SSL 2.0": "none", "SSL 3.0": "off", "TLS 1.0": "on", "TLS 1.1": "on", "TLS 1.2": "on", "TLS 1.3": "none"},
    ),
    (20348, {"TLS 1.3": "on"}),
    (26100, {"TLS 1.0": "unknown", "TLS 1.1": "unknown"}),
)

#: Keys below ``SCHANNEL\Ciphers`` and ``SCHANNEL\KeyExchangeAlgorithms`` -> the suites that they are for.
_SWITCHES: t.Final[t.Mapping[str, t.Pattern[str]]] = {
    "AES 128/128": re.compile(r"AES_128"),
    "AES 256/256": re.compile(r"AES_256"),
    "Triple DES 168": re.compile(r"3DES"),
    "RC4 128/128": re.compile(r"RC4_128"),
    "NULL": re.compile(r"_NULL_"),
    "Diffie-Hellman": re.compile(r"^TLS_DHE_"),
    "ECDH": re.compile(r"^TLS_ECDHE_"),
    "PKCS": re.compile(r"^TLS_RSA_WITH_"),
}
_TLS13: t.Final = re.compile(r"^TLS_(AES|CHACHA20)_[0-9A-Z_]+$")
_KEYS: t.Final[t.Mapping[Key, t.Pattern[str]]] = {
    "rsa": re.compile(r"^TLS_(ECDHE_RSA|DHE_RSA|RSA)_WITH_(?!NULL)"),
    "ecdsa": re.compile(r"^TLS_ECDHE_ECDSA_WITH_(?!NULL)"),
}
#: Suites that came with TLS 1.2 (RFC 5246, 5288, 5289): authenticated ciphers, and hashes newer than SHA-1.
_TLS12_ALONE: t.Final = re.compile(r"(GCM|_SHA256$|_SHA384$)")
_CURVE: t.Final = re.compile(r"_P(256|384|521)$")


class SchannelUnknown(TlsError):
    """What a host's SChannel does cannot be told."""


@dataclass(frozen=True)
class Policy:
    """The policy of one host.

    Attributes:
        build: the build of its Windows.
        values: ``Enabled`` and ``DisabledByDefault`` of a version and a side, None where the registry has none.
        off: the switches of ciphers and key exchanges that are set to 0.
        suites: the suites in their order, those of the group policy where it has any; None where neither list is there.
    """

    build: int
    values: t.Mapping[tuple[str, Side], tuple[int | None, int | None]]
    off: frozenset[str] = frozenset()
    suites: tuple[str, ...] | None = None


def read_policy(state: t.Mapping[str, t.Any]) -> Policy:
    """Return the policy that ``win_schannel`` showed.

    Raises:
        SchannelUnknown: the host's Windows is older than the table.
    """
    build = int(state["build"])
    if build < _DEFAULTS[0][0]:
        raise SchannelUnknown(
            "Windows build %d is older than Server 2016 (build %d), and what its SChannel does is not known here"
            % (build, _DEFAULTS[0][0])
        )
    values: dict[tuple[str, Side], tuple[int | None, int | None]] = {}
    for version, sides in state["protocols"].items():
        for side, row in sides.items():
            values[version, side] = row["enabled"], row["disabled_by_default"]
    off = frozenset(name for name, enabled in state["switches"].items() if enabled == 0)
    return Policy(build, values, off, _suites(state))


def _suites(state: t.Mapping[str, t.Any]) -> tuple[str, ...] | None:
    """Return the suites: the group policy is one text with commas, the machine's own list has a line for each."""
    found = state["policy_suites"] or state["local_suites"]
    if isinstance(found, str):
        found = [row.strip() for row in found.split(",")]
    return None if found is None else tuple(_CURVE.sub("", row) for row in found if row)


def state_of(policy: Policy, version: str, side: Side) -> State:
    """Return whether a version is on, on for those that ask for it by name, off, or nobody can tell."""
    default = ""
    for build, row in _DEFAULTS:
        if policy.build >= build:
            default = row.get(version, default)
    if default == "none":
        return "off"
    enabled, by_default = policy.values.get((version, side), (None, None))
    if enabled == 0:
        return "off"
    if enabled is None and default == "off":
        return "off"
    if by_default is not None:
        return "by_request" if by_default else "on"
    if enabled is None:
        return t.cast(State, default)
    return "by_request" if default == "off" else "on"


def suites_of(policy: Policy, version: str, key: Key) -> tuple[str, ...] | None:
    """Return the suites that are left for a version and a sort of key; None where the host has no list of them."""
    if policy.suites is None:
        return None
    stopped = [_SWITCHES[name] for name in policy.off if name in _SWITCHES]
    left = [suite for suite in policy.suites if not any(each.search(suite) for each in stopped)]
    if version == "TLS 1.3":
        return tuple(suite for suite in left if _TLS13.match(suite))
    fits = [suite for suite in left if _KEYS[key].match(suite)]
    return tuple(suite for suite in fits if version == "TLS 1.2" or not _TLS12_ALONE.search(suite))


def negotiable(policy: Policy, side: Side, key: Key, *, asks: t.Collection[str] = ()) -> tuple[str, ...]:
    """Return the versions that a program can negotiate, the oldest first.

    Args:
        policy: the host's.
        side: whether it listens or connects.
        key: the sort of the server's key.
        asks: versions that the program asks for by name.
    """
    found = []
    for version in VERSIONS:
        state = state_of(policy, version, side)
        suites = suites_of(policy, version, key)
        if (state == "on" or (state == "by_request" and version in asks)) and suites != ():
            found.append(version)
    return tuple(found)


def lacks(policy: Policy, side: Side, key: Key, *, asks: t.Collection[str] = ()) -> str | None:
    """Return in one sentence why a program can negotiate neither TLS 1.2 nor TLS 1.3; None if it can."""
    if set(negotiable(policy, side, key, asks=asks)) & set(WANTED):
        return None
    states = {version: state_of(policy, version, side) for version in WANTED}
    if all(state == "off" for state in states.values()):
        return "SChannel has TLS 1.2 and TLS 1.3 off for the %s; win_schannel turns TLS 1.2 on" % side
    if not any(state == "on" for state in states.values()):
        return "SChannel has TLS 1.2 only for a %s that asks for it by name; win_schannel turns it on for all" % side
    return "SChannel's cipher suites have none for TLS 1.2 or later with a key of the sort %s" % key.upper()
