# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting and stopping the programs of a fleet. A process is only ever signalled where it is known to be ours.

Each instance has a folder with `command.json`, the file `environment` that its process gets its variables from, and
while it runs `process.json`: its number and the moment at which it was started.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import FleetError
from .records import replace_file

COMMAND: t.Final = "command.json"
PROCESS: t.Final = "process.json"
ENVIRONMENT: t.Final = "environment"
PID_FILE: t.Final = "component.pid"
OUTPUT: t.Final = "output.log"

#: Seconds in which a program has to be up, or gone.
PATIENCE: t.Final = 15.0

#: What a process inherits; everything else comes from its file, as a service manager would have it.
_INHERITED: t.Final = ("PATH", "HOME", "LANG", "TZ")


class ProcessError(FleetError):
    """A program does not start or does not end."""


@dataclass(frozen=True)
class Command:
    """How an instance is started and how its options are tested."""

    run: tuple[str, ...]
    check: tuple[str, ...]
    variables: t.Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Keep it in the instance's folder."""
        text = json.dumps({"run": self.run, "check": self.check, "variables": dict(self.variables)}, indent=1)
        replace_file(folder / COMMAND, text + "\n")

    @classmethod
    def read(cls, folder: Path) -> Command:
        """Return that of an instance.

        Raises:
            ProcessError: there is none.
        """
        try:
            data = json.loads((folder / COMMAND).read_text(encoding="utf-8"))
        except OSError as error:
            raise ProcessError("%s is not the folder of an instance: %s" % (folder, error.strerror)) from error
        return cls(tuple(data["run"]), tuple(data["check"]), data["variables"])


def running(folder: Path) -> int | None:
    """Return the process of an instance, if it runs and is the one that was started here."""
    try:
        known = json.loads((folder / PROCESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known["pid"] if known["started"] == _started(known["pid"]) else None


def start(folder: Path) -> bool:
    """Start an instance as a process of its own, and note which one it is; return False where it runs already."""
    if running(folder):
        return False
    command = Command.read(folder)
    (folder / PID_FILE).unlink(missing_ok=True)
    with (folder / OUTPUT).open("ab") as output:
        process = subprocess.Popen(
            command.run,
            cwd=folder,
            env=_environment(folder, command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    replace_file(folder / PROCESS, json.dumps({"pid": process.pid, "started": _started(process.pid)}))
    return True


def wait_started(folder: Path) -> None:
    """Wait until an instance has written its pid file: then its listeners are open.

    Raises:
        ProcessError: it ended, or takes too long.
    """
    end = time.monotonic() + PATIENCE
    while not (folder / PID_FILE).exists():
        if not running(folder) or time.monotonic() > end:
            words = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").strip()[-500:]
            raise ProcessError("%s does not start: %s" % (folder, words or "it says nothing"))
        time.sleep(0.01)


def ask_to_end(folder: Path) -> None:
    """Send SIGTERM to an instance."""
    pid = running(folder)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)


def reload(folder: Path) -> None:
    """Have an instance read its options anew."""
    pid = running(folder)
    if pid is not None:
        os.kill(pid, signal.SIGHUP)


def kill(folder: Path) -> None:
    """Take an instance away without a warning, as a fault does."""
    pid = running(folder)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Family:
    """A process and all that it has started, also what has a session of its own, as Ansible's workers have."""

    members: t.Mapping[int, str | None]

    @classmethod
    def held(cls, pid: int) -> Family:
        """Hold a process and its descendants where they are (SIGSTOP): none is started while they are counted."""
        members: dict[int, str | None] = {}
        found = {pid}
        while found:
            for each in found:
                members[each] = _started(each)
                _signal(each, signal.SIGSTOP)
            found = {child for child, parent in _parents().items() if parent in members} - set(members)
        return cls(members)

    def go_on(self) -> None:
        """Let those that were held go on."""
        for pid in self.members:
            _signal(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Take away those that are left; a number that is used again by now is somebody else's."""
        for pid, started in self.members.items():
            if started and _started(pid) == started:
                _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _parents() -> dict[int, int]:
    """Return each process of this machine with the one that started it."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        fields = _fields(int(process.name))
        if fields:
            parents[int(process.name)] = int(fields[1])
    return parents


def wait_ended(folder: Path) -> None:
    """Wait until an instance is gone; one that does not go is killed."""
    end = time.monotonic() + PATIENCE
    while (pid := running(folder)) is not None:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    (folder / PROCESS).unlink(missing_ok=True)
    (folder / PID_FILE).unlink(missing_ok=True)


def check(folder: Path) -> int:
    """Test an instance's options; return the exit status of the test, which says by itself what is wrong."""
    command = Command.read(folder)
    return subprocess.run(command.check, cwd=folder, env=_environment(folder, command), check=False).returncode


def _environment(folder: Path, command: Command) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, **command.variables, **read_environment(folder / ENVIRONMENT)}


def read_environment(path: Path) -> dict[str, str]:
    """Return the variables of an environment file: lines of NAME=value, comments and quotes as sh has them."""
    try:
        words = shlex.split(path.read_text(encoding="utf-8"), comments=True)
    except FileNotFoundError:
        return {}
    return dict(word.partition("=")[::2] for word in words if "=" in word)


def _started(pid: int) -> str | None:
    """Return when a process was started, with the boot that it belongs to: a number that is used again differs."""
    fields = _fields(pid)
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return "%s %s" % (boot, fields[19].decode())


def _fields(pid: int) -> list[bytes]:
    """Return what the kernel says of a process, after its name; nothing where it is gone (proc(5), /proc/pid/stat)."""
    try:
        return Path("/proc/%d/stat" % pid).read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []
