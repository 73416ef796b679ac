# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small fleet that really runs, and the playbooks that move it; what every integration test starts from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLEET = ROOT / "tests" / "fleet" / "fleet.py"
BIN = Path(sys.executable).parent
PASSPHRASE = "canary-passphrase-0451"
#: What a rollout of the tests is told: the clear listeners are watched briefly, and nothing is collected over days.
QUICK = ("-e", "tls_watch=0.5", "-e", "tls_soak=0")
ENFORCE = (*QUICK, "-e", "tls_until=enforced", "-e", "tls_scope=all")


@dataclasses.dataclass(frozen=True)
class Run:
    """A playbook that has ended."""

    code: int
    text: str
    data: dict[str, t.Any]

    @property
    def changed(self) -> int:
        """How many tasks said that they changed something, over all hosts."""
        return sum(row["changed"] for row in self.data.get("stats", {}).values())

    def reasons(self) -> set[tuple[str, str]]:
        """Return every (target, reason) that a task gave."""
        found: set[tuple[str, str]] = set()
        for result in self.results():
            found |= {(target, reason) for target, reason in (result.get("reasons") or {}).items()}
        return found

    def results(self) -> t.Iterator[dict[str, t.Any]]:
        """Yield the result of each task at each host, items of loops apart."""
        for play in self.data.get("plays", ()):
            for task in play["tasks"]:
                for result in task["hosts"].values():
                    yield result
                    yield from result.get("results") or ()


class Fleet:
    """A small fleet in a folder of its own: started, moved by playbooks, looked at, and stopped."""

    def __init__(self, root: Path, *, net: str, inventory: Path | None = None) -> None:
        self.root = root
        self.net = net
        self.inventory = root / "inventory"
        self._source = inventory or ROOT / "tests" / "fleet" / "small"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of this fleet's programs and playbooks, with nothing of the user's own settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CONNSEC_"))}
        return {
            **kept,
            "CONNSEC_DEMO_ROOT": str(self.root),
            "CONNSEC_FLEET_NET": self.net,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build"),
            "ANSIBLE_CONFIG": os.devnull,
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_HOME": str(self.root / "ansible"),
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "integration" / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
            "PATH": "%s:%s" % (BIN, os.environ["PATH"]),
            **more,
        }

    def fleet(self, verb: str, *arguments: str) -> str:
        """Run the fleet's own program."""
        argv = [sys.executable, str(FLEET), verb, "--root", str(self.root), "--fleet", "small", *arguments]
        done = subprocess.run(argv, env=self.environment(), capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def prepare(self) -> None:
        """Copy the inventory, and give the store its passphrase."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.inventory.exists():
            shutil.copytree(self._source, self.inventory)
        (self.root / "passphrase").write_text(PASSPHRASE)
        (self.root / "passphrase").chmod(0o600)

    def up(self) -> None:
        """Start every program and wait until each client was answered."""
        self.prepare()
        self.fleet("up")

    def down(self) -> None:
        """Stop every program."""
        self.fleet("down")

    def start(self, name: str, *extra: str, **environment: str) -> subprocess.Popen[str]:
        """Start a playbook and return its process."""
        record = self.root / "record.json"
        record.unlink(missing_ok=True)
        argv = [str(BIN / "ansible-playbook"), "-i", str(self.inventory), "connsec.tls." + name, *extra]
        log = open(self.root / "playbook.log", "w")  # noqa: SIM115
        variables = self.environment(CONNSEC_RECORD=str(record), **environment)
        return subprocess.Popen(
            argv, env=variables, stdout=log, stderr=subprocess.STDOUT, text=True, cwd=self.root, start_new_session=True
        )

    def finish(self, process: subprocess.Popen[str], *, timeout: float = 240) -> Run:
        """Wait for a playbook and return what it said."""
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        record = self.root / "record.json"
        data = json.loads(record.read_text()) if record.exists() else {}
        return Run(code, (self.root / "playbook.log").read_text(), data)

    def playbook(self, name: str, *extra: str, **environment: str) -> Run:
        """Run a playbook to its end."""
        return self.finish(self.start(name, *extra, **environment))

    def report(self) -> dict[str, t.Any]:
        """Return the newest report."""
        found: dict[str, t.Any] = json.loads((self.root / "report.json").read_text())
        return found

    def stages(self) -> dict[str, tuple[str, str]]:
        """Return (stage, status) of each pair in the newest report."""
        return {row["id"]: (row["stage"], row["status"]) for row in self.report()["connections"]}

    def traffic(self) -> dict[str, dict[str, t.Any]]:
        """Return what each client counted so far, by pair."""
        self.fleet("traffic")
        rows = json.loads((self.root / "traffic.json").read_text())["connections"]
        return {row["id"]: row for row in rows}

    def assert_everybody_talks(self, seconds: float = 3.0) -> None:
        """Fail unless every pair is answered again and none has lost a message."""
        before = self.traffic()
        until = time.monotonic() + 20
        while True:
            time.sleep(seconds / 3)
            now = self.traffic()
            silent = [name for name in before if now[name]["answered"] <= before[name]["answered"]]
            if not silent:
                break
            assert time.monotonic() < until, "no answers on %s" % ", ".join(silent)
        lost = {name: row["lost"] for name, row in now.items() if row["lost"]}
        assert not lost, lost


def tree(*folders: Path) -> dict[str, tuple[t.Any, ...]]:
    """Return every file, link and folder with its mode and content digest: what check mode must leave as it is."""
    found: dict[str, tuple[t.Any, ...]] = {}
    for folder in folders:
        if not folder.exists():
            found[str(folder)] = ("absent",)
            continue
        for path in sorted([folder, *folder.rglob("*")]):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                content = ""
            found[str(path)] = (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), content)
    return found


def last_lines(run: Run) -> str:
    """Return what a run said from its result table on."""
    found = re.search(r"^RESULT .*", run.text, re.M | re.S)
    assert found, run.text[-3000:]
    return found.group(0)
