# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clients of one host at one port: whose session is whose is put together from all that was seen meanwhile."""

from __future__ import annotations

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._before import Before, may_start
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import HOLD, Session, Socket, parse_instance
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._trial import judge

from .scenes import HOSTS, MODEL, ask_for, at_stage, scene_of, showing, with_options

ROUTER, DESK = "router@app1", "desk@app1"
SQL = {**MODEL["components"]["store"]["listeners"]["sql"], "mode": "mutual"}
SHARED = {
    **MODEL,
    "components": {
        **MODEL["components"],
        "desk": {"kind": "thing", "hosts": ["app1"]},
        "store": {**MODEL["components"]["store"], "listeners": {"sql": {**SQL, "secure_port": None}}},
    },
    "connections": [{"client": name, "server": "store.sql", "wave": 1} for name in ("router", "desk")],
}
del SHARED["components"]["store"]["listeners"]["sql"]["secure_port"]
SETTINGS = {"store": {"shape": "same_port", "sessions": {"file": "/s"}}}
TO_SQL = HOSTS["db1"] + ":5432"


def end(port):
    return "%s:%d" % (HOSTS["app1"], port)


def socket(port, *, now=True):
    """Return a client's own socket; one that was noted on the way, and is not there any more, is not ``now``."""
    return Socket(end(port), TO_SQL, "ESTABLISHED", now=now, new=True, lasted=1.0, ago=1.0)


def session(port, *, tls=True, **more):
    return Session(end(port), tls=tls, verified=tls, **more)


def permissive():
    """Return both clients holding a session in the clear each."""
    scene = at_stage(scene_of(SHARED, SETTINGS), "permissive")
    scene = showing(scene, "store@db1", sessions=(session(4001, tls=False), session(4002, tls=False)))
    scene = showing(scene, ROUTER, sockets=(socket(4001),))
    return showing(scene, DESK, sockets=(socket(4002),))


def switched(scene, *, listed, router, desk):
    """Return the scene after both clients' steps: what the server lists, and which sockets each of them had."""
    for pair in scene.model.pairs:
        scene = with_options(with_options(scene, "connect", pair), "verify", pair)
    scene = showing(scene, "store@db1", sessions=tuple(listed))
    scene = showing(scene, ROUTER, sockets=tuple(router))
    return showing(scene, DESK, sockets=tuple(desk))


def taken_back(after):
    """Return whose steps go back, after a round in which both were switched."""
    before = permissive()
    (this,) = [each for each in make_plan(before, ask_for(before)).rounds if each.phase == "connect"]
    assert {step.instance.name for step in this.steps} == {ROUTER, DESK}
    verdict = judge(after, before, this, started=this.steps, failures={})
    return {step.instance.name for step in verdict.reverse}


#: What the server lists, and the sockets of the two clients; then whose step goes back.
SEEN = [
    ("both stand", [session(5001), session(5002)], [socket(5001)], [socket(5002)], set()),
    (
        "one came and went before the other one stood",
        [session(5001, ended=True), session(5002)],
        [socket(5001, now=False)],
        [socket(5002)],
        set(),
    ),
    (
        "both came and went at different moments",
        [session(5001, ended=True), session(5002, ended=True)],
        [socket(5001, now=False)],
        [socket(5002, now=False)],
        set(),
    ),
    ("one has none", [session(5001)], [socket(5001)], [], {DESK}),
    ("both of them are one client's", [session(5001), session(5002)], [socket(5001), socket(5002)], [], {DESK}),
    ("nobody knows whose the two are", [session(5001), session(5002)], [], [], {ROUTER, DESK}),
]


@pytest.mark.parametrize(("listed", "router", "desk", "back"), [row[1:] for row in SEEN], ids=[row[0] for row in SEEN])
def test_each_client_is_judged_by_the_sessions_that_are_its_own(listed, router, desk, back):
    assert taken_back(switched(permissive(), listed=listed, router=router, desk=desk)) == back


def settling(scene, *pairs):
    look = LookPlan(scene, token="t")
    for pair in pairs or scene.model.pairs:
        look.settle(pair)
    requests = look.requests(settle=5)
    return {host: request.get("settle", []) for host, request in requests.items()}, requests


def test_clients_that_held_sessions_are_waited_for_until_as_many_stand_and_each_has_a_new_one():
    rows, requests = settling(permissive())
    common = {"seconds": 5.0, "gather": True, "whole": False, "hold": HOLD}
    at_server = {**common, "instance": "store@db1", "least": 2, "listed": [HOSTS["app1"]], "listener": "sql"}
    assert rows["db1"] == [at_server, at_server]
    mine = {name: {**common, "instance": name, "present": [TO_SQL], "absent": []} for name in (ROUTER, DESK)}
    assert rows["app1"] == [{**mine[DESK], "known": [end(4002)]}, {**mine[ROUTER], "known": [end(4001)]}]
    assert {each["name"]: each["sockets"] for each in requests["app1"]["instances"]} == {ROUTER: True, DESK: True}


def test_clients_that_connect_now_and_then_are_listened_to_for_the_whole_wait():
    scene = at_stage(scene_of(SHARED, SETTINGS), "permissive")
    rows, _unused = settling(showing(scene, "store@db1", sessions=()))
    assert {row["whole"] for each in rows.values() for row in each} == {True}
    assert {row["least"] for row in rows["db1"]} == {1}


def test_a_client_that_shares_its_port_with_nobody_of_its_host_is_waited_for_at_the_server_alone():
    desk = {"kind": "thing", "hosts": ["app2"]}
    scene = at_stage(scene_of({**SHARED, "components": {**SHARED["components"], "desk": desk}}, SETTINGS), "permissive")
    rows, _unused = settling(showing(scene, "store@db1", sessions=()))
    assert set(rows) == {"db1"}
    assert not any("gather" in row for row in rows["db1"])


def test_a_demand_starts_when_each_client_was_seen_presenting_at_some_moment():
    scene = at_stage(permissive(), "switched")
    listed = (session(5001, ended=True), session(5002))
    scene = showing(scene, "store@db1", sessions=listed)
    scene = showing(scene, ROUTER, sockets=(socket(5001, now=False),))
    scene = showing(scene, DESK, sockets=(socket(5002),))
    ask = ask_for(scene)
    this = next(each for each in make_plan(scene, ask).rounds if each.phase == "demand")
    assert may_start(Before(scene, ask, this), this.steps[0]) is None
    without = showing(scene, "store@db1", sessions=listed[1:])
    hold = may_start(Before(without, ask, this), this.steps[0])
    assert hold is not None and hold.evidence.seen.startswith("no session of it was seen")


def test_a_session_that_was_only_gathered_makes_no_list_of_one_that_keeps_what_ended():
    rows = [{"peer": end(1), "tls": True}, {"peer": end(2), "tls": True, "ended": True, "gone": True}]
    seen = parse_instance({"sessions": rows})
    assert (seen.keeps_ended, [one.ended for one in seen.sessions]) == (False, [False, True])
    assert parse_instance({"sessions": [*rows, {"peer": end(3), "ended": None}]}).keeps_ended
