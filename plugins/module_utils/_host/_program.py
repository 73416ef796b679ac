# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of a host: started without a shell, reloaded, and waited for; private to this collection."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
import typing as t

from .._core._errors import TlsError
from .._core._masked import masked
from ._dial import hang_up
from ._process import ProcessUnknown, pids_of
from ._sockets import inodes, tcp_rows
from ._system import IS_LINUX

#: Seconds for a configuration test, a reload or a restart.
COMMAND_SECONDS: t.Final = 120.0
#: Seconds, on top of the announced interruption, until a process has to be there and its ports as they should.
SETTLE_SECONDS: t.Final = 10.0
#: What has to hold has to hold twice: a process may die of its new configuration a moment after the signal.
_MOMENT: t.Final = 0.1
_OUTPUT_LIMIT: t.Final = 1 << 16

Action = t.Mapping[str, t.Any]


class ProgramError(TlsError):
    """A program of this host did not do what it was asked for."""


def run(argv: t.Sequence[str], *, what: str, seconds: float = COMMAND_SECONDS) -> str:
    """Run a program to its end and return what it said.

    Raises:
        ProgramError: it cannot be started, fails, or does not end; with the end of what it said.
    """
    # A file and no pipe: a command that starts a daemon hands it over, and a pipe would not end before the daemon does.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ProgramError("%s (%s) did not end within %g s" % (what, argv[0], seconds)) from None
        except (OSError, ValueError) as error:
            says = getattr(error, "strerror", None) or error
            raise ProgramError("%s (%s) cannot be started: %s" % (what, argv[0], says)) from error
        output.seek(0)
        said = output.read(_OUTPUT_LIMIT).decode("utf-8", "replace").strip()
    if done.returncode != 0:
        tail = " / ".join(masked(line) for line in said.splitlines()[-5:]) or "it said nothing"
        raise ProgramError("%s (%s) ended with %d: %s" % (what, argv[0], done.returncode, tail))
    return said


def apply(action: Action, *, what: str) -> None:
    """Have a service take its configuration: by a command, a signal, or its service manager.

    Args:
        action: ``{command: [...]}``, ``{signal: HUP, pid_file: path}``, ``{service: unit}``; empty for nothing.
        what: ``reload`` or ``restart``.

    Raises:
        ProgramError: it could not be done.
    """
    if action.get("command"):
        run([str(part) for part in action["command"]], what="the %s" % what)
    elif action.get("service"):
        _manage(str(action["service"]), what)
    elif action.get("signal"):
        _signal(str(action["signal"]), {"pid_file": action.get("pid_file")})


def _manage(unit: str, what: str) -> None:
    """Have the service manager reload or restart a unit.

    A program that did not start with its new configuration has been tried several times, and systemd refuses further
    ones for a while, though it may have another by now (systemd.unit, StartLimitIntervalSec=).
    """
    if not IS_LINUX:
        from ._unix_control import manage

        manage(unit, what, run=run)
        return
    if what == "restart":
        with contextlib.suppress(ProgramError):  # it has not failed, or was never loaded
            run(["systemctl", "reset-failed", "--", unit], what="forgetting earlier failures")
    run(["systemctl", what, "--", unit], what="the %s" % what)


def _signal(name: str, process: Action) -> None:
    number = getattr(signal, "SIG" + name.upper().replace("SIG", "", 1), None)
    if number is None:
        raise ProgramError("there is no signal %r; HUP and USR1 are usual" % name)
    pids = [pid for pid in pids_of(process) if pid > 1]
    if not pids:
        raise ProgramError("no process of %s runs, so nothing can be signalled; start it" % process.get("pid_file"))
    try:
        os.kill(pids[0], number)
    except OSError as error:
        raise ProgramError("process %d cannot be signalled: %s" % (pids[0], error.strerror)) from error


def wait_until(process: Action, ports: t.Sequence[Action], *, seconds: float) -> list[int]:
    """Wait until the process is there and each port is open or closed as it should; return its pids.

    A port that is not insisted on is waited for as long, and then left to who judges.

    Raises:
        ProgramError: that did not come about in time; the sentence says what is missing.
    """
    until = time.monotonic() + seconds
    held_by: list[int] | None = None
    while True:
        pids, missing = _seen(process, ports)
        if not missing and held_by is not None and pids[:1] == held_by[:1]:
            return pids
        held_by = None if missing else pids
        if missing and time.monotonic() >= until:
            missing = _missing(process, pids, [row for row in ports if row.get("insist", True)])
            if not missing:
                return pids
            raise ProgramError("%s after %g s" % (missing, seconds))
        time.sleep(0.05 if missing else _MOMENT)


def wait_for_retirement(workers: t.Sequence[int], *, seconds: float) -> None:
    """Wait until workers of before a reload do not accept connections any more; they may go on with those they have.

    Raises:
        ProgramError: some of them still listen in the end: their program has not taken its configuration.
        TlsError: this account may not look at their sockets.
    """
    until = time.monotonic() + seconds
    while workers:
        listening = {row.inode for row in tcp_rows() if row.state == "LISTEN"}
        still = [pid for pid in workers if listening & inodes([pid])]
        if not still:
            return
        if time.monotonic() >= until:
            raise ProgramError(
                "process %d of before the reload still listens after %g s: its program has not taken the new"
                " configuration, and its log says why" % (still[0], seconds)
            )
        time.sleep(0.02)


def _seen(process: Action, ports: t.Sequence[Action]) -> tuple[list[int], str]:
    """Return the pids, and what is missing; a pid file may be half-written while its process starts."""
    try:
        pids = pids_of(process)
    except ProcessUnknown as error:
        return [], str(error)
    return pids, _missing(process, pids, ports)


def _missing(process: Action, pids: t.Sequence[int], ports: t.Sequence[Action]) -> str:
    if process and not pids:
        where = process.get("pid_file") or process.get("service")
        return "no process of %s runs" % where
    for row in ports:
        is_open = answers(str(row["address"]), int(row["port"]))
        if is_open != bool(row["open"]):
            return "port %s of %s is %s" % (row["port"], row["address"], "open still" if is_open else "not open")
    return ""


def answers(address: str, port: int) -> bool:
    """Return whether a port is open; nothing stays of the connection that a watch would take for somebody's."""
    try:
        hang_up(socket.create_connection((address, port), 1.0))
    except OSError:
        return False
    return True
