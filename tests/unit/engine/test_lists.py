# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A newer revocation list is a reason for a generation by itself, and holds no stage up."""

from __future__ import annotations

import dataclasses

from ansible_collections.connsec.tls.plugins.module_utils._core._holding import material_fault
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._wanting import Wishes

from .scenes import ask_for, at_stage, scene_of, showing

STORE = "store@db1"


def reading(lists, installed=None):
    """Return the fleet enforced, with a server that is to be given these lists, and has been given others."""
    scene = at_stage(scene_of(), "enforced")
    wanted = {**scene.wanted, STORE: dataclasses.replace(scene.wanted[STORE], lists=lists)}
    inputs = {**scene.instances[STORE].inputs, "crl": installed}
    return showing(dataclasses.replace(scene, wanted=wanted), STORE, inputs=inputs)


def test_a_newer_list_is_installed_and_loaded_and_nothing_else_is_done():
    scene = reading(("connsec/issuing-000001 2", "connsec/root 1"), ["connsec/issuing-000001 1", "connsec/root 1"])
    plan = make_plan(scene, ask_for(scene))
    assert material_fault(scene, scene.model.pair("router@app1->store.sql@db1").server) == (
        "a newer revocation list is there"
    )
    assert plan.material == {"db1": (STORE,)}
    assert [[step.target for step in this.steps] for this in plan.rounds] == [["step load %s" % STORE]]
    assert {view.stage for view in plan.views} == {"enforced"}


def test_the_list_that_is_there_already_and_one_that_nobody_reads_are_no_reason():
    for lists, installed in ((("connsec/root 1",), ["connsec/root 1"]), (None, None)):
        scene = reading(lists, installed)
        assert make_plan(scene, ask_for(scene)).empty


DUE = {"authority connsec issuing CRL": "half of its life has passed", "authority other root CRL": "no list yet"}


def test_a_list_that_this_run_is_about_to_make_is_given_out_in_this_run():
    scene = scene_of()
    kinds = {name: dataclasses.replace(kind, formats=("crl",)) for name, kind in scene.kinds.items()}
    for given, why in ((kinds, "half of its life has passed"), (scene.kinds, "")):
        wishes = Wishes(scene.model, given, scene.addresses)
        client = scene.model.pair("router@app1->store.sql@db1").client
        found = wishes.wanted(
            client,
            certificates={client.name: "c"},
            roots={"connsec": ["r"]},
            due=DUE,
            lists={"connsec": ["connsec/root 1"], "other": ["other/root 1"]},
        )
        assert found.due == why
        assert found.lists == (("connsec/root 1",) if why else None)
