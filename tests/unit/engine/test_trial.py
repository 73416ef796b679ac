# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken back and who is held back, from what is seen after a round."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import (
    Noted,
    SeenProbe,
    Session,
    Socket,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._trial import judge

from .scenes import MODEL, answers, ask_for, at_stage, scene_of, showing, with_options, with_probe, with_sessions

ROUTER_CFG1 = "router@app1->confserv.default@cfg1"
ROUTER_DB = "router@app1->store.sql@db1"
DESK_DB = "desk@app2->store.sql@db1"
CONNECT = "step connect-store.sql router@app1"
REFUSED = SeenProbe("refused", "connection_refused", reason="connection refused")
UNKNOWN = SeenProbe("tls", "unknown_authority", reason="unknown authority")
CLEAR = Socket("10.0.0.3:4000", "10.0.0.5:5432")
TLS = Socket("10.0.0.3:4001", "10.0.0.5:5433")


def round_of(scene, phase, target=""):
    rounds = make_plan(scene, ask_for(scene)).rounds
    return next(
        this for this in rounds if this.phase == phase and (not target or target in {s.target for s in this.steps})
    )


def judged(after, before, this, *, failures=None, started=None):
    return judge(after, before, this, started=started or this.steps, failures=failures or {})


def permit():
    before = at_stage(scene_of(), "presented")
    return before, round_of(before, "permit"), at_stage(before, "permissive")


def connect():
    before = at_stage(scene_of(), "permissive")
    return before, round_of(before, "connect", CONNECT), at_stage(before, "switched")


def taken_back(verdict):
    return [step.target for step in verdict.reverse]


def test_a_permit_that_every_client_can_use_stays():
    before, this, after = permit()
    verdict = judged(after, before, this)
    assert (verdict.reverse, dict(verdict.notes), verdict.down) == ((), {}, frozenset())


def test_a_permit_that_broke_its_listener_is_taken_back():
    before, this, after = permit()
    for name in (ROUTER_DB, DESK_DB):
        after = with_probe(after, after.model.pair(name), tls=REFUSED, clear="refused")
    verdict = judged(after, before, this)
    assert taken_back(verdict) == ["step permit-sql store@db1"]
    assert verdict.down == {"store@db1"}


def test_a_permit_that_silenced_the_clear_port_is_taken_back_although_tls_works():
    before, this, after = permit()
    after = with_probe(after, after.model.pair(ROUTER_DB), clear="refused")
    verdict = judged(after, before, this)
    assert taken_back(verdict) == ["step permit-sql store@db1"]
    assert verdict.notes[DESK_DB].evidence.expected == "store@db1 still answers in the clear"


def test_one_client_that_cannot_verify_stays_back_alone():
    before, this, after = permit()
    verdict = judged(with_probe(after, after.model.pair(DESK_DB), tls=UNKNOWN), before, this)
    assert verdict.reverse == ()
    assert verdict.notes[DESK_DB].evidence.seen == "unknown authority"
    assert ROUTER_DB not in verdict.notes


def test_a_step_whose_task_failed_is_taken_back_with_the_tasks_words():
    before, this, after = permit()
    failures = {"step permit-sql store@db1": "the configuration test failed: line 3"}
    verdict = judged(after, before, this, failures=failures)
    assert taken_back(verdict) == ["step permit-sql store@db1"]
    assert {verdict.notes[name].evidence.seen for name in (ROUTER_DB, DESK_DB)} == {
        "the configuration test failed: line 3"
    }


def test_a_lost_client_host_holds_its_pair_back_and_refutes_nothing():
    before, this, after = permit()
    after = dataclasses.replace(after, lost={"app2": "app2 became unreachable"})
    verdict = judged(after, before, this)
    assert verdict.reverse == ()
    assert verdict.notes[DESK_DB].evidence.gate == "reach"


def test_a_server_whose_host_is_lost_is_down_and_is_not_taken_back():
    before, this, after = permit()
    verdict = judged(dataclasses.replace(after, lost={"cfg1": "cfg1 became unreachable"}), before, this)
    assert verdict.reverse == ()
    assert "confserv@cfg1" in verdict.down
    assert verdict.notes[ROUTER_CFG1].evidence.gate == "reach"


SESSIONS = [
    # before, after, keeps it back, is it taken back
    ((CLEAR,), (TLS,), "", False),
    ((CLEAR,), (CLEAR, TLS), "a clear session is left", False),
    ((CLEAR,), (), "no session comes up", True),
    ((CLEAR,), (dataclasses.replace(TLS, now=False, new=True),), "no session comes up", True),
    ((CLEAR,), (dataclasses.replace(TLS, new=True, lasted=0.1),), "no session comes up", True),
    ((CLEAR,), (dataclasses.replace(TLS, new=True, lasted=0.5),), "", False),
    ((CLEAR,), (dataclasses.replace(TLS, new=False, lasted=0.1),), "", False),
    ((CLEAR,), (dataclasses.replace(TLS, brief=True),), "no session comes up", True),
    ((dataclasses.replace(CLEAR, brief=True),), (), "", False),
    ((dataclasses.replace(CLEAR, brief=True),), (dataclasses.replace(TLS, now=False, new=True),), "", False),
    ((), (), "", False),
    ((), (dataclasses.replace(CLEAR, now=False, new=True),), "no session comes up", True),
    ((), (dataclasses.replace(TLS, now=False, new=True, owned=False),), "", False),
]


@pytest.mark.parametrize(("had", "has", "seen", "back"), SESSIONS)
def test_a_client_that_had_a_session_has_to_have_one_over_tls(had, has, seen, back):
    before, this, after = connect()
    before = showing(before, "router@app1", sockets=had)
    verdict = judged(showing(after, "router@app1", sockets=has), before, this)
    assert taken_back(verdict) == ([CONNECT] if back else [])
    if seen:
        assert seen in verdict.notes[ROUTER_DB].evidence.seen
        assert verdict.notes[ROUTER_DB].waiting is not back
    else:
        assert ROUTER_DB not in verdict.notes


def test_a_client_whose_dialling_nobody_lists_is_not_on_tls():
    settings = {"store": {"sessions": {"file": "/s"}}}
    before = at_stage(scene_of(settings=settings), "permissive")
    this, after = round_of(before, "connect", CONNECT), at_stage(before, "switched")
    dialling = dataclasses.replace(TLS, now=False, new=True)
    after = showing(after, "router@app1", sockets=(dialling,))
    old = {"sessions": (Session("10.0.0.3:4999", tls=True, ended=True),), "keeps_ended": True}
    before, after = showing(before, "store@db1", **old), showing(after, "store@db1", **old)
    assert taken_back(judged(after, before, this)) == [CONNECT]
    listed = showing(after, "store@db1", sessions=(Session("10.0.0.3:4001", tls=True, ended=True),))
    assert taken_back(judged(listed, before, this)) == []


def test_a_client_that_does_not_verify_is_taken_back():
    before, this, after = connect()
    reads = {
        key: ("no" if key.endswith("store@db1|verify") else value)
        for key, value in after.instances["router@app1"].reads.items()
    }
    verdict = judged(showing(after, "router@app1", reads=reads), before, this)
    assert taken_back(verdict) == [CONNECT]
    assert "does not verify" in verdict.notes[ROUTER_DB].evidence.seen


def test_a_demand_that_was_not_tried_with_a_foreign_certificate_is_not_taken_back_and_not_done():
    before = at_stage(scene_of(settings={"confserv": {"sessions": {"file": "/s"}}}), "switched")
    this = round_of(before, "demand", "step demand-default confserv@cfg1")
    after = at_stage(before, "demanded")
    after = with_sessions(after, *[p for p in after.model.pairs if p.server.name == "confserv@cfg1"])
    assert judged(after, before, this).notes == {}
    pair = after.model.pair(ROUTER_CFG1)
    untried = with_probe(after, pair, tls=answers(pair, demanded=True))
    verdict = judged(untried, before, this)
    assert verdict.reverse == ()
    assert verdict.notes[ROUTER_CFG1].evidence.seen == "nobody can tell: it was not tried"
    let_in = with_probe(after, pair, tls=answers(pair, demanded=True, foreign="accepted"))
    assert taken_back(judged(let_in, before, this)) == ["step demand-default confserv@cfg1"]


def test_an_enforcement_that_leaves_an_old_protocol_version_is_taken_back():
    before = at_stage(scene_of(), "demanded")
    this = round_of(before, "enforce", "step enforce-sql store@db1")
    after = at_stage(before, "enforced")
    assert judged(after, before, this).notes == {}
    for name in (ROUTER_DB, DESK_DB):
        pair = after.model.pair(name)
        after = with_probe(after, pair, tls=answers(pair, old_protocols={"TLSv1.1": "accepted"}))
    verdict = judged(after, before, this)
    assert "step enforce-sql store@db1" in taken_back(verdict)
    assert verdict.notes[ROUTER_DB].evidence.seen == "TLSv1.1 is accepted"


def test_what_a_task_said_is_told_rather_than_what_follows_from_it():
    before, this, _after = permit()
    noted = showing(before, "store@db1", noted=(Noted("permit-sql", "permit", ("sql",), "editing"),))
    target = "step permit-sql store@db1"
    verdict = judged(noted, before, this, failures={target: "the test says no"})
    assert target in taken_back(verdict)
    assert {verdict.notes[name].evidence.seen for name in (ROUTER_DB, DESK_DB)} == {"the test says no"}


def test_a_load_does_not_answer_for_another_step_that_a_killed_run_left():
    noted = (Noted("permit-sql", "permit", ("sql",), "reloading"),)
    before = showing(at_stage(scene_of(), "permissive"), "store@db1", loaded="000000", generation="000002", noted=noted)
    this = round_of(before, "load", "step load store@db1")
    loaded = showing(before, "store@db1", loaded="000002")
    verdict = judged(loaded, before, this)
    assert (verdict.reverse, dict(verdict.notes), verdict.down) == ((), {}, frozenset())


def test_a_load_does_not_answer_for_an_option_that_a_step_after_it_writes():
    """A listener is given another identity, while the one beside it has its certificate renewed."""
    before = showing(at_stage(scene_of(), "permissive"), "store@db1", loaded="000000", generation="000002")
    this = round_of(before, "load", "step load store@db1")
    option = next(name for name in before.seen(this.steps[0].instance).reads if name.endswith("tls_port"))
    other = {**before.seen(this.steps[0].instance).reads, option: "7"}
    before, loaded = (showing(before, "store@db1", reads=other, loaded=it) for it in ("000000", "000002"))
    verdict = judged(loaded, before, this)
    assert (verdict.reverse, dict(verdict.notes), verdict.down) == ((), {}, frozenset())


def test_a_session_of_a_neighbour_that_connects_anew_is_not_the_clients():
    """Both have one address, and only ports tell them apart; one that ended may be anybody's."""
    model = {
        **MODEL,
        "components": {**MODEL["components"], "desk": {"kind": "thing", "hosts": ["app1"]}},
    }
    before = at_stage(scene_of(model, settings={"store": {"sessions": {"file": "/s"}}}), "permissive")
    this, after = round_of(before, "connect", CONNECT), at_stage(before, "switched")
    before = showing(before, "router@app1", sockets=(CLEAR,))
    gone = Socket("10.0.0.3:4100", "10.0.0.5:5433", state="TIME_WAIT", owned=False, new=True)
    young = Socket("10.0.0.3:4101", "10.0.0.5:5433", new=True, lasted=0.0)
    after = showing(after, "router@app1", sockets=(gone,))
    after = showing(after, "desk@app1", sockets=(gone, young))
    listed = [Session("10.0.0.3:%d" % port, tls=True, ended=port == 4100) for port in (4100, 4101)]
    after = showing(after, "store@db1", sessions=tuple(listed), keeps_ended=True)
    assert taken_back(judged(after, before, this)) == [CONNECT]


FLIP = {"store": {"shape": "flip", "sessions": {"file": "/s"}}}


def flip():
    before = at_stage(scene_of(settings=FLIP), "presented")
    after = at_stage(before, "enforced")
    pairs = [after.model.pair(name) for name in (ROUTER_DB, DESK_DB)]
    return before, round_of(before, "flip"), with_sessions(after, *pairs)


def test_a_flip_that_works_stays():
    before, this, after = flip()
    assert (taken_back(judged(after, before, this)), judged(after, before, this).notes) == ([], {})


def test_a_round_that_stands_together_falls_together():
    before, this, after = flip()
    bad = with_probe(after, after.model.pair(DESK_DB), tls=SeenProbe("tls", "expired", reason="expired"))
    verdict = judged(bad, before, this)
    assert len(verdict.reverse) == 3
    assert set(verdict.notes) == {ROUTER_DB, DESK_DB}


def test_a_flip_whose_server_is_lost_and_speaks_tls_keeps_its_clients_there():
    before, this, after = flip()
    verdict = judged(dataclasses.replace(after, lost={"db1": "db1 became unreachable"}), before, this)
    assert verdict.reverse == ()
    silent = after
    for name in (ROUTER_DB, DESK_DB):
        silent = with_probe(silent, silent.model.pair(name), tls=REFUSED, clear="clear")
    verdict = judged(dataclasses.replace(silent, lost={"db1": "db1 became unreachable"}), before, this)
    assert sorted(step.instance.name for step in verdict.reverse) == ["desk@app2", "router@app1"]


def test_in_check_mode_gates_have_nothing_to_look_at():
    before = dataclasses.replace(scene_of(), check_mode=True)
    this = round_of(before, "permit")
    assert judged(before, before, this).reverse == ()
    assert with_options(before, "permit", before.model.pair(ROUTER_CFG1)).check_mode
