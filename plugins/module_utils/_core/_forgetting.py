# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When what a step kept of its files is not needed any more; private to this collection.

It holds option files with whatever secrets stand in them, so it does not stay for ever. It goes once every pair that
the step moved has been enforced for as long as somebody may want to go back (``tls_keep_steps``).
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._briefing import step_spec
from ._entities import Instance, Pair
from ._scene import Scene
from ._spec import StepSpec
from ._stages import steps_of
from ._steps import Step
from ._survey import Ask, View

DAY: t.Final = 86400


def plan_forgetting(
    scene: Scene, ask: Ask, views: t.Iterable[View], *, now: float, days: float
) -> dict[Instance, tuple[str, ...]]:
    """Return the steps whose snapshots go away, by instance.

    Args:
        scene: what was seen, and since when pairs stand where they do.
        ask: which hosts may be changed.
        views: of all pairs.
        now: seconds since 1970.
        days: for which all of a step's pairs have been enforced by then.
    """
    if not scene.looked:
        return {}
    before = now - days * DAY
    settled = {view.pair.id for view in views if _is_settled(scene, view, before=before)}
    moved = _moved(scene)
    found = {}
    for name, seen in sorted(scene.instances.items()):
        instance = Instance.parse(name)
        if not seen.steps or instance.host in scene.lost or not (ask.hosts is None or instance.host in ask.hosts):
            continue
        noted = {each.id for each in seen.noted}
        old = (
            step
            for step in sorted(seen.steps - noted)
            if seen.kept_since.get(step, now) <= before and moved.get((name, step), set()) <= settled
        )
        steps = tuple(old)
        if steps:
            found[instance] = steps
    return found


def forget_specs(scene: Scene, instance: Instance, steps: t.Iterable[str], *, days: float) -> list[StepSpec]:
    """Return what an instance's host is told of the steps to forget."""
    reason = "the pairs that it moved have been enforced for %g days" % days
    specs = []
    for name in steps:
        step = Step(name, name.partition("-")[0], instance, (), (), reason, reverse=True)
        specs.append(
            dataclasses.replace(step_spec(scene, step), state="forget", target="forget %s %s" % (name, instance.name))
        )
    return specs


def _is_settled(scene: Scene, view: View, *, before: float) -> bool:
    """Return whether a pair is seen enforced, and the ledger has it there for long enough."""
    last = view.evidence[-1] if view.evidence else None
    since = scene.since.get(view.pair.id)
    return (
        last is not None
        and last.gate == "enforced"
        and last.holds
        and scene.recorded.get(view.pair.id) == "enforced"
        and since is not None
        and since <= before
    )


def _moved(scene: Scene) -> dict[tuple[str, str], set[str]]:
    """Return the pairs that each step of each instance moves, those of the model that nobody may touch among them."""
    found: dict[tuple[str, str], set[str]] = {}
    for pair in scene.model.pairs:
        for stage in steps_of(pair):
            for name in _names(pair, stage):
                found.setdefault((pair.end_of(stage).name, name), set()).add(pair.id)
    return found


def _names(pair: Pair, stage: str) -> tuple[str, ...]:
    """Return the ids that a step of a stage may have for a pair, whatever the shape of its listener."""
    if stage != "connect":
        return ("%s-%s" % (stage, pair.listener.name),)
    name = "connect-%s.%s" % (pair.server.component, pair.listener.name)
    return name, "%s@%s" % (name, pair.server.host)
