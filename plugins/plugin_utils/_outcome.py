# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outcome of a run: what was planned minus what is in evidence; private to this collection."""

from __future__ import annotations

import datetime
import getpass
import json
import os
import time
import typing as t

from ..module_utils._core._category import categorize
from ..module_utils._core._engine import Hold, strangers
from ..module_utils._core._entities import Pair
from ..module_utils._core._look import listener_id
from ..module_utils._core._plan import View, make_plan
from ..module_utils._core._scene import Evidence, Scene, tls_probe
from ..module_utils._core._stages import examine, rank, stage_of
from ._folder import Batch, Folder
from ._ledger import Ledger
from ._page import render
from ._relay import Json, hold_from_json
from ._rounds import Standing

VERSION: t.Final = 1


def outcome(standing: Standing, *, goal: str, now: float) -> Json:
    """Return the report of a run (version 1): its pairs, its identities, and what was found.

    A pair's status is ``done``, ``waiting``, ``blocked`` or ``failed``; in check mode what would be done counts as
    waiting for the run itself.
    """
    scene = standing.scene
    plan = make_plan(scene, standing.ask)
    recorded = Ledger(standing.fleet.paths.ledger).pairs()
    notes = {name: hold_from_json(row) for name, row in standing.state["notes"].items()}
    rows = [_row(standing, view, notes.get(view.pair.id), recorded.get(view.pair.id), goal=goal) for view in plan.views]
    return {
        "version": VERSION,
        "generated_at": _iso(now),
        "run": {
            "goal": goal,
            "until": standing.ask.until,
            "scope": len(standing.ask.scope),
            "operator": getpass.getuser(),
            "check_mode": scene.check_mode,
            "hosts_lost": dict(scene.lost),
        },
        "connections": rows,
        "identities": _identities(standing),
        "findings": _findings(standing, rows),
    }


def _row(
    standing: Standing, view: View, hold: Hold | None, recorded: t.Mapping[str, t.Any] | None, *, goal: str
) -> Json:
    pair, scene = view.pair, standing.scene
    category = categorize(scene.model, pair)
    status, why = _status(view, hold, recorded, goal=goal, check_mode=scene.check_mode, until=standing.ask.until)
    listener = "%s.%s" % (pair.server.component, pair.listener.name)
    return {
        "id": pair.id,
        "client": pair.client.name,
        "server": pair.server.name,
        "client_host": pair.client.host,
        "server_host": pair.server.host,
        "component_client": pair.client.component,
        "component_server": pair.server.component,
        "listener": listener,
        "protocol": pair.listener.protocol,
        "mode": pair.mode,
        "wave": pair.wave,
        "category": {
            "relation": category.relation,
            "protocol": category.protocol,
            "operating_systems": list(category.operating_systems),
            "implementation": list(category.implementation),
            "reasons": dict(category.reasons),
        },
        "stage": view.stage,
        "status": status,
        "evidence": [_evidence(item) for item in view.evidence]
        + ([_evidence(why)] if why and why not in view.evidence else []),
        "todo": (why.todo or None) if why else None,
        "expires": _expiry(scene, pair),
    }


def _evidence(item: Evidence) -> Json:
    return {
        "gate": item.gate,
        "holds": item.holds,
        "expected": item.expected,
        "seen": item.seen,
        "security": item.security or None,
        "live": item.live,
    }


def _status(
    view: View,
    hold: Hold | None,
    recorded: t.Mapping[str, t.Any] | None,
    *,
    goal: str,
    check_mode: bool,
    until: str,
) -> tuple[str, Evidence | None]:
    """Return the pair's status and, where it is not done, the evidence that says why."""
    if view.status == "blocked":
        return "blocked", Evidence("plain", False, "its behaviour is built, or nobody forbids it", view.waits)
    last = view.evidence[-1]
    if goal == "verify":
        return _verified(view, last, recorded)
    if goal == "rollback":
        return ("done", None) if rank(view.stage) <= rank("presented") else ("failed", hold.evidence if hold else last)
    if view.status == "done":
        return "done", None
    if check_mode:
        return "waiting", Evidence(last.gate, False, "the run itself", "not observable in check mode: it would be done")
    if hold is not None:
        return ("waiting" if hold.waiting else "failed"), hold.evidence
    if view.status == "waiting":
        return "waiting", Evidence("enforced", False, "to go on to %s" % until, view.waits)
    if last.fault in ("leftover", "remembered"):
        return "waiting", last
    return "failed", last


def _verified(view: View, last: Evidence, recorded: t.Mapping[str, t.Any] | None) -> tuple[str, Evidence | None]:
    """Return the status in a verification: what was reached before and does not hold any more is drift."""
    reached = str((recorded or {}).get("stage", view.stage))
    if last.fault in ("unreachable", "unseen", "silent"):
        return "failed", last
    if rank(view.stage) < rank(reached):
        return "failed", Evidence(
            last.gate,
            False,
            "it stays %s: %s" % (reached, last.expected),
            last.seen,
            todo=last.todo or "run connsec.tls.rollout to mend it",
            fault="drift",
        )
    if view.stage == "enforced":
        return "done", None
    return "waiting", Evidence(last.gate, False, last.expected, last.seen, todo="run connsec.tls.rollout to go on")


def _expiry(scene: Scene, pair: Pair) -> str | None:
    seen = scene.probes.get(tls_probe(pair), {}).get("not_after")
    return _iso(float(seen)) if seen else None


def _identities(standing: Standing) -> list[Json]:
    """Return every identity that the fleet's instances hold, with where it lies and who owns it."""
    scene, fleet = standing.scene, standing.fleet
    everyone = fleet.instances()
    issued = fleet.view(everyone).identities
    rows = []
    for instance in everyone:
        wanted = scene.wanted.get(instance.name)
        info = issued.get(wanted.identity) if wanted and wanted.identity else None
        if info is None or wanted is None:
            continue
        rows.append(
            {
                "name": info.name,
                "host": instance.host,
                "path": scene.paths(instance)["certificate"],
                "owner": scene.kinds[instance.name].account,
                "issuer": info.issuer,
                "serial": info.serial,
                "names": list(info.names),
                "expires": _iso(float(info.not_after)),
                "installed": scene.instances.get(instance.name, {}).get("generation"),
            }
        )
    return rows


def _findings(standing: Standing, rows: t.Sequence[Json]) -> list[Json]:
    found = []
    for row in rows:
        if row["status"] in ("failed", "waiting", "blocked") and row["evidence"]:
            why = row["evidence"][-1]
            found.append(
                {
                    "pair": row["id"],
                    "status": row["status"],
                    "gate": why["gate"],
                    "expected": why["expected"],
                    "seen": why["seen"],
                    "todo": row["todo"],
                }
            )
    found += _strangers(standing)
    for name, seen in sorted(standing.scene.instances.items()):
        row = {
            "pair": None,
            "instance": name,
            "status": "failed",
            "gate": "presented",
            "expected": "files as installed",
        }
        found += [
            {**row, "seen": drift, "todo": "run connsec.tls.rollout to mend it"} for drift in seen.get("drift") or ()
        ]
    return found


def _strangers(standing: Standing) -> list[Json]:
    """Return who uses the clear listeners that a verification watched, where somebody but its clients does."""
    scene, watched = standing.scene, standing.seen.get("watch") or {}
    listeners = {(pair.server, pair.listener.name) for pair in scene.model.pairs if not pair.blocked}
    found = []
    for server, name in sorted(listeners, key=lambda row: (row[0].name, row[1])):
        listener = listener_id(server, name)
        hold = strangers(scene, server, [name], watched) if listener in watched else None
        if hold is not None and "no enumerated client" in hold.evidence.seen:
            row = {"gate": "enforced", "expected": hold.evidence.expected, "seen": hold.evidence.seen}
            found.append({"pair": None, "instance": listener, "status": "waiting", **row, "todo": hold.evidence.todo})
    return found


def record(standing: Standing, report: Json) -> None:
    """Write what was reached to the ledger; what nobody could look at stays as it was."""
    if standing.scene.check_mode:
        return
    rows = {}
    for row in report["connections"]:
        pair = standing.scene.model.pair(row["id"])
        if pair.blocked or row["id"] not in standing.plan["observed"] or standing.scene.remembered is not None:
            continue
        evidence = examine(standing.scene, pair)
        if evidence[-1].fault in ("unreachable", "unseen"):
            continue
        if report["run"]["goal"] == "verify":
            continue
        rows[row["id"]] = {
            "stage": stage_of(evidence),
            "status": row["status"],
            "evidence": [vars(item) for item in evidence],
        }
    Ledger(standing.fleet.paths.ledger).record(rows, operator=getpass.getuser(), now=time.time())


def write(report: Json, directory: str) -> None:
    """Write ``report.json`` and ``report.html`` into a folder, both whole or not at all."""
    folder = Folder(os.path.abspath(directory))
    folder.make()
    batch = Batch()
    batch.add(folder, "report.json", (json.dumps(report, indent=1, sort_keys=True) + "\n").encode())
    batch.add(folder, "report.html", render(report).encode())
    batch.publish()


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
