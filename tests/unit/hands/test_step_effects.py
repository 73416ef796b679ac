# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step on a process that lives by a file of ours, and speaks for a program beside it."""

from __future__ import annotations

import os
import signal
import typing as t
from pathlib import Path

import pytest

from .bench import Bench

#: Starts a process where the file is there, and ends it where it is not, as a unit with a condition does.
RESTART: t.Final = """
echo restart >>"$2"
[ ! -e "$1" ] || { sleep 60 >/dev/null 2>&1 & echo $! >"$0"; exit 0; }
kill "$(cat "$0")"; rm "$0"
"""


class Tunnel:
    """A process in front of a program, and what both were told."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.config = bench.folder / "tunnels" / "router" / "tunnel.ini"
        self.pid_file = bench.folder / "tunnel.pid"
        self.log = bench.folder / "told"

    def step(self, *paths: Path, name: str = "permit-a", own: bool = False) -> t.Any:
        """Return a step that writes into these files."""
        told = str(self.log)
        options = [{"section": "tls", "key": name, "value": "1"}]
        return self.bench.step(
            id=name,
            files=[str(self.config), str(self.bench.options)],
            makes={str(self.config): "0644"},
            effects={str(self.bench.options): {"command": ["sh", "-c", 'echo program >>"$0"', told]}},
            edits=[{"path": str(path), "format": "ini", "options": options} for path in paths],
            process={"pid_file": str(self.pid_file), "needs": str(self.config)},
            restart={"command": ["sh", "-c", RESTART, str(self.pid_file), str(self.config), told]},
            reload={"command": ["sh", "-c", 'echo reload >>"$0"', told]},
            test=[],
            wait_for=[],
            own=own,
        )

    def told(self) -> list[str]:
        """Return what both were told since this was asked last."""
        words = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return words


@pytest.fixture
def tunnel(still: Bench) -> t.Iterator[Tunnel]:
    found = Tunnel(still)
    yield found
    if found.pid_file.exists():
        os.kill(int(found.pid_file.read_text()), signal.SIGKILL)


def test_a_process_starts_with_the_file_that_it_needs_and_ends_with_it(tunnel: Tunnel) -> None:
    tunnel.step(tunnel.config).carry_out("whole")
    assert tunnel.told() == ["restart"] and tunnel.pid_file.exists()
    tunnel.step(tunnel.config, name="permit-b").carry_out("whole")
    assert tunnel.told() == ["reload"]
    tunnel.step(name="permit-b").carry_out("reverse")
    assert tunnel.told() == ["reload"]
    tunnel.step().carry_out("reverse")
    assert tunnel.told() == ["restart"] and not tunnel.pid_file.exists()


def test_folders_are_made_for_a_file_and_go_with_it(tunnel: Tunnel) -> None:
    tunnel.step(tunnel.config).carry_out("whole")
    assert tunnel.config.read_text() == "[tls]\npermit-a = 1\n"
    tunnel.step().carry_out("reverse")
    assert not tunnel.config.parent.parent.exists()


def test_a_folder_in_which_somebody_put_something_stays(tunnel: Tunnel) -> None:
    tunnel.step(tunnel.config).carry_out("whole")
    theirs = tunnel.config.parent / "theirs.ini"
    theirs.write_text("")
    tunnel.step().carry_out("reverse")
    assert theirs.exists() and not tunnel.config.exists()


def test_a_program_is_told_of_its_own_file_alone(tunnel: Tunnel) -> None:
    tunnel.step(tunnel.config).carry_out("whole")
    assert tunnel.told() == ["restart"]
    tunnel.step(tunnel.bench.options, name="enforce-a").carry_out("whole")
    assert tunnel.told() == ["program"]
    tunnel.step(name="enforce-a").carry_out("reverse")
    assert tunnel.told() == ["program"]


def test_a_program_uses_the_process_after_it_is_there_and_leaves_it_before_it_goes(tunnel: Tunnel) -> None:
    tunnel.step(tunnel.config, tunnel.bench.options, name="connect-a").carry_out("whole")
    assert tunnel.told() == ["restart", "program"]
    tunnel.step(name="connect-a").carry_out("reverse")
    assert tunnel.told() == ["program", "restart"]
    assert tunnel.bench.options.read_text() == tunnel.bench.original


def test_what_a_killed_run_has_edited_is_told_by_the_next(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    tunnel.step(tunnel.config).carry_out("whole")
    killed = tunnel.step(tunnel.bench.options, name="enforce-a")
    monkeypatch.setattr(killed, "finish", lambda: None)
    killed.carry_out("whole")
    tunnel.told()
    tunnel.step(name="enforce-a").carry_out("whole")
    assert tunnel.told() == ["program"]
