# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rounds of a run: opened, judged, and taken back where a gate says so; private to this collection.

The playbook runs the tasks; the core judges; what stands here asks hosts' variables for what was seen, and tells the
playbook what to do next, as facts of localhost.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import time
import typing as t

from ..module_utils._core._before import Before, may_start
from ..module_utils._core._briefing import step_spec
from ..module_utils._core._chain import Head
from ..module_utils._core._entities import Instance, Pair
from ..module_utils._core._evidence import Fault, fails
from ..module_utils._core._few import few
from ..module_utils._core._hold import Hold, refuted
from ..module_utils._core._look import LookPlan, is_on_tls, lists_sessions
from ..module_utils._core._observed import SeenWatch, parse_watch
from ..module_utils._core._scene import Scene
from ..module_utils._core._stages import examine, stage_of
from ..module_utils._core._steps import Round, Step
from ..module_utils._core._strangers import ends_plaintext, listener_id
from ..module_utils._core._survey import Ask
from ..module_utils._core._trial import judge, silent_servers
from ._fleet import Fleet, gather
from ._relay import (
    BIRTH,
    Json,
    Looks,
    OpenRound,
    Progress,
    ask_from_json,
    evidence_to_json,
    merged,
    nothing_seen,
    observation_of,
    recall,
    round_from_json,
    told,
    why_lost,
)

#: What ansible-core 2.19 puts before the message of a module or an action.
_WRAPPED: t.Final = re.compile(r"^Task failed: (Module failed: |Action failed: )?")
#: Seconds for which sessions are waited for at most, where ``tls_watch`` is not longer: a client on a busy host takes
#: its time, and taking its step back for that would be worse than waiting. Who has a session ends the wait.
_SETTLE: t.Final = 5.0


@dataclasses.dataclass(frozen=True)
class Standing:
    """A run between two of its tasks."""

    fleet: Fleet
    plan: Json
    ask: Ask
    seen: Json
    progress: Progress
    scene: Scene

    @property
    def rounds(self) -> list[Round]:
        """All rounds of the plan."""
        return [round_from_json(row) for row in self.plan["rounds"]]

    def at(self, new: Json) -> Standing:
        """Return where the run stands with something more seen."""
        seen = merged(self.seen, new)
        return dataclasses.replace(self, seen=seen, scene=self.fleet.seeing(self.scene, seen))

    def noting(self, notes: t.Mapping[str, Hold], **more: t.Iterable[str]) -> Standing:
        """Return where the run stands with these pairs kept back; see :meth:`Progress.noting`."""
        return dataclasses.replace(self, progress=self.progress.noting(notes, **more))

    def facts(self, this: OpenRound | None = None) -> Json:
        """Return the facts of localhost for the tasks that follow."""
        run: Json = {"plan": self.plan, "seen": self.seen, "progress": self.progress.to_json()}
        if this is None:
            return {"tls_run": told(run)}
        return {"tls_run": told({**run, "round": this.to_json()}), "tls_round": this.shown(self.ask.hosts)}


def stand(task_vars: t.Mapping[str, t.Any], *, check_mode: bool) -> tuple[Standing, OpenRound | None]:
    """Return where the run stands, and the round at hand, from what its earlier tasks left."""
    run = recall(task_vars)
    plan = run["plan"]
    fleet = gather(task_vars, known=plan)
    scene = fleet.scene(set(plan["observed"]), run["seen"], looked=plan["looking"], check_mode=check_mode)
    scene = dataclasses.replace(scene, head=Head.parse(plan.get("begun")))
    progress = Progress.from_json(run["progress"])
    standing = Standing(fleet, plan, ask_from_json(plan["ask"]), run["seen"], progress, scene)
    return standing, OpenRound.from_json(run["round"]) if run.get("round") else None


def installed(standing: Standing, task_vars: t.Mapping[str, t.Any]) -> Standing:
    """Take in what the store and the hosts say after material and environment were installed."""
    if standing.scene.check_mode:
        return standing
    looks = Looks(task_vars)
    plan = standing.plan
    made = looks.of("localhost", "tls_made")
    if not made.get("failed"):
        standing = standing.at(looks.gather("tls_installed", plan["material"], token="material"))
    standing = standing.at(looks.gather("tls_environment_seen", plan["environment"], token="environment"))
    ended = {"removals": _removed(plan["removals"], looks), "kept": _kept(plan, looks)}
    standing = dataclasses.replace(standing, plan={**plan, **ended})
    notes: dict[str, Hold] = {}
    if made.get("failed"):
        names = {name for names in plan["material"].values() for name in names}
        notes.update(_without(standing, names, "the store holds what %s need" % few(names), made, "material"))
    for host in plan["material"]:
        for name, why in (looks.of(host, "tls_installed").get("failures") or {}).items():
            expected = "what %s needs is installed" % name
            notes.update(_without(standing, [name], expected, {"msg": why}, "material"))
    for name in sorted({name for names in plan["material"].values() for name in names}):
        refused = made.get("refused") or {}
        why = next((refused[each] for each in sorted(standing.scene.wanted[name].identities) if each in refused), None)
        if why:
            notes.update(_without(standing, [name], "its certificate is issued", {"msg": why}, "material"))
    for host, names in plan["environment"].items():
        result = looks.of(host, "tls_environment_set")
        if _has_failed(result):
            notes.update(_without(standing, names, "%s have their environment" % few(names), result, "environment"))
    return standing.noting(notes)


def born(standing: Standing, task_vars: t.Mapping[str, t.Any]) -> tuple[Standing, Json]:
    """Take in the keys that hosts have made, and return with it what they ask for, by identity."""
    looks = Looks(task_vars)
    asked: Json = {}
    seen = dict(standing.seen["instances"])
    notes: dict[str, Hold] = {}
    for host, births in standing.plan["births"].items():
        result = looks.of(host, "tls_born")
        answered = result.get("token") == BIRTH
        for identity, name in births.items():
            row = (result.get("keys") or {}).get(identity) if answered else None
            if row:
                asked[identity] = {field: row[field] for field in ("request", "spki_sha256", "held")}
                seen[name] = {**(seen.get(name) or {}), "keys": row["held"]}
                continue
            why = (result.get("failures") or {}).get(identity) if answered else why_lost(result)
            notes.update(_without(standing, [name], "the key of %s is born" % identity, {"msg": why}, "material"))
    standing = standing.at({**nothing_seen(), "instances": seen}).noting(notes)
    return standing, asked


def _kept(plan: Json, looks: Looks) -> dict[str, str]:
    """Return why what steps kept could not be taken away, by the step's logical name, or the host."""
    found: dict[str, str] = {}
    for host in plan["forgetting"]:
        result = looks.of(host, "tls_forgotten")
        failures = result.get("failures") or {}
        found.update({target: words_of(why) for target, why in failures.items()})
        if not failures and (_has_failed(result) or not result):
            found["what steps kept on %s" % host] = words_of(result.get("msg") or "its host did not answer")
    return found


def _removed(removals: t.Sequence[Json], looks: Looks) -> list[Json]:
    """Return the removals with what came of them: ``failed`` says why one did not come about, empty if it did."""
    rows = []
    for row in removals:
        result = looks.of(row["host"], "tls_removed") if not row["held"] else {}
        why = (result.get("failures") or {}).get(row["name"], "")
        if not (row["held"] or why) and (_has_failed(result) or not result):
            why = "" if result.get("failures") else str(result.get("msg") or "its host did not answer")
        rows.append({**row, "failed": words_of(why)})
    return rows


def _without(
    standing: Standing, names: t.Collection[str], expected: str, result: Json, fault: Fault
) -> dict[str, Hold]:
    """Return that the pairs of these instances do not go on, for a task failed that prepares them."""
    hold = refuted(fails("presented", expected, words_of(result.get("msg")), fault))
    pairs = (pair for pair in standing.scene.model.pairs if not pair.blocked)
    return {pair.id: hold for pair in pairs if {end.name for end in pair.ends} & set(names)}


# ---------------------------------------------------------------- opening


def open_round(standing: Standing, number: int, *, watched: t.Mapping[str, t.Any]) -> tuple[Standing, OpenRound]:
    """Return the next round, from this number on, in which something may start; what is held on the way is noted.

    Where listeners of it have to be watched first and were not, the round says which, and nothing of it starts yet.
    Those of the rounds that follow are watched along with them, for they come next if this one is held.

    Args:
        standing: where the run stands.
        number: of the first round to open.
        watched: what has just been watched, by listener, as observed.
    """
    if standing.scene.check_mode:
        return _open_phase(standing, number)
    rounds = standing.rounds
    for at in range(number, len(rounds)):
        watch = _watch_first(standing, at, watched)
        if watch:
            return standing, OpenRound(at, watch=watch)
        started, holds = _choose(standing, rounds[at], watched)
        standing = _record(standing.noting(holds), holds)
        if started:
            following = rounds[at + 1] if at + 1 < len(rounds) else None
            return standing, _opened(standing, at, rounds[at], started, following)
    return standing, OpenRound(len(rounds))


def _open_phase(standing: Standing, number: int) -> tuple[Standing, OpenRound]:
    """Return the rounds of the next phase as one, the last of them: in check mode no step waits for another's gate.

    Phases stay apart, for steps of different ones may edit the same option.
    """
    rounds = standing.rounds
    while number < len(rounds):
        _phase, alike = next(itertools.groupby(rounds[number:], lambda this: this.phase))
        started: list[Step] = []
        for this in alike:
            steps, holds = _choose(standing, this, {})
            standing, number = standing.noting(holds), number + 1
            started += steps
        if started:
            return standing, _opened(standing, number - 1, rounds[number - 1], tuple(started), None)
    return standing, OpenRound(len(rounds))


def after_watch(standing: Standing, task_vars: t.Mapping[str, t.Any], this: OpenRound) -> tuple[Standing, OpenRound]:
    """Take in what the watch saw and return the steps to start."""
    new = Looks(task_vars).gather("tls_watched", this.watch, token="watch-%d" % this.number)
    # one whose watch gave no answer counts as watched by nobody, which holds its step; it is not asked again
    asked = _closing(standing, standing.rounds[this.number :])
    silent = {listener_id(*row): {"unreadable": "its host did not answer"} for row in asked}
    demands: Json = {step.target: {} for step in standing.rounds[this.number].steps}
    return open_round(standing.at(new), this.number, watched={**silent, **demands, **new["watch"]})


def _watch_first(standing: Standing, number: int, watched: t.Mapping[str, t.Any]) -> dict[str, Json]:
    """Return what hosts watch before a round may start; nothing if all of that was seen, or would not help.

    A clear listener is watched for strangers. A client that connects now and then is watched presenting its
    certificate.
    """
    rounds, scene = standing.rounds, standing.scene
    this, plan = rounds[number], LookPlan(scene, token="watch-%d" % number)
    unwatched = any(listener_id(*row) not in watched for row in _closing(standing, rounds[number : number + 1]))
    if unwatched and _is_worth_watching(standing, this):
        for server, listener in _closing(standing, rounds[number:]):
            plan.see(server)
            plan.watch(server, listener)
        return plan.requests(watch=standing.ask.watch)
    before = _before(standing, this, {})
    for step in this.steps:
        hold = may_start(before, step) if step.stage == "demand" and step.target not in watched else None
        if hold is not None and hold.evidence.fault == "unexercised":
            plan.see(step.instance)
            for pair in _pairs(scene, step):
                plan.settle(pair)
            for name in step.of:  # so that sessions are listed only after clients were seen
                plan.watch(step.instance, name)
    seconds = max(standing.ask.watch, _SETTLE)
    return plan.requests(watch=seconds, settle=seconds)


def _closing(standing: Standing, rounds: t.Iterable[Round]) -> list[tuple[Instance, str]]:
    """Return the clear listeners that the steps of these rounds would close and that can be watched.

    Those are TCP's, as far as their hosts answer.
    """
    scene = standing.scene
    steps = (step for this in rounds for step in this.steps if not step.reverse)
    rows = [(s.instance, name) for s in steps if s.instance.host not in scene.lost for name in _closes(scene, s)]
    components = scene.model.components
    return [(end, name) for end, name in rows if not components[end.component].listeners[name].is_udp]


def _closes(scene: Scene, step: Step) -> list[str]:
    """Return the listeners of the step's instance that it closes to plaintext."""
    closing = [pair for pair in map(scene.model.pair, step.pairs) if ends_plaintext(scene, step.stage, pair)]
    own = sorted({pair.listener.name for pair in closing})
    return list(step.of) if closing and step.stage != "connect" else own


def _is_worth_watching(standing: Standing, this: Round) -> bool:
    """Return whether strangers are all that could still hold a step of the round back."""
    quiet = {
        listener_id(step.instance, name): SeenWatch()
        for step in this.steps
        for name in {*step.of, *_closes(standing.scene, step)}
    }
    before = _before(standing, this, quiet)
    return any(may_start(before, step) is None for step in this.steps)


def _before(standing: Standing, this: Round, watched: t.Mapping[str, SeenWatch]) -> Before:
    down, now = standing.progress.down, float(standing.fleet.now)
    return Before(standing.scene, standing.ask, this, down, watched, now)


def _choose(
    standing: Standing, this: Round, watched: t.Mapping[str, t.Any]
) -> tuple[tuple[Step, ...], dict[str, Hold]]:
    """Return the steps of the round that may start, and what holds the pairs of the others."""
    peers = {name: parse_watch(row) for name, row in watched.items()}
    before = _before(standing, this, peers)
    held = {step: may_start(before, step) for step in this.steps}
    holds = {
        pair.id: hold.for_pair(pair) for step, hold in held.items() if hold for pair in _pairs(standing.scene, step)
    }
    if this.together and holds:
        common = next(iter(holds.values()))
        return (), {name: holds.get(name, common) for step in this.steps for name in step.pairs}
    return tuple(step for step, hold in held.items() if hold is None), holds


def _opened(
    standing: Standing, number: int, this: Round, started: tuple[Step, ...], following: Round | None
) -> OpenRound:
    """Return the round with what each host does and looks at."""
    scene = standing.scene
    specs: dict[str, list[Json]] = {}
    for step in started:
        specs.setdefault(step.instance.host, []).append(step_spec(scene, step).to_json())
    edits = {host: rows for host, rows in specs.items() if any(row["state"] == "tasks" for row in rows)}
    steps = {host: rows for host, rows in specs.items() if host not in edits}
    opened = OpenRound(number, started, steps, edits)
    if scene.check_mode:
        return opened
    here, there = LookPlan(scene, token=opened.token), LookPlan(scene, token=opened.token)
    at_once = set() if this.together else set(steps)
    thorough = this.phase in ("demand", "enforce", "flip") and not started[0].reverse
    for step in started:
        _look_after(scene, step, here if step.instance.host in at_once else there, there, thorough=thorough)
    for server, listener in _closing(standing, [following] if following else []):
        there.watch(server, listener)
    seconds = {"watch": standing.ask.watch, "settle": max(standing.ask.watch, _SETTLE)}
    return dataclasses.replace(opened, stepping=here.requests(**seconds), look=there.requests(**seconds))


def _look_after(scene: Scene, step: Step, here: LookPlan, there: LookPlan, *, thorough: bool) -> None:
    """Add what has to be looked at after a step.

    Args:
        scene: what is known.
        step: the step.
        here: what the step's own host looks at; in the round trip of the step, where that can be.
        there: what is looked at afterwards.
        thorough: whether what has to be refused is tried.
    """
    here.see(step.instance)
    for pair in _pairs(scene, step):
        if step.stage == "connect" and not step.reverse:
            second = scene.shape(pair) == "second_listener"
            (here if second and not pair.fronted else there).dial(pair)
            (here if second else there).settle(pair)
            if lists_sessions(scene, pair.server):
                there.see(pair.server)
            continue
        there.dial(pair, thorough=thorough)
        if not scene.ours(pair.client):
            there.see(pair.server)
        if not step.reverse and is_on_tls(scene, pair):
            there.settle(pair)
            there.see(*(end for end in pair.ends if end != step.instance))
    for pair in scene.served(step.instance):  # what it serves besides has to answer as before
        if pair.id not in step.pairs:
            there.dial(pair)


# ---------------------------------------------------------------- judging


def judge_round(standing: Standing, task_vars: t.Mapping[str, t.Any], this: OpenRound) -> tuple[Standing, OpenRound]:
    """Judge the steps of the round by what was seen; return what has to be taken back, or else the next round."""
    if standing.scene.check_mode or not this.started:
        return open_round(standing, this.number + 1, watched={})
    looks = Looks(task_vars)
    failures = _failures(looks, this.started)
    new = _answers(looks, this, failures)
    after = standing.at(new)
    of = standing.rounds[this.number]
    verdict = judge(after.scene, standing.scene, of, started=this.started, failures=failures)
    moved = {name for step in this.started for name in step.pairs}
    after = after.noting(verdict.notes, passed=moved - set(verdict.notes), down=verdict.down)
    kept = tuple(sorted(verdict.notes))
    if verdict.reverse:
        taking = _taking_back(after, verdict.reverse, this)
        return _record(after, moved), dataclasses.replace(taking, watched=new["watch"], kept=kept)
    opened, following = open_round(_record(after, moved), this.number + 1, watched=new["watch"])
    return opened, dataclasses.replace(following, kept=kept)


def _answers(looks: Looks, this: OpenRound, failures: t.Mapping[str, str]) -> Json:
    """Return what the hosts showed after their steps.

    A host that looked while it did its steps may look once more for another's: the later look has the last word. One
    whose step failed is judged by that, and not held to be lost.
    """
    late = looks.gather("tls_looked", this.look, token=this.token, outside="tls_looked_outside")
    early = looks.gather("tls_stepped", this.stepping, token=this.token)
    failed = {Instance.parse(target.split()[-1]).host for target in failures}
    early["lost"] = {host: why for host, why in early["lost"].items() if host not in failed}
    return merged(early, late)


def _failures(looks: Looks, steps: t.Iterable[Step]) -> dict[str, str]:
    """Return what the steps that failed said, by target."""
    found: dict[str, str] = {}
    for step in steps:
        host = step.instance.host
        said = {**(looks.of(host, "tls_stepped").get("failures") or {}), **looks.of(host, "tls_failures")}
        if step.target in said:
            found[step.target] = words_of(said[step.target])
    return found


def words_of(message: t.Any) -> str:
    return _WRAPPED.sub("", str(message)).strip()


# ---------------------------------------------------------------- taking back


def _taking_back(standing: Standing, steps: t.Iterable[Step], this: OpenRound) -> OpenRound:
    scene = standing.scene
    reverse: dict[str, list[Json]] = {}
    again = LookPlan(scene, token="again-%d" % this.number)
    for step in steps:
        reverse.setdefault(step.instance.host, []).append(step_spec(scene, step.reversed(), own=True).to_json())
        again.see(step.instance)
        for pair in (*_pairs(scene, step), *scene.served(step.instance)):
            again.dial(pair)
    return dataclasses.replace(this, reverse=reverse, again=again.requests())


def after_reverse(standing: Standing, task_vars: t.Mapping[str, t.Any], this: OpenRound) -> tuple[Standing, OpenRound]:
    """Take in what the hosts show after steps were taken back, and what a refused reverse said; open the next round."""
    looks = Looks(task_vars)
    outside = set() if standing.ask.hosts is None else set(this.again) - standing.ask.hosts
    standing = standing.at(looks.gather("tls_looked_again", set(this.again) - outside, token="again-%d" % this.number))
    notes: dict[str, Hold] = {}
    for host, rows in this.reverse.items():
        result = looks.of(host, "tls_reversed")
        said = result.get("failures") or {}
        for row in rows:
            why = said.get(row["target"]) or (None if said or not _has_failed(result) else result.get("msg"))
            if why:
                notes.update(_could_not_go_back(standing, row["pairs"], words_of(why)))
    down = silent_servers(standing.scene) & {row["instance"] for rows in this.reverse.values() for row in rows}
    standing = standing.noting(notes, passed=notes, down=down)
    moved = {name for rows in this.reverse.values() for row in rows for name in row["pairs"]}
    return open_round(_record(standing, moved), this.number + 1, watched=this.watched)


def _has_failed(result: Json) -> bool:
    return bool(result.get("failed") or result.get("unreachable"))


def _could_not_go_back(standing: Standing, pairs: t.Iterable[str], why: str) -> dict[str, Hold]:
    notes = {}
    for name in pairs:
        evidence = standing.progress.notes[name].evidence
        seen = "%s; and it could not be taken back: %s" % (evidence.seen, why)
        notes[name] = Hold(dataclasses.replace(evidence, seen=seen), waiting=False)
    return notes


def _record(standing: Standing, pair_ids: t.Iterable[str]) -> Standing:
    """Write the stages of these pairs to the ledger, where they are new."""
    if standing.scene.check_mode:
        return standing
    rows = {}
    for name in pair_ids:
        evidence = examine(standing.scene, standing.scene.model.pair(name))
        if evidence[-1].fault not in ("unreachable", "unseen"):
            rows[name] = {
                "stage": stage_of(evidence),
                "status": "moving",
                "evidence": [evidence_to_json(item) for item in evidence],
                "observation": observation_of(standing.scene.model.pair(name), standing.seen),
            }
    back = standing.plan["goal"] == "rollback"
    fleet = standing.fleet
    fleet.ledger.record_stages(rows, operator=fleet.operator, now=time.time(), back=back)
    return standing


def _pairs(scene: Scene, step: Step) -> list[Pair]:
    return [scene.model.pair(name) for name in step.pairs]
