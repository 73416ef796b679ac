# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger writes what is new, durably, and chains its history."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest
from ansible_collections.connsec.tls.plugins.plugin_utils._folder import StoreError
from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import Ledger
from faults import killing

PAIR = "a@h->b.c@d"


def row(stage, status="done"):
    return {PAIR: {"stage": stage, "status": status, "evidence": []}}


def history(path):
    return (path / "history.jsonl").read_text().splitlines()


def test_reading_makes_nothing(tmp_path):
    assert Ledger(str(tmp_path / "ledger")).pairs() == {}
    assert not (tmp_path / "ledger").exists()


def test_a_look_that_finds_nothing_new_writes_nothing(tmp_path):
    ledger = Ledger(str(tmp_path))
    assert ledger.record(row("switched"), operator="me", now=1.0) == [PAIR]
    before = {path: os.stat(path).st_mtime_ns for path in tmp_path.iterdir()}
    assert Ledger(str(tmp_path)).record(row("switched"), operator="you", now=2.0) == []
    assert {path: os.stat(path).st_mtime_ns for path in tmp_path.iterdir()} == before


def test_every_entry_carries_the_digest_of_the_one_before(tmp_path):
    for number, stage in enumerate(["permissive", "switched", "enforced"]):
        Ledger(str(tmp_path)).record(row(stage), operator="me", now=float(number))
    lines = history(tmp_path)
    entries = [json.loads(line) for line in lines]
    assert [entry["to"] for entry in entries] == ["permissive", "switched", "enforced"]
    assert [entry["before"] for entry in entries] == [
        "",
        *[hashlib.sha256(line.encode()).hexdigest() for line in lines[:-1]],
    ]


def test_a_line_that_was_not_finished_spoils_none_that_follows(tmp_path):
    Ledger(str(tmp_path)).record(row("permissive"), operator="me", now=1.0)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"at": "20')
    Ledger(str(tmp_path)).record(row("switched"), operator="me", now=2.0)
    first, torn, last = history(tmp_path)
    assert (json.loads(first)["to"], torn) == ("permissive", '{"at": "20')
    assert json.loads(last)["before"] == hashlib.sha256(torn.encode()).hexdigest()


def test_nobody_else_can_read_it(tmp_path):
    old = os.umask(0)
    try:
        Ledger(str(tmp_path / "ledger")).record(row("plain"), operator="me", now=1.0)
    finally:
        os.umask(old)
    modes = {os.stat(path).st_mode & 0o777 for path in (tmp_path / "ledger").iterdir()}
    assert modes == {0o600}
    assert os.stat(tmp_path / "ledger").st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 99, "pairs": {}}'])
def test_a_file_that_is_not_ours_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "connections.json").write_text(content)
    with pytest.raises(StoreError) as caught:
        Ledger(str(tmp_path)).pairs()
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "at",
    [
        "append history.jsonl before",
        "append history.jsonl after",
        "rename connections.json before",
        "rename connections.json after",
    ],
)
def test_a_run_that_is_killed_while_it_writes_leaves_a_ledger_that_the_next_one_reads(tmp_path, at):
    Ledger(str(tmp_path)).record(row("permissive"), operator="me", now=1.0)
    program = (
        "from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import Ledger\n"
        "Ledger(%r).record(%r, operator='me', now=2.0)\n" % (str(tmp_path), row("switched"))
    )
    environment = killing(at, base={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == -9
    assert Ledger(str(tmp_path)).pairs()[PAIR]["stage"] in ("permissive", "switched")
    Ledger(str(tmp_path)).record(row("switched"), operator="me", now=3.0)
    assert Ledger(str(tmp_path)).pairs()[PAIR]["stage"] == "switched"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".new-")]
