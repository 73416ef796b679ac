# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities that nobody asks for any more, and that go on into the next generation; private to this collection.

The configuration of a process names their files until a step has written others, and the reverse of that step writes
them again. A file that is gone would keep the whole process from starting.
"""

from __future__ import annotations

import hashlib
import os
import typing as t
from dataclasses import dataclass, field

from .._core._manifest import FILES_OF_IDENTITY, file_in, identities_in
from ._installed import Json, linked, manifest_of
from ._leftovers import configurations
from ._reading import FilesError, read_regular


@dataclass(frozen=True, repr=False)
class Carried:
    """What goes on, as it is installed.

    Attributes:
        inputs, public: what went in, and what is public, by folder.
        files: content by path, and whether it is secret.
    """

    inputs: t.Mapping[str, Json] = field(default_factory=dict)
    public: t.Mapping[str, Json] = field(default_factory=dict)
    files: t.Mapping[str, tuple[bytes, bool]] = field(default_factory=dict)


def carried(base: str, asked: t.Collection[str], *, now: float) -> Carried:
    """Return the identities of the current generation that go on although they are not asked for.

    Args:
        base: the instance's folder.
        asked: the folders of those that are.
        now: seconds since 1970.
    """
    current = linked(base, "current")
    manifest = (manifest_of(base, current) if current else None) or {}
    public: Json = manifest.get("identities") or {}
    inputs = identities_in(manifest.get("inputs") or {})
    spare = sorted(set(inputs) - set(asked))
    kept = [folder for folder in spare if _is_needed(base, folder, public.get(folder) or {}, now=now)]
    return Carried(
        {folder: dict(inputs[folder]) for folder in kept},
        {folder: public[folder] for folder in kept if folder in public},
        dict(_intact(os.path.join(base, "generations", current or ""), manifest.get("files") or {}, kept)),
    )


def _is_needed(base: str, folder: str, public: Json, *, now: float) -> bool:
    """Return whether a certificate has not ended, or a file that a step of ours edited still names it."""
    if float(public.get("chain_not_after") or public.get("not_after") or 0) > now:
        return True
    names = FILES_OF_IDENTITY if not folder else ("",)
    return any(configurations(base, os.path.join(base, "current", file_in(folder, name))) for name in names)


def _intact(
    generation: str, files: t.Mapping[str, Json], kept: t.Collection[str]
) -> t.Iterator[tuple[str, tuple[bytes, bool]]]:
    """Yield the files of some identities, as far as they are as they were installed."""
    for path, row in sorted(files.items()):
        folder, _unused, name = path.rpartition("/")
        if folder in kept and name in FILES_OF_IDENTITY:
            try:
                found = read_regular(os.path.join(generation, path))
            except FilesError:
                continue
            if found is not None and hashlib.sha256(found.data).hexdigest() == row["sha256"]:
                yield path, (found.data, row["mode"] == "0400")
