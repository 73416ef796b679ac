# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain of the ledger's history: how a line follows the one before; private to this collection.

A line is an entry as JSON. It carries its number and the SHA-256 of the line before it, so that one that is edited,
taken out or put in shows in the line that follows. What is taken off the end shows in the :class:`Head`, which is kept
apart. Who can write all of that can make all of it anew, unless the ledger is sealed: then each entry, from the first
sealed one on, carries an authenticator under a key that only those have who know the passphrase. It covers the entry's
number and the digest of the line before, and so all that came before as well.

A line that a killed run did not finish stays where it is and counts. Lines of version 1 have no number and nothing
counted them; a ``taken_over`` entry holds them as they were found.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import typing as t
from dataclasses import dataclass

VERSION: t.Final = 2
#: What an entry tells of.
MOVED: t.Final = "moved"
BEGUN: t.Final = "begun"
TAKEN_OVER: t.Final = "taken_over"
SEALED: t.Final = "sealed"
MISSED: t.Final = "missed"

Entry = t.Dict[str, t.Any]
#: Returns the authenticator of some bytes, under a key that it keeps to itself.
Authenticate = t.Callable[[bytes], str]


@dataclass(frozen=True)
class Sealing:
    """How entries are sealed: from the entry of this number on, by this function."""

    first: int
    authenticate: Authenticate


@dataclass(frozen=True)
class Head:
    """Where a chain ends: how many lines it has, and the digest of the last one."""

    entries: int = 0
    last: str = ""

    @staticmethod
    def parse(data: t.Any) -> Head | None:
        """Return a head that was written down; None if it is none, or that of nothing."""
        if not isinstance(data, dict) or set(data) != {"entries", "last"}:
            return None
        entries, last = data["entries"], data["last"]
        if not isinstance(entries, int) or not isinstance(last, str) or entries < 1:
            return None
        return Head(entries, last)


def digest(line: bytes) -> str:
    """Return the digest by which the next line names this one."""
    return hashlib.sha256(line).hexdigest()


def chained(entries: t.Iterable[Entry], head: Head, sealing: Sealing | None = None) -> tuple[list[bytes], Head]:
    """Return entries as lines that follow a head, sealed if ``sealing`` says how, and the head that they make."""
    lines = []
    for entry in entries:
        linked = {**entry, "version": VERSION, "number": head.entries + 1, "before": head.last}
        if sealing:
            linked["seal"] = sealing.authenticate(canonical(linked))
        lines.append(canonical(linked))
        head = Head(head.entries + 1, digest(lines[-1]))
    return lines, head


def sealed(head: Head) -> Entry:
    """Return the entry that says from where on entries are sealed; it follows ``head``."""
    note = "this entry and those after it carry seals; those before it are as they were found, and cannot change unseen"
    return {"event": SEALED, "entries": head.entries, "note": note}


def missed(heads: t.Iterable[Head]) -> Entry:
    """Return the entry that says which heads somebody was told of and the history has not, so that it is known."""
    note = "hosts were told of these entries, and they are not here: what was here before was replaced, or cut off"
    rows = [vars(head) for head in sorted(heads, key=lambda head: (head.entries, head.last))]
    return {"event": MISSED, "missed": rows, "note": note}


def canonical(value: t.Any) -> bytes:
    """Return a value as the one JSON text that its digests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def took_over(lines: t.Iterable[bytes]) -> tuple[Entry, Head]:
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
        carries_seal: the number of the first entry that carries a seal; 0 while none does.
    """

    def __init__(
        self,
        promised: Head | None = None,
        *,
        after: Head | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        """Start walking.

        Args:
            promised: the head that was kept apart, if there is one.
            after: the head that the first line follows, where lines before it are known to be right.
            sealing: how the entries are sealed; None if that is not to be checked.
        """
        self.head = after or Head()
        self.fault = ""
        self.carries_seal = 0
        self._promised = promised
        self._sealing = sealing
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
            self.fault = self._fault_of_taking_over(entry) or self._fault_of(entry)
        elif entry is not None and not self.fault:
            self.fault = self._fault_of(entry)
        if entry is not None and not self.fault:
            self.fault = self._fault_of_seal(entry)
        self.head = Head(self.head.entries + 1, digest(line))
        self._before = entry
        self._all.update(line + b"\n")
        if entry is not None and "seal" in entry and not self.carries_seal:
            self.carries_seal = self.head.entries
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
        """Return that an entry carries no seal, or not its own; nobody without the passphrase can make one."""
        number = self.head.entries + 1
        if self._sealing is None or number < self._sealing.first:
            return ""
        bare = {name: value for name, value in entry.items() if name != "seal"}
        if "seal" not in entry:
            return "%s carries no seal: it was written or edited without the passphrase" % _named(entry, number)
        if not hmac.compare_digest(str(entry["seal"]).encode(), self._sealing.authenticate(canonical(bare)).encode()):
            said = "%s does not fit its seal: it, or an entry before it, was edited without the passphrase"
            return said % _named(entry, number)
        return ""

    def _fault_of_taking_over(self, entry: Entry) -> str:
        """Return that entries of version 1 are not as they were taken over; what was wrong then is in that entry."""
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
