# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger with a passphrase is written by runs that have it, read by all, and shows who wrote to it without."""

from __future__ import annotations

import hashlib
import json
import subprocess

from .harness import BIN, QUICK, Fleet

PREPARED = (*QUICK, "-e", "tls_scope=all", "-e", "tls_until=presented")
PASSPHRASE = "canary-seal-0815"


def vaulted(fleet: Fleet) -> tuple[str, ...]:
    """Return the arguments that give a run the ledger's passphrase as Ansible Vault has it."""
    password, variables = fleet.root / "vault-password", fleet.root / "sealed.yml"
    password.write_text("the password of the vault\n")
    argv = [str(BIN / "ansible-vault"), "encrypt_string", "--vault-password-file", str(password)]
    argv += ["--stdin-name", "tls_ledger_passphrase"]
    done = subprocess.run(argv, input=PASSPHRASE, env=fleet.environment(), capture_output=True, text=True, check=True)
    variables.write_text(done.stdout)
    assert PASSPHRASE not in done.stdout
    return "-e", "@%s" % variables, "--vault-password-file", str(password)


def shorten(fleet: Fleet) -> None:
    """Take the last entries out of the history, and mend everything that counts them, as one can without the key."""
    ledger = fleet.store / "ledger"
    lines = (ledger / "history.jsonl").read_text().splitlines()[:-2]
    (ledger / "history.jsonl").write_text("".join(line + "\n" for line in lines))
    current = json.loads((ledger / "connections.json").read_text())
    head = {"entries": len(lines), "last": hashlib.sha256(lines[-1].encode()).hexdigest()}
    stages = {entry["pair"]: entry["to"] for entry in map(json.loads, lines) if "pair" in entry}
    for name, row in current["pairs"].items():
        row["stage"] = stages.get(name)
    kept = {name: row for name, row in current["pairs"].items() if row["stage"]}
    current.update(history=head, told=len(lines), pairs=kept)
    (ledger / "connections.json").write_text(json.dumps(current))


def test_a_sealed_ledger_shows_what_was_done_to_it_without_its_passphrase(clear: Fleet):
    passphrase = vaulted(clear)
    clear.playbook("rollout", *PREPARED, "-vvv", *passphrase).must_end(0)
    texts = [clear.log, *(path.read_text() for path in (clear.store / "ledger").iterdir())]
    assert not [text for text in texts if PASSPHRASE in text]
    assert clear.playbook("rollout", *PREPARED, *passphrase).must_end(0).changed == 0
    clear.playbook("verify", *QUICK, *passphrase).must_end(0)

    refused = clear.playbook("rollout", *PREPARED)
    assert refused.code != 0
    assert "it is sealed, and tls_ledger_passphrase is not set; set it, best from Ansible Vault" in refused.text
    plan = clear.playbook("plan", *PREPARED).must_end(0)
    assert (
        "note: the ledger: it is sealed, and tls_ledger_passphrase is not set, so its seal is not checked" in plan.text
    )
    assert "WAITING the ledger" in clear.playbook("report").must_end(0).last_lines

    shorten(clear)
    lines = " ".join(clear.playbook("verify", *QUICK, *passphrase).must_end(2).last_lines.split())
    assert "FAILED the ledger" in lines
    assert "connections.json does not fit its seal: it, or its count of" in lines
    refused = clear.playbook("rollout", *PREPARED, *passphrase)
    assert refused.code != 0
    assert "connections.json does not fit its seal" in " ".join(refused.text.split())
