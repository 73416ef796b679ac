# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of haproxy: a word opens a section, whatever the indentation; private to this collection.

Source: HAProxy's configuration manual, 2.1 (format), 2.2 (quoting and escaping), and its table of contents (sections).
"""

from __future__ import annotations

import re
import typing as t

from ._blocks import Block, Directive, Syntax, Word, unreadable

_SECTIONS: t.Final = (
    "acme|backend|cache|crt-store|defaults|fcgi-app|frontend|global|http-errors|listen|log-forward|log-profile|mailers"
    "|peers|program|resolvers|ring|traces|userlist"
)
_WORD: t.Final = r"""(?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s\#"'\\])+"""


def _parse(text: str) -> Block:
    file = Block(stop=len(text))
    here, at = file, 0
    word = re.compile(_WORD)
    for line in text.split("\n"):
        words, place, end = [], at, at + len(line.rstrip())
        while place < end and text[place] != "#":
            found = word.match(text, place, end)
            if found:
                words.append(Word(found.group(), place, found.end()))
            elif not text[place].isspace():
                raise unreadable(text, place, "a quote is not closed")
            place = found.end() if found else place + 1
        if words and re.fullmatch(_SECTIONS, words[0].raw):
            here = Block(tuple(words), inner=words[-1].end, stop=words[-1].end)
            file.blocks.append(here)
        elif words:
            here.directives.append(Directive(tuple(words), words[-1].end))
            here.stop = max(here.stop, words[-1].end)
        at += len(line) + 1
    return file


SYNTAX: t.Final = Syntax(_parse)
