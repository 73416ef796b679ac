# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances of ours that nobody names any more, and what still uses them; private to this collection.

Every folder of ours keeps a manifest that says whose it is.
"""

from __future__ import annotations

import os
import typing as t

from .._core._errors import TlsError
from .._core._manifest import identities_in
from ._installed import LOADED, PENDING, Json, linked, manifest_of, read_json
from ._process import runs, started_at
from ._reading import FilesError, read_regular
from ._system import IS_LINUX

#: What a folder is called while it is emptied.
GONE: t.Final = ".gone-"
#: Seconds by which the start of a process may be seen later than it was: the kernel counts in ticks since boot.
_TICK: t.Final = 0.1


def leftovers(directory: str, names: t.Iterable[str]) -> dict[str, Json]:
    """Return those of these folders that are ours, each with what lies in it and what uses it."""
    found: dict[str, Json] = {}
    for name in names:
        if not os.path.isdir(os.path.join(directory, name)):
            continue
        if name.startswith(GONE):
            found[name] = {"instance": None, "half": True, "used": []}
        else:
            manifest = manifest_in(os.path.join(directory, name))
            if manifest is not None:
                found[name] = _row(directory, name, manifest)
    return found


def manifest_in(base: str) -> Json | None:
    """Return the manifest of the newest generation that has one; None where the folder is none of ours."""
    try:
        numbers = sorted(os.listdir(os.path.join(base, "generations")), reverse=True)
        current = linked(base, "current")
    except (OSError, FilesError):
        return None
    found = (manifest_of(base, number) for number in ([current] if current else []) + numbers)
    return next((manifest for manifest in found if manifest and manifest.get("instance")), None)


def _row(directory: str, name: str, manifest: Json) -> Json:
    base = os.path.join(directory, name)
    inputs = manifest.get("inputs") or {}
    return {
        "instance": manifest["instance"],
        "generation": manifest.get("generation"),
        "identities": [
            _identity(public, identities_in(inputs).get(place, {}))
            for place, public in sorted((manifest.get("identities") or {}).items())
        ],
        "trust": inputs.get("trust") or [],
        "environment": bool(manifest.get("environment")),
        "steps": names_in(os.path.join(base, "steps")),
        "used": used_by(directory, name),
    }


def _identity(public: Json, inputs: t.Mapping[str, t.Any]) -> Json:
    """Return an identity that lies there: of its issuer and root, the fingerprints."""
    return {
        **{name: public.get(name) for name in ("name", "serial", "not_after")},
        "issuer": next(iter(inputs.get("chain") or ()), None),
        "root": inputs.get("root"),
    }


def names_in(folder: str) -> list[str]:
    """Return what lies in a folder; nothing where there is none."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


# Whether something uses it


def used_by(directory: str, name: str) -> list[str]:
    """Return a sentence for everything that still uses an instance's folder."""
    base = os.path.join(directory, name)
    try:
        if read_json(os.path.join(base, PENDING)):
            return ["a step of it is under way"]
        loaded = read_json(os.path.join(base, LOADED)) or {}
    except FilesError as error:
        return [str(error)]
    found = ["process %d was given it and still runs" % pid for pid in _still_running(loaded)]
    try:
        found += ["process %d names it" % pid for pid in _naming(base + "/")]
    except TlsError as error:
        return [*found, "which processes name it cannot be told: %s" % error]
    return found + ["%s names it" % path for path in configurations(base, base + "/")]


def _still_running(loaded: Json) -> list[int]:
    """Return the processes that took what lies there, as far as they have not ended since."""
    at = float(loaded.get("at") or 0.0)
    pids = (int(pid) for pid in loaded.get("pids") or ())
    return [pid for pid in pids if runs(pid) and (started_at(pid) or at) <= at + _TICK]


def _naming(path: str) -> list[int]:
    """Return the processes that have a path in their environment or arguments, without those that look or install.

    Raises:
        ToolUnread: this is no Linux, and its tools cannot be asked.
    """
    if not IS_LINUX:
        from ._unix import naming

        return naming(path)
    wanted, found = path.encode(), []
    ours = _ancestors()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in ours:
            for part in ("environ", "cmdline"):
                try:
                    with open("/proc/%s/%s" % (entry, part), "rb") as file:
                        there = wanted in file.read()
                except OSError:
                    continue
                if there:
                    found.append(int(entry))
                    break
    return sorted(found)


def _ancestors() -> set[int]:
    """Return this process and those above it."""
    found, pid = set(), os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            with open("/proc/%d/stat" % pid) as file:
                pid = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            break
    return found


def configurations(base: str, words: str) -> list[str]:
    """Return the files that steps of ours have edited for an instance and that have these words in them."""
    paths: set[str] = set()
    for name in names_in(os.path.join(base, "steps")):
        try:
            paths |= set((read_json(os.path.join(base, "steps", name, "before.json")) or {}).get("files") or {})
        except FilesError:
            continue
    return [path for path in sorted(paths) if _mentions(path, words)]


def _mentions(path: str, words: str) -> bool:
    try:
        found = read_regular(path)
    except FilesError:
        return False
    return found is not None and words.encode() in found.data
