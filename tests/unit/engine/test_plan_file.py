# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan file: the same plan makes the same bytes, and what is not the approved one is refused with what differs."""

from __future__ import annotations

import copy
import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._back import make_rollback
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._issuing import Signing
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._plan_file import (
    digest_of,
    does_nothing,
    plan_bytes,
    plan_content,
    read_plan,
    refuse_other_plan,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._removal import Removal

from .scenes import ask_for, at_stage, scene_of, showing

NAMES = {"authority": "connsec", "key_type": "ec-p256", "names": ["10.0.0.5"], "usages": ["server"]}
STORE = (
    Signing("identity store@db1", None, NAMES, "no certificate yet"),
    Signing("identity desk@app2", {}, NAMES, "two thirds of its life have passed", can_wait=True),
    Signing("authority connsec issuing CRL", None, "a current list", "half of its life has passed", can_wait=True),
)


def content(stage="plain", *, store=STORE, scene=None, **asked):
    scene = scene or at_stage(scene_of(), stage)
    ask = ask_for(scene, **asked)
    return plan_content(scene, ask, make_plan(scene, ask), store, goal="plan")


def steps(found):
    return {step["step"]: step for this in found["rounds"] for step in this["steps"]}


def test_the_same_plan_makes_the_same_bytes_whichever_way_it_came_about():
    again = plan_content(*_parts(tuple(reversed(STORE))), goal="rollout")
    assert plan_bytes(content()) == plan_bytes(again)
    assert digest_of(plan_bytes(content())) != digest_of(plan_bytes(content("presented")))
    assert read_plan(plan_bytes(content())) == content()


def _parts(store):
    scene = at_stage(scene_of(), "plain")
    ask = ask_for(scene)
    return scene, ask, make_plan(scene, ask), store


def test_it_says_what_is_issued_with_names_and_leaves_revocation_lists_out():
    assert content()["store"] == {
        "identity store@db1": {"why": "new", "after": NAMES},
        "identity desk@app2": {"why": "renewal", "after": NAMES},
    }


def test_it_says_what_each_step_writes():
    found = steps(content("presented"))["step permit-sql store@db1"]
    assert found == {
        "step": "step permit-sql store@db1",
        "of": ["sql"],
        "why": "going on",
        "sets": ["/etc/store.ini [sql] tls_port = '5433'"],
    }


def test_a_step_that_mends_says_so():
    scene = showing(at_stage(scene_of(), "permissive"), "desk@app2", finished=frozenset({"connect-store.sql"}))
    found = steps(content(scene=scene))
    assert found["step connect-store.sql desk@app2"]["why"] == "mending"
    assert found["step connect-store.sql router@app1"]["why"] == "going on"


def test_going_back_is_a_plan_of_its_own():
    scene = showing(at_stage(scene_of(), "enforced"), "store@db1", steps=frozenset({"enforce-sql"}))
    ask = ask_for(scene)
    found = plan_content(scene, ask, make_rollback(scene, ask), (), goal="rollback")
    assert found["goal"] == "rollback"
    assert steps(found)["undo enforce-sql store@db1"]["why"] == "going back"


def test_a_fleet_that_is_done_has_a_plan_that_does_nothing():
    assert does_nothing(content("enforced", store=()))
    assert not does_nothing(content())


def test_what_leaves_a_host_is_a_part_of_the_plan_and_what_stays_is_none():
    scene, ask = at_stage(scene_of(), "enforced"), ask_for(scene_of())
    plan = make_plan(scene, ask)
    leaves = Removal("old@app1", "app1", "old", "it is gone", parts=("material",))
    held = Removal("kept@app1", "app1", "kept", "it is gone", held="process 7 names it")
    store = scene.model.pairs[-1].server
    for changed, told in (
        ({"removals": (held,)}, {}),
        ({"removals": (leaves, held)}, {"removals": {"old@app1": ["material"]}}),
        ({"forgetting": {store: ("permit-sql",)}}, {"forgetting": {store.name: ["permit-sql"]}}),
    ):
        found = plan_content(scene, ask, dataclasses.replace(plan, **changed), (), goal="rollout")
        assert {name: found[name] for name in ("removals", "forgetting") if name in found} == told
        assert does_nothing(found) is (not told)


def without_a_step(found):
    found["rounds"][0]["steps"].pop()


def without_a_step_but_one_that_sets_more(found):
    without_a_step(found)
    found["rounds"][0]["steps"][0]["sets"].append("/etc/shadow root = 'x'")


def with_another_name(found):
    found["store"]["identity store@db1"]["after"] = {**NAMES, "names": ["evil.example.net"]}


def with_a_step_more(found):
    found["rounds"][0]["steps"].append({"step": "step permit-x y@z", "of": [], "why": "going on", "sets": []})


def further(found):
    found["until"] = "switched"


def in_another_order(found):
    found["rounds"].reverse()


def with_a_load_of_what_it_touches(found):
    found["rounds"] = [{"phase": "load", "together": False, "steps": [{**LOAD, "step": "step load store@db1"}]}]


def with_a_load_of_something_else(found):
    found["rounds"] = [{"phase": "load", "together": False, "steps": [{**LOAD, "step": "step load other@db1"}]}]


def with_a_removal(found):
    found["removals"] = {"old@app1": ["material"]}


def with_more_forgotten(found):
    found["forgetting"] = {"store@db1": ["permit-sql"]}


LOAD = {"of": [], "why": "load", "sets": []}
CHANGES = [
    (without_a_step, "only in that one: step permit-", False),
    (without_a_step_but_one_that_sets_more, "not as in that one: step permit-", True),
    (with_another_name, "not as in that one: identity store@db1", True),
    (with_a_step_more, "not in that one: step permit-x y@z", True),
    (further, "not in that one: goal rollout until switched; only in that one: goal rollout until enforced", True),
    (in_another_order, "its rounds come in another order", False),
    (with_a_load_of_what_it_touches, "not in that one: step load store@db1", False),
    (with_a_removal, "not in that one: removal old@app1", True),
    (with_more_forgotten, "not in that one: forgetting of store@db1", True),
    (with_a_load_of_something_else, "not in that one: step load other@db1", True),
]


@pytest.mark.parametrize(("change", "words", "_always"), CHANGES)
def test_another_plan_is_refused_with_what_differs(change, words, _always):
    approved, found = content(), copy.deepcopy(content())
    change(found)
    with pytest.raises(TlsError) as caught:
        refuse_other_plan(approved, found, begun=False)
    assert words in str(caught.value)
    assert "have this one approved" in str(caught.value)


@pytest.mark.parametrize(("change", "_words", "always"), CHANGES)
def test_what_is_left_of_a_plan_that_was_begun_is_approved_and_nothing_besides(change, _words, always):
    approved, found = content(), copy.deepcopy(content())
    change(found)
    if not always:
        refuse_other_plan(approved, found, begun=True)
        return
    with pytest.raises(TlsError):
        refuse_other_plan(approved, found, begun=True)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"version": 99, "rounds": [], "store": {}, "material": {}}'])
def test_a_file_that_is_no_plan_of_this_version_is_none(data):
    assert read_plan(data) is None
