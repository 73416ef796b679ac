# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of Ansible, timed: nothing of the user's own settings reaches them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

ROOT: t.Final = Path(__file__).resolve().parents[2]
#: Where `make link` puts the collection.
COLLECTIONS: t.Final = ROOT / "build"
#: Variables of the user that change what Ansible and Python do, and what they cost.
_OTHERS: t.Final = ("ANSIBLE_", "CONNSEC_", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
PASSPHRASE: t.Final = "a passphrase of the benchmark"

#: Where Ansible's programs lie.
PROGRAMS: t.Final = Path(sys.executable).parent


class LeftOut(Exception):
    """A part cannot be measured on this machine; the text says why."""


@dataclass(frozen=True)
class Timed:
    """What a command cost: seconds, and the memory of the largest of its processes."""

    seconds: float
    mib: float


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    return {
        **kept,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_ROLES_PATH": "roles",
        "ANSIBLE_FORKS": "10",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_NOCOLOR": "true",
        **more,
    }


def ping(folder: Path) -> Timed:
    """Return what a ping of all hosts costs, which is the floor of every play on them."""
    return run("ansible", "-i", "inventory", "all", "-m", "ansible.builtin.ping", folder=folder, log="ping")


def playbook(folder: Path, name: str, *extra: str, log: str) -> Timed:
    """Return what a playbook of ours costs; its output is kept in the folder."""
    return run("ansible-playbook", "-i", "inventory", "connsec.tls." + name, *extra, folder=folder, log=log)


def run(*argv: str, folder: Path, log: str, programs: Path = PROGRAMS, **variables: str) -> Timed:
    """Run a command in a folder and return what it cost; one that fails ends the bench with its last lines.

    Args:
        argv: the program's name and its arguments.
        folder: where it runs, and where its output is kept.
        log: what its output is called.
        programs: where the program lies.
        variables: further variables of its environment.
    """
    path = folder / (log + ".log")
    with path.open("wb") as output:
        begin = time.monotonic()
        process = subprocess.Popen(
            [str(programs / argv[0]), *argv[1:]],
            cwd=folder,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _pid, status, usage = os.wait4(process.pid, 0)  # the usage of this command alone, its own children included
        seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = "\n".join(path.read_text(errors="replace").splitlines()[-40:])
        raise SystemExit("%s ended with %d; %s says:\n%s" % (" ".join(argv), process.returncode, path, tail))
    return Timed(seconds, usage.ru_maxrss / 1024)
