# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab is, kept before the first part of it is made: a later call cleans up after one that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import LabError
from .names import Host, Net
from .processes import Process, boot_id, runs

_FILE: t.Final = "lab.json"
_LOCK: t.Final = "lock"


@dataclass(frozen=True)
class State:
    """A lab: its hosts, whether all of it is made, the tree below it, the machine's boot, and whom it ends with."""

    hosts: tuple[Host, ...]
    complete: bool
    tree: str
    boot: str
    owner: Process | None = None

    @property
    def abandoned(self) -> bool:
        """Return whether nobody uses it any more: never completed, of an earlier boot, or its owner is gone."""
        gone = self.boot != boot_id() or (self.owner is not None and not runs(self.owner))
        return gone or not self.complete

    def text(self) -> str:
        """Return it as it is kept."""
        hosts = [{"name": each.name, "number": each.number, "size": each.size} for each in self.hosts]
        owner = None if self.owner is None else [self.owner.pid, self.owner.started]
        alike = {"complete": self.complete, "tree": self.tree, "boot": self.boot}
        return json.dumps({"hosts": hosts, "owner": owner, **alike}, indent=1) + "\n"


def parse(net: Net, text: str) -> State:
    """Return the lab that a text tells of.

    Raises:
        LabError: it is none of ours.
    """
    try:
        data = json.loads(text)
        hosts = tuple(net.host(each["name"], each["number"], each["size"]) for each in data["hosts"])
        owner = Process(*data["owner"]) if data["owner"] else None
        return State(hosts, data["complete"], data["tree"], data["boot"], owner)
    except (ValueError, KeyError, TypeError) as error:
        raise LabError("%s is not what a lab keeps: %s" % (net.state / _FILE, error)) from error


def read(net: Net) -> State | None:
    """Return the lab of a network, whole or not; None if there is none.

    Raises:
        LabError: its file is none of ours.
    """
    try:
        return parse(net, (net.state / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def write(net: Net, state: State) -> None:
    """Keep what a lab is: the file is the earlier or the later one, whole, whenever this process is killed."""
    replace_file(net.state / _FILE, state.text())


def replace_file(path: Path, text: str) -> None:
    """Write a file that only its owner reads, and sync it before it takes its name."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    beside.replace(path)


@contextlib.contextmanager
def locked(net: Net) -> t.Iterator[None]:
    """Hold a lab's lock, which the kernel gives back when this process ends, however it does.

    Raises:
        LabError: another process holds it.
    """
    descriptor = _open_lock(net.state)
    try:
        yield
    finally:
        os.close(descriptor)


def _open_lock(folder: Path) -> int:
    """Return the locked file, which is still the one that the folder has: `down` removes both."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue  # the folder went meanwhile
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise LabError("another process works on the lab in %s; wait until it is done" % folder) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(folder / _LOCK)):
                return descriptor
        os.close(descriptor)
