# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in an instance's folder on a host, and whether it is as we left it; private to this collection.

One folder an instance, fixed names (``docs/hosts.md``)::

    generations/000007/{certificate,chain,fullchain,key,trust}.pem ... manifest.json
    current -> generations/000007        previous -> generations/000006
    pending.json                         a step is under way, or its reload is due
    loaded.json                          the generation that the process was last seen to load
    steps/<id>/{before/,before.json,after.json}   what a step found, for its reverse
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import typing as t

from ._files import FilesError, account_of, read_file

MANIFEST: t.Final = "manifest.json"
PENDING: t.Final = "pending.json"
LOADED: t.Final = "loaded.json"
_GENERATION = re.compile(r"generations/(\d{6})\Z")

Json = t.Dict[str, t.Any]


def installed(directory: str, folder: str) -> Json:
    """Return what an instance's folder holds.

    Args:
        directory: the host's folder of ours (``tls_directory``).
        folder: the instance's folder in it.

    Returns:
        ``generation`` and ``previous`` (numbers or None), ``manifest``, ``drift`` (a sentence for each file that is not
        as it was installed), ``pending``, ``loaded``, and ``steps`` by id.

    Raises:
        FilesError: something there cannot be read.
    """
    base = os.path.join(directory, folder)
    generation = linked(base, "current")
    manifest = read_json(os.path.join(base, "generations", generation, MANIFEST)) if generation else None
    return {
        "generation": generation,
        "previous": linked(base, "previous"),
        "manifest": manifest,
        "drift": drift(os.path.join(base, "generations", generation), manifest) if generation else [],
        "pending": read_json(os.path.join(base, PENDING)),
        "loaded": read_json(os.path.join(base, LOADED)),
        "steps": {name: {} for name in step_names(base)},
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
        raise FilesError("%s leads to %s and not to a generation of ours; put it back" % (path, target))
    return found.group(1)


def read_json(path: str) -> Json | None:
    """Return a JSON file of ours; None where there is none.

    Raises:
        FilesError: it is damaged.
    """
    found = read_file(path)
    if found is None:
        return None
    try:
        value = json.loads(found.data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise FilesError("%s is damaged; remove it, and the next run makes it anew" % path)
    return value


def step_names(base: str) -> list[str]:
    """Return the ids of the steps whose snapshots are kept."""
    try:
        names = os.listdir(os.path.join(base, "steps"))
    except FileNotFoundError:
        return []
    return sorted(name for name in names if os.path.isfile(os.path.join(base, "steps", name, "before.json")))


def drift(folder: str, manifest: Json | None) -> list[str]:
    """Return a sentence for each file of a generation that is not as it was installed."""
    if manifest is None:
        return ["%s is missing" % MANIFEST]
    sentences = []
    for name, wanted in sorted((manifest.get("files") or {}).items()):
        sentence = _difference(os.path.join(folder, name), name, wanted)
        if sentence:
            sentences.append(sentence)
    return sentences


def _difference(path: str, name: str, wanted: t.Mapping[str, t.Any]) -> str | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return "%s is missing" % name
    if not stat.S_ISREG(status.st_mode):
        return "%s is no regular file any more" % name
    found = read_file(path)
    if found is None or hashlib.sha256(found.data).hexdigest() != wanted["sha256"]:
        return "%s differs from what was installed" % name
    mode = "%04o" % found.mode
    if mode != wanted["mode"]:
        return "%s is %s, planned %s" % (name, mode, wanted["mode"])
    owner = account_of(found.owner.uid)
    if owner != wanted["owner"]:
        return "%s belongs to %s, planned %s" % (name, owner, wanted["owner"])
    return None
