# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IIS as Microsoft.Web.Administration shows it: what is changed is kept with CommitChanges, all of it or nothing.

A host has an IIS where its state has one, `machine.state["iis"]`: the bindings of each site by its name. HTTP.sys takes
a certificate only if it is in its store with a private key, else it speaks of a logon session that does not exist.
"""

from __future__ import annotations

import copy
import typing as t

from .. import Refused
from ..machine import Machine
from .values import Net, PsError, Value, text

_COM: t.Final = "System.Runtime.InteropServices.COMException"
Row = dict[str, t.Any]


class ServerManager(Net):
    name = "Microsoft.Web.Administration.ServerManager"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._sites: dict[str, list[Row]] = copy.deepcopy(machine.state["iis"])

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> ServerManager:
        if arguments or "iis" not in machine.state:
            raise Refused("the twin's ServerManager is that of this host, which has an IIS")
        return cls(machine)

    def p_sites(self) -> list[Value]:
        return [Site(name, rows) for name, rows in self._sites.items()]

    def m_commitchanges(self) -> None:
        there = self._machine.state["iis"]
        for name, rows in self._sites.items():
            seen = [(row["protocol"], row["information"].lower()) for row in rows]
            if len(set(seen)) < len(seen):
                raise PsError(
                    _COM, "Cannot add duplicate collection entry of type 'binding' with combined key attributes"
                )
            for row in rows:
                if (
                    row["protocol"] == "https"
                    and row["hash"] is not None
                    and row not in self._machine.state["iis"][name]
                ):
                    self._bind(row)
        if self._sites != there:
            self._machine.effect("changed bindings of IIS")
            self._machine.state["iis"] = copy.deepcopy(self._sites)

    def _bind(self, row: Row) -> None:
        """Give HTTP.sys a certificate."""
        stores = self._machine.stores
        if (
            row["hash"] not in stores.thumbprints("LocalMachine", row["store"])
            or stores.container("LocalMachine", row["store"], row["hash"]) is None
        ):
            raise PsError(_COM, "A specified logon session does not exist. It may already have been terminated.")

    def m_dispose(self) -> None:
        """What was not committed is lost."""


class Site(Net):
    name = "Microsoft.Web.Administration.Site"

    def __init__(self, site: str, rows: list[Row]) -> None:
        self._site = site
        self._rows = rows

    def p_name(self) -> str:
        return self._site

    def p_bindings(self) -> Bindings:
        return Bindings(self._rows)


class Bindings(Net):
    name = "Microsoft.Web.Administration.BindingCollection"

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def items(self) -> list[Value]:
        return [Binding(row) for row in self._rows]

    def p_count(self) -> int:
        return len(self._rows)

    def m_add(self, information: Value, *more: Value) -> Binding:
        """Add one of http by its protocol, or one of https by the hash and the store of its certificate."""
        row: Row = {"protocol": "https", "information": text(information), "hash": None, "store": None, "flags": 0}
        if len(more) == 1:
            row["protocol"] = text(more[0])
        else:
            row["hash"], row["store"] = more[0].hex().upper(), text(more[1])
        self._rows.append(row)
        return Binding(row)

    def m_remove(self, binding: Binding) -> None:
        self._rows[:] = [each for each in self._rows if each is not binding.row]


class Binding(Net):
    name = "Microsoft.Web.Administration.Binding"

    def __init__(self, row: Row) -> None:
        self.row = row

    def p_protocol(self) -> str:
        return str(self.row["protocol"])

    def p_bindinginformation(self) -> str:
        return str(self.row["information"])

    def p_certificatehash(self) -> bytes | None:
        return None if self.row["hash"] is None else bytes.fromhex(self.row["hash"])

    def set_certificatehash(self, value: bytes) -> None:
        self.row["hash"] = value.hex().upper()

    def p_certificatestorename(self) -> Value:
        return self.row["store"]

    def set_certificatestorename(self, value: Value) -> None:
        self.row["store"] = text(value)

    def m_getattributevalue(self, attribute: Value) -> Value:
        self._flags(attribute)
        return self.row["flags"]

    def m_setattributevalue(self, attribute: Value, value: Value) -> None:
        self._flags(attribute)
        self.row["flags"] = value

    def _flags(self, attribute: Value) -> None:
        if attribute != "sslFlags":
            raise Refused("the twin's bindings have no attribute %s" % text(attribute))


TYPES: t.Final[tuple[type[Net], ...]] = (Binding, Bindings, ServerManager, Site)
