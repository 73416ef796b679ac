# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on a small fleet: plan, rollout, a second rollout, check mode, and what is refused."""

from __future__ import annotations

import pytest

from .harness import ENFORCE, QUICK, Fleet, last_lines, tree


def gates(reasons):
    """Leave out what only a plan or a gate says."""
    return {(target, reason) for target, reason in reasons if not target.startswith("gate ")}


def test_a_rollout_enforces_every_pair_and_loses_nothing(fleet: Fleet):
    run = fleet.playbook("rollout", *ENFORCE)
    assert run.code == 0, run.text[-4000:]
    assert set(fleet.stages().values()) == {("enforced", "done")}
    fleet.assert_everybody_talks()
    gaps = {name: row["longest_gap_ms"] for name, row in fleet.traffic().items()}
    assert max(gaps.values()) < 1000, gaps


def test_a_second_rollout_changes_nothing_and_reloads_nothing(enforced: Fleet):
    hosts = enforced.root / "hosts"
    before = {path: value for path, value in tree(hosts).items() if "connsec" in path or path.endswith(".ini")}
    ledger = tree(enforced.root / "store")
    run = enforced.playbook("rollout", *ENFORCE)
    assert (run.code, run.changed) == (0, 0), run.text[-3000:]
    assert "nothing is due" in run.text
    assert {path: value for path, value in tree(hosts).items() if path in before} == before
    assert tree(enforced.root / "store") == ledger


def test_check_mode_names_what_the_run_then_does_and_changes_not_one_byte(fleet: Fleet):
    watched = [fleet.root / "hosts", fleet.root / "store", fleet.inventory]
    before = {p: v for p, v in tree(*watched).items() if not p.endswith((".log", ".jsonl", "sessions", ".json"))}
    checked = fleet.playbook("rollout", *ENFORCE, "--check", "--diff")
    assert checked.code == 0, checked.text[-4000:]
    after = {p: v for p, v in tree(*watched).items() if not p.endswith((".log", ".jsonl", "sessions", ".json"))}
    assert after == before
    assert "not observable in check mode" in checked.text
    done = fleet.playbook("rollout", *ENFORCE)
    assert done.code == 0, done.text[-4000:]
    assert gates(checked.reasons()) == gates(done.reasons())
    assert not [target for target, _ in done.reasons() if any(len(word) > 30 and word.isalnum() for word in target.split())]


def test_a_plan_changes_nothing_and_names_every_step(fleet: Fleet):
    before = tree(fleet.root / "store", fleet.inventory)
    run = fleet.playbook("plan", *ENFORCE)
    assert (run.code, run.changed) == (0, 0), run.text[-3000:]
    assert tree(fleet.root / "store", fleet.inventory) == before
    for word in ("permit", "connect", "enforce", "material on", "store:"):
        assert word in run.text or word.replace(" on", "") in run.text


REFUSALS = [
    (["--tags", "pki"], "--tags and --skip-tags would leave steps out of their order"),
    (["--skip-tags", "steps"], "--tags and --skip-tags would leave steps out of their order"),
    (["-e", "tls_until=enforcd"], "tls_until: 'enforcd' is no stage to go to"),
    (["-e", "tls_scope=nothing"], "tls_scope: 'nothing' is neither all, a wave"),
    (["-e", "tls_watch=soon"], "tls_watch: 'soon' is not a number of seconds"),
    (["-e", "tls_observe=false"], "tls_observe=false plans from the ledger alone"),
]


@pytest.mark.parametrize(("extra", "sentence"), REFUSALS)
def test_what_cannot_be_had_is_refused_in_one_sentence(enforced: Fleet, extra, sentence):
    run = enforced.playbook("rollout", *QUICK, *extra)
    assert run.code != 0
    assert sentence in " ".join(run.text.split())
    assert run.changed == 0


def test_a_limit_without_localhost_is_refused(enforced: Fleet):
    host = sorted(path.name for path in (enforced.root / "hosts").iterdir())[0]
    run = enforced.playbook("rollout", *QUICK, "--limit", host)
    assert run.code != 0
    assert "leaves localhost out" in run.text


def test_a_limit_restricts_what_is_changed_and_not_who_looks(fleet: Fleet):
    hosts = sorted(path.name for path in (fleet.root / "hosts").iterdir())
    run = fleet.playbook("rollout", *ENFORCE, "--limit", "%s,localhost" % hosts[0])
    assert run.code in (0, 2), run.text[-3000:]
    changed = {host for host, row in run.data["stats"].items() if row["changed"]}
    assert changed <= {hosts[0], "localhost"}
    assert not (fleet.root / "hosts" / hosts[1] / "connsec").exists()


@pytest.mark.parametrize("option", ["--syntax-check", "--list-tasks", "--list-hosts"])
def test_what_only_lists_does_not_run(fleet: Fleet, option):
    run = fleet.playbook("rollout", option)
    assert run.code == 0, run.text
    assert not (fleet.root / "store").exists()


def test_a_mistake_in_the_model_stops_every_playbook(enforced: Fleet):
    file = enforced.inventory / "tls_connections.yml"
    file.write_text(file.read_text() + "\nconections: []\n")
    for name in ("plan", "rollout", "verify", "rollback", "report", "enumerate"):
        run = enforced.playbook(name, *QUICK)
        assert run.code != 0, name
        assert "conections" in run.text
        assert run.changed == 0


def test_going_back_reopens_what_the_plan_named_and_loses_nothing(enforced: Fleet):
    run = enforced.playbook("rollback", *QUICK, "-e", "tls_scope=all")
    assert run.code == 0, run.text[-4000:]
    assert "goes back to plaintext" in run.text
    assert {stage for stage, _ in enforced.stages().values()} == {"presented"}
    enforced.assert_everybody_talks()


def test_a_deleted_ledger_is_seen_again_and_nothing_changes(enforced: Fleet):
    for path in (enforced.root / "store" / "ledger").iterdir():
        path.unlink()
    run = enforced.playbook("rollout", *ENFORCE)
    assert (run.code, run.changed) == (0, 0), run.text[-3000:]
    assert set(enforced.stages().values()) == {("enforced", "done")}


def test_an_empty_store_is_not_filled_while_hosts_show_our_generations(enforced: Fleet):
    (enforced.root / "store").rename(enforced.root / "store-moved")
    run = enforced.playbook("rollout", *ENFORCE)
    assert run.code != 0
    assert not list((enforced.root).glob("store/authorities/*/root.pem"))
    enforced.assert_everybody_talks()


def test_a_second_run_is_told_who_holds_the_fleet(fleet: Fleet):
    first = fleet.start("rollout", *QUICK, "-e", "tls_until=switched")
    try:
        other = Fleet(fleet.root, net=fleet.net)
        deadline = 100
        while not list((fleet.root / "store").glob("**/run.json")) and deadline:
            deadline -= 1
            try:
                first.wait(0.1)
            except Exception:
                continue
        record = (fleet.root / "playbook.log").read_bytes()
        second = other.start("rollout", *QUICK)
        run = other.finish(second)
        assert run.code != 0, record
        assert str(first.pid) in run.text
    finally:
        first.wait(240)


def test_the_last_lines_hold_every_pair(enforced: Fleet):
    run = enforced.playbook("verify", *QUICK)
    assert run.code == 0, run.text[-3000:]
    for name in enforced.stages():
        assert name in last_lines(run)
