# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking our own change out of a text that somebody else has edited since; private to this collection."""

from __future__ import annotations

import difflib
import typing as t

from ._errors import TlsError


class Conflict(TlsError):
    """Somebody edited the very lines that we changed, so our change cannot be taken out."""


def undo(before: str, after: str, current: str) -> str:
    """Return ``current`` with our change from ``before`` to ``after`` taken out, and every other edit kept.

    It is the three-way merge of diff3 with ``after`` as the common ancestor: our reverse on one side, theirs on the
    other. Where both touch a line, nobody can know what is right.

    Raises:
        Conflict: the lines that we changed were changed again; the message names them.
    """
    if current == after:
        return before
    base, ours, theirs = (text.splitlines(keepends=True) for text in (after, before, current))
    our_edits = _edits(base, ours)
    their_edits = _edits(base, theirs)
    for low, high, _new in our_edits:
        for their_low, their_high, _their_new in their_edits:
            if _meet(low, high, their_low, their_high):
                found = "".join(theirs[_shift(their_edits, their_low) :][:3]) or "(taken out)"
                raise Conflict(
                    "line %d was changed since our step, from %r; it is now near %r"
                    % (low + 1, "".join(base[low:high]), found)
                )
    merged: list[str] = []
    at = 0
    for low, high, new in sorted([*our_edits, *their_edits]):
        merged += base[at:low]
        merged += new
        at = high
    return "".join(merged + base[at:])


Edit = t.Tuple[int, int, t.List[str]]


def _edits(base: t.Sequence[str], other: t.Sequence[str]) -> list[Edit]:
    """Return what leads from base to other: lines ``low`` to ``high`` of base become new ones."""
    matcher = difflib.SequenceMatcher(None, base, other, autojunk=False)
    return [(i, j, list(other[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


def _meet(low: int, high: int, other_low: int, other_high: int) -> bool:
    """Return whether two edits touch the same lines; two insertions at one place do as well."""
    if low == high and other_low == other_high:
        return low == other_low
    return low < other_high and other_low < high


def _shift(edits: t.Sequence[Edit], line: int) -> int:
    """Return where a line of base stands in the text that the edits make."""
    return line + sum(len(new) - (high - low) for low, high, new in edits if high <= line)
