# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the messages of each pair: the tallies of both ends, joined."""

from __future__ import annotations

import typing as t

from .inventory import Fleet, Pair
from .records import Row

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


def table(traffic: t.Mapping[str, t.Any]) -> str:
    """Return the sums as a table for people."""
    names = ("sent", "answered", "lost", "repeated", "late", "resets", "longest_gap_ms", "security")
    rows = [("pair", *("gap ms" if name == "longest_gap_ms" else name for name in names))]
    rows += [(row["id"], *(str(row[name]) for name in names)) for row in traffic["connections"]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths)))
        for row in rows
    )
