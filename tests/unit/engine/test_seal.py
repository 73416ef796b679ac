# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sealed ledger shows what somebody without its passphrase did to it, and no killed run looks like that."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._chain import Head
from ansible_collections.connsec.tls.plugins.plugin_utils._folder import StoreError
from ansible_collections.connsec.tls.plugins.plugin_utils._keeping import Before, read_before
from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import Ledger
from ansible_collections.connsec.tls.plugins.plugin_utils._operator import Operator
from ansible_collections.connsec.tls.plugins.plugin_utils._seal import SealKeys, seal_keys
from faults import killing

PAIR = "a@h->b.c@d"
OTHER = "e@h->b.c@d"
ME = Operator("me", "root", "ctl1", "192.0.2.7", "CHG-1")
OURS = SealKeys("a long passphrase of ours")
THEIRS = SealKeys("a long passphrase of theirs")
NONE = SealKeys()
RUN = {"goal": "rollout", "plan": "0" * 64}


def row(stage, status="done", pair=PAIR):
    return {pair: {"stage": stage, "status": status, "evidence": [], "observation": {"tls": {"outcome": "tls"}}}}


def write(path, *stages, keys=OURS, begin=True):
    """Do to a ledger what a run does."""
    ledger = Ledger(str(path), keys)
    ledger.ready(operator=ME, now=0.0)
    if begin:
        ledger.begin(RUN, operator=ME, now=0.0)
    for number, stage in enumerate(stages, start=1):
        ledger.record({**row(stage), **row(stage, pair=OTHER)}, operator=ME, now=float(number))


def history(path):
    return (path / "history.jsonl").read_text().splitlines()


def events(path):
    return [json.loads(line)["event"] for line in history(path)]


def seen(path, keys=OURS):
    fault = Ledger(str(path), keys).fault()
    return fault.seen if fault else ""


@pytest.fixture
def sealed(tmp_path):
    write(tmp_path, "permissive", "switched", "enforced")
    assert seen(tmp_path) == ""
    return tmp_path


def forge(path, edit=lambda entries: None, *, without=()):
    """Rewrite the ledger as somebody can who has no passphrase: with every number and digest as it has to be."""
    entries = [json.loads(line) for line in history(path)]
    edit(entries)
    before, lines = "", []
    for number, entry in enumerate(entries, start=1):
        entry.update(number=number, before=before)
        lines.append(
            json.dumps({k: v for k, v in entry.items() if k not in without}, sort_keys=True, separators=(",", ":"))
        )
        before = hashlib.sha256(lines[-1].encode()).hexdigest()
    (path / "history.jsonl").write_text("".join(line + "\n" for line in lines))
    file = path / "connections.json"
    current = json.loads(file.read_text())
    for entry in entries:
        if "pair" in entry:
            current["pairs"][entry["pair"]]["stage"] = entry["to"]
    told = min(current.get("told", len(lines)), len(lines))
    current.update(history={"entries": len(lines), "last": before}, told=told)
    if without:
        current = {"version": 2, "pairs": current["pairs"], "history": current["history"]}
    file.write_text(json.dumps(current))


def edit_one(entries):
    entries[4]["operator"]["who"] = "somebody else"


def cut_the_end(entries):
    del entries[6:]


def take_one_out(entries):
    del entries[3]


def put_one_in(entries):
    entries.append({**entries[-1], "operator": "nobody"})


def put_one_in_without_a_seal(entries):
    entries.append({"event": "begun", "at": "1970-01-01T00:00:09+00:00"})


def edit_the_first(entries):
    entries[0]["operator"]["who"] = "somebody else"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (edit_one, "history.jsonl: entry 5 (1970-01-01T00:00:02+00:00, %s) does not fit its seal" % PAIR),
        (edit_the_first, "history.jsonl: entry 1 (1970-01-01T00:00:00+00:00, sealed) does not fit its seal"),
        (take_one_out, "history.jsonl: entry 4 (1970-01-01T00:00:02+00:00, %s) does not fit its seal" % PAIR),
        (put_one_in, "history.jsonl: entry 9 (1970-01-01T00:00:03+00:00, %s) does not fit its seal" % OTHER),
        (put_one_in_without_a_seal, "history.jsonl: entry 9 (1970-01-01T00:00:09+00:00, begun) carries no seal"),
        (cut_the_end, "connections.json does not fit its seal: it, or its count of 6 entries in history.jsonl"),
    ],
)
def test_who_has_no_passphrase_cannot_rewrite_history_unseen_though_every_digest_is_right(sealed, edit, words):
    forge(sealed, edit)
    assert seen(sealed, NONE) == "", "the chain alone shows nothing of it"
    assert words in seen(sealed)
    with pytest.raises(StoreError, match=re.escape(words)):
        write(sealed, "switched")


def test_a_history_that_was_only_cut_off_is_seen_with_and_without_the_passphrase(sealed):
    (sealed / "history.jsonl").write_text("".join(line + "\n" for line in history(sealed)[:5]))
    for keys in (OURS, NONE):
        assert "history.jsonl: it ends after entry 5" in seen(sealed, keys)


def set_more(current):
    current["pairs"][PAIR]["exercised"] = "1970-01-01T00:00:01+00:00"


def seal_later(current):
    current["seal"]["first"] = 99


def tell_less(current):
    current["told"] = 2


def reach_further(current):
    current["pairs"][PAIR]["highest"] = "presented"


@pytest.mark.parametrize("edit", [set_more, seal_later, tell_less, reach_further])
def test_nothing_that_stands_beside_the_seal_can_be_edited(sealed, edit):
    file = sealed / "connections.json"
    current = json.loads(file.read_text())
    edit(current)
    file.write_text(json.dumps(current))
    assert "connections.json does not fit its seal" in seen(sealed)


def take_the_seal_away(path):
    current = json.loads((path / "connections.json").read_text())
    current = {"version": 2, "pairs": current["pairs"], "history": current["history"]}
    (path / "connections.json").write_text(json.dumps(current))


def take_every_seal_away(path):
    forge(path, lambda entries: entries.pop(0), without=["seal"])


def take_the_file_away(path):
    (path / "connections.json").unlink()


@pytest.mark.parametrize(
    ("take", "words"),
    [
        (take_the_seal_away, "connections.json carries no seal, and history.jsonl does from entry 1 on"),
        (take_every_seal_away, "connections.json carries no seal, and tls_ledger_passphrase is set"),
        (take_the_file_away, "connections.json is not there, and the history has entries"),
    ],
)
def test_a_seal_that_was_taken_away_is_missed_and_not_made_anew(sealed, take, words):
    take(sealed)
    assert words in seen(sealed)
    with pytest.raises(StoreError, match=re.escape(words)):
        write(sealed, "switched")


def test_a_seal_that_is_taken_away_under_a_run_is_missed_at_its_next_entry(sealed):
    ledger = Ledger(str(sealed), OURS)
    ledger.ready(operator=ME, now=9.0)
    take_every_seal_away(sealed)
    with pytest.raises(StoreError, match="carries no seal"):
        ledger.record(row("plain"), operator=ME, now=9.0)


def test_a_history_that_is_changed_under_a_run_is_missed_at_its_next_entry(sealed):
    ledger = Ledger(str(sealed), OURS)
    ledger.ready(operator=ME, now=9.0)
    (sealed / "history.jsonl").write_text("".join(line + "\n" for line in history(sealed)[:5]))
    with pytest.raises(StoreError, match=r"history\.jsonl was changed while this run was under way"):
        ledger.record(row("plain"), operator=ME, now=9.0)


def test_another_passphrase_is_told_from_an_edited_ledger(sealed):
    assert "tls_ledger_passphrase is not the one that connections.json is sealed with" in seen(sealed, THEIRS)
    with pytest.raises(StoreError, match="is not the one that"):
        write(sealed, "switched", keys=THEIRS)
    assert seen(sealed) == ""


def test_a_run_without_the_passphrase_reads_a_sealed_ledger_and_does_not_write_it(sealed):
    before = (sealed / "connections.json").read_bytes(), history(sealed)
    ledger = Ledger(str(sealed))
    assert ledger.pairs()[PAIR]["stage"] == "enforced"
    assert ledger.is_unchecked
    assert ledger.fault() is None
    for act in (
        lambda: ledger.ready(operator=ME, now=9.0),
        lambda: ledger.begin(RUN, operator=ME, now=9.0),
        lambda: ledger.record(row("plain"), operator=ME, now=9.0),
    ):
        with pytest.raises(StoreError, match="it is sealed, and tls_ledger_passphrase is not set"):
            act()
    assert ((sealed / "connections.json").read_bytes(), history(sealed)) == before
    assert not Ledger(str(sealed), OURS).is_unchecked


def test_an_older_release_does_not_write_to_a_sealed_ledger(sealed):
    assert json.loads((sealed / "connections.json").read_text())["version"] == 3


def test_a_new_ledger_is_sealed_from_its_first_entry_on(tmp_path):
    write(tmp_path, "permissive")
    assert events(tmp_path) == ["sealed", "begun", "moved", "moved"]
    assert all(json.loads(line)["seal"] for line in history(tmp_path))
    assert json.loads((tmp_path / "connections.json").read_text())["seal"]["first"] == 1


def test_a_ledger_that_was_written_without_a_seal_is_sealed_only_where_somebody_says_so(tmp_path):
    write(tmp_path, "permissive", keys=NONE)
    assert "carries no seal, and tls_ledger_passphrase is set" in seen(tmp_path)
    with pytest.raises(StoreError, match="tls_seal_ledger=true"):
        write(tmp_path, "switched")
    write(tmp_path, "switched", keys=SealKeys(OURS.passphrase, adopt=True))
    assert events(tmp_path) == ["begun", "moved", "moved", "sealed", "begun", "moved", "moved"]
    assert seen(tmp_path) == ""
    write(tmp_path, "enforced")
    assert seen(tmp_path) == ""
    forge(tmp_path, edit_the_first)
    assert "entry 4 (1970-01-01T00:00:00+00:00, sealed) does not fit its seal: it, or an entry before it" in seen(
        tmp_path
    )


def test_a_ledger_that_was_edited_already_is_not_sealed_as_if_it_were_right(tmp_path):
    write(tmp_path, "permissive", "switched", keys=NONE)
    (tmp_path / "history.jsonl").write_text("".join(line + "\n" for line in history(tmp_path)[1:]))
    with pytest.raises(StoreError, match="entry 1 is missing before entry 2"):
        write(tmp_path, "enforced", keys=SealKeys(OURS.passphrase, adopt=True))


def test_a_ledger_of_version_1_is_taken_over_and_then_sealed(tmp_path):
    old = {PAIR: {"stage": "switched", "status": "done", "evidence": [], "since": "2026-01-02T00:00:00+00:00"}}
    (tmp_path / "connections.json").write_text(json.dumps({"version": 1, "pairs": old}))
    write(tmp_path, "enforced", keys=SealKeys(OURS.passphrase, adopt=True))
    assert events(tmp_path)[:3] == ["taken_over", "sealed", "begun"]
    assert seen(tmp_path) == ""


def test_sealing_once_more_changes_nothing(sealed):
    before = (sealed / "connections.json").read_bytes(), history(sealed)
    for keys in (OURS, SealKeys(OURS.passphrase, adopt=True), SealKeys(OURS.passphrase, former=THEIRS.passphrase)):
        Ledger(str(sealed), keys).ready(operator=ME, now=9.0)
    assert ((sealed / "connections.json").read_bytes(), history(sealed)) == before


def test_a_passphrase_is_changed_by_a_run_that_has_both(sealed):
    write(sealed, "plain", keys=SealKeys(THEIRS.passphrase, former=OURS.passphrase))
    assert seen(sealed, THEIRS) == ""
    assert "is not the one that" in seen(sealed, OURS)
    assert events(sealed).count("sealed") == 2
    forge(sealed, edit_one)
    assert "sealed) does not fit its seal: it, or an entry before it" in seen(sealed, THEIRS)


def test_a_passphrase_is_not_changed_over_an_edited_history(sealed):
    forge(sealed, edit_one)
    with pytest.raises(StoreError, match=r"entry 5 .* does not fit its seal"):
        write(sealed, "plain", keys=SealKeys(THEIRS.passphrase, former=OURS.passphrase))


def test_a_wrong_former_passphrase_changes_nothing(sealed):
    with pytest.raises(StoreError, match="is not the one that"):
        write(sealed, "plain", keys=SealKeys("some new passphrase", former=THEIRS.passphrase))
    assert seen(sealed) == ""


PROGRAM = """
from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import Ledger
from ansible_collections.connsec.tls.plugins.plugin_utils._operator import Operator
from ansible_collections.connsec.tls.plugins.plugin_utils._seal import SealKeys
ledger = Ledger(%r, SealKeys(%r, former=%r, adopt=%r))
ledger.ready(operator=%r, now=8.0)
ledger.begin(%r, operator=%r, now=8.0)
ledger.record(%r, operator=%r, now=8.0)
"""
APPEND, RENAME = "append history.jsonl before", "rename connections.json before"
#: What a run does to a ledger that has its seal: two entries, each with the seal's new place after it.
GOING_ON = ["%s %d" % (effect, times) for times in (1, 2) for effect in (APPEND, RENAME)]
#: What it does where it makes a seal: the seal, its entry, the seal's new place, and then the same.
SEALING = ["%s %d" % (APPEND, times) for times in (1, 2, 3)] + ["%s %d" % (RENAME, times) for times in (1, 2, 3, 4)]


def run_to_its_death(path, at, tmp_path, *, passphrase, former=None, adopt=False):
    program = PROGRAM % (str(path), passphrase, former, adopt, ME, RUN, ME, row("plain"), ME)
    count = tmp_path / "count"
    environment = killing(at, count=count, base={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    return subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode


@pytest.mark.parametrize(
    ("state", "at"),
    [
        *[("sealed", at) for at in GOING_ON],
        *[(state, at) for state in ("new", "written without a seal", "of a new passphrase") for at in SEALING],
    ],
)
def test_a_run_that_is_killed_anywhere_leaves_a_ledger_that_nobody_takes_for_forged(tmp_path, state, at):
    ledger = tmp_path / "ledger"
    asked = {"passphrase": OURS.passphrase, "adopt": state == "written without a seal"}
    if state != "new":
        write(ledger, "permissive", keys=NONE if asked["adopt"] else OURS)
    if state == "of a new passphrase":
        asked = {"passphrase": THEIRS.passphrase, "former": OURS.passphrase}
    assert run_to_its_death(ledger, at, tmp_path, **asked) == -9
    keys = SealKeys(**asked)
    Ledger(str(ledger), keys).ready(operator=ME, now=9.0)
    assert seen(ledger, keys) == ""
    Ledger(str(ledger), keys).record(row("switched"), operator=ME, now=9.0)
    assert seen(ledger, SealKeys(asked["passphrase"])) == ""
    assert not [path for path in ledger.iterdir() if path.name.startswith(".new-")]


def test_what_a_killed_run_wrote_without_a_seal_is_no_excuse_for_others(tmp_path, sealed):
    assert run_to_its_death(sealed, "rename connections.json before 2", tmp_path, passphrase=OURS.passphrase) == -9
    assert seen(sealed) == "", "its last entries carry their seals"
    with (sealed / "history.jsonl").open("a") as file:
        last = history(sealed)[-1]
        entry = {
            "event": "begun",
            "number": len(history(sealed)) + 1,
            "before": hashlib.sha256(last.encode()).hexdigest(),
        }
        file.write(json.dumps(entry) + "\n")
    assert "carries no seal: it was written or edited without the passphrase" in seen(sealed)


def test_a_line_that_a_killed_run_did_not_finish_stays_in_a_sealed_history(sealed):
    with (sealed / "history.jsonl").open("a") as file:
        file.write('{"at": "20')
    assert seen(sealed) == ""
    write(sealed, "switched")
    assert seen(sealed) == ""
    assert '{"at": "20' in history(sealed)


def test_nothing_of_the_passphrase_lies_in_the_ledger_or_is_shown(sealed):
    for path in sealed.iterdir():
        assert b"passphrase of ours" not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    assert "ours" not in repr(OURS)


def test_a_short_passphrase_seals_nothing(tmp_path):
    with pytest.raises(StoreError, match="tls_ledger_passphrase is shorter than 8 characters"):
        write(tmp_path, keys=SealKeys("short"))


def test_a_passphrase_that_is_no_text_is_refused():
    with pytest.raises(StoreError, match="tls_ledger_passphrase must be text"):
        seal_keys({"tls_ledger_passphrase": 12345678})


@pytest.mark.parametrize("n", [1, 1 << 30, 12345])
def test_a_cost_that_nobody_of_us_chose_is_not_paid(sealed, n):
    file = sealed / "connections.json"
    current = json.loads(file.read_text())
    current["seal"]["kdf"]["n"] = n
    file.write_text(json.dumps(current))
    with pytest.raises(StoreError, match="is damaged"):
        Ledger(str(sealed), OURS).fault()


# An older copy of all of it


def put_back(path):
    """Return what puts the ledger back as it is now."""
    files = {name: (path / name).read_bytes() for name in ("history.jsonl", "connections.json")}
    return lambda: [(path / name).write_bytes(data) for name, data in files.items()]


AN_OLDER_COPY = "history.jsonl ends after entry 4, and had 7: it was cut off, or an older copy was put in its place"
ANOTHER = "entry 7 of history.jsonl is another than it was"


def test_an_older_copy_fits_its_seal_and_lacks_what_was_seen_since(tmp_path):
    write(tmp_path, "permissive")
    early, older = Ledger(str(tmp_path)).head(), put_back(tmp_path)
    write(tmp_path, "switched")
    head = Ledger(str(tmp_path)).head()
    assert Ledger(str(tmp_path)).lacking([early, head]) == {}
    older()
    assert seen(tmp_path) == ""
    assert Ledger(str(tmp_path)).lacking([early, head]) == {head: AN_OLDER_COPY}
    write(tmp_path, "enforced", "plain")
    assert Ledger(str(tmp_path)).lacking([early, head]) == {head: ANOTHER}


@pytest.mark.parametrize("keys", [NONE, OURS], ids=["without a seal", "sealed"])
def test_what_was_found_missing_once_is_recorded_and_told_of_no_more(tmp_path, keys):
    write(tmp_path, "permissive", keys=keys)
    older = put_back(tmp_path)
    write(tmp_path, "switched", keys=keys)
    head = Ledger(str(tmp_path)).head()
    later = Head(head.entries + 90, "0" * 64)
    older()
    ledger = Ledger(str(tmp_path), keys)
    ledger.miss([head], operator=ME, now=1.0)
    assert list(ledger.lacking([head, later])) == [later], "what nobody has said yet is said"
    entry = json.loads(history(tmp_path)[-1])
    assert (entry["event"], entry["missed"]) == ("missed", [{"entries": head.entries, "last": head.last}])
    write(tmp_path, "enforced", keys=keys)
    assert seen(tmp_path, keys) == ""
    assert list(Ledger(str(tmp_path), keys).lacking([head, later])) == [later]


def test_a_ledger_that_is_empty_is_told_of_elsewhere(tmp_path):
    assert Ledger(str(tmp_path)).lacking([Head(7, "0" * 64), Head()]) == {}


@pytest.mark.parametrize(
    "data", [None, [], {}, {"entries": "7", "last": "ab"}, {"entries": 0, "last": ""}, {"entries": 7}]
)
def test_what_a_host_kept_is_a_head_or_nothing(data):
    assert Head.parse(data) is None
    assert Head.parse({"entries": 7, "last": "ab"}) == Head(7, "ab")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, None),
        ("{", None),
        ("[]", None),
        ('{"generated_at": "then"}', None),
        ('{"generated_at": "then", "ledger": null}', None),
        ('{"generated_at": "then", "ledger": {"entries": 7, "last": "ab"}}', Before("then", Head(7, "ab"))),
    ],
)
def test_an_earlier_report_says_what_it_saw_or_nothing(tmp_path, text, found):
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    assert read_before(str(tmp_path)) == found
