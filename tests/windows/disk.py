# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drives of a twin: real files in a folder of the controller, under names that Windows would take."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import typing as t
from pathlib import Path

from . import Failed, Refused

_ILLEGAL: t.Final = re.compile(r'[<>"|?*\x00-\x1f]')
_RESERVED: t.Final = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
_VARIABLE: t.Final = re.compile(r"%([^%\\]+)%")
FULL: t.Final = "There is not enough space on the disk."


def expanded(text: str, environment: t.Mapping[str, str]) -> str:
    """Return a text with its `%NAMES%` replaced; those that are not set stay, as on Windows."""
    known = {name.lower(): value for name, value in environment.items()}
    return _VARIABLE.sub(lambda found: known.get(found[1].lower(), found[0]), text)


def normal(text: str) -> str:
    """Return an absolute path on a drive, with backslashes, and without `.` and `..`.

    Raises:
        Failed: Windows has no such names.
        Refused: it is a path of a sort that the twin does not model.
    """
    path = text.replace("/", "\\")
    if not re.match(r"[A-Za-z]:\\", path):
        raise Refused("the twin models absolute paths on a drive, such as C:\\Temp; it was given %s" % text)
    parts: list[str] = []
    for part in path[3:].split("\\"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(_part(part, text))
    return path[0].upper() + ":\\" + "\\".join(parts)


def _part(part: str, text: str) -> str:
    if _ILLEGAL.search(part) or ":" in part:
        raise Failed("Illegal characters in path: %s" % text)
    if _RESERVED.fullmatch(part):
        raise Failed("%s names a device of Windows in %s, and no file" % (part, text))
    if part[-1] in ". ":
        raise Refused("Windows drops dots and spaces at the end of a name, which the twin does not model: %s" % text)
    return part


def parent(path: str) -> str | None:
    """Return the folder that a normal path lies in, or nothing for a drive."""
    above, _unused, name = path.rpartition("\\")
    if not name:
        return None
    return above + "\\" if above.endswith(":") else above


def joined(folder: str, name: str) -> str:
    """Return the path of a name in a folder."""
    return normal(folder.rstrip("\\/") + "\\" + name)


class Disk:
    """Files and folders by their paths on Windows, without regard to case."""

    def __init__(self, root: Path, *, effect: t.Callable[[str], None], full: t.Callable[[], bool]) -> None:
        self._root = root
        self._effect = effect
        self._full = full

    def _real(self, path: str) -> Path:
        """Return where a normal path lies; parts that are not there keep their spelling."""
        here = self._root / path[0]
        for part in filter(None, path[3:].split("\\")):
            names = os.listdir(here) if here.is_dir() else []
            here /= next((name for name in names if name.lower() == part.lower()), part)
        return here

    def spelled(self, path: str) -> str:
        """Return a path in the spelling of what is there."""
        parts = self._real(path).relative_to(self._root).parts
        return parts[0] + ":\\" + "\\".join(parts[1:])

    def has_drive(self, path: str) -> bool:
        return (self._root / path[0]).is_dir()

    def exists(self, path: str) -> bool:
        return self._real(path).exists()

    def is_file(self, path: str) -> bool:
        return self._real(path).is_file()

    def is_folder(self, path: str) -> bool:
        return self._real(path).is_dir()

    def read(self, path: str) -> bytes:
        return self._real(path).read_bytes()

    def children(self, path: str) -> list[str]:
        """Return what lies in a folder, sorted."""
        return sorted(joined(path, name) for name in os.listdir(self._real(path)))

    def below(self, path: str) -> t.Iterator[str]:
        """Yield all files in a folder and its folders, and none behind a junction."""
        for child in self.children(path):
            if self.target(child) is not None:
                continue
            if self.is_folder(child):
                yield from self.below(child)
            else:
                yield child

    def modified(self, path: str) -> float:
        return self._real(path).stat().st_mtime

    def changed(self, path: str) -> float:
        """Return the moment of a path itself; that of a junction is not of what it leads to."""
        return self._real(path).lstat().st_mtime

    def size(self, path: str) -> int:
        return self._real(path).stat().st_size

    def digest(self, path: str, algorithm: str = "sha1") -> str:
        return hashlib.new(algorithm, self.read(path)).hexdigest()

    def _room(self, path: str) -> None:
        if not self.has_drive(path):
            raise Failed("Cannot find drive. A drive with the name '%s' does not exist." % path[0])
        if self._full():
            raise Failed(FULL)

    def write(self, path: str, content: bytes) -> None:
        """Write a file into a folder that is there."""
        self._room(path)
        above = parent(path)
        if above is None or not self.is_folder(above):
            raise Failed("Could not find a part of the path '%s'." % path)
        if self.is_folder(path):
            raise Failed("Access to the path '%s' is denied." % path)
        real = self._real(path)
        self._effect("%s file %s" % ("changed" if real.exists() else "made", path))
        with open(os.open(real, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)

    def make_folder(self, path: str) -> None:
        """Make a folder, and those above it that are missing."""
        self._room(path)
        above = parent(path)
        if above is not None and not self.exists(above):
            self.make_folder(above)
        elif above is not None and self.is_file(above):
            raise Failed("Cannot create a folder in %s, for that is a file" % above)
        self._effect("made folder %s" % path)
        self._real(path).mkdir(mode=0o700)

    def touch(self, path: str) -> None:
        self._effect("touched %s" % path)
        os.utime(self._real(path))

    def link(self, path: str, target: str) -> None:
        """Make a junction to a folder."""
        self._room(path)
        if self.exists(path) or self.target(path) is not None:
            raise Failed("NewItemIOError: %s exists already" % path)
        self._effect("made junction %s to %s" % (path, target))
        self._real(path).symlink_to(self._real(target))

    def target(self, path: str) -> str | None:
        """Return where a junction leads, or nothing where there is none."""
        real = self._real(path)
        return self._windows(Path(os.readlink(real))) if real.is_symlink() else None

    def unlink(self, path: str) -> None:
        """Remove a junction; what it leads to stays."""
        self._effect("removed junction %s" % path)
        self._real(path).unlink()

    def final(self, path: str) -> str:
        """Return where a path leads in the end, behind all junctions."""
        real = self._real(path)
        return self._windows(real.resolve()) if real.exists() and real.resolve() != real else path

    def _windows(self, real: Path) -> str:
        root = self._root if real.is_relative_to(self._root) else self._root.resolve()
        parts = real.relative_to(root).parts
        return parts[0] + ":\\" + "\\".join(parts[1:])

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it."""
        real = self._real(path)
        self._effect("removed %s" % path)
        if real.is_dir():
            shutil.rmtree(real)
        else:
            real.unlink()
