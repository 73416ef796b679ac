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

import json
import os
import re
import shutil
import time
import typing as t
from dataclasses import dataclass

from .._core._errors import TlsError
from .._core._merge import shown, undo
from ._files import make_directory, remove, write_durable
from ._installed import Json, read_json
from ._kept import Kept, bytes_of, described, text_of
from ._reading import ENTRY, FilesError, Found, read_regular

_ID: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:+-]{0,200}")
#: Seconds by which a snapshot is younger than any other, also where the clock was set back.
_TICK: t.Final = 1e-6


def step_folder(base: str, name: str) -> str:
    """Return where the snapshot of a step of this id lies.

    Raises:
        FilesError: the id cannot be the name of a folder.
    """
    if not _ID.fullmatch(name):
        raise FilesError("%r cannot be the id of a step; it is a word such as permit-default" % name)
    return os.path.join(base, "steps", name)


class Touched(TlsError):
    """A file was edited by somebody: while its step was under way, or though it goes away with its steps."""


@dataclass(frozen=True)
class WayBack:
    """What a file has to hold once a step is taken back; ``wanted`` None means that it goes away."""

    wanted: Found | None
    differs: bool


class Snapshot(Kept):
    """The snapshot of one step."""

    def is_there(self) -> bool:
        """Return whether there is anything of one, be it what a killed run has left."""
        return os.path.isdir(self.folder)

    def changed(self) -> list[str]:
        """Return the files that do not hold what they held before the step."""
        return [path for path in self.paths() if _data(read_regular(path)) != _data(self.before(path))]

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
        listed = self._beside(contents)
        make_directory(os.path.dirname(self.folder), mode=0o700)
        for folder in (self.folder, self._in_before("")):
            make_directory(folder, mode=0o700)
        rows = {path: self._keep(found) for path, found in contents.items()}
        ours = {p: text_of(held.data) for p, held in found.items() if held and _data(contents[p]) != held.data}
        if ours:
            _write_json(self._intended, {"files": ours, "of": listed["at"]})
        _write_json(self._before, {"files": rows, **listed})
        self._drop_others({row["sha256"] for row in rows.values() if row})

    def _beside(self, contents: t.Mapping[str, Found | None]) -> Json:
        """Return what the list says besides its files: the moment, and what goes away with the last of several steps.

        Args:
            contents: what each file holds without the step.
        """
        others = self.others()
        steps: list[Kept] = [self, *others]
        made = [path for path, held in contents.items() if held is None or any(each.has_made(path) for each in steps)]
        above = {folder for each in others for folder in each.folders()}
        missing = {folder for path in contents for folder in _missing_folders(path)}
        taken_over = {folder for path in contents for folder in _folders(path) if folder in above}
        moment = max([time.time(), *(float(each.at() or 0) + _TICK for each in others)])
        return {"folders": sorted({*self.folders(), *missing, *taken_over}), "made": sorted(made), "at": moment}

    def reopen(self) -> None:
        """Forget what the step left: it is about to be done again."""
        remove_if_there(self._after)

    def intend(self, path: str, data: bytes) -> None:
        """Note what an edit is about to make of a file."""
        found = read_json(self._intended) or {}
        files = found.get("files") or {} if found.get("of") == self.at() else {}
        _write_json(self._intended, {"files": {**files, path: text_of(data)}, "of": self.at()})

    def finish(self) -> None:
        """Keep what the step left."""
        rows = {}
        for path in self.paths():
            found = read_regular(path)
            rows[path] = None if found is None else {**described(found), "text": text_of(found.data)}
        _write_json(self._after, {"files": rows, "of": self.at()})

    # The way back

    def way_back(self, path: str, current: Found | None, *, ours: bool, gone: t.Collection[str] = ()) -> WayBack:
        """Return what a file has to hold without the step.

        Args:
            path: the file.
            current: what it holds.
            ours: whether this very run has begun the step, so that nobody else had the time to edit.
            gone: folders of snapshots that are taken to be gone, for their steps go back before.

        Raises:
            Conflict: somebody changed the lines that the step changed.
            Touched: somebody else may have edited it while the step was under way, or wrote into what goes away.
            FilesError: the file or the snapshot cannot be read.
        """
        before = self.before(path)
        if not self.is_finished() and ours:
            return _way(current, before)
        others = [each for each in self.others() if each.folder not in gone and path in each.paths()]
        if current is None and path in self.made() and not any(each.has_made(path) for each in others):
            return _way(current, None)  # it went with the step that made it
        if self.is_finished():
            wanted = self._finished_way(path, current, before)
        else:
            wanted = self._unfinished_way(path, current, before)
        return _way(current, self._settled(path, current, wanted, others))

    def _finished_way(self, path: str, current: Found | None, before: Found | None) -> Found | None:
        """Return what a file has to hold without a step that came to its end."""
        after = self.after(path)
        if before == after:
            return current
        if after is not None and current is not None:
            return _without(current, before, after)
        if _data(current) in (_data(before), _data(after)):
            return before
        raise FilesError("%s was made or removed since the step; put it back as the step left it" % path)

    def _unfinished_way(self, path: str, current: Found | None, before: Found | None) -> Found | None:
        """Return what a file of a step that was cut off has to hold without it."""
        text = self.intended(path)
        if current == before:
            return before
        if text is not None and current is not None and before is not None:
            return _without(current, before, Found(bytes_of(text), before.mode, before.owner))
        if text is not None and before is None and _data(current) == bytes_of(text):
            return None  # it was made, and the step was cut off behind that
        raise Touched(
            "it was edited while the step was under way; finish the step with connsec.tls.rollout, or give the file"
            " back what it held, which lies in %s" % self._in_before("")
        )

    def _settled(
        self, path: str, current: Found | None, wanted: Found | None, others: t.Sequence[Kept]
    ) -> Found | None:
        """Return what a file has to hold, or None where nothing of a file is left that steps have made.

        Raises:
            Touched: this is the last of its steps, and somebody else wrote into it.
        """
        if wanted is None or not (path in self.made() or self.before(path) is None):
            return wanted
        if not wanted.data:
            return None
        if wanted == current or path not in self.made() or any(each.changes(path) for each in others):
            return wanted
        raise Touched(
            "it goes away with the steps that made it, and somebody has written into it since: %s; move that to another"
            " file, or take it out" % "; ".join(shown("+", text_of(wanted.data).split("\n")))
        )

    # Its end

    def forget(self) -> bool:
        """Remove the snapshot; its list goes first, so that half of one never counts. Return whether there was one."""
        there = self.is_there()
        remove_if_there(self._before)
        shutil.rmtree(self.folder, ignore_errors=True)
        return there

    def retire(self) -> bool:
        """Forget a step that will not be taken back: what it changed stays, and so do files that it has made.

        Return whether there was a snapshot.
        """
        stays = {path for path in self.paths() if self.has_made(path) and self.changes(path)}
        for other in self.others() if stays else ():
            Snapshot(other.folder)._leave(stays)
        return self.forget()

    def _leave(self, paths: t.Collection[str]) -> None:
        """Note that these files do not go away with their steps any more."""
        made = self.made()
        if made & set(paths):
            _write_json(self._before, {**(read_json(self._before) or {}), "made": sorted(made - set(paths))})

    # What it keeps

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

    def _without_ours(self, path: str, found: Found | None) -> Found | None:
        """Return a file without what this step changed when it was done before.

        Where somebody changed the same lines since, what was there before the step counts: the step writes them anew.
        """
        if found is None or not self.is_finished() or path not in self.paths():
            return found
        try:
            before, after = self.before(path), self.after(path)
        except FilesError:
            return found
        if after is None:
            return found
        left = _without(found, before, after, ours_wins=True)
        return None if before is None and not left.data else left


def _folders(path: str) -> t.Iterator[str]:
    """Yield the folders above a file, the nearest first; none for an entry of a directory."""
    folder = "" if path.startswith(ENTRY) else os.path.dirname(path)
    while folder not in ("", os.path.dirname(folder)):
        yield folder
        folder = os.path.dirname(folder)


def _missing_folders(path: str) -> list[str]:
    return [folder for folder in _folders(path) if not os.path.lexists(folder)]


def _without(found: Found, before: Found | None, after: Found, *, ours_wins: bool = False) -> Found:
    """Return a file without what a step made of it; what others did to text, mode and owner since stays.

    Of a file that the step made, all of what it left is its own, and mode and owner stay with the rest.
    """
    had = Found(b"", after.mode, after.owner) if before is None else before
    text = undo(text_of(had.data), text_of(after.data), text_of(found.data), ours_wins=ours_wins)
    mode = had.mode if found.mode == after.mode else found.mode
    owner = had.owner if found.owner == after.owner else found.owner
    return Found(bytes_of(text), mode, owner)


def remove_if_there(path: str) -> bool:
    """Remove a file durably; return whether there was one, which may be in a folder that is not there."""
    return os.path.lexists(path) and remove(path)


def _write_json(path: str, value: Json) -> None:
    write_durable(path, (json.dumps(value, sort_keys=True) + "\n").encode(), mode=0o600)


def _way(current: Found | None, wanted: Found | None) -> WayBack:
    return WayBack(wanted, differs=current != wanted)


def _data(found: Found | None) -> bytes | None:
    return None if found is None else found.data
