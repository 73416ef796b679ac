# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the snapshot of a step says of its files; private to this collection.

Steps may edit one file, and one of them may have made it. Such a file goes away with the last of its steps that is
taken back, whichever that is: so each that comes after the maker notes the file as made, too.
"""

from __future__ import annotations

import glob
import hashlib
import os
import typing as t

from ._installed import Json, read_json
from ._reading import FilesError, Found, Owner, read_regular


class Kept:
    """The snapshot of one step, read."""

    def __init__(self, folder: str) -> None:
        """Take the step's folder, which need not be there."""
        self.folder = folder
        self._before = os.path.join(folder, "before.json")
        self._intended = os.path.join(folder, "intended.json")
        self._after = os.path.join(folder, "after.json")

    def exists(self) -> bool:
        """Return whether there is one."""
        return os.path.isfile(self._before)

    def paths(self) -> list[str]:
        """Return the files that it holds."""
        return sorted(self._rows())

    def folders(self) -> list[str]:
        """Return the folders of its files that were not there before the step, or before others on which it came."""
        return list(self._list().get("folders") or ())

    def at(self) -> t.Any:
        """Return the moment of the snapshot, by which what the step left is known to belong to it."""
        return self._list().get("at")

    def covers(self, files: t.Sequence[str]) -> bool:
        """Return whether it holds all of these files; a step without files needs none."""
        return not files or set(files) <= set(self._rows())

    def is_finished(self) -> bool:
        """Return whether it also holds what the step left."""
        after = read_json(self._after)
        return after is not None and after.get("of") == self.at()

    def is_renewed(self) -> bool:
        """Return whether it was brought up to date for doing the step again, and nothing came of that yet."""
        after = read_json(self._after)
        return after is not None and after.get("of") != self.at()

    def before(self, path: str) -> Found | None:
        """Return a file as it was before the step.

        Raises:
            FilesError: the snapshot is damaged.
        """
        row = self._rows()[path]
        if row is None:
            return None
        found = read_regular(self._in_before(row["sha256"]))
        if found is None or hashlib.sha256(found.data).hexdigest() != row["sha256"]:
            raise FilesError("the snapshot in %s is damaged; take the step back by hand (docs/hosts.md)" % self.folder)
        return _as_described(row, found.data)

    def after(self, path: str) -> Found | None:
        """Return a file as it was after the step."""
        row = self._left(path)
        return None if row is None else _as_described(row, bytes_of(row["text"]))

    def intended(self, path: str) -> str | None:
        """Return what an edit was about to make of a file, in a step that was not finished; None if nobody knows."""
        meant = read_json(self._intended) or {}
        return (meant.get("files") or {}).get(path) if meant.get("of") == self.at() else None

    # Beside others

    def changes(self, path: str) -> bool:
        """Return whether the step holds a change of a file, as far as is known."""
        rows = self._rows()
        if path not in rows:
            return False
        had = (rows[path] or {}).get("sha256")
        if self.is_finished():
            return had != (self._left(path) or {}).get("sha256")
        text = self.intended(path)
        found = read_regular(path) if text is None else Found(bytes_of(text), 0, Owner(0, 0))
        return had != (hashlib.sha256(found.data).hexdigest() if found else None)

    def made(self) -> frozenset[str]:
        """Return the files that go away with the last of their steps: they were missing before the first one."""
        listed = self._list()
        rows = listed.get("files") or {}
        return frozenset(listed.get("made", [path for path, row in rows.items() if row is None]))

    def has_made(self, path: str) -> bool:
        """Return whether a file is there because of the step, or of others on which it came."""
        return path in self.made() and (self._rows().get(path) is not None or self.changes(path))

    def others(self) -> list[Kept]:
        """Return the other snapshots of this host, of whichever instance; one that is damaged says nothing."""
        directory = os.path.dirname(os.path.dirname(os.path.dirname(self.folder)))
        found = []
        for folder in sorted(glob.glob(os.path.join(glob.escape(directory), "*", "steps", "*"))):
            other = Kept(folder)
            if folder != self.folder and other.is_sound():
                found.append(other)
        return found

    def is_sound(self) -> bool:
        """Return whether it is there, and its lists can be read."""
        try:
            found = [read_json(path) for path in (self._before, self._intended, self._after)]
        except FilesError:
            return False
        return found[0] is not None

    def _list(self) -> Json:
        return read_json(self._before) or {}

    def _rows(self) -> dict[str, Json | None]:
        return dict(self._list().get("files") or {})

    def _left(self, path: str) -> Json | None:
        row: Json | None = ((read_json(self._after) or {}).get("files") or {}).get(path)
        return row

    def _in_before(self, name: str) -> str:
        return os.path.join(self.folder, "before", name).rstrip("/")


def described(found: Found) -> Json:
    """Return what tells a file from another: its digest, mode and owner."""
    return {
        "sha256": hashlib.sha256(found.data).hexdigest(),
        "mode": "%04o" % found.mode,
        "uid": found.owner.uid,
        "gid": found.owner.gid,
    }


def text_of(data: bytes) -> str:
    """Return what a file holds as text from which the same bytes come."""
    return data.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """Return the bytes of such a text."""
    return text.encode("utf-8", "surrogateescape")


def _as_described(row: Json, data: bytes) -> Found:
    return Found(data, int(row["mode"], 8), Owner(int(row["uid"]), int(row["gid"])))
