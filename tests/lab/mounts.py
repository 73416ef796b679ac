# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts below a folder, and removing a folder only when nothing is mounted in it."""

from __future__ import annotations

import re
import shutil
import typing as t
from dataclasses import dataclass
from pathlib import Path

from .processes import run

_TABLE: t.Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Mount:
    """What is mounted somewhere: its type, and the options of its filesystem."""

    point: str
    kind: str
    options: tuple[str, ...]


def parse_table(text: str) -> list[Mount]:
    """Return the rows of a mountinfo file, as proc(5) has it, in the order of mounting."""
    rows = []
    for line in text.splitlines():
        before, _dash, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split()[4])
        kind, _source, options = after.split(" ", 2)
        rows.append(Mount(point, kind, tuple(options.split(","))))
    return rows


def table() -> list[Mount]:
    """Return what is mounted now."""
    return parse_table(_TABLE.read_text(encoding="utf-8"))


def below(folder: Path) -> list[str]:
    """Return the mount points at or below a folder, those first that were mounted last."""
    points = [each.point for each in table()]
    return [point for point in reversed(points) if Path(point) == folder or folder in Path(point).parents]


def kind_of(folder: Path) -> str:
    """Return the type of the filesystem on which a folder lies."""
    above = {str(folder), *map(str, folder.parents)}
    return max((row for row in reversed(table()) if row.point in above), key=lambda row: len(row.point)).kind


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below a folder.

    Raises:
        LabError: something is in use.
    """
    for point in below(folder):
        run(["umount", point])


def remove_folder(folder: Path) -> None:
    """Remove a folder with all it has; what is mounted in it is unmounted, not emptied.

    Raises:
        LabError: something in it is in use.
        OSError: it cannot be removed.
    """
    unmount_below(folder)
    if folder.exists():
        shutil.rmtree(folder)
