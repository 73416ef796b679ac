# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of an instance: which, since when, as whom, in which environment; private to this collection."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
import typing as t

from .._core._errors import TlsError
from ._system import IS_LINUX

#: A pid file holds a number and perhaps more lines (PostgreSQL writes seven).
_PID_FILE_LIMIT: t.Final = 4096
_ENVIRONMENT_LIMIT: t.Final = 4 << 20
_SYSTEMCTL_SECONDS: t.Final = 10


class ProcessUnknown(TlsError):
    """The processes of an instance cannot be told."""


def pids_of(process: t.Mapping[str, t.Any] | None) -> list[int]:
    """Return the processes of an instance, the main one first; none if it does not run.

    Args:
        process: ``{}``, ``{pid_file: path}`` or ``{service: unit}``.

    Raises:
        ProcessUnknown: the file or the unit cannot be read.
    """
    if not process:
        return []
    if process.get("pid_file"):
        main, group = _pid_in(str(process["pid_file"])), ""
    elif process.get("service") and not IS_LINUX:
        return _asked("members", str(process["service"])) or []
    elif process.get("service"):
        main, group = _service(str(process["service"]))
    else:
        raise ProcessUnknown("a process is found by pid_file or by service, not by %s" % ", ".join(sorted(process)))
    if main is None or not runs(main):
        return []
    grouped = _group(group) if group else []
    return [main] + [pid for pid in grouped or descendants(main) if pid != main]


def _asked(what: str, *words: t.Any) -> t.Any:
    """Return what the tools of another system than Linux say; nothing of them is loaded on Linux.

    Raises:
        ProcessUnknown: they cannot be asked, or say what cannot be read.
    """
    from .._core._unix import ToolUnread
    from ._unix import members, processes, started_at, uid_of, variables_of

    questions: dict[str, t.Callable[..., t.Any]] = {
        "members": members,
        "processes": processes,
        "started": started_at,
        "uid": uid_of,
        "variables": variables_of,
    }
    try:
        return questions[what](*words)
    except ToolUnread as error:
        raise ProcessUnknown(str(error)) from error


def runs(pid: int) -> bool:
    """Return whether a process is there; one that ended stays listed, for ever where no parent asks (in containers)."""
    if not IS_LINUX:
        return pid in _asked("processes")
    return os.path.isdir("/proc/%d" % pid) and _stat(pid)[:1] != ["Z"]


def _pid_in(path: str) -> int | None:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            words = file.read(_PID_FILE_LIMIT).split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProcessUnknown("the pid file %s cannot be read: %s" % (path, error.strerror)) from error
    if not words or not words[0].isdigit():
        raise ProcessUnknown("the pid file %s does not begin with a number" % path)
    _refuse_foreign(path, status, int(words[0]))
    return int(words[0]) or None


def _refuse_foreign(path: str, status: os.stat_result, pid: int) -> None:
    """Refuse a pid file by which one account could have another one's process reloaded or read."""
    runs_as = _uid_of(pid)
    if runs_as is None:
        return  # it is gone, and nothing is done to it
    if status.st_mode & 0o002:
        raise ProcessUnknown("everybody may write to the pid file %s; make it 0644" % path)
    if status.st_uid not in (0, os.geteuid(), runs_as):
        raise ProcessUnknown(
            "the pid file %s belongs to %s, and process %d to %s; give the file to root or to the process's account"
            % (path, _name_of(status.st_uid), pid, _name_of(runs_as))
        )


def _uid_of(pid: int) -> int | None:
    if not IS_LINUX:
        uid: int | None = _asked("uid", pid)
        return uid
    try:
        return os.stat("/proc/%d" % pid).st_uid
    except OSError:
        return None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def systemctl(*words: str) -> str:
    """Return what systemctl says.

    Raises:
        ProcessUnknown: it fails, or is not there.
    """
    try:
        return subprocess.run(
            ["systemctl", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SYSTEMCTL_SECONDS,
            check=True,
        ).stdout.decode("utf-8", "replace")
    except (OSError, subprocess.SubprocessError) as error:
        raise ProcessUnknown("systemctl %s fails: %s" % (" ".join(words), error)) from error


def _service(unit: str) -> tuple[int | None, str]:
    shown = systemctl("show", "--property=MainPID,ControlGroup", "--", unit)
    values = dict(line.partition("=")[::2] for line in shown.splitlines())
    pid = values.get("MainPID", "0")
    return (int(pid) or None) if pid.isdigit() else None, values.get("ControlGroup", "")


def _group(group: str) -> list[int]:
    """Return the processes of a control group, which also has those that left their parents."""
    found: list[int] = []
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"):
        for folder, _unused, files in os.walk(root + group):
            if "cgroup.procs" in files:
                try:
                    with open(folder + "/cgroup.procs") as file:
                        found += [int(line) for line in file]
                except OSError:
                    continue
        if found:
            break
    return sorted(set(found))


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    if not IS_LINUX:
        from .._core._unix import family

        return family(_asked("processes"), pid)
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = _stat(int(name))
            if stat:
                parents.setdefault(int(stat[1]), []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        children = sorted(parents.get(waiting.pop(0), []))
        found += children
        waiting += children
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of a process's stat after its name, which may hold blanks and parentheses."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].decode("ascii", "replace").split()
    except OSError:
        return []


def started_at(pid: int) -> float | None:
    """Return the moment at which a process was started, in seconds since 1970; never a later one than it was."""
    if not IS_LINUX:
        at: float | None = _asked("started", pid)
        return at
    stat = _stat(pid)
    if len(stat) < 20:
        return None
    with open("/proc/uptime") as file:
        uptime = float(file.read().split()[0])
    return round(time.time() - uptime + int(stat[19]) / os.sysconf("SC_CLK_TCK"), 2)


def user_of(pid: int) -> str | None:
    """Return the account that a process runs as."""
    uid = _uid_of(pid)
    return None if uid is None else _name_of(uid)


def variables_of(pid: int, names: t.Collection[str]) -> dict[str, str | None]:
    """Return what these variables were when the process was started; None for one that it did not have.

    Raises:
        ProcessUnknown: the process is gone, or another account's.
    """
    if not IS_LINUX:
        return dict(_asked("variables", pid, names))
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            pairs = file.read(_ENVIRONMENT_LIMIT).split(b"\0")
    except OSError as error:
        raise ProcessUnknown("the environment of process %d cannot be read: %s" % (pid, error.strerror)) from error
    found = dict(pair.decode("utf-8", "replace").partition("=")[::2] for pair in pairs if b"=" in pair)
    return {name: found.get(name) for name in names}
