# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says on the terminal: its plan, a line a step, and the last lines; private to this collection."""

from __future__ import annotations

import typing as t

from ..module_utils._core._plan import Round, View
from ._planning import Decision
from ._relay import Json, hold_from_json
from ._rounds import Standing

#: More rows of one sort than these are counted only: a plan of 5,000 hosts still has to be read by somebody.
MOST_ROWS: t.Final = 100


def plan_lines(decision: Decision) -> list[str]:
    """Return the plan as text: pairs, what is made and installed, and the rounds with their interruptions."""
    plan = decision.plan
    active = [view for view in plan.views if view.status == "due"]
    lines = ["", "PLAN (%s, until %s)" % (decision.goal, decision.ask.until)]
    counts: dict[str, int] = {}
    for view in plan.views:
        counts[view.status] = counts.get(view.status, 0) + 1
    lines.append("  pairs: " + ", ".join("%d %s" % (counts[name], name) for name in sorted(counts)))
    lines += columns([_pair_row(view) for view in _some(active)], indent=2) + _rest(active)
    for what, rows in (
        ("store", ["%s, because %s" % (change.target, change.reason) for change in decision.store.changes]),
        ("material", ["%s: %s" % (host, ", ".join(names)) for host, names in plan.material.items()]),
        ("environment", ["%s: %s" % (host, ", ".join(names)) for host, names in plan.environment.items()]),
    ):
        lines += ["  %s: %s" % (what, row) for row in _some(rows)] + _rest(rows)
    for number, this in enumerate(plan.rounds, start=1):
        lines += _round_of_plan(number, len(plan.rounds), this)
    reopened = sorted({name for this in plan.rounds for step in this.steps if step.reverse for name in step.pairs})
    lines += ["  goes back to plaintext: %s" % name for name in reopened]
    lines += held_lines(plan.views)
    if plan.empty:
        lines.append("  nothing is due")
    return [*lines, ""]


T = t.TypeVar("T")


def _some(rows: t.Sequence[T]) -> t.Sequence[T]:
    """Return as many rows as somebody reads."""
    return rows[:MOST_ROWS]


def _rest(rows: t.Sequence[t.Any], indent: int = 2) -> list[str]:
    """Return the line that counts the rows that are left out."""
    left = len(rows) - MOST_ROWS
    return [" " * indent + "and %d more; the task's result has all of them" % left] if left > 0 else []


def _pair_row(view: View) -> tuple[str, ...]:
    return (view.pair.id, view.pair.mode, "wave %d" % view.pair.wave, "%s -> %s" % (view.stage, view.goal))


def _round_of_plan(number: int, total: int, this: Round) -> list[str]:
    cut = "; interrupts for up to %g s" % this.interruption if this.interruption else ""
    head = "  round %d of %d: %s%s%s" % (number, total, this.phase, ", all together" if this.together else "", cut)
    rows = [(step.target, step.reason) for step in this.steps]
    return [head, *columns(_some(rows), indent=4), *_rest(rows, indent=4)]


def held_lines(views: t.Sequence[View]) -> list[str]:
    """Return a line for each pair that the plan does not move; where there are many, a line for each reason."""
    held = [view for view in views if view.status in ("blocked", "failed", "waiting") and view.waits]
    if len(held) <= MOST_ROWS:
        return columns([(view.status, view.pair.id, view.waits) for view in held], indent=2)
    reasons: dict[tuple[str, str], list[str]] = {}
    for view in held:
        reasons.setdefault((view.status, view.waits), []).append(view.pair.id)
    rows = [
        (status, "%d pairs" % len(names) if len(names) > 1 else names[0], waits)
        for (status, waits), names in sorted(reasons.items())
    ]
    return columns(_some(rows), indent=2) + _rest(rows)


def round_lines(standing: Standing, this: Json, *, phase: str) -> list[str]:
    """Return what to say after a phase of a round: what starts, what its gates say."""
    total = len(standing.plan["rounds"])
    name = "round %d of %d" % (this["number"] + 1, total)
    if phase in ("open", "choose"):
        if this["watch"] and phase == "open":
            return ["%s: watching the clear listeners on %s" % (name, ", ".join(sorted(this["watch"])))]
        starts = [step["target"] for rows in this["steps"].values() for step in rows]
        held = ["%s: %s is held: %s" % (name, pair, _seen(row)) for pair, row in sorted(this["notes"].items())]
        return (["%s: %s" % (name, ", ".join(starts))] if starts else []) + held
    if phase == "judge":
        back = [step["target"] for rows in this["reverse"].values() for step in rows]
        notes = standing.state["notes"]
        moved = sorted({pair for step in this["started"] for pair in step["pairs"]})
        kept = ["%s: %s stays back: %s" % (name, pair, _seen(notes[pair])) for pair in moved if pair in notes]
        passed = len(moved) - len(kept)
        head = (
            ["%s: %d of %d pairs passed the gate" % (name, passed, len(moved))]
            if moved and not standing.scene.check_mode
            else []
        )
        return head + kept + (["%s: taking back %s" % (name, ", ".join(back))] if back else [])
    return []


def _seen(row: Json) -> str:
    evidence = hold_from_json(row).evidence
    return "%s: expected %s; seen: %s" % (evidence.gate, evidence.expected, evidence.seen)


def outcome_lines(report: Json) -> list[str]:
    """Return the last lines: the result table, and every pair that is not done with what to do."""
    rows = report["connections"]
    lines = ["", "RESULT (%s, until %s)" % (report["run"]["goal"], report["run"]["until"])]
    lines += columns(
        [("pair", "mode", "wave", "stage", "status", "seen")]
        + [(row["id"], row["mode"], str(row["wave"]), row["stage"], row["status"], _proof(row)) for row in rows],
        indent=2,
    )
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    lines.append("  %d pairs: %s" % (len(rows), ", ".join("%d %s" % (counts[name], name) for name in sorted(counts))))
    for finding in report["findings"]:
        lines.append("%s %s" % (finding["status"].upper(), finding["pair"] or finding.get("instance")))
        lines.append("    gate %s: expected %s; seen: %s" % (finding["gate"], finding["expected"], finding["seen"]))
        if finding["todo"]:
            lines.append("    to do: %s" % finding["todo"])
    return [*lines, ""]


def _proof(row: Json) -> str:
    """Return how safe the connection was seen to be, and on what."""
    found = [item for item in row["evidence"] if item["holds"] and item["security"]]
    if not found:
        return ""
    security = found[-1]["security"]
    if row["stage"] in ("plain", "trusted", "presented", "permissive"):
        return "clear" if row["stage"] != "permissive" else "%s in a probe" % security
    live = any(item["live"] for item in row["evidence"] if item["gate"] == "switched")
    return security if live else "%s, unexercised" % security


def columns(rows: t.Sequence[t.Sequence[str]], *, indent: int) -> list[str]:
    """Return rows as lines with aligned columns; the last column runs on."""
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    return [
        (
            " " * indent + "  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=False)] + [row[-1]])
        ).rstrip()
        for row in rows
    ]
