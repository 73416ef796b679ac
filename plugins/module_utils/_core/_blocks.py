# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options in files of blocks and directives, such as nginx's, found and read; private to this collection.

An option's section is a path of blocks, written as CSS writes selectors: ``http > server[listen *:80|listen *:443]``.
Its first block may stand anywhere. Brackets hold directives of which the block has to have one, so that it is still
found when the directive that told it apart is gone. An option counts in every block that its section fits, for all
virtual hosts of a port move together.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ._option_formats import BOM, OptionRefused

#: The key that is the block itself.
ITSELF: t.Final = "."


class Word(t.NamedTuple):
    """A word as it stands in a text, quotes and all."""

    raw: str
    start: int
    end: int

    @property
    def plain(self) -> str:
        """The word without its quotes."""
        return self.raw[1:-1] if self.raw[:1] in ("'", '"') and self.raw[-1:] == self.raw[:1] else self.raw


class Directive(t.NamedTuple):
    """A directive: its words, and where it stops with the mark that ends it.

    ``seen_through`` says that it stands in a block within its block which does not count as one.
    """

    words: tuple[Word, ...]
    stop: int
    seen_through: bool = False


@dataclass
class Block:
    """A block: the words of its header (the file has none), where its content begins, and where all of it stops."""

    words: tuple[Word, ...] = ()
    inner: int = 0
    stop: int = 0
    directives: list[Directive] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


class Syntax(t.NamedTuple):
    """How files of a format are written.

    Attributes:
        parse: makes blocks of a text.
        mark: ends a directive.
        folds: whether names are the same in any case.
        leads: whether a new directive goes before the others, since the first one that fits counts.
        attributes: whether directives are attributes in the header of their block.
        shown, written: turn a value as it stands in the text into what it means, and back.
    """

    parse: t.Callable[[str], Block]
    mark: str = ""
    folds: bool = False
    leads: bool = False
    attributes: bool = False
    shown: t.Callable[[str], str] = str
    written: t.Callable[[str], str] = str


def syntax_of(format: str) -> Syntax:
    """Return how files of a format are written; a look compiles none but those that it meets."""
    if format == "nginx":
        from ._blocks_nginx import SYNTAX as NGINX

        return NGINX
    if format == "haproxy":
        from ._blocks_haproxy import SYNTAX as HAPROXY

        return HAPROXY
    if format == "xml":
        from ._blocks_xml import SYNTAX as XML

        return XML
    if format == "hba":
        from ._blocks_hba import SYNTAX as HBA

        return HBA
    from ._blocks_apache import SYNTAX as APACHE

    return APACHE


def read_block(text: str, format: str, section: str, key: str) -> str | None:
    """Return an option's value: empty for a directive of nothing but its key, None where it is absent.

    The key ``.`` is the block itself, with an empty value. Where an option does not stand alike in all blocks of its
    section, the values come on a line each, which none can be.

    Raises:
        OptionRefused: the text or the section cannot be read.
    """
    syntax = syntax_of(format)
    values: list[str | None] = []
    for block in select(syntax.parse(text[len(BOM) :] if text.startswith(BOM) else text), section, syntax):
        found_here = [syntax.shown(value_of(each, key)) for each in matching(block, key, syntax)]
        values += [""] if key == ITSELF else found_here or [None]
    found = list(dict.fromkeys(values))
    return found[0] if len(found) == 1 else "\n".join(value or "" for value in found) if found else None


def value_of(directive: Directive, key: str) -> str:
    """Return what follows the key's words."""
    return " ".join(word.raw for word in directive.words[len(key.split()) :])


def matching(block: Block, key: str, syntax: Syntax) -> list[Directive]:
    """Return the directives of a block that begin with the key's words."""
    wanted = key.split()
    return [
        each
        for each in block.directives
        if len(each.words) >= len(wanted) and _fits(wanted, each.words[: len(wanted)], syntax)
    ]


def select(file: Block, section: str, syntax: Syntax, *, depth: int | None = None) -> list[Block]:
    """Return the blocks that a section fits, or those of so much of its path, in the order of the text.

    No section is the file itself.

    Raises:
        OptionRefused: it is not written as a section is.
    """
    found = [file]
    for at, (name, alternatives) in enumerate(path_of(section)[:depth]):
        below = [block for outer in found for block in (outer.blocks if at else _all(outer))]
        found = [block for block in below if _is(block, name, alternatives, syntax)]
    return found


def path_of(section: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return a section's blocks: the header of each, and the directives of which it has to have one.

    A header that ends with a bracket itself is followed by an empty pair: ``location ~ ^/[ab][]``.

    Raises:
        OptionRefused: it is not written as a section is.
    """
    return [_step(part.strip(), section) for part in re.split(r" > ", section)] if section else []


def _step(part: str, section: str) -> tuple[str, tuple[str, ...]]:
    start, depth = len(part), 0
    while part.endswith("]") and start:
        start -= 1
        depth += {"]": 1, "[": -1}.get(part[start], 0)
        if not depth:
            break
    name = part[:start].strip()
    if not name or depth:
        raise OptionRefused(
            "%r is no section; it is a path of blocks such as 'http > server[listen *:80|listen *:443]'" % section
        )
    return name, tuple(each.strip() for each in part[start + 1 : -1].split("|") if each.strip())


def _all(block: Block) -> t.Iterator[Block]:
    for each in block.blocks:
        yield each
        yield from _all(each)


def _is(block: Block, name: str, alternatives: t.Sequence[str], syntax: Syntax) -> bool:
    words = name.split()
    if words != ["*"] and not (len(words) == len(block.words) and _fits(words, block.words, syntax)):
        return False
    return not alternatives or any(_has(block, each.split(), syntax) for each in alternatives)


def _has(block: Block, wanted: t.Sequence[str], syntax: Syntax) -> bool:
    """Return whether a block has a directive of this name with all of these words, in any order."""
    return any(
        _fits(wanted[:1], each.words[:1], syntax)
        and all(any(_one(word, other.plain) for other in each.words[1:]) for word in wanted[1:])
        for each in block.directives
    )


def _fits(wanted: t.Sequence[str], words: t.Sequence[Word], syntax: Syntax) -> bool:
    found = [word.plain for word in words]
    if syntax.folds and wanted:
        wanted, found = [wanted[0].lower(), *wanted[1:]], [found[0].lower(), *found[1:]]
    return all(map(_one, wanted, found))


def _one(wanted: str, word: str) -> bool:
    """Return whether a word fits: ``*`` is any, and ``*:443`` this port at any address, or without one."""
    if wanted.startswith("*:"):
        return "," not in word and (word == wanted[2:] or word.endswith(wanted[1:]))
    return wanted in ("*", word)


def unreadable(text: str, at: int, why: str) -> OptionRefused:
    """Return the sentence for a text that is not written as its format has it."""
    return OptionRefused("line %d cannot be read: %s" % (text.count("\n", 0, at) + 1, why))
