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

from ..module_utils._host._fault import point
from ._folder import Batch, Folder, StoreError

VERSION = 1
_CURRENT = "connections.json"
_HISTORY = "history.jsonl"
_LARGEST = 1 << 28


class Ledger:
    """The ledger in its folder; reading makes nothing."""

    def __init__(self, path: str) -> None:
        self._folder = Folder(path)

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

    def record_stages(self, seen: t.Mapping[str, t.Mapping[str, t.Any]], *, operator: str, now: float) -> list[str]:
        """Record, in the middle of a run, pairs whose stage moved; their status stays until the run's end."""
        before = self.pairs()
        moved = {name: row for name, row in seen.items() if before.get(name, {}).get("stage") != row["stage"]}
        return self.record(moved, operator=operator, now=now)

    def record(self, seen: t.Mapping[str, t.Mapping[str, t.Any]], *, operator: str, now: float) -> list[str]:
        """Record what was seen of pairs and return the ids of those that are new or moved.

        Args:
            seen: per pair ``stage``, ``status`` and ``evidence``.
            operator: who ran it.
            now: seconds since 1970.
        """
        before = self.pairs()
        moved = [name for name in sorted(seen) if _differs(before.get(name), seen[name])]
        if not moved:
            return []
        self._folder.make()
        with self._folder.locked():
            pairs = self.pairs()
            at = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="seconds")
            last = self._last_digest()
            lines = []
            for name in moved:
                entry = {
                    "at": at,
                    "operator": operator,
                    "pair": name,
                    "from": pairs.get(name, {}).get("stage"),
                    "to": seen[name]["stage"],
                    "evidence": seen[name].get("evidence"),
                    "before": last,
                }
                line = json.dumps(entry, sort_keys=True)
                last = hashlib.sha256(line.encode()).hexdigest()
                lines.append(line)
                pairs[name] = {**seen[name], "since": at}
            point("ledger.history.before")
            self._folder.append(_HISTORY, ("\n".join(lines) + "\n").encode())
            point("ledger.current.before")
            batch = Batch()
            batch.add(
                self._folder,
                _CURRENT,
                (json.dumps({"version": VERSION, "pairs": pairs}, sort_keys=True, indent=1) + "\n").encode(),
            )
            batch.publish()
            point("ledger.current.after")
        return moved

    def _last_digest(self) -> str:
        data = (self._folder.read(_HISTORY, limit=_LARGEST) or b"").rstrip(b"\n")
        line = data.rpartition(b"\n")[2]
        return hashlib.sha256(line).hexdigest() if line else ""


def _differs(old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any]) -> bool:
    return old is None or old.get("stage") != new.get("stage") or old.get("status") != new.get("status")
