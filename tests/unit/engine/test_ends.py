# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends that are not ours: what is seen of them from our own, and whom a pair waits for."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import (
    Peer,
    SeenProbe,
    SeenWatch,
    Session,
    Socket,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import examine, stage_of
from ansible_collections.connsec.tls.plugins.module_utils._core._strangers import strangers
from ansible_collections.connsec.tls.plugins.module_utils._core._survey import Survey
from ansible_collections.connsec.tls.plugins.module_utils._core._wanting import Wishes

from .scenes import HOSTS, MODEL, answers, ask_for, at_stage, scene_of, showing, with_probe

PARTNER = {"kind": "desktop", "managed": False, "addresses": ["192.0.2.0/28"], "owner": "Workplace team"}
TRUSTED = {**PARTNER, "trust_file": "partner.pem"}
TRUNK = {"port": 5060, "secure_port": 5061, "protocol": "sip"}
CARRIER = {
    "kind": "appliance",
    "managed": False,
    "addresses": ["198.51.100.7"],
    "trust_file": "carrier.pem",
    "listeners": {"trunk": TRUNK},
}


def model_with(*, partner=None, mode="simple"):
    store = {**MODEL["components"]["store"]}
    store["listeners"] = {"sql": {**store["listeners"]["sql"], "mode": mode}}
    components = {**MODEL["components"], "store": store, "partner": partner or PARTNER, "carrier": CARRIER}
    return {
        **MODEL,
        "components": components,
        "connections": [
            {"client": "partner", "server": "store.sql"},
            {"client": "router", "server": "store.sql"},
            {"client": "router", "server": "carrier.trunk"},
        ],
    }


def pair_of(scene, client):
    return next(pair for pair in scene.model.pairs if pair.id.startswith(client))


def with_sockets(scene, *peers):
    """Return the scene with these sockets at the server's end; a port below 6000 is the server's own."""
    rows = tuple(Socket("10.0.0.5:%d" % port, peer) for port, peer in peers)
    return showing(scene, "store@db1", sockets=rows)


@pytest.mark.parametrize(
    ("sockets", "stage", "seen"),
    [
        ([], "permissive", "no session of it was seen yet"),
        ([(5433, "192.0.2.9:40000")], "switched", "a TLS session: 192.0.2.9:40000"),
        ([(5432, "192.0.2.9:40000")], "permissive", "a clear session of it: 192.0.2.9:40000 to 10.0.0.5:5432"),
        ([(5433, "192.0.2.9:1"), (5432, "192.0.2.10:2")], "permissive", "a clear session of it: 192.0.2.10:2"),
        ([(5433, "192.0.2.77:40000")], "permissive", "no session of it was seen yet"),
        ([(5433, HOSTS["app1"] + ":40000")], "permissive", "no session of it was seen yet"),
    ],
)
def test_a_client_that_is_not_ours_is_judged_by_its_servers_sockets(sockets, stage, seen):
    scene = with_sockets(at_stage(scene_of(model_with()), "switched"), *sockets)
    evidence = examine(scene, pair_of(scene, "partner"))
    switched = next(item for item in evidence if item.gate == "switched")
    assert stage_of(evidence) == stage
    assert switched.seen.startswith(seen)
    assert switched.live == (stage == "switched")
    if stage == "permissive":
        assert switched.todo == "ask Workplace team to have partner move to TLS"


def test_sessions_that_a_server_lists_speak_for_a_client_that_is_not_ours():
    settings = {"store": {"shape": "same_port", "sessions": {"file": "/s"}}}
    scene = at_stage(scene_of(model_with(), settings), "switched")
    pair = pair_of(scene, "partner")
    for session, stage in (
        (Session("192.0.2.3:65000", tls=True), "switched"),
        (Session("192.0.2.3:65000", tls=True, ended=True), "switched"),
        (Session("192.0.2.3:65000"), "permissive"),
    ):
        assert stage_of(examine(showing(scene, "store@db1", sessions=(session,)), pair)) == stage, session


@pytest.mark.parametrize(
    ("highest", "clear", "stage"), [("switched", "clear", "switched"), ("plain", "refused", "enforced")]
)
def test_a_client_that_is_away_at_the_moment_stays_where_it_was(highest, clear, stage):
    scene = at_stage(scene_of(model_with()), "switched")
    pair = pair_of(scene, "partner")
    scene = with_probe(dataclasses.replace(scene, highest={pair.id: highest}), pair, clear=clear)
    evidence = examine(scene, pair)
    assert stage_of(evidence) == stage
    assert "no session at the moment" in next(item for item in evidence if item.gate == "switched").seen


def test_what_is_due_at_our_end_is_planned_and_nothing_is_at_the_other():
    scene = scene_of(model_with())
    plan = make_plan(scene, ask_for(scene))
    assert {step.target for this in plan.rounds for step in this.steps} == {
        "step connect-carrier.trunk router@app1",
        "step connect-store.sql router@app1",
        "step enforce-sql store@db1",
        "step permit-sql store@db1",
    }
    assert set(plan.material) == {"app1", "db1"}


def test_a_pair_that_waits_for_an_owner_is_waiting_and_keeps_its_listener_open():
    scene = at_stage(scene_of(model_with()), "switched")
    view = Survey(scene, ask_for(scene)).view(pair_of(scene, "partner"))
    assert (view.status, view.stage, view.why.todo) == (
        "waiting",
        "permissive",
        "ask Workplace team to have partner move to TLS",
    )


def test_a_listener_is_looked_at_from_our_end_by_what_it_has_to_present():
    scene = scene_of(model_with(partner=TRUSTED, mode="mutual"))
    plan = LookPlan(scene, token="t")
    for pair in scene.model.pairs:
        if pair.client.component == "partner":
            plan.dial(pair)
            plan.see(*pair.ends)
            plan.watch(pair.server, "sql")
    (host,) = plan.hosts
    request = plan.requests()[host]
    assert host == "db1"
    assert [row["name"] for row in request["instances"] if row["sockets"]] == ["store@db1"]
    probe = next(row for row in request["probes"] if row["tls"])
    assert (probe["trust"], probe["pinned"], probe["certificate"]) == (
        "/etc/connsec/store/current/fullchain.pem",
        True,
        None,
    )


def test_a_listener_that_demands_certificates_still_presents_ours_to_a_look_that_has_none():
    scene = at_stage(scene_of(model_with(partner=TRUSTED, mode="mutual")), "demanded")
    pair = pair_of(scene, "partner")
    turned_away = SeenProbe(
        "alert", "certificate_required", sha256="sha-store@db1", demanded=True, foreign="refused", reason="demands one"
    )
    scene = with_sockets(with_probe(scene, pair, tls=turned_away), (5433, "192.0.2.9:40000"))
    assert stage_of(examine(scene, pair)) == "demanded"
    other = with_probe(scene, pair, tls=dataclasses.replace(turned_away, sha256="another"))
    assert stage_of(examine(other, pair)) == "presented"


def test_a_presenter_that_nothing_could_be_verified_by_is_blocked():
    scene = scene_of(model_with(mode="mutual"))
    assert "has no trust_file" in pair_of(scene, "partner").blocked


def test_peers_of_a_known_client_are_no_strangers():
    scene = at_stage(scene_of(model_with()), "switched")
    for address, words in (("192.0.2.9", "a clear session of partner@partner"), ("192.0.2.99", "no enumerated client")):
        watched = {"store.sql@db1": SeenWatch(peers=(Peer(address, 1),))}
        assert words in strangers(scene, pair_of(scene, "partner").server, ["sql"], watched).evidence.seen


@pytest.mark.parametrize(
    ("tls", "clear", "stage", "todo"),
    [
        (SeenProbe("refused", "connection_refused", reason="refused"), "clear", "presented", "answer over TLS"),
        (SeenProbe("tls", "unknown_authority", reason="unknown"), "clear", "presented", "trust_file vouches for"),
        (None, "clear", "switched", "ask the owner of carrier to have carrier refuse plaintext"),
        (None, "refused", "enforced", ""),
    ],
)
def test_a_server_that_is_not_ours_is_judged_from_its_clients_host(tls, clear, stage, todo):
    scene = at_stage(scene_of(model_with()), "switched")
    pair = next(pair for pair in scene.model.pairs if pair.server.component == "carrier")
    good = answers(pair, sha256="whatever it has", old_protocols={"TLSv1.1": "refused"})
    scene = with_probe(scene, pair, tls=tls or good, clear=clear)
    evidence = examine(scene, pair)
    assert stage_of(evidence) == stage
    assert todo in evidence[-1].todo
    assert evidence[-1].rule.waits or stage == "enforced"


def test_a_server_that_is_not_ours_and_does_not_answer_in_time_may_lie_behind_a_line_of_the_sheet():
    scene = at_stage(scene_of(model_with()), "permissive")
    pair = next(pair for pair in scene.model.pairs if pair.server.component == "carrier")
    silent = SeenProbe("timeout", "no_answer", reason="198.51.100.7:5061 does not answer in time")
    last = examine(with_probe(scene, pair, tls=silent), pair)[-1]
    line = scene.flow(pair).line
    cited = "; line %d of the firewall sheet (app1 (10.0.0.3) -> 198.51.100.7 tcp 5061)" % line
    assert last.seen == silent.reason + cited
    assert last.todo.startswith("have line %d allowed; if it is, ask the owner of carrier to have carrier" % line)
    assert last.rule.waits


def test_ours_trust_what_the_file_of_a_server_holds_that_is_not_ours():
    scene = scene_of(model_with())
    wishes = Wishes(scene.model, scene.kinds, scene.addresses)
    router = pair_of(scene, "router").client
    roots = {"connsec": ["root"], "peer/carrier": ["abc"]}
    assert wishes.wanted(router, certificates={}, roots=roots, due={}).trust == ("abc", "root")
    store = pair_of(scene, "partner").server
    assert wishes.wanted(store, certificates={}, roots=roots, due={}).trust == ()
