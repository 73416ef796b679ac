# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store and each host are handed once it is decided what is due; private to this collection.

A play is made for each sort of work, and addresses the hosts that have some: a task costs a moment for every host of
its play, also where it is skipped.
"""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass

from ..module_utils._core._entities import Instance, Pair
from ..module_utils._core._forgetting import forget_specs
from ..module_utils._core._holding import variables
from ..module_utils._core._look import LookPlan, environment_place
from ..module_utils._core._material import Revocation
from ..module_utils._core._plan import Plan
from ..module_utils._core._scene import Scene, Wanted, setting
from ..module_utils._core._soak import listeners_by_host
from ..module_utils._core._survey import Ask
from ._births import births_of
from ._fleet import Fleet
from ._relay import BIRTH, NOBODY, Json, parts, told, with_localhost
from ._store import StoreView

_NOTHING: t.Final = Plan((), ())


@dataclass(frozen=True)
class Work:
    """What was asked for and seen, and what is to be done: nothing before it is decided, and in runs that only look."""

    fleet: Fleet
    scene: Scene
    ask: Ask
    seen: Json
    goal: str
    check_mode: bool
    plan: Plan = _NOTHING

    @property
    def rolls_out(self) -> bool:
        """Whether the run installs what is due."""
        return self.goal == "rollout"


@dataclass(frozen=True)
class Handed:
    """The facts for the playbook, and by host and identity the instances whose keys are to be born."""

    facts: Json
    births: dict[str, dict[str, str]]


def hand_out(
    work: Work, store: StoreView, *, needing: list[Instance], revoke: t.Sequence[Revocation], keep: float
) -> Handed:
    """Return who does what.

    Args:
        work: what is to be done.
        store: what the store has, and what is due there.
        needing: the instances for whom that is due.
        revoke: the certificates to revoke.
        keep: for how many days hosts keep what steps found.
    """
    pki = _pki(work, store, needing, revoke) if work.rolls_out else None
    allowed = [each for each in needing if work.ask.hosts is None or each.host in work.ask.hosts]
    births = births_of(work.fleet, store, work.scene, work.plan, allowed) if pki and not work.check_mode else {}
    material, upkeep = _material_facts(work), _upkeep_facts(work, keep=keep)
    steps = _step_hosts(work)
    opens = steps or material["material"] or upkeep["upkeep_hosts"] != NOBODY
    facts = {
        "pki": told(pki) if pki else "",
        "store_hosts": ["localhost"] if pki else NOBODY,
        **_birth_facts(work.scene, births),
        **material,
        **upkeep,
        "opening_hosts": ["localhost"] if opens else NOBODY,
        "rounds": _turns(work),
        "step_hosts": with_localhost(steps),
        "edits_or_limited": work.ask.hosts is not None or _kinds_edit(work),
        "result_hosts": NOBODY if work.goal == "plan" else ["localhost"],
    }
    return Handed(facts, {host: {row["identity"]: row["name"] for row in rows} for host, rows in births.items()})


def _turns(work: Work) -> int:
    """Return how often a round is opened at most; in check mode, those of a phase are one."""
    rounds = work.plan.rounds
    return len(list(itertools.groupby(this.phase for this in rounds))) if work.check_mode else len(rounds)


def _kinds_edit(work: Work) -> bool:
    """Return whether the kind of any step edits by tasks of its own."""
    kinds = work.scene.kinds
    return any(kinds[step.instance.name].edits != "options" for this in work.plan.rounds for step in this.steps)


# ---------------------------------------------------------------- the store


def _pki(work: Work, view: StoreView, instances: list[Instance], revoke: t.Sequence[Revocation]) -> Json | None:
    """Return the arguments of the task that makes what is due in the store; None if nothing is."""
    fleet, scene = work.fleet, work.scene
    if not (view.changes and instances):
        return None
    return {
        "store": vars(fleet.paths),
        "authorities": [vars(authority) for authority in fleet.wishes.authorities()],
        "identities": [vars(identity) for identity in fleet.wishes.identities(instances)],
        "trust_files": fleet.trust_files,
        "held": {name: list(keys) for name, keys in fleet.held(instances, work.seen["instances"]).items()},
        "revoke": [{name: value for name, value in vars(each).items() if name != "at"} for each in revoke],
        "generations_seen": sorted(
            {Instance.parse(name).host for name, seen in scene.instances.items() if seen.generation}
        ),
    }


def _birth_facts(scene: Scene, births: t.Mapping[str, list[Json]]) -> Json:
    """Return what the playbook needs to have keys born: nothing, and no play, in most runs."""
    asked = {
        host: {"directory": scene.directories[host], "instances": rows, "token": BIRTH} for host, rows in births.items()
    }
    return {"births": parts(asked), "birth_hosts": with_localhost(births)}


# ---------------------------------------------------------------- hosts


def _material_facts(work: Work) -> Json:
    """Return, per host, what to install, and what to look at in the same round trip."""
    scene, plan = work.scene, work.plan
    look = LookPlan(scene, token="material")
    for name in (name for names in plan.material.values() for name in names):
        look.see(Instance.parse(name))
        for pair in scene.model.pairs_of_client(name):
            if not pair.blocked and _moves_by_itself(scene, pair):
                look.dial(pair)  # no step need come before the client's, after which somebody would look
    requests = {} if work.check_mode else look.requests()
    material = {
        host: {
            "store": vars(work.fleet.paths),
            "directory": scene.directories[host],
            "instances": [_material(scene, Instance.parse(name)) for name in names],
            "trust_files": _trust_files(work.fleet, [scene.wanted[name] for name in names]),
            "look": requests.get(host),
        }
        for host, names in plan.material.items()
    }
    return {"material": parts(material), "material_hosts": with_localhost(material)}


def _upkeep_facts(work: Work, *, keep: float) -> Json:
    """Return, per host, its environment, its collector, what leaves it, and what it need not keep any more."""
    scene, plan = work.scene, work.plan
    environment = {
        host: [_environment(scene, Instance.parse(name)) for name in names] for host, names in plan.environment.items()
    }
    again = LookPlan(scene, token="environment")
    again.see(*(Instance.parse(name) for names in plan.environment.values() for name in names))
    soak = _soak_due(work)
    removal: dict[str, Json] = {}
    for each in plan.removals if work.rolls_out else ():
        if not each.held:
            asked = removal.setdefault(each.host, {"directory": scene.directories[each.host], "instances": []})
            asked["instances"].append({"name": each.name, "folder": each.folder})
    forget: dict[str, list[Json]] = {}
    for instance, steps in plan.forgetting.items() if work.rolls_out else ():
        specs = forget_specs(scene, instance, steps, days=keep)
        forget.setdefault(instance.host, []).extend(spec.to_json() for spec in specs)
    return {
        "environment": parts(environment),
        "environment_look": parts({} if work.check_mode else again.requests()),
        "soak": parts(soak),
        "removal": parts(removal),
        "forget": parts(forget),
        "upkeep_hosts": with_localhost({*environment, *soak, *removal, *forget}),
    }


def _moves_by_itself(scene: Scene, pair: Pair) -> bool:
    """Return whether a client may need no step of its server's: it is not ours, or it is set already."""
    if pair.fronted or not scene.ours(pair.server):
        return True
    return not scene.tls(pair).verified and setting(scene, "permit", pair).is_made


def _soak_due(work: Work) -> dict[str, Json]:
    """Return the hosts whose collector is not there, or watches other listeners than it should, with what it gets."""
    scene, ask = work.scene, work.ask
    asked = {host: row["soak"]["configured"] for host, row in work.seen["hosts"].items() if "soak" in row}
    if not work.rolls_out or not asked:
        return {}
    wanted = listeners_by_host(scene)
    return {
        host: {"directory": scene.directories[host], "listeners": wanted[host]}
        for host, configured in sorted(asked.items())
        if (ask.hosts is None or host in ask.hosts) and configured != wanted.get(host, configured)
    }


def _trust_files(fleet: Fleet, wanted: t.Iterable[Wanted]) -> Json:
    """Return the files of the CA lists that a host's material takes from, by authority."""
    names = {name for each in wanted for name in each.authorities}
    issuers = {fleet.model.authority_of(name) for each in wanted for name in each.identities}
    return {name: path for name, path in fleet.trust_files.items() if name in names | issuers}


def _material(scene: Scene, instance: Instance) -> Json:
    wanted = scene.wanted[instance.name]
    placed = {folder: held.name for folder, held in wanted.placed.items()}
    return {
        "name": instance.name,
        "folder": instance.component,
        "account": scene.kinds[instance.name].account,
        "identity": placed.pop("", None),
        "identities": sorted(placed),
        "trust": list(wanted.authorities),
        "formats": list(wanted.formats),
        "environment": environment_place(scene.kinds[instance.name].environment),
        "due": bool(wanted.due),
    }


def _environment(scene: Scene, instance: Instance) -> Json:
    kind = scene.kinds[instance.name]
    return {
        **(environment_place(kind.environment) or {}),
        "name": instance.name,
        "variables": variables(scene, instance),
        "process": dict(kind.process),
    }


def _step_hosts(work: Work) -> set[str]:
    """Return the hosts that work or look in some round; a client's host looks at the servers that it dials."""
    scene = work.scene
    pairs = {view.pair.id: view.pair for view in work.plan.views}
    hosts = set()
    for this in work.plan.rounds:
        for step in this.steps:
            hosts.add(step.instance.host)
            hosts |= {end.host for name in step.pairs for end in scene.our_ends(pairs[name])}
            served = (pair for pair in pairs.values() if pair.server == step.instance and not pair.blocked)
            hosts |= {end.host for pair in served for end in scene.our_ends(pair)}
    return hosts
