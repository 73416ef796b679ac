# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an interruption is allowed: windows of components, and what an operator says for one run."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._back import make_rollback
from ansible_collections.connsec.tls.plugins.module_utils._core._before import Before, may_start
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import Peer, SeenWatch
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import option_id
from ansible_collections.connsec.tls.plugins.module_utils._core._window import Window, allowed_until, shown

from .scenes import MODEL, ask_for, at_stage, scene_of, showing
from .test_before import KEPT

#: 2026-11-25 is a Wednesday.
NOON = "2026-11-25 12:00"


def at(text):
    return datetime.datetime.strptime(text + " +0000", "%Y-%m-%d %H:%M %z").timestamp()


WINDOWS = [
    ("22:00-04:00", NOON, False, "2026-11-25 22:00"),
    ("22:00-04:00", "2026-11-25 22:00", True, "2026-11-25 22:00"),
    ("22:00-04:00", "2026-11-25 03:59", True, "2026-11-25 22:00"),
    ("22:00-04:00", "2026-11-25 04:01", False, "2026-11-25 22:00"),
    ("sat,sun 22:00-04:00", NOON, False, "2026-11-28 22:00"),
    ("sat,sun 22:00-04:00", "2026-11-30 03:00", True, "2026-12-05 22:00"),
    ("sat,sun 22:00-04:00", "2026-12-01 03:00", False, "2026-12-05 22:00"),
    ("wed 11:00-13:00", NOON, True, "2026-12-02 11:00"),
    ("wed 09:00-11:00", NOON, False, "2026-12-02 09:00"),
    ("00:00-00:00", NOON, True, "2026-11-26 00:00"),
]


@pytest.mark.parametrize(("text", "now", "is_open", "opens"), WINDOWS)
def test_a_window_is_open_on_its_days_and_over_midnight(text, now, is_open, opens):
    window = Window.parse(text)
    assert window.is_open(at(now)) is is_open
    assert window.next_open(at(now)) == at(opens)


def test_a_window_is_open_only_for_what_still_fits_into_it():
    window = Window.parse("12:00-12:30")
    assert window.is_open(at(NOON), seconds=1800)
    assert not window.is_open(at("2026-11-25 12:10"), seconds=1800)
    assert window.next_open(at(NOON), seconds=3600) is None


ALLOWED = [
    ("23:30", "2026-11-25 23:30"),
    ("11:30", "2026-11-26 11:30"),
    ("2026-11-28T02:00Z", "2026-11-28 02:00"),
    ("2026-11-28T02:00+02:00", "2026-11-28 00:00"),
]


@pytest.mark.parametrize(("text", "until"), ALLOWED)
def test_an_operator_allows_interruptions_until_a_moment(text, until):
    assert allowed_until(text, now=at(NOON)) == at(until)


REFUSED = [
    ("tonight", "tls_window: 'tonight' does not say until when"),
    ("24:00", "does not say until when"),
    ("2026-11-28T02:00", "does not say until when"),
    ("2026-11-25T11:00Z", "tls_window: 2026-11-25T11:00Z is over; it is 2026-11-25 12:00 UTC (Wed) now"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED)
def test_what_names_no_moment_to_come_is_refused(text, says):
    with pytest.raises(TlsError) as error:
        allowed_until(text, now=at(NOON))
    assert says in str(error.value)


def with_window(text):
    parts = MODEL["components"]
    return {**MODEL, "components": {**parts, "store": {**parts["store"], "window": text}}}


def held(now, *, interruption=10, window="22:00-04:00", until=0.0, target="step permit-sql store@db1"):
    scene = at_stage(scene_of(with_window(window), {"store": {"interruption": interruption}}), "presented")
    ask = ask_for(scene, window=until)
    this, step = next(
        (this, step) for this in make_plan(scene, ask).rounds for step in this.steps if step.target == target
    )
    return may_start(Before(scene, ask, this, now=at(now)), step)


def test_a_step_that_interrupts_waits_until_its_window_opens():
    hold = held(NOON)
    assert hold.waiting
    assert hold.evidence.gate == "permissive"
    assert hold.evidence.expected == "store may be interrupted now"
    assert hold.evidence.seen == "its window 22:00-04:00 opens at 2026-11-25 22:00 UTC (Wed)"
    assert "tls_window" in hold.evidence.todo
    assert held("2026-11-25 23:00") is None


def test_what_interrupts_nobody_needs_no_window():
    assert held(NOON, interruption=0) is None


def test_another_component_does_not_wait_for_it():
    assert held(NOON, target="step permit-default confserv@cfg1") is None


def test_a_word_of_the_operator_stands_for_the_window_as_long_as_it_says():
    assert held(NOON, until=at("2026-11-25 12:30")) is None
    assert held(NOON, until=at("2026-11-25 11:30")).waiting
    assert held(NOON, until=at(NOON) + 5).waiting, "what takes ten seconds does not fit into five"


def test_a_window_that_is_too_short_says_so():
    hold = held(NOON, interruption=3600, window="22:00-22:30")
    assert hold.evidence.seen == "its window 22:00-22:30 is shorter than the 3600 s that it takes"


def test_going_back_waits_for_the_window_as_well():
    scene = at_stage(scene_of(with_window("22:00-04:00"), {"store": {"interruption": 10}}), "enforced")
    for name, steps in KEPT.items():
        scene = showing(scene, name, steps=frozenset(steps), finished=frozenset(steps))
    ask = ask_for(scene)
    this = next(each for each in make_rollback(scene, ask).rounds if each.phase == "enforce")
    assert may_start(Before(scene, ask, this, now=at(NOON)), this.steps[0]).waiting
    assert may_start(Before(scene, ask, this, now=at("2026-11-25 23:00")), this.steps[0]) is None


# ------------------------------------------------------------------ clusters

CLUSTER = {
    **MODEL,
    "components": {**MODEL["components"], "store": {**MODEL["components"]["store"], "hosts": ["db1", "cfg1", "cfg2"]}},
    "connections": [*MODEL["connections"][2:3], {"client": "store", "server": "store.sql", "wave": 1}],
}
FLIP = {"store": {"shape": "flip", "sessions": {"file": "/s"}, "interruption": 4}}
MEMBERS = ("store@cfg1", "store@cfg2", "store@db1")


def rounds(scene):
    return make_plan(scene, ask_for(scene)).rounds


def test_members_that_can_be_permissive_move_one_after_the_other():
    scene = at_stage(scene_of(CLUSTER), "presented")
    links = [pair.id for pair in scene.model.pairs if pair.link]
    assert len(links) == 6, "each with every other, and none with itself"
    for phase in ("permit", "connect", "enforce"):
        of_members = [
            [step.instance.name for step in this.steps if step.instance.component == "store"]
            for this in rounds(scene)
            if this.phase == phase
        ]
        assert [names for names in of_members if names] == [[name] for name in MEMBERS]


def test_no_member_is_closed_before_all_links_of_the_cluster_are_on_tls():
    scene = at_stage(scene_of(CLUSTER), "switched")
    late = scene.model.pair("store@cfg1->store.sql@cfg2")
    option = option_id(scene.options("connect", late)[0])
    behind = showing(scene, late.client.name, reads={**scene.seen(late.client).reads, option: "no"})
    ask = ask_for(scene)
    watched = {"store.sql@db1": SeenWatch()}
    this, step = next(
        (this, step) for this in rounds(scene) for step in this.steps if step.target == "step enforce-sql store@db1"
    )
    assert may_start(Before(scene, ask, this, watched=watched), step) is None
    hold = may_start(Before(behind, ask, this, watched=watched), step)
    assert hold.waiting
    assert late.id in hold.evidence.seen


def test_a_cluster_that_can_only_flip_moves_in_one_round_and_needs_the_operators_word():
    scene = at_stage(scene_of(CLUSTER, FLIP), "presented")
    (flip,) = [this for this in rounds(scene) if this.phase == "flip"]
    assert flip.together
    assert {step.instance.name for step in flip.steps} == {*MEMBERS, "router@app1"}
    assert sorted(step.instance.name for step in flip.steps if step.stage == "enforce") == list(MEMBERS)
    quiet = {"store.sql@%s" % name.partition("@")[2]: SeenWatch() for name in MEMBERS}
    step = next(step for step in flip.steps if step.stage == "enforce")
    hold = may_start(Before(scene, ask_for(scene), flip, watched=quiet, now=at(NOON)), step)
    assert hold.waiting
    seen = "the whole cluster is interrupted at once, for up to 4 s, and tls_window does not allow it"
    assert hold.evidence.seen == seen
    said = ask_for(scene, window=at("2026-11-25 13:00"))
    assert may_start(Before(scene, said, flip, watched=quiet, now=at(NOON)), step) is None


def test_steps_of_a_member_that_flipped_go_back_in_the_reverse_order_of_their_doing():
    scene = at_stage(scene_of(CLUSTER, FLIP), "presented")
    (flip,) = [this for this in rounds(scene) if this.phase == "flip"]
    done = [step.id for step in flip.steps if step.instance.name == "store@db1"]
    assert done == ["enforce-sql", "connect-store.sql@cfg1", "connect-store.sql@cfg2"]
    scene = at_stage(scene, "enforced")
    for name in {step.instance.name for step in flip.steps}:
        kept = [step.id for step in flip.steps if step.instance.name == name]
        since = {each: 100.0 + number for number, each in enumerate(kept)}
        scene = showing(scene, name, steps=frozenset(kept), kept_since=since)
    (back,) = make_rollback(scene, ask_for(scene)).rounds
    assert (back.phase, back.together) == ("flip", True)
    assert [step.id for step in back.steps if step.instance.name == "store@db1"] == done[::-1]


def test_a_tool_on_a_members_own_host_moves_with_it_in_a_flip_and_one_elsewhere_does_not():
    scene = at_stage(scene_of(CLUSTER, FLIP), "presented")
    (flip,) = [this for this in rounds(scene) if this.phase == "flip"]
    step = next(step for step in flip.steps if step.target == "step enforce-sql store@cfg1")
    ask = ask_for(scene, window=at("2026-11-25 13:00"))

    def seen(*addresses):
        peers = tuple(Peer(address, 40000 + number, new=True) for number, address in enumerate(addresses))
        watched = {"store.sql@cfg1": SeenWatch(peers=peers)}
        return may_start(Before(scene, ask, flip, watched=watched, now=at(NOON)), step)

    own = min(scene.addresses_of("cfg1"))
    assert seen(own, "127.0.0.1") is None
    assert seen(own, "10.9.9.9").evidence.fault == "stranger"


def test_a_moment_is_shown_with_its_day():
    assert shown(at(NOON)) == "2026-11-25 12:00 UTC (Wed)"
