# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawing of a fleet: components in columns, an arrow for each connection; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._graph import Layout, Route, Spacing, arrange
from ._markup import Markup, element, joined

Row = t.Mapping[str, t.Any]

#: Worst first: an arrow that stands for several pairs shows the first of these that one of them has.
STATUSES: t.Final = ("failed", "waiting", "blocked", "done")
STAGES: t.Final = ("plain", "trusted", "presented", "permissive", "switched", "demanded", "enforced")
SIGNS: t.Final = {
    "done": "\N{CHECK MARK}",
    "waiting": "\N{WHITE CIRCLE}",
    "blocked": "\N{CIRCLED DIVISION SLASH}",
    "failed": "\N{MULTIPLICATION SIGN}",
}

MARGIN: t.Final = 14.0
LETTER: t.Final = 8.5  # a letter's usual width at the size of a component's name
SMALL_LETTER: t.Final = 6.1
LONGEST: t.Final = 26
TOLD: t.Final = 12  # pairs whose evidence an arrow tells; the table has them all
LABEL: t.Final = 104.0  # an arrow's last stretch, which is straight: its label stands on it
FITTED: t.Final = (960.0, 1700.0)  # a drawing of such a width is made as wide as the page; a wider one is scrolled


@dataclass(frozen=True)
class Arrow:
    """What one arrow stands for: the pairs of one client component to one listener."""

    client: str
    server: str
    listener: str
    rows: tuple[Row, ...]

    @property
    def status(self) -> str:
        """The worst status of its pairs."""
        return min((str(row["status"]) for row in self.rows), key=STATUSES.index)

    @property
    def stage(self) -> str:
        """The stage of its slowest pair."""
        return min((str(row["stage"]) for row in self.rows), key=STAGES.index)

    @property
    def label(self) -> str:
        """What stands on the arrow."""
        count = " (%d)" % len(self.rows) if len(self.rows) > 1 else ""
        return "%s %s%s" % (SIGNS[self.status], self.stage, count)


def arrows(rows: t.Iterable[Row]) -> list[Arrow]:
    """Return the arrows that the pairs make, in the order of their names."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["component_client"], row["component_server"], row["listener"]), []).append(row)
    return [Arrow(*key, tuple(found[key])) for key in sorted(found)]


def draw(rows: t.Sequence[Row], anchors: t.Mapping[str, str]) -> Markup:
    """Return the drawing as SVG.

    Args:
        rows: the report's pairs.
        anchors: where in the page each pair is told in full, by its id.
    """
    drawn = arrows(rows)
    hosts = _hosts(rows)
    sizes = {name: (_box_width(name, where), 46.0) for name, where in hosts.items()}
    layout = arrange(sizes, [(arrow.client, arrow.server) for arrow in drawn], spacing=Spacing())
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    loops = any(route is None for route in layout.routes)
    return element(
        "svg",
        element("title", "Components and their connections"),
        element("desc", "Clients stand left of the servers that they dial. The table below says the same in words."),
        element("defs", [_head(name) for name in (*STAGES, "failed", "blocked")]),
        element(
            "g",
            [_arrow(arrow, route, layout, anchors) for arrow, route in zip(drawn, layout.routes, strict=True)],
            [_component(name, layout, hosts[name]) for name in sorted(hosts)],
            transform="translate(%g %g)" % (MARGIN, MARGIN + (20 if loops else 0)),
        ),
        viewBox="0 0 %g %g" % (width, height + (20 if loops else 0)),
        width=width,
        height=height + (20 if loops else 0),
        class_="fitted" if FITTED[0] < width < FITTED[1] else None,
        role="group",
        aria_label="Graph of connections",
    )


def _hosts(rows: t.Iterable[Row]) -> dict[str, list[str]]:
    hosts: dict[str, set[str]] = {}
    for row in rows:
        hosts.setdefault(row["component_client"], set()).add(row["client_host"])
        hosts.setdefault(row["component_server"], set()).add(row["server_host"])
    return {name: sorted(where) for name, where in hosts.items()}


def _shortened(text: str, most: int = LONGEST) -> str:
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _where(hosts: t.Sequence[str]) -> str:
    """Return the hosts as a short line."""
    for count in range(len(hosts), 0, -1):
        text = ", ".join(hosts[:count]) + (" +%d" % (len(hosts) - count) if count < len(hosts) else "")
        if len(text) <= LONGEST + 4:
            return text
    return _shortened(hosts[0], LONGEST) + (" +%d" % (len(hosts) - 1) if len(hosts) > 1 else "")


def _box_width(name: str, hosts: t.Sequence[str]) -> float:
    return max(96.0, 28 + LETTER * len(_shortened(name)), 28 + SMALL_LETTER * len(_where(hosts)))


def _component(name: str, layout: Layout, hosts: t.Sequence[str]) -> Markup:
    box = layout.boxes[name]
    middle = box.y + box.height / 2
    return element(
        "g",
        element("title", "%s on %s" % (name, ", ".join(hosts))),
        element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=9),
        element("text", _shortened(name), x=box.x + box.width / 2, y=middle - 3, class_="name"),
        element("text", _where(hosts), x=box.x + box.width / 2, y=middle + 13, class_="hosts"),
        class_="component",
    )


def _arrow(arrow: Arrow, route: Route | None, layout: Layout, anchors: t.Mapping[str, str]) -> Markup:
    look = arrow.status if arrow.status in ("failed", "blocked") else arrow.stage
    path = _loop(layout, arrow.client) if route is None else _curve(route)
    marker = {"marker_start" if route is not None and route.turned else "marker_end": "url(#head-%s)" % look}
    return element(
        "a",
        element("title", _told(arrow)),
        element("path", d=path, class_="reach"),
        element("path", d=path, class_="line", **marker),
        _label(arrow, route, layout),
        href="#" + anchors[arrow.rows[0]["id"]],
        class_="arrow stage-%s status-%s" % (arrow.stage, arrow.status),
        aria_label="%s to %s: %s, %s" % (arrow.client, arrow.listener, arrow.stage, arrow.status),
    )


def _curve(route: Route) -> str:
    """Return a path through the points: bent between columns, and straight where it passes one or has its label."""
    (x, y), *following = route.points
    parts = ["M%g %g" % (x, y)]
    for number, (next_x, next_y) in enumerate(following):
        if number % 2 == 0:
            begin, end = _bend(x, next_x, first=route.turned and number == 0)
            parts.append(
                "H%g C%g %g %g %g %g %g" % (begin, (begin + end) / 2, y, (begin + end) / 2, next_y, end, next_y)
            )
        parts.append("H%g" % next_x)
        x, y = next_x, next_y
    return " ".join(parts)


def _bend(left: float, right: float, *, first: bool) -> tuple[float, float]:
    """Return where an edge is bent in the gap between two columns: beside the labels, which stand at arrowheads."""
    straight = min(LABEL, (right - left) / 2)
    return (left + straight, right) if first else (left, right - straight)


def _loop(layout: Layout, name: str) -> str:
    """Return the path of a cluster link: from a component to itself, above it."""
    box = layout.boxes[name]
    left, right = box.x + box.width / 2 - 22, box.x + box.width / 2 + 22
    return "M%g %g C%g %g %g %g %g %g" % (left, box.y, left - 14, box.y - 24, right + 14, box.y - 24, right, box.y)


def _label(arrow: Arrow, route: Route | None, layout: Layout) -> Markup:
    """Return the arrow's text, which stands at its server's end."""
    if route is None:
        box = layout.boxes[arrow.client]
        return element("text", arrow.label, x=box.x + box.width / 2, y=box.y - 20, class_="label middle")
    x, y = route.points[0] if route.turned else route.points[-1]
    if route.turned:
        return element("text", arrow.label, x=x + 14, y=y - 4, class_="label")
    return element("text", arrow.label, x=x - 14, y=y - 4, class_="label end")


def _head(look: str) -> Markup:
    return element(
        "marker",
        element("path", d="M0 0 L9 4.5 L0 9 Z", class_="fill-%s" % look),
        id="head-%s" % look,
        viewBox="0 0 9 9",
        refX=8.5,
        refY=4.5,
        markerWidth=9,
        markerHeight=9,
        markerUnits="userSpaceOnUse",
        orient="auto-start-reverse",
    )


def _told(arrow: Arrow) -> str:
    """Return what is told where the pointer rests: each pair with what its last gate saw."""
    worst_first = sorted(arrow.rows, key=lambda row: (STATUSES.index(row["status"]), row["id"]))
    lines = ["%s \N{RIGHTWARDS ARROW} %s" % (arrow.client, arrow.listener)]
    for row in worst_first[:TOLD]:
        last = row["evidence"][-1] if row["evidence"] else {}
        lines.append("%s %s: %s, %s" % (SIGNS[row["status"]], row["id"], row["stage"], row["status"]))
        if last:
            lines.append("     %s: %s" % (last["gate"], last["seen"]))
    if len(worst_first) > TOLD:
        lines.append("and %d more" % (len(worst_first) - TOLD))
    return "\n".join(lines)


def progress(counts: t.Mapping[str, int]) -> Markup:
    """Return how many pairs have reached each stage, as one bar."""
    total = sum(counts.values()) or 1
    parts, x = [], 0.0
    for stage in reversed(STAGES):
        width = 1000 * counts.get(stage, 0) / total
        if width:
            title = element("title", "%s: %d" % (stage, counts[stage]))
            parts.append(element("rect", title, x=x, y=0, width=width, height=14, class_="fill-%s" % stage))
        x += width
    return element(
        "svg",
        joined(*parts),
        viewBox="0 0 1000 14",
        preserveAspectRatio="none",
        role="img",
        aria_label="Pairs by stage: "
        + ", ".join("%s %d" % (stage, counts[stage]) for stage in STAGES if counts.get(stage)),
        class_="bar",
    )
