# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of a twin: keys by their path, without regard to case, with values that have a type."""

from __future__ import annotations

import re
import typing as t

from . import Failed
from .disk import expanded

#: REG_... types in the words of win_regedit.
Kind = t.Literal["none", "binary", "dword", "expandstring", "multistring", "string", "qword"]
_HIVE: t.Final = re.compile(r"HK(CC|CR|CU|LM|U):\\", re.IGNORECASE)

MACHINE_ENVIRONMENT: t.Final = "HKLM:\\SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Environment"
USER_ENVIRONMENT: t.Final = "HKCU:\\Environment"
SERVICES: t.Final = "HKLM:\\SYSTEM\\CurrentControlSet\\Services"
#: What every process has, wherever its other variables come from.
SYSTEM_VARIABLES: t.Final[t.Mapping[str, str]] = {
    "ProgramData": "C:\\ProgramData",
    "SystemDrive": "C:",
    "SystemRoot": "C:\\Windows",
}


class Value(t.NamedTuple):
    """What a key has under a name."""

    name: str
    kind: Kind
    data: t.Any


def normal(path: str) -> str:
    """Return the path of a key as PowerShell's drives write it.

    Raises:
        Failed: it is in none of the hives.
    """
    if not _HIVE.match(path):
        raise Failed("path: %s is not a valid powershell path, see module documentation for examples." % path)
    hive, _unused, rest = path.partition(":\\")
    return hive.upper() + ":\\" + "\\".join(filter(None, rest.split("\\")))


class Registry:
    """Keys and their values. `rows` is what lies in the twin's state."""

    def __init__(self, rows: dict[str, dict[str, t.Any]], *, effect: t.Callable[[str], None]) -> None:
        self._rows = rows
        self._effect = effect

    def has(self, path: str) -> bool:
        low = normal(path).lower()
        return any(known.lower() == low or known.lower().startswith(low + "\\") for known in self._rows)

    def children(self, path: str) -> list[str]:
        """Return the names of the keys directly below one."""
        low = normal(path).lower() + "\\"
        names = {known[len(low) :].split("\\")[0] for known in self._rows if known.lower().startswith(low)}
        return sorted(names)

    def _row(self, path: str) -> dict[str, t.Any] | None:
        low = normal(path).lower()
        return next((row for known, row in self._rows.items() if known.lower() == low), None)

    def make(self, path: str) -> None:
        """Make a key that is not there."""
        self._effect("made registry key %s" % path)
        self._rows.setdefault(normal(path), {})

    def remove(self, path: str) -> None:
        """Remove a key with all below it."""
        low = normal(path).lower()
        self._effect("removed registry key %s" % path)
        for known in [each for each in self._rows if each.lower() == low or each.lower().startswith(low + "\\")]:
            del self._rows[known]

    def values(self, path: str) -> list[Value]:
        return [Value(name, *pair) for name, pair in (self._row(path) or {}).items()]

    def value(self, path: str, name: str) -> Value | None:
        return next((each for each in self.values(path) if each.name.lower() == name.lower()), None)

    def text(self, path: str, name: str) -> str | None:
        """Return the data of a value that is a string."""
        found = self.value(path, name)
        return None if found is None else str(found.data)

    def set(self, path: str, value: Value) -> None:
        """Set a value; its key is made where it is missing, and its name keeps the spelling that it has."""
        row = self._row(path)
        if row is None:
            self.make(path)
            row = self._rows[normal(path)]
        known = self.value(path, value.name)
        self._effect("set registry value %s of %s" % (value.name or "(Default)", path))
        row[known.name if known else value.name] = [value.kind, value.data]

    def unset(self, path: str, name: str) -> None:
        """Take a value that is there out of its key."""
        row, known = self._row(path), self.value(path, name)
        if row is not None and known is not None:
            self._effect("removed registry value %s of %s" % (known.name or "(Default)", path))
            del row[known.name]

    def environment(self, path: str, known: t.Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a key as a new process gets them: what REG_EXPAND_SZ refers to is put in."""
        return {
            each.name: expanded(str(each.data), known) if each.kind == "expandstring" else str(each.data)
            for each in self.values(path)
        }
