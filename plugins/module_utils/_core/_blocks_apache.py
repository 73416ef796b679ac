# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of Apache's httpd: names in any case, continued lines, ``<VirtualHost>``; private to this collection.

Source: https://httpd.apache.org/docs/2.4/configuring.html#syntax. A backslash at its end makes a line go on, a comment
has a line of its own, and an ``Include`` is not followed. ``<IfModule mod>`` is seen through, for what TLS needs stands
in one where its module is optional, as in Debian's ports.conf.
"""

from __future__ import annotations

import re
import typing as t

from ._blocks import Block, Directive, Syntax, Word, unreadable

_LINE: t.Final = r"(?:[^\n]*\\\r?\n)*[^\n]*"
_WORD: t.Final = r"""(?x) (?!\\\r?\n) (?: "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | (?:(?!\\\r?\n)\S)+ )"""


def _parse(text: str) -> Block:
    file = Block(stop=len(text))
    open_blocks: list[tuple[str, Block]] = [("", file)]
    at, line = 0, re.compile(_LINE)
    while at < len(text):
        found = line.match(text, at)
        end = found.end() if found else len(text)
        content = text[at:end].strip()
        if content[:1] == "<":
            _tag(text, at, end, open_blocks)
        elif content and content[0] != "#":
            words = _words(text, at, end)
            name, here = open_blocks[-1]
            here.directives.append(Directive(words, words[-1].end, seen_through=name == "ifmodule"))
        at = end + 1
    if len(open_blocks) > 1:
        raise unreadable(text, len(text), "<%s> is not closed" % open_blocks[-1][0])
    return file


def _tag(text: str, at: int, end: int, open_blocks: list[tuple[str, Block]]) -> None:
    """Take in a line that opens a block or closes one."""
    start, last = text.index("<", at) + 1, text.rfind(">", at, end)
    if last < start or not text[start:last].strip():
        raise unreadable(text, at, "a tag is not closed, or has no name")
    name = text[start:last].split(None, 1)[0].lower()
    if name.startswith("/"):
        if len(open_blocks) == 1 or open_blocks[-1][0] != name[1:]:
            raise unreadable(text, at, "<%s> closes nothing" % name)
        block = open_blocks.pop()[1]
        if block is not open_blocks[-1][1]:
            block.stop = last + 1
        return
    words, outer = _words(text, start, last), open_blocks[-1][1]
    if name == "ifmodule" and not words[-1].plain.startswith("!"):
        open_blocks.append((name, outer))
        return
    outer.blocks.append(Block(words, inner=last + 1))
    open_blocks.append((name, outer.blocks[-1]))


def _words(text: str, start: int, end: int) -> tuple[Word, ...]:
    return tuple(Word(each.group(), each.start(), each.end()) for each in re.compile(_WORD).finditer(text, start, end))


SYNTAX: t.Final = Syntax(_parse, folds=True)
