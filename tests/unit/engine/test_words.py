# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan and a report say apart from their pairs: decisions not to protect, and what is UDP."""

from __future__ import annotations

import types

from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.plugin_utils._planning import Decision
from ansible_collections.connsec.tls.plugins.plugin_utils._words import plan_lines

from .scenes import MODEL, ask_for, scene_of

DECIDED = {
    "client": "desk",
    "server": "store.sql",
    "secure": False,
    "reason": "no TLS before release 12",
    "approver": "Head of operations",
    "until": "2027-06-30",
}


def planned(scene, today):
    store = types.SimpleNamespace(changes=(), postponed=(), notes=())
    ask = ask_for(scene)
    return plan_lines(Decision("plan", ask, make_plan(scene, ask), scene, store, {}, today))


def test_a_plan_tells_apart_what_is_not_to_be_protected_and_when_that_is_over():
    scene = scene_of({**MODEL, "connections": [MODEL["connections"][0], DECIDED]})
    words = "  not protected: desk->store.sql (Head of operations decided until 2027-06-30: no TLS before release 12)"
    assert [line for line in planned(scene, "2027-06-30") if "desk@" in line or "decided" in line] == [words]
    assert words + " - that is over: decide anew" in planned(scene, "2027-07-01")


def test_a_plan_names_what_nobody_can_see_of_udp():
    listener = {"port": 5060, "secure_port": 5061, "protocol": "sip", "transport": "udp"}
    store = {**MODEL["components"]["store"], "listeners": {"sql": listener}}
    scene = scene_of({**MODEL, "components": {**MODEL["components"], "store": store}})
    lines = [line for line in planned(scene, "2027-01-01") if "not covered" in line]
    assert lines == [
        "  not covered: store.sql is UDP: who else sends datagrams there shows nowhere; DTLS and media are not moved"
    ]
