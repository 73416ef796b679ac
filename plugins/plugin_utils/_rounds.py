# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rounds of a run: open, choose, judge, and take back; private to this collection.

The playbook runs the tasks; the core judges; what stands here asks hosts' variables for what was seen, and tells the
playbook what to do next, as facts of localhost.
"""

from __future__ import annotations

import dataclasses
import getpass
import re
import time
import typing as t

from ..module_utils._core._engine import Hold, Verdict, judge, may_start
from ..module_utils._core._entities import Instance, Pair
from ..module_utils._core._look import host_request, listener_id, settle_rows, watch_of
from ..module_utils._core._plan import Ask, Round, Step
from ..module_utils._core._scene import Scene
from ..module_utils._core._spec import step_spec
from ..module_utils._core._stages import examine, stage_of
from ._fleet import Fleet, gather, plain
from ._ledger import Ledger
from ._relay import (
    Json,
    Looks,
    ask_from_json,
    hold_from_json,
    hold_to_json,
    merged,
    recall,
    round_from_json,
    round_to_json,
    step_from_json,
    take,
)

#: What ansible-core 2.19 puts before the message of a module or an action.
_WRAPPED: t.Final = re.compile(r"^Task failed: (Module failed: |Action failed: )?")


@dataclasses.dataclass(frozen=True)
class Standing:
    """A run between two of its tasks."""

    fleet: Fleet
    plan: Json
    ask: Ask
    seen: Json
    state: Json
    scene: Scene

    def at(self, seen: Json) -> Standing:
        """Return where the run stands with this seen."""
        scene = dataclasses.replace(self.scene, instances=seen["instances"], probes=seen["probes"], lost=seen["lost"])
        return dataclasses.replace(self, seen=seen, scene=scene)

    def noted(
        self, notes: t.Mapping[str, Hold], *, passed: t.Iterable[str] = (), down: t.Iterable[str] = ()
    ) -> Standing:
        """Return where the run stands with these pairs kept back, and those that passed a gate no longer.

        The first reason stays: what held a pair back in a later round follows from it.
        """
        kept = {name: row for name, row in self.state["notes"].items() if name not in set(passed)}
        rows = {**{name: hold_to_json(hold) for name, hold in notes.items()}, **kept}
        state = {**self.state, "notes": rows, "down": sorted({*self.state["down"], *down})}
        return dataclasses.replace(self, state=state)

    def facts(self, **more: t.Any) -> Json:
        """Return the facts of localhost for the tasks that follow."""
        return {"tls_seen": self.seen, "tls_state": self.state, **more}


def stand(task_vars: t.Mapping[str, t.Any], *, check_mode: bool) -> Standing:
    """Return where the run stands, from the facts that its earlier tasks left."""
    plan, seen, state = (recall(task_vars, name) for name in ("tls_plan", "tls_seen", "tls_state"))
    fleet = gather(task_vars, known=plan["hosts"])
    everyone = fleet.instances(set(plan["observed"]))
    scene = fleet.scene(fleet.view(everyone), everyone, seen, check_mode=check_mode)
    return Standing(fleet, plan, ask_from_json(plan["ask"]), seen, state, scene)


def installed(standing: Standing, task_vars: t.Mapping[str, t.Any]) -> Standing:
    """Take in what the hosts show after material and environment were installed."""
    if standing.scene.check_mode:
        return standing
    looks = Looks(task_vars, token="material")
    new = looks.gather("tls_installed", standing.plan["material"])
    hostvars = task_vars["hostvars"]
    for host in standing.plan["environment"]:
        result = plain(hostvars[host].get("tls_environment_set") or {})
        if result.get("failed") or result.get("unreachable"):
            new["lost"][host] = "its environment could not be set: %s" % result.get("msg")
    return standing.at(merged(standing.seen, new))


def open_round(standing: Standing, number: int) -> Json:
    """Return the round's beginning: the listeners to watch, or at once the steps to start."""
    this = _round(standing, number)
    listeners: dict[str, list[tuple[Instance, str]]] = {}
    for step in this.steps:
        if step.stage == "enforce" and not step.reverse and _is_worth_watching(standing, step):
            listeners.setdefault(step.instance.host, []).extend((step.instance, name) for name in step.of)
    if not listeners:
        return choose(standing, number, watched={})
    return {
        **_closed(number),
        "watch": {
            host: {
                **host_request(standing.scene, host, instances=[server for server, _ in rows], pairs=()),
                "watch": watch_of(standing.scene, host, listeners=rows, seconds=standing.ask.watch),
                "token": "watch-%d" % number,
            }
            for host, rows in sorted(listeners.items())
        },
    }


def _is_worth_watching(standing: Standing, step: Step) -> bool:
    """Return whether strangers are all that could still hold the step back."""
    quiet: Json = {listener_id(step.instance, name): {"peers": []} for name in step.of}
    hold = may_start(standing.scene, standing.ask, step, down=standing.state["down"], watched=quiet)
    return hold is None and not standing.scene.check_mode


def _closed(number: int) -> Json:
    """Return a round in which nothing happens."""
    return {
        "number": number,
        "watch": {},
        "steps": {},
        "slots": 0,
        "look": {},
        "look_outside": {},
        "reverse": {},
        "look_again": {},
        "started": [],
        "notes": {},
    }


def after_watch(standing: Standing, task_vars: t.Mapping[str, t.Any], this_round: Json) -> tuple[Standing, Json]:
    """Take in what the watch saw and return the steps to start."""
    number = int(this_round["number"])
    looks = Looks(task_vars, token="watch-%d" % number)
    new = looks.gather("tls_watched", this_round["watch"])
    standing = standing.at(merged(standing.seen, new))
    return standing, choose(standing, number, watched=new["watch"])


def choose(standing: Standing, number: int, *, watched: t.Mapping[str, t.Any]) -> Json:
    """Return the steps of the round that may start, and what to look at after them."""
    this = _round(standing, number)
    holds: dict[str, Hold] = {}
    started = []
    for step in this.steps:
        hold = may_start(standing.scene, standing.ask, step, down=standing.state["down"], watched=watched)
        if hold is None:
            started.append(step)
        else:
            holds.update(dict.fromkeys(step.pairs, hold))
    if this.together and holds:
        reason = next(iter(holds.values()))
        holds.update({name: reason for step in this.steps for name in step.pairs})
        started = []
    if not started:
        return {**_closed(number), "notes": {name: hold_to_json(hold) for name, hold in holds.items()}}
    steps = _specs(standing, this, started, number)
    look = {} if standing.scene.check_mode else _looks(standing, this, started, steps, token="round-%d" % number)
    outside = {host for host in look if standing.ask.hosts is not None and host not in standing.ask.hosts}
    return {
        **_closed(number),
        "steps": steps,
        "slots": max(len(rows) for rows in steps.values()),
        "look": {host: request for host, request in look.items() if host not in outside},
        "look_outside": {host: look[host] for host in sorted(outside)},
        "started": round_to_json(dataclasses.replace(this, steps=tuple(started)))["steps"],
        "notes": {name: hold_to_json(hold) for name, hold in holds.items()},
    }


def _specs(standing: Standing, this: Round, started: t.Sequence[Step], number: int) -> dict[str, list[Json]]:
    """Return each host's steps; a host with a single one looks in the same round trip."""
    steps: dict[str, list[Json]] = {}
    by_host: dict[str, list[Step]] = {}
    for step in started:
        by_host.setdefault(step.instance.host, []).append(step)
    for host, mine in sorted(by_host.items()):
        steps[host] = [step_spec(standing.scene, step) for step in mine]
        if len(mine) == 1 and not this.together and not standing.scene.check_mode:
            steps[host][0]["look"] = _look_of_step(standing, mine[0], token="round-%d" % number)
    return steps


def _look_of_step(standing: Standing, step: Step, *, token: str) -> Json:
    pairs = _pairs(standing, step) if step.stage == "connect" else []
    request = host_request(standing.scene, step.instance.host, instances=[step.instance], pairs=pairs)
    if step.stage == "connect" and not step.reverse:
        request["settle"] = settle_rows(
            standing.scene, pairs, host=step.instance.host, seconds=max(standing.ask.watch, 1.0)
        )
    return {**request, "token": token}


def _looks(
    standing: Standing, this: Round, started: t.Sequence[Step], steps: t.Mapping[str, list[Json]], *, token: str
) -> dict[str, Json]:
    """Return who looks after the steps: the clients' hosts, and servers that list their sessions."""
    alone = {host for host, rows in steps.items() if "look" in rows[0]}
    wanted_pairs: dict[str, dict[str, Pair]] = {}
    wanted_ends: dict[str, dict[str, Instance]] = {}
    for step in started:
        for pair in _pairs(standing, step):
            done = step.stage == "connect" and step.instance.host in alone and not this.together
            if not done:
                wanted_pairs.setdefault(pair.client.host, {})[pair.id] = pair
            if step.stage in ("connect", "enforce", "demand") and standing.scene.kinds[pair.server.name].sessions:
                wanted_ends.setdefault(pair.server.host, {})[pair.server.name] = pair.server
        if step.instance.host not in alone:
            wanted_ends.setdefault(step.instance.host, {})[step.instance.name] = step.instance
    return {
        host: {
            **host_request(
                standing.scene,
                host,
                instances=wanted_ends.get(host, {}).values(),
                pairs=wanted_pairs.get(host, {}).values(),
                thorough=this.phase in ("enforce", "flip") and not any(step.reverse for step in started),
            ),
            "settle": settle_rows(
                standing.scene, wanted_pairs.get(host, {}).values(), host=host, seconds=max(standing.ask.watch, 1.0)
            )
            if this.phase in ("connect", "flip")
            else [],
            "token": token,
        }
        for host in sorted({*wanted_pairs, *wanted_ends})
        if host not in standing.scene.lost
    }


def judge_round(standing: Standing, task_vars: t.Mapping[str, t.Any], this_round: Json) -> tuple[Standing, Json]:
    """Judge the steps of the round by what was seen, and return what has to be taken back."""
    held = {name: hold_from_json(row) for name, row in this_round["notes"].items()}
    if not this_round["started"] or standing.scene.check_mode:
        return _record(standing.noted(held), held), this_round
    number = int(this_round["number"])
    this = dataclasses.replace(
        _round(standing, number), steps=tuple(step_from_json(row) for row in this_round["started"])
    )
    failures = _failures(task_vars, this.steps)
    after = standing.at(merged(standing.seen, _answers(task_vars, this_round, this, failures)))
    verdict = judge(after.scene, standing.scene, this, started=this.steps, failures=failures)
    failed = {step.instance.name for step, _ in verdict.reverse}
    moved = {name for step in this.steps for name in step.pairs}
    passed = moved - set(verdict.notes)
    after = after.noted({**held, **verdict.notes}, passed=passed, down={*verdict.down, *failed})
    return _record(after, moved), {**this_round, **_taking_back(after, verdict, number)}


def _answers(task_vars: t.Mapping[str, t.Any], this_round: Json, this: Round, failures: t.Mapping[str, str]) -> Json:
    """Return what the hosts showed after their steps; one whose step failed is judged by that, not held to be lost."""
    token = "round-%d" % this_round["number"]
    looks = Looks(task_vars, token=token)
    new = looks.gather("tls_looked", [*this_round["look"], *this_round["look_outside"]], outside="tls_looked_outside")
    failed = {step.instance.host for step in this.steps if step.target in failures}
    for host, rows in this_round["steps"].items():
        if "look" in rows[0] and host not in failed:
            take(new, host, plain(task_vars["hostvars"][host].get("tls_finished") or {}), token=token)
    return new


def _failures(task_vars: t.Mapping[str, t.Any], steps: t.Sequence[Step]) -> dict[str, str]:
    found = {}
    for step in steps:
        said = plain(task_vars["hostvars"][step.instance.host].get("tls_failures") or {})
        if step.target in said:
            found[step.target] = _WRAPPED.sub("", str(said[step.target])).strip()
    return found


def _taking_back(standing: Standing, verdict: Verdict, number: int) -> Json:
    reverse: dict[str, list[Json]] = {}
    ends: dict[str, dict[str, Instance]] = {}
    pairs: dict[str, dict[str, Pair]] = {}
    for step, _evidence in reversed(verdict.reverse):
        back = dataclasses.replace(step, reverse=True)
        reverse.setdefault(step.instance.host, []).append(step_spec(standing.scene, back))
        ends.setdefault(step.instance.host, {})[step.instance.name] = step.instance
        for pair in _pairs(standing, step):
            pairs.setdefault(pair.client.host, {})[pair.id] = pair
    again = {
        host: {
            **host_request(
                standing.scene, host, instances=ends.get(host, {}).values(), pairs=pairs.get(host, {}).values()
            ),
            "token": "again-%d" % number,
        }
        for host in sorted({*ends, *pairs})
        if host not in standing.scene.lost and (standing.ask.hosts is None or host in standing.ask.hosts)
    }
    return {"reverse": reverse, "look_again": again}


def after_reverse(standing: Standing, task_vars: t.Mapping[str, t.Any], this_round: Json) -> Standing:
    """Take in what the hosts show after steps were taken back, and what a refused reverse said."""
    looks = Looks(task_vars, token="again-%d" % this_round["number"])
    new = looks.gather("tls_looked_again", this_round["look_again"])
    standing = standing.at(merged(standing.seen, new))
    refused = {}
    for host, rows in this_round["reverse"].items():
        results = plain(task_vars["hostvars"][host].get("tls_reversed") or {}).get("results") or []
        for row, result in zip(rows, results, strict=False):
            if result.get("failed") or result.get("unreachable"):
                refused.update(dict.fromkeys(row["pairs"], _WRAPPED.sub("", str(result.get("msg")))))
    notes = {}
    for name, said in refused.items():
        hold = hold_from_json(standing.state["notes"][name])
        seen = "%s; and it could not be taken back: %s" % (hold.evidence.seen, said)
        notes[name] = Hold(dataclasses.replace(hold.evidence, seen=seen), waiting=False)
    standing = standing.noted(notes, passed=notes)
    moved = {name for rows in this_round["reverse"].values() for row in rows for name in row["pairs"]}
    return _record(standing, moved)


def _record(standing: Standing, pair_ids: t.Iterable[str]) -> Standing:
    """Write the stages of these pairs to the ledger, where they are new."""
    if standing.scene.check_mode:
        return standing
    rows = {}
    for name in pair_ids:
        evidence = examine(standing.scene, standing.scene.model.pair(name))
        if evidence[-1].fault in ("unreachable", "unseen"):
            continue
        rows[name] = {
            "stage": stage_of(evidence),
            "status": "moving",
            "evidence": [vars(item) for item in evidence],
        }
    Ledger(standing.fleet.paths.ledger).record_stages(rows, operator=getpass.getuser(), now=time.time())
    return standing


def _round(standing: Standing, number: int) -> Round:
    return round_from_json(standing.plan["rounds"][number])


def _pairs(standing: Standing, step: Step) -> list[Pair]:
    return [standing.scene.model.pair(name) for name in step.pairs]
