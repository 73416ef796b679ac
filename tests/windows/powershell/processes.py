# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services, processes, sockets and moments, as CIM classes, the module NetTCPIP and .NET show them.

Win32_Service: ProcessId is 0 where a service does not run. Win32_Process: CreationDate may be null, as of the idle
process. MSFT_NetTCPConnection: the end of a listener's peer is 0.0.0.0 and port 0, and TimeWait has process 0.
"""

from __future__ import annotations

import time
import typing as t

from .. import Refused, programs
from ..machine import Machine
from . import clr
from .values import VOID, Net, PsError, Table, Value, text

Parameters = t.Mapping[str, Value]

#: The service manager itself, whose children services are.
_MANAGER: t.Final = 700


class DateTime(Net):
    name = "System.DateTime"

    def __init__(self, at: float) -> None:
        self.at = at

    @staticmethod
    def sp_utcnow(_machine: Machine) -> DateTime:
        return DateTime(time.time())


class DateTimeOffset(Net):
    name = "System.DateTimeOffset"

    def __init__(self, at: float) -> None:
        self._at = at

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Net:
        """Make one: of .NET's own where its moment is."""
        (moment,) = arguments
        if isinstance(moment, clr.Clr):
            return t.cast(Net, clr.ClrType(clr.known(cls.name) or "").new(machine, moment))
        if not isinstance(moment, DateTime):
            raise Refused("the twin's DateTimeOffset is made of a DateTime")
        return cls(moment.at)

    @staticmethod
    def sp_utcnow(_machine: Machine) -> DateTimeOffset:
        return DateTimeOffset(time.time())

    def m_tounixtimeseconds(self) -> int:
        return int(self._at)

    def m_tounixtimemilliseconds(self) -> int:
        return int(self._at * 1000)


def _ciminstances(machine: Machine, given: Parameters) -> Value:
    _only(given, "classname")
    kind = text(given["classname"]).lower()
    if kind == "win32_service":
        return [_service(machine, name) for name in machine.services.names()]
    if kind == "win32_process":
        return _processes(machine)
    raise PsError("Microsoft.Management.Infrastructure.CimException", "Invalid class")


def _service(machine: Machine, name: str) -> Table:
    process = machine.services.process(name)
    return Table(
        {
            "Name": name,
            "ProcessId": process["id"] if process else 0,
            "StartName": machine.services.setting(name, "ObjectName"),
            "State": machine.services.state(name).capitalize(),
        }
    )


def _processes(machine: Machine) -> list[Value]:
    rows = [
        Table({"ProcessId": 0, "ParentProcessId": 0, "CreationDate": None}),
        Table({"ProcessId": _MANAGER, "ParentProcessId": 0, "CreationDate": DateTime(0.0)}),
    ]
    for name in machine.services.names():
        process = machine.services.process(name)
        if process is not None:
            at = DateTime(process["started"])
            rows.append(Table({"ProcessId": process["id"], "ParentProcessId": _MANAGER, "CreationDate": at}))
    return rows


def _connections(machine: Machine, given: Parameters) -> Value:
    _only(given)
    running = {name: machine.services.process(name) for name in machine.services.names()}
    real = [each["id"] for each in running.values() if each is not None and each["real"]]
    rows = [_connection(each.local, each.peer, each.state, each.process) for each in programs.sockets(real)]
    for row in machine.state["sockets"]:
        process = running.get(row["service"])
        if process is not None and row["seen"] != 0:
            row["seen"] -= row["seen"] > 0
            rows.append(_connection(row["local"], row["peer"], row["state"], process["id"]))
    return rows


def _connection(local: str, peer: str, state: str, process: int) -> Table:
    (address, port), (other, far) = (_end(each) for each in (local, peer))
    return Table(
        {
            "LocalAddress": address,
            "LocalPort": port,
            "OwningProcess": 0 if state == "TimeWait" else process,
            "RemoteAddress": other,
            "RemotePort": far,
            "State": state,
        }
    )


def _end(end: str) -> tuple[str, int]:
    address, _colon, port = end.rpartition(":")
    return address.strip("[]"), int(port)


def _endpoints(_machine: Machine, given: Parameters) -> Value:
    _only(given)
    return []


def _addresses(machine: Machine, given: Parameters) -> Value:
    _only(given)
    return [Table({"IPAddress": each}) for each in (*machine.state["addresses"], "127.0.0.1", "::1", "fe80::1%4")]


def _sleep(_machine: Machine, given: Parameters) -> Value:
    _only(given, "milliseconds")
    time.sleep(given["milliseconds"] / 1000)
    return VOID


def _only(given: Parameters, *known: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise Refused("the twin's PowerShell does not model the parameters %s" % ", ".join(unknown))


COMMANDS: t.Final[t.Mapping[str, t.Callable[[Machine, Parameters], Value]]] = {
    "get-ciminstance": _ciminstances,
    "get-netipaddress": _addresses,
    "get-nettcpconnection": _connections,
    "get-netudpendpoint": _endpoints,
    "start-sleep": _sleep,
}

TYPES: t.Final[tuple[type[Net], ...]] = (DateTime, DateTimeOffset)
