# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are lost in the middle of a run, a ledger and a store that are lost between runs, and two runs at once."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import typing as t

import pytest

from .harness import ENFORCE, PAIRS, QUICK, Fleet
from .ssh_hosts import SshHosts


def lose_when(fleet: Fleet, hosts: SshHosts, names: t.Sequence[str], process: subprocess.Popen, words: str) -> None:
    """Lose hosts as soon as the run has said these words."""
    until = time.monotonic() + 120
    while words not in fleet.log:
        assert process.poll() is None and time.monotonic() < until, fleet.log[-3000:]
        time.sleep(0.02)
    for name in names:
        hosts.lose(name)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        pytest.param(["app1"], "round 1 of", marks=pytest.mark.soak),
        (["app1"], "step connect-confserv.default router@app1"),
        (["cfg2"], "step permit-default confserv@cfg1"),
        pytest.param(["app1", "cfg1", "cfg2"], "round 1 of", marks=pytest.mark.soak),
        (["app1", "cfg1", "cfg2"], "PLAY [Material]"),
    ],
    ids=["a client", "a client that is being switched", "a standby", "everybody", "everybody before their material"],
)
def test_hosts_that_are_lost_keep_their_pairs_back_and_the_last_lines_appear(clear: Fleet, lost, words):
    with SshHosts(clear, ["app1", "cfg1", "cfg2"]) as hosts:
        process = clear.start("rollout", *ENFORCE)
        lose_when(clear, hosts, lost, process, words)
        run = clear.finish(process).must_end(2)
    for pair in PAIRS:
        assert pair in run.last_lines
    named = set(re.findall(r"gate reach: expected Ansible works on (\w+); seen: it is unreachable", run.last_lines))
    assert named and named <= set(lost)
    assert "mend what it says about %s, and run again" % min(named) in run.last_lines
    held = {name for name in PAIRS if any(name.count("@" + host) for host in lost)}
    assert {clear.stages()[name][1] for name in held} == {"failed"}
    clear.must_be_enforced_by_the_next_run()


def test_a_deleted_ledger_is_seen_again_and_nothing_changes(enforced: Fleet):
    shutil.rmtree(enforced.store / "ledger")
    run = enforced.playbook("rollout", *ENFORCE).must_end(0)
    assert run.changed == 0, run.text[-3000:]
    assert set(enforced.stages().values()) == {("enforced", "done")}
    assert "seen: it was empty, and hosts show 4 pairs beyond plain: their stages are seen again; lost are" in run.text
    assert "bring %s back from a backup" % (enforced.store / "ledger") in run.last_lines
    assert "it was empty" not in enforced.playbook("rollout", *ENFORCE).must_end(0).text


@pytest.mark.soak
def test_an_older_copy_of_the_ledger_is_named_by_the_hosts_that_were_told_more(switched: Fleet):
    """Nothing but the hosts tells of it: there is no report, and the copy fits itself."""
    ledger, older = switched.store / "ledger", switched.root / "older"
    shutil.copytree(ledger, older)
    switched.playbook("rollout", *ENFORCE).must_end(0)
    shutil.rmtree(ledger)
    older.rename(ledger)
    (switched.root / "report.json").unlink()

    run = switched.playbook("verify", *QUICK).must_end(2)
    said = " ".join(run.last_lines.split())
    assert "FAILED the ledger" in run.last_lines
    assert "expected it has what confserv@cfg1, confserv@cfg2 was told of it; seen: history.jsonl ends after" in said
    assert "it was cut off, or an older copy was put in its place" in said

    (switched.root / "report.json").unlink()
    run = switched.playbook("rollout", *ENFORCE).must_end(0)
    assert "WAITING the ledger" in run.last_lines
    assert run.changed == 0
    again = switched.playbook("rollout", *ENFORCE).must_end(0)
    assert "the ledger" not in again.last_lines, "it has been said, and the ledger knows it by now"
    switched.playbook("verify", *QUICK).must_end(0)


def test_an_empty_store_is_not_filled_while_hosts_show_our_generations(enforced: Fleet):
    enforced.store.rename(enforced.root / "moved")
    run = enforced.playbook("rollout", *ENFORCE)
    assert run.code != 0
    assert "generations" in run.text
    assert not list(enforced.root.glob("store/**/*.pem"))
    enforced.must_talk()
    shutil.rmtree(enforced.store, ignore_errors=True)
    (enforced.root / "moved").rename(enforced.store)
    assert enforced.playbook("rollout", *ENFORCE).must_end(0).changed == 0


def test_a_second_run_is_told_who_holds_the_fleet_and_touches_nothing(clear: Fleet):
    first = clear.start("rollout", *ENFORCE)
    until = time.monotonic() + 60
    while not list(clear.store.glob("**/run.json")):
        assert first.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    argv = [arg for arg in first.args if isinstance(arg, str)]
    second = subprocess.run(argv, env=clear.environment(), capture_output=True, text=True, check=False, timeout=120)
    assert second.returncode != 0
    assert "process %d" % first.pid in " ".join(second.stdout.split())
    clear.finish(first).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    clear.playbook("verify", *QUICK).must_end(0)
