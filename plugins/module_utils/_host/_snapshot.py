# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of a step held before it and after it, kept for taking it back; private to this collection.

``before.json`` lists the files, and ``before/`` holds them by their digest, so that the list changes with one rename
and never names what is not there. ``intended.json`` holds what an edit of ours is about to make of a file, so that
others' edits are told from it after a kill. ``after.json`` holds what the step left, text and all, once its edits are
done.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import typing as t
from dataclasses import dataclass

from .._core._errors import TlsError
from .._core._merge import undo
from ._files import make_directory, remove, write_durable
from ._installed import Json, read_json
from ._reading import ENTRY, FilesError, Found, Owner, read_regular

_ID: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:+-]{0,200}")


def step_folder(base: str, name: str) -> str:
    """Return where the snapshot of a step of this id lies.

    Raises:
        FilesError: the id cannot be the name of a folder.
    """
    if not _ID.fullmatch(name):
        raise FilesError("%r cannot be the id of a step; it is a word such as permit-default" % name)
    return os.path.join(base, "steps", name)


class Touched(TlsError):
    """A file was edited while its step was under way, and nobody knows by whom."""


@dataclass(frozen=True)
class WayBack:
    """What a file has to hold once a step is taken back; ``wanted`` None means that it goes away."""

    wanted: Found | None
    differs: bool


class Snapshot:
    """The snapshot of one step."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._before = os.path.join(folder, "before.json")
        self._intended = os.path.join(folder, "intended.json")
        self._after = os.path.join(folder, "after.json")

    def exists(self) -> bool:
        """Return whether there is one."""
        return os.path.isfile(self._before)

    def is_there(self) -> bool:
        """Return whether there is anything of one, be it what a killed run has left."""
        return os.path.isdir(self._folder)

    def paths(self) -> list[str]:
        """Return the files that it holds."""
        return sorted(self._rows())

    def folders(self) -> list[str]:
        """Return the folders of its files that were not there before the step."""
        return list((read_json(self._before) or {}).get("folders") or ())

    def changed(self) -> list[str]:
        """Return the files that do not hold what they held before the step."""
        return [path for path in self.paths() if _data(read_regular(path)) != _data(self._kept(path))]

    def covers(self, files: t.Sequence[str]) -> bool:
        """Return whether it holds all of these files; a step without files needs none."""
        return not files or set(files) <= set(self._rows())

    def is_finished(self) -> bool:
        """Return whether it also holds what the step left."""
        after = read_json(self._after)
        return after is not None and after.get("of") == self._at()

    def is_renewed(self) -> bool:
        """Return whether it was brought up to date for doing the step again, and nothing came of that yet."""
        after = read_json(self._after)
        return after is not None and after.get("of") != self._at()

    def take(self, files: t.Sequence[str], *, put_back: t.Collection[str] = ()) -> None:
        """Keep what the files hold, without what this very step left there when it was done before.

        Args:
            files: the files.
            put_back: those of them that hold nothing of the step any more, for a reverse has been there.

        Raises:
            FilesError: a file is a link, or cannot be read.
        """
        if not files:
            return
        found = {path: read_regular(path) for path in files}
        contents = {path: held if path in put_back else self._without_ours(path, held) for path, held in found.items()}
        make_directory(os.path.dirname(self._folder), mode=0o700)
        for folder in (self._folder, self._in_before("")):
            make_directory(folder, mode=0o700)
        rows = {path: self._keep(found) for path, found in contents.items()}
        moment = time.time()
        folders = sorted({*self.folders(), *(each for path in files for each in _missing_folders(path))})
        ours = {p: _text(held.data) for p, held in found.items() if held and _data(contents[p]) != held.data}
        if ours:
            _write_json(self._intended, {"files": ours, "of": moment})
        _write_json(self._before, {"files": rows, "folders": folders, "at": moment})
        self._drop_others({row["sha256"] for row in rows.values() if row})

    def reopen(self) -> None:
        """Forget what the step left: it is about to be done again."""
        remove_if_there(self._after)

    def intend(self, path: str, data: bytes) -> None:
        """Note what an edit is about to make of a file."""
        found = read_json(self._intended) or {}
        files = found.get("files") or {} if found.get("of") == self._at() else {}
        _write_json(self._intended, {"files": {**files, path: _text(data)}, "of": self._at()})

    def finish(self) -> None:
        """Keep what the step left."""
        rows = {}
        for path in self.paths():
            found = read_regular(path)
            rows[path] = None if found is None else {**described(found), "text": _text(found.data)}
        _write_json(self._after, {"files": rows, "of": self._at()})

    def way_back(self, path: str, current: Found | None, *, ours: bool) -> WayBack:
        """Return what a file has to hold without the step.

        Args:
            path: the file.
            current: what it holds.
            ours: whether this very run has begun the step, so that nobody else had the time to edit.

        Raises:
            Conflict: somebody changed the lines that the step changed.
            Touched: somebody else may have edited it while the step was under way.
            FilesError: the file or the snapshot cannot be read.
        """
        before = self._kept(path)
        if not self.is_finished():
            return _way(current, before if ours else self._unfinished_way(path, current, before))
        after = self._left(path)
        if current is None or before is None or after is None:
            if _data(current) not in (_data(after), _data(before)):
                raise FilesError("%s was made or removed since the step; put it back as the step left it" % path)
            return _way(current, before)
        return _way(current, _without(current, before, after))

    def _unfinished_way(self, path: str, current: Found | None, before: Found | None) -> Found | None:
        """Return what a file of a step that was cut off has to hold without it."""
        if current == before:
            return before
        meant = read_json(self._intended) or {}
        text = (meant.get("files") or {}).get(path) if meant.get("of") == self._at() else None
        if text is not None and current is not None and before is not None:
            return _without(current, before, Found(_bytes(text), before.mode, before.owner))
        if text is not None and before is None and _data(current) == _bytes(text):
            return None  # it was made, and the step was cut off behind that
        raise Touched(
            "it was edited while the step was under way; finish the step with connsec.tls.rollout, or give the file"
            " back what it held, which lies in %s" % self._in_before("")
        )

    def forget(self) -> bool:
        """Remove the snapshot; its list goes first, so that half of one never counts. Return whether there was one."""
        there = self.is_there()
        remove_if_there(self._before)
        shutil.rmtree(self._folder, ignore_errors=True)
        return there

    def _at(self) -> t.Any:
        """Return the moment of the snapshot, by which what the step left is known to belong to it."""
        return (read_json(self._before) or {}).get("at")

    def _rows(self) -> dict[str, Json | None]:
        return dict((read_json(self._before) or {}).get("files") or {})

    def _in_before(self, name: str) -> str:
        return os.path.join(self._folder, "before", name).rstrip("/")

    def _keep(self, found: Found | None) -> Json | None:
        if found is None:
            return None
        row = described(found)
        path = self._in_before(row["sha256"])
        if not os.path.isfile(path):
            write_durable(path, found.data, mode=0o600)
        return row

    def _drop_others(self, used: t.Collection[str]) -> None:
        for name in os.listdir(self._in_before("")):
            if name not in used:
                remove_if_there(self._in_before(name))

    def _kept(self, path: str) -> Found | None:
        """Return a file as it was before the step."""
        row = self._rows()[path]
        if row is None:
            return None
        found = read_regular(self._in_before(row["sha256"]))
        if found is None or hashlib.sha256(found.data).hexdigest() != row["sha256"]:
            raise FilesError("the snapshot in %s is damaged; take the step back by hand (docs/hosts.md)" % self._folder)
        return _as_described(row, found.data)

    def _left(self, path: str) -> Found | None:
        """Return a file as it was after the step."""
        row = ((read_json(self._after) or {}).get("files") or {}).get(path)
        return None if row is None else _as_described(row, _bytes(row["text"]))

    def _without_ours(self, path: str, found: Found | None) -> Found | None:
        """Return a file without what this step changed when it was done before.

        Where somebody changed the same lines since, what was there before the step counts: the step writes them anew.
        """
        if found is None or not self.is_finished() or path not in self._rows():
            return found
        try:
            before, after = self._kept(path), self._left(path)
        except FilesError:
            return found
        if before is None or after is None:
            return before if _data(found) == _data(after) else found
        return _without(found, before, after, ours_wins=True)


def _missing_folders(path: str) -> t.Iterator[str]:
    folder = "" if path.startswith(ENTRY) else os.path.dirname(path)
    while folder and not os.path.lexists(folder):
        yield folder
        folder = os.path.dirname(folder)


def _without(found: Found, before: Found, after: Found, *, ours_wins: bool = False) -> Found:
    """Return a file without what a step made of it; what others did to text, mode and owner since stays."""
    text = undo(_text(before.data), _text(after.data), _text(found.data), ours_wins=ours_wins)
    mode = before.mode if found.mode == after.mode else found.mode
    owner = before.owner if found.owner == after.owner else found.owner
    return Found(_bytes(text), mode, owner)


def described(found: Found) -> Json:
    """Return what tells a file from another: its digest, mode and owner."""
    return {
        "sha256": hashlib.sha256(found.data).hexdigest(),
        "mode": "%04o" % found.mode,
        "uid": found.owner.uid,
        "gid": found.owner.gid,
    }


def remove_if_there(path: str) -> bool:
    """Remove a file durably; return whether there was one, which may be in a folder that is not there."""
    return os.path.lexists(path) and remove(path)


def _write_json(path: str, value: Json) -> None:
    write_durable(path, (json.dumps(value, sort_keys=True) + "\n").encode(), mode=0o600)


def _way(current: Found | None, wanted: Found | None) -> WayBack:
    return WayBack(wanted, differs=current != wanted)


def _data(found: Found | None) -> bytes | None:
    return None if found is None else found.data


def _as_described(row: Json, data: bytes) -> Found:
    return Found(data, int(row["mode"], 8), Owner(int(row["uid"]), int(row["gid"])))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
