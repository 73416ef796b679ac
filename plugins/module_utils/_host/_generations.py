# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations of an instance's material: made whole, taken in one step, kept for going back; private to this collection."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import typing as t

from ._fault import point
from ._files import FilesError, Owner, account_of, make_folder, owner_of_account, sweep, sync_folder, write_new
from ._installed import MANIFEST, Json, installed, linked, read_json

#: Generations that stay beside those that ``current`` and ``previous`` name.
KEPT: t.Final = 3
_LINK: t.Final = ".connsec-new-link"


class Material:
    """One instance's folder, as a place for generations."""

    def __init__(self, directory: str, asked: t.Mapping[str, t.Any]) -> None:
        self._directory = directory
        self._asked = asked
        self._base = os.path.join(directory, str(asked["folder"]))

    def found(self) -> Json:
        """Return what is installed."""
        return installed(self._directory, str(self._asked["folder"]))

    def install(self, files: t.Sequence[t.Tuple[str, bytes, bool]]) -> str:
        """Make a generation of these files (name, content, whether it is secret) and take it in one step.

        Raises:
            FilesError: it cannot be made; the current one stays, and nothing half-made is left.
        """
        owner = owner_of_account(self._asked.get("account"))
        for folder in (self._base, os.path.join(self._base, "generations")):
            make_folder(folder)
        self._clear()
        number = self._next()
        folder = os.path.join(self._base, "generations", number)
        try:
            self._write(folder, number, files, owner)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._take(number)
        return number

    def back(self) -> str:
        """Take the earlier generation in one step.

        Raises:
            FilesError: there is none, or it has expired.
        """
        current, previous = linked(self._base, "current"), linked(self._base, "previous")
        if current is None or previous is None or previous == current:
            raise FilesError("%s has no earlier generation to go back to" % self._asked["name"])
        manifest = read_json(os.path.join(self._base, "generations", previous, MANIFEST)) or {}
        expires = (manifest.get("identity") or {}).get("not_after")
        if expires is not None and float(expires) <= time.time():
            raise FilesError(
                "generation %s of %s has expired, and going back to it would cut its peers off; renew instead"
                % (previous, self._asked["name"])
            )
        trust = self._asked.get("trusted")
        if trust is not None and sorted((manifest.get("inputs") or {}).get("trust") or ()) != sorted(trust):
            raise FilesError(
                "generation %s of %s holds another CA list than the planned one; its peers would be refused"
                % (previous, self._asked["name"])
            )
        self._link("current", previous)
        self._link("previous", current)
        return previous

    def _write(self, folder: str, number: str, files: t.Sequence[t.Tuple[str, bytes, bool]], owner: Owner) -> None:
        make_folder(folder)
        rows = {}
        for name, data, secret in files:
            mode = 0o400 if secret else 0o444
            write_new(os.path.join(folder, name), data, mode=mode, owner=owner)
            rows[name] = {
                "sha256": hashlib.sha256(data).hexdigest(),
                "mode": "%04o" % mode,
                "owner": account_of(owner.uid),
            }
        point("material.manifest.before")
        manifest = {
            "version": 1,
            "instance": self._asked["name"],
            "generation": number,
            "inputs": self._asked["inputs"],
            "identity": self._asked.get("public"),
            "files": rows,
            "installed_at": round(time.time(), 3),
        }
        text = json.dumps(manifest, sort_keys=True, indent=1) + "\n"
        write_new(os.path.join(folder, MANIFEST), text.encode(), mode=0o444)
        sync_folder(folder)
        sync_folder(os.path.dirname(folder))
        point("material.manifest.after")

    def _take(self, number: str) -> None:
        before = linked(self._base, "current")
        if before is not None:
            self._link("previous", before)
        point("material.current.before")
        self._link("current", number)
        point("material.current.after")
        self._prune()

    def _link(self, name: str, number: str) -> None:
        """Point a link at a generation: a new one is renamed over the old, so that it always leads somewhere."""
        temporary = os.path.join(self._base, _LINK)
        try:
            if os.path.islink(temporary):
                os.unlink(temporary)
            os.symlink("generations/" + number, temporary)
            os.rename(temporary, os.path.join(self._base, name))
            sync_folder(self._base)
        except OSError as error:
            raise FilesError("%s of %s cannot be set: %s" % (name, self._base, error.strerror)) from error

    def _numbers(self) -> t.List[str]:
        return sorted(name for name in os.listdir(os.path.join(self._base, "generations")) if name.isdigit())

    def _next(self) -> str:
        numbers = self._numbers()
        return "%06d" % (int(numbers[-1]) + 1 if numbers else 1)

    def _clear(self) -> None:
        """Remove what a killed run left: temporary files, and generations that were never complete."""
        sweep(self._base)
        for number in self._numbers():
            folder = os.path.join(self._base, "generations", number)
            if not os.path.isfile(os.path.join(folder, MANIFEST)) and number not in self._named():
                shutil.rmtree(folder, ignore_errors=True)

    def _prune(self) -> None:
        for number in self._numbers()[:-KEPT]:
            if number not in self._named():
                shutil.rmtree(os.path.join(self._base, "generations", number), ignore_errors=True)

    def _named(self) -> t.Set[str]:
        return {number for number in (linked(self._base, "current"), linked(self._base, "previous")) if number}
