# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall sheet: a line for each new flow between hosts, and gates that cite it."""

from __future__ import annotations

import copy
import csv

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import SeenProbe
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import GATES
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


@pytest.mark.parametrize(
    ("kind", "cites"), [("no_answer", True), ("no_route", True), ("not_permitted", True), ("connection_refused", False)]
)
def test_a_gate_that_nobody_answers_cites_the_line(kind, cites):
    scene = at_stage(scene_of(), "permissive")
    pair = scene.model.pair(DESK_DB)
    silent = SeenProbe("timeout", kind, reason="10.0.0.5:5433 does not answer in time")
    found = GATES["permissive"](with_probe(scene, pair, tls=silent), pair)
    cited = "; line 6 of the firewall sheet (app2 (10.0.0.4) -> 10.0.0.5 tcp 5433)"
    assert found.seen == "10.0.0.5:5433 does not answer in time" + (cited if cites else "")
    assert found.todo == ("have line 6 allowed" if cites else "look at the log of store@db1")


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
