# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The removal of an instance that nobody names any more; private to this collection.

The folder is renamed before it is emptied, so that half of one is never taken for an instance, and is found again by
the next look.
"""

from __future__ import annotations

import os
import shutil
import typing as t

from .._core._change import Change
from ._environments import Environments
from ._files import sync_folder
from ._installed import Json, linked
from ._leftovers import GONE, manifest_in, names_in, used_by
from ._reading import FilesError


class Removal:
    """The removal of one instance's folder, and of the lines that give its processes their environment."""

    def __init__(self, directory: str, asked: t.Mapping[str, t.Any]) -> None:
        """Take in what is asked for: ``name`` and ``folder``.

        Raises:
            FilesError: the folder cannot be the name of one.
        """
        self.name, self._folder = str(asked["name"]), str(asked["folder"])
        if os.path.basename(self._folder) != self._folder or self._folder in ("", ".", ".."):
            raise FilesError("%s: folder is %r; it is a single name such as router" % (self.name, self._folder))
        self._directory = directory
        self._base = os.path.join(directory, self._folder)

    @property
    def generation(self) -> str | None:
        """The number of the current generation."""
        return linked(self._base, "current")

    def plan(self) -> Change | None:
        """Return what goes away; None if nothing is there any more.

        Raises:
            FilesError: something still uses it, or it is a folder of somebody else's.
        """
        if not os.path.lexists(self._base):
            return None
        target, reason = "removal %s" % self.name, "the model does not name it"
        if self._folder.startswith(GONE):
            return Change(target, None, None, "an earlier removal was cut off")
        manifest = manifest_in(self._base)
        if manifest is None or manifest["instance"] != self.name:
            raise FilesError("%s is not the folder of %s, and stays" % (self._base, self.name))
        used = used_by(self._directory, self._folder)
        if used:
            raise FilesError("%s is not removed: %s" % (self.name, used[0]))
        before = ["%s/%s" % (self._folder, each) for each in names_in(self._base)]
        before += ["environment in %s" % path for path in self._environment(manifest).paths.values()]
        return Change(target, "\n".join(before), None, reason)

    def make(self) -> None:
        """Take the environment's lines out, and remove the folder: first its name, then what lies in it."""
        if self._folder.startswith(GONE):
            shutil.rmtree(self._base)
            return
        environment = self._environment(manifest_in(self._base) or {})
        for change in environment.changes:
            environment.make(change)
        environment.settle()
        gone = os.path.join(self._directory, GONE + self._folder)
        try:
            shutil.rmtree(gone, ignore_errors=True)
            os.rename(self._base, gone)
            sync_folder(self._directory)
            shutil.rmtree(gone)
        except OSError as error:
            raise FilesError("%s cannot be removed: %s" % (self._base, error.strerror)) from error

    def _environment(self, manifest: Json) -> Environments:
        place = manifest.get("environment")
        return Environments([({**place, "name": self.name}, {})] if place else [])
