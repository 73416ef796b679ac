# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations of an instance's material: made whole, taken by one rename, kept; private to this collection."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import typing as t
from dataclasses import dataclass

from .._core._change import Change
from .._core._generation import Due, plan_generation, why_useless
from .._core._manifest import MANIFEST, file_in, identities_in
from ._files import give, label, make_directory, make_own, owner_of_account, sync_folder, write_durable, write_new
from ._installed import LOADED, Json, drift, linked, manifest_of, read_json
from ._reading import FilesError, Owner, account_of, refusal

#: How many of the latest generations stay; those that ``current`` and ``previous`` name, and the one that the process
#: has loaded, stay however old they are.
KEPT: t.Final = 3
SECRET_MODE: t.Final = 0o400
PUBLIC_MODE: t.Final = 0o444
_LINK: t.Final = ".link.connsec-new"
_NAME: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
_NUMBER: t.Final = re.compile(r"[0-9]{6,}")


if t.TYPE_CHECKING:
    from ._carried import Carried


@dataclass(frozen=True, repr=False)
class File:
    """A file of a generation, before it is written."""

    name: str
    data: bytes
    secret: bool

    @property
    def mode(self) -> int:
        """Its mode: what is secret is for its account alone, and nobody has to write either."""
        return SECRET_MODE if self.secret else PUBLIC_MODE


class Material:
    """One instance's folder, as a place for generations."""

    def __init__(self, directory: str, asked: t.Mapping[str, t.Any]) -> None:
        """Take in what is asked for.

        Args:
            directory: the host's folder of ours.
            asked: ``name``, ``folder``, ``account``, ``inputs`` and ``public``, ``born`` of identities whose key was
                born on this host, and to go back ``trusted``, ``roots`` and ``revoked``.

        Raises:
            FilesError: the folder cannot be the name of one, or the account is not there.
        """
        self.name = str(asked["name"])
        self._asked = asked
        folder = str(asked["folder"])
        if not _NAME.fullmatch(folder):
            raise FilesError("%s: folder is %r; it is a single name such as %s" % (self.name, folder, "router"))
        self._base = os.path.join(directory, folder)
        self._owner: Owner = owner_of_account(asked.get("account"))
        self._due: Due | None = None

    @property
    def generation(self) -> str | None:
        """The number of the current generation."""
        return linked(self._base, "current")

    def plan(self) -> Change | None:
        """Return why another generation, or a repair of the current one, is due; None if nothing is."""
        current = self.generation
        manifest = manifest_of(self._base, current) if current else None
        rows = drift(self._base, current, manifest, account=account_of(self._owner.uid)) if current else []
        self._due = plan_generation(self.name, installed=manifest, drift=rows, wanted=self._asked.get("inputs") or {})
        return self._due.change if self._due else None

    def plan_back(self) -> Change | None:
        """Return the way back to the generation before; None if it was gone already.

        Raises:
            FilesError: there is none, or it is not one that peers would accept.
        """
        current, previous = self.generation, linked(self._base, "previous")
        if current is None or previous is None:
            raise FilesError("%s has no earlier generation to go back to" % self.name)
        if current == previous:
            return None
        self._refuse_useless(previous)
        return Change("material %s" % self.name, current, previous, "going back was asked for")

    def _refuse_useless(self, generation: str) -> None:
        manifest = manifest_of(self._base, generation)
        if manifest is None:
            raise FilesError("generation %s of %s is not complete any more" % (generation, self.name))
        spoilt = drift(self._base, generation, manifest)
        if spoilt:
            raise FilesError("generation %s of %s is not as it was: %s" % (generation, self.name, spoilt[0].seen))
        why = why_useless(
            manifest,
            now=time.time(),
            trusted=self._asked.get("trusted"),
            roots=self._asked.get("roots"),
            revoked=self._asked.get("revoked") or (),
        )
        if why:
            raise FilesError("generation %s of %s %s; install anew instead" % (generation, self.name, why))

    def make(self, files: t.Sequence[File]) -> None:
        """Do what the plan said: repair the current generation, or make one of these files and take it.

        Raises:
            FilesError: it cannot be made; the current one stays, and nothing half-made is left.
        """
        if self._due is not None and self._due.repair:
            self._repair()
        else:
            self._install(files)

    def go_back(self) -> None:
        """Take the generation before, with one rename."""
        previous = linked(self._base, "previous")
        if previous is not None:
            self._link("current", previous)

    def _repair(self) -> None:
        """Give the files of the current generation their modes and owner again, content untouched."""
        current = self.generation or ""
        manifest = manifest_of(self._base, current) or {}
        folder = os.path.join(self._base, "generations", current)
        rows: Json = manifest["files"]
        owner = account_of(self._owner.uid)
        if any(row["owner"] != owner for row in rows.values()):
            # before the files: killed in between, they differ from it, and the next run goes on
            manifest["files"] = {name: {**row, "owner": owner} for name, row in rows.items()}
            write_durable(os.path.join(folder, MANIFEST), _text(manifest), mode=PUBLIC_MODE)
        for name, row in sorted(rows.items()):
            self._repair_one(os.path.join(folder, name), int(row["mode"], 8))
        for each in {os.path.dirname(os.path.join(folder, name)) for name in rows}:
            sync_folder(each)

    def _repair_one(self, path: str, mode: int) -> None:
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                give(file, self._owner)
                os.fchmod(file, mode)
            finally:
                os.close(file)
        except OSError as error:
            raise refusal(path, error, "repaired") from error

    def _install(self, files: t.Sequence[File]) -> None:
        for folder in (self._base, os.path.join(self._base, "generations")):
            make_own(folder)
        self._sweep()
        carried = self._carried()
        files = [*files, *self._own_files(files)]
        files += [File(name, data, secret=secret) for name, (data, secret) in carried.files.items()]
        number = self._next()
        folder = os.path.join(self._base, "generations", number)
        try:
            self._write(folder, number, files, carried)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._take(number)
        for born in self._born.values():
            from ._births import forget_pending

            forget_pending(self._base, born)

    @property
    def _born(self) -> t.Mapping[str, Json]:
        """What is said of the identities whose key was born on this host, by folder."""
        found: t.Mapping[str, Json] = self._asked.get("born") or {}
        return found

    def _own_files(self, files: t.Sequence[File]) -> list[File]:
        """Return the secret files that this host makes itself, of identities whose key was born on it."""
        data = {file.name: file.data for file in files}
        found = []
        for place, born in sorted(self._born.items()):
            from ._births import own_files

            made = own_files(self._base, place, born, data[file_in(place, "fullchain.pem")])
            found += [File(file_in(place, name), content, secret=True) for name, content in sorted(made.items())]
        return found

    def _carried(self) -> Carried:
        """Return the identities that are not asked for any more, and that something may still name."""
        from ._carried import carried

        asked = identities_in(self._asked.get("inputs") or {})
        return carried(self._base, asked, now=time.time())

    def _write(self, folder: str, number: str, files: t.Sequence[File], carried: Carried) -> None:
        """Write a generation; its manifest comes last, and without one it does not count."""
        for each in [folder, *sorted({self._folder_in(folder, file) for file in files} - {folder})]:
            make_directory(each)
        rows = {}
        for file in files:
            write_new(os.path.join(folder, file.name), file.data, mode=file.mode, owner=self._owner)
            rows[file.name] = {
                "sha256": hashlib.sha256(file.data).hexdigest(),
                "mode": "%04o" % file.mode,
                "owner": account_of(self._owner.uid),
            }
        inputs: Json = self._asked["inputs"]
        manifest = {
            "version": 1,
            "instance": self.name,
            "generation": number,
            "inputs": {**inputs, "identities": {**carried.inputs, **identities_in(inputs)}},
            "identities": {**carried.public, **(self._asked.get("public") or {})},
            "files": rows,
            "installed_at": round(time.time(), 3),
        }
        if self._asked.get("environment"):
            manifest["environment"] = self._asked["environment"]  # so that its lines are found once nobody names it
        write_new(os.path.join(folder, MANIFEST), _text(manifest), mode=PUBLIC_MODE)
        label(folder, below=True)
        sync_folder(folder)
        sync_folder(os.path.dirname(folder))

    def _folder_in(self, generation: str, file: File) -> str:
        """Return the folder that a file of a generation lies in: its own, or one of an identity's name.

        Raises:
            FilesError: it would lie elsewhere.
        """
        folder, slash, name = file.name.rpartition("/")
        if not (_NAME.fullmatch(name) and name != MANIFEST and (_NAME.fullmatch(folder) or not slash)):
            raise FilesError("%s: %r cannot be the name of a file of a generation" % (self.name, file.name))
        return os.path.join(generation, folder) if slash else generation

    def _take(self, number: str) -> None:
        """Take a generation. ``previous`` comes first, so that it is never later than ``current``."""
        before = self.generation
        if before is not None and before != linked(self._base, "previous"):
            self._link("previous", before)
        self._link("current", number)
        self._prune()

    def _link(self, name: str, number: str) -> None:
        """Point a link at a generation: a new one is renamed over the old, so that it always leads somewhere."""
        temporary = os.path.join(self._base, _LINK)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            os.symlink("generations/" + number, temporary)
            os.rename(temporary, os.path.join(self._base, name))
            sync_folder(self._base)
        except OSError as error:
            raise FilesError("%s of %s cannot be set: %s" % (name, self._base, error.strerror)) from error

    def _numbers(self) -> list[str]:
        names = os.listdir(os.path.join(self._base, "generations"))
        return sorted((name for name in names if _NUMBER.fullmatch(name)), key=int)

    def _next(self) -> str:
        """Return a number that no generation had, not even one that somebody removed: processes are known by it."""
        had = [int(number) for number in (*self._numbers(), *self._named()) if number is not None]
        return "%06d" % (max(had, default=0) + 1)

    def _sweep(self) -> None:
        """Remove the generations that a killed run did not complete."""
        for number in self._numbers():
            folder = os.path.join(self._base, "generations", number)
            if not os.path.isfile(os.path.join(folder, MANIFEST)) and number not in self._named():
                shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._base, _LINK))

    def _prune(self) -> None:
        for number in self._numbers()[:-KEPT]:
            if number not in self._named():
                shutil.rmtree(os.path.join(self._base, "generations", number), ignore_errors=True)

    def _named(self) -> set[str | None]:
        """Return the generations that somebody needs; a process may still read files of the one that it has loaded."""
        loaded = (read_json(os.path.join(self._base, LOADED)) or {}).get("generation")
        return {linked(self._base, "current"), linked(self._base, "previous"), loaded}


def _text(manifest: Json) -> bytes:
    return (json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode()
