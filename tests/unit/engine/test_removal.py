# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves the hosts once the model does not name it any more, and what stays, and why."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._removal import plan_removals
from ansible_collections.connsec.tls.plugins.plugin_utils._fleet import ends_of

from .scenes import DECIDED, MODEL, scene_of

ROW = {
    "instance": "old@app1",
    "generation": "000002",
    "identities": [{"name": "old@app1", "serial": "0a", "not_after": 100, "issuer": "i1", "root": "r1"}],
    "trust": ["r1"],
    "environment": False,
    "steps": [],
    "used": [],
}


def planned(row, folder="old", host="app1", model=None, **more):
    found = plan_removals(scene_of(model).model, {host: {folder: {**ROW, **row}}}, roots={"r1"}, **more)
    return [(each.name, each.reason, each.held) for each in found]


IDLE = {**MODEL, "components": {**MODEL["components"], "idle": {"kind": "thing", "hosts": ["app1"]}}}
LEAVE = [
    # what a host shows, in which folder, the model, what leaves and why, and why it does not now
    ({}, "old", None, ("old@app1", "old is not in the model", "")),
    ({"instance": "desk@app1"}, "desk", None, ("desk@app1", "desk is not on app1 any more", "")),
    ({"instance": "idle@app1"}, "idle", IDLE, ("idle@app1", "no connection of the model names it", "")),
    ({"identities": []}, "old", None, ("old@app1", "old is not in the model", "")),
    ({"half": True, "instance": None}, ".gone-old", None, ("old@app1", "an earlier removal was cut off", "")),
    ({"used": ["process 7 names it"]}, "old", None, ("old@app1", "old is not in the model", "process 7 names it")),
]


@pytest.mark.parametrize(("row", "folder", "model", "leaves"), LEAVE)
def test_what_the_model_does_not_name_leaves_its_host(row, folder, model, leaves):
    assert planned(row, folder, model=model) == [leaves]


STAY = [
    ({"instance": "router@app1"}, "router"),  # the model names it
    ({"identities": [{**ROW["identities"][0], "root": "r9"}], "trust": ["r9"]}, "old"),  # another store issued it
    ({"instance": "old@app9"}, "old"),  # a copy of another host's
    ({"instance": "other@app1"}, "old"),  # a copy of another folder
]


@pytest.mark.parametrize(("row", "folder"), STAY)
def test_what_is_named_or_somebody_elses_stays(row, folder):
    assert planned(row, folder) == []


def test_an_instance_of_a_connection_that_is_blocked_stays():
    model = {**MODEL, "connections": [*MODEL["connections"][:3], {**MODEL["connections"][3], **DECIDED}]}
    assert planned({"instance": "desk@app2"}, "desk", host="app2", model=model) == []


def test_a_host_outside_limit_is_named_and_left_alone():
    assert planned({}, hosts={"app2"})[0][2] == "--limit leaves app1 out"
    assert planned({}, hosts={"app1"})[0][2] == ""


def test_the_plan_says_what_goes_away():
    row = {**ROW, "environment": True, "steps": ["permit-a", "enforce-a"]}
    (found,) = plan_removals(scene_of().model, {"app1": {"old": row}}, roots={"r1"})
    assert found.parts == ("material", "environment", "what 2 steps kept")


def test_a_certificate_that_others_still_present_stays_good():
    shared = {**ROW["identities"][0], "name": "shared", "serial": "0b"}
    model = copy.deepcopy(MODEL)
    model["identities"] = {"shared": {}}
    model["components"]["store"]["identities"] = ["shared"]
    row = {**ROW, "identities": [*ROW["identities"], shared]}
    for given, serials in ((None, ["0a", "0b"]), (model, ["0a"])):
        (found,) = plan_removals(scene_of(given).model, {"app1": {"old": row}}, roots={"r1"})
        assert [each.serial for each in found.certificates] == serials


def test_the_ends_of_a_pair_are_read_from_its_name():
    assert ends_of("router@app1->store.sql@db1") == ("router@app1", "store@db1")
