# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The enumeration as rows for machines and as lines for people; private to this collection."""

from __future__ import annotations

import typing as t
from collections import Counter

from ..module_utils._core._category import categorize
from ..module_utils._core._entities import Model, pair_to_json

Row = dict[str, t.Any]

#: Columns of the table: heading -> what of a row stands there.
COLUMNS: t.Final[t.Mapping[str, t.Callable[[Row], str]]] = {
    "pair": lambda row: str(row["id"]),
    "wave": lambda row: str(row["wave"]),
    "mode": lambda row: str(row["mode"]),
    "relation": lambda row: str(row["category"]["relation"]),
    "protocol": lambda row: str(row["category"]["protocol"]),
    "systems": lambda row: _both(row["category"]["operating_systems"]),
    "kinds": lambda row: _both(row["category"]["implementation"]),
    "dials": lambda row: str(row["dial"]),
}


def rows(model: Model) -> list[Row]:
    """Return one row a pair: what it is, its four categories, and the reason of each."""
    return [{**pair_to_json(pair), "category": categorize(model, pair).to_json()} for pair in model.pairs]


def lines(table: t.Sequence[Row]) -> list[str]:
    """Return the rows as an aligned table, with the reasons below each row, and a summary at the end."""
    cells = [list(COLUMNS), *([column(row) for column in COLUMNS.values()] for row in table)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(COLUMNS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    result = [text[0]]
    for row, line in zip(table, text[1:], strict=True):
        reasons = row["category"]["reasons"]
        result.append(line)
        result.append("    because " + " | ".join("%s: %s" % item for item in reasons.items()))
        if row["blocked"]:
            result.append("    blocked: %s" % row["blocked"])
    return [*result, *_summary(table)]


def _summary(table: t.Sequence[Row]) -> list[str]:
    waves = Counter(row["wave"] for row in table)
    blocked = sum(1 for row in table if row["blocked"])
    return [
        "%d pairs in %d waves (%s), %d of them blocked"
        % (len(table), len(waves), ", ".join("wave %d: %d" % item for item in sorted(waves.items())) or "none", blocked)
    ]


def _both(ends: t.Sequence[str]) -> str:
    return ends[0] if ends[0] == ends[1] else "%s to %s" % (ends[0], ends[1])
