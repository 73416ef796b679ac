# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a run of the hard demo, and what counts as a fault of it."""

from __future__ import annotations

import typing as t

import pytest
from parts.story import Open, faults_of, last_lines, summary

OPENS: t.Final = (Open("partner->*", "waiting", "ask Partner"), Open("desk->trace", "blocked", "decided"))
DONE: t.Final = {"id": "a->b", "stage": "enforced", "status": "done", "todo": None, "evidence": []}
PARTNER: t.Final = {
    **{"id": "partner->trunk", "stage": "permissive", "status": "waiting", "todo": "ask Partner Ltd"},
    "evidence": [{"gate": "enforced", "expected": "all are on TLS", "seen": "it is not", "todo": None}],
}
TRACE: t.Final = {
    **{"id": "desk->trace", "stage": "plain", "status": "blocked", "todo": None},
    "evidence": [{"gate": "plain", "expected": "nobody forbids it", "seen": "somebody decided", "todo": "wait"}],
}
TEXT: t.Final = """
ok: [cfg1]
RESULT (rollout, until enforced)
  pair            stage
  partner->trunk  permissive
  not protected: desk->trace (somebody decided)
WAITING partner->trunk
    gate enforced: expected all are on TLS; seen: it is not

PLAY RECAP ****
cfg1 : ok=1
"""


def faults(*pairs: dict[str, t.Any], code: int = 0, text: str = TEXT) -> list[str]:
    report = {"connections": pairs}
    return faults_of(OPENS, report, summary(report, code=code, before={}, last_lines=last_lines(text)))


def test_a_run_that_left_what_it_may_and_says_so_is_without_a_fault() -> None:
    assert faults(DONE, PARTNER, TRACE) == []


@pytest.mark.parametrize(
    ("pairs", "more", "words"),
    [
        ([DONE], {"code": 2}, "it ended with 2"),
        ([DONE], {"text": "ok: [cfg1]"}, "it has no last lines"),
        ([{**DONE, "stage": "switched"}], {}, "a->b is switched, done"),
        ([{**PARTNER, "todo": "ask the network team"}], {}, "expected waiting: ask Partner"),
        ([{**PARTNER, "status": "failed"}], {}, "partner->trunk is failed"),
        ([{**PARTNER, "id": "partner->other"}], {}, "the last lines do not name partner->other"),
    ],
)
def test_whatever_else_a_run_did_is_a_fault(pairs: list[dict[str, t.Any]], more: dict[str, t.Any], words: str) -> None:
    found = faults(*pairs, **more)
    assert len(found) == 1
    assert words in found[0]


def test_a_run_is_summed_up_by_what_moved_and_what_is_left() -> None:
    report = {"connections": [DONE, PARTNER, TRACE]}
    row = summary(report, code=0, before={"partner->trunk": "permissive"}, last_lines=last_lines(TEXT))
    assert row["exit"] == 0
    assert row["moved"] == [{"pair": "a->b", "from": "plain", "to": "enforced"}]
    assert [each["pair"] for each in row["waiting"]] == ["partner->trunk"]
    assert row["waiting"][0]["todo"] == "ask Partner Ltd"
    assert [each["seen"] for each in row["blocked"]] == ["somebody decided"]
    assert row["failed"] == []
    assert row["last_lines"][0] == "RESULT (rollout, until enforced)"
    assert not any("RECAP" in line for line in row["last_lines"])
