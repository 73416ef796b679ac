# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
r"""What lies on a Windows host, as ``win_material`` shows it; private to this collection.

One folder an instance below ``C:\ProgramData\connsec``, as on other systems::

    generations\000007\{certificate,chain,fullchain,key,trust}.pem ...  stores.json  manifest.json
    current  -> generations\000007        previous -> generations\000006        both are junctions

``stores.json`` names what we put into the machine's certificate stores for this generation. It is written before
anything goes there, so whatever of ours is in a store is named on the disk, however a run ended.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

from ._errors import TlsError
from ._manifest import MANIFEST
from ._sddl import owned_safely

Json = t.Mapping[str, t.Any]

STORES: t.Final = "stores.json"
DIRECTORY: t.Final = "C:\\ProgramData\\connsec"
#: Server 2019, the first that reads PFX files of AES-256 and SHA-256; of Windows 10 it was 1709, which is older.
READS_AES: t.Final = 17763
_NUMBER: t.Final = re.compile(r"[0-9]{6,}")
_DRIVE: t.Final = re.compile(r"[A-Za-z]:\\[^\"<>|?*/]*[^\"<>|?*/\\]")


@dataclass(frozen=True, order=True)
class Entry:
    """A certificate's place in a store of the machine: ``My``, ``CA`` or ``Root``."""

    store: str
    thumbprint: str


@dataclass(frozen=True)
class Generation:
    """One generation of an instance.

    Attributes:
        manifest: what was installed; None where a killed run did not complete it, or where it is damaged.
        ours: what we put into stores for it.
        files: digest and access rules of each file, by its path in the generation.
    """

    manifest: Json | None
    ours: frozenset[Entry]
    files: t.Mapping[str, Json]

    @property
    def named(self) -> frozenset[Entry]:
        """What it needs in stores, whoever put it there."""
        return frozenset(Entry(*row) for row in (self.manifest or {}).get("stores") or ())


@dataclass(frozen=True)
class Instance:
    """The folder of an instance."""

    rights: str
    current: str | None
    previous: str | None
    generations: t.Mapping[str, Generation]

    @property
    def installed(self) -> Generation | None:
        """Its current generation; None if there is none."""
        return self.generations.get(self.current or "")


@dataclass(frozen=True)
class Host:
    """What a look at a host showed.

    Attributes:
        build: the build number of its Windows.
        sids: the SID of each account that was asked for; None for one that the host does not know.
        rights: the access rules of the folder of ours; None where there is none yet.
        instances: by folder.
        stores: by store, the thumbprints in it; of our own with a key, the access rules of the key, else None.
    """

    build: int
    sids: t.Mapping[str, str | None]
    rights: str | None
    instances: t.Mapping[str, Instance]
    stores: t.Mapping[str, t.Mapping[str, str | None]]

    def has(self, entry: Entry) -> bool:
        """Return whether a certificate is in its store; one of ours in ``My`` counts with its key alone."""
        rows = self.stores[entry.store]
        return entry.thumbprint in rows and (entry.store != "My" or rows[entry.thumbprint] is not None)

    @property
    def ours(self) -> frozenset[Entry]:
        """All that we put into stores."""
        found = [each.ours for instance in self.instances.values() for each in instance.generations.values()]
        return frozenset().union(*found)


def windows_directory(given: str, *, default: str) -> str:
    """Return the folder for instances; the default of other systems stands for that of Windows.

    Raises:
        TlsError: it is no path of a folder on a drive.
    """
    path = DIRECTORY if given == default else given.rstrip("\\")
    if not _DRIVE.fullmatch(path) or ".." in path.split("\\"):
        raise TlsError("directory is %r; on Windows it is a folder on a drive such as %s" % (given, DIRECTORY))
    return path


def read_host(state: Json, directory: str) -> Host:
    """Return what a host showed.

    Raises:
        TlsError: the folder of ours is not safe there, or a junction in it leads elsewhere.
    """
    rights = state["rights"]
    if state["link"]:
        raise TlsError("%s is a link; let it be a folder, for keys lie in it" % directory)
    if rights is not None and not owned_safely(rights, state["user"]):
        raise TlsError("%s belongs to an account that is no administrator; remove it, or give it to one" % directory)
    instances = {name: _instance("%s\\%s" % (directory, name), row) for name, row in sorted(state["instances"].items())}
    return Host(int(state["build"]), state["sids"], rights, instances, state["stores"])


def _instance(base: str, row: Json) -> Instance:
    generations = {
        number: _generation(each) for number, each in row["generations"].items() if _NUMBER.fullmatch(number)
    }
    links = [_linked(base, name, row[name]) for name in ("current", "previous")]
    return Instance(row["rights"], links[0], links[1], generations)


def _linked(base: str, name: str, target: str | None) -> str | None:
    if target is None:
        return None
    above, _backslash, number = target.rpartition("\\")
    if above.lower() != (base + "\\generations").lower() or not _NUMBER.fullmatch(number):
        raise TlsError(
            "%s\\%s is no junction to a generation of ours; let it lead to generations\\<number> again" % (base, name)
        )
    return number


def _generation(row: Json) -> Generation:
    files = {name: each for name, each in row["files"].items() if name not in (MANIFEST, STORES)}
    manifest, ours = _parsed(row["manifest"]), _parsed(row["stores"])
    return Generation(
        manifest if isinstance(manifest, dict) else None,
        frozenset(Entry(*each) for each in ours) if isinstance(ours, list) else frozenset(),
        files,
    )


def _parsed(text: str | None) -> t.Any:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
