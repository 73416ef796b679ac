# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts are told where the ledger's history ends, and a ledger that lacks what they were told is named once."""

from __future__ import annotations

import dataclasses
import json
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._briefing import step_spec
from ansible_collections.connsec.tls.plugins.module_utils._core._chain import Head
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Instance
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import parse_instance
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import Scene
from ansible_collections.connsec.tls.plugins.module_utils._core._steps import Step
from ansible_collections.connsec.tls.plugins.plugin_utils._keeping import record
from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import Ledger
from ansible_collections.connsec.tls.plugins.plugin_utils._operator import Operator
from ansible_collections.connsec.tls.plugins.plugin_utils._outcome import Outcome
from ansible_collections.connsec.tls.plugins.plugin_utils._relay import Progress, nothing_seen
from ansible_collections.connsec.tls.plugins.plugin_utils._rounds import Standing
from ansible_collections.connsec.tls.plugins.plugin_utils._store import StoreView

from .scenes import ask_for, at_stage, scene_of, showing

SERVER: t.Final = "store@db1"
ME: t.Final = Operator("me", "root", "ctl1")
RUN: t.Final = {"goal": "rollout", "plan": "0" * 64}


def begun(folder: Path, times: int = 1, *, now: float = 0.0) -> Head:
    """Have runs begin, and return what the last one told its hosts."""
    return [Ledger(str(folder)).begin(RUN, operator=ME, now=now) for _unused in range(times)][-1]


def standing_of(scene: Scene, folder: Path, *, goal: str, lost: int = 0) -> Standing:
    """Return where a run of this scene stands at its end."""
    fleet: t.Any = types.SimpleNamespace(
        ledger=Ledger(str(folder)),
        wishes=types.SimpleNamespace(identities=lambda _unused: (), presented_by=lambda _unused: ()),
        view=lambda _instances, _seen: StoreView(),
        instances=lambda: [Instance.parse(SERVER)],
        operator=ME,
        paths=types.SimpleNamespace(ledger=str(folder)),
        remembered=[],
    )
    plan = {"goal": goal, "stuck": {}, "removals": [], "rounds": [], "observed": [], "ledger_lost": lost}
    return Standing(fleet, plan, ask_for(scene), nothing_seen(), Progress(), scene)


def findings(standing: Standing) -> list[tuple[str, str, str]]:
    """Return what a run says of the ledger."""
    rows = Outcome(standing, now=1.0).report()["findings"]
    return [(row["status"], row["expected"], row["seen"]) for row in rows if row["instance"] == "the ledger"]


@pytest.fixture
def scene() -> Scene:
    return at_stage(scene_of(), "enforced")


def test_each_step_of_a_run_tells_its_host_where_the_history_ended_when_it_began(scene: Scene) -> None:
    step = Step("load", "load", Instance.parse(SERVER), (), (), "")
    assert step_spec(scene, step).ledger == {}
    told = dataclasses.replace(scene, head=Head(7, "ab"))
    assert step_spec(told, step).ledger == {"entries": 7, "last": "ab"}


@pytest.mark.parametrize(
    ("kept", "told"), [({}, None), ({"ledger": {"entries": 7, "last": "ab"}}, Head(7, "ab")), ({"ledger": "7"}, None)]
)
def test_what_it_kept_is_read_when_it_is_looked_at(kept: dict[str, t.Any], told: Head | None) -> None:
    assert parse_instance({"loaded": {"generation": "000001", **kept}}).told == told
    assert parse_instance({}).told is None


@pytest.mark.parametrize(("goal", "status"), [("verify", "failed"), ("rollout", "waiting")])
def test_an_older_copy_is_named_by_those_who_were_told_more(
    scene: Scene, tmp_path: Path, goal: str, status: str
) -> None:
    begun(tmp_path)
    older = (tmp_path / "history.jsonl").read_bytes()
    scene = showing(scene, SERVER, told=begun(tmp_path, times=3))
    scene = showing(scene, "router@app1", told=begun(tmp_path, times=2))
    scene = showing(scene, "desk@app2", told=scene.seen(Instance.parse("router@app1")).told)
    assert findings(standing_of(scene, tmp_path, goal=goal)) == []
    (tmp_path / "history.jsonl").write_bytes(older)
    said = "history.jsonl ends after entry 1, and had 6: it was cut off, or an older copy was put in its place"
    expected = "it has what desk@app2, router@app1 was told of it"
    assert findings(standing_of(scene, tmp_path, goal=goal)) == [(status, expected, said)]
    assert findings(standing_of(scene, tmp_path, goal=goal, lost=4))[0][1] == "it knows the pairs that hosts show"


def test_a_run_that_acts_says_so_once_and_the_ledger_has_it_from_then_on(scene: Scene, tmp_path: Path) -> None:
    begun(tmp_path)
    older = (tmp_path / "history.jsonl").read_bytes()
    scene = showing(scene, SERVER, told=begun(tmp_path))
    (tmp_path / "history.jsonl").write_bytes(older)
    begun(tmp_path, times=3, now=1.0)
    standing = standing_of(scene, tmp_path, goal="rollout")
    assert [row[0] for row in findings(standing)] == ["waiting"]
    record(standing, Outcome(standing, now=1.0).report(), now=1.0)
    entry = json.loads((tmp_path / "history.jsonl").read_text().splitlines()[-1])
    assert (entry["event"], [row["entries"] for row in entry["missed"]]) == ("missed", [2])
    assert findings(standing) == []
    before = (tmp_path / "history.jsonl").read_bytes()
    record(standing, Outcome(standing, now=2.0).report(), now=2.0)
    assert (tmp_path / "history.jsonl").read_bytes() == before
