# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task as a user runs it: with ansible-playbook, from an inventory, with the passphrase in a variable."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.plugin_utils._place import StorePaths
from ansible_collections.connsec.tls.plugins.plugin_utils._run import claim

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
BUILD = Path(__file__).resolve().parents[2] / "build"
CANARY = "canary-passphrase-7f3b"
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - connsec.tls.pki:
        identities:
          - name: web@web1
            names: ["web1.example.net", "b\u00fccher.example"]
            usages: [server]
            formats: [pkcs12]
      register: issued
    - ansible.builtin.copy:
        content: "{{ issued | to_json }}"
        dest: "{{ playbook_dir }}/result.json"
        mode: "0600"
      check_mode: false
      diff: false
"""


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return every file and folder with its mode, its time and its content."""
    found = {}
    for path in [folder, *folder.rglob("*")] if folder.exists() else []:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


class Project:
    """An inventory with its store beside it, and a play."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "inventory/group_vars").mkdir(parents=True)
        (folder / "inventory/hosts.yml").write_text(
            "all: {hosts: {localhost: {ansible_connection: local,"
            " ansible_python_interpreter: '{{ ansible_playbook_python }}'}}}"
        )
        self.set(tls_store_passphrase=CANARY)
        (folder / "play.yml").write_text(PLAY)
        self.store = folder / "inventory-store"

    def set(self, **variables: t.Any) -> None:
        (self.folder / "inventory/group_vars/all.json").write_text(json.dumps(variables))

    def run(self, *options: str) -> tuple[int, str]:
        (self.folder / "home").mkdir(exist_ok=True)
        done = subprocess.run(
            [str(ANSIBLE), "-i", "inventory", "play.yml", *options],
            cwd=self.folder,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_COLLECTIONS_PATH": str(BUILD),
                "ANSIBLE_LOG_PATH": str(self.folder / "ansible.log"),
                "ANSIBLE_LOCAL_TEMP": str(self.folder / "home/tmp"),
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def result(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.folder / "result.json").read_text()))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_four_beats_check_do_check_do(project: Project) -> None:
    code, output = project.run("--check", "--diff")
    assert code == 0, output
    assert not project.store.exists()
    foreseen = project.result()
    assert foreseen["changed"] and foreseen["not_issued"] == ["web@web1"]
    assert "identity web@web1 (no certificate yet)" in output
    code, output = project.run("--diff")
    assert code == 0, output
    done = project.result()
    assert done["reasons"] == foreseen["reasons"]
    assert done["identities"]["web@web1"]["names"] == ["web1.example.net", "xn--bcher-kva.example"]
    for part, begin in (("roots", "CERTIFICATE"), ("issuing", "CERTIFICATE"), ("crls", "X509 CRL")):
        assert done[part]["connsec"].startswith("-----BEGIN %s-----" % begin), part
        assert "PRIVATE KEY" not in done[part]["connsec"]
    before = snapshot(project.store)
    for options in (["--check", "--diff"], []):
        code, output = project.run(*options)
        assert code == 0, output
        assert not project.result()["changed"]
        assert snapshot(project.store) == before


def test_the_passphrase_and_keys_are_found_nowhere(project: Project) -> None:
    code, output = project.run("-vvvvv", "--diff")
    assert code == 0, output
    everything = [output, (project.folder / "ansible.log").read_text(), (project.folder / "result.json").read_text()]
    everything += [path.read_text() for path in project.store.rglob("*") if path.is_file()]
    for text in everything:
        assert CANARY not in text
        assert "BEGIN PRIVATE KEY" not in text
    assert "BEGIN ENCRYPTED" not in "".join(everything[:3])
    project.set(tls_store_passphrase="another-" + CANARY)
    (project.store / "identities/web@web1.pem").unlink()
    code, output = project.run("-vvvvv")
    assert code == 2
    assert CANARY not in output


@pytest.mark.parametrize("check", [[], ["--check"]])
@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "needs its passphrase"),
        ({"tls_store_passphrase": 12345678}, "must be text"),
        ({"tls_store_passphrase": CANARY, "tls_store": "store"}, "inside the inventory folder"),
        ({"tls_store_passphrase": "abc"}, "shorter than 8"),
    ],
)
def test_what_is_missing_or_misplaced_is_one_sentence(
    project: Project, variables: dict[str, t.Any], says: str, check: list[str]
) -> None:
    project.set(**variables)
    before = snapshot(project.folder / "inventory")
    code, output = project.run(*check)
    assert code == 2
    assert says in output
    assert "Traceback" not in output
    assert snapshot(project.folder / "inventory") == before
    assert not project.store.exists()


def test_it_is_refused_while_another_run_holds_the_store_and_changes_nothing(project: Project) -> None:
    claim(StorePaths(*(str(project.store / part) for part in ("authorities", "identities", "ledger"))), what="rollout",
          pid=os.getpid(), operator="ada")  # fmt: skip
    before = snapshot(project.store)
    code, output = project.run()
    assert code == 2
    assert re.search(r"rollout by ada \(process %d on \S+, since \d{4}-\d\d-\d\dT" % os.getpid(), output), output
    assert "Traceback" not in output
    code, output = project.run("--check")
    assert code == 0, output
    assert snapshot(project.store) == before
