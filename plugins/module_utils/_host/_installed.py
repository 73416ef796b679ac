# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in an instance's folder on a host, and whether it is as we left it; private to this collection.

One folder an instance, fixed names (``docs/hosts.md``)::

    generations/000007/{certificate,chain,fullchain,key,trust}.pem ... manifest.json
    generations/000007/outer/{certificate,chain,fullchain,key}.pem ...      of an identity beside the default one
    current -> generations/000007        previous -> generations/000006
    pending.json                         the steps that are under way, or whose reload is due
    loaded.json                          the generation that the process was last seen to load
    steps/<id>/{before/,before.json,intended.json,after.json}   what a step found and left, for its reverse
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import typing as t

from .._core._manifest import MANIFEST, Drift
from ._reading import FilesError, account_of, read_regular, refusal

PENDING: t.Final = "pending.json"
LOADED: t.Final = "loaded.json"
_GENERATION: t.Final = re.compile(r"generations/(\d{6,})\Z")

Json = t.Dict[str, t.Any]


def installed(directory: str, folder: str) -> Json:
    """Return what an instance's folder holds.

    Args:
        directory: the host's folder of ours (``tls_directory``).
        folder: the instance's folder in it.

    Returns:
        ``generation`` and ``previous`` (numbers or None), ``manifest``, ``drift`` (a sentence for each file that is not
        as it was installed, by its name), ``pending`` and ``steps`` by step id, and ``loaded``.

    Raises:
        FilesError: something there cannot be read.
    """
    base = os.path.join(directory, folder)
    generation = linked(base, "current")
    manifest = manifest_of(base, generation) if generation else None
    if manifest is not None:
        # Going back brings an older generation into effect, and a process that was started before has not loaded it.
        since = os.lstat(os.path.join(base, "current")).st_mtime
        manifest["installed_at"] = round(max(since, float(manifest.get("installed_at") or 0)), 3)
    return {
        "generation": generation,
        "previous": linked(base, "previous"),
        "manifest": manifest,
        "drift": {row.name: row.seen for row in drift(base, generation, manifest)} if generation else {},
        "pending": read_json(os.path.join(base, PENDING)) or {},
        "loaded": read_json(os.path.join(base, LOADED)),
        "steps": _steps(base),
    }


def linked(base: str, name: str) -> str | None:
    """Return the number of the generation that a link of ours names; None if there is none.

    Raises:
        FilesError: it is no link, or leads elsewhere.
    """
    path = os.path.join(base, name)
    try:
        target = os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FilesError("%s must be a link to a generation: %s" % (path, error.strerror)) from error
    found = _GENERATION.match(target)
    if not found:
        raise FilesError(
            "%s leads to %s and not to a generation of ours; let it lead to generations/<number> again" % (path, target)
        )
    return found.group(1)


def manifest_of(base: str, generation: str) -> Json | None:
    """Return the manifest of a generation; None if it has none that can be read, which is drift as any other."""
    try:
        return read_json(os.path.join(base, "generations", generation, MANIFEST))
    except FilesError:
        return None


def read_json(path: str) -> Json | None:
    """Return a JSON file of ours; None where there is none.

    Raises:
        FilesError: it is damaged.
    """
    found = read_regular(path)
    if found is None:
        return None
    try:
        value = json.loads(found.data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise FilesError("%s is damaged; remove it, and the next run makes it anew" % path)
    return value


def _steps(base: str) -> Json:
    """Return the steps whose snapshots are kept, with the moment at which each began and whether it was finished."""
    folder = os.path.join(base, "steps")
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise refusal(folder, error, "read") from error
    found = {}
    for name in names:
        before = read_json(os.path.join(folder, name, "before.json"))
        if before is not None:
            done = os.path.isfile(os.path.join(folder, name, "after.json"))
            found[name] = {"at": before.get("at"), "files": sorted(before.get("files") or {}), "finished": done}
    return found


def drift(base: str, generation: str, manifest: Json | None, *, account: str | None = None) -> list[Drift]:
    """Return the files of a generation that are not as they were installed.

    Args:
        base: the instance's folder.
        generation: the number of its generation.
        manifest: what was installed.
        account: whom the files should belong to now; the one in the manifest if None.
    """
    if manifest is None:
        return [Drift(MANIFEST, "%s is missing or damaged" % MANIFEST)]
    folder = os.path.join(base, "generations", generation)
    files: Json = manifest.get("files") or {}
    rows = (_difference(folder, name, dict(row, owner=account or row["owner"])) for name, row in sorted(files.items()))
    return [row for row in rows if row is not None]


def _difference(folder: str, name: str, wanted: Json) -> Drift | None:
    path, beside = os.path.join(folder, name), name.rpartition("/")[0]
    if beside and os.path.islink(os.path.join(folder, beside)):
        return Drift(name, "%s lies behind a link" % name)
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Drift(name, "%s is missing" % name)
    if not stat.S_ISREG(status.st_mode):
        return Drift(name, "%s is %s" % (name, "a link" if stat.S_ISLNK(status.st_mode) else "no regular file"))
    try:
        found = read_regular(path)
    except FilesError as error:
        return Drift(name, str(error))  # what nobody can look into is not as it was installed, for all that is known
    if found is None or hashlib.sha256(found.data).hexdigest() != wanted["sha256"]:
        return Drift(name, "%s differs from what was installed" % name)
    mode, owner = "%04o" % found.mode, account_of(found.owner.uid)
    if mode != wanted["mode"]:
        return Drift(name, "%s is %s, planned %s" % (name, mode, wanted["mode"]), repairable=True)
    if owner != wanted["owner"]:
        return Drift(name, "%s belongs to %s, planned %s" % (name, owner, wanted["owner"]), repairable=True)
    return None
