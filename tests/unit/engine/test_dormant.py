# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dormant pairs: a standby that refuses its port, and clients that do not run now."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._before import Before, may_start
from ansible_collections.connsec.tls.plugins.module_utils._core._briefing import step_spec
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import (
    SeenProbe,
    SeenProcess,
    SeenWatch,
    Socket,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import option_id
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import examine, stage_of
from ansible_collections.connsec.tls.plugins.module_utils._core._survey import Survey
from ansible_collections.connsec.tls.plugins.module_utils._core._trial import judge, silent_servers

from .scenes import MODEL, ask_for, at_stage, scene_of, showing, with_probe, with_sessions

REFUSED = SeenProbe("refused", "connection_refused", reason="connection refused")
CLIENTS = ("router@app1", "desk@app2")
LISTED = {"confserv": {"sessions": {"file": "/s"}}, "store": {"sessions": {"file": "/s"}}}


def model(server, **more):
    """Return the model with more fields of all connections to a server."""
    rows = [{**row, **(more if row["server"] == server else {})} for row in MODEL["connections"]]
    return {**MODEL, "connections": rows}


def standby(stage="switched", asleep=("cfg2",), dormant="standby", **more):
    """Return the fleet at a stage, with members of confserv that refuse their ports."""
    declared = {"dormant": dormant, **more} if dormant else {}
    scene = scene_of(model("confserv.default", **declared), LISTED)
    for pair in scene.model.pairs:  # its clear port is configured until it is enforced
        clear = {option_id(option): "2020" for option in scene.options("enforce", pair)}
        scene = showing(scene, pair.server.name, reads={**scene.seen(pair.server).reads, **clear})
    return falls_asleep(at_stage(scene, stage), *asleep)


def falls_asleep(scene, *hosts):
    for pair in scene.model.pairs:
        if pair.server.host in hosts:
            scene = with_probe(scene, pair, tls=REFUSED, clear="refused")
    return scene


def pairs_at(scene, host):
    return [pair for pair in scene.model.pairs if pair.server.host == host]


def views(scene, until="enforced"):
    return {view.pair.id: view for view in Survey(scene, ask_for(scene, until)).views()}


def targets(scene):
    return {step.target for this in make_plan(scene, ask_for(scene)).rounds for step in this.steps}


STAGES = ["plain", "presented", "permissive", "switched", "demanded", "enforced"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_standby_stands_where_its_settings_and_its_loaded_material_are(stage):
    scene = standby(stage)
    for pair in pairs_at(scene, "cfg2"):
        evidence = examine(scene, pair)
        assert stage_of(evidence) == stage
        assert not any(item.live for item in evidence)


NO_STANDBY = [
    ({"asleep": ("cfg1", "cfg2")}, "when no member answers, that is an outage"),
    ({"dormant": None}, "what is not called a standby has to answer"),
    ({"dormant": "scheduled"}, "of a scheduled connection the client sleeps, not the server"),
]


@pytest.mark.parametrize(("how", "because"), NO_STANDBY)
def test_a_port_that_is_refused_is_a_failure_of_any_other_pair(how, because):
    scene = standby("presented", **how)
    pair = pairs_at(scene, "cfg2")[0]
    assert views(scene)[pair.id].status == "failed", because
    assert "confserv@cfg2" in silent_servers(scene)


def test_a_member_that_answers_nobody_in_time_is_no_standby():
    scene = standby("presented", asleep=())
    pair = pairs_at(scene, "cfg2")[0]
    late = SeenProbe("timeout", "timeout", reason="does not answer in time")
    scene = with_probe(scene, pair, tls=late, clear="timeout")
    assert views(scene)[pair.id].status == "failed"


def test_a_standby_with_older_material_is_loaded_before_anything_is_said_of_it():
    scene = standby("enforced")
    scene = showing(scene, "confserv@cfg2", loaded=None, process=SeenProcess((1,), started=50.0))
    evidence = examine(scene, pairs_at(scene, "cfg2")[0])
    assert stage_of(evidence) == "plain"
    assert "step load confserv@cfg2" in targets(scene)


def test_a_standby_is_permitted_and_its_clients_switched_like_any_other():
    found = targets(standby("presented"))
    assert {"step permit-default confserv@cfg2", "step connect-confserv.default router@app1"} <= found


def test_a_standby_is_demanded_and_not_enforced_until_a_session_was_seen():
    scene = standby()
    found = targets(scene)
    assert {"step enforce-default confserv@cfg1", "step enforce-default confserv@cfg2"} & found == set()
    assert {"step demand-default confserv@cfg1", "step demand-default confserv@cfg2"} <= found
    why = views(standby("demanded"))[pairs_at(scene, "cfg2")[0].id]
    assert (why.status, why.goal, why.stage) == ("waiting", "demanded", "demanded")
    assert why.why.seen.endswith("is dormant (standby): no TLS session of it was seen so far, and no drill is named")
    assert "drill" in why.why.todo


def exercised_by_ledger(scene):
    return dataclasses.replace(scene, exercised={pair.id: "2026-11-20T02:00:00+00:00" for pair in scene.model.pairs})


def exercised_now(scene):
    return with_sessions(scene, *(pair for pair in scene.model.pairs if pair.server.component == "confserv"))


EXERCISED = [
    ("the ledger remembers", lambda: exercised_by_ledger(standby("demanded"))),
    ("sessions are seen now", lambda: exercised_now(standby("demanded", asleep=()))),
    ("a drill is named", lambda: standby("demanded", drill="failover of 20 November, A. Berg")),
]


@pytest.mark.parametrize("made", [made for _unused, made in EXERCISED], ids=[name for name, _unused in EXERCISED])
def test_a_dormant_pair_is_enforced_once_it_was_exercised(made):
    found = targets(made())
    assert {"step enforce-default confserv@cfg1", "step enforce-default confserv@cfg2"} <= found


def test_what_was_exercised_before_is_said_and_stays_unexercised_today():
    scene = exercised_by_ledger(standby("enforced"))
    switched = examine(scene, pairs_at(scene, "cfg2")[0])[4]
    assert not switched.live
    assert "2026-11-20" in switched.seen


def test_a_standby_that_nobody_can_use_is_closed_without_peers_to_watch():
    scene = exercised_by_ledger(standby("demanded"))
    ask = ask_for(scene)
    this = next(each for each in make_plan(scene, ask).rounds if each.phase == "enforce")
    quiet = {"confserv.default@cfg1": SeenWatch(), "confserv.default@cfg2": SeenWatch(listening=False)}
    for step in this.steps:
        if step.instance.component == "confserv":
            assert may_start(Before(scene, ask, this, watched=quiet), step) is None


def demand(scene, host):
    """Return what holds the demand of a member."""
    ask = ask_for(scene)
    this, step = next(
        (this, step)
        for this in make_plan(scene, ask).rounds
        for step in this.steps
        if step.target == "step demand-default confserv@%s" % host
    )
    held = may_start(Before(scene, ask, this), step)
    return held.evidence.seen if held else None


def test_a_standby_that_sleeps_is_demanded_by_its_settings_and_another_member_by_what_it_sees():
    assert demand(standby(), "cfg2") is None
    assert demand(standby(), "cfg1") == "no session of it was seen"


@pytest.mark.parametrize("phase", ["permit", "demand", "enforce"])
def test_a_failover_in_the_middle_of_a_round_is_not_the_fault_of_its_steps(phase):
    stages = {
        "permit": ("presented", "permissive"),
        "demand": ("switched", "demanded"),
        "enforce": ("demanded", "enforced"),
    }
    before, after = (exercised_by_ledger(standby(stage)) for stage in stages[phase])
    this = next(
        each
        for each in make_plan(before, ask_for(before)).rounds
        if each.phase == phase and any(step.instance.name == "confserv@cfg1" for step in each.steps)
    )
    awake = exercised_by_ledger(at_stage(standby("plain", asleep=()), stages[phase][1]))
    failed_over = falls_asleep(awake, "cfg1")
    started = [step for step in this.steps if step.instance.name == "confserv@cfg1"]
    verdict = judge(failed_over, before, this, started=started, failures={})
    assert (verdict.reverse, dict(verdict.notes), verdict.down) == ((), {}, frozenset())
    outage = falls_asleep(after, "cfg1", "cfg2")
    assert judge(outage, before, this, started=started, failures={}).notes


def test_a_client_that_goes_on_dialling_a_sleeping_standby_is_not_taken_back_for_it():
    before, after = standby("permissive"), standby("switched")
    this = next(each for each in make_plan(before, ask_for(before)).rounds if each.phase == "connect")
    tries = (Socket("10.0.0.4:4000", "10.0.0.2:2020", new=True), Socket("10.0.0.4:4001", "10.0.0.2:2021", new=True))
    after = showing(after, "desk@app2", sockets=tries)
    steps = [step for step in this.steps if step.target == "step connect-confserv.default desk@app2"]
    assert judge(after, before, this, started=steps, failures={}).reverse == ()
    look = LookPlan(after, token="x")
    look.settle(pairs_at(after, "cfg2")[0])
    assert look.hosts == []


def test_nobody_waits_for_the_ports_of_a_standby_and_a_member_that_serves_may_hand_over():
    scene = standby("presented")
    steps = {step.target: step for this in make_plan(scene, ask_for(scene)).rounds for step in this.steps}
    assert step_spec(scene, steps["step permit-default confserv@cfg2"]).wait_for == []
    rows = step_spec(scene, steps["step permit-default confserv@cfg1"]).wait_for
    assert [(row["port"], row["open"], row["insist"]) for row in rows] == [(2020, True, False), (2021, True, False)]
    rows = step_spec(scene, steps["step permit-sql store@db1"]).wait_for
    assert {row["insist"] for row in rows} == {True}


PROCESS = {"desk": {"environment": {"target": "file", "path": "/e", "libraries": ["openssl"]}}}


@pytest.mark.parametrize(("dormant", "rests"), [("scheduled", True), (None, False)])
def test_a_client_that_does_not_run_has_loaded_nothing_old_and_needs_no_reload(dormant, rests):
    declared = {"dormant": dormant} if dormant else {}
    whole = {**MODEL, "connections": [{**row, **declared} for row in MODEL["connections"]]}
    scene = at_stage(scene_of(whole, PROCESS), "switched")
    scene = showing(scene, "desk@app2", loaded=None, process=SeenProcess(), missing=())
    pair = scene.model.pair("desk@app2->store.sql@db1")
    found = {item.gate: item.holds for item in examine(scene, pair)}
    assert found.get("switched", False) is rests
    plan = make_plan(at_stage(scene_of(whole), "permissive"), ask_for(scene))
    step = next(s for this in plan.rounds for s in this.steps if s.target == "step connect-store.sql desk@app2")
    assert step_spec(scene, step).may_rest is rests


def test_a_standby_keeps_its_drift():
    scene = standby("enforced")
    pair = pairs_at(scene, "cfg2")[0]
    reads = {**scene.seen(pair.server).reads, option_id(scene.options("demand", pair)[0]): "no"}
    scene = showing(scene, "confserv@cfg2", reads=reads)
    assert stage_of(examine(scene, pair)) == "switched"
