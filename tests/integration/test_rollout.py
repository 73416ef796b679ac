# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on a small fleet: plan, check mode, rollout, a second rollout, demands, and going back."""

from __future__ import annotations

import re

from .harness import ENFORCE, PAIRS, QUICK, SERVERS, SWITCH, Fleet, still, tree


def changes_of(run) -> set[tuple[str, str]]:
    """Return what a run changed, with reasons; what only a gate says is left out."""
    return {(target, reason) for target, reason in run.reasons() if not target.startswith("gate ")}


def test_check_mode_names_what_the_run_then_does_and_changes_not_one_byte(clear: Fleet):
    folders = (clear.store, clear.inventory, *(clear.root / "hosts").iterdir())
    before = still(*folders)
    checked = clear.playbook("rollout", *ENFORCE, "--check", "--diff").must_end(0)
    assert still(*folders) == before
    assert "not observable in check mode" in checked.last_lines
    done = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert changes_of(checked) == changes_of(done)
    assert {target.partition(" ")[0] for target, _reason in changes_of(done)} >= {
        "authority",
        "identity",
        "material",
        "step",
    }
    assert not [target for target, _reason in done.reasons() if re.search(r"[0-9a-fA-F]{16}", target)], "a serial"
    assert set(clear.stages().values()) == {("enforced", "done")}
    gaps = {name: row["longest_gap_ms"] for name, row in clear.traffic().items()}
    assert max(gaps.values()) < 1000, gaps
    clear.must_talk()


def test_a_second_rollout_changes_nothing_and_reloads_nothing(enforced: Fleet):
    def reloads() -> list[str]:
        logs = sorted((enforced.root / "hosts").glob("*/*/component.log"))
        return [
            line for log in logs for line in log.read_text().splitlines() if "reloaded" in line or "started" in line
        ]

    def everything() -> tuple:
        return still(enforced.root / "hosts", enforced.store), reloads()

    before = everything()
    run = enforced.playbook("rollout", *ENFORCE).must_end(0)
    assert run.changed == 0
    assert "nothing is due" in run.text
    assert everything() == before


def test_a_plan_changes_nothing_and_names_every_step(clear: Fleet):
    before = tree(clear.store, clear.inventory)
    run = clear.playbook("plan", *ENFORCE).must_end(0)
    assert run.changed == 0
    assert tree(clear.store, clear.inventory) == before
    for words in (
        *("step permit-default %s" % server for server in SERVERS),
        *("step enforce-default %s" % server for server in SERVERS),
        "step connect-confserv.default router@app1",
        "store: ",
        "material: app1: desk@app1, router@app1",
        *PAIRS,
    ):
        assert words in run.text, words


def test_a_listener_demands_certificates_once_every_client_was_seen_presenting_one(clear: Fleet):
    clear.make_mutual(presenting=("router", "desk"))
    clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    seen = {
        item["seen"] for row in clear.report()["connections"] for item in row["evidence"] if item["gate"] == "demanded"
    }
    assert seen == {"a client without a certificate is refused and one with a foreign CA's"}
    assert {row["security"] for row in clear.traffic().values()} == {"mutual"}
    clear.must_talk()
    for server in SERVERS:  # each goes back without the other
        assert "verify_client = require" in clear.options(server).read_text()
    run = clear.playbook("rollback", *SWITCH, "-e", "tls_take_back=demanded").must_end(0)
    assert "is open to clients without a certificate again: %s" % PAIRS[0] in run.text
    assert set(clear.stages().values()) == {("switched", "done")}
    for server in SERVERS:
        text = clear.options(server).read_text()
        assert "verify_client = request" in text and not re.search(r"^port =", text, re.M), "plaintext stays refused"
    clear.playbook("rollback", *SWITCH, "-e", "tls_take_back=enforced").must_end(0)
    for server in SERVERS:
        assert re.search(r"^port =", clear.options(server).read_text(), re.M)
    assert {row["security"] for row in clear.traffic().values()} == {"mutual"}
    clear.must_talk()


def test_a_client_that_presents_no_certificate_keeps_the_listener_from_demanding_one(clear: Fleet):
    clear.make_mutual(presenting=("router",))
    run = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("switched", "waiting")}
    assert "presents none" in run.last_lines
    assert "expected desk@app1 presents a certificate that confserv@cfg1 accepts" in run.last_lines
    clear.must_talk()


def test_going_back_reopens_what_the_plan_named_and_loses_nothing(enforced: Fleet):
    run = enforced.playbook("rollback", *SWITCH).must_end(0)
    for pair in PAIRS:
        assert "goes back to plaintext: %s" % pair in run.text
    assert {stage for stage, _status in enforced.stages().values()} == {"presented"}
    enforced.must_talk()
    assert {row["security"] for row in enforced.traffic().values()} == {"clear"}
    enforced.must_be_enforced_by_the_next_run()


def test_a_limit_restricts_what_is_changed_and_not_who_looks(switched: Fleet):
    run = switched.playbook("rollout", *ENFORCE, "--limit", "cfg1,localhost").must_end(0)
    assert {host for host, row in run.data["stats"].items() if row["changed"]} == {"cfg1"}
    stages = switched.stages()
    assert {stages[pair] for pair in PAIRS if pair.endswith("@cfg1")} == {("enforced", "done")}
    assert {stages[pair][0] for pair in PAIRS if pair.endswith("@cfg2")} == {"switched"}
    switched.must_talk()


def test_the_report_alone_shows_what_the_ledger_has(enforced: Fleet):
    before = enforced.report()
    enforced.down()
    run = enforced.playbook("report", *QUICK).must_end(0)
    assert run.changed == 0
    assert set(enforced.stages().values()) == {("enforced", "done")}
    assert [row["evidence"] for row in enforced.report()["connections"]] == [
        row["evidence"] for row in before["connections"]
    ]
    assert all(row["expires"] and row["since"] for row in enforced.report()["connections"])
