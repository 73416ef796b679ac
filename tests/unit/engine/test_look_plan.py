# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts are asked to look at: one request a host, each place and each pair once."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan

from .scenes import at_stage, scene_of


def probes_of(plan: LookPlan, host: str) -> dict[str, t.Any]:
    return {row["id"]: row for row in plan.requests()[host]["probes"]}


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_a_pair_that_one_step_tries_thoroughly_is_tried_so_whoever_else_asks(order: tuple[bool, ...]) -> None:
    scene = scene_of()
    plan = LookPlan(scene, token="t")
    for thorough in order:
        plan.dial(scene.model.pairs[0], thorough=thorough)
    (tls,) = [row for row in probes_of(plan, scene.model.pairs[0].client.host).values() if row["tls"]]
    assert tls["old_protocols"] and tls["foreign"]


def test_a_pair_is_dialled_twice_a_look_once_over_tls_and_once_in_the_clear() -> None:
    scene = scene_of()
    plan = LookPlan(scene, token="t")
    plan.dial(scene.model.pairs[0])
    rows = probes_of(plan, scene.model.pairs[0].client.host)
    assert [(row["tls"], row["port"], row["old_protocols"]) for row in rows.values() if row["tls"]] == [
        (True, 2021, False)
    ]
    assert [row["port"] for row in rows.values() if not row["tls"]] == [2020]


def test_every_option_of_every_stage_is_read_back_once() -> None:
    scene = at_stage(scene_of(), "enforced")
    plan = LookPlan(scene, token="t")
    server = scene.model.pairs[0].server
    plan.see(server)
    plan.see(server)
    (row,) = plan.requests()[server.host]["instances"]
    names = [option["id"] for option in row["reads"]]
    assert len(names) == len(set(names)) and names


def test_a_lost_host_is_asked_nothing() -> None:
    scene = dataclasses.replace(scene_of(), lost={"app1": "it is off"})
    plan = LookPlan(scene, token="t")
    for pair in scene.model.pairs:
        plan.dial(pair)
    assert set(plan.requests()) == {"app2"}


def test_a_session_is_begun_as_the_servers_settings_say_of_its_client() -> None:
    scene = scene_of()
    login = {"user": "crm", "database": "orders", "clients": {"desk": {"user": "desk"}}}
    kinds = {name: dataclasses.replace(kind, login=login) for name, kind in scene.kinds.items()}
    plan = LookPlan(dataclasses.replace(scene, kinds=kinds), token="t")
    for pair in scene.model.pairs:
        plan.dial(pair)
    told = {
        host: {(row["user"], row["database"]) for row in request["probes"]} for host, request in plan.requests().items()
    }
    assert told == {"app1": {("crm", "orders")}, "app2": {("desk", "orders")}}


def test_an_instance_of_which_no_step_is_expected_is_seen_in_one_moment() -> None:
    scene = scene_of()
    plan = LookPlan(scene, token="t")
    clients = sorted({pair.client for pair in scene.model.pairs}, key=lambda each: each.name)
    plan.see(*clients)
    plan.glance(clients[0])
    rows = {
        row["name"]: row.get("glance", False) for request in plan.requests().values() for row in request["instances"]
    }
    assert rows == {each.name: each == clients[0] for each in clients}
