# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd-nspawn, each in a control group of its own, and what it leaves on a machine when it is killed.

`--keep-unit` makes nspawn put its payload below the control group that it runs in. Two in one group would share
`system.slice/ssh.service` and everything else: the systemd of one host then waits for processes of another.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t
from pathlib import Path

from . import LabError, mounts
from .processes import PATIENCE, Process, find, started

#: Enters the groups that are named before the `--`, and becomes the command after it.
_ENTER: t.Final = 'until [ "$1" = -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done; shift; exec "$@"'

#: Where it keeps what it notes about machines.
RUN: t.Final = Path("/run/systemd/nspawn")
_LOCKS: t.Final = RUN / "locks"
#: Where it keeps a folder for each machine.
_FOLDERS: t.Final = (RUN / "propagate", RUN / "unix-export")

#: Whatever a machine is for, the caller's settings files and service manager have no say in it.
OPTIONS: t.Final = ("--quiet", "--settings=no", "--register=no", "--keep-unit", "--timezone=off")


def command(name: str, *options: str) -> list[str]:
    """Return nspawn with these options, in the control groups of this name, which are made.

    Raises:
        LabError: they cannot be made.
    """
    groups = [root / name for root in hierarchies()]
    try:
        for group in groups:
            group.mkdir(exist_ok=True)
    except OSError as error:
        raise LabError("no control group can be made for a host: %s" % error) from error
    return ["sh", "-c", _ENTER, "sh", *map(str, groups), "--", "systemd-nspawn", *OPTIONS, *options]


def hierarchies() -> list[Path]:
    """Return where the control groups are mounted that a systemd uses: version 2, and its own of version 1."""
    return [Path(row.point) for row in mounts.table() if row.kind == "cgroup2" or "name=systemd" in row.options]


def members(name: str) -> list[Process]:
    """Return the processes of a machine, nspawn among them: all that are in its control groups."""
    files = [file for root in hierarchies() for file in (root / name).rglob("cgroup.procs")]
    pids: set[int] = set()
    for file in files:
        with contextlib.suppress(OSError):  # the group is gone
            pids |= {int(word) for word in file.read_text(encoding="ascii").split()}
    return [Process(pid, since) for pid in sorted(pids - {0}) if (since := started(pid))]


def forget(name: str, root: Path) -> None:
    """Remove what a machine whose processes are gone has left: control groups, its lock, and its folders.

    Raises:
        LabError: a control group is still in use.
    """
    for hierarchy in hierarchies():
        _remove_group(hierarchy / name)
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(root)
        (_LOCKS / ("inode-%d:%d" % (found.st_dev, found.st_ino))).unlink()
    for folder in _FOLDERS:
        mounts.remove_folder(folder / name)
    _remove_empty()


def _remove_group(group: Path) -> None:
    until = time.monotonic() + PATIENCE
    while group.exists():
        for folder, _folders, _files in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):  # a process is on its way out
                os.rmdir(folder)
        if group.exists():
            if time.monotonic() > until:
                raise LabError("control group %s is in use" % group)
            time.sleep(0.02)


def _remove_empty() -> None:
    """Remove the folders that nspawn shares between machines, once there are none; it makes them as it needs them."""
    if find(lambda words: Path(words[0]).name == "systemd-nspawn"):
        return
    for folder in (*_FOLDERS, _LOCKS, RUN):
        with contextlib.suppress(OSError):
            folder.rmdir()
