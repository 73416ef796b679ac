# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which terms a pair can use TLS: what its listener offers, what its client knows; private to this collection.

Limits come from components, listeners and kinds. They are intersected in ``_limits``; here is who brings which.
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass

from ._entities import Instance, Limits, Listener, Model, Pair
from ._errors import TlsError
from ._few import few
from ._kind import InstanceKind
from ._limits import Agreement, NothingInCommon, agree
from ._profile import PROFILES, PROTOCOLS, SUITE_BY_NAME, Profile

Kinds = t.Mapping[str, InstanceKind]
Named = t.Tuple[str, Limits]


@dataclass(frozen=True)
class Known:
    """What a client knows, as a handshake can be held to it; empty where it is not limited.

    Attributes:
        protocols: versions.
        ciphers: OpenSSL's list of suites of TLS 1.2.
        words: how a message says it.
    """

    protocols: tuple[str, ...] = ()
    ciphers: str = ""
    words: str = ""


def agreement(model: Model, kinds: Kinds, pair: Pair) -> Agreement:
    """Return what both ends of a pair can do together.

    Raises:
        TlsError: nothing; the sentence names the pair and who took what away.
    """
    ends = (*_of(model, kinds, pair.client), *_of(model, kinds, pair.server), _of_listener(pair.server, pair.listener))
    return _agreed(ends, pair.listener.profile, pair.id)


def offer(model: Model, kinds: Kinds, server: Instance, listener: Listener) -> dict[str, str]:
    """Return what a listener offers, in the words of each library: its profile, as far as its own end can do it.

    Raises:
        TlsError: its own end can do nothing of it.
    """
    ends = (*_of(model, kinds, server), _of_listener(server, listener))
    found = _agreed(ends, listener.profile, "%s.%s" % (server.name, listener.name))
    return _words(listener.profile, found.protocols, found.suites)


def common(model: Model, kinds: Kinds, pair: Pair) -> dict[str, str]:
    """Return what the client of a pair may use there, in the words of each library."""
    found = agreement(model, kinds, pair)
    return _words(pair.listener.profile, found.protocols, found.suites)


def known_by(model: Model, kinds: Kinds, client: Instance) -> Known:
    """Return what a client knows, of whatever any profile has."""
    return _known(_of(model, kinds, client))


def _of(model: Model, kinds: Kinds, instance: Instance) -> tuple[Named, ...]:
    """Return what limits an instance: its component, and its kind; one that is not ours need not have a kind here."""
    own = ("component %s" % instance.component, model.components[instance.component].limits)
    kind = kinds.get(instance.name)
    return (own, ("kind %s" % kind.kind, kind.limited)) if kind else (own,)


def _of_listener(server: Instance, listener: Listener) -> Named:
    return "listener %s.%s" % (server.component, listener.name), listener.limits


def _agreed(ends: t.Sequence[Named], profile: str, name: str) -> Agreement:
    try:
        return agree(ends, profile=profile)
    except NothingInCommon as error:
        raise TlsError("%s: %s" % (name, error)) from error


@functools.lru_cache(maxsize=None)
def _words(profile: str, protocols: tuple[str, ...], suites: tuple[str, ...]) -> dict[str, str]:
    groups = PROFILES[profile].groups
    return Profile(profile, protocols, tuple(SUITE_BY_NAME[name] for name in suites), groups).words()


@functools.lru_cache(maxsize=None)
def _known(ends: tuple[Named, ...]) -> Known:
    protocols: tuple[str, ...] = PROTOCOLS
    suites = tuple(suite for name, suite in SUITE_BY_NAME.items() if name == suite.iana)
    for _unused, limits in ends:
        if limits.protocols is not None:
            protocols = tuple(protocol for protocol in protocols if protocol in limits.protocols)
        if limits.suites is not None:
            suites = tuple(suite for suite in suites if suite.iana in limits.suites)
    limited = any(limits.suites is not None for _unused, limits in ends)
    if limited:
        protocols = tuple(protocol for protocol in protocols if any(suite.protocol == protocol for suite in suites))
    older = [suite.openssl for suite in suites if suite.protocol == "TLSv1.2"] if limited else []
    said = [", ".join(protocols)] if protocols != PROTOCOLS else []
    said += ["the suites %s" % few(older)] if older else []
    return Known(() if protocols == PROTOCOLS else protocols, ":".join(older), " and ".join(said))
