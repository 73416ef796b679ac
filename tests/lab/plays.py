# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of docs/examples, played on the hosts of a lab as their user plays them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from .driver import Lab

ROOT: t.Final = Path(__file__).resolve().parents[2]
EXAMPLES: t.Final = ROOT / "docs" / "examples"
PASSPHRASE: t.Final = "canary-passphrase-1206"
#: What of the user's own environment changes what Ansible and Python do.
_OTHERS: t.Final = ("ANSIBLE_", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Played:
    """A play that has ended.

    Attributes:
        text: what it printed.
        changed: how many tasks said that they changed something, over all hosts.
    """

    text: str
    changed: int


class Plays:
    """Plays on the hosts of a lab, with a store of their own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        """Take in where they are played, and where the store lies."""
        self._lab = lab
        self.store = folder / "store"

    def play(self, name: str, *options: str, ends: int = 0, **variables: t.Any) -> Played:
        """Play an example and return what it did.

        Args:
            name: which one.
            options: for ansible-playbook, such as `--check`.
            ends: what it has to end with.
            variables: what its user sets.
        """
        given = {"tls_store": str(self.store), "tls_store_passphrase": PASSPHRASE, **variables}
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self._lab.inventory), *options]
        argv += ["-e", json.dumps(given), str(EXAMPLES / (name + ".yml"))]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        ours = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build")}
        done = subprocess.run(
            argv, env={**kept, **ours, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=300, check=False
        )
        text = done.stdout + done.stderr
        assert done.returncode == ends, text
        assert PASSPHRASE not in text
        return Played(text, sum(map(int, re.findall(r"\bchanged=(\d+)", text))))

    def four_beats(self, name: str, seen: t.Callable[[], t.Any], **variables: t.Any) -> None:
        """Check, do, check again and do again: checks change nothing, and doing settles it."""
        before = seen()
        assert self.play(name, "--check", "--diff", **variables).changed > 0
        assert seen() == before, "a check changed something"
        assert self.play(name, "--diff", **variables).changed > 0
        after = seen()
        assert after != before
        for check in (("--check",), ()):
            again = self.play(name, *check, "--diff", **variables)
            assert again.changed == 0, again.text
            assert seen() == after
