# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers of clear listeners are collected between runs, and the next run reads them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from .harness import ENFORCE, SERVERS, Fleet

CLEAR_PORT = 12020
DAY = 86400.0
SOAK = ("-e", "tls_soak=7")


def program(fleet: Fleet, host: str) -> Path:
    return fleet.root / "hosts" / host / "connsec" / "soak.d" / "collect.py"


def collect(fleet: Fleet, host: str, seconds: float) -> None:
    """Run the collector by hand, as a timer would."""
    argv = [sys.executable, "-I", "-S", str(program(fleet, host)), "--seconds", str(seconds)]
    subprocess.run(argv, check=True, timeout=60)


def days_pass(fleet: Fleet, host: str, days: float, *, watched: bool) -> None:
    """Make what was collected older, and perhaps let somebody have watched ever since."""
    file = program(fleet, host).with_name("collected.json")
    found = json.loads(file.read_text())
    for seen in found["listeners"].values():
        for peer in seen["peers"].values():
            peer["last"] -= days * DAY
        seen["intervals"][0][0] -= days * DAY if watched else 0.0
    file.write_text(json.dumps(found))


def stages_at(fleet: Fleet, host: str) -> set[tuple[str, str]]:
    return {row for name, row in fleet.stages().items() if name.endswith("@" + host)}


def test_a_listener_stays_open_until_its_peers_were_collected_and_none_is_a_stranger(switched: Fleet):
    run = switched.playbook("rollout", *ENFORCE, *SOAK).must_end(0)
    assert set(switched.stages().values()) == {("switched", "waiting")}
    assert "seen: nobody has collected them so far" in run.last_lines
    since = {row["id"]: row["waits_since"] for row in switched.report()["connections"]}
    assert all(since.values())

    stranger = switched.net.rpartition(".")[0] + ".99.9"
    with socket.socket() as one:
        one.bind((stranger, 0))
        one.connect((switched.address(SERVERS[0]), CLEAR_PORT))
        collect(switched, "cfg1", 0.5)
    collect(switched, "cfg2", 0.5)
    run = switched.playbook("plan", *ENFORCE, *SOAK).must_end(0)
    assert stranger in run.text, "it is named although the soak is not full"

    days_pass(switched, "cfg1", 5, watched=True)
    days_pass(switched, "cfg2", 8, watched=True)
    run = switched.playbook("rollout", *ENFORCE, *SOAK).must_end(0)
    assert stages_at(switched, "cfg2") == {("enforced", "done")}
    assert stages_at(switched, "cfg1") == {("switched", "waiting")}
    assert "%s, which no enumerated client has, was seen 1 times" % stranger in run.last_lines

    days_pass(switched, "cfg1", 3, watched=True)
    switched.playbook("rollout", *ENFORCE, *SOAK).must_end(0)
    assert set(switched.stages().values()) == {("enforced", "done")}
    switched.must_talk()
