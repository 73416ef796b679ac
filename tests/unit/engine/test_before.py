# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps may start, from what is seen right before them."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._back import make_rollback
from ansible_collections.connsec.tls.plugins.module_utils._core._before import Before, may_start
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import (
    Peer,
    SeenHost,
    SeenProbe,
    SeenProcess,
    SeenWatch,
    Socket,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan

from .scenes import (
    DECIDED,
    answers,
    ask_for,
    at_stage,
    scene_of,
    showing,
    with_connection,
    with_material,
    with_options,
    with_probe,
    with_sessions,
)

ROUTER_CFG1 = "router@app1->confserv.default@cfg1"
DESK_CFG1 = "desk@app2->confserv.default@cfg1"
ROUTER_DB = "router@app1->store.sql@db1"
DESK_DB = "desk@app2->store.sql@db1"
WATCHED = {name: SeenWatch() for name in ("store.sql@db1", "confserv.default@cfg1", "confserv.default@cfg2")}
LISTED = {"confserv": {"sessions": {"file": "/s"}}}
FLIP = {"store": {"shape": "flip", "sessions": {"file": "/s"}}}


def found(rounds, target):
    """Return the round and the step of a target."""
    return next((this, step) for this in rounds for step in this.steps if step.target == target)


def held(scene, target, *, rounds=None, planned=None, ask=None, **more):
    """Return what holds a step that was planned from one scene, in another one."""
    ask = ask or ask_for(scene)
    this, step = found(rounds or make_plan(planned or scene, ask).rounds, target)
    hold = may_start(Before(scene, ask, this, **{"watched": WATCHED, **more}), step)
    return (hold.evidence.seen, hold.waiting) if hold else None


def test_a_permit_waits_for_its_material():
    scene = scene_of()
    assert held(scene, "step permit-sql store@db1") == ("no generation is installed", False)
    assert held(with_material(scene), "step permit-sql store@db1") is None


def test_a_client_is_switched_only_where_it_can_verify():
    target = "step connect-store.sql router@app1"
    planned = at_stage(scene_of(), "presented")
    assert held(planned, target) == ("/etc/store.ini [sql] tls_port is not set", False)
    ready = at_stage(scene_of(), "permissive")
    assert held(ready, target) is None
    strange = SeenProbe("tls", "unknown_authority", reason="unknown authority")
    assert held(with_probe(ready, ready.model.pair(ROUTER_DB), tls=strange), target) == ("unknown authority", False)


def test_a_client_is_switched_only_where_every_member_that_it_dials_speaks_tls():
    ready = at_stage(scene_of(), "permissive")
    pair = ready.model.pair("router@app1->confserv.default@cfg2")
    bad = with_probe(ready, pair, tls=SeenProbe("refused", "connection_refused", reason="connection refused"))
    assert held(bad, "step connect-confserv.default router@app1", planned=ready) == ("connection refused", False)


def test_a_member_is_left_alone_while_the_other_is_down():
    scene = at_stage(scene_of(), "presented")
    target = "step permit-default confserv@cfg2"
    assert held(scene, target) is None
    assert held(scene, target, down=["confserv@cfg1"]) == ("it does not, so confserv@cfg2 is left alone", True)
    assert held(scene, target, down=["store@db1"]) is None


def test_a_step_on_a_lost_host_does_not_start():
    scene = at_stage(scene_of(), "presented")
    lost = dataclasses.replace(scene, lost={"db1": "it is unreachable: no route to host"})
    assert held(lost, "step permit-sql store@db1", planned=scene) == ("it is unreachable: no route to host", False)


def test_a_demand_waits_until_every_client_was_seen_presenting():
    target = "step demand-default confserv@cfg1"
    scene = at_stage(scene_of(settings=LISTED), "switched")
    assert held(scene, target) == ("no session of it was seen", True)
    pairs = [scene.model.pair(name) for name in (ROUTER_CFG1, DESK_CFG1)]
    assert held(with_sessions(scene, *pairs), target) is None
    assert held(with_sessions(scene, *pairs, ended=True), target) is None
    half = with_sessions(with_sessions(scene, pairs[1]), pairs[0], verified=False)
    assert held(half, target, planned=scene) == ("its session 10.0.0.3:40000 presents none", True)
    ours = {name: SeenHost((), (40000, 40099)) for name in ("app1", "app2")}
    probes = dataclasses.replace(with_sessions(scene, *pairs), hosts=ours)
    assert held(probes, target) == ("no session of it was seen", True), "what our own look presented is nobody's"
    unasked = with_probe(scene, pairs[1], tls=answers(pairs[1], security="verified", reason="it was not asked for one"))
    assert held(with_sessions(unasked, *pairs), target) == ("it was not asked for one", True)


def presenting(settings=None):
    """Return the fleet switched, its clients configured to present what is installed for them."""
    scene = scene_of(settings=settings)
    kinds = {}
    for name, kind in scene.kinds.items():
        key = {**kind.reads["connect"][0], "key": "key", "value": "{key}"}
        kinds[name] = dataclasses.replace(kind, reads={**kind.reads, "connect": (*kind.reads["connect"], key)})
    return at_stage(dataclasses.replace(scene, kinds=kinds), "switched")


DEMAND = "step demand-default confserv@cfg1"
NO_KEY = "no session of it was seen, and none of the options by which it uses TLS names its key"


def test_a_client_whose_sessions_nobody_lists_counts_when_it_would_present():
    assert held(at_stage(scene_of(), "switched"), DEMAND) == (NO_KEY, True)
    scene = presenting()
    assert held(scene, DEMAND) is None
    desk = scene.model.pair(DESK_CFG1)
    unasked = with_probe(scene, desk, tls=answers(desk, security="verified"))
    assert held(unasked, DEMAND) == ("it was not asked for one", True)


def test_a_client_counts_when_it_would_present_where_its_server_does_not_say_what_it_did():
    scene = presenting({"confserv": {"sessions": {"file": "/s"}}})
    pairs = [scene.model.pair(name) for name in (ROUTER_CFG1, DESK_CFG1)]
    assert held(with_sessions(scene, *pairs, verified=None), DEMAND) is None
    unsaid = at_stage(scene_of(settings=LISTED), "switched")
    assert held(with_sessions(unsaid, *pairs, verified=None), DEMAND) == (NO_KEY, True)


def test_a_client_that_connects_rarely_counts_when_it_would_present_once_it_was_waited_for():
    scene, waited = presenting(LISTED), {**WATCHED, DEMAND: SeenWatch()}
    assert held(scene, DEMAND) == ("no session of it was seen", True)
    assert held(scene, DEMAND, watched=waited) is None
    assert held(at_stage(scene_of(settings=LISTED), "switched"), DEMAND, watched=waited) == (NO_KEY, True)
    pairs = [scene.model.pair(name) for name in (ROUTER_CFG1, DESK_CFG1)]
    bare = with_sessions(scene, *pairs, verified=False)
    assert held(bare, DEMAND, planned=scene, watched=waited)[0].endswith("presents none"), (
        "what is seen has more weight"
    )


def test_a_client_counts_only_where_its_own_account_could_read_the_key():
    for user, counts in (("crm", True), ("root", True), ("web", False)):
        scene = planned = presenting()
        for name in ("desk@app2", "router@app1"):
            scene = showing(scene, name, files={"key.pem": {"owner": "crm"}}, process=SeenProcess(user=user))
        assert (held(scene, DEMAND, planned=planned) is None) is counts, user


def test_a_demand_waits_where_the_list_of_sessions_cannot_be_read():
    scene = showing(presenting(), "confserv@cfg1", unreadable={"sessions": "/s is not there"})
    assert held(scene, DEMAND) == ("/s is not there", True)


def closing_by_demand():
    """Return the fleet switched, its server's options of `demand` ending plaintext as well."""
    scene = scene_of(settings=LISTED)
    kinds = {}
    for name, kind in scene.kinds.items():
        reads = {**kind.reads, "demand": (*kind.reads["demand"], *kind.reads["enforce"])}
        kinds[name] = dataclasses.replace(kind, reads=reads)
    scene = at_stage(dataclasses.replace(scene, kinds=kinds), "switched")
    return with_sessions(scene, *(scene.model.pair(name) for name in (ROUTER_CFG1, DESK_CFG1)))


def test_a_demand_that_ends_plaintext_as_well_waits_for_what_an_enforcement_waits_for():
    scene = closing_by_demand()
    assert held(scene, DEMAND) is None
    watched = {**WATCHED, "confserv.default@cfg1": SeenWatch(peers=(Peer("10.9.9.9", 1),))}
    assert held(scene, DEMAND, watched=watched) == ("10.9.9.9, which no enumerated client has", True)
    assert held(scene, DEMAND, watched={}) == ("nobody watched them", False)


def test_what_a_demand_has_closed_its_reverse_opens():
    scene = closing_by_demand()
    closed = at_stage(scene, "enforced")
    for name in ("confserv@cfg1", "confserv@cfg2"):
        closed = showing(closed, name, steps=frozenset({"demand-default"}))
    closed = showing(closed, "router@app1", steps=frozenset({"connect-confserv.default"}))
    plan = make_rollback(closed, ask_for(closed))
    assert not plan.stuck
    assert (plan.reopened[ROUTER_CFG1], plan.reopened[DESK_CFG1]) == ("plaintext", "open")


PEERS = [
    (Peer("10.9.9.9", 1), "10.9.9.9, which no enumerated client has"),
    (Peer("10.0.0.4", 1), "10.0.0.4, a clear session of desk@app2"),
    (Peer("10.0.0.4", 1, new=True), "10.0.0.4, a clear session of desk@app2"),
    (Peer("10.9.9.9", 1, "TIME_WAIT", new=True), "10.9.9.9, which no enumerated client has"),
    (Peer("10.9.9.9", 1, "TIME_WAIT"), None),
]


@pytest.mark.parametrize(("peer", "named"), PEERS)
def test_whoever_uses_the_clear_listener_keeps_it_open_and_is_named(peer, named):
    scene = at_stage(scene_of(), "switched")
    watched = {"store.sql@db1": SeenWatch(peers=(peer,))}
    assert held(scene, "step enforce-sql store@db1", watched=watched) == ((named, True) if named else None)


def test_who_speaks_for_a_program_over_loopback_is_no_stranger_there():
    scene = at_stage(scene_of(), "switched")
    watched = {"store.sql@db1": SeenWatch(peers=(Peer("127.0.0.1", 1),))}
    target = "step enforce-sql store@db1"
    assert held(scene, target, watched=watched) == ("127.0.0.1, which no enumerated client has", True)
    kind = dataclasses.replace(scene.kinds["store@db1"], process={"service": "tunnel", "besides": {}})
    behind = dataclasses.replace(scene, kinds={**scene.kinds, "store@db1": kind})
    assert held(behind, target, watched=watched) is None
    watched = {"store.sql@db1": SeenWatch(peers=(Peer("10.9.9.9", 1),))}
    assert held(behind, target, watched=watched) == ("10.9.9.9, which no enumerated client has", True)


def test_an_address_that_a_host_was_seen_to_have_is_its_own():
    scene = dataclasses.replace(at_stage(scene_of(), "switched"), hosts={"app2": SeenHost(("10.9.9.9",))})
    watched = {"store.sql@db1": SeenWatch(peers=(Peer("10.9.9.9", 1),))}
    assert held(scene, "step enforce-sql store@db1", watched=watched) == (
        "10.9.9.9, a clear session of desk@app2",
        True,
    )


UNWATCHED = [
    ({}, "nobody watched them"),
    ({"store.sql@db1": SeenWatch(unreadable="its host did not answer")}, "its host did not answer"),
    ({"store.sql@db1": SeenWatch(listening=False)}, "nobody listens there, as far as its host can see"),
]


@pytest.mark.parametrize(("watched", "seen"), UNWATCHED)
def test_nothing_is_enforced_that_was_not_watched(watched, seen):
    assert held(at_stage(scene_of(), "switched"), "step enforce-sql store@db1", watched=watched) == (seen, False)


def test_nothing_is_enforced_while_a_client_is_not_switched():
    scene = at_stage(scene_of(), "switched")
    back = with_options(scene, "permit", scene.model.pair(DESK_DB))
    reads = {key: None if "|tls" in key else value for key, value in scene.instances["desk@app2"].reads.items()}
    back = showing(back, "desk@app2", reads=reads)
    seen, waiting = held(back, "step enforce-sql store@db1", planned=scene)
    assert waiting and seen.startswith(DESK_DB + " is not: ")


def test_a_flip_starts_only_when_every_client_moves_with_it():
    scene = at_stage(scene_of(settings=FLIP), "presented")
    target = "step enforce-sql store@db1"
    assert held(scene, target) is None
    limited = ask_for(scene, hosts=frozenset({"db1", "app1"}))
    rounds = make_plan(scene, ask_for(scene)).rounds
    this = next(each for each in rounds if each.phase == "flip")
    without = dataclasses.replace(this, steps=tuple(s for s in this.steps if s.instance.host != "app2"))
    seen, waiting = held(scene, target, rounds=[without], ask=limited)
    assert (seen, waiting) == (DESK_DB + " does not, for this run may not change app2", True)


def test_a_flip_starts_although_its_own_clients_are_in_the_clear_and_not_while_a_stranger_is():
    scene = at_stage(scene_of(settings=FLIP), "presented")
    pairs = [scene.model.pair(name) for name in (ROUTER_DB, DESK_DB)]
    peers = [Peer("10.0.0.3", 40000), Peer("10.0.0.4", 40001)]
    talking = with_sessions(scene, *pairs, tls=False)
    target, watched = "step enforce-sql store@db1", {"store.sql@db1": SeenWatch(peers=tuple(peers))}
    assert held(talking, target, watched=watched) is None
    watched = {"store.sql@db1": SeenWatch(peers=(*peers, Peer("10.9.9.9", 1)))}
    assert held(talking, target, watched=watched) == ("10.9.9.9, which no enumerated client has", True)


def test_a_flip_does_not_start_when_a_client_is_blocked_or_lost():
    scene = at_stage(scene_of(settings=FLIP), "presented")
    rounds = make_plan(scene, ask_for(scene)).rounds
    lost = dataclasses.replace(scene, lost={"app2": "it is unreachable: no route to host"})
    assert held(lost, "step enforce-sql store@db1", rounds=rounds) == ("it is unreachable: no route to host", False)
    model = with_connection(3, **DECIDED)
    blocked = at_stage(scene_of(model, settings=FLIP), "presented")
    seen, waiting = held(blocked, "step enforce-sql store@db1", rounds=rounds)
    assert waiting and seen.startswith("%s is blocked: Anna decided" % DESK_DB)


KEPT = {
    "store@db1": {"permit-sql", "enforce-sql"},
    "router@app1": {"connect-store.sql"},
    "desk@app2": {"connect-store.sql"},
}


def enforced_and_kept():
    scene = at_stage(scene_of(), "enforced")
    for name, steps in KEPT.items():
        scene = showing(scene, name, steps=frozenset(steps))
    return scene


def test_a_client_goes_back_only_to_a_listener_that_answers_in_the_clear():
    scene = enforced_and_kept()
    rounds = make_rollback(scene, ask_for(scene)).rounds
    target = "undo connect-store.sql desk@app2"
    assert held(scene, target, rounds=rounds) == ("refused", False)
    reopened = with_probe(scene, scene.model.pair(DESK_DB), clear="clear")
    assert held(reopened, target, rounds=rounds) is None


def test_a_server_gives_tls_up_only_when_no_client_uses_it():
    scene = enforced_and_kept()
    rounds = make_rollback(scene, ask_for(scene)).rounds
    target = "undo permit-sql store@db1"
    assert held(scene, target, rounds=rounds) == ("desk@app2 does", False)
    for name in ("desk@app2", "router@app1"):
        reads = {key: None if "|tls" in key else value for key, value in scene.instances[name].reads.items()}
        scene = showing(scene, name, reads=reads)
    # somebody changed an option of theirs: that does not say that they left TLS, for what we set is still there
    assert held(scene, target, rounds=rounds) == ("desk@app2 does", False)
    for name in ("desk@app2", "router@app1"):
        scene = showing(scene, name, steps=frozenset())
    assert held(scene, target, rounds=rounds) is None
    lost = dataclasses.replace(scene, lost={"app2": "no route to host"})
    assert held(lost, target, rounds=rounds) == (
        "nobody can see whether desk@app2 does: no route to host",
        False,
    )


def test_in_check_mode_gates_have_nothing_to_look_at_but_lost_hosts_are_lost():
    scene = dataclasses.replace(at_stage(scene_of(), "plain"), check_mode=True)
    assert held(scene, "step connect-store.sql router@app1") is None
    lost = dataclasses.replace(scene, lost={"app1": "no route to host"})
    assert held(lost, "step connect-store.sql router@app1", planned=scene) == ("no route to host", False)


def test_the_clear_session_of_a_client_on_one_port_keeps_it_open():
    settings = {"store": {"shape": "same_port", "sessions": {"file": "/s"}}}
    scene = at_stage(scene_of(settings=settings), "switched")
    assert held(scene, "step enforce-sql store@db1") is None
    left = with_sessions(scene, scene.model.pair(DESK_DB), tls=False)
    seen, waiting = held(left, "step enforce-sql store@db1", planned=scene)
    assert waiting and "10.0.0.4:40000" in seen
    socket = Socket("10.0.0.4:40001", "10.0.0.5:5432")
    assert held(showing(scene, "desk@app2", sockets=(socket,)), "step enforce-sql store@db1") is None
