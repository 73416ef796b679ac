# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are run to their end, ports that are tried, and services that are restarted.

A program of Windows is one that a test gave a stand-in on this machine, and is really run. A port is open where
somebody really listens, or where a test gave a service that runs a socket that does.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import typing as t

from .. import Failed, Refused
from ..machine import Machine
from . import clr
from .values import VOID, Net, PsError, Value, text, truth

Parameters = t.Mapping[str, Value]


class Task(Net):
    """What an asynchronous method gives; here it is over at once."""

    name = "System.Threading.Tasks.Task"

    def __init__(self, result: Value = None, error: PsError | None = None) -> None:
        self._result, self._error = result, error

    def p_result(self) -> Value:
        return self._result

    def m_wait(self, _milliseconds: Value) -> bool:
        if self._error is not None:
            raise self._error
        return True


class StartInfo(Net):
    name = "System.Diagnostics.ProcessStartInfo"

    def __init__(self, path: str, arguments: str) -> None:
        self.path, self.arguments = path, arguments
        self.settings: dict[str, bool] = {}

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> StartInfo:
        path, words = arguments
        return cls(text(path), text(words))

    def set_useshellexecute(self, value: Value) -> None:
        self.settings["shell"] = truth(value)

    def set_createnowindow(self, value: Value) -> None:
        self.settings["window"] = not truth(value)

    def set_redirectstandardoutput(self, value: Value) -> None:
        self.settings["output"] = truth(value)

    def set_redirectstandarderror(self, value: Value) -> None:
        self.settings["error"] = truth(value)


class Reader(Net):
    name = "System.IO.StreamReader"

    def __init__(self, content: str) -> None:
        self._content = content

    def m_readtoendasync(self) -> Task:
        return Task(self._content)


class Process(Net):
    name = "System.Diagnostics.Process"

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self._done = done

    @staticmethod
    def s_start(machine: Machine, start: StartInfo) -> Process:
        if start.settings != {"shell": False, "window": False, "output": True, "error": True}:
            raise Refused("the twin's Process runs without shell and window, and has both outputs read")
        program = machine.state["programs"].get(start.path.lower())
        if program is None:
            raise PsError("System.ComponentModel.Win32Exception", "The system cannot find the file specified")
        machine.effect("ran %s" % start.path)
        words = [word.strip('"') for word in shlex.split(start.arguments, posix=False)]
        drives = {"TWIN_DRIVES": str(machine.folder / "drives"), "PATH": os.environ["PATH"]}
        done = subprocess.run([*program, *words], env=drives, capture_output=True, text=True, timeout=60, check=False)
        return Process(done)

    def p_standardoutput(self) -> Reader:
        return Reader(self._done.stdout)

    def p_standarderror(self) -> Reader:
        return Reader(self._done.stderr)

    def m_waitforexit(self, _milliseconds: Value) -> bool:
        return True

    def m_kill(self) -> None:
        """It has ended."""

    def p_exitcode(self) -> int:
        return self._done.returncode

    def m_dispose(self) -> None:
        """Nothing is held."""


class TcpClient(Net):
    name = "System.Net.Sockets.TcpClient"

    def __init__(self, machine: Machine, family: str) -> None:
        self._machine, self._family = machine, family

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Net:
        """Make one: of .NET's own where it is given ends or families of .NET's own."""
        (family,) = arguments
        if isinstance(family, clr.Clr):
            return t.cast(Net, clr.ClrType(clr.known(cls.name) or "").new(machine, family))
        if family not in ("InterNetwork", "InterNetworkV6"):
            raise PsError("System.Management.Automation.MethodException", "Cannot find an overload for TcpClient")
        return cls(machine, text(family))

    def m_connectasync(self, address: Value, port: Value) -> Task:
        if (":" in text(address)) is not (self._family == "InterNetworkV6"):
            raise PsError("System.ArgumentException", "None of the discovered addresses match the socket family.")
        if "%s:%d" % (address, port) in self._listened():
            return Task()
        with contextlib.suppress(OSError):
            socket.create_connection((text(address), int(port)), 1).close()
            return Task()
        return Task(error=PsError("System.AggregateException", "One or more errors occurred."))

    def _listened(self) -> set[str]:
        services = self._machine.services
        return {
            row["local"]
            for row in self._machine.state["sockets"]
            if row["state"] == "Listen" and services.process(row["service"]) is not None
        }

    def m_dispose(self) -> None:
        """Nothing is held."""


class Encoding(Net):
    name = "System.Text.Encoding"

    @staticmethod
    def sp_utf8(_machine: Machine) -> Encoding:
        return Encoding()

    @staticmethod
    def sp_ascii(machine: Machine) -> Value:
        return clr.ClrType("System.Text.Encoding").sp_ASCII(machine)

    def m_getstring(self, data: bytes) -> str:
        return data.decode("utf-8")

    def m_getbytes(self, content: Value) -> bytes:
        return text(content).encode("utf-8")


class NullString(Net):
    """$null for a parameter that is a text."""

    name = "System.Management.Automation.Language.NullString"

    @staticmethod
    def sp_value(_machine: Machine) -> NullString:
        return NullString()


def _restart_service(machine: Machine, given: Parameters) -> Value:
    if set(given) != {"name", "force"}:
        raise Refused("the twin's Restart-Service takes a name, and restarts those that need the service as well")
    name = machine.services.find(text(given["name"]))
    kind = "Microsoft.PowerShell.Commands.ServiceCommandException"
    if name is None:
        raise PsError(kind, "Cannot find any service with service name '%s'." % given["name"])
    try:
        machine.services.restart(name, force=True)
    except Failed as error:
        raise PsError(kind, str(error)) from error
    return VOID


COMMANDS: t.Final[t.Mapping[str, t.Callable[[Machine, Parameters], Value]]] = {"restart-service": _restart_service}
TYPES: t.Final[tuple[type[Net], ...]] = (Encoding, NullString, Process, Reader, StartInfo, Task, TcpClient)
