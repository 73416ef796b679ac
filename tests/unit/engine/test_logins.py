# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that ask for a password before they say that TLS is missing."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import SeenProbe, parse_instance
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import clear_probe
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import GATES

from .scenes import at_stage, scene_of, showing

DENIED = SeenProbe("clear", "login_refused", reason="db1:3306 answers a login in the clear: Access denied")
LET_IN = SeenProbe("clear", reason="db1:3306 answers a login in the clear")


def test_a_list_of_sessions_may_say_that_nobody_is_let_in_without_tls():
    rows = [{"tls_only": True}, {"peer": "10.0.0.3:40000", "tls": True}]
    seen = parse_instance({"sessions": rows})
    assert seen.tls_only and [each.peer for each in seen.sessions or ()] == ["10.0.0.3:40000"]
    assert not parse_instance({"sessions": [{"tls_only": False}]}).tls_only


@pytest.mark.parametrize(
    ("clear", "says_so", "holds"),
    [(DENIED, True, True), (DENIED, False, False), (LET_IN, True, False)],
)
def test_a_refused_login_counts_where_the_server_says_that_it_refuses_all(clear, says_so, holds):
    scene = at_stage(scene_of(), "enforced")
    pair = scene.model.pairs[0]
    scene = dataclasses.replace(scene, probes={**scene.probes, clear_probe(pair): clear})
    evidence = GATES["enforced"](showing(scene, pair.server.name, tls_only=says_so), pair)
    assert evidence.holds is holds
    assert "Access denied" in evidence.seen or clear is LET_IN
