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
from ..module_utils._core._chain import Head
from ..module_utils._core._entities import Instance, Model
from ..module_utils._core._forgetting import plan_forgetting
from ..module_utils._core._look import LookPlan
from ..module_utils._core._lost_store import refuse_foreign_store
from ..module_utils._core._manifest import roots_in
from ..module_utils._core._material import Revocation
from ..module_utils._core._plan import Plan, make_plan
from ..module_utils._core._plan_file import Content, digest_of, does_nothing, plan_bytes, plan_content
from ..module_utils._core._removal import Removal, plan_removals, revocable, revocations
from ..module_utils._core._scene import Scene
from ..module_utils._core._soak import servers_of
from ..module_utils._core._stages import rank
from ..module_utils._core._survey import Ask
from ..module_utils._core._trial import silent_servers
from ..module_utils._core._unread import instances_that_stay
from . import _run
from ._approval import approved_digest, refuse_unapproved, write_plan
from ._ask import ACTING, flag, keep_steps, looks_at_hosts, next_wave, read_ask, refuse_partial_runs
from ._firewall import write_sheet
from ._fleet import Fleet, Render, gather, read_fleet
from ._handing import Work, hand_out
from ._library import refuse_old_library
from ._relay import (
    NOBODY,
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
        begun: where the ledger's history ended when it was noted there that the run begins; None if it does not.
    """

    digest: str = ""
    file: str = ""
    sheet: str = ""
    begun: Head | None = None


@dataclasses.dataclass(frozen=True)
class Decision:
    """A plan with everything that is needed to tell of it and to run it.

    Attributes:
        papers: what is written of it for others.
        ledger_lost: how many pairs hosts show beyond ``plain``, if the ledger knows of none at all; else 0.
        ledger_doubt: why the ledger's seal does not show that the ledger is right; empty if it does, or has none.
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
    ledger_doubt: str = ""
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
        fleet.ledger.ready(operator=fleet.operator, now=time.time())
    inside = [host for host in look if ask.hosts is None or host in ask.hosts]
    plan = {
        "goal": goal,
        "looking": looking,
        "ask": ask_to_json(ask),
        "observed": sorted(observed),
        "hosts": {name: facts.to_json() for name, facts in fleet.hosts.items()},
        "unread": dict(fleet.unread),
        "staying": {},
        "looking_at": sorted(look),
    }
    asked = parts(look)
    shown = {
        "look": {host: asked[host] for host in inside},
        "look_outside": {host: asked[host] for host in look if host not in inside},
        "look_hosts": inside or NOBODY,
        "outside_hosts": ["localhost"] if len(inside) < len(look) else NOBODY,
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
    for instance in _standing(fleet, scene, observed, ask) if goal != "rollback" else ():
        plan.glance(instance)
    return plan.requests(watch=ask.watch)


def _standing(fleet: Fleet, scene: Scene, observed: t.Collection[str], ask: Ask) -> set[Instance]:
    """Return the instances of which no step is expected: the ledger has all of their pairs where they are to go."""
    pairs = [fleet.model.pair(name) for name in observed]
    moving = [pair for pair in pairs if rank(scene.recorded.get(pair.id, "plain")) < rank(ask.until)]
    return {end for pair in pairs for end in pair.ends} - {end for pair in moving for end in pair.ends}


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
    found = _found(task_vars, before, check_mode=check_mode)
    fleet, scene, ask, goal = found.fleet, found.scene, found.ask, found.goal
    _refuse_foreign_store(fleet, scene)
    keep = keep_steps(task_vars)
    plan = _planned(task_vars, found, keep=keep)
    revoke = revocations(plan.removals, now=fleet.now)
    store, needing = _store_view(fleet, plan, found.seen, revoke)
    lost = _lost_with_the_ledger(scene, plan)
    doubt = fleet.ledger.doubt() if goal == "plan" or (check_mode and goal in ACTING) else ""
    content = plan_content(scene, ask, plan, store.changes, goal=goal) if goal in ("plan", *ACTING) else None
    papers = _settled(task_vars, found, content) if content else Papers()
    work = plan if goal in ACTING else Plan(plan.views, (), removals=plan.removals)
    handed = hand_out(dataclasses.replace(found, plan=work), store, needing=needing, revoke=revoke, keep=keep)
    carried = {
        **before,
        "staying": dict(fleet.staying),
        "digest": papers.digest or None,
        "ledger_lost": lost,
        "begun": dict(vars(papers.begun)) if papers.begun else None,
        "ask": ask_to_json(ask),
        "rounds": [round_to_json(this) for this in work.rounds],
        "material": {host: list(names) for host, names in work.material.items()},
        "environment": {host: list(names) for host, names in work.environment.items()},
        "births": handed.births,
        "removals": [removal.to_json() for removal in plan.removals],
        "forgetting": sorted({each.host for each in plan.forgetting}),
        "stuck": Progress(kept_back(scene, ask, plan)).to_json()["notes"],
    }
    run = {"plan": carried, "seen": found.seen, "progress": Progress(down=silent_servers(scene)).to_json()}
    facts = {"tls_run": told(run), "tls_plan": handed.facts, "tls_requests": told({})}
    return Decision(goal, ask, plan, scene, store, facts, fleet.today, papers, lost, doubt, fleet.now)


def _found(task_vars: t.Mapping[str, t.Any], before: Json, *, check_mode: bool) -> Work:
    """Return what was asked for and seen, and no plan yet; ``before`` is what the run carries of its beginning."""
    goal = str(before["goal"])
    fleet = gather(task_vars, known=before)
    asked = before["looking_at"]
    looked = Looks(task_vars).gather("tls_observed", asked, token="look", outside="tls_observed_outside")
    seen = merged(nothing_seen(), looked)
    observed, given = set(before["observed"]), {"looked": before["looking"], "check_mode": check_mode}
    scene = fleet.scene(observed, seen, **given)
    staying = instances_that_stay(scene, fleet.wishes, fleet.instances(observed), fleet.unread)
    if staying:
        fleet = fleet.blocking(staying)
        scene = fleet.scene(observed, seen, **given)
    ask = ask_from_json(before["ask"])
    if ask.by_wave and goal in ("plan", "rollout"):
        ask = dataclasses.replace(ask, scope=next_wave(scene, ask))
    return Work(fleet, scene, ask, seen, goal, check_mode)


def _planned(task_vars: t.Mapping[str, t.Any], found: Work, *, keep: float) -> Plan:
    """Return the plan with what leaves the hosts; ``keep`` is for how many days they keep what steps found."""
    fleet, scene, ask, goal = found.fleet, found.scene, found.ask, found.goal
    plan = make_rollback(scene, ask) if goal == "rollback" else make_plan(scene, ask)
    plan = dataclasses.replace(plan, removals=_removals(task_vars, fleet, ask, found.seen, goal=goal))
    if goal in ("plan", "rollout"):
        forgetting = plan_forgetting(scene, ask, plan.views, now=fleet.now, days=keep)
        plan = dataclasses.replace(plan, forgetting=forgetting)
    return plan


def _lost_with_the_ledger(scene: Scene, plan: Plan) -> int:
    """Return how many pairs hosts show beyond ``plain`` while the ledger knows of none at all."""
    if scene.recorded:
        return 0
    return sum(rank(view.stage) > rank("plain") for view in plan.views)


def _settled(task_vars: t.Mapping[str, t.Any], found: Work, content: Content) -> Papers:
    """Have the plan written, refused, or recorded as begun, and return what was written of it.

    This is the last moment at which nothing was changed yet.

    Raises:
        TlsError: somebody approved another plan.
    """
    fleet, goal = found.fleet, found.goal
    ledger, directory = fleet.ledger, task_vars.get("tls_report_directory")
    approved = approved_digest(task_vars.get("tls_approved_plan"))
    if approved and goal in ACTING:
        refuse_unapproved(approved, content, directory=directory, ledger=ledger)
    if does_nothing(content):
        return Papers()
    digest = digest_of(plan_bytes(content))
    if found.check_mode or (goal == "plan" and not directory):
        return Papers(digest)
    if goal == "plan":
        return Papers(digest, write_plan(content, str(directory)), write_sheet(found.scene, str(directory)))
    run = {"goal": goal, "until": content["until"], "plan": digest, "approved": approved or None}
    return Papers(digest, begun=ledger.begin(run, operator=fleet.operator, now=time.time()))


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
    signing = {authority.name for authority in fleet.wishes.authorities()}  # others' lists are signed by nobody
    issuers = {ca.sha256 for name, info in view.authorities.items() if name in signing for ca in info.issuing}
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
        name: roots_in(seen.inputs)
        for name, seen in scene.instances.items()
        if seen.generation and seen.inputs is not None and not fleet.lacks_list(Instance.parse(name))
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
