# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of PowerShell: tables without regard to case, objects of .NET, what counts as true, and what becomes text."""

from __future__ import annotations

import typing as t

from .. import Refused

if t.TYPE_CHECKING:
    from ..machine import Machine

Value = t.Any


class Void:
    """What a method without a result gives: nothing at all, which is not $null."""


VOID: t.Final = Void()


class PsError(Exception):
    """An exception of .NET or PowerShell, by the name of its type."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.real: Net | None = None  # the exception of .NET that it is, where one is


class Table:
    """A hashtable, or a dictionary of strings: keys have no case."""

    def __init__(self, rows: t.Mapping[str, Value] | None = None) -> None:
        self._rows: dict[str, tuple[str, Value]] = {}
        for key, value in (rows or {}).items():
            self.set(key, value)

    def set(self, key: str, value: Value) -> None:
        spelled = self._rows.get(key.lower(), (key, None))[0]
        self._rows[key.lower()] = (spelled, value)

    def has(self, key: str) -> bool:
        return key.lower() in self._rows

    def get(self, key: str) -> Value:
        return self._rows.get(key.lower(), (key, None))[1]

    def rows(self) -> list[tuple[str, Value]]:
        return list(self._rows.values())


class Net:
    """An object of .NET. Its class says what of it is modelled, in small letters.

    ``m_name`` is a method, ``p_name`` a property, ``set_name`` what sets one. ``s_name`` and ``sp_name`` are static,
    and are given the machine first. ``new`` makes one.
    """

    name: t.ClassVar[str] = ""

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Net:
        raise Refused("the twin's PowerShell makes no [%s]" % cls.name)

    def items(self) -> list[Value] | None:
        """Return what it holds, if foreach goes through it."""
        return None


class Words(frozenset[str]):
    """A value of an enumeration with flags, by the words of it in small letters."""


def words(value: Value, allowed: t.Collection[str], *, of: str) -> Words:
    """Return the words of a text or an enumeration's value.

    Raises:
        PsError: the enumeration has no such word.
    """
    if isinstance(value, Words):
        return value
    found = Words(word.strip().lower() for word in str(value).split(","))
    unknown = found - {word.lower() for word in allowed}
    if unknown:
        message = 'Cannot convert value "%s" to type "%s": unable to match the identifier name' % (value, of)
        raise PsError("System.Management.Automation.PSInvalidCastException", message)
    return found


def truth(value: Value) -> bool:
    """Return whether a value counts as true."""
    if isinstance(value, (list, bytes)):
        return truth(value[0]) if len(value) == 1 else len(value) > 1
    return bool(value) if isinstance(value, (str, int, float, type(None))) else True


def text(value: Value) -> str:
    """Return a value as text."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(text, value))
    if isinstance(value, (str, bool, int, float)):
        return str(value)
    if isinstance(value, Net):
        shown = getattr(value, "m_tostring", None)
        if shown is not None:
            return str(shown())
    raise Refused("the twin's PowerShell makes no text of %s" % type(value).__name__)


def plain(value: Value) -> Value:
    """Return a value for JSON, as a module's result has it."""
    if isinstance(value, Table):
        return {key: plain(each) for key, each in value.rows()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, (str, bool, int, float, type(None))):
        return value
    raise Refused("the twin's PowerShell puts no %s into a result" % type(value).__name__)


def table(value: Value) -> Value:
    """Return arguments of Ansible's as PowerShell has them."""
    if isinstance(value, dict):
        return Table({key: table(each) for key, each in value.items()})
    return [table(each) for each in value] if isinstance(value, list) else value


def same(left: Value, right: Value) -> bool:
    """Return what -eq says of two single values."""
    if isinstance(left, str):
        return left.lower() == text(right).lower() if right is not None else False
    if isinstance(left, bool) or left is None or right is None:
        return left is right if left is None or right is None else left == truth(right)
    if isinstance(left, int) and isinstance(right, int):
        return left == right
    raise Refused("the twin's PowerShell compares no %s with %s" % (type(left).__name__, type(right).__name__))
