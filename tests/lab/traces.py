# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab could leave on a machine, as a list that is compared before and after.

Whatever carries the name of another lab is passed over, for other people's tests may run meanwhile.
"""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from . import mounts, nspawn, processes
from .names import STATES, Net

#: Words in the command lines of processes that have to do with hosts, or with connections to them.
_TELLING: t.Final = ("systemd-nspawn", "debootstrap", str(STATES), "/lib/systemd/systemd")


def found(net: Net) -> list[str]:
    """Return everything there is of the kinds of things that a lab makes, whoever made it; nothing of other labs."""
    others = [entry for entry in STATES.glob("*") if entry != net.state]
    names = [word for other in others for word in (Net(other.name).mark, "%s/" % other)]
    names += [str(other) for other in others] + _locks(others)
    shared = {"file %s" % folder for folder in (STATES, nspawn.RUN, *nspawn.RUN.glob("*"))} if others else set()
    lines = [*_links(), *_mounts(), *_groups(), *_files(), *_processes()]
    return sorted(line for line in lines if line not in shared and not any(name in line for name in names))


def _locks(others: t.Iterable[Path]) -> list[str]:
    """Return the names of the locks that nspawn holds for other labs."""
    roots = [os.stat(root) for other in others for root in other.glob("hosts/*/root")]
    return ["inode-%d:%d" % (root.st_dev, root.st_ino) for root in roots]


def _links() -> list[str]:
    return ["link %s" % entry.name for entry in Path("/sys/class/net").iterdir()]


def _mounts() -> list[str]:
    return ["mount %s" % row.point for row in mounts.table()]


def _groups() -> list[str]:
    folders = (folder for root in nspawn.hierarchies() for folder, _folders, _files in os.walk(root))
    return ["control group %s" % folder for folder in folders]


def _files() -> list[str]:
    folders = (STATES, Path("/run/netns"), nspawn.RUN)
    return ["file %s" % path for folder in folders if folder.exists() for path in (folder, *folder.rglob("*"))]


def _processes() -> list[str]:
    seen: list[str] = []

    def note(words: list[str]) -> bool:
        line = " ".join(words)
        if any(word in line for word in _TELLING):
            seen.append("process %s" % line)
        return False

    processes.find(note)
    return seen
