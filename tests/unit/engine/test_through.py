# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies between client and server: it passes TLS on, ends it, and looks after members by itself."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._before import Before, may_start
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._model import Document, ModelError, parse_model
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import (
    Peer,
    SeenProbe,
    SeenWatch,
    Session,
    Socket,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import clear_probe, front_probe
from ansible_collections.connsec.tls.plugins.module_utils._core._sessions import sessions_of, tls_targets
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import GATES, examine, stage_of
from ansible_collections.connsec.tls.plugins.module_utils._core._strangers import strangers
from ansible_collections.connsec.tls.plugins.module_utils._core._survey import Survey
from ansible_collections.connsec.tls.plugins.module_utils._core._trial import judge, silent_servers

from .scenes import HOSTS, MODEL, answers, ask_for, at_stage, scene_of, showing, with_material, with_probe

VIP = "192.0.2.100"
BALANCER = {"kind": "appliance", "managed": False, "addresses": [VIP], "owner": "Network team"}
LISTED = {"confserv": {"sessions": {"file": "/s"}}}
ROUTER_CFG1 = "router@app1->confserv.default@cfg1"


def model_with(*connections, does="pass", balancer=None, **more):
    through = {"client": "router", "server": "confserv.default", "dial": VIP}
    through["through"] = [{"component": "balancer", "does": does}]
    components = {**MODEL["components"], "balancer": balancer or BALANCER}
    return {**MODEL, "components": components, "connections": [{**through, **more}, *connections]}


def fronted(scene, *, front=True):
    """Return the scene with a balancer that passes TLS on, or does not."""
    pair = scene.model.pair(ROUTER_CFG1)
    seen = answers(pair, address=VIP) if front else SeenProbe("refused", "connection_refused", reason="refused")
    return dataclasses.replace(scene, probes={**scene.probes, front_probe(pair): seen})


def test_each_member_is_looked_at_from_its_own_host_and_the_name_once_from_the_clients():
    scene = scene_of(model_with())
    plan = LookPlan(scene, token="t")
    for pair in scene.model.pairs:
        plan.dial(pair)
    requests = plan.requests()
    rows = {host: [row for row in requests[host]["probes"] if row["tls"]] for host in plan.hosts}
    assert {host: [(row["address"], row["name"]) for row in found] for host, found in rows.items()} == {
        "app1": [(VIP, VIP)],
        "cfg1": [(HOSTS["cfg1"], VIP)],
        "cfg2": [(HOSTS["cfg2"], VIP)],
    }
    (through,) = rows["app1"]
    assert (through["trust"], through["certificate"]) == (
        "/etc/connsec/router/current/trust.pem",
        "/etc/connsec/router/current/fullchain.pem",
    )
    assert [row["pinned"] for row in rows["cfg1"]] == [True]


def test_a_name_of_several_members_is_looked_at_in_both_ways_without_anything_in_between():
    one = scene_of({**MODEL, "connections": [{"client": "router", "server": "store.sql", "dial": "db.example"}]})
    several = scene_of({**MODEL, "connections": [{"client": "router", "server": "confserv.default", "dial": VIP}]})
    assert [pair.fronted for pair in one.model.pairs] == [False]
    assert [pair.fronted for pair in several.model.pairs] == [True, True]


@pytest.mark.parametrize(
    ("front", "seen"), [(True, None), (False, "ask Network team to have balancer pass port 2021 of 192.0.2.100 on to")]
)
def test_a_client_moves_when_its_balancer_lets_it_through(front, seen):
    scene = scene_of(model_with())
    plan = make_plan(scene, ask_for(scene, "switched"))
    this, step = next((r, s) for r in plan.rounds for s in r.steps if s.stage == "connect")
    hold = may_start(Before(fronted(at_stage(scene, "permissive"), front=front), ask_for(scene), this), step)
    assert (hold.evidence.todo.startswith(seen) and hold.waiting) if seen else hold is None


def test_a_balancer_that_does_not_pass_tls_on_is_waited_for_once_all_members_could():
    scene = fronted(at_stage(scene_of(model_with()), "permissive"), front=False)
    view = Survey(scene, ask_for(scene)).view(scene.model.pair(ROUTER_CFG1))
    assert (view.stage, view.status, view.why.fault) == ("permissive", "waiting", "theirs")
    other = scene.model.pair(ROUTER_CFG1.replace("cfg1", "cfg2"))
    behind = with_probe(scene, other, tls=SeenProbe("refused", "connection_refused"))
    assert Survey(behind, ask_for(scene)).view(scene.model.pair(ROUTER_CFG1)).status == "due"


SILENT = SeenProbe("timeout", "no_answer", reason="192.0.2.100:2021 does not answer in time")


@pytest.mark.parametrize("between", [True, False], ids=["a balancer", "nothing that anybody knows"])
def test_a_name_that_does_not_answer_its_client_in_time_cites_the_clients_line_of_the_sheet(between):
    named = {"client": "router", "server": "confserv.default", "dial": VIP}
    scene = scene_of(model_with() if between else {**MODEL, "connections": [named]})
    pair = scene.model.pair(ROUTER_CFG1)
    scene = at_stage(scene, "permissive")
    scene = dataclasses.replace(scene, probes={**scene.probes, front_probe(pair): SILENT})
    found = GATES["switched"](scene, pair)
    line = next(flow for flow in scene.flows if flow.source == "app1")
    cited = "; line %d of the firewall sheet (app1 (10.0.0.3) -> 192.0.2.100 tcp 2021)" % line.line
    assert found.seen == SILENT.reason + cited
    assert found.todo.startswith("have line %d allowed; if it is, " % line.line)
    assert found.todo.endswith("to confserv" if between else "see where 192.0.2.100 leads")


def test_a_member_that_is_silent_to_its_own_host_has_no_firewall_to_blame():
    scene = at_stage(scene_of(model_with()), "permissive")
    pair = scene.model.pair(ROUTER_CFG1)
    found = GATES["permissive"](with_probe(scene, pair, tls=SILENT), pair)
    assert (found.seen, found.todo) == (SILENT.reason, "look at the log of confserv@cfg1")


def test_a_client_that_is_set_is_judged_by_its_sessions_and_no_longer_by_the_balancer():
    scene = fronted(at_stage(scene_of(model_with()), "switched"), front=False)
    assert stage_of(examine(scene, scene.model.pair(ROUTER_CFG1))) == "switched"


def test_a_member_that_demands_certificates_is_seen_so_from_its_own_host():
    scene = at_stage(scene_of(model_with()), "demanded")
    pair = scene.model.pair(ROUTER_CFG1)
    away = SeenProbe("alert", "certificate_required", sha256="sha-confserv@cfg1", demanded=True, foreign="refused")
    assert GATES["demanded"](with_probe(scene, pair, tls=away), pair).holds
    assert GATES["permissive"](with_probe(scene, pair, tls=away), pair).holds
    closed = with_probe(scene, pair, tls=away, clear="refused")
    assert GATES["plain"](closed, pair).holds
    assert "confserv@cfg1" not in silent_servers(closed)


def test_sessions_of_a_client_lead_to_its_balancer_and_come_from_there():
    scene = fronted(at_stage(scene_of(model_with(), LISTED), "switched"))
    pair = scene.model.pair(ROUTER_CFG1)
    assert VIP + ":2021" in tls_targets(scene, pair)
    scene = showing(scene, "confserv@cfg1", sessions=(Session(VIP + ":4000", tls=True, verified=True),))
    assert sessions_of(scene, pair).mutual
    assert examine(scene, pair)[4].security == "mutual"


def test_sessions_that_two_clients_may_have_speak_for_neither_unless_all_present_a_certificate():
    other = {"client": "desk", "server": "confserv.default", "dial": VIP}
    other["through"] = [{"component": "balancer", "does": "pass"}]
    scene = fronted(at_stage(scene_of(model_with(other), LISTED), "switched"))
    pair = scene.model.pair(ROUTER_CFG1)
    sessions = [Session("%s:%d" % (VIP, port), tls=True, verified=True) for port in (1, 2)]
    ask = ask_for(scene)
    step = next(
        s for r in make_plan(scene, ask).rounds for s in r.steps if s.target == "step demand-default confserv@cfg1"
    )
    this = next(r for r in make_plan(scene, ask).rounds if step in r.steps)
    for rows, held in ((sessions, False), ([*sessions, dataclasses.replace(sessions[0], verified=False)], True)):
        shown = showing(scene, "confserv@cfg1", sessions=tuple(rows))
        for client in ("router@app1", "desk@app2"):  # what its host sees of the name both dial
            front = front_probe(shown.model.pair("%s->confserv.default@cfg1" % client))
            shown = dataclasses.replace(shown, probes={**shown.probes, front: answers(pair)})
        hold = may_start(Before(shown, ask, this), step)
        assert (hold is not None) == held, hold


def test_clear_checks_of_a_balancer_are_named_with_whoever_it_may_pass_on():
    scene = at_stage(scene_of(model_with()), "switched")
    watched = {"confserv.default@cfg1": SeenWatch(peers=(Peer(VIP, 1),))}
    hold = strangers(scene, scene.model.pair(ROUTER_CFG1).server, ["default"], watched)
    assert hold.evidence.seen == VIP + ", a clear session of router@app1 through balancer"
    enumerated = scene_of(model_with({"client": "balancer", "server": "store.sql"}))
    pair = next(pair for pair in enumerated.model.pairs if pair.client.component == "balancer")
    hold = strangers(enumerated, pair.server, ["sql"], {"store.sql@db1": SeenWatch(peers=(Peer(VIP, 1),))})
    assert hold.evidence.seen == VIP + ", a clear session of balancer@balancer"
    assert hold.evidence.todo == "ask Network team to have balancer move to TLS; then run again"


def test_a_health_check_over_tls_that_may_be_a_clients_session_holds_unexercised():
    monitor = {"client": "balancer", "server": "confserv.default"}
    trusted = {**BALANCER, "trust_file": "balancer.pem"}
    scene = fronted(at_stage(scene_of(model_with(monitor, balancer=trusted)), "switched"))
    pair = next(pair for pair in scene.model.pairs if pair.client.component == "balancer")
    own, peer = "%s:2021" % HOSTS[pair.server.host], VIP + ":40000"
    evidence = GATES["switched"](showing(scene, pair.server.name, sockets=(Socket(own, peer),)), pair)
    assert (evidence.holds, evidence.live) == (True, False)
    assert evidence.seen == "a TLS session that may be another's as well: " + peer
    assert GATES["switched"](scene, pair).todo == "ask Network team to have balancer move to TLS"
    listed = (Session(peer, tls=True, ended=True),)  # a check that came and went
    evidence = GATES["switched"](showing(scene, pair.server.name, sessions=listed), pair)
    assert (evidence.holds, evidence.live) == (True, False)


MONITOR_CFG1 = "balancer@balancer->confserv.default@cfg1"


def monitored(**more):
    """Return a fleet on TLS whose balancer looks after its members, over sessions that may be its client's as well."""
    monitor = {"client": "balancer", "server": "confserv.default", **more}
    trusted = {**BALANCER, "trust_file": "balancer.pem"}
    scene = fronted(at_stage(scene_of(model_with(monitor, balancer=trusted)), "demanded"))
    for host in ("cfg1", "cfg2"):
        rows = (Socket("%s:2021" % HOSTS[host], VIP + ":40000"),)
        scene = showing(scene, "confserv@%s" % host, sockets=rows)
    return scene


def enforcing(scene):
    """Return whether a listener may be closed whose clear port nobody was seen using, and what it waits for."""
    planned = {step.target for each in make_plan(scene, ask_for(scene)).rounds for step in each.steps}
    view = Survey(scene, ask_for(scene)).view(scene.model.pair(ROUTER_CFG1))
    return "step enforce-default confserv@cfg1" in planned, view.why and (view.why.fault, view.why.seen, view.why.todo)


def test_a_listener_stays_open_for_a_health_check_that_was_never_seen_over_tls_apart_from_others():
    assert enforcing(monitored()) == (
        False,
        (
            "unexercised",
            "the client of %s is not ours: no TLS session was seen that can be nobody else's, and no drill is named"
            % MONITOR_CFG1,
            "ask Network team whether balancer uses TLS, and name in its `drill` who said so",
        ),
    )


@pytest.mark.parametrize("how", ["a drill with a name", "a session seen before", "nothing but TLS is answered"])
def test_a_listener_is_closed_once_somebody_knows_that_a_health_check_is_on_tls(how):
    scene = monitored(**({"drill": "moved in CHG-4711, N. Admin"} if how.startswith("a drill") else {}))
    if how.startswith("a session"):
        exercised = {name.replace("cfg1", host): "2026-11-20" for name in (MONITOR_CFG1,) for host in ("cfg1", "cfg2")}
        scene = dataclasses.replace(scene, exercised=exercised)
    if how.startswith("nothing"):
        for pair in scene.model.pairs:
            if pair.client.component == "balancer":
                scene = with_probe(scene, pair, clear="refused")
    assert enforcing(scene) == (True, None)


def test_a_clear_port_that_does_not_answer_in_time_is_not_one_that_refuses_plaintext():
    scene = monitored()
    late = SeenProbe("timeout", "timeout", reason="no answer in time")
    scene = dataclasses.replace(
        scene,
        probes={
            **scene.probes,
            **{clear_probe(p): late for p in scene.model.pairs if p.client.component == "balancer"},
        },
    )
    assert enforcing(scene)[0] is False


def test_a_drill_of_a_client_that_is_not_ours_is_named_in_its_evidence():
    scene = monitored(drill="moved in CHG-4711, N. Admin")
    evidence = GATES["switched"](scene, scene.model.pair(MONITOR_CFG1))
    assert evidence.seen.endswith("as well: %s:40000; moved in CHG-4711, N. Admin" % VIP)


def test_the_firewall_sheet_has_the_way_to_a_balancer_and_from_there_to_each_member():
    lines = [(flow.source, flow.source_addresses, flow.dial) for flow in scene_of(model_with()).flows]
    assert lines == [
        ("app1", (HOSTS["app1"],), VIP),
        ("balancer", (VIP,), HOSTS["cfg1"]),
        ("balancer", (VIP,), HOSTS["cfg2"]),
    ]


DIALS_TLS = Socket("10.0.0.3:4001", VIP + ":2021", now=False, new=True)
DIALS_CLEAR = Socket("10.0.0.3:4002", VIP + ":2020", now=False, new=True)


@pytest.mark.parametrize(
    ("sockets", "listed", "stays"),
    [
        ((DIALS_TLS,), True, True),
        ((DIALS_TLS,), False, False),
        ((DIALS_TLS, DIALS_CLEAR), True, False),
        ((dataclasses.replace(DIALS_TLS, ago=2.9), dataclasses.replace(DIALS_CLEAR, ago=3.0)), True, True),
        ((dataclasses.replace(DIALS_TLS, ago=2.9), dataclasses.replace(DIALS_CLEAR, ago=0.2)), True, False),
        ((), True, True),
    ],
    ids=[
        "a member lists a session",
        "no member lists any",
        "it goes on in the clear",
        "it was in the clear before",
        "it dials both in turn",
        "it was not seen dialling",
    ],
)
def test_a_client_that_connects_anew_through_a_balancer_shows_in_the_list_of_any_member(sockets, listed, stays):
    before = fronted(at_stage(scene_of(model_with(), LISTED), "permissive"))
    this = next(each for each in make_plan(before, ask_for(before)).rounds if each.phase == "connect")
    after = showing(at_stage(before, "switched"), "router@app1", sockets=sockets)
    for member in ("confserv@cfg1", "confserv@cfg2"):
        after = showing(after, member, sessions=(), keeps_ended=True)
    if listed:
        after = showing(after, "confserv@cfg2", sessions=(Session(VIP + ":4000", tls=True, ended=True),))
    verdict = judge(after, before, this, started=this.steps, failures={})
    assert (verdict.reverse == ()) == stays, verdict


# What ends TLS

ONWARD = {"client": "balancer", "server": "confserv.default"}
TRUSTED = {**BALANCER, "trust_file": "balancer.pem"}


def test_what_ends_tls_is_what_the_client_verifies_and_goes_on_by_a_connection_of_its_own():
    scene = scene_of(model_with(ONWARD, does="terminate", balancer=TRUSTED))
    assert [pair.id for pair in scene.model.pairs if pair.client.component == "router"] == [
        "router@app1->balancer.confserv.default@balancer"
    ]
    assert {pair.server.name for pair in scene.model.pairs if pair.client.component == "balancer"} == {
        "confserv@cfg1",
        "confserv@cfg2",
    }
    scene = with_material(at_stage(scene, "switched"))
    pair = scene.model.pair("router@app1->balancer.confserv.default@balancer")
    assert (pair.mode, pair.dial, pair.fronted) == ("simple", VIP, False)
    assert stage_of(examine(with_probe(scene, pair, tls=answers(pair, sha256="the balancer's")), pair)) == "switched"


REFUSED = [
    (
        model_with(does="terminate", balancer=TRUSTED),
        "connections[0].through: balancer ends TLS, so its own connection is one to protect as well: enumerate"
        " balancer->confserv.default",
    ),
    (
        model_with(ONWARD, does="terminate", balancer={"kind": "thing", "hosts": ["app2"]}),
        "connections[0].through: balancer is ours and ends TLS: enumerate router->balancer.<its listener> and"
        " balancer->confserv.default instead",
    ),
    (model_with(dial=None), "connections[0].dial: it is needed: what is dialled to get through balancer"),
]


@pytest.mark.parametrize(("model", "told"), REFUSED, ids=[told for _unused, told in REFUSED])
def test_what_cannot_lie_between_is_refused(model, told):
    with pytest.raises(ModelError) as refused:
        parse_model([Document("f.yml", model)], list(HOSTS))
    assert "f.yml: " + told in str(refused.value)


def test_what_ends_tls_without_a_certificate_that_anybody_knows_is_blocked():
    scene = scene_of(model_with(ONWARD, does="terminate"))
    pair = scene.model.pair("router@app1->balancer.confserv.default@balancer")
    assert pair.blocked.startswith("balancer is not ours and has no trust_file")
