# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance's material on a real disk, and what lies in a folder."""

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

from ansible_collections.connsec.tls.plugins.module_utils._core._change import Change
from ansible_collections.connsec.tls.plugins.module_utils._host._generations import File, Material
from ansible_collections.connsec.tls.plugins.module_utils._host._installed import Json, installed

NAME = "router@urs1"
FOLDER = "router"


def asked(version: str = "1", **more: t.Any) -> Json:
    """Return what is asked for: the material of a version."""
    identity: Json = {"certificate": "c" + version, "chain": [], "password": None}
    inputs = {"identities": {"": identity}, "trust": ["r1"], "formats": ["pem"]}
    return {"name": NAME, "folder": FOLDER, "inputs": inputs, **more}


def files(version: str = "1") -> list[File]:
    """Return the files of a version."""
    return [
        File("certificate.pem", b"certificate " + version.encode(), secret=False),
        File("key.pem", b"key " + version.encode(), secret=True),
        File("trust.pem", b"trust " + version.encode(), secret=False),
    ]


class Installed:
    """The material of one instance, and short names for what is done to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.base = directory / FOLDER

    def place(self, version: str = "1", **more: t.Any) -> Material:
        """Return the instance's folder as a place, with a version asked for."""
        return Material(str(self.directory), asked(version, **more))

    def plan(self, version: str = "1", **more: t.Any) -> Change | None:
        """Return what is due for a version."""
        return self.place(version, **more).plan()

    def install(self, version: str = "1", beside: t.Sequence[File] = (), **more: t.Any) -> Change | None:
        """Install a version, and perhaps files beside it, if it is due, and say why it was."""
        place = self.place(version, **more)
        change = place.plan()
        if change is not None:
            place.make([*files(version), *beside])
        return change

    def go_back(self, **more: t.Any) -> Change | None:
        """Go back a generation, and say whether there was a way to go."""
        place = self.place(**more)
        change = place.plan_back()
        if change is not None:
            place.go_back()
        return change

    def seen(self) -> Json:
        """Return what a look finds."""
        return installed(str(self.directory), FOLDER)

    def path(self, name: str, generation: str = "current") -> Path:
        """Return a file of a generation."""
        folder = self.base / generation if generation == "current" else self.base / "generations" / generation
        return folder / name

    def generations(self) -> list[str]:
        """Return what lies beside the generations, and them."""
        return sorted(path.name for path in (self.base / "generations").iterdir())


def tree(folder: Path) -> dict[str, str]:
    """Return every name below a folder, with its mode and what it holds or leads to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        held = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found[str(path.relative_to(folder))] = "%04o %r" % (stat.S_IMODE(status.st_mode), held)
    return found
