# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes back, what cannot, and what that reopens, all of it known before anything is done."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._back import kept_back, make_rollback, reversals
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import parse_instance
from ansible_collections.connsec.tls.plugins.plugin_utils._ask import stages_back

from .scenes import ask_for, at_stage, scene_of, showing, with_probe

ROUTER_DB = "router@app1->store.sql@db1"
DESK_DB = "desk@app2->store.sql@db1"
ROUTER_CFG1 = "router@app1->confserv.default@cfg1"
KEPT = {
    "store@db1": frozenset({"permit-sql", "enforce-sql"}),
    "router@app1": frozenset({"connect-store.sql"}),
    "desk@app2": frozenset({"connect-store.sql"}),
}
FLIP = {"store": {"shape": "flip", "sessions": {"file": "/s"}}}
FLIPPED = {
    "store@db1": frozenset({"enforce-sql"}),
    "router@app1": frozenset({"connect-store.sql@db1"}),
    "desk@app2": frozenset({"connect-store.sql@db1"}),
}


def enforced(kept=None, settings=None):
    """Return the fleet enforced, its hosts keeping what these steps found."""
    scene = at_stage(scene_of(settings=settings), "enforced")
    for name, steps in (kept or KEPT).items():
        scene = showing(scene, name, steps=steps)
    return scene


def targets(plan):
    return [sorted(step.target for step in this.steps) for this in plan.rounds]


def stuck(plan):
    return {step.target: hold.evidence.seen for step, hold in plan.stuck.items()}


def test_a_rollback_goes_from_enforcement_over_clients_to_servers():
    scene = enforced()
    plan = make_rollback(scene, ask_for(scene))
    assert targets(plan) == [
        ["undo enforce-sql store@db1"],
        ["undo connect-store.sql desk@app2", "undo connect-store.sql router@app1"],
        ["undo permit-sql store@db1"],
    ]
    assert (plan.reopened, plan.stuck) == ({ROUTER_DB: "plaintext", DESK_DB: "plaintext"}, {})


def test_a_reverse_says_since_when_its_files_are_kept():
    scene = showing(enforced(), "store@db1", kept_since={"enforce-sql": 1790000000.0})
    step = make_rollback(scene, ask_for(scene)).rounds[0].steps[0]
    assert step.reason == "going back was asked for; its files are kept as they were on 2026-09-21"


def test_hosts_are_asked_of_every_step_that_may_go_back_in_the_order_in_which_it_would():
    scene = scene_of()
    asked = {end.name: names for end, names in reversals(scene, ask_for(scene)).items()}
    assert asked["confserv@cfg1"] == [["enforce-default"], ["demand-default"], ["permit-default"]]
    assert asked["router@app1"] == [["connect-confserv.default", "connect-store.sql"]]
    demands = ask_for(scene, back=("demand",))
    assert {end.name for end in reversals(scene, demands)} == {"confserv@cfg1", "confserv@cfg2"}


def test_a_host_tries_what_flips_in_one_phase_before_all_else():
    scene = scene_of(settings=FLIP)
    asked = {end.name: names for end, names in reversals(scene, ask_for(scene)).items()}
    assert asked["store@db1"] == [["permit-sql", "enforce-sql"]]
    assert asked["router@app1"] == [["connect-store.sql@db1"], ["connect-confserv.default"]]


#: When each step of an instance was done, and in which order they go back then.
MOMENTS = [
    ({"connect-confserv.default": 5.0, "connect-store.sql": 7.0}, ["store.sql", "confserv.default"]),
    ({"connect-confserv.default": 7.0, "connect-store.sql": 5.0}, ["confserv.default", "store.sql"]),
    ({}, ["confserv.default", "store.sql"]),
]


@pytest.mark.parametrize(("kept_since", "order"), MOMENTS)
def test_of_two_steps_of_an_instance_the_one_that_was_done_last_goes_back_first(kept_since, order):
    both = {"router@app1": frozenset({"connect-confserv.default", "connect-store.sql"})}
    scene = at_stage(scene_of(), "switched")
    scene = showing(scene, "router@app1", steps=both["router@app1"], kept_since=kept_since)
    rounds = make_rollback(scene, ask_for(scene, back=("connect",))).rounds
    assert [step.id for this in rounds for step in this.steps] == ["connect-%s" % name for name in order]


WHY = "connect-store.sql cannot be taken back, for /etc/desk.ini is not as it left it"


def test_what_somebody_edited_since_is_known_before_anything_is_done_and_the_rest_goes_back():
    scene = showing(enforced(), "desk@app2", refused={"connect-store.sql": WHY})
    ask = ask_for(scene)
    plan = make_rollback(scene, ask)
    assert targets(plan) == [["undo enforce-sql store@db1"], ["undo connect-store.sql router@app1"]]
    assert stuck(plan) == {
        "undo connect-store.sql desk@app2": WHY,
        "undo permit-sql store@db1": "desk@app2 stays on TLS",
    }
    assert plan.reopened == {ROUTER_DB: "plaintext", DESK_DB: "open"}
    holds = kept_back(scene, ask, plan)
    assert (holds[DESK_DB].waiting, holds[ROUTER_DB].waiting) == (False, True), "only the one that was edited failed"


def test_where_enforcement_cannot_be_taken_back_no_client_goes_back_to_a_closed_listener():
    scene = showing(enforced(), "store@db1", refused={"enforce-sql": "it is damaged"})
    plan = make_rollback(scene, ask_for(scene))
    assert (targets(plan), plan.reopened) == ([], {})
    assert stuck(plan)["undo connect-store.sql router@app1"] == "it does not, and nothing that goes back opens it"


@pytest.mark.parametrize("name", ["store@db1", "desk@app2"])
def test_a_flip_goes_back_as_a_whole_or_not_at_all(name):
    scene = enforced(FLIPPED, FLIP)
    assert len(make_rollback(scene, ask_for(scene)).rounds) == 1
    step = next(iter(FLIPPED[name]))
    plan = make_rollback(showing(scene, name, refused={step: "it is damaged"}), ask_for(scene))
    assert (plan.rounds, len(plan.stuck)) == ((), 3)


def test_a_flip_does_not_go_back_in_part():
    scene = enforced(FLIPPED, FLIP)
    plan = make_rollback(scene, ask_for(scene, back=("enforce",)))
    assert stuck(plan) == {"undo enforce-sql store@db1": "its listener can only flip, so it goes back as a whole"}


def test_hosts_that_limit_leaves_out_or_that_are_lost_are_named():
    scene = enforced()
    plan = make_rollback(scene, ask_for(scene, hosts=frozenset({"db1", "app1"})))
    assert stuck(plan)["undo connect-store.sql desk@app2"] == "--limit leaves app2 out"
    lost = dataclasses.replace(scene, lost={"app2": "no route to host"})
    assert stuck(make_rollback(lost, ask_for(lost)))["undo connect-store.sql desk@app2"] == "no route to host"


MUTUAL = {"confserv@cfg1": frozenset({"permit-default", "demand-default", "enforce-default"})}
PARTS = [
    (("enforce",), ["undo enforce-default confserv@cfg1"], "open"),
    (("demand",), ["undo demand-default confserv@cfg1"], "anybody"),
    (("enforce", "demand"), ["undo demand-default confserv@cfg1", "undo enforce-default confserv@cfg1"], "open"),
]


@pytest.mark.parametrize(("back", "undone", "lost"), PARTS)
def test_demand_and_enforcement_are_each_taken_back_alone(back, undone, lost):
    scene = enforced(MUTUAL)
    plan = make_rollback(scene, ask_for(scene, back=back))
    assert sorted(target for this in targets(plan) for target in this) == undone
    assert plan.reopened[ROUTER_CFG1] == lost


def test_a_client_goes_back_alone_where_its_listener_is_open_anyway():
    scene = enforced()
    ask = ask_for(scene, back=("connect",))
    assert set(stuck(make_rollback(scene, ask)).values()) == {"it does not, and nothing that goes back opens it"}
    for name in (ROUTER_DB, DESK_DB):
        scene = with_probe(scene, scene.model.pair(name), clear="clear")
    assert len(make_rollback(scene, ask).rounds) == 1


@pytest.mark.parametrize(
    ("value", "stages"),
    [
        (None, ("enforce", "demand", "connect", "permit")),
        ("enforced", ("enforce",)),
        ("demanded, enforced", ("enforce", "demand")),
        (["demanded"], ("demand",)),
    ],
)
def test_what_is_taken_back_is_named_by_the_stage_that_it_reached(value, stages):
    assert stages_back(value) == stages


def test_a_word_that_no_step_reaches_is_refused():
    with pytest.raises(TlsError, match=r"tls_take_back: 'presented' is nothing that can be taken back; it is one or"):
        stages_back("presented")


def test_what_a_host_says_of_its_steps_is_read():
    seen = parse_instance({"steps": {"permit-sql": {"at": 7.5, "finished": True}}, "refused": {"permit-sql": "no"}})
    assert (dict(seen.kept_since), dict(seen.refused)) == ({"permit-sql": 7.5}, {"permit-sql": "no"})
