# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on, and what does not, while a signature is waited for, or a certificate of others is adopted."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import IdentitySpec
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._requesting import Awaited

from .scenes import ask_for, at_stage, scene_of, showing, with_material

AWAITED = Awaited("corporate", "identity confserv@cfg1 waits for a signature of authority corporate", "have it signed")
TO_CFG1 = {"router@app1->confserv.default@cfg1", "desk@app2->confserv.default@cfg1"}


def awaiting(scene, name="confserv@cfg1", **more):
    """Return the scene while this instance's identity waits, with nothing to present unless more is said."""
    held = dataclasses.replace(scene.wanted[name].identities[name], awaits=AWAITED, **{"certificate": None, **more})
    return wanting(scene, name, {name: held})


def wanting(scene, name, identities):
    """Return the scene in which an instance has to hold these identities."""
    wanted = dataclasses.replace(scene.wanted[name], identities=identities)
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
    scene = awaiting(scene, certificate="sha-confserv@cfg1", covers=frozenset([covers]))
    found = views(scene)
    assert {found[name].status for name in TO_CFG1} == {status}


FILES = {"certificate": "/etc/own.pem", "fullchain": "/etc/own.pem", "key": "/etc/own.key"}
ADOPTED = {"names": ["10.0.0.1"], "valid": True, "issuer": "corporate", "serial": "1", "not_after": 2e9}


def adopting(scene, seen, **more):
    """Return the scene in which confserv@cfg1 has its certificate from before us; ``seen`` is what its host shows."""
    name = "confserv@cfg1"
    spec = IdentitySpec(name, issuer="installed", authority="corporate", files=FILES)
    scene = dataclasses.replace(scene, model=dataclasses.replace(scene.model, identities={name: spec}))
    return showing(with_material(wanting(scene, name, {})), name, adopted={name: seen} if seen else {}, **more)


def test_options_name_the_files_that_were_there_before():
    scene = adopting(scene_of(), ADOPTED)
    paths = scene.paths(scene.model.pair("router@app1->confserv.default@cfg1").server)
    assert (paths["fullchain"], paths["key"]) == ("/etc/own.pem", "/etc/own.key")
    assert paths["trust"] == "/etc/connsec/confserv/current/trust.pem"
    plan = LookPlan(scene, token="t")
    plan.see(scene.model.pair("router@app1->confserv.default@cfg1").server)
    assert plan.requests()["cfg1"]["instances"][0]["adopted"] == {"confserv@cfg1": FILES}


def test_a_certificate_that_was_there_before_is_presented_and_its_pairs_go_on():
    scene = adopting(scene_of(), ADOPTED)
    assert {views(scene)[name].status for name in TO_CFG1} == {"due"}
    assert {views(scene)[name].stage for name in TO_CFG1} == {"presented"}


@pytest.mark.parametrize(
    ("seen", "more", "words"),
    [
        ({**ADOPTED, "valid": False}, {}, "the certificate /etc/own.pem is not valid by its host's clock"),
        ({**ADOPTED, "names": ["web"]}, {}, "the certificate /etc/own.pem is for web, and 10.0.0.1 is dialled"),
        (None, {"unreadable": {"adopted confserv@cfg1": "/etc/own.pem is not there"}}, "/etc/own.pem is not there"),
        (None, {}, "nobody looked at /etc/own.pem"),
    ],
)
def test_one_that_cannot_be_presented_keeps_its_pairs_waiting(seen, more, words):
    found = views(adopting(scene_of(), seen, **more))
    for name in TO_CFG1:
        assert (found[name].stage, found[name].status) == ("trusted", "waiting")
        assert found[name].why.seen == "confserv@cfg1: " + words
