# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until instances have the sessions that they should have; private to this collection."""

from __future__ import annotations

import time
import typing as t

from .._core._errors import TlsError
from ._destroyed import Destroyed
from ._network import probe_ports
from ._sight import Asked, Json, Sight

#: Seconds between two looks at sockets, and between two readings of a list, which may be long or made by a command.
_SOCKETS_EVERY: t.Final = 0.05
_LIST_EVERY: t.Final = 0.25
#: Seconds for which a client that connects now and then must not dial anew what it should have left. One whose
#: handshakes fail dials both, and only that tells it from one that works.
_QUIET: t.Final = 0.6


class Settling:
    """One wait: for a session of an instance, and for the end of those that it should not have any more."""

    def __init__(self, asked: Asked, sight: Sight, started: float) -> None:
        """Take in a row of a request's ``settle``.

        With ``hold`` the session has to have lasted for so many seconds. Without, one that came and went will do, if
        nothing that should be absent was dialled for a moment. With ``least`` so many have to be listed, and what is
        ``known`` does not count. With ``gather`` sessions that were listed on the way stay known, and with ``whole``
        the wait is as long as it may be.
        """
        self.name = str(asked["instance"])
        self._sight = sight
        self._hold = float(asked.get("hold") or 0)
        self._started = started
        self._end = started + float(asked.get("seconds") or 0)
        self._present, self._absent = set(asked.get("present") or ()), set(asked.get("absent") or ())
        self._listed = None if asked.get("listed") is None else set(asked["listed"])
        self._listener = asked.get("listener")
        self._least, self._old = int(asked.get("least") or 1), set(asked.get("known") or ())
        self._gathers, self._whole = bool(asked.get("gather")), bool(asked.get("whole"))
        self._known: set[str] | None = None
        self._since: dict[str, float] = {}
        self._next = 0.0
        self.settled = False

    def is_over(self) -> bool:
        """Look once more, and return whether the wait is over; ``settled`` tells how it ended."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (_SOCKETS_EVERY if self._listed is None else _LIST_EVERY)
            self.settled = self._by_sockets(now) if self._listed is None else self._by_list(now)
        return (self.settled and not self._whole) or now >= self._end

    def _by_sockets(self, now: float) -> bool:
        sight = self._sight
        sight.look_again()
        sight.note_recent()
        rows = [shown for shown in sight.recent.values() if shown["state"] == "ESTABLISHED" and shown["now"]]
        lasting = [shown for shown in rows if shown["first"] <= now - self._hold]
        used = {shown["peer"] for shown in lasting if shown["local"] not in self._old}
        if not self._hold:
            used |= {shown["peer"] for shown in sight.recent.values() if shown["new"]}
        present = not self._present or bool(used & self._present)
        return present and not {shown["peer"] for shown in rows} & self._absent and self._is_quiet(now)

    def _is_quiet(self, now: float) -> bool:
        """Return whether nothing that should be absent was dialled anew for a moment; a lasting session shows that."""
        if self._hold or not self._absent:
            return True
        rows = self._sight.recent.values()
        dialled = [shown["first"] for shown in rows if shown["new"] and shown["peer"] in self._absent]
        return bool(now - max([self._started, *dialled]) >= _QUIET)

    def _by_list(self, now: float) -> bool:
        """Return whether the server lists enough sessions over TLS from the addresses, and none in the clear.

        One that was not listed when the wait began will do, be it over or not: only what was agreed on is listed.
        """
        if not self._listed:
            return True
        try:
            rows = [row for row in self._sight.sessions() or () if self._is_ours(row)]
        except (TlsError, OSError):
            rows = []  # why it cannot be read is told by the look that follows
        if self._gathers:
            self._sight.gather(rows)
        peers = {str(row["peer"]) for row in rows if row.get("tls")}
        fresh = peers - (self._known if self._known is not None else peers)
        self._known = peers if self._known is None else self._known
        standing = [row for row in rows if not row.get("ended")]
        stay = {str(row["peer"]) for row in standing if row.get("tls")}
        self._since = {peer: self._since.get(peer, now) for peer in stay}
        lasting = {peer for peer, since in self._since.items() if now - since >= self._hold}
        return len(lasting | fresh) >= self._least and all(row.get("tls") for row in standing)

    def _is_ours(self, row: Json) -> bool:
        address = str(row.get("peer") or "").rpartition(":")[0].strip("[]")
        return row.get("listener") in (None, self._listener) and address in (self._listed or ())


def settle(rows: t.Sequence[Asked], sights: t.Mapping[str, Sight]) -> Json:
    """Wait for all rows at once. Sockets that come and go between two moments are told by the kernel, where it does.

    Returns:
        for each instance whether all that was waited for came about, and after how many seconds.
    """
    started = time.monotonic()
    waiting = [Settling(row, sights[row["instance"]], started) for row in rows if row.get("instance") in sights]
    found: Json = {}
    with Destroyed() as destroyed:
        while waiting:
            gone = destroyed.take()
            for name in {each.name for each in waiting}:
                sights[name].note_gone(gone, probe_ports())
            _look_once(waiting, found, started)
            if waiting:
                time.sleep(_SOCKETS_EVERY)
    return found


def _look_once(waiting: list[Settling], found: Json, started: float) -> None:
    """Look once more for each, and take out those whose wait is over, with how it ended."""
    for each in [each for each in waiting if each.is_over()]:
        before = found.get(each.name, {}).get("settled", True)
        found[each.name] = {"settled": each.settled and before, "seconds": round(time.monotonic() - started, 2)}
        waiting.remove(each)
