# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed at any moment leaves whole files, and the next run finishes and says what was left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from faults import killing

from .conftest import CANARY, DAY, NOW, Bench, reasons, wanted

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedAuthority, WantedIdentity
from ansible_collections.connsec.tls.plugins.plugin_utils._store import Passphrases, StorePaths, carry_out
folder, now, passphrase = sys.argv[2], int(sys.argv[3]), sys.stdin.read()
paths = StorePaths(folder + "/authorities", folder + "/identities", folder + "/ledger")
identities = [WantedIdentity(n, names=("urs1.example.net", "192.0.2.7")) for n in ("router@urs1", "b@h", "c@h")]
carry_out(paths, [WantedAuthority()], identities, now=now, passphrases=Passphrases(passphrase, passphrase))
"""
BUILD = Path(__file__).resolve().parents[3] / "build"
ANNOUNCED = "append journal.jsonl after"
PUBLISHED = "append journal.jsonl before 2"
POINTS = {
    # where tests/faults kills: whether the journal has an announcement that nothing came of
    "append journal.jsonl before": False,
    ANNOUNCED: True,
    "create .new-* before 3": True,
    "rename * before": True,
    "rename * after 3": True,
    PUBLISHED: False,
    "append journal.jsonl after 2": False,
}
IDENTITIES = ("router@urs1", "b@h", "c@h")


def killed_run(store: Bench, *, at: str, now: int) -> None:
    """Run carry_out in a process of its own that dies at a point."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(BUILD), str(store.folder), str(now)],
        input=CANARY,
        text=True,
        env=killing(at, count=store.folder.parent / "count"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("filled", [False, True], ids=["first run", "renewal"])
@pytest.mark.parametrize("at", POINTS)
def test_a_killed_run_leaves_whole_files_and_the_next_one_finishes(store: Bench, at: str, filled: bool) -> None:
    identities = [wanted(name) for name in IDENTITIES]
    now = NOW
    if filled:
        store.carry_out(*identities)
        now = NOW + 70 * DAY
    killed_run(store, at=at, now=now)
    if filled:
        for name in IDENTITIES:  # old or new, never neither and never a mixture
            assert store.material(name, now=now).identities[""].name == name
    seen = store.inspect(*identities, now=now)
    assert bool(seen.unfinished) == POINTS[at]
    announced = (
        {line["serial"] for line in store.journal() if line["act"] == "intent"}
        if at != "append journal.jsonl before" or filled
        else set()
    )
    after = store.carry_out(*identities, now=now)
    assert after.unfinished == seen.unfinished or not after.changes
    assert not store.inspect(*identities, now=now).changes
    if after.changes:
        assert not store.inspect(*identities, now=now).unfinished
    for name in IDENTITIES:
        assert store.material(name, now=now).identities[""].not_after > now
    serials = [line["serial"] for line in store.journal() if line["act"] == "intent"]
    assert len(serials) == len(set(serials))
    assert announced <= set(serials)
    assert not list(store.folder.rglob(".new-*"))


def test_a_serial_number_that_was_announced_is_given_up_once_and_for_all(store: Bench) -> None:
    killed_run(store, at=ANNOUNCED, now=NOW)
    first = {line["serial"] for line in store.journal() if line["act"] == "intent"}
    store.carry_out(*(wanted(name) for name in IDENTITIES))
    given_up = {line["serial"] for line in store.journal() if line["act"] == "abandoned"}
    assert given_up == first
    published = {
        "%x" % x509.load_pem_x509_certificate(path.read_bytes()).serial_number
        for path in store.folder.rglob("*.pem")
        if not path.name.endswith(".crl.pem")
    }
    assert not published & first


def test_what_was_published_before_the_journals_last_word_counts_as_issued(store: Bench) -> None:
    killed_run(store, at=PUBLISHED, now=NOW)
    identities = [wanted(name) for name in IDENTITIES]
    view = store.inspect(*identities)
    assert not reasons(view) and not view.unfinished
    store.carry_out(*identities, wanted("d@h"))
    assert not [line for line in store.journal() if line["act"] == "abandoned"]


def test_what_another_runs_list_holds_is_read_before_it_is_given_up(store: Bench) -> None:
    killed_run(store, at=PUBLISHED, now=NOW)
    published = {line["serial"] for line in store.journal() if line["act"] == "intent"}
    view = store.carry_out(wanted("d@h"))
    assert set(view.identities) == {"d@h"} and not view.unfinished
    issued = {line["serial"]: line for line in store.journal() if line["act"] == "issued"}
    assert published <= set(issued)
    assert not [line for line in store.journal() if line["act"] == "abandoned"]
    for info in store.inspect(*(wanted(name) for name in IDENTITIES)).identities.values():
        assert (issued[info.serial]["sha256"], issued[info.serial]["not_after"]) == (info.sha256, info.not_after)
