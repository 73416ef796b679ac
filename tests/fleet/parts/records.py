# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a component writes: its log, its list of sessions, and the tallies of its traffic."""

from __future__ import annotations

import collections
import json
import os
import time
import typing as t
from pathlib import Path

#: A log grows to this size, and one earlier part of it is kept.
LOG_LIMIT: t.Final = 32 << 20
#: A tally file grows to this size before it is reduced to the last line of each row.
TALLY_LIMIT: t.Final = 2 << 20
#: Seconds for which a session that has ended stays in the list, so that short ones are found in it.
ENDED_KEPT: t.Final = 30.0

Row = dict[str, t.Any]


def replace_file(path: Path, text: str) -> None:
    """Write a file whole, so that no reader ever meets half of it."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


class Log:
    """Lines of text, each with the time; written at once, for the process may be killed."""

    def __init__(self, path: Path, *, limit: int = LOG_LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def write(self, line: str) -> None:
        """Add a line."""
        self._size += os.write(self._file, ("%.3f %s\n" % (time.time(), line)).encode())
        if self._size > self._limit:
            os.close(self._file)
            os.replace(self._path, self._path.with_name(self._path.name + ".1"))
            self._open()


class Tallies:
    """Running sums of traffic, one row a connection; a line for each that changed is added every second.

    A row is known by run, role and id. Its last line counts: `read_tallies` keeps that one.
    """

    def __init__(self, path: Path, *, limit: int = TALLY_LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._written: dict[str, str] = {}

    def write(self, rows: t.Iterable[Row]) -> None:
        """Add the rows that changed since they were written last."""
        lines = []
        for row in rows:
            line = json.dumps(row, sort_keys=True) + "\n"
            if self._written.get(_row_key(row)) != line:
                self._written[_row_key(row)] = line
                lines.append(line)
        if not lines:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))
            size = file.tell()
        if size > self._limit:
            rows = read_tallies(self._path)
            replace_file(self._path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))


def read_tallies(path: Path) -> list[Row]:
    """Return the last line of each row; a line that a crash cut off is left out."""
    found: dict[str, Row] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[_row_key(row)] = row
    return list(found.values())


def _row_key(row: Row) -> str:
    return "%s %s %s" % (row["run"], row["role"], row["id"])


class SessionList:
    """The file with the sessions of a server: JSON lines with `peer`, `tls`, `verified`, `listener`, `client`.

    Each line has `ended` too: null, or when it ended; such a line stays for a while.
    """

    def __init__(self, path: Path, *, kept: float = ENDED_KEPT) -> None:
        self._path = path
        self._kept = kept
        self._open: dict[int, Row] = {}
        self._lines: dict[int, str] = {}
        self._ends: collections.deque[tuple[float, int]] = collections.deque()
        self._due = True

    def opened(self, key: int, row: Row) -> None:
        """Add a session."""
        self._open[key] = row
        self._note(key, row, ended=None)

    def ended(self, key: int) -> None:
        """Mark a session as ended."""
        row = self._open.pop(key, None)
        if row is not None:
            now = time.time()
            self._ends.append((now, key))
            self._note(key, row, ended=round(now, 3))

    def _note(self, key: int, row: Row, *, ended: float | None) -> None:
        self._lines[key] = json.dumps({**row, "ended": ended}) + "\n"
        self._due = True

    def write(self) -> None:
        """Write the file, if it is due."""
        oldest = time.time() - self._kept
        while self._ends and self._ends[0][0] < oldest:
            del self._lines[self._ends.popleft()[1]]
            self._due = True
        if self._due:
            self._due = False
            replace_file(self._path, "".join(self._lines.values()))
