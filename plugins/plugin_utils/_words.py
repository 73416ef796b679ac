# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says on the terminal: its plan, a line a step, and the last lines; private to this collection."""

from __future__ import annotations

import collections
import typing as t

from ..module_utils._core._entities import Pair
from ..module_utils._core._hold import Hold
from ..module_utils._core._profile import PROFILES
from ..module_utils._core._removal import Removal
from ..module_utils._core._stages import MOVES_TO
from ..module_utils._core._steps import Round
from ..module_utils._core._survey import View
from ..module_utils._core._window import moves_a_cluster, why_not_now
from ._firewall import needed_flows
from ._planning import Decision
from ._relay import ByHost, Json, OpenRound
from ._rounds import Standing

#: More rows of one sort than these are counted only: a plan of 5,000 hosts still has to be read by somebody.
MOST_ROWS: t.Final = 100


def plan_lines(decision: Decision) -> list[str]:
    """Return the plan as text: pairs, what is made and installed, and the rounds with their interruptions."""
    plan = decision.plan
    active = [view for view in plan.views if view.status == "due"]
    back = [MOVES_TO[stage] for stage in decision.ask.back] if decision.goal == "rollback" else []
    lines = ["", "PLAN (%s, %s)" % (decision.goal, _how_far(decision.ask.until, back))]
    lines.append("  pairs: %s" % _counted(view.status for view in plan.views))
    lines += _back_lines(decision)
    lines += columns([_pair_row(view) for view in _some(active)], indent=2) + _rest(active)
    for what, rows in (
        ("store", ["%s, because %s" % (change.target, change.reason) for change in decision.store.changes]),
        ("store", ["%s waits, because %s" % (change.target, change.reason) for change in decision.store.postponed]),
        ("note", list(decision.store.notes)),
        (
            "note",
            ["the ledger is empty, and hosts show %s" % lost_words(decision.ledger_lost)]
            if decision.ledger_lost
            else [],
        ),
        ("note", ["the ledger: %s" % decision.ledger_doubt] if decision.ledger_doubt else []),
        ("material", ["%s: %s" % (host, ", ".join(names)) for host, names in plan.material.items()]),
        ("environment", ["%s: %s" % (host, ", ".join(names)) for host, names in plan.environment.items()]),
    ):
        lines += ["  %s: %s" % (what, row) for row in _some(rows)] + _rest(rows)
    lines += _removal_lines(plan.removals)
    kept = ["%s kept: %s" % (instance.name, ", ".join(steps)) for instance, steps in plan.forgetting.items()]
    lines += ["  forget: what steps of %s" % row for row in _some(kept)] + _rest(kept)
    for number, this in enumerate(plan.rounds, start=1):
        lines += _round_of_plan(number, len(plan.rounds), this, decision)
    lines += _limit_lines(decision)
    lines += _firewall_lines(decision)
    lines += held_lines([view for view in plan.views if view.pair.connection.secure])
    lines += _decided_lines(decision)
    lines += _datagram_lines(_listener_of(view.pair) for view in plan.views if view.pair.listener.is_udp)
    if decision.is_empty:
        lines.append("  nothing is due")
    papers = decision.papers
    for what, text in (("digest", papers.digest), ("plan file", papers.file), ("firewall sheet", papers.sheet)):
        lines += ["  %s: %s" % (what, text)] if text else []
    return [*lines, ""]


#: What a pair loses, in the plan's words.
_LOSSES: t.Final = {
    "plaintext": "goes back to plaintext",
    "open": "is open to plaintext again",
    "anybody": "is open to clients without a certificate again",
}


def _how_far(until: str, back: t.Sequence[str]) -> str:
    """Return how far a run goes: to a stage, or which stages it takes back."""
    return "takes back %s" % ", ".join(back) if back else "until %s" % until


def _back_lines(decision: Decision) -> list[str]:
    """Return what going back reopens, before all that is done for it, and which steps cannot go back."""
    plan, scope = decision.plan, decision.ask.scope
    lines = []
    for loss, words in _LOSSES.items():
        names = [name for name, lost in plan.reopened.items() if lost == loss]
        said = [name if name in scope else "%s, though tls_scope does not name it" % name for name in names]
        lines += ["  %s: %s" % (words, row) for row in _some(said)] + _rest(said)
    stuck = [(step.target, _seen(hold)) for step, hold in plan.stuck.items()]
    return lines + ["  cannot go back: %s, gate %s" % row for row in _some(stuck)] + _rest(stuck)


def _limit_lines(decision: Decision) -> list[str]:
    """Return what is left of their profile for connections whose ends are limited, with who took the rest away."""
    found: dict[tuple[str, ...], None] = {}
    for view in decision.plan.views:
        pair = view.pair
        if view.status != "due":
            continue
        agreed, listener = decision.scene.agreement(pair), pair.listener
        why = list(dict.fromkeys(agreed.reasons.values()))
        if PROFILES[listener.profile].weak:
            why.append("%s decided until %s: %s" % (listener.approver, listener.until, listener.reason))
        if why or listener.profile != "intermediate":
            left = "%s, %d suites, key %s" % (" ".join(agreed.protocols), len(agreed.suites), agreed.key_type)
            said = "of profile %s: %s%s" % (listener.profile, left, ", common name" if agreed.common_name else "")
            found["limits: " + pair.connection.name, said, "because " + "; ".join(why) if why else ""] = None
    return columns(_some(list(found)), indent=2) + _rest(list(found))


def _firewall_lines(decision: Decision) -> list[str]:
    """Return the lines of the firewall sheet that this plan needs and that nobody has seen open yet."""
    flows = needed_flows(decision.scene, decision.plan)
    rows = [("line %d" % flow.line, flow.words, ", ".join(_few(flow.connections, 2))) for flow in flows]
    head = ["  firewall: %d new flows that nobody has seen open yet" % len(flows)] if flows else []
    return [*head, *columns(_some(rows), indent=4), *_rest(rows, indent=4)]


def lost_words(pairs: int) -> str:
    """Return what is lost with a ledger, and what is not."""
    return (
        "%d pairs beyond plain: their stages are seen again; lost are since when they stand there, what was seen then"
        " and who did it, the sessions that a soak collected, drills, and how far pairs got whose steps no host keeps"
        % pairs
    )


def _decided_lines(decision: Decision) -> list[str]:
    """Return each connection that somebody decided not to protect, and whether that has to be decided anew."""
    rows = []
    for connection in decision.scene.model.connections:
        if not connection.secure:
            over = " - that is over: decide anew" if connection.is_overdue(decision.today) else ""
            who = "%s decided until %s: %s" % (connection.approver, connection.until, connection.reason)
            rows.append("  not protected: %s (%s)%s" % (connection.name, who, over))
    return [*_some(rows), *_rest(rows)]


def _datagram_lines(listeners: t.Iterable[str]) -> list[str]:
    """Return what nobody can see of listeners that are UDP today."""
    words = "  not covered: %s is UDP: who else sends datagrams there shows nowhere; DTLS and media are not moved"
    return [words % name for name in sorted(set(listeners))]


def _listener_of(pair: Pair) -> str:
    return "%s.%s" % (pair.server.component, pair.listener.name)


def _removal_lines(removals: t.Sequence[Removal]) -> list[str]:
    """Return what leaves the hosts, and what should and does not."""
    leave = [each for each in removals if not each.held]
    going = ["%s: %s, because %s" % (each.name, ", ".join(each.parts), each.reason) for each in leave]
    kept = ["%s: %s" % (each.name, each.held) for each in removals if each.held]
    lines = ["  remove: %s" % row for row in _some(going)] + _rest(going)
    return lines + ["  not removed: %s" % row for row in _some(kept)] + _rest(kept)


T = t.TypeVar("T")


def _some(rows: t.Sequence[T]) -> t.Sequence[T]:
    """Return as many rows as somebody reads."""
    return rows[:MOST_ROWS]


def _rest(rows: t.Sequence[t.Any], indent: int = 2) -> list[str]:
    """Return the line that counts the rows that are left out."""
    left = len(rows) - MOST_ROWS
    return [" " * indent + "and %d more; the task's result has all of them" % left] if left > 0 else []


def _counted(words: t.Iterable[str]) -> str:
    counts = collections.Counter(words)
    return ", ".join("%d %s" % (counts[name], name) for name in sorted(counts)) or "none"


def _pair_row(view: View) -> tuple[str, ...]:
    return (view.pair.id, view.pair.mode, "wave %d" % view.pair.wave, "%s -> %s" % (view.stage, view.goal))


def _round_of_plan(number: int, total: int, this: Round, decision: Decision) -> list[str]:
    """Return a round with its steps, whom it interrupts for how long, and which of that has to wait for a window."""
    scene, kinds = decision.scene, decision.scene.kinds
    seconds: dict[str, float] = {}
    for step in sorted(this.steps, key=lambda step: step.instance.name):
        seconds[step.instance.name] = max(seconds.get(step.instance.name, 0.0), kinds[step.instance.name].cuts(step))
    cut = ["%s for up to %g s" % (name, most) for name, most in seconds.items() if most]
    head = "  round %d of %d: %s%s" % (number, total, this.phase, ", all together" if this.together else "")
    rows = [(step.target, step.reason) for step in this.steps]
    said = "; interrupts %s" % ", ".join(_few(cut)) if cut else ""
    if moves_a_cluster(scene, this):
        clusters = sorted({step.instance.component for step in this.steps if step.stage == "enforce"})
        said += "; the whole cluster %s at once" % ", ".join(clusters)
    held = [(s, why_not_now(scene, this, s, now=decision.now, until=decision.ask.window)) for s in this.steps]
    waits = ["%s waits: %s" % (step.target, hold.evidence.seen) for step, hold in held if hold]
    return [
        head + said,
        *columns(_some(rows), indent=4),
        *_rest(rows, indent=4),
        *["    " + row for row in _some(waits)],
    ]


def held_lines(views: t.Sequence[View]) -> list[str]:
    """Return a line for each pair that the plan does not move; where there are many, a line for each reason."""
    held = [(view.status, view.pair.id, view.why.seen) for view in views if view.why and view.status != "due"]
    if len(held) <= MOST_ROWS:
        return columns(held, indent=2)
    reasons: dict[tuple[str, str], list[str]] = {}
    for status, name, why in held:
        reasons.setdefault((status, why), []).append(name)
    rows = [
        (status, "%d pairs" % len(names) if len(names) > 1 else names[0], why)
        for (status, why), names in sorted(reasons.items())
    ]
    return columns(_some(rows), indent=2) + _rest(rows)


def round_lines(before: Standing, after: Standing, *, judged: OpenRound | None, opened: OpenRound) -> list[str]:
    """Return what to say between two rounds: what gates said, what is held, and what comes next.

    Args:
        before: where the run stood.
        after: where it stands now.
        judged: the round that was judged just now, if one was.
        opened: the round that comes next, or the judged one with what is taken back.
    """
    total = len(after.plan["rounds"])
    notes = after.progress.notes
    moved = sorted({name for step in judged.started for name in step.pairs}) if judged else []
    lines = []
    if judged and moved and not after.scene.check_mode:
        name = "round %d of %d" % (judged.number + 1, total)
        kept = [pair for pair in moved if pair in opened.kept]
        lines.append("%s: %d of %d pairs passed the gate" % (name, len(moved) - len(kept), len(moved)))
        lines += ["%s: %s stays back: %s" % (name, pair, _seen(notes[pair])) for pair in _some(kept)] + _rest(kept, 0)
    fresh = sorted(set(notes) - set(before.progress.notes) - set(opened.kept))
    lines += ["%s is held: %s" % (pair, _seen(notes[pair])) for pair in _some(fresh)] + _rest(fresh, 0)
    first, last = judged.number + 2 if judged else 1, opened.number + 1
    several = after.scene.check_mode and first < last
    name = "rounds %d to %d of %d" % (first, last, total) if several else "round %d of %d" % (last, total)
    if opened.reverse:
        lines.append("%s: taking back %s" % (name, _targets(opened.reverse)))
    elif opened.watch:
        lines.append("%s: watching the clear listeners on %s" % (name, ", ".join(_few(sorted(opened.watch)))))
    elif opened.started:
        lines.append("%s: %s" % (name, _targets(opened.steps, opened.edits)))
    return lines


def _targets(*asked: ByHost) -> str:
    """Return the steps for one line: each with the instances that do it."""
    instances: dict[str, list[str]] = {}
    for target in sorted(row["target"] for by_host in asked for rows in by_host.values() for row in rows):
        step, _unused, instance = target.rpartition(" ")
        instances.setdefault(step.removeprefix("step "), []).append(instance)
    return "; ".join("%s %s" % (step, ", ".join(_few(names))) for step, names in instances.items())


def _few(names: t.Sequence[str], most: int = 12) -> list[str]:
    """Return names for one line, the last of them a count if there are many."""
    return [*names[:most], *(["and %d more" % (len(names) - most)] if len(names) > most else [])]


def _seen(hold: Hold) -> str:
    return "%s: expected %s; seen: %s" % (hold.evidence.gate, hold.evidence.expected, hold.evidence.seen)


def outcome_lines(report: Json) -> list[str]:
    """Return the last lines: the result table, and every pair that is not done with what to do."""
    rows = report["connections"]
    run = report["run"]
    lines = ["", "RESULT (%s, %s)" % (run["goal"], _how_far(run["until"], run["takes_back"]))]
    # who has thousands of pairs reads of those that are not done here, and of all in the report
    shown = rows if len(rows) <= MOST_ROWS else [row for row in rows if row["status"] != "done"][:MOST_ROWS]
    lines += columns(
        [("pair", "mode", "wave", "stage", "status", "seen")]
        + [(row["id"], row["mode"], str(row["wave"]), row["stage"], row["status"], _proof(row)) for row in shown],
        indent=2,
    )
    if len(shown) < len(rows):
        lines.append(
            "  and %d more; tls_report_directory names where all of them are written" % (len(rows) - len(shown))
        )
    lines.append("  %d pairs: %s" % (len(rows), _counted(row["status"] for row in rows)))
    unprotected = [row for row in rows if row["unprotected"]]
    for row in _some(unprotected):
        decision = row["unprotected"]
        who = "%s decided until %s: %s" % (decision["approver"], decision["until"], decision["reason"])
        lines.append("  not protected: %s (%s)" % (row["id"], who))
    lines += _rest(unprotected)
    lines += _datagram_lines(row["listener"] for row in rows if row["transport"] == "udp")
    findings = report["findings"]
    lines += _ending_lines(findings)
    gravest = sorted(findings, key=lambda row: (_GRAVEST.index(row["status"]), not row["urgent"]))[:MOST_ROWS]
    return [*lines, *_finding_lines(gravest, dated=report["run"]["goal"] == "report"), *_rest(findings, 0), ""]


def _finding_lines(findings: t.Sequence[Json], *, dated: bool = False) -> list[str]:
    """Return what was found of whom, perhaps since when; those of whom the same was found share the words for it."""
    groups: dict[tuple[str, str, str], list[tuple[str, str | None]]] = {}
    for found in findings:
        gate = "    gate %s: expected %s; seen: %s" % (found["gate"], found["expected"], found["seen"])
        todo = "    to do: %s" % found["todo"] if found["todo"] else ""
        since = found["since"] if dated else None
        groups.setdefault((found["status"].upper(), gate, todo), []).append((found["pair"] or found["instance"], since))
    lines = []
    for (status, gate, todo), names in groups.items():
        lines += ["%s %s%s" % (status, name, ", since %s" % since if since else "") for name, since in names]
        lines += [gate, *([todo] if todo else [])]
    return lines


def _ending_lines(findings: t.Sequence[Json]) -> list[str]:
    """Return a line for each certificate that ends soon while nobody has signed the next, the first to end first."""
    soon = sorted((row["expires"], row["instance"]) for row in findings if row["urgent"])
    said = "  ENDS SOON: the certificate of %s, on %s, and nobody has signed the one that is to follow"
    return [said % (name, ends[:10]) for ends, name in _some(soon)] + _rest(soon)


_GRAVEST: t.Final = ("failed", "waiting", "blocked")


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
