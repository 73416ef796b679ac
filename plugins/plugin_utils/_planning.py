# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The beginning of a run: what to look at, and then what is due; private to this collection."""

from __future__ import annotations

import dataclasses
import datetime
import os
import time
import typing as t

from ..module_utils._core._back import kept_back, make_rollback, reversals
from ..module_utils._core._briefing import reads_keystore_only
from ..module_utils._core._entities import Instance, Model, Pair
from ..module_utils._core._forgetting import forget_specs, plan_forgetting
from ..module_utils._core._holding import variables
from ..module_utils._core._look import LookPlan, environment_place
from ..module_utils._core._lost_store import refuse_foreign_store
from ..module_utils._core._material import Revocation, identity_target
from ..module_utils._core._plan import Plan, make_plan
from ..module_utils._core._plan_file import Content, digest_of, does_nothing, plan_bytes, plan_content
from ..module_utils._core._removal import Removal, plan_removals, revocable, revocations
from ..module_utils._core._scene import Scene, Wanted, setting
from ..module_utils._core._soak import listeners_by_host, servers_of
from ..module_utils._core._stages import rank
from ..module_utils._core._survey import Ask
from ..module_utils._core._trial import silent_servers
from . import _run
from ._approval import approved_digest, refuse_unapproved, write_plan
from ._ask import ACTING, flag, keep_steps, looks_at_hosts, next_wave, read_ask, refuse_partial_runs
from ._firewall import write_sheet
from ._fleet import Fleet, Render, gather, read_fleet
from ._ledger import Ledger
from ._library import refuse_old_library
from ._relay import (
    BIRTH,
    Json,
    Looks,
    Progress,
    ask_from_json,
    ask_to_json,
    merged,
    nothing_seen,
    parts,
    recall,
    round_to_json,
    told,
)
from ._store import StoreView, refuse_bad_place

#: Runs that look for instances which the model does not name any more.
REMOVING: t.Final = ("plan", "rollout", "verify")


@dataclasses.dataclass(frozen=True)
class Papers:
    """What is written of a plan for those who approve it and those who open the network for it.

    Attributes:
        digest: of the plan file, by which somebody approves it; empty where nothing is due.
        file: where it was written; empty if it was not.
        sheet: where the firewall sheet was written; empty if it was not.
    """

    digest: str = ""
    file: str = ""
    sheet: str = ""


@dataclasses.dataclass(frozen=True)
class Decision:
    """A plan with everything that is needed to tell of it and to run it.

    Attributes:
        papers: what is written of it for others.
        ledger_lost: how many pairs hosts show beyond ``plain``, if the ledger knows of none at all; else 0.
    """

    goal: str
    ask: Ask
    plan: Plan
    scene: Scene
    store: StoreView
    facts: Json
    today: str
    papers: Papers = Papers()
    ledger_lost: int = 0
    now: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is due, neither on hosts nor in the store."""
        return self.plan.empty and not self.store.changes


def prepare(task_vars: t.Mapping[str, t.Any], *, render: Render, goal: str, strategy: str, check_mode: bool) -> Json:
    """Return the facts from which the fleet is looked at; ``render`` renders what hosts' variables hold.

    Raises:
        TlsError: a mistake in the model or the settings, a run that cannot be had, or another run that is under way.
    """
    refuse_old_library()
    refuse_partial_runs(task_vars, strategy=strategy)
    fleet = read_fleet(task_vars, render=render)
    refuse_bad_place(fleet.paths, inventory_directory=fleet.inventory_directory)
    ask = read_ask(task_vars, goal=goal, model=fleet.model, now=fleet.now)
    approved_digest(task_vars.get("tls_approved_plan"))
    observed = _with_neighbours(fleet, ask.scope)
    looking = goal != "report" and looks_at_hosts(task_vars)
    look = _first_look(fleet, observed, ask, goal=goal) if looking else {}
    if goal in ACTING and not check_mode:
        at = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        _run.claim(fleet.paths, at=at, what="connsec.tls.%s" % goal, pid=os.getppid())
    inside = [host for host in look if ask.hosts is None or host in ask.hosts]
    plan = {
        "goal": goal,
        "looking": looking,
        "ask": ask_to_json(ask),
        "observed": sorted(observed),
        "hosts": {name: facts.to_json() for name, facts in fleet.hosts.items()},
        "looking_at": sorted(look),
    }
    asked = parts(look)
    shown = {
        "look": {host: asked[host] for host in inside},
        "look_outside": {host: asked[host] for host in look if host not in inside},
        "look_hosts": inside or "tls_none",
    }
    return {"tls_run": told({"plan": plan}), "tls_plan": shown}


def _with_neighbours(fleet: Fleet, scope: t.Collection[str]) -> set[str]:
    """Return the pairs to look at: those in scope, and all others that their ends serve or dial in common.

    The other clients of a listener decide on its enforcement, and the other members of a server on a client's switch.
    """
    pairs = [pair for pair in fleet.model.pairs if not pair.blocked]
    listeners = {(pair.server.component, pair.listener.name) for pair in pairs if pair.id in scope}
    return {pair.id for pair in pairs if (pair.server.component, pair.listener.name) in listeners}


def _first_look(fleet: Fleet, observed: t.Collection[str], ask: Ask, *, goal: str) -> dict[str, Json]:
    """Return what each host is asked first. What has been demanded or enforced is tried as its gate tries it."""
    verifying = goal == "verify"
    scene = fleet.scene((), nothing_seen())
    plan = LookPlan(scene, token="look")
    for name in sorted(observed):
        pair = fleet.model.pair(name)
        stage = scene.recorded.get(name, "plain")
        plan.dial(pair, thorough=verifying or rank(stage) >= rank("demanded"))
        plan.see(*pair.ends)
        if verifying and stage != "enforced":
            plan.watch(pair.server, pair.listener.name)
    if ask.soak and goal != "rollback" and rank(ask.until) > rank("switched"):
        for server in servers_of(fleet.model, observed):
            plan.collected(server)
    if goal in REMOVING and _is_whole(fleet, ask):
        folders = components_named(fleet.model)
        for host in {*plan.hosts, *(set(fleet.hosts) - set(folders))}:
            plan.find_leftovers(host, folders.get(host, ()))
    if goal == "rollback":
        for instance, steps in reversals(scene, ask).items():
            plan.try_back(instance, steps)
    return plan.requests(watch=ask.watch)


def components_named(model: Model) -> dict[str, set[str]]:
    """Return the components of each host that any pair names, blocked or not."""
    found: dict[str, set[str]] = {}
    for pair in model.pairs:
        for end in pair.ends:
            found.setdefault(end.host, set()).add(end.component)
    return found


def decide(task_vars: t.Mapping[str, t.Any], *, check_mode: bool) -> Decision:
    """Return the plan, from the model and what the fleet showed.

    Raises:
        TlsError: what was asked for cannot be had.
    """
    before = recall(task_vars)["plan"]
    goal = str(before["goal"])
    fleet = gather(task_vars, known=before["hosts"])
    asked = before["looking_at"]
    looked = Looks(task_vars).gather("tls_observed", asked, token="look", outside="tls_observed_outside")
    seen = merged(nothing_seen(), looked)
    scene = fleet.scene(set(before["observed"]), seen, looked=before["looking"], check_mode=check_mode)
    ask = ask_from_json(before["ask"])
    if ask.by_wave and goal in ("plan", "rollout"):
        ask = dataclasses.replace(ask, scope=next_wave(scene, ask))
    _refuse_foreign_store(fleet, scene)
    plan = make_rollback(scene, ask) if goal == "rollback" else make_plan(scene, ask)
    keep = keep_steps(task_vars)
    plan = dataclasses.replace(plan, removals=_removals(task_vars, fleet, ask, seen, goal=goal))
    if goal in ("plan", "rollout"):
        forgetting = plan_forgetting(scene, ask, plan.views, now=fleet.now, days=keep)
        plan = dataclasses.replace(plan, forgetting=forgetting)
    revoke = revocations(plan.removals, now=fleet.now)
    store, needing = _store_view(fleet, plan, seen, revoke)
    work = plan if goal in ACTING else Plan(plan.views, (), removals=plan.removals)
    lost = _lost_with_the_ledger(scene, plan)
    content = plan_content(scene, ask, plan, store.changes, goal=goal) if goal in ("plan", *ACTING) else None
    papers = _settled(task_vars, fleet, scene, content, goal=goal, check_mode=check_mode) if content else Papers()
    carried = {
        **before,
        "digest": papers.digest or None,
        "ledger_lost": lost,
        "ask": ask_to_json(ask),
        "rounds": [round_to_json(this) for this in work.rounds],
        "material": {host: list(names) for host, names in work.material.items()},
        "environment": {host: list(names) for host, names in work.environment.items()},
    }
    pki = _pki(fleet, store, needing, scene, revoke) if goal == "rollout" else None
    births = _births(fleet, store, scene, work) if pki and fleet.can_sign and not check_mode else {}
    carried["births"] = {host: [row["name"] for row in rows] for host, rows in births.items()}
    shown = {
        "pki": told(pki) if pki else "",
        **_birth_facts(scene, births),
        **_material_facts(
            fleet,
            scene,
            work,
            acting=goal == "rollout",
            keep=keep,
            check_mode=check_mode,
            soak=_soak_due(scene, ask, seen, goal=goal),
        ),
        "rounds": len(work.rounds),
        "step_hosts": _step_hosts(scene, work),
        "result_hosts": "tls_none" if goal == "plan" else ["localhost"],
    }
    carried["removals"] = [vars(removal) for removal in plan.removals]
    carried["forgetting"] = sorted({each.host for each in plan.forgetting})
    carried["stuck"] = Progress(kept_back(scene, ask, plan)).to_json()["notes"]
    run = {"plan": carried, "seen": seen, "progress": Progress(down=silent_servers(scene)).to_json()}
    facts = {"tls_run": told(run), "tls_plan": shown, "tls_requests": told({})}
    return Decision(goal, ask, plan, scene, store, facts, fleet.today, papers, lost, fleet.now)


def _lost_with_the_ledger(scene: Scene, plan: Plan) -> int:
    """Return how many pairs hosts show beyond ``plain`` while the ledger knows of none at all."""
    if scene.recorded:
        return 0
    return sum(rank(view.stage) > rank("plain") for view in plan.views)


def _settled(
    task_vars: t.Mapping[str, t.Any], fleet: Fleet, scene: Scene, content: Content, *, goal: str, check_mode: bool
) -> Papers:
    """Have the plan written, refused, or recorded as begun, and return what was written of it.

    This is the last moment at which nothing was changed yet.

    Raises:
        TlsError: somebody approved another plan.
    """
    ledger, directory = Ledger(fleet.paths.ledger), task_vars.get("tls_report_directory")
    approved = approved_digest(task_vars.get("tls_approved_plan"))
    if approved and goal in ACTING:
        refuse_unapproved(approved, content, directory=directory, ledger=ledger)
    if does_nothing(content):
        return Papers()
    digest = digest_of(plan_bytes(content))
    if check_mode or (goal == "plan" and not directory):
        return Papers(digest)
    if goal == "plan":
        return Papers(digest, write_plan(content, str(directory)), write_sheet(scene, str(directory)))
    run = {"goal": goal, "until": content["until"], "plan": digest, "approved": approved or None}
    ledger.begin(run, operator=fleet.operator, now=time.time())
    return Papers(digest)


def _removals(
    task_vars: t.Mapping[str, t.Any], fleet: Fleet, ask: Ask, seen: Json, *, goal: str
) -> tuple[Removal, ...]:
    """Return what leaves the hosts, revoked if that is asked for; a run about a part of the fleet removes nothing."""
    revoking = flag(task_vars.get("tls_revoke_removed", False), "tls_revoke_removed")
    if goal not in REMOVING or not _is_whole(fleet, ask) or not seen["leftovers"]:
        return ()
    view = fleet.view(())
    roots = {root for found in view.trust.values() for root in found}
    found = plan_removals(fleet.model, seen["leftovers"], roots=roots, hosts=ask.hosts)
    issuers = {ca.sha256 for authority in view.authorities.values() for ca in authority.issuing}
    return revocable(found, issuers=issuers, can_sign=fleet.can_sign) if revoking else found


def _is_whole(fleet: Fleet, ask: Ask) -> bool:
    return ask.by_wave or len(ask.scope) == len(fleet.model.pairs)


def _refuse_foreign_store(fleet: Fleet, scene: Scene) -> None:
    """Refuse a store from which nothing that the fleet holds came: nobody would trust what it makes.

    Raises:
        StoreLost: saying which instances hold material of another one.
    """
    view = fleet.view(fleet.instances(()))
    ours = {authority.name for authority in fleet.wishes.authorities()}
    others = {root for name, roots in view.trust.items() if name not in ours for root in roots}
    if not ours:
        return
    installed = {
        name: {*(seen.inputs.get("trust") or ()), *filter(None, [seen.inputs.get("root")])}
        for name, seen in scene.instances.items()
        if seen.generation and seen.inputs is not None
    }
    refuse_foreign_store(
        fleet.paths.authorities,
        roots=[root for name in ours for root in view.trust.get(name, ())],
        installed={name: held - others for name, held in installed.items() if not held or held - others},
        remembered=[name for name, stage in scene.recorded.items() if rank(stage) >= rank("trusted")],
    )


def _store_view(
    fleet: Fleet, plan: Plan, seen: Json, revoke: t.Sequence[Revocation]
) -> tuple[StoreView, list[Instance]]:
    """Return what is due in the store for the pairs that go on in this run, and the instances that they need it for."""
    active = {
        view.pair.id
        for view in plan.views
        if view.status in ("done", "due", "waiting") and rank(view.goal) >= rank("trusted")
    }
    instances = fleet.instances(active)
    return fleet.view(instances, seen["instances"], revoke=revoke), instances


def _pki(
    fleet: Fleet, view: StoreView, instances: list[Instance], scene: Scene, revoke: t.Sequence[Revocation]
) -> Json | None:
    """Return the arguments of the task that makes what is due in the store; None if nothing is."""
    if not (view.changes and instances):
        return None
    return {
        "store": vars(fleet.paths),
        "authorities": [vars(authority) for authority in fleet.wishes.authorities()],
        "identities": [vars(identity) for identity in fleet.wishes.identities(instances)],
        "trust_files": fleet.trust_files,
        "revoke": [{name: value for name, value in vars(each).items() if name != "at"} for each in revoke],
        "generations_seen": sorted(
            {Instance.parse(name).host for name, seen in scene.instances.items() if seen.generation}
        ),
    }


def _births(fleet: Fleet, view: StoreView, scene: Scene, plan: Plan) -> dict[str, list[Json]]:
    """Return, per host, the keys that have to be there before the store can make what is due."""
    instances = [Instance.parse(name) for names in plan.material.values() for name in names]
    wanted = {each.name: each for each in fleet.wishes.identities(instances) if each.key_at == "host"}
    births: dict[str, list[Json]] = {}
    for instance in instances:
        identity = scene.wanted[instance.name].identity
        if identity in wanted and identity_target(identity) in view.due:
            found = view.identities.get(identity)
            row = {
                "name": instance.name,
                "folder": instance.component,
                "account": scene.kinds[instance.name].account,
                "identity": identity,
                "key_type": wanted[identity].key_type,
                "certified": found.spki_sha256 if found else "",
                "keystore_only": reads_keystore_only(scene, instance),
            }
            births.setdefault(instance.host, []).append(row)
    return births


def _birth_facts(scene: Scene, births: t.Mapping[str, list[Json]]) -> Json:
    """Return what the playbook needs to have keys born: nothing, and no play, in most runs."""
    asked = {
        host: {"directory": scene.directories[host], "instances": rows, "token": BIRTH} for host, rows in births.items()
    }
    return {"births": parts(asked), "birth_hosts": [*sorted(births), "localhost"] if births else "tls_none"}


def _moves_by_itself(scene: Scene, pair: Pair) -> bool:
    """Return whether a client may need no step of its server's: it is not ours, or it is set already."""
    if pair.fronted or not scene.ours(pair.server):
        return True
    return not scene.tls(pair).verified and setting(scene, "permit", pair).is_made


def _soak_due(scene: Scene, ask: Ask, seen: Json, *, goal: str) -> dict[str, Json]:
    """Return the hosts whose collector is not there, or watches other listeners than it should, with what it gets."""
    asked = {host: row["soak"]["configured"] for host, row in seen["hosts"].items() if "soak" in row}
    if goal != "rollout" or not asked:
        return {}
    wanted = listeners_by_host(scene)
    return {
        host: {"directory": scene.directories[host], "listeners": wanted[host]}
        for host, configured in sorted(asked.items())
        if (ask.hosts is None or host in ask.hosts) and configured != wanted.get(host, configured)
    }


def _material_facts(
    fleet: Fleet,
    scene: Scene,
    plan: Plan,
    *,
    acting: bool,
    keep: float,
    check_mode: bool,
    soak: t.Mapping[str, Json],
) -> Json:
    """Return, per host, what to install and to remove; and what to look at in between."""
    look = LookPlan(scene, token="material")
    for name in (name for names in plan.material.values() for name in names):
        look.see(Instance.parse(name))
        for pair in scene.model.pairs_of_client(name):
            if not pair.blocked and _moves_by_itself(scene, pair):
                look.dial(pair)  # no step need come before the client's, after which somebody would look
    requests = {} if check_mode else look.requests()
    material = {
        host: {
            "store": vars(fleet.paths),
            "directory": scene.directories[host],
            "instances": [_material(scene, Instance.parse(name)) for name in names],
            "trust_files": _trust_files(fleet, [scene.wanted[name] for name in names]),
            "look": requests.get(host),
        }
        for host, names in plan.material.items()
    }
    environment = {
        host: [_environment(scene, Instance.parse(name)) for name in names] for host, names in plan.environment.items()
    }
    removal: dict[str, Json] = {}
    for each in plan.removals if acting else ():
        if not each.held:
            asked = removal.setdefault(each.host, {"directory": scene.directories[each.host], "instances": []})
            asked["instances"].append({"name": each.name, "folder": each.folder})
    forget: dict[str, list[Json]] = {}
    for instance, steps in plan.forgetting.items() if acting else ():
        specs = forget_specs(scene, instance, steps, days=keep)
        forget.setdefault(instance.host, []).extend(spec.to_json() for spec in specs)
    hosts = sorted({*material, *environment, *soak, *removal, *forget})
    again = LookPlan(scene, token="environment")
    again.see(*(Instance.parse(name) for names in plan.environment.values() for name in names))
    return {
        "material": parts(material),
        "soak": parts(soak),
        "environment": parts(environment),
        "removal": parts(removal),
        "forget": parts(forget),
        "environment_look": parts({} if check_mode else again.requests()),
        "material_hosts": [*hosts, "localhost"] if hosts else "tls_none",
    }


def _trust_files(fleet: Fleet, wanted: t.Iterable[Wanted]) -> Json:
    """Return the files of the CA lists that a host's material takes from, by authority."""
    names = {name for each in wanted for name in each.authorities}
    issuers = {fleet.model.authority_of(each.identity) for each in wanted if each.identity}
    return {name: path for name, path in fleet.trust_files.items() if name in names | issuers}


def _material(scene: Scene, instance: Instance) -> Json:
    wanted = scene.wanted[instance.name]
    return {
        "name": instance.name,
        "folder": instance.component,
        "account": scene.kinds[instance.name].account,
        "identity": wanted.identity,
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


def _step_hosts(scene: Scene, plan: Plan) -> t.Any:
    """Return the hosts that work or look in some round; a client's host looks at the servers that it dials."""
    pairs = {view.pair.id: view.pair for view in plan.views}
    hosts = set()
    for this in plan.rounds:
        for step in this.steps:
            hosts.add(step.instance.host)
            hosts |= {end.host for name in step.pairs for end in scene.our_ends(pairs[name])}
            served = (pair for pair in pairs.values() if pair.server == step.instance and not pair.blocked)
            hosts |= {end.host for pair in served for end in scene.our_ends(pair)}
    return [*sorted(hosts), "localhost"] if hosts else "tls_none"
