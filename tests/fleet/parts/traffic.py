# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the messages of each pair: the tallies of both ends, joined."""

from __future__ import annotations

import typing as t

from .inventory import Fleet, Pair
from .records import Row
from .settings import SILENCE

#: Version of `traffic.json`.
VERSION: t.Final = 1


def account(fleet: Fleet, rows: t.Iterable[Row], *, alive: bool) -> dict[str, t.Any]:
    """Return `traffic.json`.

    Args:
        fleet: the pairs.
        rows: the tallies of all instances, all runs.
        alive: whether the fleet runs, so that messages may be under way.
    """
    by_pair: dict[str, list[Row]] = {}
    for row in rows:
        by_pair.setdefault(row["id"], []).append(row)
    return {
        "version": VERSION,
        "connections": [_connection(pair, by_pair.get(pair.id, []), alive=alive) for pair in fleet.pairs],
    }


def _connection(pair: Pair, rows: t.Sequence[Row], *, alive: bool) -> dict[str, t.Any]:
    """Return the sums of a pair.

    What a run that has ended left open is lost. A gap is a time without messages at the server or without answers at
    the client, whichever is longer, above the time that the client leaves between two messages anyway.
    """
    clients = sorted((row for row in rows if row["role"] == "client"), key=lambda row: row["run"])
    servers = sorted((row for row in rows if row["role"] == "server"), key=lambda row: row["run"])
    left = sum(row["open"] for row in clients[: -1 if alive else None])
    interval = clients[-1]["interval_ms"] if clients else 0
    last = servers[-1] if servers else {}
    return {
        "id": pair.id,
        "sent": _sum(clients, "sent"),
        "answered": _sum(clients, "answered"),
        "lost": _sum(clients, "lost") + left,
        "under_way": clients[-1]["open"] if alive and clients else 0,
        "repeated": _sum(servers, "repeated"),
        "resent": _sum(clients, "repeated"),
        "late": _sum(servers, "late"),
        "resets": _sum(servers, "resets"),
        "longest_gap_ms": max([0, *(row["longest_gap_ms"] - interval for row in rows)]),
        "permissive": pair.shape != "flip",
        "announced_ms": round(pair.interruption * 1000),
        "mode": pair.mode,
        "canary": pair.canary,
        "security": "mutual" if last.get("verified") else "tls" if last.get("tls") else "clear",
    }


def _sum(rows: t.Iterable[Row], name: str) -> int:
    return sum(int(row[name]) for row in rows)


def overdue(row: Row) -> bool:
    """Return whether a pair was silent for longer than announced.

    A pause that is too short to make a client send again is no interruption.
    """
    return bool(row["longest_gap_ms"] > max(row["announced_ms"], SILENCE * 1000))


#: The columns of the table, by the name of what they show.
COLUMNS: t.Final = {
    "sent": "sent",
    "answered": "answered",
    "lost": "lost",
    "repeated": "repeated",
    "late": "late",
    "resets": "resets",
    "longest_gap_ms": "gap ms",
    "announced_ms": "announced",
    "security": "security",
}


def table(traffic: t.Mapping[str, t.Any]) -> str:
    """Return the sums as a table for people."""
    rows = [("pair", *COLUMNS.values())]
    rows += [(row["id"], *(str(row[name]) for name in COLUMNS)) for row in traffic["connections"]]
    return "\n".join(aligned(rows))


def aligned(rows: t.Sequence[t.Sequence[str]]) -> list[str]:
    """Return rows as lines: the first cell of each at the left, the others under each other at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))])
        for first, *cells in rows
    ]
