# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back: which steps are taken back, which cannot be, and what that reopens; private to this collection.

Enforcement and demands are undone before clients, and clients before servers, so that nobody is cut off. What cannot be
had is known before anything is done: hosts try each reverse in memory when they are looked at.
"""

from __future__ import annotations

import datetime
import typing as t

from ._entities import Instance, Pair
from ._evidence import fails
from ._hold import Hold, refuted, waiting
from ._packing import PHASES_BACK, pack
from ._plan import Loss, Plan, may_change, step_for
from ._scene import Scene
from ._stages import MOVES_TO, step_name, steps_of
from ._steps import Step
from ._strangers import ends_plaintext
from ._survey import BACK, Ask, Survey


def reversals(scene: Scene, ask: Ask) -> dict[Instance, list[list[str]]]:
    """Return the ids of the steps that may go back, by instance and phase, in the order in which phases would.

    What flips goes back in a phase of its own, whatever the stages of its steps.
    """
    found: dict[Instance, dict[str, list[str]]] = {}
    for pair in _inside(scene, ask):
        for stage in (each for each in steps_of(pair) if each in ask.back):
            phase = "flip" if scene.shape(pair) == "flip" else stage
            names = found.setdefault(pair.end_of(stage), {}).setdefault(phase, [])
            name = step_name(scene, stage, pair)
            names += [name] if name not in names else []
    return {end: [names[phase] for phase in PHASES_BACK if phase in names] for end, names in found.items()}


def make_rollback(scene: Scene, ask: Ask) -> Plan:
    """Return the plan that takes back every step of the scope that the hosts keep, latest stages first.

    What a server's step opened to all is open to all again, in scope or not.
    """
    asked = _asked(scene, ask)
    stuck: dict[Step, Hold] = {}
    for rule in (_out_of_reach, _refused, _torn, _stays_closed, _still_used, _torn):
        for step in asked:
            hold = None if step in stuck else rule(scene, ask, step, [each for each in asked if each not in stuck])
            if hold is not None:
                stuck[step] = hold
    going = [step for step in asked if step not in stuck]
    rounds = pack(scene, going, back=True)
    return Plan(Survey(scene, ask).views(), rounds, stuck=stuck, reopened=_reopened(scene, going))


def kept_back(scene: Scene, ask: Ask, plan: Plan) -> dict[str, Hold]:
    """Return what keeps pairs in scope from going back, by pair: the first step of theirs that does not."""
    found: dict[str, Hold] = {}
    for step, hold in plan.stuck.items():
        for name in step.pairs:
            if name in ask.scope:
                found.setdefault(name, hold.for_pair(scene.model.pair(name)))
    return found


def _inside(scene: Scene, ask: Ask) -> list[Pair]:
    return [pair for pair in scene.model.pairs if pair.id in ask.scope and not pair.blocked]


def _asked(scene: Scene, ask: Ask) -> list[Step]:
    """Return the steps of the scope that hosts keep, as reverses, in the order in which they go back."""
    found: dict[tuple[Instance, str], Step] = {}
    for pair in _inside(scene, ask):
        for stage in steps_of(pair):
            end, name = pair.end_of(stage), step_name(scene, stage, pair)
            if stage not in ask.back or not _is_kept(scene, end, name):
                continue
            known = found.get((end, name))
            pairs = [scene.model.pair(each) for each in known.pairs] if known and stage == "connect" else []
            found[end, name] = step_for(scene, name, stage, end, [*pairs, pair], _reason(scene, end, name)).reversed()
    return sorted(found.values(), key=lambda step: (BACK.index(step.stage), step.instance.name, step.id))


def _is_kept(scene: Scene, end: Instance, name: str) -> bool:
    """Return whether a host keeps what a step found, or notes it as under way."""
    seen = scene.seen(end)
    return name in seen.steps or any(noted.id == name for noted in seen.noted)


def _reason(scene: Scene, end: Instance, name: str) -> str:
    at = scene.seen(end).kept_since.get(name)
    if at is None:
        return "going back was asked for"
    day = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).date()
    return "going back was asked for; its files are kept as they were on %s" % day


# What does not go back


def _out_of_reach(scene: Scene, ask: Ask, step: Step, going: t.Sequence[Step]) -> Hold | None:
    """Return that this run may not change the step's host, or only asks for a part of what goes back as a whole."""
    if step.instance.host in scene.lost:
        return refuted(fails("reach", _works(step), scene.lost[step.instance.host], "unreachable"))
    if not may_change(scene, ask, step.instance):
        seen, todo = "--limit leaves %s out" % step.instance.host, "run again without --limit"
        return waiting("reach", _works(step), seen, todo=todo)
    if scene.shape(scene.model.pair(step.pairs[0])) == "flip" and set(ask.back) != set(BACK):
        seen, todo = "its listener can only flip, so it goes back as a whole", "run again without tls_take_back"
        return waiting(MOVES_TO[step.stage], _works(step), seen, todo=todo)
    return None


def _refused(scene: Scene, ask: Ask, step: Step, going: t.Sequence[Step]) -> Hold | None:
    """Return why the step's host could not take it back: somebody changed the same lines, or a snapshot is damaged."""
    why = scene.seen(step.instance).refused.get(step.id)
    return refuted(fails(MOVES_TO[step.stage], _works(step), why, "failed")) if why else None


def _torn(scene: Scene, ask: Ask, step: Step, going: t.Sequence[Step]) -> Hold | None:
    """Return that another step of the same flip does not go back."""
    pairs = [scene.model.pair(name) for name in step.pairs]
    if scene.shape(pairs[0]) != "flip":
        return None
    there = {(each.instance, each.id) for each in going}
    for pair in pairs:
        for stage in ("enforce", "connect"):
            end, name = pair.end_of(stage), step_name(scene, stage, pair)
            if _is_kept(scene, end, name) and (end, name) not in there and pair.id in ask.scope:
                seen = "%s of %s does not go back, and they flip together" % (name, end.name)
                return waiting(MOVES_TO[step.stage], _works(step), seen, of=pair.id)
    return None


def _stays_closed(scene: Scene, ask: Ask, step: Step, going: t.Sequence[Step]) -> Hold | None:
    """Return that a listener of the step's client stays closed to plaintext: it would have nowhere to go back to."""
    if step.stage != "connect":
        return None
    for pair in (scene.model.pair(name) for name in step.pairs):
        opened = any(ends_plaintext(scene, each.stage, pair) and pair.id in each.pairs for each in going)
        if scene.shape(pair) != "flip" and scene.clear(pair).outcome != "clear" and not opened:
            expected = "%s answers in the clear" % pair.server.name
            seen = "it does not, and nothing that goes back opens it"
            return waiting("plain", expected, seen, todo="open its clear listener first", fault="clear", of=pair.id)
    return None


def _still_used(scene: Scene, ask: Ask, step: Step, going: t.Sequence[Step]) -> Hold | None:
    """Return which client stays on TLS, so that the server's secure listener stays as well."""
    if step.stage != "permit":
        return None
    there = {(each.instance, each.id) for each in going}
    for pair in (scene.model.pair(name) for name in step.pairs):
        name = step_name(scene, "connect", pair)
        if _is_kept(scene, pair.client, name) and (pair.client, name) not in there:
            expected = "no client of %s uses TLS any more" % step.instance.name
            todo = "take %s back first" % pair.client.name
            return waiting("switched", expected, "%s stays on TLS" % pair.client.name, todo=todo)
    return None


def _works(step: Step) -> str:
    return "%s works" % step.target


# What is reopened


def _reopened(scene: Scene, going: t.Iterable[Step]) -> dict[str, Loss]:
    """Return what each pair loses: TLS itself, the refusal of plaintext, or the demand of certificates."""
    losses: t.Mapping[str, Loss] = {"demand": "anybody", "enforce": "open", "connect": "plaintext"}
    found: dict[str, Loss] = {}
    for step in sorted(going, key=lambda step: ("demand", "enforce", "connect", "permit").index(step.stage)):
        for name in step.pairs if step.stage in losses else ():
            opens = ends_plaintext(scene, step.stage, scene.model.pair(name))
            found[name] = "open" if opens else losses[step.stage]
    return dict(sorted(found.items()))
