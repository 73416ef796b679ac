# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading plain data by tables of fields, with every mistake noted at its place; private to this collection."""

from __future__ import annotations

import difflib
import re
import typing as t
from dataclasses import dataclass, field

from ._names import NameRefused, dns_name, endpoint_name, shown

#: Mistakes after these are told without the nearest name.
MOST_HINTS: t.Final = 100

ToALabel = t.Callable[[str, str], str]
Check = t.Callable[["Reader", t.Any, str], t.Any]


@dataclass(frozen=True)
class Field:
    """One field of an entry: how its value is checked, and what stands there when it is left out."""

    check: Check
    default: t.Any = None
    required: bool = False


Table = t.Mapping[str, Field]


@dataclass
class Reader:
    """Collects mistakes while it reads; ``a_label`` turns an international name into its A-label."""

    a_label: ToALabel = dns_name
    mistakes: list[str] = field(default_factory=list)

    def note(self, where: str, what: str) -> None:
        """Note a mistake; reading goes on, so that all are told at once."""
        self.mistakes.append("%s: %s" % (where, what))

    def nearest(self, name: object, known: t.Iterable[str]) -> str:
        """Return the hint of :func:`nearest`, for as many mistakes as anybody reads: it takes a while to find."""
        return nearest(name, known) if len(self.mistakes) < MOST_HINTS else ""

    def value(self, check: Check, value: t.Any, where: str, default: t.Any = None) -> t.Any:
        """Return the checked value, or the default after noting what is wrong with it."""
        try:
            return check(self, value, where)
        except NameRefused as error:
            self.mistakes.append(str(error))
            return default

    def record(self, data: t.Any, table: Table, where: str) -> dict[str, t.Any]:
        """Return an entry's fields, checked, with defaults put in."""
        values = {name: each.default for name, each in table.items()}
        if not isinstance(data, dict):
            self.note(where, "%s is not a mapping; it has the fields %s" % (shown(data), ", ".join(sorted(table))))
            return values
        for name, value in data.items():
            each = table.get(name) if isinstance(name, str) else None
            if each is None:
                self.note(
                    "%s.%s" % (where, name) if isinstance(name, str) and name.isidentifier() else where,
                    "there is no field %s%s" % (shown(name), nearest(name, table)),
                )
            elif value is None and not each.required:
                continue
            else:
                values[name] = self.value(each.check, value, "%s.%s" % (where, name), each.default)
        for name, each in table.items():
            if each.required and name not in data:
                self.note(where, "%s is missing" % name)
        return values

    def entries(
        self, data: t.Any, name_check: t.Callable[[t.Any, str], str], where: str
    ) -> t.Iterator[tuple[str, t.Any, str]]:
        """Yield name, content and place of each entry of a mapping whose keys are names."""
        if data is None:
            return
        if not isinstance(data, dict):
            self.note(where, "%s is not a mapping of names" % shown(data))
            return
        for name, content in data.items():
            try:
                yield name_check(name, where), content, "%s.%s" % (where, name)
            except NameRefused as error:
                self.mistakes.append(str(error))


def nearest(name: object, known: t.Iterable[str], *, among: str = "it knows") -> str:
    """Return how a message goes on after an unknown name: the nearest one, or all if they are few."""
    names = [each for each in known if isinstance(each, str)]
    text = str(name)
    # difflib takes a second for thousands of candidates; those of about the same length are enough
    if len(names) > 2000:
        names = [each for each in names if abs(len(each) - len(text)) <= 2 and each[:1] == text[:1]]
    found = difflib.get_close_matches(text[:300], names, n=1)
    if found:
        return "; did you mean %s?" % shown(found[0])
    if 0 < len(names) <= 20:
        return "; %s %s" % (among, ", ".join(sorted(names)))
    return ""


def named(check: t.Callable[[t.Any, str], str]) -> Check:
    """Return the check of a validator of names."""
    return lambda reader, value, where: check(value, where)


def endpoint(reader: Reader, value: t.Any, where: str) -> str:
    """Check a DNS name or an IP address; an international name becomes its A-label."""
    if isinstance(value, str) and (not value.isascii() or "xn--" in value.lower()):
        value = reader.a_label(str(value), where)
    return endpoint_name(value, where)


def flag(reader: Reader, value: t.Any, where: str) -> bool:
    """Check a yes or no."""
    if not isinstance(value, bool):
        raise NameRefused("%s: %s is neither true nor false" % (where, shown(value)))
    return value


def number(least: int, most: int) -> Check:
    """Return the check of a whole number."""

    def check(reader: Reader, value: t.Any, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise NameRefused("%s: %s is not a whole number from %d to %d" % (where, shown(value), least, most))
        return int(value)

    return check


def choice(*allowed: str) -> Check:
    """Return the check of one of a few words."""

    def check(reader: Reader, value: t.Any, where: str) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise NameRefused(
                "%s: %s is not one of %s%s"
                % (where, shown(value), ", ".join(allowed), nearest(value, allowed, among="take"))
            )
        return str(value)

    return check


def text(longest: int) -> Check:
    """Return the check of a line for people."""

    def check(reader: Reader, value: t.Any, where: str) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > longest or not value.isprintable():
            raise NameRefused(
                "%s: %s is not a line of 1 to %d printable characters; put it in quotes"
                % (where, shown(value), longest)
            )
        return str(value).strip()

    return check


def matching(pattern: str, what: str) -> Check:
    """Return the check of a text of a certain form."""
    compiled = re.compile(pattern + r"\Z")

    def check(reader: Reader, value: t.Any, where: str) -> str:
        if not isinstance(value, str) or not compiled.match(value):
            raise NameRefused("%s: %s is not %s" % (where, shown(value), what))
        return str(value)

    return check


def several(check: Check, *, least: int = 0) -> Check:
    """Return the check of a list without doubles."""

    def check_all(reader: Reader, value: t.Any, where: str) -> tuple[t.Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise NameRefused("%s: %s is not a list; write it in brackets" % (where, shown(value)))
        if len(value) < least:
            raise NameRefused("%s: the list is empty" % where)
        found: dict[t.Any, int] = {}
        for n, item in enumerate(value):
            place = "%s[%d]" % (where, n)
            clean = reader.value(check, item, place)
            if clean in found and clean is not None:
                reader.note(place, "%s stands there twice" % shown(clean))
            found.setdefault(clean, n)
        return tuple(item for item in found if item is not None)

    return check_all


def nested(table: Table, build: t.Callable[[dict[str, t.Any]], t.Any]) -> Check:
    """Return the check of an entry inside an entry."""
    return lambda reader, value, where: build(reader.record(value, table, where))
