# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`Microsoft.Win32.RegistryKey` on a twin's registry, for the machine's hive in its 64-bit view."""

from __future__ import annotations

import typing as t

from .. import Refused
from ..disk import expanded
from ..machine import Machine
from ..registry import Kind
from ..registry import Value as Row
from .values import Net, PsError, Value, text

#: RegistryValueKind, in the words of the twin's registry.
_KINDS: t.Final[t.Mapping[str, Kind]] = {
    "string": "string",
    "expandstring": "expandstring",
    "multistring": "multistring",
    "dword": "dword",
}


class RegistryKey(Net):
    name = "Microsoft.Win32.RegistryKey"

    def __init__(self, machine: Machine, path: str, *, writable: bool) -> None:
        self._machine = machine
        self._path = path
        self._writable = writable

    @staticmethod
    def s_openbasekey(machine: Machine, hive: Value, view: Value) -> RegistryKey:
        if (hive, view) != ("LocalMachine", "Registry64"):
            raise Refused("the twin's registry has LocalMachine in the view Registry64")
        return RegistryKey(machine, "HKLM:", writable=True)

    def m_opensubkey(self, path: Value, writable: Value = False) -> RegistryKey | None:
        place = self._below(path)
        return RegistryKey(self._machine, place, writable=bool(writable)) if self._machine.registry.has(place) else None

    def m_createsubkey(self, path: Value) -> RegistryKey:
        parts = text(path).split("\\")
        for upto in range(1, len(parts) + 1):
            place = self._below("\\".join(parts[:upto]))
            if not self._machine.registry.has(place):
                self._machine.registry.make(place)
        return RegistryKey(self._machine, self._below(path), writable=True)

    def m_deletesubkey(self, path: Value) -> None:
        place = self._below(path)
        if not self._machine.registry.has(place):
            raise PsError("System.ArgumentException", "Cannot delete a subkey tree because the subkey does not exist.")
        if self._machine.registry.children(place):
            raise PsError(
                "System.InvalidOperationException",
                "Registry key has subkeys and recursive removes are not supported by this method.",
            )
        self._machine.registry.remove(place)

    def _below(self, path: Value) -> str:
        return "%s\\%s" % (self._path, text(path))

    def p_valuecount(self) -> int:
        return len(self._machine.registry.values(self._path))

    def p_subkeycount(self) -> int:
        return len(self._machine.registry.children(self._path))

    def m_getvaluenames(self) -> list[Value]:
        return [each.name for each in self._machine.registry.values(self._path)]

    def m_getvalue(self, name: Value, otherwise: Value = None, options: Value = "None") -> Value:
        found = self._machine.registry.value(self._path, text(name))
        if found is None:
            return otherwise
        if found.kind == "multistring":
            return list(found.data)
        if found.kind == "expandstring" and options != "DoNotExpandEnvironmentNames":
            return expanded(str(found.data), self._machine.environment)
        return found.data

    def m_getvaluekind(self, name: Value) -> str:
        found = self._machine.registry.value(self._path, text(name))
        if found is None:
            raise PsError("System.IO.IOException", "The specified registry key does not exist.")
        return found.kind

    def m_setvalue(self, name: Value, data: Value, kind: Value) -> None:
        self._write()
        known = _KINDS.get(text(kind).lower())
        if known is None:
            raise Refused("the twin's registry sets no value of the kind %s" % kind)
        if (known == "multistring") is not isinstance(data, list):
            raise PsError("System.ArgumentException", "The type of the value object did not match the specified kind.")
        if isinstance(data, list) and "" in data:
            raise Refused("an empty line ends a value of several lines for some of its readers; the twin takes none")
        self._machine.registry.set(self._path, Row(text(name), known, data))

    def m_deletevalue(self, name: Value, complain: Value) -> None:
        self._write()
        if complain:
            raise Refused("the twin's DeleteValue does not complain")
        self._machine.registry.unset(self._path, text(name))

    def _write(self) -> None:
        if not self._writable:
            raise PsError("System.UnauthorizedAccessException", "Cannot write to the registry key.")

    def m_dispose(self) -> None:
        """Nothing is held."""


TYPES: t.Final[tuple[type[Net], ...]] = (RegistryKey,)
