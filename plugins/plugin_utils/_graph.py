# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout of a directed graph in columns: from names and edges to places; private to this collection.

The method is Sugiyama's: turn the edges of cycles, give each node a column, put a bend into each column that an edge
passes, order the columns so that few edges cross, and move the nodes of a column to the height of their neighbours.
"""

from __future__ import annotations

import bisect
import itertools
import typing as t
from collections import defaultdict
from dataclasses import dataclass

Edge = tuple[str, str]

SWEEPS: t.Final = 12


@dataclass(frozen=True)
class Spacing:
    """Distances, in the units of the drawing."""

    column: float = 190.0
    row: float = 18.0
    port: float = 17.0
    bend: float = 10.0


@dataclass(frozen=True)
class Box:
    """Where a node stands: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Route:
    """How an edge runs: points from left to right, and whether its arrow stands at the left end."""

    points: tuple[tuple[float, float], ...]
    turned: bool


@dataclass(frozen=True)
class Layout:
    """A graph with places: boxes by node, routes in the order of the edges; None for an edge from a node to itself."""

    boxes: t.Mapping[str, Box]
    routes: tuple[Route | None, ...]
    width: float
    height: float


@dataclass(frozen=True)
class _Net:
    """A graph whose edges all go one column to the right: nodes are names, bends are (edge, column)."""

    columns: list[list[t.Any]]
    left: dict[t.Any, list[tuple[t.Any, int]]]
    right: dict[t.Any, list[tuple[t.Any, int]]]


def arrange(
    sizes: t.Mapping[str, tuple[float, float]], edges: t.Sequence[Edge], *, spacing: Spacing = Spacing()
) -> Layout:
    """Return where each node and edge goes.

    Args:
        sizes: width and least height of each node, by name.
        edges: from whom to whom; the same two may stand more than once.
        spacing: distances.
    """
    turned = _turned(sorted(sizes), edges)
    depths = _depths(
        sorted(sizes), [(b, a) if back else (a, b) for (a, b), back in zip(edges, turned, strict=True) if a != b]
    )
    net = _net(depths, edges, turned)
    _order(net)
    heights = _heights(net, sizes, spacing)
    tops = _tops(net, heights, spacing)
    lefts, widths = _across(net, sizes, spacing)
    boxes = {
        name: Box(lefts[at], tops[name], sizes[name][0], heights[name])
        for at, column in enumerate(net.columns)
        for name in column
        if isinstance(name, str)
    }
    ports = _ports(net, tops, heights)
    routes = tuple(
        None if a == b else _route(number, (b, a) if back else (a, b), back, net, boxes, ports, lefts, widths)
        for number, ((a, b), back) in enumerate(zip(edges, turned, strict=True))
    )
    bottom = max((tops[node] + heights[node] for node in tops), default=0.0)
    return Layout(boxes, routes, lefts[-1] + widths[-1] if lefts else 0.0, bottom)


def _turned(names: t.Sequence[str], edges: t.Sequence[Edge]) -> list[bool]:
    """Return which edges are laid out backwards, so that no cycle is left: few of them (Eades, Lin and Smyth)."""
    goes: dict[str, list[str]] = {name: [] for name in names}
    comes: dict[str, list[str]] = {name: [] for name in names}
    for a, b in edges:
        if a != b:
            goes[a].append(b)
            comes[b].append(a)
    left: list[str] = []
    right: list[str] = []
    rest = set(names)
    while rest:
        out = {name: sum(1 for other in goes[name] if other in rest) for name in rest}
        into = {name: sum(1 for other in comes[name] if other in rest) for name in rest}
        sinks = sorted(name for name in rest if not out[name])
        sources = sorted(name for name in rest if not into[name])
        if sinks:
            right[:0] = sinks
            rest -= set(sinks)
        elif sources:
            left += sources
            rest -= set(sources)
        else:
            most = max(sorted(rest), key=lambda name: out[name] - into[name])
            left.append(most)
            rest.remove(most)
    place = {name: at for at, name in enumerate(left + right)}
    return [place[a] > place[b] for a, b in edges]


def _depths(names: t.Sequence[str], edges: t.Sequence[Edge]) -> dict[str, int]:
    """Return each node's column: one more than the furthest of those that lead to it."""
    waits = dict.fromkeys(names, 0)
    goes: dict[str, list[str]] = {name: [] for name in names}
    for a, b in edges:
        waits[b] += 1
        goes[a].append(b)
    depths = dict.fromkeys(names, 0)
    ready = [name for name in names if not waits[name]]
    while ready:
        name = ready.pop()
        for other in goes[name]:
            depths[other] = max(depths[other], depths[name] + 1)
            waits[other] -= 1
            if not waits[other]:
                ready.append(other)
    return depths


def _net(depths: t.Mapping[str, int], edges: t.Sequence[Edge], turned: t.Sequence[bool]) -> _Net:
    columns: list[list[t.Any]] = [[] for _column in range(max(depths.values(), default=-1) + 1)]
    for name in sorted(depths):
        columns[depths[name]].append(name)
    left: dict[t.Any, list[tuple[t.Any, int]]] = defaultdict(list)
    right: dict[t.Any, list[tuple[t.Any, int]]] = defaultdict(list)
    for number, ((a, b), back) in enumerate(zip(edges, turned, strict=True)):
        if a == b:
            continue
        begin, end = (b, a) if back else (a, b)
        chain: list[t.Any] = [begin]
        for column in range(depths[begin] + 1, depths[end]):
            columns[column].append((number, column))
            chain.append((number, column))
        chain.append(end)
        for one, other in itertools.pairwise(chain):
            right[one].append((other, number))
            left[other].append((one, number))
    return _Net(columns, left, right)


def _order(net: _Net) -> None:
    """Order the columns in place: each node at the mean of its neighbours, to and fro; the best order is kept."""
    best, fewest = [list(column) for column in net.columns], _crossings(net)
    for sweep in range(SWEEPS):
        rightwards = sweep % 2 == 0
        for at in range(len(net.columns)) if rightwards else reversed(range(len(net.columns))):
            near = at - 1 if rightwards else at + 1
            if not 0 <= near < len(net.columns):
                continue
            place = {node: float(index) for index, node in enumerate(net.columns[near])}
            beside = net.left if rightwards else net.right
            stay = {node: float(index) for index, node in enumerate(net.columns[at])}
            net.columns[at].sort(key=lambda node: _mean([place[other] for other, _edge in beside[node]], stay[node]))
        crossings = _crossings(net)
        if crossings < fewest:
            best, fewest = [list(column) for column in net.columns], crossings
    net.columns[:] = best


def _mean(values: t.Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(net: _Net) -> int:
    """Return how many pairs of edges cross: those that begin in one order and end in another, column by column."""
    crossings = 0
    for column, following in itertools.pairwise(net.columns):
        place = {node: at for at, node in enumerate(following)}
        before: list[int] = []
        for node in column:
            for end in sorted(place[other] for other, _edge in net.right[node]):
                crossings += len(before) - bisect.bisect_right(before, end)
                bisect.insort(before, end)
    return crossings


def _heights(net: _Net, sizes: t.Mapping[str, tuple[float, float]], spacing: Spacing) -> dict[t.Any, float]:
    """Return how high each node is: room for all its edges on either side."""
    heights = {}
    for column in net.columns:
        for node in column:
            if isinstance(node, str):
                busiest = max(len(net.left[node]), len(net.right[node]))
                heights[node] = max(sizes[node][1], (busiest + 0.6) * spacing.port)
            else:
                heights[node] = spacing.bend
    return heights


def _tops(net: _Net, heights: t.Mapping[t.Any, float], spacing: Spacing) -> dict[t.Any, float]:
    """Return the upper edge of each node: near its neighbours, in its column's order, without overlap."""
    tops: dict[t.Any, float] = {}
    for column in net.columns:
        top = 0.0
        for node in column:
            tops[node] = top
            top += heights[node] + spacing.row
    for turn in range(SWEEPS):
        for at in range(len(net.columns)) if turn % 2 == 0 else reversed(range(len(net.columns))):
            column = net.columns[at]
            wanted = []
            for node in column:
                near = [tops[other] + heights[other] / 2 for other, _edge in (*net.left[node], *net.right[node])]
                wanted.append(_mean(near, tops[node] + heights[node] / 2) - heights[node] / 2)
            for node, top in zip(column, _apart(wanted, [heights[node] + spacing.row for node in column]), strict=True):
                tops[node] = top
    highest = min(tops.values(), default=0.0)
    return {node: top - highest for node, top in tops.items()}


def _apart(wanted: t.Sequence[float], lengths: t.Sequence[float]) -> list[float]:
    """Return the places nearest to the wanted ones that keep the order and do not overlap (least squares)."""
    blocks: list[tuple[float, int]] = []  # (mean of what its members want of the block's begin, how many)
    before = [sum(lengths[:at]) for at in range(len(lengths))]
    for want, offset in zip(wanted, before, strict=True):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            earlier, many = blocks.pop()
            mean, count = (earlier * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    begins = [mean for mean, count in blocks for _member in range(count)]
    return [begin + offset for begin, offset in zip(begins, before, strict=True)]


def _across(net: _Net, sizes: t.Mapping[str, tuple[float, float]], spacing: Spacing) -> tuple[list[float], list[float]]:
    """Return left edge and width of each column."""
    widths = [max((sizes[node][0] for node in column if isinstance(node, str)), default=0.0) for column in net.columns]
    lefts = [sum(widths[:at]) + spacing.column * at for at in range(len(widths))]
    return lefts, widths


def _ports(
    net: _Net, tops: t.Mapping[t.Any, float], heights: t.Mapping[t.Any, float]
) -> dict[tuple[t.Any, int, str], float]:
    """Return the height at which each edge meets each node, by (node, edge, side): in the order of the other ends."""
    ports = {}
    for node in tops:
        for side, beside in (("left", net.left), ("right", net.right)):
            ends = sorted(beside[node], key=lambda end: (tops[end[0]] + heights[end[0]] / 2, end[1]))
            for at, (_other, number) in enumerate(ends):
                ports[node, number, side] = tops[node] + heights[node] * (at + 1) / (len(ends) + 1)
    return ports


def _route(
    number: int,
    ends: Edge,
    back: bool,
    net: _Net,
    boxes: t.Mapping[str, Box],
    ports: t.Mapping[tuple[t.Any, int, str], float],
    lefts: t.Sequence[float],
    widths: t.Sequence[float],
) -> Route:
    """Return the points of one edge: its ends at the boxes, and straight on through each column that it passes."""
    begin, end = ends
    points = [(boxes[begin].x + boxes[begin].width, ports[begin, number, "right"])]
    for at in range(len(net.columns)):
        if ((number, at), number, "left") in ports:
            height = ports[(number, at), number, "left"]
            points += [(lefts[at], height), (lefts[at] + widths[at], height)]
    points.append((boxes[end].x, ports[end, number, "left"]))
    return Route(tuple(points), back)
