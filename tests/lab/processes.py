# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running commands, and ending processes of which it is certain that they are the lab's."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import LabError

#: Seconds in which a command that changes the machine has to be done.
PATIENCE: t.Final = 60.0

#: Where programs of the system are, also for callers whose PATH has none of them.
SYSTEM_PATH: t.Final = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Process:
    """A process that is or was: its number, and when it was started, for numbers are used again."""

    pid: int
    started: str


def environment(**more: str) -> dict[str, str]:
    """Return the variables for a program of the system: the caller's, in a language whose words we know."""
    path = os.environ.get("PATH", "")
    return {**os.environ, "PATH": "%s:%s" % (path, SYSTEM_PATH), "LC_ALL": "C.UTF-8", **more}


def run(argv: t.Sequence[str], *, given: str = "", seconds: float = PATIENCE) -> str:
    """Run a command to its end and return what it wrote; bytes that are no text, of a server's own, are marked.

    Raises:
        LabError: it is missing, failed, or took more than `seconds`.
    """
    try:
        done = subprocess.run(
            argv,
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment(),
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError("%s: %s" % (argv[0], error)) from error
    if done.returncode:
        raise LabError("%s failed: %s" % (" ".join(argv), (done.stderr or done.stdout).strip()[-800:]))
    return done.stdout


def dies_with_us(argv: t.Sequence[str]) -> list[str]:
    """Return a command that the kernel kills, with all that it started and mounted, when this process is killed."""
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    return ["setpriv", "--pdeathsig", "KILL", *alone, *argv]


@contextlib.contextmanager
def open_to_all() -> t.Iterator[None]:
    """Make files that everybody may read, whatever the caller's umask: they are for the accounts of hosts."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def boot_id() -> str:
    """Return which boot of this machine it is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def started(pid: int) -> str | None:
    """Return when a process was started and in which boot; None if it does not run."""
    try:
        fields = Path("/proc/%d/stat" % pid).read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else "%s %s" % (boot_id(), fields[19].decode())


def this_process() -> Process:
    """Return the process that calls."""
    return Process(os.getpid(), str(started(os.getpid())))


def runs(process: Process | None) -> bool:
    """Return whether a process still is the one that was noted."""
    return process is not None and started(process.pid) == process.started


def find(is_ours: t.Callable[[list[str]], bool]) -> list[Process]:
    """Return the processes whose command line is ours, the caller's own excepted."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it is gone
            words = (entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            since = started(int(entry.name))
            if since and is_ours(words):
                found.append(Process(int(entry.name), since))
    return found


def end(processes: t.Iterable[Process], *, gently: float = 0.0) -> None:
    """End processes: SIGTERM first and `gently` seconds to follow it, then SIGKILL; return when they are gone.

    A process is held by a descriptor before its start is compared, so that no other one can take its number meanwhile.

    Raises:
        LabError: one does not even go when it is killed.
    """
    held: dict[int, Process] = {}
    try:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                held[os.pidfd_open(process.pid)] = process
        ours = {descriptor for descriptor, process in held.items() if runs(process)}
        if gently > 0:
            _signal(ours, signal.SIGTERM)
            ours = _wait(ours, gently)
        _signal(ours, signal.SIGKILL)
        left = _wait(ours, PATIENCE)
        if left:
            raise LabError("processes do not end: %s" % ", ".join(sorted(str(held[each].pid) for each in left)))
        for process in held.values():
            _reap(process)
    finally:
        for descriptor in held:
            os.close(descriptor)


def _reap(process: Process) -> None:
    if not runs(process):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def _signal(descriptors: t.Iterable[int], number: signal.Signals) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)


def _wait(descriptors: set[int], seconds: float) -> set[int]:
    """Wait until processes are gone; return those that are not."""
    left, until = set(descriptors), time.monotonic() + seconds
    while left and (rest := until - time.monotonic()) > 0:
        poll = select.poll()
        for descriptor in left:
            poll.register(descriptor, select.POLLIN)  # a process that ended makes its descriptor readable
        left -= {descriptor for descriptor, _event in poll.poll(rest * 1000)}
    return left
