# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a twin's services: numbers alone, or real programs on this machine, whose sockets are real as well."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
import typing as t

#: The first number for a process that is none here; Windows' own are multiples of four.
_FIRST: t.Final = 40_000_000
_PATIENCE: t.Final = 10.0
#: A line of `ss -Htanp`: state, two queues, both ends, and whose it is.
_LINE: t.Final = re.compile(r"(\S+)\s+\d+\s+\d+\s+(\S+)\s+(\S+)\s*(.*)")
_STATES: t.Final[t.Mapping[str, str]] = {
    "ESTAB": "Established",
    "LISTEN": "Listen",
    "TIME-WAIT": "TimeWait",
    "CLOSE-WAIT": "CloseWait",
}


class Process(t.TypedDict):
    """A process: its number, whether a program runs here for it, and since when."""

    id: int
    real: bool
    started: float


class Socket(t.NamedTuple):
    """A TCP socket of a process; each end as an address and a port."""

    local: str
    peer: str
    state: str
    process: int


def started(program: t.Sequence[str] | None, environment: t.Mapping[str, str], *, taken: t.Collection[int]) -> Process:
    """Start a program, if there is one, with the variables of its service above those that it needs here."""
    if program is None:
        number = next(each for each in range(_FIRST, _FIRST + 4096, 4) if each not in taken)
        return {"id": number, "real": False, "started": time.time()}
    at = time.time()
    running = subprocess.Popen(
        list(program),
        env={"PATH": os.environ["PATH"], **{name: each for name, each in environment.items() if name != "PATH"}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return {"id": running.pid, "real": True, "started": at}


def ended(process: Process | None) -> None:
    """End a program, and wait until it is gone."""
    if process is None or not process["real"]:
        return
    number = process["id"]
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGTERM)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(number, os.WNOHANG)
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise TimeoutError("process %d does not end" % number)


def sockets(processes: t.Collection[int]) -> t.Iterator[Socket]:
    """Yield the TCP sockets of real programs, as `ss` of this machine tells."""
    if not processes:
        return
    listed = subprocess.run(["ss", "-Htanp"], capture_output=True, text=True, timeout=30, check=True).stdout
    for line in listed.splitlines():
        found = _LINE.match(line)
        owner = re.search(r"pid=(\d+)", found[4]) if found else None
        if found and owner and int(owner[1]) in processes:
            yield Socket(found[2], found[3].replace("*", "0"), _STATES.get(found[1], found[1]), int(owner[1]))
