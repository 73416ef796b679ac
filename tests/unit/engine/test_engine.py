# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps may start, and what is taken back, from what is seen."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._engine import judge, may_start
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan

from .scenes import answers, ask_for, at_stage, scene_of, with_material, with_options, with_probe

ROUTER_CFG1 = "router@app1->confserv.default@cfg1"
ROUTER_DB = "router@app1->store.sql@db1"
DESK_DB = "desk@app2->store.sql@db1"
WATCHED = {
    "store.sql@db1": {"peers": []},
    "confserv.default@cfg1": {"peers": []},
    "confserv.default@cfg2": {"peers": []},
}


def round_of(scene, phase, target=""):
    rounds = make_plan(scene, ask_for(scene)).rounds
    return next(
        this for this in rounds if this.phase == phase and (not target or target in {s.target for s in this.steps})
    )


def step_of(this, target):
    return next(step for step in this.steps if step.target == target)


def held(scene, step, **more):
    options = {"down": (), "watched": WATCHED, **more}
    hold = may_start(scene, ask_for(scene), step, **options)
    return (hold.evidence.seen, hold.waiting) if hold else None


def test_a_permit_waits_for_its_material():
    scene = scene_of()
    step = step_of(round_of(scene, "permit"), "step permit-sql store@db1")
    assert held(scene, step) == ("no generation is installed", False)
    assert held(with_material(scene), step) is None


def test_a_client_is_switched_only_where_it_can_verify():
    scene = at_stage(scene_of(), "presented")
    target = "step connect-store.sql router@app1"
    step = step_of(round_of(scene, "connect", target), target)
    assert held(scene, step) is not None
    ready = at_stage(scene_of(), "permissive")
    assert held(ready, step) is None
    bad = with_probe(
        ready, ready.model.pair(ROUTER_DB), tls={"outcome": "tls", "verified": False, "reason": "unknown authority"}
    )
    assert held(bad, step) == ("unknown authority", False)


def test_a_member_is_left_alone_while_the_other_is_down():
    scene = at_stage(scene_of(), "presented")
    plan = make_plan(scene, ask_for(scene))
    second = next(
        s for this in plan.rounds for s in this.steps if s.instance.name == "confserv@cfg2" and s.stage == "permit"
    )
    assert held(scene, second) is None
    assert held(scene, second, down=["confserv@cfg1"]) == (
        "its step failed or it is silent; confserv@cfg2 is left alone",
        False,
    )
    assert held(scene, second, down=["store@db1"]) is None


def test_a_demand_waits_until_every_client_presents():
    scene = at_stage(scene_of(), "switched")
    step = step_of(round_of(scene, "demand"), "step demand-default confserv@cfg1")
    assert held(scene, step) is None
    pair = scene.model.pair("desk@app2->confserv.default@cfg1")
    without = with_probe(scene, pair, tls=answers(pair, security="verified", reason="it was not asked"))
    assert held(without, step) == ("it was not asked", True)


def test_a_demand_believes_the_servers_session_list():
    scene = at_stage(scene_of(settings={"confserv": {"sessions": {"file": "/s"}}}), "switched")
    step = step_of(round_of(scene, "demand"), "step demand-default confserv@cfg1")
    listed = [
        {"peer": "10.0.0.4:5000", "tls": True, "verified": False},
        {"peer": "10.0.0.3:5001", "tls": True, "verified": True},
    ]
    seen = {**scene.instances["confserv@cfg1"], "sessions": listed}
    scene = dataclasses.replace(scene, instances={**scene.instances, "confserv@cfg1": seen})
    assert held(scene, step) == ("its session 10.0.0.4:5000 presents none", True)


PEERS = [
    (
        {"address": "10.9.9.9", "port": 1, "state": "ESTABLISHED", "new": False},
        "10.9.9.9, which no enumerated client has",
    ),
    (
        {"address": "10.0.0.3", "port": 1, "state": "ESTABLISHED", "new": False},
        "10.0.0.3, a clear session of router@app1",
    ),
    ({"address": "10.9.9.9", "port": 1, "state": "TIME_WAIT", "new": True}, "10.9.9.9, which no enumerated client has"),
    ({"address": "10.9.9.9", "port": 1, "state": "TIME_WAIT", "new": False}, None),
]


@pytest.mark.parametrize(("peer", "named"), PEERS)
def test_whoever_uses_the_clear_listener_keeps_it_open_and_is_named(peer, named):
    scene = at_stage(scene_of(), "switched")
    step = step_of(round_of(scene, "enforce"), "step enforce-sql store@db1")
    result = held(scene, step, watched={"store.sql@db1": {"peers": [peer]}})
    assert result == ((named, True) if named else None)


def test_nothing_is_enforced_that_was_not_watched():
    scene = at_stage(scene_of(), "switched")
    step = step_of(round_of(scene, "enforce"), "step enforce-sql store@db1")
    assert held(scene, step, watched={}) == ("nobody watched them", False)


def judged(after, before, this, *, failures=None, started=None):
    return judge(after, before, this, started=started or this.steps, failures=failures or {})


def test_a_permit_that_every_client_can_use_stays():
    before = at_stage(scene_of(), "presented")
    this = round_of(before, "permit")
    verdict = judged(at_stage(before, "permissive"), before, this)
    assert (verdict.reverse, dict(verdict.notes), verdict.down) == ((), {}, frozenset())


def test_a_permit_that_broke_its_listener_is_taken_back():
    before = at_stage(scene_of(), "presented")
    this = round_of(before, "permit")
    after = at_stage(before, "permissive")
    for name in (ROUTER_DB, DESK_DB):
        after = with_probe(
            after, after.model.pair(name), tls={"outcome": "refused", "reason": "refused"}, clear="refused"
        )
    verdict = judged(after, before, this)
    assert [step.target for step, _ in verdict.reverse] == ["step permit-sql store@db1"]
    assert verdict.down == {"store@db1"}


def test_one_client_that_cannot_verify_stays_back_alone():
    before = at_stage(scene_of(), "presented")
    this = round_of(before, "permit")
    after = at_stage(before, "permissive")
    pair = after.model.pair(DESK_DB)
    after = with_probe(after, pair, tls={"outcome": "tls", "verified": False, "reason": "unknown authority"})
    verdict = judged(after, before, this)
    assert verdict.reverse == ()
    assert verdict.notes[DESK_DB].evidence.seen == "unknown authority"
    assert ROUTER_DB not in verdict.notes


def test_a_step_whose_task_failed_is_taken_back_with_the_tasks_words():
    before = at_stage(scene_of(), "presented")
    this = round_of(before, "permit")
    failures = {"step permit-sql store@db1": "the configuration test failed: line 3"}
    verdict = judged(at_stage(before, "permissive"), before, this, failures=failures)
    assert [(step.target, said.seen) for step, said in verdict.reverse] == [
        ("step permit-sql store@db1", "the configuration test failed: line 3")
    ]


def test_a_lost_client_host_holds_its_pair_back_and_refutes_nothing():
    before = at_stage(scene_of(), "presented")
    this = round_of(before, "permit")
    after = dataclasses.replace(at_stage(before, "permissive"), lost={"app2": "app2 became unreachable"})
    verdict = judged(after, before, this)
    assert verdict.reverse == ()
    assert verdict.notes[DESK_DB].evidence.gate == "reach"


def test_a_clear_session_that_is_left_waits_and_is_not_taken_back():
    before = at_stage(scene_of(), "permissive")
    this = round_of(before, "connect", "step connect-store.sql router@app1")
    after = at_stage(before, "switched")
    seen = {
        **after.instances["router@app1"],
        "sockets": [{"local": "10.0.0.3:4000", "peer": "10.0.0.5:5432", "state": "ESTABLISHED"}],
    }
    after = dataclasses.replace(after, instances={**after.instances, "router@app1": seen})
    verdict = judged(after, before, this)
    assert verdict.reverse == ()
    assert verdict.notes[ROUTER_DB].waiting
    assert "a clear session is left" in verdict.notes[ROUTER_DB].evidence.seen


def test_a_client_that_does_not_verify_is_taken_back():
    before = at_stage(scene_of(), "permissive")
    this = round_of(before, "connect", "step connect-store.sql router@app1")
    after = at_stage(before, "switched")
    reads = {
        key: ("no" if key.endswith("store@db1|verify") else value)
        for key, value in after.instances["router@app1"]["reads"].items()
    }
    after = dataclasses.replace(
        after, instances={**after.instances, "router@app1": {**after.instances["router@app1"], "reads": reads}}
    )
    verdict = judged(after, before, this)
    assert [step.target for step, _ in verdict.reverse] == ["step connect-store.sql router@app1"]
    assert "does not verify" in verdict.notes[ROUTER_DB].evidence.seen


def test_a_round_that_stands_together_falls_together():
    settings = {"store": {"shape": "flip"}}
    before = at_stage(scene_of(settings=settings), "presented")
    this = round_of(before, "flip")
    after = at_stage(before, "enforced")
    seen = {**after.instances["store@db1"], "sessions": [{"peer": "10.0.0.4:1", "tls": False}]}
    after = dataclasses.replace(after, instances={**after.instances, "store@db1": seen})
    bad = with_probe(after, after.model.pair(DESK_DB), tls={"outcome": "tls", "verified": False, "reason": "expired"})
    verdict = judged(bad, before, this)
    assert len(verdict.reverse) == 3


def test_in_check_mode_gates_have_nothing_to_look_at():
    before = dataclasses.replace(scene_of(), check_mode=True)
    this = round_of(before, "permit")
    assert judged(before, before, this).reverse == ()
    assert with_options(before, "permit", before.model.pair(ROUTER_CFG1)).check_mode
