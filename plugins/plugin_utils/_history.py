# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's history: a file that only ever grows, line chained to line; private to this collection."""

from __future__ import annotations

import os
import typing as t

from ..module_utils._core import _chain
from ..module_utils._core._chain import Chain, Entry, Head, Sealing
from ._folder import Folder, StoreError

FILE: t.Final = "history.jsonl"
#: What is read to find the last entry; one is seldom a hundredth of that.
_END: t.Final = 1 << 20


class History:
    """The history in the ledger's folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def lines(self) -> t.Iterator[bytes]:
        """Yield every line, in order."""
        return self._folder.lines(FILE)

    def entries(self) -> t.Iterator[Entry]:
        """Yield every entry that was finished, in order."""
        return (entry for entry in map(_chain.parse, self.lines()) if entry is not None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written to it."""
        return next(self.lines(), None) is None

    def append(
        self,
        entries: t.Sequence[Entry],
        *,
        at: str,
        by: Entry,
        old: bool = False,
        after: Head | None = None,
        sealing: Sealing | None = None,
    ) -> Head:
        """Append entries and return the head that they make; the caller holds the folder's lock.

        A line that a killed run did not finish is ended first, and stays: nothing is ever taken out.

        Args:
            entries: what is told.
            at: the time.
            by: who did it: ``operator`` and ``change``.
            old: whether the pairs are of version 1, so that they are taken over even where no line tells of them.
            after: the last head that was kept apart, where entries are sealed.
            sealing: how they are sealed.

        Raises:
            StoreError: what follows ``after`` was not written by us.
        """
        torn = b"" if self._folder.ends_with_a_line(FILE) else b"\n"
        first: Entry | None = None
        if sealing is None:
            head, first = self._end(old=old)
        else:
            head = self._sealed_end(after or Head(), sealing)
            first = _chain.sealed(head) if head.entries + 1 == sealing.first else None
        rows = [{**entry, **by, "at": at} for entry in (*([first] if first else []), *entries)]
        lines, head = _chain.chained(rows, head, sealing)
        if lines:
            self._folder.append(FILE, torn + b"".join(line + b"\n" for line in lines))
        return head

    def _sealed_end(self, kept: Head, sealing: Sealing) -> Head:
        """Return where the history ends: at the head that was kept, or after what a killed run wrote since."""
        for most in (_END, 0):
            chain = None if kept.entries else Chain(after=kept, sealing=sealing)
            for line in self._folder.lines(FILE, end=most):
                if chain is not None:
                    chain.add(line)
                elif _chain.digest(line) == kept.last:
                    chain = Chain(after=kept, sealing=sealing)
            if chain is not None and not chain.fault:
                return chain.head
        raise StoreError(
            "%s was changed while this run was under way: it does not go on from the %d entries that were sealed; run"
            " connsec.tls.verify, which names the entry" % (os.path.join(self._folder.path, FILE), kept.entries)
        )

    def _end(self, *, old: bool) -> tuple[Head, Entry | None]:
        """Return where the history ends, and what takes over lines of version 1 if it has no others."""
        for most in (_END, 0):  # all of it, if its end is nothing but what killed runs did not finish
            numbered, head = False, Head()
            for line in self._folder.lines(FILE, end=most):
                number = (_chain.parse(line) or {}).get("number")
                numbered = numbered or isinstance(number, int)
                head = Head(number if isinstance(number, int) else head.entries + 1, _chain.digest(line))
            if numbered:
                return head, None
        entry, head = _chain.took_over(self._folder.lines(FILE))
        return head, entry if head.entries or old else None
