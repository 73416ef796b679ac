# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options in text files, read and edited without touching anything else; private to this collection.

Three formats, in the words of those who read them: ``ini`` (sections, ``key = value``), ``conf`` (flat, a separator
between key and value), ``properties`` (Java's, with its escapes). An edit keeps every other byte: comments, order, line
ends, and a last line without one.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ._errors import TlsError

Format = str
FORMATS: t.Final = ("ini", "conf", "properties")


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
class _Line:
    """A line that holds an option: where, and what."""

    at: int
    key: str
    value: str
    lead: str
    separator: str


_SECTION = re.compile(r"\s*\[(?P<name>[^\]]*)\]\s*(?:[;#].*)?$")
_INI = re.compile(r"(?P<lead>\s*)(?P<key>[^\s;#\[=:][^=:]*?)(?P<separator>\s*[=:]\s*)(?P<value>.*?)\s*$")
_CONF = re.compile(r"(?P<lead>\s*)(?P<key>[^\s#;=]+)(?P<separator>\s*=\s*|\s+)(?P<value>.*?)\s*;?\s*$")
_PROPERTIES = re.compile(
    r"(?P<lead>\s*)(?P<key>(?:\\.|[^\s#!=:\\])(?:\\.|[^\s=:\\])*)(?P<separator>\s*[=:]\s*|\s+|$)(?P<value>.*)$"
)
_ENDS = re.compile(r"\r\n|\n")


def read(text: str, format: Format, section: str, key: str) -> str | None:
    """Return an option's value, or None where it is absent; of several the last counts, as it does for readers."""
    lines = _split(text)
    found = [line for line in _options(lines, format, section) if line.key == key]
    return _shown(found[-1].value, format) if found else None


def edit(text: str, format: Format, settings: t.Sequence[Setting]) -> str:
    """Return the text with these options as wanted, and all else as it was.

    Raises:
        OptionRefused: a name or a value that the format cannot hold, such as one with a line end.
    """
    for setting in settings:
        _refuse_unwritable(setting, format)
        text = _edit_one(text, format, setting)
    return text


def _edit_one(text: str, format: Format, setting: Setting) -> str:
    if read(text, format, setting.section, setting.key) == setting.value:
        return text
    lines = _split(text)
    found = [line for line in _options(lines, format, setting.section) if line.key == setting.key]
    if setting.value is None:
        for line in reversed(found):
            del lines[line.at]
        return "".join(lines)
    if found:
        last = found[-1]
        end = _end_of(lines[last.at])
        name = _written_key(setting.key, format)
        lines[last.at] = last.lead + name + (last.separator or " = ") + _written(setting.value, format) + end
        return "".join(lines)
    return _insert(lines, format, setting)


def _insert(lines: t.List[str], format: Format, setting: Setting) -> str:
    """Return the text with a new option at the end of its section, which is made where it is missing."""
    end = _usual_end(lines)
    like = _options(lines, format, setting.section)
    separator = setting.separator or (like[-1].separator if like else _DEFAULT_SEPARATOR[format])
    line = _written_key(setting.key, format) + separator + _written(setting.value or "", format) + end
    if lines and not _end_of(lines[-1]):
        lines[-1] += end
    at = _place(lines, format, setting.section)
    if at is None:
        gap = [end] if lines and lines[-1].strip() else []
        return "".join([*lines, *gap, "[%s]%s" % (setting.section, end), line])
    return "".join([*lines[:at], line, *lines[at:]])


_DEFAULT_SEPARATOR: t.Final = {"ini": " = ", "conf": " = ", "properties": "="}


def _place(lines: t.Sequence[str], format: Format, section: str) -> int | None:
    """Return where a new option of a section goes: after its last line that holds something."""
    if format != "ini":
        return len(lines)
    starts = [at for at, name in _sections(lines) if name == section]
    if section == "":
        first = next((at for at, _ in _sections(lines)), len(lines))
        return _after_content(lines, 0, first)
    if not starts:
        return None
    following = next((at for at, _ in _sections(lines) if at > starts[-1]), len(lines))
    return _after_content(lines, starts[-1] + 1, following)


def _after_content(lines: t.Sequence[str], low: int, high: int) -> int:
    while high > low and not lines[high - 1].strip():
        high -= 1
    return high


def _sections(lines: t.Sequence[str]) -> t.List[t.Tuple[int, str]]:
    found = []
    for at, line in enumerate(lines):
        match = _SECTION.match(_ENDS.sub("", line))
        if match:
            found.append((at, match.group("name").strip()))
    return found


def _options(lines: t.Sequence[str], format: Format, section: str) -> t.List[_Line]:
    """Return the options of a section, in order; a format without sections has one."""
    pattern = {"ini": _INI, "conf": _CONF, "properties": _PROPERTIES}[format]
    found = []
    here = ""
    continued = False
    for at, line in enumerate(lines):
        content = _ENDS.sub("", line)
        if format == "ini":
            match = _SECTION.match(content)
            if match:
                here = match.group("name").strip()
                continue
        was_continued, continued = continued, format == "properties" and _continues(content)
        if was_continued or (format == "ini" and here != section) or content.lstrip()[:1] in ("#", ";", "!", ""):
            continue
        option = pattern.match(content)
        if option:
            key = _read_key(option.group("key").strip(), format)
            found.append(_Line(at, key, option.group("value"), option.group("lead"), option.group("separator")))
    return found


def _continues(content: str) -> bool:
    return (len(content) - len(content.rstrip("\\"))) % 2 == 1


def _split(text: str) -> t.List[str]:
    """Split at line feeds only: other characters that Python takes for line ends belong to values."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _end_of(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else ""


def _usual_end(lines: t.Sequence[str]) -> str:
    return "\r\n" if lines and lines[0].endswith("\r\n") else "\n"


def _refuse_unwritable(setting: Setting, format: Format) -> None:
    if format not in FORMATS:
        raise OptionRefused("format %r is not known; it is one of %s" % (format, ", ".join(FORMATS)))
    if format != "ini" and setting.section:
        raise OptionRefused("format %s has no sections, and %r was given" % (format, setting.section))
    for what, text in (("section", setting.section), ("key", setting.key), ("value", setting.value or "")):
        if any(ord(each) < 32 and each != "\t" for each in text) or "\x7f" in text:
            raise OptionRefused("%s %r holds a line end or another control character" % (what, text))
    if (
        not setting.key
        or setting.key != setting.key.strip()
        or (format == "ini" and re.search(r"[=:\[\];#]", setting.key))
    ):
        raise OptionRefused("%r cannot be the name of an option" % setting.key)
    if "]" in setting.section:
        raise OptionRefused("%r cannot be the name of a section" % setting.section)
    if setting.value is not None and setting.value != setting.value.strip():
        raise OptionRefused("the value %r begins or ends with a blank, which readers drop" % setting.value)


def _written(value: str, format: Format) -> str:
    return value.replace("\\", "\\\\") if format == "properties" else value


def _written_key(key: str, format: Format) -> str:
    return re.sub(r"([\\=: #!])", r"\\\1", key) if format == "properties" else key


def _read_key(key: str, format: Format) -> str:
    return re.sub(r"\\(.)", r"\1", key) if format == "properties" else key


def _shown(value: str, format: Format) -> str:
    return re.sub(r"\\(.)", r"\1", value.rstrip()) if format == "properties" else value
