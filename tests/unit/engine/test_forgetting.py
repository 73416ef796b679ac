# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What steps kept goes away once nobody will go back, and never before."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._forgetting import DAY, forget_specs, plan_forgetting
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import Noted
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.plugin_utils._ask import keep_steps
from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import moment_of

from .scenes import DECIDED, MODEL, ask_for, at_stage, scene_of, showing, with_probe

NOW = 1000.0 * DAY
STEPS = frozenset({"permit-sql", "enforce-sql"})
STORE, DESK_DB = "store@db1", "desk@app2->store.sql@db1"


def aged(stage="enforced", *, days=91.0, model=None):
    """Return the fleet at a stage since these days, a server of it keeping what its steps found."""
    scene = at_stage(scene_of(model), stage)
    names = [pair.id for pair in scene.model.pairs]
    scene = showing(scene, STORE, steps=STEPS, kept_since=dict.fromkeys(STEPS, NOW - days * DAY))
    since = dict.fromkeys(names, NOW - days * DAY)
    return dataclasses.replace(scene, recorded=dict.fromkeys(names, stage), since=since)


def forgotten(scene, *, days=90.0, **more):
    ask = ask_for(scene, **more)
    found = plan_forgetting(scene, ask, make_plan(scene, ask).views, now=NOW, days=days)
    return {instance.name: set(steps) for instance, steps in found.items()}


def test_what_steps_kept_goes_once_all_their_pairs_are_enforced_for_long_enough():
    assert forgotten(aged()) == {STORE: STEPS}
    assert forgotten(aged(days=89.0)) == {}
    assert forgotten(aged(days=1.0), days=0.0) == {STORE: STEPS}


def test_a_step_that_was_done_again_lately_keeps_what_it_found():
    scene = showing(aged(), STORE, kept_since={"permit-sql": NOW - DAY, "enforce-sql": NOW - 91 * DAY})
    assert forgotten(scene) == {STORE: {"enforce-sql"}}


def younger(scene):
    return dataclasses.replace(scene, since={**scene.since, DESK_DB: NOW - DAY})


def unknown(scene):
    return dataclasses.replace(scene, since={}, recorded={})


def reopened(scene):
    return with_probe(scene, scene.model.pair(DESK_DB), clear="clear")


def under_way(scene):
    return showing(scene, STORE, noted=tuple(Noted(name, "permit") for name in STEPS))


def lost(scene):
    return dataclasses.replace(scene, lost={"db1": "no route to host"})


def unseen(scene):
    return dataclasses.replace(scene, looked=False)


@pytest.mark.parametrize("change", [younger, unknown, reopened, under_way, lost, unseen])
def test_while_somebody_may_go_back_it_stays(change):
    assert forgotten(change(aged())) == {}


def test_before_enforcement_it_stays_however_old_it_is():
    assert forgotten(aged("switched", days=999.0)) == {}


def test_a_client_that_nobody_may_touch_keeps_it():
    model = {**MODEL, "connections": [*MODEL["connections"][:3], {**MODEL["connections"][3], **DECIDED}]}
    assert forgotten(aged(model=model)) == {}


def test_a_step_of_a_connection_that_left_the_model_goes_when_it_is_old_enough():
    scene = showing(aged(), "router@app1", steps={"connect-old.sql"}, kept_since={"connect-old.sql": NOW - 91 * DAY})
    assert forgotten(scene)["router@app1"] == {"connect-old.sql"}


def test_hosts_outside_limit_keep_what_they_have():
    assert forgotten(aged(), hosts=frozenset({"app1"})) == {}


def test_a_host_is_told_which_steps_to_forget_and_edits_nothing():
    scene = aged()
    specs = forget_specs(scene, scene.model.pair(DESK_DB).server, ["permit-sql"], days=90)
    (spec,) = specs
    assert (spec.state, spec.target, list(spec.edits)) == ("forget", "forget permit-sql store@db1", [])
    assert spec.reason == "the pairs that it moved have been enforced for 90 days"


@pytest.mark.parametrize(("value", "days"), [("30", 30.0), (0, 0.0)])
def test_for_how_long_it_stays_is_a_number_of_days(value, days):
    assert keep_steps({"tls_keep_steps": value}) == days
    assert keep_steps({}) == 90.0


@pytest.mark.parametrize("value", ["never", -1])
def test_what_is_no_number_of_days_is_refused(value):
    with pytest.raises(TlsError, match="is not a number of days between 0 and a hundred years"):
        keep_steps({"tls_keep_steps": value})


def test_a_moment_that_the_ledger_does_not_tell_makes_nothing_old():
    assert moment_of("2026-11-25T00:22:37+00:00") == 1795566157.0
    assert moment_of("yesterday") == float("inf")
