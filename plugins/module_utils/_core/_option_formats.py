# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options in text files, read as those who read them see them; private to this collection.

Four formats of lines: ``ini`` (sections, ``key = value``), ``conf`` (flat, a separator between key and value),
``postfix`` (its main.cf), ``properties`` (Java's, with its escapes). Where an option stands twice, the last one counts,
as for most readers. Formats of blocks and directives, such as ``nginx``, are read by ``_blocks``.

Every look at a host loads this, so it is small, and patterns stay text: `re` compiles one at its first use, and a look
mostly meets one format.
"""

from __future__ import annotations

import re
import typing as t

from ._errors import TlsError

LINE_FORMATS: t.Final = ("conf", "ini", "postfix", "properties")
BLOCK_FORMATS: t.Final = ("apache", "haproxy", "hba", "nginx", "xml")
FORMATS: t.Final = (*LINE_FORMATS, *BLOCK_FORMATS)
BOM: t.Final = "\ufeff"


class OptionRefused(TlsError):
    """An option cannot be written in this format."""


class Entry(t.NamedTuple):
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


class File(t.NamedTuple):
    """A file's lines, with its options and sections."""

    lines: t.Sequence[str]
    entries: t.Sequence[Entry]
    sections: t.Sequence[tuple[int, str]] = ()


def read(text: str, format: str, section: str, key: str) -> str | None:
    """Return an option's value, or None where it is absent.

    Raises:
        OptionRefused: the format is not known, or the text is not written in it.
    """
    if format in BLOCK_FORMATS:
        from ._blocks import read_block

        return read_block(text, format, section, key)
    found = found_in(parsed(text, format), section, key)
    return found[-1].value if found else None


def parsed(text: str, format: str) -> File:
    """Return a file's lines, and what options stand in them.

    Raises:
        OptionRefused: the format is not known.
    """
    if format not in LINE_FORMATS:
        raise OptionRefused("format is %r; it is one of %s" % (format, ", ".join(FORMATS)))
    return _PARSERS[format](_lines(text[len(BOM) :] if text.startswith(BOM) else text))


def found_in(file: File, section: str, key: str) -> list[Entry]:
    """Return an option wherever it stands; the last one counts."""
    return [entry for entry in file.entries if (entry.section, entry.key) == (section, key)]


# ini

_SECTION: t.Final = r"\s*\[(?P<name>[^\]]*)\]"
_INI: t.Final = r"(?P<lead>\s*)(?P<name>[^=:]*?)(?P<separator>\s*[=:][^\S\n]*|(?=\s*$))(?P<value>.*?)(?P<trail>\s*)$"


def _parse_ini(lines: t.Sequence[str]) -> File:
    """Find options as Python's configparser does: a line that stands deeper than its option goes on with the value."""
    entries: list[Entry] = []
    sections: list[tuple[int, str]] = []
    here, at = "", 0
    while at < len(lines):
        content = _content(lines[at])
        section = re.match(_SECTION, content)
        found = None if content.lstrip()[:1] in ("#", ";", "") else re.match(_INI, content)
        if section:
            here = section.group("name").strip()
            sections.append((at, here))
        elif found and found.group("name"):
            more = _deeper(lines, at)
            value = "\n".join([found.group("value"), *(_content(lines[row]).strip() for row in more)])
            parts = found.group("name"), value, at, found.group("lead"), found.group("name"), found.group("separator")
            entries.append(Entry(here, *parts, trail=found.group("trail"), more=more))
            at = more[-1] if more else at
        at += 1
    return File(lines, entries, sections)


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

_CONF: t.Final = r"(?P<lead>\s*)(?P<name>[^\s=#]+)(?P<separator>\s*=\s*|\s+|$)(?P<rest>.*)$"
#: A value up to a comment: ``#`` begins one after a blank, outside of quotes.
_CONF_VALUE: t.Final = r"""(?P<value>(?:'[^']*'|"[^"]*"|(?<!\s)\#|[^#])*?)(?P<trail>\s*(?:(?<=\s)\#.*)?)$"""


def _parse_conf(lines: t.Sequence[str]) -> File:
    entries = []
    for at, line in enumerate(lines):
        content = _content(line)
        found = None if content.lstrip()[:1] in ("#", ";", "!", "") else re.match(_CONF, content)
        if not found:
            continue
        rest = re.compile(_CONF_VALUE).match(content, found.start("rest"))
        value, trail = (rest.group("value"), rest.group("trail")) if rest else (found.group("rest"), "")
        if trail.startswith("#"):  # the separator has taken the blank before it
            trail = " " + trail
        name = found.group("name")
        entries.append(Entry("", name, value, at, found.group("lead"), name, found.group("separator"), trail))
    return File(lines, entries)


# postfix

_POSTFIX: t.Final = r"(?P<name>[^\s=#]+)(?P<separator>\s*=[^\S\n]*)(?P<value>.*?)(?P<trail>\s*)$"


def _parse_postfix(lines: t.Sequence[str]) -> File:
    """Find options as postconf(5) has it: a line that begins with a blank goes on with the value, past comments."""
    entries: list[Entry] = []
    for at, line in enumerate(lines):
        content = _content(line)
        found = re.match(_POSTFIX, content)
        if found:
            name, value = found.group("name"), found.group("value")
            entries.append(Entry("", name, value, at, "", name, found.group("separator"), found.group("trail")))
        elif content[:1].isspace() and content.strip() and content.lstrip()[0] != "#" and entries:
            last = entries[-1]
            value = " ".join([*last.value.split("\n"), content.strip()]).strip()
            entries[-1] = last._replace(value=value, more=(*last.more, at))
    return File(lines, entries)


# properties

_PROPERTY: t.Final = (
    r"(?s)(?P<lead>[ \t\f]*)(?P<name>(?:\\.|[^ \t\f=:\\])+)(?P<separator>[ \t\f]*[=:][ \t\f]*|[ \t\f]+|$)(?P<value>.*)$"
)
_ESCAPE: t.Final = r"(?s)\\(?:u([0-9A-Fa-f]{4})|(.)|$)"
_ESCAPED: t.Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def _parse_properties(lines: t.Sequence[str]) -> File:
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
        found = None if comment else re.match(_PROPERTY, content[:-1] if _goes_on(content) else content)
        if found:
            name, lead, separator = found.group("name"), found.group("lead"), found.group("separator")
            key, value = _unescaped(name), _unescaped(found.group("value"))
            entries.append(Entry("", key, value, first, lead, name, separator, more=tuple(range(first + 1, at + 1))))
        at += 1
    return File(lines, entries)


def _goes_on(content: str) -> bool:
    return (len(content) - len(content.rstrip("\\"))) % 2 == 1


def _unescaped(text: str) -> str:
    def plain(found: t.Match[str]) -> str:
        if found.group(1):
            return chr(int(found.group(1), 16))
        return _ESCAPED.get(found.group(2) or "", found.group(2) or "")

    text = re.sub(_ESCAPE, plain, text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if re.search(_PAIR, text) else text


_PAIR: t.Final = "[\ud800-\udbff][\udc00-\udfff]"


# What the formats share

_PARSERS: t.Final[t.Mapping[str, t.Callable[[t.Sequence[str]], File]]] = {
    "conf": _parse_conf,
    "ini": _parse_ini,
    "postfix": _parse_postfix,
    "properties": _parse_properties,
}


def _lines(text: str) -> list[str]:
    """Split at line feeds only: other characters that Python takes for line ends belong to values."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _content(line: str) -> str:
    return line[: len(line) - len(end_of(line))]


def end_of(line: str) -> str:
    """Return a line's end; nothing if it has none."""
    return "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else ""
