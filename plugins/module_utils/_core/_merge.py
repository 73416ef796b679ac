# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking our own change out of a text that somebody else has edited since; private to this collection."""

from __future__ import annotations

import difflib
import typing as t
from dataclasses import dataclass

from ._errors import TlsError
from ._masked import masked


class Conflict(TlsError):
    """Somebody edited the very lines that we changed, so our change cannot be taken out."""


@dataclass(frozen=True, order=True)
class _Edit:
    """Lines ``low`` to ``high`` of the ancestor become ``new``."""

    low: int
    high: int
    new: tuple[str, ...]

    def meets(self, other: _Edit) -> bool:
        """Return whether both touch the same lines; two insertions at one place do as well."""
        if self.low == self.high and other.low == other.high:
            return self.low == other.low
        return self.low < other.high and other.low < self.high


def undo(before: str, after: str, current: str, *, ours_wins: bool = False) -> str:
    """Return ``current`` with our change from ``before`` to ``after`` taken out, and every other edit kept.

    It is the three-way merge of diff3 with ``after`` as the common ancestor: our reverse on one side, theirs on the
    other. Where both touch a line, nobody can know what is right.

    Args:
        before, after: what we changed.
        current: what the file holds now.
        ours_wins: whether the lines from ``before`` are taken where both touched them, and theirs are dropped.

    Raises:
        Conflict: the lines that we changed were changed again; the message shows them, secrets masked.
    """
    if current == after:
        return before
    base = _lines(after)
    ours, theirs = _edits(base, _lines(before)), _edits(base, _lines(current))
    kept = []
    for edit in theirs:
        met = [mine for mine in ours if mine.meets(edit) and mine != edit]
        if met and not ours_wins:
            raise Conflict(_said(base, met[0], edit))
        if not met and edit not in ours:
            kept.append(edit)
    merged: list[str] = []
    at = 0
    for edit in sorted([*ours, *kept]):
        merged += base[at : edit.low]
        merged += edit.new
        at = edit.high
    return _joined(merged + base[at:])


def _edits(base: t.Sequence[str], other: t.Sequence[str]) -> list[_Edit]:
    matcher = difflib.SequenceMatcher(None, base, other, autojunk=False)
    return [_Edit(i, j, tuple(other[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


def _lines(text: str) -> list[str]:
    """Return the lines with their ends; only line feeds end one."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _joined(lines: t.Sequence[str]) -> str:
    """Return the text; a line that was the last one, and had no end, gets that of the line which comes behind it."""
    ends = ["\r\n" if line.endswith("\r\n") else "\n" for line in lines[1:]]
    return "".join([line if line.endswith("\n") else line + end for line, end in zip(lines, ends)] + list(lines[-1:]))


def _said(base: t.Sequence[str], ours: _Edit, theirs: _Edit) -> str:
    low, high = min(ours.low, theirs.low), max(ours.high, theirs.high)
    left = shown("-", base[low:high])
    found = shown("+", [*base[low : theirs.low], *theirs.new, *base[theirs.high : high]])
    return "line %d was changed again since: %s" % (low + 1, "; ".join([*left, *found]) or "lines were taken out")


def shown(sign: str, lines: t.Sequence[str]) -> list[str]:
    """Return the first lines as a message may show them, each behind a sign; empty ones tell nothing."""
    return [sign + masked(line.rstrip("\r\n")) for line in lines[:5] if line]
