# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall sheet: a line for each new flow between hosts, and gates that cite it."""

from __future__ import annotations

import copy
import csv
import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import SeenProbe
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import GATES
from ansible_collections.connsec.tls.plugins.module_utils._core._steps import Step
from ansible_collections.connsec.tls.plugins.module_utils._core._trial import Trial
from ansible_collections.connsec.tls.plugins.plugin_utils._firewall import needed_flows, write_sheet

from .scenes import MODEL, ask_for, at_stage, scene_of, with_probe

DESK_DB = "desk@app2->store.sql@db1"
WORDS = [
    "app1 (10.0.0.3) -> 10.0.0.1 tcp 2021",
    "app1 (10.0.0.3) -> 10.0.0.2 tcp 2021",
    "app1 (10.0.0.3) -> 10.0.0.5 tcp 5433",
    "app2 (10.0.0.4) -> 10.0.0.1 tcp 2021",
    "app2 (10.0.0.4) -> 10.0.0.2 tcp 2021",
    "app2 (10.0.0.4) -> 10.0.0.5 tcp 5433",
]


def words(scene):
    return [flow.words for flow in scene.flows]


def test_every_client_host_and_secure_port_is_a_line():
    scene = scene_of()
    assert words(scene) == WORDS
    assert [flow.line for flow in scene.flows] == [1, 2, 3, 4, 5, 6]
    assert scene.flow(scene.model.pair(DESK_DB)).connections == ("desk->store.sql",)


@pytest.mark.parametrize("shape", ["same_port", "flip"])
def test_a_listener_that_keeps_its_port_brings_no_flow(shape):
    scene = scene_of(settings={"store": {"shape": shape, "sessions": {"file": "/run/s"}}})
    assert not [line for line in words(scene) if "10.0.0.5" in line]


def test_what_stays_on_one_host_is_no_flow_and_several_clients_of_a_host_share_one():
    model = copy.deepcopy(MODEL)
    model["components"]["desk"]["hosts"] = ["app1"]
    model["components"]["router"]["hosts"] = ["app1"]
    model["components"]["store"]["hosts"] = ["app1"]
    found = scene_of(model).flows
    assert [flow.dial for flow in found] == ["10.0.0.1", "10.0.0.2"]
    assert found[0].connections == ("desk->confserv.default", "router->confserv.default")


def test_a_plan_names_the_flows_of_its_wave_that_nobody_has_seen_open():
    scene = at_stage(scene_of(), "plain")
    first = make_plan(scene, ask_for(scene, waves=[1]))
    assert [flow.line for flow in needed_flows(scene, first)] == [1, 2, 3, 4, 5], "numbers are those of the model"
    assert needed_flows(scene, make_plan(scene, ask_for(scene, "presented"))) == []
    scene = at_stage(scene_of(), "permissive")
    assert needed_flows(scene, make_plan(scene, ask_for(scene))) == []


SILENT = SeenProbe("timeout", "no_answer", reason="10.0.0.5:5433 does not answer in time")
CITED = SILENT.reason + "; line 6 of the firewall sheet (app2 (10.0.0.4) -> 10.0.0.5 tcp 5433)"


@pytest.mark.parametrize(
    ("kind", "cites"), [("no_answer", True), ("no_route", True), ("not_permitted", True), ("connection_refused", False)]
)
def test_a_gate_that_nobody_answers_cites_the_line_and_waits_for_the_network(kind, cites):
    scene = at_stage(scene_of(), "permissive")
    pair = scene.model.pair(DESK_DB)
    found = GATES["permissive"](with_probe(scene, pair, tls=dataclasses.replace(SILENT, kind=kind)), pair)
    assert found.seen == (CITED if cites else SILENT.reason)
    assert found.todo == ("have line 6 allowed, and run again" if cites else "look at the log of store@db1")
    assert (found.fault, found.rule.waits) == (("network", True) if cites else ("handshake", False))


def test_a_server_that_was_reached_and_answers_no_handshake_has_no_firewall_to_blame():
    scene = at_stage(scene_of(), "permissive")
    pair = scene.model.pair(DESK_DB)
    hangs = "10.0.0.5:5433 accepts the connection and does not answer a handshake"
    silent = dataclasses.replace(SILENT, reason=hangs, address="10.0.0.5")
    found = GATES["permissive"](with_probe(scene, pair, tls=silent), pair)
    assert (found.seen, found.fault, found.rule.waits) == (hangs, "handshake", False)


def after_a_step(stage, *, before, after):
    """Return what the trial of a step says, where its pair was at these stages before and after, and is silent now."""
    scene = at_stage(scene_of(), "plain")
    pair = scene.model.pair(DESK_DB)
    seen = with_probe(at_stage(scene, after, pair), pair, tls=SILENT)
    of = (DESK_DB,) if stage == "connect" else ("sql",)
    step = Step("%s-sql" % stage, stage, pair.end_of(stage), of, (DESK_DB,), "")
    return Trial(seen, at_stage(scene, before, pair), step, None)


def test_a_server_that_was_permitted_keeps_its_listener_while_its_clients_wait_for_the_network():
    trial = after_a_step("permit", before="presented", after="permissive")
    assert trial.against.seen == CITED
    assert not trial.is_taken_back()
    assert not trial.is_down(), "the other members go on"
    assert trial.notes()[DESK_DB].waiting


@pytest.mark.parametrize(
    ("stage", "before", "after"), [("connect", "permissive", "switched"), ("load", "permissive", "permissive")]
)
def test_what_answered_before_a_step_does_not_wait_for_the_network_after_it(stage, before, after):
    trial = after_a_step(stage, before=before, after=after)
    assert (trial.against.fault, trial.against.seen) == ("handshake", CITED)
    assert trial.is_taken_back() is (stage == "connect")
    assert not trial.notes()[DESK_DB].waiting


def test_a_client_that_is_set_and_cut_off_later_waits_for_nobody():
    scene = at_stage(scene_of(), "switched")
    pair = scene.model.pair(DESK_DB)
    found = GATES["permissive"](with_probe(scene, pair, tls=SILENT), pair)
    assert (found.seen, found.fault, found.rule.waits) == (CITED, "handshake", False)


def test_the_sheet_is_a_table_that_others_open(tmp_path):
    path = write_sheet(at_stage(scene_of(), "plain"), str(tmp_path))
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[5] == {
        "line": "6",
        "from_host": "app2",
        "from_addresses": "10.0.0.4",
        "to_host": "db1",
        "to": "10.0.0.5",
        "port": "5433",
        "transport": "tcp",
        "connections": "desk->store.sql",
        "wave": "2",
        "seen": "refused",
    }
