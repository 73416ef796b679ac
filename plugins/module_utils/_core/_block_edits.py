# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options in files of blocks and directives, edited without touching anything else; private to this collection.

A new directive goes behind the last one of its name in its block, else behind the last one before the first block
within, with the indentation that it finds there. Of directives that begin with the same words one is left.
"""

from __future__ import annotations

import typing as t

from ._blocks import ITSELF, Block, Directive, Syntax, matching, path_of, select, syntax_of
from ._option_formats import OptionRefused


class _Splice(t.NamedTuple):
    """A stretch of a text, and what takes its place."""

    start: int
    stop: int
    text: str


def edit_block(text: str, format: str, section: str, key: str, value: str | None, *, like: str | None = None) -> str:
    """Return the text with one option as wanted in every block that its section fits.

    Args:
        text: without a byte-order mark.
        format: one of the block formats.
        section, key, value: the option; ``value`` None means that it is absent.
        like: a section of which this one is made as a copy, where it is missing.

    Raises:
        OptionRefused: there is no such block, or the text cannot be read.
    """
    syntax = syntax_of(format)
    blocks = select(syntax.parse(text), section, syntax)
    if not blocks and value is not None and syntax.attributes and like is None:
        text = _with_elements(text, section, syntax)
        blocks = select(syntax.parse(text), section, syntax)
    elif not blocks and value is not None:
        if like is None:
            raise OptionRefused("%s: there is no block %r; make it, or name the one that is meant" % (key, section))
        text = _with_copies(text, section, like, syntax)
        blocks = select(syntax.parse(text), section, syntax)
    splices = [splice for block in blocks for splice in _edits(text, block, key, value, syntax)]
    if key == ITSELF:  # of a block within a block that goes nothing is left
        splices = [each for each in splices if not any(o.start <= each.start < o.stop for o in splices if o != each)]
    return _spliced(text, splices)


def _spliced(text: str, splices: t.Iterable[_Splice]) -> str:
    for splice in sorted(splices, reverse=True):
        text = text[: splice.start] + splice.text + text[splice.stop :]
    return text


def _edits(text: str, block: Block, key: str, value: str | None, syntax: Syntax) -> t.Iterator[_Splice]:
    found = matching(block, key, syntax)
    if key == ITSELF:
        yield from [_cut(text, block.words[0].start, block.stop)] if value is None and block.words else []
    elif syntax.attributes:
        yield from _attribute_edits(text, block, key, value, syntax)
    elif value is None:
        yield from (_without(text, each) for each in found)
    elif not found:
        yield _added(text, block, " ".join([*key.split(), value]).strip(), syntax)
    else:
        kept = {_leading(each, key, syntax): each for each in found}
        for each in found:
            yield _changed(text, each, key, value) if each in kept.values() else _without(text, each)


def _leading(directive: Directive, key: str, syntax: Syntax) -> tuple[str, ...]:
    """Return the words that match the key, which may have left some of them open."""
    words = [word.plain for word in directive.words[: len(key.split())]]
    return tuple([words[0].lower(), *words[1:]] if syntax.folds else words)


def _without(text: str, directive: Directive) -> _Splice:
    """Take a directive out, with its line where nothing else is on it."""
    return _cut(text, directive.words[0].start, directive.stop)


def _cut(text: str, start: int, stop: int) -> _Splice:
    start -= text[start - 1 : start] == "<"
    line, end = _line(text, start, stop)
    if not text[line:start].strip() and _is_rest(text[stop:end]):
        return _Splice(line, end, "")
    while text[stop : stop + 1] in (" ", "\t"):
        stop += 1
    return _Splice(start, stop, "")


def _attribute_edits(text: str, block: Block, key: str, value: str | None, syntax: Syntax) -> t.Iterator[_Splice]:
    """Set an attribute, or take it out with the blanks before it; an element has each but once."""
    if not block.words:
        raise OptionRefused("attribute %r has to stand in an element; name that in section" % key)
    found = next(iter(matching(block, key, syntax)), None)
    if found is not None and value is not None:
        yield _Splice(found.words[1].start, found.words[1].end, syntax.written(value))
    elif found is not None:
        yield _Splice(len(text[: found.words[0].start].rstrip()), found.stop, "")
    elif value is not None:
        at = block.directives[-1].stop if block.directives else block.words[0].end
        yield _Splice(at, at, " %s=%s" % (key, syntax.written(value)))


def _changed(text: str, directive: Directive, key: str, value: str) -> _Splice:
    words = directive.words
    name, rest = words[len(key.split()) - 1], words[len(key.split()) :]
    if not rest:
        return _Splice(name.end, name.end, " " + value if value else "")
    return _Splice(rest[0].start, rest[-1].end, value) if value else _Splice(name.end, rest[-1].end, "")


def _added(text: str, block: Block, line: str, syntax: Syntax) -> _Splice:
    line += syntax.mark
    own = [each for each in block.directives if not each.seen_through]
    if syntax.leads and own:
        start = _line(text, own[0].words[0].start, own[0].stop)[0]
        return _Splice(start, start, line + _end(text))
    name = line.split()[0].rstrip(syntax.mark or None)
    first = min((each.words[0].start for each in block.blocks), default=len(text))
    anchor = next((each for each in reversed(own) if each.words[0].plain == name), None)
    anchor = anchor or next((each for each in reversed(own) if each.words[0].start < first), None)
    if anchor is not None:
        return _behind(text, anchor.words[0].start, anchor.stop, line)
    if block.words:
        unit = "\t" if "\n\t" in text else "    "
        return _behind(text, block.words[0].start, block.inner, line, deeper=unit)
    return _Splice(0, 0, line + _end(text))


def _behind(text: str, start: int, stop: int, new: str, *, deeper: str = "") -> _Splice:
    """Put a line behind the one that something stands on, or go on with that where it is not the last on it."""
    line, end = _line(text, start, stop)
    lead = text[line:start]
    lead = lead[: len(lead) - len(lead.lstrip())]
    if (text[line:start].strip("< \t") and not deeper) or not _is_rest(text[stop:end]):
        return _Splice(stop, stop, " " + new)
    if text[line:end].endswith("\n"):
        return _Splice(end, end, lead + deeper + new + _end(text))
    return _Splice(end, end, _end(text) + lead + deeper + new)


def _line(text: str, start: int, stop: int) -> tuple[int, int]:
    """Return where the lines of a stretch begin, and where they end, with the last one's end."""
    end = text.find("\n", stop)
    return text.rfind("\n", 0, start) + 1, len(text) if end < 0 else end + 1


def _is_rest(text: str) -> bool:
    """Return whether the rest of a line says nothing."""
    return not text.strip() or text.lstrip().startswith("#")


def _end(text: str) -> str:
    return "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"


def _with_elements(text: str, section: str, syntax: Syntax) -> str:
    """Return the text with the elements of a section that are missing, each at the end of the one above it."""
    steps = path_of(section)
    for depth in range(1, len(steps) + 1):
        if select(syntax.parse(text), section, syntax, depth=depth):
            continue
        above = select(syntax.parse(text), section, syntax, depth=depth - 1)
        name, alternatives = steps[depth - 1]
        told = [each.split() for each in alternatives[:1]]
        if depth == 1 or "*" in name or any(len(each) != 2 or "*" in each[1] for each in told):
            raise OptionRefused("element %r cannot be made: there is no place for it, or no name" % section)
        new = "<%s/>" % " ".join([name, *("%s=%s" % (key, syntax.written(value)) for key, value in told)])
        text = _spliced(text, [_within(text, block, new) for block in above])
    return text


def _within(text: str, block: Block, new: str) -> _Splice:
    """Put an element at the end of another one, on a line of its own where that has lines of its own."""
    line = _line(text, block.words[0].start, block.stop)[0]
    lead = text[line : block.words[0].start - 1]
    deeper, end = lead + ("\t" if "\n\t" in text else "  "), _end(text)
    if block.inner == block.stop:
        tag = text.rfind("/", 0, block.stop)
        return _Splice(tag, block.stop, ">%s%s%s%s%s</%s>" % (end, deeper, new, end, lead, block.words[0].raw))
    closing = text.rfind("</", 0, block.stop)
    last = text.rfind("\n", 0, closing) + 1
    if text[last:closing].strip() or last <= block.inner - 1:
        return _Splice(closing, closing, new)
    return _Splice(last, last, deeper + new + end)


def _with_copies(text: str, section: str, like: str, syntax: Syntax) -> str:
    """Return the text with a copy of each block that ``like`` fits behind it, under the section's header."""
    name, alternatives = path_of(section)[-1]
    models = select(syntax.parse(text), like, syntax)
    if not models or alternatives or "*" in name.split() or not models[0].words:
        raise OptionRefused("block %r cannot be made: there is none like %r" % (section, like))
    splices = []
    for model in models:
        line, end = _line(text, model.words[0].start, model.stop)
        head, tail = text[line : model.words[0].start], text[model.words[-1].end : end]
        between = "" if text[line:end].endswith("\n") else _end(text)
        splices.append(_Splice(end, end, between + _end(text) + head + name + tail))
    return _spliced(text, splices)
