# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a run: the ledger's entries, and the report's files; private to this collection."""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import dataclass

from ..module_utils._core._chain import Head
from ..module_utils._core._dormant import must_be_seen
from ..module_utils._core._scene import Scene
from ..module_utils._core._stages import examine
from ._fleet import ends_of
from ._folder import Batch, Folder, StoreError
from ._page import render
from ._relay import Json, observation_of
from ._rounds import Standing

_LARGEST: t.Final = 1 << 28
#: What findings of the ledger are of.
LEDGER: t.Final = "the ledger"


@dataclass(frozen=True)
class Before:
    """What an earlier report saw of the ledger: when, and where its history ended."""

    at: str
    head: Head


def read_before(directory: str) -> Before | None:
    """Return what the report that lies in a folder saw of the ledger; None if there is none that says so."""
    try:
        found = json.loads(Folder(os.path.abspath(directory)).read("report.json", limit=_LARGEST) or b"")
        return Before(str(found["generated_at"]), Head(int(found["ledger"]["entries"]), str(found["ledger"]["last"])))
    except (StoreError, ValueError, KeyError, TypeError, RecursionError):
        return None


def record(standing: Standing, report: Json, *, now: float) -> None:
    """Write what was reached to the ledger; what nobody could look at stays as it was.

    Raises:
        StoreError: the ledger cannot be written.
    """
    scene = standing.scene
    if scene.check_mode or not scene.looked:
        return
    rows: dict[bool, dict[str, Json]] = {True: {}, False: {}}
    for row in report["connections"]:
        pair = scene.model.pair(row["id"])
        if pair.blocked or pair.id not in standing.plan["observed"]:
            continue
        if examine(scene, pair)[-1].fault in ("unreachable", "unseen"):
            continue
        back = standing.plan["goal"] == "rollback" and pair.id in standing.ask.scope
        kept = {name: row[name] for name in ("stage", "status", "evidence")}
        rows[back][pair.id] = {**kept, "observation": observation_of(pair, standing.seen)}
        if must_be_seen(scene, pair) and not back:
            seen_over_tls = any(item["gate"] == "switched" and item["live"] for item in row["evidence"])
            rows[back][pair.id]["exercised"] = seen_over_tls
    ledger = standing.fleet.ledger
    gone = {row["name"] for row in standing.plan["removals"] if row.get("failed") == "" and not row["held"]}
    named = {pair.id for pair in scene.model.pairs}
    left = [name for name in standing.fleet.remembered if gone & set(ends_of(name)) and name not in named]
    rows[True].update({name: {"stage": "plain", "status": "removed", "evidence": []} for name in left})
    for back, found in rows.items():
        ledger.record(found, operator=standing.fleet.operator, now=now, back=back)
    said = any(row["instance"] == LEDGER for row in report["findings"])
    lacking = ledger.lacking(told_of(scene)) if said else {}
    if lacking:
        ledger.miss(lacking, operator=standing.fleet.operator, now=now)


def told_of(scene: Scene) -> dict[Head, list[str]]:
    """Return what hosts were told of the ledger by our steps, each with the instances that they were about."""
    found: dict[Head, list[str]] = {}
    for name, seen in sorted(scene.instances.items()):
        if seen.told is not None:
            found.setdefault(seen.told, []).append(name)
    return found


def write(report: Json, directory: str) -> None:
    """Write ``report.json`` and ``report.html`` into a folder, both whole or not at all.

    Raises:
        StoreError: the folder cannot be written.
    """
    folder = Folder(os.path.abspath(directory))
    folder.make()
    with folder.locked():  # which also takes away what a run left that was killed in here
        batch = Batch()
        batch.add(folder, "report.json", (json.dumps(report, indent=1, sort_keys=True) + "\n").encode())
        batch.add(folder, "report.html", render(report).encode())
        batch.publish()
