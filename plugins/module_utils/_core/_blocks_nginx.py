# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of nginx, as its own parser reads them; private to this collection.

Source: ngx_conf_read_token in nginx's src/core/ngx_conf_file.c, https://nginx.org/en/docs/beginners_guide.html#conf_structure.
An ``include`` is a directive like others: it is not followed.
"""

from __future__ import annotations

import re
import typing as t

from ._blocks import Block, Directive, Syntax, Word, unreadable

#: Comments and quotes begin where a word may; ``${`` belongs to one.
_TOKEN: t.Final = r"""(?xs) (?P<blank> \s+ | \#[^\n]* ) | (?P<mark> [;{}] )
    | (?P<word> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | (?!["'])(?:\\.|\$\{|[^\s;{\\])+ )"""


def _parse(text: str) -> Block:
    file = Block(stop=len(text))
    open_blocks, words, at = [file], [], 0
    token = re.compile(_TOKEN)
    while at < len(text):
        found = token.match(text, at)
        if not found:
            raise unreadable(text, at, "a quote is not closed")
        at = found.end()
        if found.lastgroup == "word":
            words.append(Word(found.group(), found.start(), at))
        elif found.lastgroup == "mark":
            _mark(text, found.group(), at, words, open_blocks)
            words = []
    if words or len(open_blocks) > 1:
        raise unreadable(text, at, "a block or a directive is not closed")
    return file


def _mark(text: str, mark: str, at: int, words: list[Word], open_blocks: list[Block]) -> None:
    """Take in a mark that ends a directive, opens a block or closes one."""
    if (mark == "}") == bool(words) or (mark == "}" and len(open_blocks) == 1):
        raise unreadable(text, at - 1, "%r is out of place" % mark)
    here = open_blocks[-1]
    if mark == ";":
        here.directives.append(Directive(tuple(words), at))
    elif mark == "{":
        here.blocks.append(Block(tuple(words), inner=at))
        open_blocks.append(here.blocks[-1])
    else:
        here.stop = at
        open_blocks.pop()


SYNTAX: t.Final = Syntax(_parse, mark=";")
