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
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.plugin_utils._folder import StoreError
from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import Ledger
from ansible_collections.connsec.tls.plugins.plugin_utils._operator import Operator, operator_of
from faults import killing

PAIR = "a@h->b.c@d"
OTHER = "e@h->b.c@d"
ME = Operator("me", "root", "ctl1", "192.0.2.7", "CHG-1")
YOU = Operator("you", "deploy", "ctl1")


def row(stage, status="done", pair=PAIR):
    return {pair: {"stage": stage, "status": status, "evidence": [], "observation": {"tls": {"outcome": "tls"}}}}


def history(path):
    return (path / "history.jsonl").read_text().splitlines()


def test_reading_makes_nothing(tmp_path):
    assert Ledger(str(tmp_path / "ledger")).pairs() == {}
    assert not (tmp_path / "ledger").exists()


def test_a_look_that_finds_nothing_new_writes_nothing(tmp_path):
    ledger = Ledger(str(tmp_path))
    assert ledger.record(row("switched"), operator=ME, now=1.0) == [PAIR]
    before = {path: os.stat(path).st_mtime_ns for path in tmp_path.iterdir()}
    assert Ledger(str(tmp_path)).record(row("switched"), operator=YOU, now=2.0) == []
    assert {path: os.stat(path).st_mtime_ns for path in tmp_path.iterdir()} == before


def test_the_first_session_of_a_dormant_pair_is_remembered_until_somebody_goes_back(tmp_path):
    ledger = Ledger(str(tmp_path))
    ledger.record(row("switched"), operator=ME, now=1.0)
    seen = {PAIR: {**row("switched")[PAIR], "exercised": True}}
    assert ledger.record(seen, operator=ME, now=2.0) == [PAIR], "it is news although its stage is not"
    assert ledger.record(seen, operator=ME, now=3.0) == []
    ledger.record(row("enforced"), operator=ME, now=4.0)
    assert ledger.pairs()[PAIR]["exercised"] == "1970-01-01T00:00:02+00:00"
    ledger.record(row("presented"), operator=ME, now=5.0, back=True)
    assert "exercised" not in ledger.pairs()[PAIR]


def test_every_entry_carries_the_digest_of_the_one_before(tmp_path):
    for number, stage in enumerate(["permissive", "switched", "enforced"]):
        Ledger(str(tmp_path)).record(row(stage), operator=ME, now=float(number))
    lines = history(tmp_path)
    entries = [json.loads(line) for line in lines]
    assert [entry["to"] for entry in entries] == ["permissive", "switched", "enforced"]
    assert [entry["before"] for entry in entries] == [
        "",
        *[hashlib.sha256(line.encode()).hexdigest() for line in lines[:-1]],
    ]


def test_a_line_that_was_not_finished_spoils_none_that_follows(tmp_path):
    Ledger(str(tmp_path)).record(row("permissive"), operator=ME, now=1.0)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"at": "20')
    Ledger(str(tmp_path)).record(row("switched"), operator=ME, now=2.0)
    first, torn, last = history(tmp_path)
    assert (json.loads(first)["to"], torn) == ("permissive", '{"at": "20')
    assert json.loads(last)["before"] == hashlib.sha256(torn.encode()).hexdigest()
    assert json.loads(last)["number"] == 3
    assert Ledger(str(tmp_path)).fault() is None


def test_nobody_else_can_read_it(tmp_path):
    old = os.umask(0)
    try:
        Ledger(str(tmp_path / "ledger")).record(row("plain"), operator=ME, now=1.0)
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
    Ledger(str(tmp_path)).record(row("permissive"), operator=ME, now=1.0)
    program = (
        "from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import Ledger\n"
        "from ansible_collections.connsec.tls.plugins.plugin_utils._operator import Operator\n"
        "Ledger(%r).record(%r, operator=%r, now=2.0)\n" % (str(tmp_path), row("switched"), ME)
    )
    environment = killing(at, base={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == -9
    assert Ledger(str(tmp_path)).pairs()[PAIR]["stage"] in ("permissive", "switched")
    Ledger(str(tmp_path)).record(row("switched"), operator=ME, now=3.0)
    assert Ledger(str(tmp_path)).pairs()[PAIR]["stage"] == "switched"
    assert Ledger(str(tmp_path)).fault() is None
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".new-")]


def test_an_entry_says_who_did_what_from_where_and_what_was_seen(tmp_path):
    Ledger(str(tmp_path)).record(row("switched"), operator=ME, now=1.0)
    (entry,) = map(json.loads, history(tmp_path))
    assert entry["operator"] == {"who": "me", "account": "root", "host": "ctl1", "address": "192.0.2.7"}
    assert (entry["change"], entry["event"], entry["number"]) == ("CHG-1", "moved", 1)
    assert entry["observation"] == {"tls": {"outcome": "tls"}}
    assert "observation" not in Ledger(str(tmp_path)).pairs()[PAIR], "raw sights are for the history alone"


@pytest.mark.parametrize(
    ("variables", "environment", "who"),
    [
        ({}, {}, None),
        ({}, {"SUDO_USER": "ann", "SSH_CLIENT": "192.0.2.7 5000 22"}, "ann"),
        ({"awx_user_name": "bob"}, {"SUDO_USER": "awx"}, "bob"),
    ],
    ids=["the account", "who called sudo", "who started the job"],
)
def test_the_operator_is_a_person_where_one_is_named(variables, environment, who):
    found = operator_of({**variables, "tls_change": "CHG-7"}, environment=environment)
    assert found.who == (who or found.account)
    assert found.address == environment.get("SSH_CLIENT", "").partition(" ")[0]
    assert found.change == "CHG-7"


def test_a_change_number_of_two_lines_is_refused():
    with pytest.raises(TlsError, match=r"tls_change is .*; it is the number of a change request"):
        operator_of({"tls_change": "a\nb"}, environment={})


# The chain


@pytest.fixture
def written(tmp_path):
    ledger = Ledger(str(tmp_path))
    ledger.begin({"goal": "rollout", "plan": "0" * 64}, operator=ME, now=0.0)
    for number, stage in enumerate(["permissive", "switched", "enforced"], start=1):
        ledger.record({**row(stage), **row(stage, pair=OTHER)}, operator=ME, now=float(number))
    assert ledger.fault() is None
    return tmp_path


def edit(lines):
    lines[3] = lines[3].replace("switched", "enforced")


def edit_the_last(lines):
    lines[6] = lines[6].replace("root", "none")


def take_out(lines):
    del lines[2:4]


def take_one_out(lines):
    del lines[2]


def take_off_the_end(lines):
    del lines[5:]


def take_off_all(lines):
    lines.clear()


def swap(lines):
    lines[1], lines[2] = lines[2], lines[1]


def put_in(lines):
    lines.insert(2, lines[1])


def take_off_the_beginning(lines):
    del lines[0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edit, "entry 4 (1970-01-01T00:00:02+00:00, %s) is not the one that entry 5 follows" % PAIR),
        (edit_the_last, "entry 7 (1970-01-01T00:00:03+00:00, %s) was edited" % OTHER),
        (take_out, "entries 3 to 4 are missing before entry 5 (1970-01-01T00:00:02+00:00, %s)" % OTHER),
        (take_one_out, "entry 3 is missing before entry 4"),
        (take_off_the_end, "it ends after entry 5 (1970-01-01T00:00:02+00:00, %s), and 7 entries were written" % OTHER),
        (take_off_all, "it is empty, and 7 entries were written"),
        (swap, "entry 2 is missing before entry 3"),
        (put_in, "entry 2 (1970-01-01T00:00:01+00:00, %s) stands in the place of entry 3" % PAIR),
        (take_off_the_beginning, "entry 1 is missing before entry 2"),
    ],
)
def test_the_first_entry_that_is_not_as_it_was_written_is_named(written, damage, words):
    lines = history(written)
    damage(lines)
    (written / "history.jsonl").write_text("".join(line + "\n" for line in lines))
    assert words in Ledger(str(written)).fault().seen


def test_pairs_that_say_something_else_than_the_history_are_named(written):
    file = written / "connections.json"
    file.write_text(file.read_text().replace('"stage": "enforced"', '"stage": "plain"'))
    assert Ledger(str(written)).fault().seen == (
        "connections.json says plain of %s, and the history says enforced" % PAIR
    )


def test_pairs_that_are_gone_while_the_history_is_there_are_named(written):
    (written / "connections.json").unlink()
    assert "connections.json is not there" in Ledger(str(written)).fault().seen


def test_what_follows_a_break_does_not_hide_it(written):
    lines = history(written)
    edit(lines)
    (written / "history.jsonl").write_text("".join(line + "\n" for line in lines))
    Ledger(str(written)).record(row("plain"), operator=YOU, now=9.0, back=True)
    assert "entry 4" in Ledger(str(written)).fault().seen


def test_a_plan_counts_as_begun_once_a_run_of_it_began(written):
    ledger = Ledger(str(written))
    assert ledger.has_begun("0" * 64)
    assert not ledger.has_begun("1" * 64)


# A ledger of version 1

OLD = (
    '{"at": "2026-01-01T00:00:00+00:00", "before": "", "evidence": [], "from": null, "operator": "ann", '
    '"pair": "%s", "status": "done", "to": "permissive"}' % PAIR,
    '{"at": "2026-01-02T00:00:00+00:00", "before": "%s", "evidence": [], "from": "permissive", "operator": "ann", '
    '"pair": "%s", "status": "done", "to": "switched"}',
)


@pytest.fixture(params=["whole", "edited", "without its history"])
def old(tmp_path, request):
    second = OLD[1] % (hashlib.sha256(OLD[0].encode()).hexdigest(), PAIR)
    first = OLD[0] if request.param == "whole" else OLD[0].replace("ann", "bob")
    if request.param != "without its history":
        (tmp_path / "history.jsonl").write_text(first + "\n" + second + "\n")
    pairs = {PAIR: {"stage": "switched", "status": "done", "evidence": [], "since": "2026-01-02T00:00:00+00:00"}}
    (tmp_path / "connections.json").write_text(json.dumps({"version": 1, "pairs": pairs}))
    return request.param, tmp_path


def test_a_ledger_of_version_1_is_taken_over_and_says_what_nobody_can_say_of_it(old):
    state, path = old
    assert Ledger(str(path)).pairs()[PAIR]["stage"] == "switched"
    Ledger(str(path)).record(row("plain", pair=OTHER), operator=ME, now=1.0)
    seal = json.loads(history(path)[-2])
    assert (seal["event"], seal["from_version"]) == ("taken_over", 1)
    assert "nothing counted" in seal["note"]
    assert bool(seal["fault"]) == (state == "edited")
    assert Ledger(str(path)).fault() is None, "what was wrong before is in the seal"
    Ledger(str(path)).record(row("switched", pair=OTHER), operator=ME, now=2.0)
    assert sum("taken_over" in line for line in history(path)) == 1


def test_what_was_taken_over_cannot_be_changed_any_more(old):
    state, path = old
    Ledger(str(path)).record(row("plain", pair=OTHER), operator=ME, now=1.0)
    file = path / "history.jsonl"
    file.write_text(file.read_text().replace("2026-01-01", "2025-01-01") if state != "without its history" else "")
    assert Ledger(str(path)).fault()
