# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options in text files, edited without touching anything else; private to this collection.

An edit keeps every other byte: comments, order, line ends, and a last line without one.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ._block_edits import edit_block
from ._masked import masked_value
from ._option_formats import (
    BLOCK_FORMATS,
    BOM,
    FORMATS,
    Entry,
    File,
    OptionRefused,
    end_of,
    found_in,
    parsed,
    read,
)


@dataclass(frozen=True)
class Setting:
    """An option as it is wanted; ``value`` None means that it is absent.

    ``like`` names the section of which its own is made as a copy, where it is missing.
    """

    section: str
    key: str
    value: str | None
    separator: str | None = None
    like: str | None = None


def edit(text: str, format: str, settings: t.Sequence[Setting]) -> str:
    """Return the text with these options as wanted, and all else as it was.

    Raises:
        OptionRefused: a name or a value that the format cannot hold, such as one with a line end.
    """
    for setting in settings:
        refuse_unwritable(setting, format)
        text = _edited(text, format, setting)
        if read(text, format, setting.section, setting.key) != setting.value:
            value = None if setting.value is None else masked_value(setting.key, setting.value)
            raise OptionRefused(
                "%s cannot be set to %r in a file of format %s: readers would see another value"
                % (setting.key, value, format)
            )
    return text


def _edited(text: str, format: str, setting: Setting) -> str:
    if format in BLOCK_FORMATS:
        if read(text, format, setting.section, setting.key) == setting.value:
            return text
        bom = BOM if text.startswith(BOM) else ""
        place = setting.section, setting.key, setting.value
        return bom + edit_block(text[len(bom) :], format, *place, like=setting.like)
    file = parsed(text, format)
    found = found_in(file, setting.section, setting.key)
    if (found[-1].value if found else None) == setting.value:
        return text
    if setting.value is None:
        gone = {line for entry in found for line in (entry.at, *entry.more)}
        lines = [line for at, line in enumerate(file.lines) if at not in gone]
    elif found:
        lines = _replaced(file, format, found[-1], setting.value)
    else:
        lines = _inserted(file, format, setting, setting.value)
    return (BOM if text.startswith(BOM) else "") + "".join(lines)


def _replaced(file: File, format: str, entry: Entry, value: str) -> list[str]:
    """Return the lines with another value in the option's first line, and without the rest of the old one."""
    is_last = entry.at + len(entry.more) == len(file.lines) - 1  # else comments that stand between stay behind it
    end = end_of(file.lines[-1 if is_last else entry.at])
    separator = entry.separator or (_SEPARATORS[format] if value else "")
    line = entry.lead + entry.name + separator + _written(value, format) + entry.trail + end
    return [line if at == entry.at else old for at, old in enumerate(file.lines) if at not in entry.more]


def _inserted(file: File, format: str, setting: Setting, value: str) -> list[str]:
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
    ended = not file.lines or bool(end_of(file.lines[-1]))
    if before and not end_of(before[-1]):
        before[-1] += end
    added = [row + end for row in new]
    if not behind and not ended:
        added[-1] = new[-1]  # the last line had no end, so it has none
    return [*before, *added, *behind]


def _place(file: File, section: str) -> int | None:
    """Return where a new option of a section goes: after its last line that holds something."""
    starts = [at for at, name in file.sections if name == section]
    if section and not starts:
        return None
    start = starts[-1] + 1 if starts else 0
    place = next((at for at, _unused in file.sections if at >= start), len(file.lines))
    while place > start and not file.lines[place - 1].strip():
        place -= 1
    return place


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


_SEPARATORS: t.Final = {"conf": " = ", "ini": " = ", "postfix": " = ", "properties": "="}


def _written(value: str, format: str) -> str:
    if format != "properties":
        return value
    text = _escaped(value)
    return "\\" + text if text.startswith(" ") else text


def _written_name(key: str) -> str:
    return re.sub(r"([=: #!])", r"\\\1", _escaped(key))


_CONTROL: t.Final = r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]"
_BAD_DIRECTIVE: t.Final = {"hba": r"[#\"'\\]", "xml": r"[\s;{}#\"'\\<>=/&]"}
_BAD_NAME: t.Final = {
    "conf": r"[\s=#]|^[;!\"']",
    "ini": r"[=:]|^[\[#;]",
    "postfix": r"[\s=#]",
    "properties": r"[\n\r]",
}


def refuse_unwritable(setting: Setting, format: str) -> None:
    """Refuse an option that the format cannot hold.

    Raises:
        OptionRefused: it cannot.
    """
    if format not in FORMATS:
        raise OptionRefused("format is %r; it is one of %s" % (format, ", ".join(FORMATS)))
    where = "[%s] %s" % (setting.section, setting.key) if setting.section else setting.key
    if format in BLOCK_FORMATS:
        _refuse_unwritable_directive(setting, format, where=where)
        return
    if setting.like is not None:
        raise OptionRefused("%s: format %s has no blocks that could be copied; leave like out" % (where, format))
    if format != "ini" and setting.section:
        raise OptionRefused("%s: format %s has no sections; leave section out" % (where, format))
    if not setting.key or setting.key != setting.key.strip() or re.search(_BAD_NAME[format], setting.key):
        raise OptionRefused("%r cannot be the name of an option in a file of format %s" % (setting.key, format))
    if setting.section != setting.section.strip() or re.search(r"[\[\]]", setting.section):
        raise OptionRefused("%r cannot be the name of a section" % setting.section)
    separator = setting.separator
    if separator is not None and not re.fullmatch(r"[ \t]*[=:]?[ \t]*", separator or "x"):
        raise OptionRefused(
            "%s: separator is %r; it is '=', ':' or a blank, with or without blanks" % (where, separator)
        )
    texts = (setting.section, setting.key) if format == "properties" else (setting.section, setting.key, setting.value)
    if any(re.search(_CONTROL, text or "") for text in texts):
        raise OptionRefused("%s holds a line end or another control character" % where)
    value = setting.value or ""
    if format != "properties" and value != value.strip():
        raise OptionRefused("%s: the value begins or ends with a blank, which readers drop" % where)


def _refuse_unwritable_directive(setting: Setting, format: str, *, where: str) -> None:
    """Refuse what no directive can be: of its value its parser tells more."""
    bad = _BAD_DIRECTIVE.get(format, r"[;{}#\"'\\<>]")
    if not setting.key or setting.key != " ".join(setting.key.split()) or re.search(bad, setting.key):
        raise OptionRefused("%r cannot be the name of an option in a file of format %s" % (setting.key, format))
    if setting.separator is not None:
        raise OptionRefused("%s: format %s has no separators; leave separator out" % (where, format))
    if any(re.search(_CONTROL, text or "") for text in (setting.section, setting.key, setting.value)):
        raise OptionRefused("%s holds a line end or another control character" % where)
    value = setting.value or ""
    if format != "xml" and (value != " ".join(value.split()) or value.endswith("\\")):
        raise OptionRefused("%s: the value has blanks that readers drop, or ends in a backslash" % where)
