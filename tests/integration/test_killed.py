# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL in the middle: before and after renames, reloads and ledger writes, of the run and of a module's process.

``make test`` kills at eight points, ``make soak`` at all of them.
"""

from __future__ import annotations

import typing as t

import pytest

from .harness import ENFORCE, Fleet, last_lines

#: Points of the run (ansible-playbook itself dies), then of one module's or action's process.
RUN_POINTS = [
    "plan.model.after",
    "plan.decide.after",
    "round.installed.before",
    "round.installed.after",
    "round.open.before",
    "round.open.before#3",
    "round.open.after#2",
    "round.judge.before",
    "round.judge.before#2",
    "round.judge.after",
    "round.judge.after#4",
    "report.before",
    "report.after",
]
PROCESS_POINTS = [
    "pki.journal.before",
    "pki.journal.after",
    "pki.write.after",
    "store.publish.before",
    "store.publish.between",
    "store.publish.after",
    "ledger.history.before",
    "ledger.current.before",
    "ledger.current.after",
    "files.rename.before",
    "files.rename.after",
    "material.current.before",
    "material.current.after",
    "step.marker.before",
    "step.marker.after",
    "step.apply.before",
    "step.apply.after",
    "options.rename.before",
    "options.rename.after",
]
#: The eight that every `make test` runs: one of each sort.
ALWAYS = {
    "plan.decide.after",
    "round.judge.before#2",
    "round.open.before#3",
    "pki.write.after",
    "ledger.current.before",
    "material.current.before",
    "step.apply.before",
    "step.apply.after",
}


def marked(points: list[str]) -> list[t.Any]:
    """Return the points as parameters; all but the eight are for the soak."""
    return [point if point in ALWAYS else pytest.param(point, marks=pytest.mark.soak) for point in points]


def recovers(fleet: Fleet) -> None:
    """Assert what must hold after any kill."""
    fleet.assert_everybody_talks()
    run = fleet.playbook("rollout", *ENFORCE)
    assert run.code == 0, run.text[-4000:]
    assert set(fleet.stages().values()) == {("enforced", "done")}, last_lines(run)
    again = fleet.playbook("rollout", *ENFORCE)
    assert (again.code, again.changed) == (0, 0), again.text[-3000:]
    left = [str(path) for path in (fleet.root / "hosts").glob("*/connsec/*/pending.json")]
    left += [str(path) for path in fleet.root.rglob("*") if ".new-" in path.name or path.name.endswith(".connsec-new")]
    assert not left
    fleet.assert_everybody_talks()


@pytest.mark.parametrize("point", marked(RUN_POINTS))
def test_a_run_that_is_killed_is_finished_by_the_next(fleet: Fleet, point: str):
    process = fleet.start("rollout", *ENFORCE, CONNSEC_RUN_FAULT=point, CONNSEC_RUN_FAULT_COUNT=str(fleet.root / "count"))
    run = fleet.finish(process)
    assert run.code == -9, "the run was not killed at %s: %s" % (point, run.text[-2000:])
    recovers(fleet)


@pytest.mark.parametrize("point", marked(PROCESS_POINTS))
def test_a_process_that_is_killed_keeps_back_what_it_worked_on_and_the_next_run_finishes(fleet: Fleet, point: str):
    run = fleet.playbook("rollout", *ENFORCE, CONNSEC_FAULT=point)
    assert run.code != 0, "nothing was killed at %s: %s" % (point, run.text[-2000:])
    recovers(fleet)
