# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: which steps take the pairs in scope from what was seen to what is wanted; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field

from ._entities import Instance, Pair
from ._hold import Hold
from ._holding import has_old_material, lacks_environment, lacks_variable, material_fault
from ._packing import pack
from ._removal import Removal
from ._scene import Scene, setting
from ._stages import GATES, MOVES_TO, is_noted, rank, step_name, steps_of
from ._steps import Round, Step
from ._survey import Ask, Survey, View, instances_of, why_step

#: What a pair loses where steps go back, in order of gravity.
Loss = t.Literal["plaintext", "open", "anybody"]


@dataclass(frozen=True)
class Plan:
    """Everything that one run is about to do, in order; material and environment by host, as instance names.

    Attributes:
        stuck: steps that were asked to go back and do not, each with what holds it.
        reopened: by pair, what it no longer has once steps have gone back.
        removals: instances that leave their hosts.
        forgetting: steps whose snapshots go away, by instance.
    """

    views: tuple[View, ...]
    rounds: tuple[Round, ...]
    material: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    environment: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stuck: t.Mapping[Step, Hold] = field(default_factory=dict)
    reopened: t.Mapping[str, Loss] = field(default_factory=dict)
    removals: tuple[Removal, ...] = ()
    forgetting: t.Mapping[Instance, tuple[str, ...]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is due on hosts."""
        removing = any(not removal.held for removal in self.removals)
        return not (self.rounds or self.material or self.environment or self.forgetting or removing)


def make_plan(scene: Scene, ask: Ask) -> Plan:
    """Return the plan that takes the pairs in scope as far as they may go.

    Args:
        scene: model, what is wanted, and what was seen.
        ask: scope, stage and hosts.
    """
    views = Survey(scene, ask).views()
    # a pair that is done may still have drifted material, or a certificate that is due
    active = [view for view in views if view.pair.id in ask.scope and view.status in ("done", "due", "waiting")]
    material = _by_host(_material_due(scene, ask, active))
    environment = _by_host(_environment_due(scene, ask, active))
    touched = {name for names in material.values() for name in names}
    steps = [*_load_steps(scene, ask, active, touched)]
    steps += _moving_steps(scene, ask, active, loading={step.instance.name for step in steps})
    return Plan(views, pack(scene, steps), material, environment)


def may_change(scene: Scene, ask: Ask, instance: Instance) -> bool:
    """Return whether this run may work on an instance's host."""
    allowed = ask.hosts is None or instance.host in ask.hosts
    return allowed and scene.ours(instance) and instance.host not in scene.lost


def _ends(scene: Scene, ask: Ask, views: t.Iterable[View], stage: str) -> list[Instance]:
    """Return the instances that may be changed and belong to pairs that are to reach a stage."""
    found = instances_of(view.pair for view in views if rank(view.goal) >= rank(stage))
    return [end for end in found if may_change(scene, ask, end)]


def _by_host(instances: t.Iterable[Instance]) -> dict[str, tuple[str, ...]]:
    hosts: dict[str, list[str]] = {}
    for instance in instances:
        hosts.setdefault(instance.host, []).append(instance.name)
    return {host: tuple(names) for host, names in sorted(hosts.items())}


def _material_due(scene: Scene, ask: Ask, views: t.Sequence[View]) -> list[Instance]:
    if not scene.looked:
        return _ends(scene, ask, [view for view in views if rank(view.stage) < rank("presented")], "trusted")
    ends = _ends(scene, ask, views, "trusted")
    return [end for end in ends if material_fault(scene, end) or scene.wanted[end.name].due]


def _environment_due(scene: Scene, ask: Ask, views: t.Sequence[View]) -> list[Instance]:
    if not scene.looked:
        views = [view for view in views if rank(view.stage) < rank("presented")]
    ends = _ends(scene, ask, views, "presented")
    return [end for end in ends if lacks_environment(scene, end)]


# Steps


def _load_steps(scene: Scene, ask: Ask, views: t.Sequence[View], touched: t.Collection[str]) -> t.Iterator[Step]:
    """Yield the reloads and restarts that make running processes use what is installed for them."""
    if not scene.looked:
        return
    at: dict[Instance, list[Pair]] = {}
    for view in views:
        for each in view.pair.ends:
            at.setdefault(each, []).append(view.pair)
    for end in _ends(scene, ask, views, "presented"):
        pairs = at[end]
        reason = _why_load(scene, end, pairs, touched)
        if reason:
            apply = "restart" if lacks_variable(scene, end) else "kind"
            yield Step("load", "load", end, (), tuple(sorted(pair.id for pair in pairs)), reason, apply=apply)


def _why_load(scene: Scene, end: Instance, pairs: t.Sequence[Pair], touched: t.Collection[str]) -> str:
    fault = lacks_variable(scene, end)
    if fault:
        return fault
    if is_noted(scene, end, "load"):
        return "a reload is noted and has not happened"
    using = [pair for pair in pairs if _uses_material(scene, end, pair)]
    if not using:
        return ""
    if end.name in touched:
        return "its material is installed anew"
    if has_old_material(scene, end):
        return "it has not loaded what is installed"
    served = (pair for pair in using if pair.server == end)
    if any(GATES["permissive"](scene, pair).fault == "stale" for pair in served):
        return "it presents another certificate than the installed one"
    return ""


def _uses_material(scene: Scene, end: Instance, pair: Pair) -> bool:
    """Return whether the configuration of an end reads what is installed for it; a simple server reads no trust."""
    if pair.server == end and pair.mode == "simple" and scene.model.adopted(scene.model.presented_in(pair, end) or ""):
        return False
    found = setting(scene, "permit" if pair.server == end else "connect", pair)
    return found.declared and found.is_made


def _moving_steps(scene: Scene, ask: Ask, views: t.Sequence[View], *, loading: t.Collection[str]) -> list[Step]:
    """Return the steps that move pairs on, each once; a server's step moves all pairs of its listeners."""
    due: dict[tuple[Instance, str, str], list[tuple[Pair, str]]] = {}
    for view in views:
        if view.status != "due":
            continue
        for stage, reason in _due(scene, view, loading):
            end = view.pair.end_of(stage)
            if may_change(scene, ask, end):
                due.setdefault((end, stage, step_name(scene, stage, view.pair)), []).append((view.pair, reason))
    on_tls = {view.pair.id for view in views if rank(view.stage) >= rank("permissive")}
    steps = []
    for (end, stage, name), rows in due.items():
        moved = {pair.id for pair, _reason in rows}
        step = step_for(scene, name, stage, end, [pair for pair, _reason in rows], rows[0][1])
        judged = tuple(each for each in step.pairs if each in moved or each in on_tls)
        steps.append(dataclasses.replace(step, pairs=judged))
    return sorted(steps, key=lambda step: (step.instance.name, step.id))


def step_for(scene: Scene, name: str, stage: str, end: Instance, pairs: t.Sequence[Pair], reason: str) -> Step:
    """Return the step that moves these pairs; a server's moves all pairs of its listeners, in scope or not."""
    if stage == "connect":
        ids = tuple(sorted(pair.id for pair in pairs))
        return Step(name, stage, end, ids, ids, reason)
    listeners = tuple(sorted({pair.listener.name for pair in pairs}))
    moved = [pair for each in listeners for pair in scene.model.pairs_of_listener(end.name, each) if not pair.blocked]
    return Step(name, stage, end, listeners, tuple(sorted(pair.id for pair in moved)), reason)


def _due(scene: Scene, view: View, loading: t.Collection[str]) -> t.Iterator[tuple[str, str]]:
    """Yield (stage, reason) of each step that this pair needs to reach its goal.

    A listener that can only flip moves with all its clients. Once it is enforced a client moves by itself, like one of
    any other listener.
    """
    pair = view.pair
    stages = [stage for stage in steps_of(pair) if rank(MOVES_TO[stage]) <= rank(view.goal)]
    reasons = {stage: why_step(scene, stage, pair, loading) for stage in stages}
    if scene.shape(pair) == "flip":
        if any(reasons.get(stage) for stage in ("permit", "demand", "enforce")):
            together = "plaintext and TLS cannot stand side by side on this listener"
            yield "connect", together
            yield "enforce", together
        elif reasons.get("connect"):
            yield "connect", reasons["connect"]
        return
    for stage in stages:
        if reasons[stage]:
            yield stage, reasons[stage]
