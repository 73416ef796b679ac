# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of what the authorities were about to sign, and signed; private to this collection.

It is a file of JSON lines that only grows. ``intent`` lines are on the disk before the first signature of a batch, one
for each certificate; an ``issued`` line for each follows when the batch is published; ``abandoned`` when a later run
finds that it never was. So every serial number that may ever have been signed can be found, and revoked.
"""

from __future__ import annotations

import functools
import json
import os
import typing as t
from dataclasses import dataclass, field

from ..module_utils._core._material import Revocation
from ._folder import Folder, StoreError

FILE = "journal.jsonl"
LARGEST = 1 << 28
_TORN = "torn"
_REVOKED = ("name", "serial", "issuer", "not_after")


@dataclass(frozen=True)
class Intent:
    """A certificate that is about to be signed."""

    target: str
    authority: str
    serial: str
    spki_sha256: str
    issuer_spki_sha256: str
    names: tuple[str, ...]
    usages: tuple[str, ...]
    days: int
    reason: str


@dataclass(frozen=True)
class Issued:
    """A certificate that was published."""

    serial: str
    sha256: str
    not_after: int


@dataclass(frozen=True)
class JournalState:
    """What the journal says.

    Attributes:
        serials: every serial number that was ever intended.
        open: the intents of which nothing more is known, by serial number.
        issued: the targets of which a certificate was ever published.
        crl_numbers: by authority part, the highest number that was ever given to a list.
        revoked: everything that was ever revoked.
        ends_torn: whether the last line was cut off by a crash.
        lines: how many lines there are.
    """

    serials: frozenset[str] = frozenset()
    open: t.Mapping[str, Intent] = field(default_factory=dict)
    issued: frozenset[str] = frozenset()
    crl_numbers: t.Mapping[str, int] = field(default_factory=dict)
    revoked: tuple[Revocation, ...] = ()
    ends_torn: bool = False
    lines: int = 0


class Journal:
    """The journal in the folder of the authorities."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._path = os.path.join(folder.path, FILE)

    def read(self) -> JournalState:
        """Return what the journal says; a line cut off by a crash was never acted on and counts as not written."""
        return _state_of(self._folder.read(FILE, limit=LARGEST) or b"", self._path)

    def append(self, entries: t.Sequence[t.Mapping[str, t.Any]], *, state: JournalState) -> None:
        """Append entries and return when the disk has them; ``state`` is what was read under the same lock."""
        start = b""
        if state.ends_torn:
            start = b"\n" + _line({"act": _TORN, "line": state.lines + 1})
        self._folder.append(FILE, start + b"".join(_line(entry) for entry in entries))


@functools.lru_cache(maxsize=1)  # a plan reads it more than once
def _state_of(text: bytes, path: str) -> JournalState:
    lines = text.split(b"\n")
    tail = lines.pop()
    parsed = [_parse(line) for line in lines]
    torn = {line["line"] for line in parsed if line and line.get("act") == _TORN}
    reader = _Reader()
    for number, line in enumerate(parsed, start=1):
        if line is None and number not in torn:
            raise StoreError("%s, line %d: not an entry of the journal; restore it from a backup" % (path, number))
        if line is not None:
            try:
                reader.take(line)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise StoreError(
                    "%s, line %d: lacks what its act needs; restore it from a backup" % (path, number)
                ) from error
    return JournalState(
        serials=frozenset(reader.serials),
        open=reader.open,
        issued=frozenset(reader.issued),
        crl_numbers=reader.crl_numbers,
        revoked=tuple(reader.revoked.values()),
        ends_torn=bool(tail),
        lines=len(lines),
    )


def intents(wanted: t.Iterable[Intent], *, batch: str, at: str) -> list[dict[str, t.Any]]:
    """Return the entries that announce certificates."""
    return [{**_head("intent", batch=batch, at=at), **vars(intent)} for intent in wanted]


def issued(certificates: t.Iterable[Issued], *, batch: str, at: str) -> list[dict[str, t.Any]]:
    """Return the entries that close the intents of what was published."""
    return [{**_head("issued", batch=batch, at=at), **vars(certificate)} for certificate in certificates]


def abandoned(serials: t.Iterable[str], *, batch: str, at: str) -> list[dict[str, t.Any]]:
    """Return the entries that close the intents of what never was."""
    return [{**_head("abandoned", batch=batch, at=at), "serial": serial} for serial in serials]


def crl_numbered(part: str, number: int, *, batch: str, at: str) -> dict[str, t.Any]:
    """Return the entry that announces a revocation list."""
    return {**_head("crl", batch=batch, at=at), "of": part, "number": number}


def revocations(certificates: t.Iterable[Revocation], *, batch: str, at: str) -> list[dict[str, t.Any]]:
    """Return the entries that revoke certificates; the lists are made from them."""
    return [
        {
            **_head("revoked", batch=batch, at=at),
            **{name: getattr(each, name) for name in _REVOKED},
            "since": each.at,
        }
        for each in certificates
    ]


def _head(act: str, *, batch: str, at: str) -> dict[str, t.Any]:
    return {"version": 1, "act": act, "at": at, "batch": batch}


class _Reader:
    """Goes through the entries in order."""

    def __init__(self) -> None:
        self.serials: set[str] = set()
        self.open: dict[str, Intent] = {}
        self.issued: set[str] = set()
        self.crl_numbers: dict[str, int] = {}
        self.revoked: dict[str, Revocation] = {}

    def take(self, line: t.Mapping[str, t.Any]) -> None:
        act = line["act"]
        if act == "intent":
            given = {name: line[name] for name in Intent.__dataclass_fields__}
            given.update(names=tuple(given["names"]), usages=tuple(given["usages"]))
            intent = Intent(**given)
            self.serials.add(intent.serial)
            self.open[intent.serial] = intent
        elif act in ("issued", "abandoned"):
            closed = self.open.pop(line["serial"], None)
            if closed and act == "issued":
                self.issued.add(closed.target)
        elif act == "revoked":
            found = Revocation(**{name: line[name] for name in _REVOKED}, at=line["since"])
            self.revoked.setdefault(found.serial, found)
        elif act == "crl":
            self.crl_numbers[line["of"]] = max(self.crl_numbers.get(line["of"], 0), int(line["number"]))


def _parse(line: bytes) -> dict[str, t.Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _line(entry: t.Mapping[str, t.Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n"
