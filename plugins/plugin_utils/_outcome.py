# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outcome of a run: what was planned minus what is in evidence; private to this collection."""

from __future__ import annotations

import datetime
import typing as t

from ..module_utils._core._category import categorize
from ..module_utils._core._entities import Instance, Pair
from ..module_utils._core._errors import TlsError
from ..module_utils._core._evidence import Evidence, Fault, fails
from ..module_utils._core._few import few
from ..module_utils._core._hold import Hold
from ..module_utils._core._manifest import file_in
from ..module_utils._core._observed import parse_watch
from ..module_utils._core._presenting import not_ready
from ..module_utils._core._removal import Removal
from ..module_utils._core._renewing import unrenewed
from ..module_utils._core._stages import MOVES_TO, rank, reached, steps_of
from ..module_utils._core._strangers import listener_id, strangers
from ..module_utils._core._survey import Survey, View
from ._keeping import LEDGER, Before, told_of
from ._ledger import UNCHECKED, waits_since
from ._relay import Json, Progress, evidence_from_json, evidence_to_json
from ._rounds import Standing
from ._words import lost_words

VERSION: t.Final = 1

#: Status of a pair, and what keeps it from ``done``.
Said = tuple[str, Evidence | None]
Recorded = t.Mapping[str, t.Any]


class Outcome:
    """What a run came to, pair by pair."""

    def __init__(self, standing: Standing, *, now: float, before: Before | None = None) -> None:
        """Take in where the run stands at its end.

        Args:
            standing: where.
            now: seconds since 1970.
            before: what the report before this one saw of the ledger, where there is one.
        """
        self._standing = standing
        self._before = before
        self._scene = standing.scene
        self._goal = str(standing.plan["goal"])
        self._now = now
        self._today = _iso(now)[:10]
        self._recorded = standing.fleet.ledger.pairs()
        self._stuck = Progress.from_json({"notes": standing.plan["stuck"], "down": ()}).notes
        self._store = standing.fleet.view(standing.fleet.instances(), standing.seen["instances"])
        self._issued = self._store.identities

    def report(self, faults: t.Iterable[Json] = ()) -> Json:
        """Return the report of the run (version 1): its pairs, its identities, and what was found.

        A pair's status is ``done``, ``waiting``, ``blocked`` or ``failed``.

        Args:
            faults: findings that are of no pair, see :func:`finding`.
        """
        scene, ask = self._scene, self._standing.ask
        rows = [self._row(view) for view in Survey(scene, ask).views()]
        return {
            "version": VERSION,
            "generated_at": _iso(self._now),
            "run": {
                "goal": self._goal,
                "until": ask.until,
                "takes_back": [MOVES_TO[stage] for stage in ask.back] if self._goal == "rollback" else [],
                "scope": len(ask.scope),
                "operator": self._standing.fleet.operator.who,
                "change": self._standing.fleet.operator.change or None,
                "plan": self._standing.plan.get("digest"),
                "check_mode": scene.check_mode,
                "hosts_lost": dict(scene.lost),
            },
            "connections": rows,
            "identities": self._identities(),
            "ledger": self.head(),
            "findings": [*_findings_of(rows), *self._renewals(rows), *self._findings(), *faults],
        }

    def head(self) -> Json | None:
        """Return how many entries the ledger's history has by now, and the digest of the last one; None for none."""
        head = self._standing.fleet.ledger.head()
        return dict(vars(head)) if head and head.entries else None

    # ---------------------------------------------------------------- pairs

    def _row(self, view: View) -> Json:
        pair, scene = view.pair, self._scene
        recorded = self._recorded.get(pair.id)
        stage, evidence = view.stage, view.evidence
        if self._goal == "report":
            stage, evidence, (status, why) = _recalled(view, recorded)
        else:
            status, why = self._status(view)
        shown = [*evidence] if why is None or why in evidence else [*evidence, why]
        now = {"stage": stage, "status": status, "evidence": [evidence_to_json(item) for item in shown]}
        return {
            "id": pair.id,
            "client": pair.client.name,
            "server": pair.server.name,
            "client_host": pair.client.host,
            "server_host": pair.server.host,
            "component_client": pair.client.component,
            "component_server": pair.server.component,
            "listener": "%s.%s" % (pair.server.component, pair.listener.name),
            "protocol": pair.listener.protocol,
            "mode": pair.mode,
            "transport": pair.listener.transport,
            "wave": pair.wave,
            "category": categorize(scene.model, pair).to_json(),
            **now,
            "todo": (why.todo or None) if why else None,
            "since": (recorded or {}).get("since"),
            "waits_since": waits_since(recorded, now, at=_iso(self._now)),
            "expires": self._expiry(pair),
            "unprotected": _unprotected(pair, today=self._today),
            "dormant": self._dormant(pair),
        }

    def _status(self, view: View) -> Said:
        """Return the pair's status and, where it is not done, the evidence that says why."""
        if view.status == "blocked":
            return "blocked", view.why
        hold = self._standing.progress.notes.get(view.pair.id) or self._stuck.get(view.pair.id)
        if self._goal == "verify":
            return self._verified(view)
        if self._goal == "rollback" and view.pair.id in self._standing.ask.scope:
            return self._gone_back(view, hold)
        if view.status == "done":
            return "done", None
        if view.status == "failed":
            return "failed", hold.evidence if hold and not hold.waiting else view.why
        if self._scene.check_mode and view.status == "due":
            return "waiting", _not_in_check_mode(view)
        if hold is not None:
            return ("waiting" if hold.waiting else "failed"), hold.evidence
        if view.status == "waiting":
            return "waiting", view.why
        last = view.evidence[-1]
        if last.gate == "enforced" and last.fault == "setting" and not self._is_planned("enforce", view.pair):
            return "waiting", _since_then(view)
        return ("waiting" if last.rule.waits else "failed"), last

    def _is_planned(self, stage: str, pair: Pair) -> bool:
        """Return whether the run had a step of this stage for the pair."""
        steps = (step for this in self._standing.rounds for step in this.steps)
        return any(step.stage == stage and pair.id in step.pairs for step in steps)

    def _gone_back(self, view: View, hold: Hold | None) -> Said:
        last = view.evidence[-1]
        if last.fault in ("unreachable", "unseen"):
            return "failed", last
        if hold is not None and not hold.waiting:
            return "failed", hold.evidence
        back = [rank(MOVES_TO[stage]) for stage in steps_of(view.pair) if stage in self._standing.ask.back]
        if not back or rank(view.stage) < min(back):
            return "done", None
        if self._scene.check_mode:
            return "waiting", _not_in_check_mode(view)
        return ("waiting", hold.evidence) if hold else ("failed", _still(view))

    def _verified(self, view: View) -> Said:
        """Return the status in a verification: what was reached before and does not hold any more is drift."""
        last = view.evidence[-1]
        was = reached(self._scene, view.pair)
        if last.fault in ("unreachable", "unseen", "silent"):
            return "failed", last
        if rank(view.stage) < rank(was):
            todo = "run connsec.tls.rollout with -e tls_until=%s to mend it" % was
            return "failed", fails(last.gate, "it stays %s: %s" % (was, last.expected), last.seen, "drift", todo=todo)
        if view.status == "done":
            return "done", None
        return "waiting", view.why or fails(
            last.gate, last.expected, last.seen, "held", todo="run connsec.tls.rollout to go on"
        )

    def _dormant(self, pair: Pair) -> Json | None:
        """Return why the pair may show no session, the drill that is named, and when it was first seen over TLS."""
        connection = pair.connection
        if not connection.dormant:
            return None
        return {
            "why": connection.dormant,
            "drill": connection.drill,
            "exercised": self._scene.exercised.get(pair.id),
        }

    def _expiry(self, pair: Pair) -> str | None:
        """Return when the server's certificate expires: the one that it presents, else the one it is to present."""
        seen = self._scene.tls(pair).not_after
        info = self._issued.get(self._scene.model.identity_in(pair, pair.server))
        found = seen or (info.not_after if info else None)
        return _iso(float(found)) if found else None

    # ---------------------------------------------------------------- identities

    def _identities(self) -> list[Json]:
        """Return every identity that the fleet's instances hold, with where it lies and who answers for it."""
        rows = []
        for instance in self._standing.fleet.instances():
            for name in self._standing.fleet.wishes.presented_by(instance):
                row = self._installed(name, instance) or self._adopted(name, instance)
                rows += [row] if row else []
        return rows

    def _installed(self, name: str, instance: Instance) -> Json | None:
        """Return an identity of an instance as it was issued; None if it was not, or lay there before us."""
        info = None if self._scene.model.adopted(name) else self._issued.get(name)
        if info is None:
            return None
        return {
            **self._place(name, instance),
            "account": self._account(name, instance),
            "issuer": info.issuer,
            "serial": info.serial,
            "names": list(info.names),
            "expires": _iso(float(info.not_after)),
            "installed": self._scene.seen(instance).generation,
        }

    def _adopted(self, name: str, instance: Instance) -> Json | None:
        """Return an identity that was there before us, as its host shows it; None if it shows none."""
        found = self._scene.seen(instance).adopted.get(name)
        if not found:
            return None
        return {
            **self._place(name, instance),
            "account": self._scene.kinds[instance.name].account,
            "issuer": str(found["issuer"]),
            "serial": str(found["serial"]),
            "names": list(found["names"]),
            "expires": _iso(float(found["not_after"])),
            "installed": None,
        }

    def _place(self, name: str, instance: Instance) -> Json:
        """Return where an identity of an instance lies, and who answers for it."""
        return {
            "name": name,
            "host": instance.host,
            "path": self._scene.paths(instance, name)["certificate"],
            "owner": self._scene.model.components[instance.component].owner,
        }

    def _account(self, name: str, instance: Instance) -> str | None:
        """Return the account that an identity's key belongs to: as installed, else as wanted."""
        key = file_in(self._scene.model.identity_folder(instance, name), "key.pem")
        found = self._scene.seen(instance).files.get(key) or {}
        return found.get("owner") or self._scene.kinds[instance.name].account

    # ---------------------------------------------------------------- findings

    def _findings(self) -> list[Json]:
        """Return what was found that is of no pair."""
        found = [*self._strangers(), *self._drift(), *self._overdue(), *self._tampering(), *self._lost()]
        return [*found, *self._removals(), *self._unforgotten(), *self._reserves()]

    def _reserves(self) -> list[Json]:
        """Return each identity that is held in reserve and could not be presented."""
        rows = sorted(not_ready(self._scene).items()) if self._scene.looked and not self._scene.check_mode else ()
        return [finding(name, evidence, status="waiting") for name, evidence in rows]

    def _renewals(self, rows: t.Sequence[Json]) -> list[Json]:
        """Return each certificate that goes on while others have not renewed it; pairs that wait tell of theirs."""
        told = {row["evidence"][-1]["seen"] for row in rows if row["status"] == "waiting" and row["evidence"]}
        fleet = self._standing.fleet
        asked = {each.name for each in fleet.wishes.identities(fleet.instances()) if each.issuer == "requested"}
        waiting = {name: each for name, each in self._store.awaited.items() if name in asked and each.seen not in told}
        return [
            {
                **finding(row.identity, row.evidence, status="waiting"),
                "expires": _iso(float(row.ends)),
                "urgent": row.is_urgent,
            }
            for row in unrenewed(waiting, self._issued, now=self._now)
        ]

    def _strangers(self) -> list[Json]:
        """Return who uses the clear listeners that a verification watched, where somebody but its clients does."""
        scene = self._scene
        watched = {name: parse_watch(row) for name, row in self._standing.seen["watch"].items()}
        listeners = {(pair.server, pair.listener.name) for pair in scene.model.pairs if not pair.blocked}
        found = []
        for server, name in sorted(listeners, key=lambda row: (row[0].name, row[1])):
            listener = listener_id(server, name)
            hold = strangers(scene, server, [name], watched) if listener in watched else None
            if hold is not None and hold.evidence.fault == "stranger":
                found.append(finding(listener, hold.evidence, status="waiting"))
        return found

    def _drift(self) -> list[Json]:
        """Return each file of installed material that is not as it was installed."""
        return [
            finding(name, fails("presented", "files as installed", sentence, "drift"))
            for name, seen in sorted(self._scene.instances.items())
            for sentence in seen.drift.values()
        ]

    def _unforgotten(self) -> list[Json]:
        """Return each snapshot of a step that should have gone away and could not."""
        kept = self._standing.plan.get("kept") or {}
        expected = "what the step kept of its files is not needed any more, and goes away"
        return [finding(name, fails("enforced", expected, why, "failed")) for name, why in sorted(kept.items())]

    def _removals(self) -> list[Json]:
        """Return the instances that should have left their hosts and have not."""
        found = []
        for row in self._standing.plan["removals"]:
            failed, removal = row.get("failed"), Removal(**{k: v for k, v in row.items() if k != "failed"})
            if failed:
                evidence = fails("presented", "%s is removed" % removal.name, failed, "failed")
                found.append(finding(removal.name, evidence))
            elif removal.held or failed is None:
                evidence = removal.evidence if removal.held else _not_removed_yet(removal)
                found.append(finding(removal.name, evidence, status="waiting"))
        return found

    def _overdue(self) -> list[Json]:
        """Return each decision not to protect a connection whose time is over."""
        found = {}
        for pair in self._scene.model.pairs:
            if pair.connection.is_overdue(self._today):
                expected = "a decision not to protect it that is in force"
                seen = "the one of %s ended on %s" % (pair.connection.approver, pair.connection.until)
                evidence = fails("plain", expected, seen, "blocked", todo="decide anew, or take secure: false away")
                found[pair.connection.name] = finding(pair.connection.name, evidence, status="waiting")
        return [*found.values(), *self._overdue_profiles()]

    def _overdue_profiles(self) -> list[Json]:
        """Return each weak profile whose time is over."""
        found = []
        for component in self._scene.model.components.values():
            for listener in component.listeners.values():
                if listener.until and listener.until < _iso(self._now)[:10]:
                    decided = (listener.profile, listener.approver, listener.until)
                    todo = "decide anew, or take its profile away"
                    seen = "profile %s, which %s allowed until %s" % decided
                    evidence = fails("enforced", "no weak profile past its end", seen, "blocked", todo=todo)
                    found.append(finding("%s.%s" % (component.name, listener.name), evidence, status="waiting"))
        return found

    def _lost(self) -> list[Json]:
        """Return that the ledger was empty while hosts show pairs beyond ``plain``, with what that means."""
        pairs, path = self._standing.plan.get("ledger_lost"), self._standing.fleet.paths.ledger
        if not pairs:
            return []
        expected, seen = "it knows the pairs that hosts show", "it was empty, and hosts show %s" % lost_words(pairs)
        todo = "bring %s back from a backup, if there is one, before anything else is run" % path
        return [finding(LEDGER, fails("reach", expected, seen, "held", todo=todo), status="waiting")]

    def _tampering(self) -> list[Json]:
        """Return what is not as it was written in the ledger, or that nobody could tell, where nothing is acted on.

        A run that acts was refused before it began; a report walks the history only for the sake of the seal.
        """
        ledger, goal = self._standing.fleet.ledger, self._goal
        fault = ledger.fault() if goal == "verify" or (goal == "report" and ledger.has_passphrase) else None
        if fault is not None:
            expected = "every entry of its history follows the one before"
            return [finding(LEDGER, fails("reach", expected, fault.seen, "failed", todo=fault.todo))]
        if goal in ("verify", "report") and ledger.is_unchecked:
            unchecked = fails("reach", "its seal holds", UNCHECKED.seen, "held", todo=UNCHECKED.todo)
            return [finding(LEDGER, unchecked, status="waiting"), *self._replaced()]
        return self._replaced()

    def _replaced(self) -> list[Json]:
        """Return that the ledger lacks what a report saw, or hosts were told, of it; a lost one is told of apart."""
        if self._standing.plan.get("ledger_lost"):
            return []
        told = told_of(self._scene)
        heads = [*told, *([self._before.head] if self._before else [])]
        lacking = self._standing.fleet.ledger.lacking(heads)
        if not lacking:
            return []
        if self._before and self._before.head in lacking:
            head, expected = self._before.head, "it has what the report of %s saw of it" % self._before.at
        else:
            head = max(lacking, key=lambda each: each.entries)
            expected = "it has what %s was told of it" % few(told[head])
        todo = "if it was moved away, or brought back from a backup, nothing; else find out who edited %s"
        evidence = fails("reach", expected, lacking[head], "failed", todo=todo % self._standing.fleet.paths.ledger)
        return [finding(LEDGER, evidence, status="failed" if self._goal == "verify" else "waiting")]


def _not_removed_yet(removal: Removal) -> Evidence:
    seen = "its host holds %s, and %s" % (", ".join(removal.parts) or "the rest of it", removal.reason)
    return fails("presented", "%s is removed" % removal.name, seen, "held", todo="run connsec.tls.rollout")


def finding(instance: str, evidence: Evidence, *, status: str = "failed") -> Json:
    """Return a finding that is of no pair; ``instance`` says of what it is."""
    return {
        "pair": None,
        "instance": instance,
        "status": status,
        "gate": evidence.gate,
        "expected": evidence.expected,
        "seen": evidence.seen,
        "todo": evidence.todo or None,
        "since": None,
        "expires": None,
        "urgent": False,
    }


def trouble(of: str, error: TlsError | str, *, expected: str, fault: Fault = "failed") -> Json:
    """Return the finding that something of the run itself went wrong."""
    return finding(of, fails("reach", expected, str(error), fault))


def _findings_of(rows: t.Iterable[Json]) -> list[Json]:
    """Return why each pair is not done; one that somebody decided not to protect is told of apart."""
    found = []
    for row in rows:
        if row["status"] != "done" and row["evidence"] and not row["unprotected"]:
            why = row["evidence"][-1]
            seen = {name: why[name] for name in ("gate", "expected", "seen")}
            told = {"pair": row["id"], "instance": None, "status": row["status"], **seen, "todo": row["todo"]}
            found.append({**told, "since": row["waits_since"], "expires": None, "urgent": False})
    return found


def _recalled(view: View, recorded: Recorded | None) -> tuple[str, tuple[Evidence, ...], Said]:
    """Return stage, evidence and status as the ledger has them."""
    if view.status == "blocked":
        return view.stage, (), ("blocked", view.why)
    if recorded is None:
        never = fails("plain", "a run that looked", "none has looked at it", "held", todo="run connsec.tls.rollout")
        return "plain", (), ("waiting", never)
    evidence = tuple(evidence_from_json(item) for item in recorded["evidence"])
    stage, status = str(recorded["stage"]), str(recorded["status"])
    if status == "moving":
        todo = "run connsec.tls.rollout"
        return stage, evidence, ("waiting", fails(stage, "a run that ended", "the last was cut off", "held", todo=todo))
    against = next((item for item in reversed(evidence) if not item.holds), None)
    return stage, evidence, (status, None if status == "done" else against)


def _not_in_check_mode(view: View) -> Evidence:
    seen = "not observable in check mode: it would be done"
    return fails(view.evidence[-1].gate, "the run itself", seen, "held", todo="run it without --check")


def _since_then(view: View) -> Evidence:
    """Return that what the listener waited for came about while the run was under way."""
    expected = "%s may be closed to plaintext when the run begins" % view.pair.server.name
    return fails("enforced", expected, "only now it may", "held", todo="run connsec.tls.rollout again")


def _still(view: View) -> Evidence:
    """Return that a pair is still on TLS although nothing that hosts keep was left to take back."""
    expected, seen = "its steps are taken back", "it is still %s, and no host keeps what was there before" % view.stage
    return fails(view.stage, expected, seen, "failed", todo="take it back by hand (docs/hosts.md)")


def _unprotected(pair: Pair, *, today: str) -> Json | None:
    """Return the decision not to protect the pair's connection; None if there is none."""
    connection = pair.connection
    if connection.secure:
        return None
    decision: Json = {"reason": connection.reason, "approver": connection.approver, "until": connection.until}
    return {**decision, "overdue": connection.is_overdue(today)}


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
