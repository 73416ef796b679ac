# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of .NET by their names, what PowerShell casts to them, and the methods of its own texts and tables."""

from __future__ import annotations

import typing as t

from .. import Refused
from ..machine import Machine
from . import clr, files, iis, keys, processes, registry, running, system
from .basic import AnsibleModule
from .files import item
from .values import VOID, Net, PsError, Table, Value, Words, text, truth, words

__all__ = ["WITHOUT_RESULT", "cast", "item", "method", "type_of"]

_ALL: t.Final[tuple[type[Net], ...]] = (
    AnsibleModule,
    *files.TYPES,
    *iis.TYPES,
    *keys.TYPES,
    *processes.TYPES,
    *registry.TYPES,
    *running.TYPES,
    *system.TYPES,
)
_TYPES: t.Final[t.Mapping[str, type[Net]]] = {each.name.lower(): each for each in _ALL}
_ENUMERATIONS: t.Final[t.Mapping[str, tuple[str, ...]]] = {
    "System.Security.AccessControl.AccessControlSections": files.SECTIONS,
    "System.Security.Cryptography.X509Certificates.X509KeyStorageFlags": keys.STORAGE_FLAGS,
    "System.StringComparison": ("Ordinal", "OrdinalIgnoreCase"),
}
#: Methods that give nothing, by their names in small letters; all others give something, perhaps $null.
WITHOUT_RESULT: t.Final = frozenset(
    [
        "add", "clear", "close", "commitchanges", "delete", "deletesubkey", "deletevalue", "dispose", "flush", "import",
        "kill", "move", "open", "remove", "replace", "setaccesscontrol", "setattributevalue",
        "setsecuritydescriptorsddlform", "setvalue", "warn", "write",
    ]
)  # fmt: skip


def type_of(name: str) -> t.Any:
    """Return what a type literal means: a class, or the words of an enumeration."""
    found = _TYPES.get(name.lower())
    if found is not None:
        return found
    for known, allowed in _ENUMERATIONS.items():
        if known.lower() == name.lower():
            return _Enumeration(allowed)
    real = clr.known(name)
    if real is not None:
        return clr.ClrType(real)
    raise Refused("the twin's PowerShell knows no type [%s]" % name)


class _Enumeration:
    """An enumeration's type, by whose name its words are taken."""

    def __init__(self, allowed: t.Sequence[str]) -> None:
        for word in allowed:
            setattr(self, "sp_" + word.lower(), lambda _machine, word=word: Words([word.lower()]))


def cast(machine: Machine, kind: str, value: Value) -> Value:
    """Return a value as a type has it; parameters of functions are cast as well.

    Raises:
        PsError: it cannot be had.
    """
    low = kind.lower()
    if low in ("", "object"):
        return None if value is VOID else value
    if low == "void":
        return VOID
    if low == "string":
        return text(value)
    if low == "bool":
        return truth(value)
    if low == "int":
        return _number(value)
    if low == "byte[]":
        return value if isinstance(value, bytes) or value is None else bytes(clr.to_net(value))
    if low == "string[]":
        return [text(each) for each in (value if isinstance(value, list) else [value])]
    if low == "object[]":
        return [] if value is None else value if isinstance(value, list) else [value]
    for name, allowed in _ENUMERATIONS.items():
        if name.lower() == low:
            return words(value, allowed, of=name)
    if low == "system.collections.idictionary":
        wanted: type = Table
    elif isinstance(value, clr.Clr) and clr.known(kind) is not None:
        return clr.ClrType(clr.known(kind) or "").cast(value)
    elif low in _TYPES:
        wanted = _TYPES[low]
    elif clr.known(kind) is not None:
        return clr.ClrType(clr.known(kind) or "").cast(value)
    else:
        raise Refused("the twin's PowerShell casts nothing to [%s]" % kind)
    if value is not None and not isinstance(value, wanted):
        message = 'Cannot convert the value of type "%s" to type "%s".' % (type(value).__name__, kind)
        raise PsError("System.Management.Automation.PSInvalidCastException", message)
    return value


def _number(value: Value) -> int:
    """Return a whole number as [int] has it, which rounds halves to even."""
    if value is None:
        return 0
    if isinstance(value, clr.Clr):
        return int(value.real)
    if isinstance(value, str) and value.strip().isdigit():
        return int(value)
    if isinstance(value, (bool, int, float)):
        return round(value)
    raise Refused("the twin's PowerShell makes no number of %s" % type(value).__name__)


def method(place: Value, member: str, arguments: list[Value]) -> Value:
    """Return what a method of a text or a table gives."""
    if place is None:
        raise PsError(
            "System.Management.Automation.RuntimeException", "You cannot call a method on a null-valued expression."
        )
    low = member.lower()
    if isinstance(place, Table) and low == "containskey" and len(arguments) == 1:
        return place.has(text(arguments[0]))
    if isinstance(place, str) and low in _TEXT:
        return _TEXT[low](place, *arguments)
    raise Refused("the twin's PowerShell models no method %s of %s" % (member, type(place).__name__))


_ORDINAL: t.Final = Words(["ordinal"])


def _starts_with(place: str, wanted: str, comparison: Words = _ORDINAL) -> bool:
    return _fold(place, comparison).startswith(_fold(wanted, comparison))


def _equals(place: str, wanted: str, comparison: Words = _ORDINAL) -> bool:
    return _fold(place, comparison) == _fold(wanted, comparison)


def _fold(value: str, comparison: Words) -> str:
    return value.upper() if "ordinalignorecase" in comparison else value


def _substring(place: str, start: int, length: int | None = None) -> str:
    if not 0 <= start <= len(place):
        raise PsError("System.ArgumentOutOfRangeException", "startIndex cannot be larger than length of string.")
    if length is not None and start + length > len(place):
        raise PsError("System.ArgumentOutOfRangeException", "Index and length must refer to a location in the string.")
    return place[start:] if length is None else place[start : start + length]


_TEXT: t.Final[t.Mapping[str, t.Callable[..., Value]]] = {
    "contains": lambda place, wanted: text(wanted) in place,
    "equals": _equals,
    "indexof": lambda place, wanted: place.find(wanted),
    "lastindexof": lambda place, wanted: place.rfind(wanted),
    "replace": lambda place, old, new: place.replace(old, new),
    "startswith": _starts_with,
    "substring": _substring,
    "tolowerinvariant": lambda place: place.lower(),
    "toupperinvariant": lambda place: place.upper(),
    "trim": lambda place: place.strip(),
    "trimend": lambda place, letters: place.rstrip(letters),
    "trimstart": lambda place, letters: place.lstrip(letters),
}
