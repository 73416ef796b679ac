# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters whose members refuse plaintext as soon as they use TLS themselves, and components that share a process."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._back import make_rollback
from ansible_collections.connsec.tls.plugins.module_utils._core._before import Before, may_start
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import Peer, SeenProbe, SeenWatch
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import Scene
from ansible_collections.connsec.tls.plugins.module_utils._core._strangers import ends_plaintext
from ansible_collections.connsec.tls.plugins.module_utils._core._survey import Survey
from ansible_collections.connsec.tls.plugins.module_utils._core._trial import judge

from .scenes import (
    MODEL,
    answers,
    ask_for,
    at_stage,
    scene_of,
    showing,
    with_options,
    with_probe,
    with_sessions,
)

LINK = {"client": "store", "server": "store.sql", "wave": 1}
STORE = {**MODEL["components"]["store"], "hosts": ["db1", "cfg1", "cfg2"]}
CLUSTER = {**MODEL, "components": {**MODEL["components"], "store": STORE}, "connections": [LINK]}
MEMBERS = ("store@cfg1", "store@cfg2", "store@db1")
SHAPE = {"store": {"shape": "same_port", "sessions": {"file": "/s"}}}
CONNECT = "step connect-store.sql store@cfg1"


def turning(model=CLUSTER, *, stage: str = "permissive") -> Scene:
    """Return a cluster of which members are switched by the options that close their listeners."""
    scene = scene_of(model, SHAPE)
    kinds = {}
    for name, kind in scene.kinds.items():
        both = (*kind.reads["connect"], *kind.reads["enforce"]) if name in MEMBERS else kind.reads["connect"]
        kinds[name] = dataclasses.replace(kind, reads={**kind.reads, "connect": both})
    scene = dataclasses.replace(scene, kinds=kinds)
    return at_stage(scene, stage)


def held(scene: Scene, *addresses: str, ask=None):
    """Return what holds a member's switch when its listener has these peers."""
    ask = ask or ask_for(scene)
    rounds = make_plan(turning(CLUSTER), ask_for(turning(CLUSTER))).rounds
    this, step = next((this, step) for this in rounds for step in this.steps if step.target == CONNECT)
    peers = tuple(Peer(address, 40000 + number) for number, address in enumerate(addresses))
    hold = may_start(Before(scene, ask, this, watched={"store.sql@cfg1": SeenWatch(peers=peers)}), step)
    return hold.evidence.seen if hold else None


def test_a_switch_that_closes_its_own_listener_looks_for_strangers_there_and_not_for_its_members():
    scene = turning()
    links = list(scene.model.pairs)
    assert all(ends_plaintext(scene, "connect", pair) for pair in links)
    clear = with_sessions(scene, *links, tls=False)
    assert held(clear, "10.0.0.2", "10.0.0.5") is None, "members move with it"
    assert held(clear, "10.9.9.9") == "10.9.9.9, which no enumerated client has"


def test_an_ordinary_switch_closes_nothing():
    scene = at_stage(scene_of(CLUSTER, SHAPE), "permissive")
    assert not any(ends_plaintext(scene, "connect", pair) for pair in scene.model.pairs)


def test_a_client_that_is_no_member_keeps_the_listener_of_a_member_open_until_it_is_on_tls():
    model = {**CLUSTER, "connections": [LINK, {"client": "router", "server": "store.sql", "wave": 1}]}
    scene = turning(model)
    router = [pair for pair in scene.model.pairs if not pair.link]
    assert held(scene).startswith("router@app1->store.sql@cfg1 is not: ")
    moved = at_stage(scene, "switched", *router)
    assert held(with_sessions(moved, *router)) is None


@pytest.mark.parametrize("until", ["switched", "demanded"])
def test_members_stay_permissive_until_somebody_says_that_plaintext_may_end(until):
    scene = turning()
    survey = Survey(scene, ask_for(scene, until))
    (goal,) = {survey.furthest(pair) for pair in scene.model.pairs}
    assert goal == "permissive"
    view = survey.view(scene.model.pairs[0])
    assert view.status == "waiting"
    assert view.why.todo == "run again with -e tls_until=enforced"
    assert not make_plan(scene, ask_for(scene, until)).rounds


def test_members_are_switched_one_after_the_other():
    scene = turning()
    rounds = make_plan(scene, ask_for(scene)).rounds
    moved = [[step.instance.name for step in this.steps] for this in rounds if this.phase == "connect"]
    assert moved == [[name] for name in MEMBERS]


def switched(scene: Scene, member: str, *, speaks: bool = True) -> Scene:
    """Return the scene after a member's switch: its options are set, and its listener speaks TLS alone, or nothing."""
    pairs = [pair for pair in scene.model.pairs if member in (pair.client.name, pair.server.name)]
    scene = with_sessions(scene, *pairs)
    for pair in pairs:
        if pair.client.name == member:
            scene = with_options(scene, "connect", pair)
            scene = with_options(scene, "verify", pair)
        else:
            tls = answers(pair) if speaks else SeenProbe("refused", "connection_refused", reason="refused")
            scene = with_probe(scene, pair, tls=tls, clear="closed")
    return scene


def test_a_clear_port_that_the_switch_was_to_close_is_no_reason_to_take_it_back():
    before = turning()
    rounds = make_plan(before, ask_for(before)).rounds
    this = next(each for each in rounds if each.phase == "connect")
    verdict = judge(switched(before, "store@cfg1"), before, this, started=this.steps, failures={})
    assert (verdict.reverse, verdict.notes, verdict.down) == ((), {}, frozenset())


def presenting(scene: Scene, *loaded: str) -> Scene:
    """Return the scene with new material installed everywhere, and these members having taken it up."""
    for name in MEMBERS:
        scene = showing(scene, name, generation="000002", loaded="000002" if name in loaded else "000001")
    for pair in scene.model.pairs:
        new = "sha-" + scene.model.identity_in(pair, pair.server)
        sha256 = new if pair.server.name in loaded else "sha-of-before"
        scene = with_probe(scene, pair, tls=dataclasses.replace(scene.tls(pair), sha256=sha256))
    return scene


@pytest.mark.parametrize(
    ("loaded", "faults"),
    [(["store@cfg1"], set()), ([], {"stale"})],
    ids=["and it has taken up its own", "and it has not taken up its own"],
)
def test_the_load_of_a_member_answers_for_what_it_presents_and_not_for_members_that_are_loaded_after_it(loaded, faults):
    scene = with_sessions(turning(stage="enforced"), *turning().model.pairs)
    before = presenting(scene)
    rounds = [each for each in make_plan(before, ask_for(before)).rounds if each.phase == "load"]
    assert [[step.instance.name for step in each.steps] for each in rounds] == [[name] for name in MEMBERS]
    verdict = judge(presenting(scene, *loaded), before, rounds[0], started=rounds[0].steps, failures={})
    assert {hold.evidence.fault for hold in verdict.notes.values()} == faults
    assert verdict.down == ({"store@cfg1"} if faults else set())


def test_a_member_goes_back_although_the_others_are_closed_still():
    scene = turning(stage="enforced")
    for name in MEMBERS:
        kept = frozenset({"permit-sql", "connect-store.sql"})
        scene = showing(scene, name, steps=kept, finished=kept)
    ask = ask_for(scene)
    plan = make_rollback(scene, ask)
    assert [each.phase for each in plan.rounds] == ["connect"] * 3 + ["permit"] * 3
    this = plan.rounds[0]
    assert may_start(Before(scene, ask, this), this.steps[0]) is None


@pytest.mark.parametrize(("process", "at_once"), [({}, True), ({"service": "store"}, False)], ids=["apart", "shared"])
def test_two_components_of_one_process_are_never_stopped_on_two_hosts_at_once(process, at_once):
    store, links = ({**STORE, "hosts": hosts} for hosts in (["cfg2", "db1"], ["cfg1", "cfg2"]))
    components = {**MODEL["components"], "store": store, "links": links}
    rows = [LINK, {"client": "links", "server": "links.sql", "wave": 1}]
    scene = scene_of({**CLUSTER, "components": components, "connections": rows})
    kinds = {name: dataclasses.replace(kind, process=process) for name, kind in scene.kinds.items()}
    scene = at_stage(dataclasses.replace(scene, kinds=kinds), "presented")
    rounds = [each for each in make_plan(scene, ask_for(scene)).rounds if each.phase == "permit"]
    hosts = [{step.instance.host for step in each.steps} for each in rounds]
    assert any(len(each) > 1 for each in hosts) is at_once
