# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan holds, from what the fleet shows."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import Noted, SeenHost, clock_off
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import option_id, tls_probe
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import examine, stage_of

from .scenes import (
    DECIDED,
    answers,
    ask_for,
    at_stage,
    scene_of,
    showing,
    with_connection,
    with_options,
    with_probe,
)

ROUTER_CFG1 = "router@app1->confserv.default@cfg1"
ROUTER_DB = "router@app1->store.sql@db1"
DESK_DB = "desk@app2->store.sql@db1"


def phases(plan):
    return [this.phase for this in plan.rounds]


def targets(plan):
    return [sorted(step.target for step in this.steps) for this in plan.rounds]


@pytest.mark.parametrize("stage", ["plain", "presented", "permissive", "switched", "demanded", "enforced"])
def test_a_pair_stands_where_the_fleet_shows_it(stage):
    scene = at_stage(scene_of(), stage)
    assert stage_of(examine(scene, scene.model.pair(ROUTER_CFG1))) == stage


def test_a_first_rollout_goes_from_servers_to_clients_to_demands_to_enforcement():
    scene = at_stage(scene_of(), "plain")
    plan = make_plan(scene, ask_for(scene))
    assert phases(plan) == ["permit", "permit", "connect", "connect", "demand", "demand", "enforce", "enforce"]
    assert sorted(plan.material) == ["app1", "app2", "cfg1", "cfg2", "db1"]


def test_members_of_a_component_never_share_a_round():
    scene = at_stage(scene_of(), "plain")
    for this in make_plan(scene, ask_for(scene)).rounds:
        components = [step.instance.component for step in this.steps]
        assert len(components) == len(set(components))


def test_nothing_is_due_on_a_fleet_that_is_enforced():
    scene = at_stage(scene_of(), "enforced")
    plan = make_plan(scene, ask_for(scene))
    assert plan.empty
    assert {view.status for view in plan.views} == {"done"}


def test_enforcement_waits_for_the_wave_of_the_last_client():
    scene = at_stage(scene_of(), "plain")
    plan = make_plan(scene, ask_for(scene, waves=[1]))
    views = {view.pair.id: view for view in plan.views}
    assert views[ROUTER_DB].goal == "switched"
    assert "waiting for wave 2" in views[ROUTER_DB].why.seen
    assert views[ROUTER_CFG1].goal == "enforced"
    assert not any("enforce-sql store@db1" in row for this in targets(plan) for row in this)


def test_the_wave_of_the_last_client_enforces_for_all():
    scene = at_stage(scene_of(), "switched")
    scene = at_stage(scene, "enforced", *[pair for pair in scene.model.pairs if pair.server.component == "confserv"])
    plan = make_plan(scene, ask_for(scene, waves=[2]))
    assert targets(plan) == [["step enforce-sql store@db1"]]


def test_a_soak_of_which_nothing_was_collected_keeps_listeners_open():
    scene = at_stage(scene_of(), "switched")
    plan = make_plan(scene, ask_for(scene, soak=604800.0))
    assert {step.stage for this in plan.rounds for step in this.steps} == {"demand"}, "who is on TLS may be asked"
    waits = {view.why.seen for view in plan.views if view.why}
    assert waits == {"nobody has collected them so far"}


def test_a_client_that_was_set_back_is_switched_again_and_nothing_else_is_touched():
    scene = at_stage(scene_of(), "enforced")
    pair = scene.model.pair(ROUTER_DB)
    reads = {**scene.instances["router@app1"].reads, option_id(scene.options("connect", pair)[0]): "no"}
    scene = showing(scene, "router@app1", reads=reads)
    plan = make_plan(scene, ask_for(scene))
    assert targets(plan) == [["step connect-store.sql router@app1"]]
    assert "'no'" in plan.rounds[0].steps[0].reason


def test_a_process_on_its_old_certificate_is_loaded_and_nothing_else():
    scene = at_stage(scene_of(), "enforced")
    for name in (ROUTER_DB, DESK_DB):
        scene = with_probe(scene, scene.model.pair(name), tls=answers(scene.model.pair(name), sha256="old"))
    plan = make_plan(scene, ask_for(scene))
    assert targets(plan) == [["step load store@db1"]]


def test_a_changed_key_file_brings_a_generation_and_a_load():
    scene = at_stage(scene_of(), "enforced")
    scene = showing(scene, "store@db1", drift={"key.pem": "key.pem differs from what was installed"})
    plan = make_plan(scene, ask_for(scene))
    assert plan.material == {"db1": ("store@db1",)}
    assert targets(plan) == [["step load store@db1"]]


def test_a_pair_whose_client_host_is_lost_fails_with_the_gate_reach():
    scene = dataclasses.replace(at_stage(scene_of(), "plain"), lost={"app2": "no route to host"})
    plan = make_plan(scene, ask_for(scene))
    view = next(view for view in plan.views if view.pair.id == DESK_DB)
    assert (view.status, view.evidence[-1].gate) == ("failed", "reach")
    assert "app2" not in plan.material


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (300.0, None),
        (301.0, "it is 301 s ahead"),
        (-86400.0, "it is 86400 s behind"),
    ],
)
def test_a_pair_whose_host_has_a_wrong_clock_is_refused_with_the_number(off, words):
    scene = at_stage(scene_of(), "plain")
    scene = dataclasses.replace(scene, hosts={"app2": SeenHost(clock_off=off)})
    plan = make_plan(scene, ask_for(scene))
    view = next(view for view in plan.views if view.pair.id == DESK_DB)
    if words is None:
        assert view.status == "due"
        return
    assert (view.status, view.why.gate, view.why.seen) == ("failed", "reach", words)
    assert "app2" not in plan.material
    assert "step connect-store.sql desk@app2" not in [row for this in targets(plan) for row in this]
    assert "step connect-store.sql router@app1" in [row for this in targets(plan) for row in this]


@pytest.mark.parametrize(("clock", "off"), [(99.0, -1.0), (100.0, 0.0), (105.5, 0.0), (110.0, 0.0), (500.0, 390.0)])
def test_a_clock_that_was_read_while_somebody_waited_is_off_by_what_lies_outside(clock, off):
    assert clock_off(clock, 100.0, 110.0) == off


def test_hosts_outside_the_limit_are_not_changed():
    limited = frozenset(["db1"])
    plan = make_plan(at_stage(scene_of(), "plain"), ask_for(scene_of(), hosts=limited))
    assert sorted(plan.material) == ["db1"]
    assert not plan.rounds, "no client has the CA list yet, and --limit leaves them out"
    assert {view.why.expected for view in plan.views if view.pair.server.host == "db1"} == {
        "app1 may be changed",
        "app2 may be changed",
    }
    scene = at_stage(scene_of(), "presented")
    plan = make_plan(scene, ask_for(scene, hosts=limited))
    assert {step.instance.host for this in plan.rounds for step in this.steps} == {"db1"}


def test_a_flip_is_one_round_with_its_clients_and_says_how_long_it_cuts():
    scene = scene_of(settings={"store": {"shape": "flip", "interruption": 3.0}})
    plan = make_plan(scene, ask_for(scene))
    flips = [this for this in plan.rounds if this.phase == "flip"]
    assert len(flips) == 1
    assert (flips[0].together, flips[0].interruption) == (True, 3.0)
    assert sorted(step.target for step in flips[0].steps) == [
        "step connect-store.sql@db1 desk@app2",
        "step connect-store.sql@db1 router@app1",
        "step enforce-sql store@db1",
    ]


def test_a_flip_stays_at_presented_unless_enforcement_is_asked_for():
    scene = scene_of(settings={"store": {"shape": "flip"}})
    view = next(v for v in make_plan(scene, ask_for(scene, "switched")).views if v.pair.id == ROUTER_DB)
    assert view.goal == "presented"
    assert "tls_until=enforced" in view.why.todo


def test_a_blocked_client_keeps_its_listener_open():
    model = with_connection(3, **DECIDED)
    scene = at_stage(scene_of(model), "plain")
    views = {view.pair.id: view for view in make_plan(scene, ask_for(scene)).views}
    assert views[DESK_DB].status == "blocked"
    assert "is blocked" in views[ROUTER_DB].why.seen


def test_an_option_that_a_later_stage_replaced_counts_as_set():
    scene = at_stage(scene_of(), "permissive")
    pair = scene.model.pair(ROUTER_DB)
    assert stage_of(examine(scene, pair)) == "permissive"
    scene = with_options(scene, "enforce", pair)
    assert stage_of(examine(scene, pair)) == "permissive"


def test_a_plan_from_the_ledger_needs_no_look():
    scene = dataclasses.replace(scene_of(), instances={}, probes={}, looked=False, recorded={ROUTER_DB: "switched"})
    plan = make_plan(scene, ask_for(scene))
    views = {view.pair.id: view for view in plan.views}
    assert (views[ROUTER_DB].stage, views[DESK_DB].stage) == ("switched", "plain")
    assert "step connect-store.sql router@app1" not in [row for this in targets(plan) for row in this]
    assert tls_probe(scene.model.pair(ROUTER_DB)) not in scene.probes


NOTED = [
    (Noted("permit-sql", "permit", ("sql",)), "store@db1", ["step permit-sql store@db1"]),
    (Noted("enforce-sql", "enforce", ("sql",)), "store@db1", ["step enforce-sql store@db1"]),
    (Noted("connect-store.sql", "connect", (ROUTER_DB,)), "router@app1", ["step connect-store.sql router@app1"]),
    (Noted("load", "load"), "store@db1", ["step load store@db1"]),
]


@pytest.mark.parametrize(("noted", "instance", "due"), NOTED)
def test_a_step_that_a_killed_run_left_open_is_due_again_and_nothing_else(noted, instance, due):
    scene = showing(at_stage(scene_of(), "enforced"), instance, noted=(noted,))
    assert targets(make_plan(scene, ask_for(scene))) == [due]
