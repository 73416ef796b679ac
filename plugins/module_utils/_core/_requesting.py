# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that others sign: when one is asked for, and which answer is taken; private to this collection."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from ._issuing import Signing, identity_rows, reason_of_key, reason_to_issue, renewal_at
from ._material import IdentityInfo, WantedIdentity, common_name_of, identity_target

#: RFC 5280, 4.1.2.6; OpenSSL's X509_V_FLAG_X509_STRICT, which Python 3.13 sets for its clients, insists on it.
_NAMELESS = (
    "its subject is empty, and its subjectAltName is not critical, as the request has it: clients that check strictly"
    " refuse that (RFC 5280, 4.1.2.6)"
)


@dataclass(frozen=True)
class OpenRequest:
    """A request that was made, and what it asks for.

    Attributes:
        names, usages, key_type, common_name: as planned then.
        spki_sha256: of its key.
        made_at: in seconds since 1970.
        key_at: where its key is: at the ``controller``, in the store, or at its ``host``.
    """

    names: tuple[str, ...]
    usages: tuple[str, ...]
    key_type: str
    common_name: str
    spki_sha256: str
    made_at: int
    key_at: str = "controller"


@dataclass(frozen=True)
class Answer:
    """What the PKI team brought back, as far as it could be read.

    Attributes:
        unreadable: why nothing can be said of it; empty if something can.
        foreign_key: whether no certificate of it is for the key of the request.
        names: its DNS names and IP addresses.
        other_names: those of its names that are neither, as ``email:...``.
        nameless: whether its subject is empty while its names are not marked critical.
        usages: of ours, those that it is for.
        other_usages: the identifiers of those that are not ours.
        signs: whether its key may sign handshakes.
        is_ca: whether it is an authority's certificate.
        untrusted: why no chain leads from it to the authority's CA list; empty if one does.
    """

    unreadable: str = ""
    foreign_key: bool = False
    names: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    nameless: bool = False
    usages: tuple[str, ...] = ()
    other_usages: tuple[str, ...] = ()
    signs: bool = True
    is_ca: bool = False
    common_name: str = ""
    not_before: int = 0
    not_after: int = 0
    untrusted: str = ""


@dataclass(frozen=True)
class Awaited:
    """An identity that waits for somebody who may sign.

    Attributes:
        authority: who signs it.
        seen: the sentence that says what it waits for, and since when.
        todo: who must do what.
    """

    authority: str
    seen: str
    todo: str


@dataclass(frozen=True)
class RequestPlaces:
    """Where a request and its answer lie on the controller."""

    request: str
    answer: str


def why_refused(answer: Answer, wanted: WantedIdentity, *, now: int) -> str:
    """Return why an answer is not taken, in its own words; empty if it is."""
    if answer.unreadable:
        return answer.unreadable
    if answer.foreign_key:
        return "it is for another key: no certificate in it has the key of the request"
    if answer.is_ca:
        return "it is a certificate of an authority, and no identity's"
    return (
        _names_refused(answer, wanted)
        or _usages_refused(answer, wanted)
        or _time_refused(answer, now=now)
        or (answer.untrusted and "its chain is foreign: %s" % answer.untrusted)
    )


def _names_refused(answer: Answer, wanted: WantedIdentity) -> str:
    missing = sorted(set(wanted.names) - set(answer.names))
    extra = [*sorted(set(answer.names) - set(wanted.names)), *answer.other_names]
    if missing:
        return "it lacks a name: %s" % ", ".join(missing)
    if extra:
        return "it has a name that was not asked for: %s" % ", ".join(extra)
    if answer.nameless:
        return _NAMELESS
    if wanted.common_name and answer.common_name != common_name_of(wanted):
        return "its common name is %r, planned %r" % (answer.common_name, common_name_of(wanted))
    return ""


def _usages_refused(answer: Answer, wanted: WantedIdentity) -> str:
    missing = [usage for usage in wanted.usages if usage not in answer.usages]
    extra = [*(usage for usage in answer.usages if usage not in wanted.usages), *answer.other_usages]
    if missing:
        only = " and ".join(answer.usages)
        return "it is for %s, and not for %s" % (only + " only" if only else "nothing of ours", " and ".join(missing))
    if extra:
        return "it is also for %s, which was not asked for" % ", ".join(extra)
    return "" if answer.signs else "its key may not sign (no digitalSignature in keyUsage), as every handshake needs"


def _time_refused(answer: Answer, *, now: int) -> str:
    if now < answer.not_before:
        return "it is not valid yet: it begins on %s" % _time(answer.not_before)
    return "it has expired on %s" % _time(answer.not_after) if now > answer.not_after else ""


def plan_requested(
    wanted: WantedIdentity,
    *,
    found: IdentityInfo | None,
    request: OpenRequest | None,
    answer: Answer | None,
    is_shown: bool,
    now: int,
    held: t.Collection[str] | None = None,
) -> Signing | None:
    """Return what to do about an identity that others sign: ask, take their answer, or nothing.

    Args:
        wanted: the identity as planned.
        found: its certificate in the store, if it has one.
        request: the request that is open, if one is.
        answer: what lies where its answer belongs.
        is_shown: whether the request lies where others find it.
        now: seconds since 1970.
        held: digests of the public halves of the keys that its host has, where they are born there; None if nobody
            looked.
    """
    reason = _reason(wanted, found=found, now=now, held=held)
    if reason is None:
        return None
    act, why = _act(wanted, reason, request=request, answer=answer, is_shown=is_shown, now=now, held=held)
    if act is None:
        return None
    before, after = identity_rows(wanted, found)
    keyless = wanted.key_at == "host"
    return Signing(identity_target(wanted.name), before, after, why, can_wait=True, act=act, keyless=keyless)


def _act(
    wanted: WantedIdentity,
    reason: str,
    *,
    request: OpenRequest | None,
    answer: Answer | None,
    is_shown: bool,
    now: int,
    held: t.Collection[str] | None,
) -> tuple[t.Literal["ask", "show", "take"] | None, str]:
    """Return what to do about a certificate that is needed, and why."""
    differs = _differs(request, wanted, held=held) if request else ""
    if request is None or differs:
        return "ask", differs or reason
    if answer is not None and not why_refused(answer, wanted, now=now):
        return "take", "its answer came: %s" % reason
    return (None, "") if is_shown else ("show", "its request is not where others find it")


def awaited(
    wanted: WantedIdentity,
    *,
    found: IdentityInfo | None,
    request: OpenRequest | None,
    answer: Answer | None,
    places: RequestPlaces,
    now: int,
    held: t.Collection[str] | None = None,
) -> Awaited | None:
    """Return for whom an identity that others sign waits; None if it has, or is about to take, what is planned."""
    reason = _reason(wanted, found=found, now=now, held=held)
    if reason is None:
        return None
    who = "authority %s" % wanted.authority
    since = " since %s" % _time(request.made_at) if request else ""
    seen = "identity %s waits for a signature of %s%s (%s)" % (wanted.name, who, since, reason)
    todo = "have %s sign %s, put the answer at %s, and run again" % (who, places.request, places.answer)
    if request is not None and answer is not None and not _differs(request, wanted, held=held):
        refused = why_refused(answer, wanted, now=now)
        if not refused:
            return None
        seen = "%s; the answer at %s is not taken: %s" % (seen, places.answer, refused)
    return Awaited(wanted.authority, seen, todo)


def _reason(
    wanted: WantedIdentity, *, found: IdentityInfo | None, now: int, held: t.Collection[str] | None
) -> str | None:
    """Return why another certificate is needed; how long it lives is the signer's own matter."""
    reason = reason_to_issue(wanted, found=found, now=now) or reason_of_key(wanted, found=found, held=held)
    if reason or found is None:
        return reason
    if found.key_at != wanted.key_at:
        return "its key was made at the %s, planned at the %s" % (found.key_at, wanted.key_at)
    renewal = renewal_at(wanted.name, not_before=found.not_before, not_after=found.not_after)
    return "two thirds of its life have passed" if now >= renewal else None


def _differs(request: OpenRequest, wanted: WantedIdentity, *, held: t.Collection[str] | None) -> str:
    """Return why a request that is open does not ask for what is planned now, or nobody has its key."""
    if request.key_at != wanted.key_at:
        return "the key of the open request was made at the %s, planned at the %s" % (request.key_at, wanted.key_at)
    if request.key_at == "host" and held is not None and request.spki_sha256 not in held:
        return "the key of the open request is not on its host any more"
    for what, asked, planned in (
        ("names", request.names, wanted.names),
        ("usages", request.usages, wanted.usages),
        ("key type", request.key_type, wanted.key_type),
        ("common name", request.common_name, common_name_of(wanted)),
    ):
        if asked != planned:
            return "the open request asks for other %s than planned" % what
    return ""


def terms_asked(wanted: WantedIdentity) -> dict[str, t.Any]:
    """Return what the request of an identity asks others for, as its host is told."""
    return {"names": list(wanted.names), "usages": list(wanted.usages), "common_name": common_name_of(wanted)}


def _time(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
