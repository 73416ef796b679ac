# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners that are UDP today: what their server's socket shows, and what nobody can see."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._before import Before, may_start
from ansible_collections.connsec.tls.plugins.module_utils._core._briefing import step_spec
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import parse_instance
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._sessions import clear_targets, tls_targets
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import examine, stage_of
from ansible_collections.connsec.tls.plugins.module_utils._core._survey import Survey
from ansible_collections.connsec.tls.plugins.module_utils._core._trial import judge

from .scenes import MODEL, answers, ask_for, at_stage, scene_of, showing, with_options, with_probe

SIGNALLING = {"port": 5060, "secure_port": 5061, "protocol": "sip", "transport": "udp"}
PAIR = "router@app1->store.signalling@db1"


def model_with(**server):
    store = {**MODEL["components"]["store"], "listeners": {"signalling": SIGNALLING}, **server}
    connections = [{"client": "router", "server": "store.signalling"}]
    return {**MODEL, "components": {**MODEL["components"], "store": store}, "connections": connections}


def open_(scene, *, there=True):
    """Return the scene with the server's UDP socket, or without it."""
    return showing(scene, "store@db1", udp={5060: there})


def test_the_servers_socket_is_asked_for_and_nobody_sends_datagrams():
    scene = scene_of(model_with())
    plan = LookPlan(scene, token="t")
    pair = scene.model.pair(PAIR)
    plan.dial(pair)
    plan.see(*pair.ends)
    plan.watch(pair.server, "signalling")
    requests = plan.requests()
    rows = {row["name"]: row.get("udp") for host in plan.hosts for row in requests[host]["instances"]}
    assert rows == {"router@app1": None, "store@db1": [5060]}
    assert [row["port"] for row in requests["app1"]["probes"]] == [5061]
    assert "watch" not in requests["db1"]


@pytest.mark.parametrize(
    ("seen", "stage", "told"),
    [
        ({"udp": {"5060": True}}, "switched", "store@db1 has a UDP socket on port 5060"),
        ({"udp": {"5060": False}}, "enforced", "store@db1 has no UDP socket on port 5060"),
        ({"udp": None, "unreadable": {"udp": "it cannot be seen"}}, "switched", "it cannot be seen"),
    ],
)
def test_plaintext_is_refused_when_the_socket_is_gone(seen, stage, told):
    scene = at_stage(scene_of(model_with()), "enforced")
    scene = showing(scene, "store@db1", udp=parse_instance(seen).udp, unreadable=seen.get("unreadable", {}))
    evidence = examine(scene, scene.model.pair(PAIR))
    assert (stage_of(evidence), evidence[-1].seen) == (stage, told)


def test_a_listener_that_is_udp_moves_like_any_second_listener():
    scene = open_(scene_of(model_with()))
    steps = [step.id for this in make_plan(scene, ask_for(scene)).rounds for step in this.steps]
    assert steps == ["permit-signalling", "connect-store.signalling", "enforce-signalling"]
    pair = scene.model.pair(PAIR)
    assert (clear_targets(scene, pair), tls_targets(scene, pair)) == ((), ("10.0.0.5:5061",))


def test_a_step_waits_for_tcp_ports_alone_and_the_look_that_follows_tells_of_the_socket():
    scene = open_(at_stage(scene_of(model_with()), "switched"))
    (this,) = make_plan(scene, ask_for(scene)).rounds
    (step,) = this.steps
    assert [row["port"] for row in step_spec(scene, step).wait_for] == [5061]
    assert may_start(Before(scene, ask_for(scene), this), step) is None, "there is nobody to watch"
    pair = scene.model.pair(PAIR)
    after = with_options(scene, "enforce", pair)
    after = with_probe(after, pair, tls=dataclasses.replace(answers(pair), old_protocols={"TLSv1.1": "refused"}))
    assert [each.id for each in judge(after, scene, this, started=[step], failures={}).reverse] == [
        "enforce-signalling"
    ]
    assert not judge(open_(after, there=False), scene, this, started=[step], failures={}).reverse


def test_whether_another_ones_socket_is_gone_waits_for_its_owner():
    carrier = {"managed": False, "hosts": [], "addresses": ["192.0.2.1"], "trust_file": "t.pem", "owner": "Carrier"}
    scene = at_stage(scene_of(model_with(**carrier)), "switched")
    (pair,) = scene.model.pairs
    evidence = examine(scene, pair)
    assert stage_of(evidence) == "switched"
    assert evidence[-1].seen == "over UDP nothing at our end shows whether store@store listens on port 5060"
    assert Survey(scene, ask_for(scene)).view(pair).status == "waiting"
