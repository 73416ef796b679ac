# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: every pair's stage, evidence and history on the controller; private to this collection.

The fleet is the truth: the ledger only adds what cannot be seen, when something was reached and what was seen then. A
look that finds nothing new writes nothing.
"""

from __future__ import annotations

import datetime
import json
import typing as t

from ..module_utils._core import _chain
from ..module_utils._core._chain import Chain, Entry, Head
from ..module_utils._core._stages import furthest
from ._folder import Batch, Folder, StoreError
from ._history import History
from ._operator import Operator

VERSION = 2
_CURRENT = "connections.json"
_LARGEST = 1 << 28

#: What is recorded, by pair.
Rows = t.Mapping[str, t.Mapping[str, t.Any]]


class Ledger:
    """The ledger in its folder; reading makes nothing.

    ``connections.json`` says where every pair stands, ``history.jsonl`` how it got there. The former also holds the
    head of the latter's chain. One of version 1 is read as it is, and taken over when something new is recorded.
    """

    def __init__(self, path: str) -> None:
        self._folder = Folder(path, guarded=True)
        self._history = History(self._folder)

    def pairs(self) -> dict[str, dict[str, t.Any]]:
        """Return what is recorded, by pair: ``stage``, ``status``, ``evidence``, ``since``.

        Raises:
            StoreError: the file is not what we wrote.
        """
        return self._read()[0]

    def _read(self) -> tuple[dict[str, dict[str, t.Any]], Head | None]:
        """Return the pairs, and the head of the history's chain where the file has one."""
        data = self._folder.read(_CURRENT, limit=_LARGEST)
        if data is None:
            return {}, None
        try:
            found = json.loads(data)
            if found["version"] not in (1, VERSION):
                raise StoreError(
                    "the ledger %s is of version %r and this release reads versions 1 to %d; use the release that"
                    " wrote it" % (self._folder.path, found["version"], VERSION)
                )
            head = Head(**found["history"]) if found["version"] > 1 else None
            return dict(found["pairs"]), head
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                "the ledger file %s/%s is damaged; move it away, and the stages are seen again by looking"
                % (self._folder.path, _CURRENT)
            ) from error

    def begin(self, run: Entry, *, operator: Operator, now: float) -> None:
        """Record that a run begins to change hosts, before it does: its goal and the digest of its plan."""
        self._folder.make()
        with self._folder.locked():
            pairs, head = self._read()
            begun = [{"event": _chain.BEGUN, **run}]
            self._history.append(begun, at=_iso(now), by=_by(operator), old=bool(pairs) and head is None)

    def has_begun(self, plan: str) -> bool:
        """Return whether a run began to carry out the plan of this digest."""
        return any(each.get("event") == _chain.BEGUN and each.get("plan") == plan for each in self._history.entries())

    def record_stages(self, seen: Rows, *, operator: Operator, now: float, back: bool = False) -> list[str]:
        """Record, in the middle of a run, pairs whose stage moved; their status stays until the run's end."""
        before = self.pairs()
        moved = {name: row for name, row in seen.items() if before.get(name, {}).get("stage") != row["stage"]}
        return self.record(moved, operator=operator, now=now, back=back)

    def record(self, seen: Rows, *, operator: Operator, now: float, back: bool = False) -> list[str]:
        """Record what was seen of pairs and return the ids of those that are new or moved.

        Args:
            seen: per pair ``stage``, ``status``, ``evidence``, ``exercised`` of dormant ones seen over TLS, and
                ``observation``, which the history alone keeps.
            operator: who ran it.
            now: seconds since 1970.
            back: whether somebody asked for going back, so that what was reached before is no longer to be held.
        """
        before = self.pairs()
        moved = [name for name in sorted(seen) if _differs(before.get(name), seen[name])]
        if not moved:
            return []
        self._folder.make()
        with self._folder.locked():
            pairs, head = self._read()
            at, old = _iso(now), bool(pairs) and head is None
            entries = [_entry(name, pairs.get(name), seen[name]) for name in moved]
            head = self._history.append(entries, at=at, by=_by(operator), old=old)
            pairs.update({name: _row(pairs.get(name), seen[name], at=at, back=back) for name in moved})
            self._publish(pairs, head)
        return moved

    def _publish(self, pairs: Rows, head: Head) -> None:
        batch = Batch()
        found = {"version": VERSION, "pairs": pairs, "history": vars(head)}
        batch.add(self._folder, _CURRENT, (json.dumps(found, sort_keys=True, indent=1) + "\n").encode())
        batch.publish()

    def head(self) -> Head | None:
        """Return where the history's chain ended when a pair was recorded last; None where nothing is counted yet."""
        return self._read()[1]

    def fault(self) -> str:
        """Return what is wrong with the first entry of the history that is not as it was written; empty if all are."""
        pairs, head = self._read()
        stages: dict[str, t.Any] = {}
        chain = Chain(head)
        for line in self._history.lines():
            entry = chain.add(line) or {}
            if entry.get("event") == _chain.TAKEN_OVER:  # pairs of version 1 may have nothing that tells of them
                stages = {name: row.get("stage") for name, row in pairs.items()} | stages
            if "pair" in entry and (head is None or chain.head.entries <= head.entries):
                stages[entry["pair"]] = entry.get("to")  # what a killed run wrote last is not in the pairs yet
        if stages and not pairs:
            return "%s is not there, and the history has entries" % _CURRENT
        return chain.end() or (_contradiction(pairs, stages) if head else "")


def _contradiction(pairs: Rows, stages: t.Mapping[str, t.Any]) -> str:
    """Return the first pair of which the history says something else."""
    for name, row in sorted(pairs.items()):
        if stages.get(name) != row.get("stage"):
            said = stages.get(name) or "nothing"
            return "%s says %s of %s, and the history says %s" % (_CURRENT, row.get("stage"), name, said)
    return ""


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _by(operator: Operator) -> Entry:
    return {"operator": operator.to_json(), "change": operator.change or None}


def moment_of(text: str) -> float:
    """Return a moment of the ledger in seconds since 1970.

    What cannot be read is at the end of time, so that nothing is old by it.
    """
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return float("inf")


def _entry(name: str, old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any]) -> Entry:
    """Return what the history says of a pair."""
    return {
        "event": _chain.MOVED,
        "pair": name,
        "from": (old or {}).get("stage"),
        "to": new["stage"],
        "status": new["status"],
        "evidence": new.get("evidence"),
        "observation": new.get("observation"),
    }


def _row(old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any], *, at: str, back: bool) -> dict[str, t.Any]:
    """Return what the ledger has of a pair from now on.

    ``since`` tells when it came to its stage; ``highest`` how far it ever got, and ``exercised`` when a dormant one was
    first seen over TLS, unless somebody went back.
    """
    since = old["since"] if old and old.get("stage") == new["stage"] else at
    highest = new["stage"] if back or old is None else furthest([str(old.get("highest", "plain")), new["stage"]])
    exercised = None if back else (old or {}).get("exercised") or (at if new.get("exercised") else None)
    kept = {field: value for field, value in new.items() if field not in ("observation", "exercised")}
    row = {**kept, "since": since, "highest": highest, **({"exercised": exercised} if exercised else {})}
    return {**row, "waits_since": waits_since(old, new, at=at)}


def waits_since(old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any], *, at: str) -> str | None:
    """Return since when a pair waits for what it waits for now; None if it does not wait."""
    if new["status"] != "waiting":
        return None
    same = old is not None and _essence(old) == _essence(new)
    return (old or {}).get("waits_since") or at if same else at


def _differs(old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any]) -> bool:
    return old is None or _essence(old) != _essence(new) or bool(new.get("exercised") and not old.get("exercised"))


def _essence(row: t.Mapping[str, t.Any]) -> tuple[t.Any, ...]:
    """Return what is news if it changes: what was seen word for word (ports, sessions) is not."""
    against = [(item["gate"], item["expected"]) for item in row.get("evidence") or () if not item["holds"]]
    return row.get("stage"), row.get("status"), against
