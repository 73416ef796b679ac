# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain of the ledger's history: how a line follows the one before; private to this collection.

A line is an entry as JSON. It carries its number and the SHA-256 of the line before it, so that one that is edited,
taken out or put in shows in the line that follows. What is taken off the end shows in the :class:`Head`, which is kept
apart. Nobody signs the chain: who can write all of it can make all of it anew, which only a copy of a head that lies
elsewhere (every report has one) brings to light.

A line that a killed run did not finish stays where it is and counts. Lines of version 1 have no number and nothing
counted them; a ``taken_over`` entry seals them as they were found.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass

VERSION: t.Final = 2
#: What an entry tells of.
MOVED: t.Final = "moved"
BEGUN: t.Final = "begun"
TAKEN_OVER: t.Final = "taken_over"

Entry = t.Dict[str, t.Any]


@dataclass(frozen=True)
class Head:
    """Where a chain ends: how many lines it has, and the digest of the last one."""

    entries: int = 0
    last: str = ""


def digest(line: bytes) -> str:
    """Return the digest by which the next line names this one."""
    return hashlib.sha256(line).hexdigest()


def chained(entries: t.Iterable[Entry], head: Head) -> tuple[list[bytes], Head]:
    """Return entries as lines that follow a head, and the head that they make."""
    lines = []
    for entry in entries:
        linked = {**entry, "version": VERSION, "number": head.entries + 1, "before": head.last}
        lines.append(json.dumps(linked, sort_keys=True, separators=(",", ":")).encode())
        head = Head(head.entries + 1, digest(lines[-1]))
    return lines, head


def sealed(lines: t.Iterable[bytes]) -> tuple[Entry, Head]:
    """Return the entry that takes over lines of version 1 as they are, and the head that it follows.

    It says what nobody can say of them any more: whether some are missing at their end.
    """
    chain = Chain()
    for line in lines:
        chain.add(line)
    entry = {
        "event": TAKEN_OVER,
        "from_version": 1,
        "entries": chain.head.entries,
        "digest": chain.digest,
        "fault": chain.fault or None,
        "note": "nothing counted the entries before this one, so it does not show if some are missing at their end",
    }
    return entry, chain.head


class Chain:
    """A chain that is walked line by line.

    Attributes:
        head: where it ends so far.
        fault: what is wrong with the first line that does not follow; empty while all do.
    """

    def __init__(self, promised: Head | None = None) -> None:
        """Start with nothing; ``promised`` is the head that was kept apart, if there is one."""
        self.head = Head()
        self.fault = ""
        self._promised = promised
        self._before: Entry | None = None
        self._all = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The digest of all lines so far."""
        return self._all.hexdigest()

    def add(self, line: bytes) -> Entry | None:
        """Walk over the next line and return its entry; None if a killed run did not finish it."""
        entry = parse(line)
        if entry is not None and entry.get("event") == TAKEN_OVER and entry.get("from_version") == 1:
            self.fault = self._fault_of_seal(entry) or self._fault_of(entry)
        elif entry is not None and not self.fault:
            self.fault = self._fault_of(entry)
        self.head = Head(self.head.entries + 1, digest(line))
        self._before = entry
        self._all.update(line + b"\n")
        promised = self._promised
        if not self.fault and promised and promised.entries == self.head.entries and promised.last != self.head.last:
            self.fault = "%s was edited" % _named(entry, self.head.entries)
        return entry

    def end(self) -> str:
        """Return what is wrong with the first line that does not follow, or that lines are missing at the end."""
        if not self.fault and self._promised and self._promised.entries > self.head.entries:
            last = "ends after %s" % _named(self._before, self.head.entries) if self.head.entries else "is empty"
            return "it %s, and %d entries were written" % (last, self._promised.entries)
        return self.fault

    def _fault_of(self, entry: Entry) -> str:
        number = self.head.entries + 1
        written = entry.get("number", number)
        if isinstance(written, int) and written > number:
            which = "entry %d is" % number if written == number + 1 else "entries %d to %d are" % (number, written - 1)
            return "%s missing before %s" % (which, _named(entry, written))
        if written != number:
            return "%s stands in the place of entry %d" % (_named(entry, written), number)
        if entry.get("before") == self.head.last:
            return ""
        if not self.head.entries:
            return "entries are missing before %s" % _named(entry, number)
        return "%s is not the one that entry %d follows: one of the two was edited" % (
            _named(self._before, self.head.entries),
            number,
        )

    def _fault_of_seal(self, entry: Entry) -> str:
        """Return that entries of version 1 are not as they were taken over; what was wrong then is in the seal."""
        if entry.get("entries") == self.head.entries and entry.get("digest") == self.digest:
            return ""
        return self.fault or "the %s entries before entry %d are not those that it took over" % (
            entry.get("entries"),
            self.head.entries + 1,
        )


def parse(line: bytes) -> Entry | None:
    """Return the entry of a line; None if it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _named(entry: Entry | None, number: t.Any) -> str:
    """Return how a message calls an entry."""
    if not entry:
        return "entry %s, which was never finished," % number
    what = entry.get("pair") or entry.get("event") or "of nothing"
    return "entry %s (%s, %s)" % (number, entry.get("at") or "no time", what)
