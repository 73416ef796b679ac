# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rounds as they are opened: one after the other, and in check mode all of a phase as one."""

from __future__ import annotations

import dataclasses
import types
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import Plan, make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import Scene
from ansible_collections.connsec.tls.plugins.plugin_utils._handing import Work, hand_out
from ansible_collections.connsec.tls.plugins.plugin_utils._relay import OpenRound, Progress, nothing_seen, round_to_json
from ansible_collections.connsec.tls.plugins.plugin_utils._rounds import Standing, judge_round, open_round
from ansible_collections.connsec.tls.plugins.plugin_utils._store import StoreView
from ansible_collections.connsec.tls.plugins.plugin_utils._words import round_lines

from .scenes import ask_for, scene_of

#: The rounds of the whole fleet: members of a component, and servers that one client dials, are apart.
PHASES = ["permit", "permit", "connect", "connect", "demand", "demand", "enforce", "enforce"]


def planned(scene: Scene) -> Plan:
    return make_plan(scene, ask_for(scene))


def standing_of(scene: Scene) -> Standing:
    """Return a run that has planned to take the whole fleet to the end, before its first round."""
    plan = {"rounds": [round_to_json(this) for this in planned(scene).rounds]}
    fleet: t.Any = types.SimpleNamespace(now=0)
    return Standing(fleet, plan, ask_for(scene), nothing_seen(), Progress(), scene)


def walked(standing: Standing) -> t.Iterator[tuple[OpenRound, list[str]]]:
    """Return the rounds that a run in check mode opens, with what it says of each."""
    before, judged = standing, None
    after, opened = open_round(standing, 0, watched={})
    while opened.started:
        yield opened, round_lines(before, after, judged=judged, opened=opened)
        before, judged = after, opened
        after, opened = judge_round(after, {"hostvars": {}}, opened)


@pytest.fixture
def checked() -> Scene:
    return dataclasses.replace(scene_of(), check_mode=True)


def test_in_check_mode_the_rounds_of_a_phase_are_one_and_every_step_is_tried_once(checked: Scene) -> None:
    rounds = planned(checked).rounds
    assert [this.phase for this in rounds] == PHASES
    opened = [this for this, _lines in walked(standing_of(checked))]
    stages = [{step.stage for step in this.started} for this in opened]
    assert stages == [{"permit"}, {"connect"}, {"demand"}, {"enforce"}]
    assert [step for this in opened for step in this.started] == [step for this in rounds for step in this.steps]
    tried = [row["target"] for this in opened for rows in this.edits.values() for row in rows]
    assert sorted(tried) == sorted(step.target for this in rounds for step in this.steps)


def test_it_says_which_rounds_are_one(checked: Scene) -> None:
    said = [lines[-1].partition(": ")[0] for _this, lines in walked(standing_of(checked))]
    assert said == ["rounds 1 to 2 of 8", "rounds 3 to 4 of 8", "rounds 5 to 6 of 8", "rounds 7 to 8 of 8"]


def test_in_check_mode_a_lost_host_keeps_its_own_steps_back_and_no_others(checked: Scene) -> None:
    lost = dataclasses.replace(checked, lost={"cfg2": "no route to host"})
    started = {step.instance.host for this, _lines in walked(standing_of(lost)) for step in this.started}
    assert started == {"cfg1", "db1", "app1", "app2"}


@pytest.mark.parametrize(("check_mode", "turns"), [(False, len(PHASES)), (True, 4)])
def test_the_playbook_takes_as_many_turns(check_mode: bool, turns: int) -> None:
    scene = scene_of()
    plan = dataclasses.replace(planned(scene), material={})
    work = Work(t.cast("t.Any", None), scene, ask_for(scene), nothing_seen(), "rollout", check_mode, plan)
    assert hand_out(work, StoreView(), needing=[], revoke=[], keep=90).facts["rounds"] == turns
