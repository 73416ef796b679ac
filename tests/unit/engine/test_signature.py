# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on, and what does not, while somebody else's signature is waited for."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._requesting import Awaited

from .scenes import ask_for, at_stage, scene_of, with_material

AWAITED = Awaited("corporate", "identity confserv@cfg1 waits for a signature of authority corporate", "have it signed")
TO_CFG1 = {"router@app1->confserv.default@cfg1", "desk@app2->confserv.default@cfg1"}


def awaiting(scene, name="confserv@cfg1", **more):
    """Return the scene while this instance's identity waits, with nothing to present unless more is said."""
    blank = {"identity": None, "certificate": None}
    wanted = dataclasses.replace(scene.wanted[name], awaits=AWAITED, **{**blank, **more})
    return dataclasses.replace(scene, wanted={**scene.wanted, name: wanted})


def views(scene):
    return {view.pair.id: view for view in make_plan(scene, ask_for(scene)).views}


def test_trust_goes_ahead_of_a_certificate_that_is_not_signed_yet():
    scene = awaiting(scene_of())
    plan = make_plan(scene, ask_for(scene))
    assert "confserv@cfg1" in plan.material["cfg1"]
    assert {views(scene)[name].goal for name in TO_CFG1} == {"trusted"}
    assert not [step for this in plan.rounds for step in this.steps if step.instance.name == "confserv@cfg1"]


def test_its_pairs_wait_and_say_who_has_to_sign_while_others_go_on():
    scene = with_material(awaiting(scene_of()))
    found = views(scene)
    for name in TO_CFG1:
        assert (found[name].stage, found[name].status) == ("trusted", "waiting")
        assert found[name].why.seen == AWAITED.seen
        assert found[name].why.todo == AWAITED.todo
    assert {found[name].status for name in found if name not in TO_CFG1} == {"due"}


def test_a_client_that_has_to_present_a_certificate_waits_with_its_mutual_pairs_alone():
    scene = with_material(awaiting(scene_of(), "router@app1"))
    found = views(scene)
    assert {view.pair.id for view in found.values() if view.status == "waiting"} == {
        "router@app1->confserv.default@cfg1",
        "router@app1->confserv.default@cfg2",
    }


@pytest.mark.parametrize(("covers", "status"), [("10.0.0.1", "done"), ("other.example.net", "waiting")])
def test_an_earlier_certificate_goes_on_for_the_names_that_it_has(covers, status):
    scene = at_stage(scene_of(), "enforced")
    own = scene.wanted["confserv@cfg1"]
    scene = awaiting(scene, identity=own.identity, certificate=own.certificate, covers=frozenset([covers]))
    found = views(scene)
    assert {found[name].status for name in TO_CFG1} == {status}
