# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: every pair's stage, evidence and history on the controller; private to this collection.

The fleet is the truth: the ledger only adds what cannot be seen, when something was reached and what was seen then. A
look that finds nothing new writes nothing.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import typing as t

from ..module_utils._core._stages import furthest
from ._folder import Batch, Folder, StoreError

VERSION = 1
_CURRENT = "connections.json"
_HISTORY = "history.jsonl"
_LARGEST = 1 << 28

#: What is recorded, by pair.
Rows = t.Mapping[str, t.Mapping[str, t.Any]]


class Ledger:
    """The ledger in its folder; reading makes nothing."""

    def __init__(self, path: str) -> None:
        self._folder = Folder(path, guarded=True)

    def pairs(self) -> dict[str, dict[str, t.Any]]:
        """Return what is recorded, by pair: ``stage``, ``status``, ``evidence``, ``since``.

        Raises:
            StoreError: the file is not what we wrote.
        """
        data = self._folder.read(_CURRENT, limit=_LARGEST)
        if data is None:
            return {}
        try:
            found = json.loads(data)
            if found["version"] != VERSION:
                raise StoreError(
                    "the ledger %s is of version %r and this release reads version %d; use the release that wrote it"
                    % (self._folder.path, found["version"], VERSION)
                )
            return dict(found["pairs"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                "the ledger file %s/%s is damaged; move it away, and the stages are seen again by looking"
                % (self._folder.path, _CURRENT)
            ) from error

    def record_stages(self, seen: Rows, *, operator: str, now: float, back: bool = False) -> list[str]:
        """Record, in the middle of a run, pairs whose stage moved; their status stays until the run's end."""
        before = self.pairs()
        moved = {name: row for name, row in seen.items() if before.get(name, {}).get("stage") != row["stage"]}
        return self.record(moved, operator=operator, now=now, back=back)

    def record(self, seen: Rows, *, operator: str, now: float, back: bool = False) -> list[str]:
        """Record what was seen of pairs and return the ids of those that are new or moved.

        Args:
            seen: per pair ``stage``, ``status`` and ``evidence``.
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
            pairs = self.pairs()
            at = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="seconds")
            entries = [_entry(name, pairs.get(name), seen[name], at=at, operator=operator) for name in moved]
            self._append(entries)
            pairs.update({name: _row(pairs.get(name), seen[name], at=at, back=back) for name in moved})
            self._publish(pairs)
        return moved

    def _append(self, entries: t.Sequence[dict[str, t.Any]]) -> None:
        """Append entries to the history, each with the digest of the line before it.

        A line that a killed run did not finish is ended first, and stays: nothing is ever taken out of the history.
        """
        had = self._folder.read(_HISTORY, limit=_LARGEST) or b""
        torn = b"\n" if had and not had.endswith(b"\n") else b""
        before = had.rstrip(b"\n").rpartition(b"\n")[2]
        last = hashlib.sha256(before).hexdigest() if before else ""
        lines = []
        for entry in entries:
            line = json.dumps({**entry, "before": last}, sort_keys=True)
            last = hashlib.sha256(line.encode()).hexdigest()
            lines.append(line)
        self._folder.append(_HISTORY, torn + ("\n".join(lines) + "\n").encode())

    def _publish(self, pairs: Rows) -> None:
        batch = Batch()
        text = json.dumps({"version": VERSION, "pairs": pairs}, sort_keys=True, indent=1) + "\n"
        batch.add(self._folder, _CURRENT, text.encode())
        batch.publish()


def _entry(
    name: str, old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any], *, at: str, operator: str
) -> dict[str, t.Any]:
    """Return what the history says of a pair."""
    return {
        "at": at,
        "operator": operator,
        "pair": name,
        "from": (old or {}).get("stage"),
        "to": new["stage"],
        "status": new["status"],
        "evidence": new.get("evidence"),
    }


def _row(old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any], *, at: str, back: bool) -> dict[str, t.Any]:
    """Return what the ledger has of a pair from now on.

    ``since`` tells when it came to its stage; ``highest`` how far it ever got, unless somebody went back.
    """
    since = old["since"] if old and old.get("stage") == new["stage"] else at
    highest = new["stage"] if back or old is None else furthest([str(old.get("highest", "plain")), new["stage"]])
    return {**new, "since": since, "highest": highest}


def _differs(old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any]) -> bool:
    return old is None or _essence(old) != _essence(new)


def _essence(row: t.Mapping[str, t.Any]) -> tuple[t.Any, ...]:
    """Return what is news if it changes: what was seen word for word (ports, sessions) is not."""
    against = [(item["gate"], item["expected"]) for item in row.get("evidence") or () if not item["holds"]]
    return row.get("stage"), row.get("status"), against
