# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an interruption is allowed: a component's window, an operator's word for a run; private to this collection.

All times are UTC, and moments are seconds since 1970; nobody asks a clock here.
"""

from __future__ import annotations

import datetime
import re
import typing as t
from dataclasses import dataclass

from ._errors import TlsError
from ._evidence import fails
from ._hold import Hold, refuted
from ._scene import Scene
from ._stages import MOVES_TO
from ._steps import Round, Step

DAYS: t.Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK: t.Final = 7
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z")


@dataclass(frozen=True)
class Window:
    """A time of the day, on some days of the week, perhaps over midnight.

    Attributes:
        text: as it was written.
        days: numbers of the days on which it opens, Monday is 0.
        opens, closes: minutes since midnight; one that closes no later than it opens does so on the day after.
    """

    text: str
    days: frozenset[int]
    opens: int
    closes: int

    @staticmethod
    def parse(text: str) -> Window:
        """Return the window ``[days ]HH:MM-HH:MM``, which the model has checked."""
        days, _unused, hours = text.rpartition(" ")
        first, last = (int(each[:2]) * 60 + int(each[3:]) for each in hours.split("-"))
        named = frozenset(DAYS.index(day) for day in days.split(",")) if days else frozenset(range(_WEEK))
        return Window(text, named, first, last)

    def is_open(self, now: float, *, seconds: float = 0.0) -> bool:
        """Return whether it is open now, and stays so for some seconds."""
        return any(first <= now and now + seconds <= last for first, last in self._around(now))

    def next_open(self, now: float, *, seconds: float = 0.0) -> float | None:
        """Return the first moment from now on at which it is open for some seconds; None if it never is for so long."""
        fitting = [first for first, last in self._around(now) if first >= now and last - first >= seconds]
        return min(fitting, default=None)

    def _around(self, now: float) -> t.Iterator[tuple[float, float]]:
        """Yield when it opens and closes, from yesterday until in a week."""
        minutes = (self.closes - self.opens - 1) % (24 * 60) + 1
        today = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
        midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
        for ahead in range(-1, _WEEK + 1):
            day = midnight + datetime.timedelta(days=ahead)
            if day.weekday() in self.days:
                first = day + datetime.timedelta(minutes=self.opens)
                yield first.timestamp(), (first + datetime.timedelta(minutes=minutes)).timestamp()


def allowed_until(text: str, *, now: float) -> float:
    """Return the moment until which somebody allows interruptions: ``23:30``, the next one, or a date with a time zone.

    Raises:
        TlsError: it is neither, or it is over.
    """
    today = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    clock = _CLOCK.match(text)
    if clock:
        found = today.replace(hour=int(clock.group(1)), minute=int(clock.group(2)), second=0, microsecond=0)
        return (found if found > today else found + datetime.timedelta(days=1)).timestamp()
    try:
        found = datetime.datetime.fromisoformat(re.sub("Z$", "+00:00", text))
    except ValueError:
        found = today.replace(tzinfo=None)
    if found.tzinfo is None:
        raise TlsError(
            "tls_window: %r does not say until when interruptions are allowed; write 23:30 (UTC, the next one) or"
            " 2026-11-28T23:30Z" % text
        )
    if found <= today:
        raise TlsError("tls_window: %s is over; it is %s now" % (text, shown(now)))
    return found.timestamp()


def shown(moment: float) -> str:
    """Return a moment as messages have it."""
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC (%a)")


def interrupts(scene: Scene, step: Step) -> bool:
    """Return whether a step may cut off somebody: its kind announces that, or its process is restarted."""
    kind = scene.kinds[step.instance.name]
    return bool(kind.cuts(step)) or "restart" in (step.apply, kind.how(step))


def moves_a_cluster(scene: Scene, this: Round) -> bool:
    """Return whether the round flips members of a cluster, so that all of it is interrupted."""
    return this.together and any(scene.model.pair(name).link for step in this.steps for name in step.pairs)


def why_not_now(scene: Scene, this: Round, step: Step, *, now: float, until: float) -> Hold | None:
    """Return why a step of a round may not interrupt anybody now; None if it may, or does not.

    Args:
        scene: the model and the kinds.
        this: the round.
        step: the step.
        now: this moment.
        until: the moment until which the operator allows interruptions (``tls_window``); 0 if nobody said so.
    """
    component = step.instance.component
    gate, expected = MOVES_TO.get(step.stage, "presented"), "%s may be interrupted now" % component
    if now + this.interruption <= until:
        return None
    if moves_a_cluster(scene, this):
        seen = "the whole cluster is interrupted at once, for up to %g s, and tls_window does not allow it" % (
            this.interruption
        )
        return refuted(fails(gate, expected, seen, "window", todo="run with -e tls_window=<until when, HH:MM in UTC>"))
    text = scene.model.components[component].window
    if not text or not interrupts(scene, step):
        return None
    window = Window.parse(text)
    seconds = scene.kinds[step.instance.name].cuts(step)
    if window.is_open(now, seconds=seconds):
        return None
    opens = window.next_open(now, seconds=seconds)
    seen = "its window %s is shorter than the %g s that it takes" % (text, seconds)
    if opens is not None:
        seen = "its window %s opens at %s" % (text, shown(opens))
    todo = "run again then, or with -e tls_window=<until when, HH:MM in UTC> if it may be interrupted now"
    return refuted(fails(gate, expected, seen, "window", todo=todo))
