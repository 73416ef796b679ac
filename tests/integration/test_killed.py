# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL in the middle: before and after renames, reloads and ledger writes, of the run and of a module's process.

``make test`` kills at five points, ``make soak`` at all of them. What the points mean stands in ``tests/faults``.
"""

from __future__ import annotations

import typing as t

import pytest

from .harness import ENFORCE, Fleet

#: ansible-playbook dies when a task is about to start; the tasks that run on hosts finish.
TASKS: t.Final = (
    "Read the model",
    "Observe",
    "Plan",
    "Make what is missing in the store",
    "Install material",
    "Take in what the hosts show, and open the first round",
    *("Do the steps#%d" % number for number in range(1, 6)),
    "Look from the clients' hosts",
    "Look from the clients' hosts#3",
    *("Judge the round#%d" % number for number in range(1, 6)),
    "Say what was reached",
)
#: An action on the controller dies, and ansible-playbook with it.
CONTROLLER: t.Final = (
    "append journal.jsonl before",
    "append journal.jsonl after",
    "rename *.pem before",
    "rename *.pem after 3",
    "append journal.jsonl before 2",
    "append history.jsonl before",
    "append history.jsonl after 2",
    "rename connections.json before",
    "rename connections.json after 3",
    "rename report.json before",
)
#: A module's process on a host dies alone.
HOSTS: t.Final = (
    "create manifest.json before",
    "rename current before",
    "rename current after",
    "rename before.json before",
    "rename before.json after 2",
    "rename pending.json before",
    "rename pending.json after 3",
    "rename options.ini before",
    "rename options.ini after",
    "rename options.ini after 3",
    "rename after.json before",
    "rename after.json after 2",
    "signal SIGHUP before",
    "signal SIGHUP after",
    "signal SIGHUP before 3",
    "signal SIGHUP after 5",
    "rename loaded.json before",
    "rename loaded.json after 2",
    "remove pending.json before",
    "remove pending.json after 2",
)
#: The five that every `make test` runs: a task, the ledger, material, an edit and a reload.
ALWAYS: t.Final = frozenset((
    "task Do the steps#2",
    "rename connections.json before",
    "rename current before",
    "rename options.ini after",
    "signal SIGHUP after",
))  # fmt: skip

PLACES: t.Final = (*("task %s" % task for task in TASKS), *CONTROLLER, *HOSTS)


@pytest.mark.parametrize(
    "place", [place if place in ALWAYS else pytest.param(place, marks=pytest.mark.soak) for place in PLACES]
)
def test_whatever_is_killed_the_next_run_finishes_it(clear: Fleet, place: str):
    run = clear.killed_at(place, *ENFORCE)
    if place in HOSTS:
        run.must_end(2)
        assert run.last_lines
    else:
        run.must_end(-9)
    clear.must_be_enforced_by_the_next_run()
    left = [path for path in clear.root.rglob("*") if path.name == "pending.json" or ".new-" in path.name]
    left += list(clear.root.rglob("*.connsec-new"))
    assert not left, left
