# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PowerShell's text as a tree, by tree-sitter's grammar."""

from __future__ import annotations

import typing as t

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from .. import Refused

_PARSER: t.Final = Parser(Language(tree_sitter_powershell.language()))


def parsed(text: bytes) -> Node:
    """Return the tree of a script.

    Raises:
        Refused: the grammar does not take it; the line is named.
    """
    tree = _PARSER.parse(text).root_node
    wrong = next(_wrong(tree), None)
    if wrong is not None:
        raise Refused("PowerShell would not read line %d: %s" % (wrong.start_point[0] + 1, text_of(wrong)[:80]))
    return tree


def _wrong(node: Node) -> t.Iterator[Node]:
    if node.is_error or node.is_missing:
        yield node
    elif node.has_error:
        for child in node.children:
            yield from _wrong(child)


def text_of(node: Node) -> str:
    """Return the text of a node."""
    return (node.text or b"").decode("utf-8")


def named(node: Node) -> list[Node]:
    """Return the parts of a node that are no punctuation and no comment."""
    return [child for child in node.named_children if child.type not in ("comment", "command_argument_sep")]


def only(node: Node, kind: str) -> Node:
    """Return the one part of a kind."""
    found = [child for child in node.children if child.type == kind]
    if len(found) != 1:
        raise Refused("the twin's PowerShell expected one %s in %s" % (kind, text_of(node)[:80]))
    return found[0]


def part(node: Node, *kinds: str) -> Node | None:
    """Return the first part of one of these kinds, if there is one."""
    return next((child for child in node.children if child.type in kinds), None)
