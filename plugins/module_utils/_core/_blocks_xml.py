# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XML files such as Tomcat's server.xml: elements are blocks, attributes are options; private to this collection.

Source: https://www.w3.org/TR/xml/. Elements are told apart by names as they are written, prefix and all; text between
them is no option.
"""

from __future__ import annotations

import re
import typing as t

from ._blocks import Block, Directive, Syntax, Word, unreadable

_TOKEN: t.Final = r"""(?xs) <!--.*?--> | <\?.*?\?> | <!\[CDATA\[.*?\]\]> | <![^>\[]*(?:\[.*?\]\s*)?>
    | </(?P<closes>[^\s>]+)\s*>
    | <(?P<opens>[^\s/>!?]+)(?P<attributes>(?:\s+[^\s=/>]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(?P<empty>/?)>
    | (?P<wrong><)"""
_ATTRIBUTE: t.Final = r"""([^\s=]+)\s*=\s*("[^"]*"|'[^']*')"""
_NAMED: t.Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def _parse(text: str) -> Block:
    file = Block(stop=len(text))
    open_blocks = [file]
    for found in re.compile(_TOKEN).finditer(text):
        if found.group("wrong"):
            raise unreadable(text, found.start(), "a tag is not closed, or an attribute has no quotes")
        if found.group("opens"):
            block = _element(text, found)
            open_blocks[-1].blocks.append(block)
            if not found.group("empty"):
                open_blocks.append(block)
        elif found.group("closes"):
            block = open_blocks.pop()
            if not open_blocks or block.words[0].raw != found.group("closes"):
                raise unreadable(text, found.start(), "</%s> closes nothing" % found.group("closes"))
            block.stop = found.end()
    if len(open_blocks) > 1:
        raise unreadable(text, len(text), "<%s> is not closed" % open_blocks[-1].words[0].raw)
    return file


def _element(text: str, found: t.Match[str]) -> Block:
    name = Word(found.group("opens"), found.start("opens"), found.end("opens"))
    block = Block((name,), inner=found.end(), stop=found.end())
    for each in re.compile(_ATTRIBUTE).finditer(text, *found.span("attributes")):
        words = tuple(Word(each.group(at), each.start(at), each.end(at)) for at in (1, 2))
        block.directives.append(Directive(words, each.end()))
    return block


def _shown(raw: str) -> str:
    def plain(found: t.Match[str]) -> str:
        name = found.group(1)
        if name[0] == "#":
            return chr(int(name[2:], 16) if name[1] == "x" else int(name[1:]))
        return _NAMED.get(name, found.group(0))

    return re.sub(r"&(#x[0-9A-Fa-f]{1,6}|#[0-9]{1,7}|\w+);", plain, raw[1:-1])


def _written(value: str) -> str:
    for name in ("amp", "lt", "gt", "quot"):
        value = value.replace(_NAMED[name], "&%s;" % name)
    return '"%s"' % value


SYNTAX: t.Final = Syntax(_parse, attributes=True, shown=_shown, written=_written)
