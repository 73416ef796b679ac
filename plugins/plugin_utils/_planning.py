# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The beginning of a run: what to look at, and then what is due; private to this collection."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..module_utils._core._entities import Instance
from ..module_utils._core._errors import TlsError
from ..module_utils._core._look import host_request, watch_of
from ..module_utils._core._plan import Ask, Plan, make_plan, make_rollback
from ..module_utils._core._scene import Scene
from ..module_utils._core._stages import rank, variables
from . import _run
from ._ask import allowed_hosts, looks_at_hosts, named_pairs, read_ask, refuse_partial_runs, watch_seconds
from ._fleet import Fleet, gather
from ._ledger import Ledger
from ._relay import Json, Looks, ask_to_json, merged, recall, round_to_json
from ._store import StoreView, inspect, refuse_bad_place

#: What a run can be for.
GOALS: t.Final = ("plan", "rollout", "verify", "rollback", "report")
#: Those that change hosts.
ACTING: t.Final = ("rollout", "rollback")


@dataclasses.dataclass(frozen=True)
class Decision:
    """A plan with everything that is needed to tell of it and to run it."""

    goal: str
    ask: Ask
    plan: Plan
    scene: Scene
    store: StoreView
    facts: Json


def prepare(task_vars: t.Mapping[str, t.Any], *, goal: str, strategy: str, check_mode: bool) -> Json:
    """Return the facts from which the fleet is looked at.

    Raises:
        TlsError: a mistake in the model or the settings, a run that cannot be had, or another run that is under way.
    """
    refuse_partial_runs(task_vars, strategy=strategy)
    fleet = gather(task_vars)
    refuse_bad_place(fleet.paths, inventory_directory=fleet.inventory_directory)
    if goal in ACTING and not check_mode:
        _run.claim(fleet.paths, at="the plan", what="connsec.tls.%s" % goal, pid=os.getppid())
    named = named_pairs(task_vars.get("tls_scope"), fleet.model)
    observed = _with_neighbours(fleet, named)
    looking = goal != "report" and looks_at_hosts(task_vars)
    if goal in ACTING and not looking:
        raise TlsError("tls_observe=false plans from the ledger alone; a %s has to look: leave it out" % goal)
    look = _requests(fleet, observed, thorough=goal == "verify") if looking else {}
    if goal == "verify":
        _watch_too(fleet, observed, look, seconds=watch_seconds(task_vars))
    allowed = allowed_hosts(task_vars)
    inside = sorted(host for host in look if allowed is None or host in allowed)
    plan = {
        "goal": goal,
        "looking": looking,
        "named": sorted(named) if named is not None else None,
        "observed": sorted(observed),
        "hosts": {name: facts.to_json() for name, facts in fleet.hosts.items()},
        "allowed": sorted(allowed) if allowed is not None else None,
        "look": {host: look[host] for host in inside},
        "look_outside": {host: look[host] for host in sorted(look) if host not in inside},
        "look_hosts": [*inside, "localhost"],
    }
    return {"tls_plan": plan}


def decide(task_vars: t.Mapping[str, t.Any], *, check_mode: bool) -> Decision:
    """Return the plan, from the model and what the fleet showed.

    Raises:
        TlsError: what was asked for cannot be had.
    """
    before = recall(task_vars, "tls_plan")
    goal = str(before["goal"])
    fleet = gather(task_vars, known=before["hosts"])
    hosts = [*before["look"], *before["look_outside"]]
    looks = Looks(task_vars, token="look")
    seen = merged({}, looks.gather("tls_observed", hosts, outside="tls_observed_outside"))
    everyone = fleet.instances(set(before["observed"]))
    ledger = Ledger(fleet.paths.ledger).pairs()
    scene = fleet.scene(fleet.view(everyone), everyone, seen, check_mode=check_mode)
    if not before["looking"]:
        scene = dataclasses.replace(scene, remembered={name: str(row["stage"]) for name, row in ledger.items()})
    named = frozenset(before["named"]) if before["named"] is not None else None
    allowed = frozenset(before["allowed"]) if before["allowed"] is not None else None
    ask = read_ask(task_vars, goal=goal, scene=scene, named=named, allowed=allowed, ledger=ledger)
    plan = make_rollback(scene, ask) if goal == "rollback" else make_plan(scene, ask)
    store, wanted = _store_view(fleet, plan)
    work = plan if goal in ACTING else Plan(views=plan.views, rounds=())
    facts = {
        **before,
        "look": {},
        "look_outside": {},
        **_material_facts(fleet, scene, work),
        **_store_facts(fleet, store, wanted, seen, acting=goal == "rollout"),
        "ask": ask_to_json(ask),
        "rounds": [round_to_json(this) for this in work.rounds],
        "step_hosts": _step_hosts(work),
        "result_hosts": "tls_none" if goal == "plan" else ["localhost"],
    }
    relayed = {"tls_plan": facts, "tls_seen": seen, "tls_state": {"notes": {}, "down": []}}
    return Decision(goal, ask, plan, scene, store, relayed)


def _with_neighbours(fleet: Fleet, named: frozenset[str] | None) -> set[str]:
    """Return the pairs to look at: those in scope, and the others of their listeners, which decide on enforcement."""
    pairs = [pair for pair in fleet.model.pairs if not pair.blocked]
    if named is None:
        return {pair.id for pair in pairs}
    listeners = {(pair.server.name, pair.listener.name) for pair in pairs if pair.id in named}
    return {pair.id for pair in pairs if (pair.server.name, pair.listener.name) in listeners}


def _requests(fleet: Fleet, observed: set[str], *, thorough: bool) -> dict[str, Json]:
    pairs = [pair for pair in fleet.model.pairs if pair.id in observed]
    instances: dict[str, dict[str, Instance]] = {}
    probing: dict[str, list[t.Any]] = {}
    for pair in pairs:
        probing.setdefault(pair.client.host, []).append(pair)
        for end in (pair.client, pair.server):
            instances.setdefault(end.host, {})[end.name] = end
    scene = fleet.blank_scene()
    return {
        host: {
            **host_request(scene, host, instances=ends.values(), pairs=probing.get(host, ()), thorough=thorough),
            "token": "look",
        }
        for host, ends in sorted(instances.items())
    }


def _watch_too(fleet: Fleet, observed: set[str], look: dict[str, Json], *, seconds: float) -> None:
    """Have the hosts of servers watch their clear listeners as well, so that a verification finds strangers."""
    listeners: dict[str, set[tuple[Instance, str]]] = {}
    for name in observed:
        pair = fleet.model.pair(name)
        listeners.setdefault(pair.server.host, set()).add((pair.server, pair.listener.name))
    scene = fleet.blank_scene()
    for host, rows in listeners.items():
        ordered = sorted(rows, key=lambda row: (row[0].name, row[1]))
        look[host]["watch"] = watch_of(scene, host, listeners=ordered, seconds=seconds)


def _store_view(fleet: Fleet, plan: Plan) -> tuple[StoreView, list[Instance]]:
    """Return what is due in the store for the pairs that go on in this run, and the instances that they need it for."""
    active = {
        view.pair.id
        for view in plan.views
        if view.status in ("done", "due", "waiting") and rank(view.goal) >= rank("trusted")
    }
    instances = fleet.instances(active)
    view = inspect(fleet.paths, fleet.wanted_authorities(), fleet.wanted_identities(instances), now=fleet.now)
    return view, instances


def _store_facts(fleet: Fleet, view: StoreView, instances: list[Instance], seen: Json, *, acting: bool) -> Json:
    due = bool(view.changes) and bool(instances)
    return {
        "store": vars(fleet.paths),
        "pki_due": acting and due,
        "authorities": [vars(authority) for authority in fleet.wanted_authorities()],
        "identities": [
            {
                **vars(identity),
                "names": list(identity.names),
                "usages": list(identity.usages),
                "formats": list(identity.formats),
            }
            for identity in fleet.wanted_identities(instances)
        ],
        "generations_seen": sorted(
            {name.rpartition("@")[2] for name, row in seen["instances"].items() if row.get("generation")}
        ),
    }


def _material_facts(fleet: Fleet, scene: Scene, plan: Plan) -> Json:
    """Return, per host, the material and the environment to install, and what to look at in the same round trip."""
    material: Json = {}
    for host, names in plan.material.items():
        instances = [_instance(name) for name in names]
        material[host] = {
            "directory": scene.directories[host],
            "instances": [_material(scene, instance) for instance in instances],
            "look": {**host_request(scene, host, instances=instances, pairs=()), "token": "material"},
        }
    environment: Json = {
        host: [_environment(scene, _instance(name)) for name in names] for host, names in plan.environment.items()
    }
    hosts = sorted({*material, *environment})
    return {
        "material": material,
        "environment": environment,
        "material_hosts": [*hosts, "localhost"] if hosts else "tls_none",
    }


def _material(scene: Scene, instance: Instance) -> Json:
    wanted = scene.wanted[instance.name]
    return {
        "name": instance.name,
        "folder": instance.component,
        "account": scene.kinds[instance.name].account,
        "identity": wanted.identity,
        "trust": list(wanted.authorities),
        "formats": list(wanted.formats),
    }


def _environment(scene: Scene, instance: Instance) -> Json:
    asked = {key: value for key, value in scene.kinds[instance.name].environment.items() if key != "variables"}
    return {**asked, "instance": instance.name, "variables": variables(scene, instance)}


def _step_hosts(plan: Plan) -> t.Any:
    """Return the hosts that work or look in some round; a client's host looks at the servers that it dials."""
    hosts = set()
    pairs = {view.pair.id: view.pair for view in plan.views}
    for this in plan.rounds:
        for step in this.steps:
            hosts.add(step.instance.host)
            for name in step.pairs:
                hosts |= {pairs[name].client.host, pairs[name].server.host}
    return [*sorted(hosts), "localhost"] if hosts else "tls_none"


def _instance(name: str) -> Instance:
    component, _, host = name.partition("@")
    return Instance(component, host)
