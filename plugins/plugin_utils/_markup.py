# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML and SVG in which text cannot become markup; private to this collection."""

from __future__ import annotations

import html
import typing as t

from ._visible import visible

#: Elements that have no content and no end.
VOID: t.Final = frozenset({"meta", "br", "input", "link"})


class Markup(str):
    """Text that is markup already; every other text is escaped where it is put in."""

    __slots__ = ()


Child: t.TypeAlias = "str | int | float | t.Iterable[Child] | None"


def element(tag: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """Return an element: texts are escaped, lists are put in one after the other, None is left out.

    An attribute's name ends in an underscore where Python has a use for it (``class_``), and has underscores for
    hyphens (``aria_label``). One that is None or False is left out, one that is True has no value.
    """
    head = tag + "".join(_attribute(key, value) for key, value in attributes.items())
    if tag in VOID:
        return Markup("<%s>" % head)
    return Markup("<%s>%s</%s>" % (head, joined(*children), tag))


def joined(*children: Child) -> Markup:
    """Return children one after the other."""
    return Markup("".join(map(_text, children)))


def _text(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    if child is None:
        return ""
    if isinstance(child, (str, int, float)):
        return html.escape(visible(str(child)))
    return "".join(map(_text, child))


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return " " + name
    text = "%g" % value if isinstance(value, float) else str(value)
    return ' %s="%s"' % (name, html.escape(visible(text)))
