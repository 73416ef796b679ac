# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan is approved by its digest, nothing else is carried out, and the ledger shows who did it and who edited it."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from pathlib import Path

from .harness import ENFORCE, QUICK, Fleet, still


def approved_plan(fleet: Fleet) -> str:
    run = fleet.playbook("plan", *ENFORCE).must_end(0)
    digest = re.search(r"^  digest: ([0-9a-f]{64})$", run.text, re.M)
    file = re.search(r"^  plan file: (\S+)$", run.text, re.M)
    assert digest and file
    data = Path(file.group(1)).read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest.group(1)
    assert json.loads(data)["version"] == 1
    return digest.group(1)


def test_only_the_approved_plan_is_carried_out_and_its_history_cannot_be_edited(clear: Fleet):
    digest = approved_plan(clear)
    approved = (*ENFORCE, "-e", "tls_approved_plan=%s" % digest, "-e", "tls_change=CHG-0451")
    assert approved_plan(clear) == digest, "another look makes the same plan"

    model = clear.inventory / "tls_connections.yml"
    before, text = still(clear.root / "hosts", clear.store), model.read_text()
    model.write_text(text + "\nidentities: {confserv@cfg1: {names: [added.example.net]}}\n")
    refused = clear.playbook("rollout", *approved)
    assert refused.code != 0
    assert "not as in that one: identity confserv@cfg1" in " ".join(refused.text.split())
    after = still(clear.root / "hosts", clear.store)
    assert {path for path in after if before.get(path) != after[path]} <= {
        str(clear.store),
        str(clear.store / "ledger"),
        str(clear.store / "ledger" / "run.json"),
    }
    model.write_text(text)

    assert clear.killed_at("task Do the steps#2", *approved).code == -signal.SIGKILL
    clear.playbook("rollout", *approved).must_end(0)  # what is left of it, under the same approval
    assert set(clear.stages().values()) == {("enforced", "done")}
    clear.must_talk()

    history = clear.store / "ledger" / "history.jsonl"
    entries = [json.loads(line) for line in history.read_text().splitlines()]
    assert {entry["change"] for entry in entries} == {"CHG-0451"}
    assert {entry["plan"] for entry in entries if entry["event"] == "begun"} >= {digest}
    moved = [entry for entry in entries if entry["event"] == "moved" and entry["to"] == "enforced"]
    assert moved and all(entry["observation"]["clear"]["outcome"] for entry in moved)
    assert all(entry["operator"]["account"] and entry["operator"]["host"] for entry in entries)
    clear.playbook("verify", *QUICK).must_end(0)

    lines = history.read_text().splitlines()
    history.write_text("".join(line + "\n" for line in [*lines[:2], *lines[3:]]))
    run = clear.playbook("verify", *QUICK).must_end(2)
    assert "FAILED the ledger" in run.last_lines
    assert "entry 3 is missing before entry 4" in run.last_lines
