# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of AIX and Solaris in the plan and at the gates: what is blocked, what is asked, and what evidence counts."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._blocked import (
    pairs_of_other_systems,
    with_pairs_blocked,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import Socket
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._soak import DAY, listeners_by_host, why_not_soaked
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import examine

from .scenes import MODEL, ask_for, at_stage, scene_of, showing, with_sessions

OF_ROUTER = ["router@app1->confserv.default@cfg1", "router@app1->confserv.default@cfg2", "router@app1->store.sql@db1"]
STORE = "router@app1->store.sql@db1"


def with_system(host: str, system: str):
    """Return the model with another system on a host."""
    return {**MODEL, "hosts": {**MODEL["hosts"], host: {**MODEL["hosts"][host], "os": system}}}


def built_for(scene, name: str, **more):
    """Return the kinds with other fields in one of them."""
    return {**scene.kinds, name: dataclasses.replace(scene.kinds[name], **more)}


EVERYWHERE = ("linux", "aix", "solaris")
ENDS = [
    ({}, "router@app1 runs on aix, and kind thing is not built for it"),
    ({"systems": EVERYWHERE}, None),
    ({"systems": EVERYWHERE, "environment": {"target": "src"}}, None),
    (
        {"systems": EVERYWHERE, "environment": {"target": "unit"}},
        "router@app1 is given its environment by unit, which aix does not have; it has file, login, src, system",
    ),
    (
        {"systems": EVERYWHERE, "environment": {"target": "smf"}},
        "router@app1 is given its environment by smf, which aix does not have; it has file, login, src, system",
    ),
]


@pytest.mark.parametrize(("fields", "sentence"), ENDS)
def test_an_end_that_is_not_built_for_its_system_blocks_its_pairs_and_no_others(fields, sentence):
    scene = scene_of(with_system("app1", "aix"))
    why = pairs_of_other_systems(scene.model, built_for(scene, "router@app1", **fields))
    assert why == ({} if sentence is None else dict.fromkeys(OF_ROUTER, sentence))
    blocked = with_pairs_blocked(scene.model, why)
    assert sorted(pair.id for pair in blocked.pairs if pair.blocked) == sorted(why)


def test_a_kind_that_says_nothing_goes_on_on_linux():
    scene = scene_of()
    assert pairs_of_other_systems(scene.model, scene.kinds) == {}


def test_windows_stays_blocked_by_its_host():
    scene = scene_of()
    model = with_system("app1", "windows")
    blocked = {pair.id: pair.blocked for pair in scene_of(model).model.pairs if pair.blocked}
    assert sorted(blocked) == OF_ROUTER
    assert set(blocked.values()) == {"app1 runs windows, and looking at sockets and processes there is not built yet"}
    assert not [pair for pair in scene.model.pairs if pair.blocked]


def test_a_look_says_which_system_it_is_meant_for_and_nothing_more_on_linux():
    scene = scene_of(with_system("app1", "aix"))
    look = LookPlan(scene, token="t")
    look.see(*(end for pair in scene.model.pairs for end in pair.ends))
    assert {host: request.get("system") for host, request in look.requests().items()} == {
        **dict.fromkeys(("cfg1", "cfg2", "app2", "db1")),
        "app1": "aix",
    }


@pytest.mark.parametrize("system", ["aix", "solaris"])
def test_peers_are_collected_there_too_and_told_from_our_looks_by_what_their_hosts_say(system):
    scene = at_stage(scene_of(with_system("db1", system)), "switched")
    (row,) = listeners_by_host(scene)["db1"]
    assert "looks" not in row, "no host has told its ports yet"
    (pair, *_others) = scene.model.pairs_of_listener("store@db1", "sql")
    client = pair.client.host
    seen = dataclasses.replace(scene.host(client), probe_ports=(61000, 65535))
    told = dataclasses.replace(scene, hosts={**scene.hosts, client: seen})
    found = listeners_by_host(told)
    assert found["db1"] == [{**row, "looks": dict.fromkeys(sorted(told.addresses_of(client)), 61000)}]
    assert not any("looks" in each for each in found["cfg1"]), "Linux tells it by itself"
    why = next(v.why for v in make_plan(told, ask_for(told, soak=7 * DAY)).views if v.pair.server.name == "store@db1")
    assert why is not None
    assert (why.fault, why.seen) == ("held", "nobody has collected them so far")
    assert {view.why for view in make_plan(scene, ask_for(scene, soak=0.0)).views} == {None}


def test_where_peers_cannot_be_collected_enforcement_says_so():
    scene = at_stage(scene_of(with_system("db1", "windows")), "switched")
    assert sorted(listeners_by_host(scene)) == ["cfg1", "cfg2"]
    (pair, *_others) = scene.model.pairs_of_listener("store@db1", "sql")
    why = why_not_soaked(scene, pair, 7 * DAY)
    assert why is not None
    assert (why.fault, why.seen) == ("held", "collecting them is not built for windows")
    assert "-e tls_soak=0" in why.todo


# Sockets that the system calls nobody's


def of_router(port: int) -> Socket:
    """Return a session of the router's host to the store, which may be anybody's there."""
    return Socket("10.0.0.3:41000", "10.0.0.5:%d" % port, owned=False)


def switched(*sockets: Socket, listed: bool = False):
    """Return what the gate says of the router once it should use TLS, and these sockets are seen on its host."""
    settings = {"store": {"sessions": {"file": "/var/run/sessions.jsonl"}}}
    scene = at_stage(scene_of(with_system("app1", "aix"), settings if listed else None), "switched")
    scene = showing(scene, "router@app1", sockets=sockets)
    pair = next(pair for pair in scene.model.pairs if pair.id == STORE)
    found = examine(with_sessions(scene, pair) if listed else scene, pair)
    return next(each for each in found if each.gate == "switched")


def test_a_clear_session_that_may_be_anybodys_speaks_against_the_client():
    found = switched(of_router(5432))
    assert (found.holds, found.fault) == (False, "leftover")


def test_a_session_over_tls_that_may_be_anybodys_is_no_evidence_of_live_traffic():
    found = switched(of_router(5433))
    assert (found.holds, found.live) == (True, False)
    assert "its setting reads back" in found.seen


def test_a_session_that_the_server_lists_is_evidence_where_sockets_are_nobodys():
    found = switched(of_router(5433), listed=True)
    assert (found.holds, found.live) == (True, True)
