# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was collected of clear listeners between runs, and when it allows to close them."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import parse_soak
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._soak import DAY, listeners_by_host

from .scenes import ask_for, at_stage, scene_of

NOW = 1_800_000_000.0
WEEK = 7 * DAY
LISTENER = "store.sql@db1"
FULL = [[NOW - WEEK - 60, NOW - 30]]


def peers(**rows):
    """Return peers by address, each last seen so many days ago."""
    return {
        name.replace("_", "."): {"first": NOW - 90 * DAY, "last": NOW - days * DAY, "count": 12}
        for name, days in rows.items()
    }


def soaked(data, *, switched_days_ago=10.0):
    scene = at_stage(scene_of(), "switched")
    since = {pair.id: NOW - switched_days_ago * DAY for pair in scene.model.pairs}
    found = {LISTENER: parse_soak(data, at=NOW)} if data is not None else {}
    return dataclasses.replace(scene, soaked=found, since=since, recorded=dict.fromkeys(since, "switched"))


def wait(scene):
    """Return what keeps the store's listener open, and what to do about it; None if nothing does."""
    plan = make_plan(scene, ask_for(scene, soak=WEEK))
    view = next(view for view in plan.views if view.pair.server.name == "store@db1")
    assert view.status == ("due" if view.why is None else "waiting")
    return view.why


HELD = [
    (None, "held", "nobody has collected them so far"),
    ({}, "held", "nobody has collected them so far"),
    (
        {"intervals": [[NOW - 3 * DAY, NOW - DAY]]},
        "held",
        "they were for 2.0 days since 2027-01-12 08:00 UTC, last at 2027-01-14 08:00 UTC",
    ),
    (
        {"intervals": [[NOW - 9 * DAY, NOW - 8 * DAY], [NOW - 2 * DAY, NOW - DAY]]},
        "held",
        "they were for 2.0 days since 2027-01-06 08:00 UTC, last at 2027-01-14 08:00 UTC;"
        " nobody watched 1 times, for up to 6.0 days",
    ),
    (
        {"intervals": FULL, "peers": peers(**{"10_9_9_9": 2})},
        "stranger",
        "10.9.9.9, which no enumerated client has, was seen 12 times, last at 2027-01-13 08:00 UTC",
    ),
    (
        {"intervals": FULL, "peers": peers(**{"10_0_0_4": 2})},
        "leftover",
        "10.0.0.4, a clear session of desk@app2 after it was switched, was seen 12 times, last at 2027-01-13 08:00 UTC",
    ),
    (
        {"intervals": FULL, "peers": peers(**{"10_0_0_4": 2, "10_9_9_9": 3})},
        "stranger",
        "10.9.9.9, which no enumerated client has, was seen 12 times, last at 2027-01-12 08:00 UTC",
    ),
]


@pytest.mark.parametrize(("data", "fault", "seen"), HELD)
def test_a_listener_stays_open_until_its_soak_is_full_and_names_nobody(data, fault, seen):
    why = wait(soaked(data))
    assert (why.fault, why.seen) == (fault, seen)
    assert why.todo


CLOSED = [
    ({"intervals": FULL}, "the soak is full"),
    ({"intervals": [[NOW - 30 * DAY, NOW - 20 * DAY]]}, "it need not be without a gap"),
    ({"intervals": FULL, "peers": peers(**{"10_9_9_9": 8})}, "a stranger was not seen for as long as the soak is"),
    ({"intervals": FULL, "peers": peers(**{"10_0_0_4": 11})}, "its client used it before it was switched"),
]


@pytest.mark.parametrize(("data", "because"), CLOSED)
def test_a_listener_is_closed_once_its_soak_is_full_and_clean(data, because):
    scene = soaked(data)
    assert wait(scene) is None, because
    rounds = make_plan(scene, ask_for(scene, soak=WEEK)).rounds
    assert "step enforce-sql store@db1" in {step.target for this in rounds for step in this.steps}


def test_a_client_that_nobody_knows_to_be_switched_is_no_left_over():
    scene = dataclasses.replace(soaked({"intervals": FULL, "peers": peers(**{"10_0_0_4": 2})}), since={})
    assert wait(scene) is None


def test_without_a_soak_nobody_asks_what_was_collected():
    scene = soaked(None)
    plan = make_plan(scene, ask_for(scene, soak=0.0))
    assert {view.why for view in plan.views} == {None}


def test_a_host_collects_for_all_its_listeners():
    scene = scene_of()
    found = listeners_by_host(scene)
    assert sorted(found) == ["cfg1", "cfg2", "db1"]
    assert found["db1"] == [{"id": LISTENER, "addresses": ["10.0.0.5"], "port": 5432}]
