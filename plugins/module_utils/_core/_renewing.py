# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that go on for now and that others have not renewed yet; private to this collection.

Nothing is wrong with their pairs, so none of them tells of it, until the day on which all of them fail.
"""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from ._evidence import Evidence, fails
from ._material import DAY, IdentityInfo
from ._requesting import Awaited


@dataclass(frozen=True)
class Unrenewed:
    """A certificate that ends, unless somebody signs the one that is to follow it.

    Attributes:
        identity: whose it is.
        evidence: what was expected and seen, and who has to do what.
        ends: the first moment at which it, or what stands above it, is over; in seconds since 1970.
        days_left: the whole days until then.
        is_urgent: whether two thirds of the time have passed in which its renewal was due.
    """

    identity: str
    evidence: Evidence
    ends: int
    days_left: int
    is_urgent: bool


def unrenewed(
    awaited: t.Mapping[str, Awaited], found: t.Mapping[str, IdentityInfo], *, now: float
) -> tuple[Unrenewed, ...]:
    """Return the certificates that go on and whose successors wait for others, those that end first first.

    Args:
        awaited: the identities that wait for somebody who may sign.
        found: what the store has of identities.
        now: seconds since 1970.
    """
    rows = (_unrenewed(found[name], awaits, now=int(now)) for name, awaits in awaited.items() if name in found)
    return tuple(sorted((row for row in rows if row.ends >= now), key=lambda row: (row.ends, row.identity)))


def _unrenewed(info: IdentityInfo, awaits: Awaited, *, now: int) -> Unrenewed:
    ends = info.chain_not_after
    day = datetime.datetime.fromtimestamp(ends, datetime.timezone.utc).date().isoformat()
    left = max(0, (ends - now) // DAY)
    expected = "the certificate of %s is renewed before it ends on %s" % (info.name, day)
    seen = "%s; it ends in %d %s" % (awaits.seen, left, "day" if left == 1 else "days")
    # due from two thirds of its life on; a third of the rest is left at eight ninths
    is_urgent = now >= info.not_before + (ends + 1 - info.not_before) * 8 // 9
    return Unrenewed(
        info.name, fails("presented", expected, seen, "signature", todo=awaits.todo), ends, left, is_urgent
    )
