# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that were born on this host and are still there; private to this collection.

Finding them is apart from making them (`_births.py`): every look carries what finds.
"""

from __future__ import annotations

import hashlib
import os
import typing as t

from .._core._manifest import file_in, identities_in
from ._installed import Json, manifest_of, read_json
from ._reading import FilesError, read_regular

#: The files of a key.
KEY: t.Final = "key.pem"
COMBINED: t.Final = "combined.pem"
KEYSTORE: t.Final = "keystore.p12"
PASSWORD: t.Final = "keystore.password"
#: What a key's record is called, and the folder of one that waits for its certificate begins with.
RECORD: t.Final = "key.json"
_WAITING: t.Final = "pending-key-"


def waiting_in(base: str, identity: str) -> str:
    """Return where the key of an identity waits for its certificate, in an instance's folder."""
    return os.path.join(base, _WAITING + identity)


def record_of(folder: str) -> tuple[Json, str]:
    """Return what is recorded of the key in a folder, and what is wrong with its files; empty if nothing is."""
    try:
        record = read_json(os.path.join(folder, RECORD)) or {}
        return record, spoilt(folder, record.get("files") or {KEY: ""})
    except FilesError as error:
        return {}, str(error)


def held_keys(base: str) -> list[str]:
    """Return the digests of the public halves of all keys of an instance that were born here and are still there."""
    try:
        waiting = [os.path.join(base, name) for name in os.listdir(base) if name.startswith(_WAITING)]
    except OSError:
        waiting = []
    records = (record_of(folder) for folder in waiting)
    found = {str(record.get("spki_sha256") or "") for record, why in records if not why}
    return sorted(found | {digest for digest, _folder in kept(base)})


def kept(base: str) -> t.Iterator[tuple[str, str]]:
    """Yield (digest, folder) of each identity of a generation whose key was born here, the newest generation first."""
    try:
        numbers = sorted(os.listdir(os.path.join(base, "generations")), reverse=True)
    except OSError:
        return
    for number in numbers:
        manifest = manifest_of(base, number) or {}
        files = manifest.get("files") or {}
        for place, row in sorted(identities_in(manifest.get("inputs") or {}).items()):
            folder = os.path.join(base, "generations", number, place)
            # a keystore counts where there is nothing else, for it is made anew of the key
            there = [name for name in (KEY, KEYSTORE) if file_in(place, name) in files][:1]
            only = {name: str(files[file_in(place, name)]["sha256"]) for name in there}
            if row.get("key") and only and not spoilt(folder, only):
                yield str(row["key"]), folder


def spoilt(folder: str, files: t.Mapping[str, str]) -> str:
    """Return what is wrong with the files of a key; empty if nothing is."""
    for name, digest in sorted(files.items()):
        try:
            found = read_regular(os.path.join(folder, name))
        except FilesError as error:
            return str(error)
        if found is None:
            return "%s is missing" % name
        if hashlib.sha256(found.data).hexdigest() != digest:
            return "%s is not the one that was made" % name
    return ""
