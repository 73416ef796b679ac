# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options in text files, read and edited without touching anything else; private to this collection.

Three formats, as those who read them see them: ``ini`` (sections, ``key = value``), ``conf`` (flat, a separator between
key and value), ``properties`` (Java's, with its escapes). An edit keeps every other byte: comments, order, line ends,
and a last line without one. Where an option stands twice, the last one counts, as it does for most readers.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ._errors import TlsError
from ._masked import MASK, is_secret

FORMATS: t.Final = ("conf", "ini", "properties")
_BOM: t.Final = "\ufeff"


class OptionRefused(TlsError):
    """An option cannot be written in this format."""


@dataclass(frozen=True)
class Setting:
    """An option as it is wanted; ``value`` None means that it is absent."""

    section: str
    key: str
    value: str | None
    separator: str | None = None


@dataclass(frozen=True)
class _Entry:
    """An option as it stands in a file.

    Attributes:
        section, key, value: what it says.
        at: the first of its lines.
        lead, name, separator, trail: how that line is written around the value.
        more: its further lines, which hold the rest of the value.
    """

    section: str
    key: str
    value: str
    at: int
    lead: str
    name: str
    separator: str
    trail: str = ""
    more: tuple[int, ...] = ()


@dataclass(frozen=True)
class _File:
    """A file's lines, with its options and sections."""

    lines: t.Sequence[str]
    entries: t.Sequence[_Entry]
    sections: t.Sequence[tuple[int, str]] = field(default=())


def read(text: str, format: str, section: str, key: str) -> str | None:
    """Return an option's value, or None where it is absent.

    Raises:
        OptionRefused: the format is not known.
    """
    found = _found(_parsed(text, format), section, key)
    return found[-1].value if found else None


def edit(text: str, format: str, settings: t.Sequence[Setting]) -> str:
    """Return the text with these options as wanted, and all else as it was.

    Raises:
        OptionRefused: a name or a value that the format cannot hold, such as one with a line end.
    """
    for setting in settings:
        refuse_unwritable(setting, format)
        text = _edited(text, format, setting)
        if read(text, format, setting.section, setting.key) != setting.value:
            value = MASK if is_secret(setting.key) else setting.value
            raise OptionRefused(
                "%s cannot be set to %r in a file of format %s: readers would see another value"
                % (setting.key, value, format)
            )
    return text


def _parsed(text: str, format: str) -> _File:
    if format not in FORMATS:
        raise OptionRefused("format is %r; it is one of %s" % (format, ", ".join(FORMATS)))
    return _PARSERS[format](_lines(text[len(_BOM) :] if text.startswith(_BOM) else text))


def _found(file: _File, section: str, key: str) -> list[_Entry]:
    return [entry for entry in file.entries if (entry.section, entry.key) == (section, key)]


def _edited(text: str, format: str, setting: Setting) -> str:
    file = _parsed(text, format)
    found = _found(file, setting.section, setting.key)
    if (found[-1].value if found else None) == setting.value:
        return text
    if setting.value is None:
        gone = {line for entry in found for line in (entry.at, *entry.more)}
        lines = [line for at, line in enumerate(file.lines) if at not in gone]
    elif found:
        lines = _replaced(file, format, found[-1], setting.value)
    else:
        lines = _inserted(file, format, setting, setting.value)
    return (_BOM if text.startswith(_BOM) else "") + "".join(lines)


def _replaced(file: _File, format: str, entry: _Entry, value: str) -> list[str]:
    """Return the lines with another value in the option's first line, and without the rest of the old one."""
    is_last = entry.at + len(entry.more) == len(file.lines) - 1  # else comments that stand between stay behind it
    end = _end_of(file.lines[-1 if is_last else entry.at])
    separator = entry.separator or (_SEPARATORS[format] if value else "")
    line = entry.lead + entry.name + separator + _written(value, format) + entry.trail + end
    return [line if at == entry.at else old for at, old in enumerate(file.lines) if at not in entry.more]


def _inserted(file: _File, format: str, setting: Setting, value: str) -> list[str]:
    """Return the lines with a new option at the end of its section, which is made where it is missing."""
    here = [entry for entry in file.entries if entry.section == setting.section] or list(file.entries)
    usual = next((entry.separator for entry in reversed(here) if entry.separator), _SEPARATORS[format])
    end = "\r\n" if file.lines and file.lines[0].endswith("\r\n") else "\n"
    lead = here[-1].lead if here and format != "properties" else ""
    name = _written_name(setting.key) if format == "properties" else setting.key
    line = lead + name + (setting.separator or usual) + _written(value, format)
    at = _place(file, setting.section)
    new = [line]
    if at is None:
        at = len(file.lines)
        new = ["[%s]" % setting.section, line]
        if file.lines and file.lines[-1].strip():
            new.insert(0, "")
    before, behind = list(file.lines[:at]), list(file.lines[at:])
    ended = not file.lines or bool(_end_of(file.lines[-1]))
    if before and not _end_of(before[-1]):
        before[-1] += end
    added = [row + end for row in new]
    if not behind and not ended:
        added[-1] = new[-1]  # the last line had no end, so it has none
    return [*before, *added, *behind]


def _place(file: _File, section: str) -> int | None:
    """Return where a new option of a section goes: after its last line that holds something."""
    starts = [at for at, name in file.sections if name == section]
    if section and not starts:
        return None
    start = starts[-1] + 1 if starts else 0
    place = next((at for at, _unused in file.sections if at >= start), len(file.lines))
    while place > start and not file.lines[place - 1].strip():
        place -= 1
    return place


# ini

_SECTION: t.Final = re.compile(r"\s*\[(?P<name>[^\]]*)\]")
_INI: t.Final = re.compile(
    r"(?P<lead>\s*)(?P<name>[^=:]*?)(?P<separator>\s*[=:][^\S\n]*|(?=\s*$))(?P<value>.*?)(?P<trail>\s*)$"
)


def _parse_ini(lines: t.Sequence[str]) -> _File:
    """Find options as Python's configparser does: a line that stands deeper than its option goes on with the value."""
    entries: list[_Entry] = []
    sections: list[tuple[int, str]] = []
    here, at = "", 0
    while at < len(lines):
        content = _content(lines[at])
        section = _SECTION.match(content)
        found = None if content.lstrip()[:1] in ("#", ";", "") else _INI.match(content)
        if section:
            here = section.group("name").strip()
            sections.append((at, here))
        elif found and found.group("name"):
            more = _deeper(lines, at)
            value = "\n".join([found.group("value"), *(_content(lines[row]).strip() for row in more)])
            parts = found.group("name"), value, at, found.group("lead"), found.group("name"), found.group("separator")
            entries.append(_Entry(here, *parts, trail=found.group("trail"), more=more))
            at = more[-1] if more else at
        at += 1
    return _File(lines, entries, sections)


def _deeper(lines: t.Sequence[str], at: int) -> tuple[int, ...]:
    """Return the lines that go on with the value of an option; comments and blank lines between them do not."""
    depth = _depth(lines[at])
    more = []
    for row in range(at + 1, len(lines)):
        content = lines[row].strip()
        if not content or content[0] in "#;":
            continue
        if _depth(lines[row]) <= depth:
            break
        more.append(row)
    return tuple(more)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


# conf

_CONF: t.Final = re.compile(r"(?P<lead>\s*)(?P<name>[^\s=#]+)(?P<separator>\s*=\s*|\s+|$)(?P<rest>.*)$")
#: A value up to a comment: ``#`` begins one after a blank, outside of quotes.
_CONF_VALUE: t.Final = re.compile(r"""(?P<value>(?:'[^']*'|"[^"]*"|(?<!\s)\#|[^#])*?)(?P<trail>\s*(?:(?<=\s)\#.*)?)$""")


def _parse_conf(lines: t.Sequence[str]) -> _File:
    entries = []
    for at, line in enumerate(lines):
        content = _content(line)
        found = None if content.lstrip()[:1] in ("#", ";", "!", "") else _CONF.match(content)
        if not found:
            continue
        rest = _CONF_VALUE.match(content, found.start("rest"))
        value, trail = (rest.group("value"), rest.group("trail")) if rest else (found.group("rest"), "")
        if trail.startswith("#"):  # the separator has taken the blank before it
            trail = " " + trail
        name = found.group("name")
        entries.append(_Entry("", name, value, at, found.group("lead"), name, found.group("separator"), trail))
    return _File(lines, entries)


# properties

_PROPERTY: t.Final = re.compile(
    r"(?P<lead>[ \t\f]*)(?P<name>(?:\\.|[^ \t\f=:\\])+)(?P<separator>[ \t\f]*[=:][ \t\f]*|[ \t\f]+|$)(?P<value>.*)$",
    re.S,
)
_ESCAPE: t.Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.)|$)", re.S)
_ESCAPED: t.Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def _parse_properties(lines: t.Sequence[str]) -> _File:
    """Find options as java.util.Properties does: an odd number of backslashes at its end makes a line go on."""
    entries = []
    at = 0
    while at < len(lines):
        first = at
        content = _content(lines[at])
        comment = content.lstrip(" \t\f")[:1] in ("#", "!", "")
        while not comment and _goes_on(content) and at + 1 < len(lines):
            at += 1
            content = content[:-1] + _content(lines[at]).lstrip(" \t\f")
        found = None if comment else _PROPERTY.match(content[:-1] if _goes_on(content) else content)
        if found:
            name, lead, separator = found.group("name"), found.group("lead"), found.group("separator")
            key, value = _unescaped(name), _unescaped(found.group("value"))
            entries.append(_Entry("", key, value, first, lead, name, separator, more=tuple(range(first + 1, at + 1))))
        at += 1
    return _File(lines, entries)


def _goes_on(content: str) -> bool:
    return (len(content) - len(content.rstrip("\\"))) % 2 == 1


def _unescaped(text: str) -> str:
    def plain(found: t.Match[str]) -> str:
        if found.group(1):
            return chr(int(found.group(1), 16))
        return _ESCAPED.get(found.group(2) or "", found.group(2) or "")

    text = _ESCAPE.sub(plain, text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _PAIR.search(text) else text


_PAIR: t.Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _escaped(text: str) -> str:
    """Return text as Java reads it back, in ASCII: Java takes a file for Latin-1 or for UTF-8 as its version has it."""
    units = []
    for each in text:
        if each in "\t\n\r\f":
            units.append("\\" + {"\t": "t", "\n": "n", "\r": "r", "\f": "f"}[each])
        elif each == "\\":
            units.append("\\\\")
        elif " " <= each <= "~":
            units.append(each)
        else:
            data = each.encode("utf-16-be", "surrogatepass")
            units += ["\\u%02x%02x" % (data[at], data[at + 1]) for at in range(0, len(data), 2)]
    return "".join(units)


# What the formats share

_PARSERS: t.Final[t.Mapping[str, t.Callable[[t.Sequence[str]], _File]]] = {
    "conf": _parse_conf,
    "ini": _parse_ini,
    "properties": _parse_properties,
}
_SEPARATORS: t.Final = {"conf": " = ", "ini": " = ", "properties": "="}


def _written(value: str, format: str) -> str:
    if format != "properties":
        return value
    text = _escaped(value)
    return "\\" + text if text.startswith(" ") else text


def _written_name(key: str) -> str:
    return re.sub(r"([=: #!])", r"\\\1", _escaped(key))


def _lines(text: str) -> list[str]:
    """Split at line feeds only: other characters that Python takes for line ends belong to values."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _content(line: str) -> str:
    return line[: len(line) - len(_end_of(line))]


def _end_of(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else ""


_CONTROL: t.Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_BAD_NAME: t.Final = {
    "conf": re.compile(r"[\s=#]|^[;!\"']"),
    "ini": re.compile(r"[=:]|^[\[#;]"),
    "properties": re.compile(r"[\n\r]"),
}


def refuse_unwritable(setting: Setting, format: str) -> None:
    """Refuse an option that the format cannot hold.

    Raises:
        OptionRefused: it cannot.
    """
    if format not in FORMATS:
        raise OptionRefused("format is %r; it is one of %s" % (format, ", ".join(FORMATS)))
    where = "[%s] %s" % (setting.section, setting.key) if setting.section else setting.key
    if format != "ini" and setting.section:
        raise OptionRefused("%s: format %s has no sections; leave section out" % (where, format))
    if not setting.key or setting.key != setting.key.strip() or _BAD_NAME[format].search(setting.key):
        raise OptionRefused("%r cannot be the name of an option in a file of format %s" % (setting.key, format))
    if setting.section != setting.section.strip() or re.search(r"[\[\]]", setting.section):
        raise OptionRefused("%r cannot be the name of a section" % setting.section)
    separator = setting.separator
    if separator is not None and not re.fullmatch(r"[ \t]*[=:]?[ \t]*", separator or "x"):
        raise OptionRefused(
            "%s: separator is %r; it is '=', ':' or a blank, with or without blanks" % (where, separator)
        )
    texts = (setting.section, setting.key) if format == "properties" else (setting.section, setting.key, setting.value)
    if any(_CONTROL.search(text or "") for text in texts):
        raise OptionRefused("%s holds a line end or another control character" % where)
    value = setting.value or ""
    if format != "properties" and value != value.strip():
        raise OptionRefused("%s: the value begins or ends with a blank, which readers drop" % where)
