# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a file that somebody approves, and how two of them differ; private to this collection.

The same plan makes the same bytes, whoever makes it and when: no time, no secret, no text that only tells of a moment.
Its digest is the SHA-256 of these bytes, which ``sha256sum`` prints as well.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ._briefing import missing_options
from ._entities import Instance
from ._errors import TlsError
from ._few import few
from ._issuing import Signing
from ._plan import Plan
from ._scene import Scene
from ._stages import MOVES_TO, rank, reached
from ._steps import Step
from ._survey import Ask

VERSION: t.Final = 1

#: What goes away from hosts, by instance; not in every plan.
_LEAVING: t.Final = {"removals": "removal ", "forgetting": "forgetting of "}

Content = t.Dict[str, t.Any]


def plan_content(scene: Scene, ask: Ask, plan: Plan, store: t.Iterable[Signing], *, goal: str) -> Content:
    """Return what the plan file holds: everything that a run of this plan does, and why, by category.

    Lists of what is revoked are left out: an authority signs them anew every few days, and they decide nothing.
    """
    return {
        "version": VERSION,
        "goal": "rollout" if goal == "plan" else goal,
        "until": ask.until,
        "takes_back": list(ask.back) if goal == "rollback" else [],
        "pairs": {view.pair.id: {"from": view.stage, "to": view.goal} for view in plan.views if view.status == "due"},
        "store": {
            change.target: {"why": _why_signed(change), "after": change.after}
            for change in store
            if isinstance(change.after, t.Mapping)
        },
        "material": _installed(scene, plan.material),
        "environment": {name: "set" for names in plan.environment.values() for name in names},
        "rounds": [
            {"phase": this.phase, "together": this.together, "steps": [_step(scene, step) for step in this.steps]}
            for this in plan.rounds
        ],
        **_leaving(plan),
    }


def _leaving(plan: Plan) -> Content:
    """Return what goes away from hosts; a plan by which nothing does says nothing of it."""
    found: Content = {}
    removals = {each.name: list(each.parts) for each in plan.removals if not each.held}
    if removals:
        found["removals"] = removals
    if plan.forgetting:
        found["forgetting"] = {instance.name: list(steps) for instance, steps in plan.forgetting.items()}
    return found


def _why_signed(change: Signing) -> str:
    if change.before is None:
        return "new"
    return "renewal" if change.can_wait else "replacement"


def _installed(scene: Scene, material: t.Mapping[str, t.Sequence[str]]) -> Content:
    names = [name for several in material.values() for name in several]
    return {name: "replacement" if scene.seen(Instance.parse(name)).generation else "new" for name in names}


def _step(scene: Scene, step: Step) -> Content:
    sets = () if step.reverse else missing_options(scene, step)
    return {
        "step": step.target,
        "of": list(step.of),
        "why": _why_moved(scene, step),
        "sets": sorted("%s = %s" % (option.place, option.shown) for option in sets),
    }


def _why_moved(scene: Scene, step: Step) -> str:
    """Return whether a step goes on, mends what was reached before, loads what is installed, or goes back."""
    if step.reverse:
        return "going back"
    if step.stage == "load":
        return step.apply if step.apply == "restart" else "load"
    to = rank(MOVES_TO[step.stage])
    return "mending" if any(rank(reached(scene, scene.model.pair(name))) >= to for name in step.pairs) else "going on"


def does_nothing(content: Content) -> bool:
    """Return whether nothing is due in a plan, neither on hosts nor in the store."""
    return not any(content.get(name) for name in ("store", "material", "environment", "rounds", *_LEAVING))


def plan_bytes(content: Content) -> bytes:
    """Return the bytes of the plan file."""
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()


def digest_of(data: bytes) -> str:
    """Return the digest by which a plan file is approved."""
    return hashlib.sha256(data).hexdigest()


def read_plan(data: bytes) -> Content | None:
    """Return what a plan file holds; None if this release cannot read it."""
    try:
        content = json.loads(data)
        content["rounds"], content["store"], content["material"]
    except (ValueError, KeyError, TypeError):
        return None
    return content if content.get("version") == VERSION else None


def refuse_other_plan(approved: Content, found: Content, *, begun: bool) -> None:
    """Refuse a plan that is not the approved one, nor what is left of it once it was begun.

    Args:
        approved: what the approved file holds.
        found: what the run would do.
        begun: whether a run has begun to carry out the approved plan.

    Raises:
        TlsError: saying what was added and what is missing.
    """
    if begun and _is_rest(found, of=approved):
        return
    was, now = _pieces(approved), _pieces(found)
    changed = [name for name in now if name in was and now[name] != was[name]]
    rows = (
        ("not in that one: ", now.keys() - was.keys()),
        ("only in that one: ", was.keys() - now.keys()),
        ("not as in that one: ", changed),
    )
    said = [what + few(names) for what, names in rows if names]
    raise TlsError(
        "what this run would do is not the approved plan (%s); have this one approved, or ask for what that one was"
        " made for" % ("; ".join(said) or "its rounds come in another order")
    )


def _pieces(content: Content) -> dict[str, str]:
    """Return what a plan does, piece by piece: how a message calls it, and all that is said of it."""
    how_far = ", ".join(content["takes_back"]) or "until %s" % content["until"]
    pieces = {"goal %s %s" % (content["goal"], how_far): ""}
    for what, lead in (("pairs", "pair "), ("store", ""), ("material", "material "), ("environment", "environment ")):
        pieces.update((lead + name, json.dumps(said, sort_keys=True)) for name, said in content[what].items())
    for what, lead in _LEAVING.items():
        pieces.update((lead + name, json.dumps(said)) for name, said in content.get(what, {}).items())
    for this in content["rounds"]:
        pieces.update((step["step"], json.dumps([this["together"], step], sort_keys=True)) for step in this["steps"])
    return pieces


def _is_rest(found: Content, *, of: Content) -> bool:
    """Return whether a plan does nothing but what is left of another, and loads what a run that was cut off left."""
    if any(found[name] != of[name] for name in ("goal", "until", "takes_back")):
        return False
    if any(found[what].keys() - of[what].keys() for what in ("pairs", "store", "material", "environment")):
        return False
    if any(said != of.get(what, {}).get(name) for what in _LEAVING for name, said in found.get(what, {}).items()):
        return False
    if any(said["after"] != of["store"][name]["after"] for name, said in found["store"].items()):
        return False
    approved = {step["step"]: step for this in of["rounds"] for step in this["steps"]}
    touched = {target.split()[-1] for target in (*approved, *of["material"])}
    return all(
        (step["step"].startswith("step load ") and step["step"].split()[-1] in touched)
        or (step["step"] in approved and set(step["sets"]) <= set(approved[step["step"]]["sets"]))
        for this in found["rounds"]
        for step in this["steps"]
    )
