# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of the machine's registry, as Microsoft.Win32.RegistryKey has them."""

from __future__ import annotations

import typing as t

from .. import Refused
from ..disk import expanded
from ..machine import Machine
from ..registry import Kind
from ..registry import Value as Row
from .values import Net, PsError, Value, text, words

#: RegistryValueKind -> the word of win_regedit.
_KINDS: t.Final[t.Mapping[str, Kind]] = {
    "Binary": "binary",
    "DWord": "dword",
    "ExpandString": "expandstring",
    "MultiString": "multistring",
    "QWord": "qword",
    "String": "string",
}


class RegistryKey(Net):
    name = "Microsoft.Win32.RegistryKey"

    def __init__(self, machine: Machine, path: str, *, writable: bool) -> None:
        self._machine = machine
        self._path = path
        self._writable = writable

    @classmethod
    def s_openbasekey(cls, machine: Machine, hive: Value, view: Value) -> RegistryKey:
        words(hive, ("LocalMachine",), of="Microsoft.Win32.RegistryHive")
        words(view, ("Registry64",), of="Microsoft.Win32.RegistryView")
        return cls(machine, "HKLM:", writable=True)

    def _below(self, path: Value) -> str:
        return "%s\\%s" % (self._path, text(path))

    def m_opensubkey(self, path: Value, writable: bool = False) -> RegistryKey | None:
        below = self._below(path)
        found = self._machine.registry.has(below)
        return RegistryKey(self._machine, below, writable=writable) if found else None

    def m_createsubkey(self, path: Value) -> RegistryKey:
        """Make a key, and each one above it that is missing, as Windows does."""
        self._may_write()
        parts = text(path).split("\\")
        for upto in range(1, len(parts) + 1):
            below = self._below("\\".join(parts[:upto]))
            if not self._machine.registry.has(below):
                self._machine.registry.make(below)
        return RegistryKey(self._machine, self._below(path), writable=True)

    def m_deletesubkey(self, path: Value) -> None:
        """Delete a key without keys below it; the values that it has go with it."""
        self._may_write()
        below = self._below(path)
        if not self._machine.registry.has(below):
            raise PsError("System.ArgumentException", "Cannot delete a subkey tree because the subkey does not exist.")
        if self._machine.registry.children(below):
            message = "Registry key has subkeys and recursive removes are not supported by this method."
            raise PsError("System.InvalidOperationException", message)
        self._machine.registry.remove(below)

    def m_getsubkeynames(self) -> list[str]:
        return self._machine.registry.children(self._path)

    def p_subkeycount(self) -> int:
        return len(self._machine.registry.children(self._path))

    def p_valuecount(self) -> int:
        return len(self._machine.registry.values(self._path))

    def m_getvaluenames(self) -> list[str]:
        return [each.name for each in self._machine.registry.values(self._path)]

    def m_getvalue(self, name: Value, default: Value = None, options: Value = "None") -> Value:
        as_it_is = words(options, ("DoNotExpandEnvironmentNames", "None"), of="Microsoft.Win32.RegistryValueOptions")
        found = self._machine.registry.value(self._path, text(name))
        if found is None:
            return default
        if found.kind == "expandstring" and "none" in as_it_is:
            return expanded(str(found.data), self._machine.environment)
        return list(found.data) if found.kind == "multistring" else found.data

    def m_getvaluekind(self, name: Value) -> str:
        found = self._machine.registry.value(self._path, text(name))
        if found is None:
            raise PsError("System.IO.IOException", "The specified registry key does not exist.")
        return next(kind for kind, word in _KINDS.items() if word == found.kind)

    def m_setvalue(self, name: Value, data: Value, kind: Value) -> None:
        self._may_write()
        if kind not in _KINDS:
            raise Refused("the twin's registry has no values of the kind %s" % text(kind))
        fits = {"DWord": int, "QWord": int, "MultiString": list, "Binary": bytes}.get(kind, str)
        if not isinstance(data, fits):
            message = "The type of the value object did not match the specified RegistryValueKind."
            raise PsError("System.ArgumentException", message)
        if isinstance(data, list) and "" in data:
            raise Refused("an empty line ends a value of several lines for some of its readers; the twin takes none")
        self._machine.registry.set(self._path, Row(text(name), _KINDS[kind], data))

    def m_deletevalue(self, name: Value, complain: Value = True) -> None:
        self._may_write()
        if self._machine.registry.value(self._path, text(name)) is None:
            if not complain:
                return
            raise PsError("System.ArgumentException", "No value exists with that name.")
        self._machine.registry.unset(self._path, text(name))

    def m_close(self) -> None:
        """Nothing is held."""

    m_dispose = m_close

    def _may_write(self) -> None:
        if not self._writable:
            raise PsError("System.UnauthorizedAccessException", "Cannot write to the registry key.")


TYPES: t.Final[tuple[type[Net], ...]] = (RegistryKey,)
