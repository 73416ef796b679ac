# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays on Windows twins by real ansible-playbook, with every task's result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

from .twin import WindowsTwin

ROOT: t.Final = Path(__file__).resolve().parents[2]
_HERE: t.Final = Path(__file__).resolve().parent

Task = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Run:
    """A run of ansible-playbook that ended."""

    code: int
    text: str
    rows: list[dict[str, t.Any]]

    def results(self, host: str | None = None) -> list[dict[str, t.Any]]:
        """Return the results of one host's tasks in their order; where there is one host, it need not be named."""
        return [row["result"] for row in self.rows if host in (None, row["host"])]

    @property
    def changed(self) -> list[bool]:
        """Whether each task changed something, or would."""
        return [bool(result.get("changed")) for result in self.results()]


def inventory(twins: t.Iterable[WindowsTwin]) -> dict[str, t.Any]:
    """Return a group `windows` of an inventory with the twins as its hosts, by their names in small letters."""
    return {"windows": {"hosts": {twin.name.lower(): twin.variables() for twin in twins}}}


def settings() -> dict[str, str]:
    """Return the environment in which Ansible finds the twins' connection, on top of that of a checkout."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CONNECTION_PLUGINS": str(_HERE / "connection_plugins"),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONPATH": str(ROOT / "tests"),
    }


def play(twins: t.Sequence[WindowsTwin], tasks: t.Sequence[Task], *arguments: str, facts: bool = False) -> Run:
    """Run tasks on twins."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "play.yml")
        plays = [{"name": "Twins", "hosts": "windows", "gather_facts": facts, "tasks": list(tasks)}]
        path.write_text(json.dumps(plays), encoding="utf-8")
        return playbook(twins, str(path), *arguments)


def playbook(twins: t.Sequence[WindowsTwin], name: str, *arguments: str) -> Run:
    """Run a playbook, by its path or the name that a collection gives it, on the group `windows` of these twins."""
    with tempfile.TemporaryDirectory() as folder:
        hosts, rows = Path(folder, "hosts.json"), Path(folder, "rows.jsonl")
        hosts.write_text(json.dumps(inventory(twins)), encoding="utf-8")
        callbacks = {
            "ANSIBLE_CALLBACK_PLUGINS": str(_HERE / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "rows",
            "CONNSEC_ROWS": str(rows),
        }
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(hosts), *arguments, name],
            cwd=ROOT,
            env={**settings(), **callbacks},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        found = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.exists() else []
    return Run(done.returncode, done.stdout + done.stderr, found)
