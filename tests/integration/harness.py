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

import yaml
from faults import killing

ROOT: t.Final = Path(__file__).resolve().parents[2]
SMALL: t.Final = ROOT / "tests" / "fleet" / "small"
BIN: t.Final = Path(sys.executable).parent
#: Variables of the user that change what Ansible and Python do, and what they cost.
_OTHERS: t.Final = ("ANSIBLE_", "CONNSEC_", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
PASSPHRASE: t.Final = "canary-passphrase-0451"

#: The small fleet: a server and its standby, and two clients of both.
SERVERS: t.Final = ("confserv@cfg1", "confserv@cfg2")
HOLDS_A_SESSION: t.Final = "router@app1"
CONNECTS_ANEW: t.Final = "desk@app1"
PAIRS: t.Final = tuple(
    "%s->confserv.default@%s" % (client, host)
    for client in (CONNECTS_ANEW, HOLDS_A_SESSION)
    for host in ("cfg1", "cfg2")
)

#: What a run of the tests is told: clear listeners are watched briefly, and nothing is collected over days.
QUICK: t.Final = ("-e", "tls_watch=0.2", "-e", "tls_soak=0")
SWITCH: t.Final = (*QUICK, "-e", "tls_scope=all")
ENFORCE: t.Final = (*SWITCH, "-e", "tls_until=enforced")


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

    @property
    def last_lines(self) -> str:
        """What it said from its result table on."""
        found = re.search(r"^RESULT .*", self.text, re.M | re.S)
        assert found, "there are no last lines:\n" + self.text[-3000:]
        return found.group(0)

    def reasons(self) -> set[tuple[str, str]]:
        """Return every (target, reason) that a task gave."""
        found: set[tuple[str, str]] = set()
        for result in self.results():
            found |= set((result.get("reasons") or {}).items())
        return found

    def results(self) -> t.Iterator[dict[str, t.Any]]:
        """Yield the result of each task at each host, items of loops apart."""
        for play in self.data.get("plays", ()):
            for task in play["tasks"]:
                for result in task["hosts"].values():
                    yield result
                    yield from result.get("results") or ()

    def must_end(self, code: int) -> Run:
        """Fail unless it ended so."""
        assert self.code == code, "it ended with %d:\n%s" % (self.code, self.text[-5000:])
        return self


class Fleet:
    """A small fleet in a folder of its own: started, moved by playbooks, looked at, and stopped."""

    #: Seconds that a playbook may take.
    patience: t.ClassVar[float] = 240

    def __init__(self, root: Path, *, net: str) -> None:
        self.root = root
        self.net = net
        self.inventory = root / "inventory"
        self.store = root / "store"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of this fleet's programs and playbooks, with nothing of the user's own settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        return {
            **kept,
            "CONNSEC_DEMO_ROOT": str(self.root),
            "CONNSEC_FLEET_NET": self.net,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build"),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.root / "ansible"),
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "integration" / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "record,die",
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
            "PATH": "%s:%s" % (BIN, os.environ["PATH"]),
            **more,
        }

    # its programs

    def fleet(self, verb: str, *arguments: str) -> str:
        """Run the fleet's own program."""
        argv = [sys.executable, str(SMALL.parent / "fleet.py"), verb, "--root", str(self.root), *arguments]
        done = subprocess.run(argv, env=self.environment(), capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def prepare(self) -> None:
        """Copy the inventory, and give the store a passphrase that can be looked for."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.inventory.exists():
            shutil.copytree(SMALL, self.inventory)
        passphrase = self.root / "passphrase"
        passphrase.write_text(PASSPHRASE)
        passphrase.chmod(0o600)

    def up(self) -> None:
        """Start every program and wait until each client was answered."""
        self.prepare()
        try:
            self.fleet("up", "--fleet", "small")
        except AssertionError:
            self.down()  # what did start would hold its addresses
            raise

    def down(self) -> None:
        """Stop every program."""
        self.fleet("down")

    def folder(self, instance: str) -> Path:
        """Return the folder of an instance's program."""
        component, _unused, host = instance.partition("@")
        return self.root / "hosts" / host / component

    def options(self, instance: str) -> Path:
        """Return the option file of an instance."""
        return self.folder(instance) / "options.ini"

    def edit(self, instance: str, pattern: str, replacement: str, *, count: int = 0) -> str:
        """Edit an instance's options as somebody else would, and return what they were."""
        file = self.options(instance)
        before = file.read_text()
        after = re.sub(pattern, replacement, before, count=count, flags=re.M)
        assert after != before, "%r is not in\n%s" % (pattern, before)
        file.write_text(after)
        return before

    def address(self, instance: str) -> str:
        """Return the address of an instance's host."""
        found = re.search(r"^address = (\S+)$", self.options(instance).read_text(), re.M)
        assert found
        return found.group(1)

    def material(self, instance: str) -> Path:
        """Return the folder of an instance's current material."""
        component, _unused, host = instance.partition("@")
        return self.root / "hosts" / host / "connsec" / component / "current"

    # its inventory

    def edit_yaml(self, name: str, edit: t.Callable[[dict[str, t.Any]], None]) -> None:
        """Edit a file of the inventory as data."""
        file = self.inventory / name
        data = yaml.safe_load(file.read_text())
        edit(data)
        file.write_text(yaml.safe_dump(data, sort_keys=False, width=1000))

    def make_mutual(self, *, presenting: t.Container[str]) -> None:
        """Have the listener demand certificates, and these client components present one."""

        def listener(data: dict[str, t.Any]) -> None:
            data["components"]["confserv"]["listeners"]["default"]["mode"] = "mutual"

        def settings(data: dict[str, t.Any]) -> None:
            server = data["tls_settings"]["confserv"]
            section = {"section": "listener.{listener}"}
            trust, request = {**section, "key": "trust", "value": "{trust}"}, {**section, "key": "verify_client"}
            server["permit"] = [trust, {**request, "value": "request"}, *server["permit"]]
            server["demand"] = [{**request, "value": "require"}]
            section = {"section": "peer.{server}.{server_host}"}
            present = [
                {**section, "key": "certificate", "value": "{fullchain}"},
                {**section, "key": "key", "value": "{key}"},
            ]
            for component in ("router", "desk"):
                if component in presenting:
                    client = data["tls_settings"][component]
                    client["connect"] = [*present, *client["connect"]]

        self.edit_yaml("tls_connections.yml", listener)
        self.edit_yaml("group_vars/all.yml", settings)

    # playbooks

    def start(self, name: str, *extra: str, prefix: t.Sequence[str] = (), **environment: str) -> subprocess.Popen[str]:
        """Start a playbook and return its process; its output goes to playbook.log."""
        record = self.root / "record.json"
        record.unlink(missing_ok=True)
        argv = [*prefix, str(BIN / "ansible-playbook"), "-i", str(self.inventory), "connsec.tls." + name, *extra]
        variables = self.environment(CONNSEC_RECORD=str(record), **environment)
        with (self.root / "playbook.log").open("w") as log:
            return subprocess.Popen(
                argv,
                env=variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.root,
                start_new_session=True,
            )

    def finish(self, process: subprocess.Popen[str]) -> Run:
        """Wait for a playbook and return what it said."""
        try:
            code = process.wait(self.patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        record = self.root / "record.json"
        data = json.loads(record.read_text()) if record.exists() else {}
        return Run(code, self.log, data)

    @property
    def log(self) -> str:
        """What the newest playbook has said so far."""
        return (self.root / "playbook.log").read_text()

    def playbook(self, name: str, *extra: str, prefix: t.Sequence[str] = (), **environment: str) -> Run:
        """Run a playbook to its end, perhaps under another program."""
        return self.finish(self.start(name, *extra, prefix=prefix, **environment))

    def killed_at(self, place: str, *extra: str) -> Run:
        """Run a rollout that dies: at ``task NAME[#TIMES]``, or at an effect of one of its processes (tests/faults)."""
        if place.startswith("task "):
            return self.playbook("rollout", *extra, CONNSEC_TEST_DIE=place.removeprefix("task "))
        count = self.root / "count"
        count.unlink(missing_ok=True)
        found = killing(place, count=count, base={})
        return self.playbook("rollout", *extra, **found)

    # what it shows

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

    # what must hold

    def must_talk(self) -> None:
        """Fail unless every pair is answered again, and none has lost a message so far."""
        now = self.must_be_answered()
        lost = {name: row["lost"] for name, row in now.items() if row["lost"]}
        assert not lost, lost

    def must_be_answered(self) -> dict[str, dict[str, t.Any]]:
        """Fail unless every pair is answered again, and return what its client counted."""
        before = self.traffic()
        until = time.monotonic() + 20
        while True:
            time.sleep(0.5)
            now = self.traffic()
            silent = [name for name in before if now[name]["answered"] <= before[name]["answered"]]
            if not silent:
                return now
            assert time.monotonic() < until, "no answers on %s" % ", ".join(silent)

    def must_be_enforced_by_the_next_run(self) -> None:
        """Fail unless the next run completes, the one after changes nothing, and everybody talks all the while."""
        self.must_talk()
        self.playbook("rollout", *ENFORCE).must_end(0)
        assert set(self.stages().values()) == {("enforced", "done")}, self.stages()
        again = self.playbook("rollout", *ENFORCE).must_end(0)
        assert again.changed == 0, again.text[-3000:]
        self.must_talk()


def still(*folders: Path) -> dict[str, tuple[t.Any, ...]]:
    """Return the same without what the programs of the fleet write all the while, and who held a lock last."""
    lively = (".log", "traffic.jsonl", "sessions.jsonl", "process.json", ".lock")
    return {path: value for path, value in tree(*folders).items() if not path.endswith(lively)}


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
