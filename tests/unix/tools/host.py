# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host beneath a twin, which is this machine's Linux: its processes and sockets, and what the twin keeps."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import signal
import socket
import struct
import subprocess
import sys
import time
import typing as t
from pathlib import Path

STATES = {
    1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RCVD", 4: "FIN_WAIT_1", 5: "FIN_WAIT_2", 6: "TIME_WAIT", 7: "CLOSED",
    8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING",
}  # fmt: skip


class Usage(Exception):
    """A tool was asked for something that its documentation does not have, or that this twin does not model."""


class Failed(Exception):
    """A tool does not do what it was asked for, and says why; what it has said besides is its second argument."""

    def __str__(self) -> str:
        return str(self.args[0])


class Process(t.NamedTuple):
    """A process of this machine."""

    pid: int
    parent: int
    user: str
    age: int
    arguments: str
    ended: bool


class Socket(t.NamedTuple):
    """A TCP socket of this machine."""

    local: tuple[str, int]
    peer: tuple[str, int]
    state: str
    inode: int


class Host:
    """The twin in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.addresses = json.loads((folder / "host.json").read_text())["addresses"]

    @contextlib.contextmanager
    def state(self) -> t.Iterator[dict[str, t.Any]]:
        """Hold what the service manager knows, and keep what is made of it."""
        with (self.folder / "state.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self.folder / "state.json"
            state = json.loads(file.read_text()) if file.exists() else {}
            before = json.dumps(state, sort_keys=True)
            yield state
            if json.dumps(state, sort_keys=True) != before:
                fresh = file.with_suffix(".new")
                fresh.write_text(json.dumps(state, indent=1))
                fresh.replace(file)

    def note(self, tool: str, arguments: t.Sequence[str]) -> None:
        """Write down what was asked for, one line each."""
        with (self.folder / "asked.jsonl").open("a") as file:
            file.write(json.dumps([tool, *arguments]) + "\n")

    def program(self, path: str) -> str:
        """Return the program of this machine that a path of the twin means."""
        return str(self.root) + path if (Path(str(self.root) + path)).exists() else path

    def spawn(self, argv: t.Sequence[str], environment: t.Mapping[str, str], log: Path) -> int:
        """Start a process of nobody's, and return its number."""
        started = subprocess.run(
            [sys.executable, "-I", "-S", __file__, str(log), *argv],
            env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(started.stdout)


def processes() -> dict[int, Process]:
    """Return the processes of this machine."""
    found = {}
    now = float(Path("/proc/uptime").read_text().split()[0])
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                found[int(name)] = _process(int(name), now)
    return found


def _process(pid: int, now: float) -> Process:
    stat = Path("/proc/%d/stat" % pid).read_bytes().decode("ascii", "replace")
    fields = stat.rpartition(")")[2].split()
    words = Path("/proc/%d/cmdline" % pid).read_bytes().rstrip(b"\0").split(b"\0")
    uid = os.stat("/proc/%d" % pid).st_uid
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    age = int(now - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    arguments = b" ".join(words).decode("utf-8", "replace") or stat.partition("(")[2].rpartition(")")[0]
    return Process(pid, int(fields[1]), user, max(age, 0), arguments.replace("\n", " "), fields[0] in "ZX")


def lives(pid: int | None) -> bool:
    """Return whether a process is there and has not ended."""
    found = processes().get(pid or 0)
    return found is not None and not found.ended


def environment_of(pid: int) -> list[str]:
    """Return the environment with which a process was started."""
    text = Path("/proc/%d/environ" % pid).read_bytes().rstrip(b"\0")
    return [entry.decode("utf-8", "replace") for entry in text.split(b"\0") if entry]


def arguments_of(pid: int) -> list[str]:
    """Return the arguments with which a process was started."""
    text = Path("/proc/%d/cmdline" % pid).read_bytes().rstrip(b"\0")
    return [word.decode("utf-8", "replace").replace("\n", "\\n") for word in text.split(b"\0") if word]


def sockets() -> list[Socket]:
    """Return the TCP sockets of this machine, over IPv4."""
    return _listed("tcp")


def udp_sockets() -> list[Socket]:
    """Return the UDP sockets of this machine, over IPv4."""
    return _listed("udp")


def _listed(protocol: str) -> list[Socket]:
    found = []
    for line in Path("/proc/net/" + protocol).read_text().splitlines()[1:]:
        fields = line.split()
        local, peer = (_end(text) for text in fields[1:3])
        found.append(Socket(local, peer, STATES.get(int(fields[3], 16), "CLOSED"), int(fields[9])))
    return found


def _end(text: str) -> tuple[str, int]:
    address, _unused, port = text.partition(":")
    return socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)


def owners() -> dict[int, int]:
    """Return the process of each socket, by inode."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                for file in os.listdir("/proc/%s/fd" % name):
                    target = os.readlink("/proc/%s/fd/%s" % (name, file))
                    if target.startswith("socket:["):
                        found[int(target[8:-1])] = int(name)
    return found


def elapsed(seconds: int) -> str:
    """Return a time as POSIX has it in ``etime``: [[dd-]hh:]mm:ss."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return "%d-%02d:%02d:%02d" % (days, hours, minutes, seconds)
    return "%02d:%02d:%02d" % (hours, minutes, seconds) if hours else "%02d:%02d" % (minutes, seconds)


def end(pid: int, number: int = signal.SIGTERM) -> None:
    """Send a signal to a process that the twin has started."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_for(condition: t.Callable[[], bool], seconds: float = 20) -> bool:
    """Wait for something; return whether it came about."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _detach() -> None:
    """Start a program as a session of its own, whose parent is init, and print its number."""
    log, argv = sys.argv[1], sys.argv[2:]
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        sys.stdout.write(os.read(reading, 20).decode())
        sys.stdout.flush()
        os._exit(0)
    os.setsid()
    pid = os.fork()
    if pid:
        os.write(writing, b"%d" % pid)
        os._exit(0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, 256)
    os.execve(argv[0], argv, dict(os.environ))


if __name__ == "__main__":
    _detach()
