# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's pg_hba.conf: lines of which the first one that fits counts; private to this collection.

Source: https://www.postgresql.org/docs/current/auth-pg-hba-conf.html. Blanks part the fields, ``#`` begins a comment,
and since version 14 a backslash at its end makes a line go on. So a new line goes before the others.
"""

from __future__ import annotations

import re
import typing as t

from ._blocks import Block, Directive, Syntax, Word

_LINE: t.Final = r"(?:[^\n]*\\\r?\n)*[^\n]*"
_WORD: t.Final = r"""(?x) (?P<comment> \#[^\n]* ) | (?: "[^"\n]*" | [^\s\\"\#] )+"""


def _parse(text: str) -> Block:
    file = Block(stop=len(text))
    for line in re.finditer(_LINE, text):
        tokens = re.compile(_WORD).finditer(text, line.start(), line.end())
        words = tuple(Word(each.group(), each.start(), each.end()) for each in tokens if not each.group("comment"))
        if words:
            file.directives.append(Directive(words, words[-1].end))
    return file


SYNTAX: t.Final = Syntax(_parse, leads=True)
