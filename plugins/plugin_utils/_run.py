# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run record, which keeps two runs apart while the first one's process lives; private to this collection.

It is given its name by a rename and nobody waits for the disk: a record that a system took with it when it went down
is of a process that went down as well.
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
import os
import socket
import typing as t
from dataclasses import dataclass

from ._folder import Folder, StoreError
from ._place import StorePaths

FILE = "run.json"


class RunHeld(StoreError):
    """Another run is going on."""


@dataclass(frozen=True)
class Run:
    """Who runs: the process of ansible-playbook, told apart from a later one of the same number by start and boot."""

    pid: int
    started: str
    boot: str
    host: str
    operator: str
    at: str
    what: str

    def __str__(self) -> str:
        return "%s by %s (process %d on %s, since %s)" % (self.what, self.operator, self.pid, self.host, self.at)


def claim(
    paths: StorePaths, *, at: str = "", what: str = "a run", pid: int | None = None, operator: str | None = None
) -> Run:
    """Claim the store for a run; a run may claim again what it holds.

    Args:
        paths: of the store.
        at: the time, for people; by default the clock's.
        what: the playbook or task, for people.
        pid: the process that stays for the whole run; in an action, the worker's parent (``os.getppid()``).
        operator: the person; by default the account.

    Raises:
        RunHeld: another run holds it.
    """
    pid = os.getppid() if pid is None else pid
    folder = _ledger(paths)
    folder.make()
    with contextlib.closing(folder), folder.locked():
        other = _read(folder)
        if other is not None and _is_of(other, pid):
            return other
        if other is not None and _is_alive(other):
            raise _held(other, paths)
        since = at or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        mine = Run(pid, _started(pid) or "", _boot(), socket.gethostname(), operator or _account(), since, what)
        text = json.dumps({"version": 1, **vars(mine)}, indent=1, sort_keys=True)
        folder.publish(folder.write_temporary(text.encode() + b"\n"), FILE)
    return mine


def refuse_while_held(paths: StorePaths, *, pid: int | None = None) -> None:
    """Refuse a task that changes the store or a host while another run is under way; one of that run itself goes on.

    Args:
        paths: of the store.
        pid: the process of the run that the task belongs to; in an action, the worker's parent (the default).

    Raises:
        RunHeld: another run holds the store.
    """
    run = holder(paths)
    if run is not None and not _is_of(run, os.getppid() if pid is None else pid):
        raise _held(run, paths)


def release(paths: StorePaths, *, pid: int | None = None) -> bool:
    """Give up the claim of a run, if it is still this run's; return whether it was."""
    pid = os.getppid() if pid is None else pid
    with contextlib.closing(_ledger(paths)) as folder:
        other = _read(folder)
        if other is None or not _is_of(other, pid):
            return False
        with folder.locked():
            folder.remove(FILE)
    return True


def holder(paths: StorePaths) -> Run | None:
    """Return the run that holds the store, or None; changes nothing."""
    with contextlib.closing(_ledger(paths)) as folder:
        run = _read(folder)
    return run if run is not None and _is_alive(run) else None


def _held(run: Run, paths: StorePaths) -> RunHeld:
    gone = "" if _can_be_judged(run) else ", or remove %s/%s if that host is gone" % (paths.ledger, FILE)
    return RunHeld("%s holds the store %s; wait for it%s" % (run, paths.ledger, gone))


def _ledger(paths: StorePaths) -> Folder:
    return Folder(paths.ledger, guarded=True)


def _read(folder: Folder) -> Run | None:
    text = folder.read(FILE, limit=1 << 16)
    if text is None or not text.strip(b"\0"):  # a system that goes down leaves a name without what was written
        return None
    try:
        content = json.loads(text)
        values = {name: field_type(content[name]) for name, field_type in _FIELDS.items()}
        return Run(**values)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        where = os.path.join(folder.path, FILE)
        raise StoreError("%s is damaged; remove it when no other run is going on" % where) from error


_FIELDS: t.Mapping[str, t.Callable[[t.Any], t.Any]] = {
    "pid": int,
    "started": str,
    "boot": str,
    "host": str,
    "operator": str,
    "at": str,
    "what": str,
}


def _is_of(run: Run, pid: int) -> bool:
    """Tell whether a run is that of a process which lives here."""
    here = (pid, _started(pid) or "", _boot(), socket.gethostname())
    return (run.pid, run.started, run.boot, run.host) == here


def _can_be_judged(run: Run) -> bool:
    """Tell whether the run's process, if it lived, would be seen from here."""
    return run.host == socket.gethostname()


def _is_alive(run: Run) -> bool:
    if not _can_be_judged(run):
        return True
    if run.boot != _boot():
        return False
    started = _started(run.pid)
    return started is not None and started == run.started


def _started(pid: int) -> str | None:
    """Return when a process began, in its system's own counting; None where there is no such process."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return None
        return _answers(pid)  # a controller that is not Linux
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]  # proc(5): field 22, starttime


def _answers(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "uid %d" % os.getuid()
