# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run carries from one action to the next, in facts of localhost; private to this collection.

Every action runs in a fork of its own, so nothing stays in memory. ``tls_run`` holds all that a run knows, as JSON
text: Ansible copies and renders a fact at every look at it, which costs nothing for a text and a tenth of a second for
a small fleet. ``tls_plan`` and ``tls_round`` hold what the playbook needs: who does what, each host's part as text.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from ..module_utils._core._entities import Instance, Pair
from ..module_utils._core._errors import TlsError
from ..module_utils._core._evidence import Evidence
from ..module_utils._core._hold import Hold
from ..module_utils._core._observed import clock_off
from ..module_utils._core._scene import clear_probe, front_probe, tls_probe
from ..module_utils._core._steps import Round, Step
from ..module_utils._core._survey import Ask
from ._variables import plain

Json = dict[str, t.Any]
ByHost = t.Mapping[str, t.Any]


#: A host pattern that matches nobody.
NOBODY: t.Final = "tls_none"
#: What the answers of hosts carry where keys are born.
BIRTH: t.Final = "birth"


def recall(task_vars: t.Mapping[str, t.Any]) -> Json:
    """Return what earlier actions of this run left: ``plan``, ``seen``, ``progress`` and ``round``, as far as it got.

    Raises:
        TlsError: there is nothing, because the task runs outside our playbooks.
    """
    found = task_vars["hostvars"]["localhost"].get("tls_run")
    if found is None:
        raise TlsError("tls_run is not set: this action is a part of connsec.tls.rollout and does not run alone")
    value: Json = json.loads(found)
    return value


def told(value: t.Any) -> str:
    """Return a value as facts carry it."""
    return json.dumps(value, separators=(",", ":"))


def with_localhost(hosts: t.Iterable[str]) -> list[str] | str:
    """Return the hosts of a play that has work for them: a play whose hosts are all lost would end the run."""
    found = sorted(hosts)
    return [*found, "localhost"] if found else NOBODY


def parts(by_host: ByHost) -> dict[str, str]:
    """Return what each host is asked for, as facts carry it."""
    return {host: told(value) for host, value in by_host.items()}


# ---------------------------------------------------------------- values as plain data


def ask_to_json(ask: Ask) -> Json:
    """Return what was asked for as plain data."""
    hosts = None if ask.hosts is None else sorted(ask.hosts)
    return {**vars(ask), "scope": sorted(ask.scope), "hosts": hosts, "back": list(ask.back)}


def ask_from_json(data: t.Mapping[str, t.Any]) -> Ask:
    """Return what was asked for."""
    hosts = None if data["hosts"] is None else frozenset(data["hosts"])
    return Ask(**{**data, "scope": frozenset(data["scope"]), "hosts": hosts, "back": tuple(data["back"])})


def step_to_json(step: Step) -> Json:
    """Return a step as plain data."""
    return {**vars(step), "instance": step.instance.name, "of": list(step.of), "pairs": list(step.pairs)}


def step_from_json(data: t.Mapping[str, t.Any]) -> Step:
    """Return the step that was written as ``data``."""
    instance = Instance.parse(data["instance"])
    return Step(**{**data, "instance": instance, "of": tuple(data["of"]), "pairs": tuple(data["pairs"])})


def round_to_json(this: Round) -> Json:
    """Return a round as plain data."""
    return {**vars(this), "steps": [step_to_json(step) for step in this.steps]}


def round_from_json(data: t.Mapping[str, t.Any]) -> Round:
    """Return the round that was written as ``data``."""
    return Round(**{**data, "steps": tuple(step_from_json(step) for step in data["steps"])})


def evidence_to_json(item: Evidence) -> Json:
    """Return evidence as report and ledger have it."""
    return {
        "gate": item.gate,
        "holds": item.holds,
        "expected": item.expected,
        "seen": item.seen,
        "security": item.security or None,
        "live": item.live,
        "todo": item.todo or None,
    }


def evidence_from_json(data: t.Mapping[str, t.Any]) -> Evidence:
    """Return the evidence that report and ledger have."""
    return Evidence(**{**data, "security": data.get("security") or "", "todo": data.get("todo") or ""})


@dataclass(frozen=True)
class Progress:
    """What gates have said so far.

    Attributes:
        notes: per pair, what keeps it back.
        down: instances that are not to be relied on.
    """

    notes: t.Mapping[str, Hold] = field(default_factory=dict)
    down: frozenset[str] = frozenset()

    def noting(
        self, notes: t.Mapping[str, Hold], *, passed: t.Iterable[str] = (), down: t.Iterable[str] = ()
    ) -> Progress:
        """Return it with more pairs kept back, and those that passed a gate no longer.

        The first reason stays: what held a pair back in a later round follows from it.
        """
        kept = {name: hold for name, hold in self.notes.items() if name not in set(passed)}
        return Progress({**notes, **kept}, self.down | set(down))

    def to_json(self) -> Json:
        """Return it as plain data."""
        notes = {name: {**vars(hold), "evidence": vars(hold.evidence)} for name, hold in self.notes.items()}
        return {"notes": notes, "down": sorted(self.down)}

    @staticmethod
    def from_json(data: t.Mapping[str, t.Any]) -> Progress:
        """Return what was written as ``data``."""
        notes = {
            name: Hold(**{**hold, "evidence": Evidence(**hold["evidence"])}) for name, hold in data["notes"].items()
        }
        return Progress(notes, frozenset(data["down"]))


@dataclass(frozen=True)
class OpenRound:
    """A round under way; each mapping holds what a host is asked for, by host.

    Attributes:
        number: from 0; that of the last one and one more if the run has no further round.
        started: the steps that were let go.
        steps: the steps of hosts that do theirs at once.
        edits: the steps of hosts where kinds edit in between.
        stepping: what hosts look at in the round trip of their steps.
        look: what hosts look at afterwards.
        watch: what hosts watch before anything of the round may start.
        reverse: the steps to take back.
        again: what hosts look at when that is done.
        watched: listeners that the look has watched for the next round, as observed.
        kept: pairs that the gates of the judged round kept back.
    """

    number: int
    started: tuple[Step, ...] = ()
    steps: ByHost = field(default_factory=dict)
    edits: ByHost = field(default_factory=dict)
    stepping: ByHost = field(default_factory=dict)
    look: ByHost = field(default_factory=dict)
    watch: ByHost = field(default_factory=dict)
    reverse: ByHost = field(default_factory=dict)
    again: ByHost = field(default_factory=dict)
    watched: t.Mapping[str, t.Any] = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    @property
    def token(self) -> str:
        """What answers to this round's questions carry."""
        return "round-%d" % self.number

    def to_json(self) -> Json:
        """Return it as plain data."""
        return {**vars(self), "started": [step_to_json(step) for step in self.started]}

    @staticmethod
    def from_json(data: t.Mapping[str, t.Any]) -> OpenRound:
        """Return the round that was written as ``data``."""
        started = tuple(step_from_json(step) for step in data["started"])
        return OpenRound(**{**data, "started": started, "kept": tuple(data["kept"])})

    def shown(self, allowed: t.Container[str] | None) -> Json:
        """Return what the playbook needs of it.

        Args:
            allowed: the hosts that ``--limit`` leaves; None if there is no limit.
        """
        outside = {host for host in (*self.look, *self.again) if allowed is not None and host not in allowed}
        inside = {host: request for host, request in self.look.items() if host not in outside}
        return {
            "steps": parts(self.steps),
            "edits": parts(self.edits),
            "stepping": parts(self.stepping),
            "look": parts(inside),
            "look_outside": parts({host: self.look[host] for host in sorted(outside) if host in self.look}),
            "watch": parts(self.watch),
            "reverse": parts(self.reverse),
            "again": parts({host: request for host, request in self.again.items() if host not in outside}),
            "slots": max((len(rows) for rows in self.edits.values()), default=0),
            "takes_back_or_watches": bool(self.reverse or self.watch),
            "watch_hosts": with_localhost(self.watch),
        }


# ---------------------------------------------------------------- what hosts answered


class Looks:
    """What tasks left in hosts' variables; each host's are read once, for that costs milliseconds."""

    def __init__(self, task_vars: t.Mapping[str, t.Any]) -> None:
        self._hostvars = task_vars["hostvars"]
        self._read: dict[str, t.Mapping[str, t.Any]] = {}

    def of(self, host: str, variable: str) -> Json:
        """Return what a task registered for a host; nothing if it did not run there."""
        if host not in self._read:
            self._read[host] = self._hostvars[host]
        found: Json = plain(self._read[host].get(variable) or {})
        return found

    def gather(self, variable: str, hosts: t.Iterable[str], *, token: str, outside: str = "") -> Json:
        """Return the observations of these hosts, merged: ``instances``, ``probes``, ``watch``, ``hosts``, ``lost``.

        A host that gave no answer to this very question is lost: a variable may hold the answer to an earlier one.

        Args:
            variable: the variable in which the hosts' results were registered.
            hosts: the hosts that were asked.
            token: what the question carried, and its answer has to.
            outside: the variable with the results of hosts that were asked by delegation.
        """
        seen = nothing_seen()
        rows = self.of("localhost", outside).get("results") or [] if outside else []
        delegated = {row["tls_outside"]: row for row in rows if "tls_outside" in row}
        ports: set[int] = set()
        for host in hosts:
            result = delegated.get(host) or self.of(host, variable)
            observation = result.get("observation") or {}
            if observation.get("token") == token:
                _take(seen, host, observation, result.get("asked_between"))
                ports.update(observation.get("source_ports") or ())
            else:
                seen["lost"][host] = why_lost(result)
        # Probes of one host may meet a watch on another. Their ports are outside of what others are given.
        for row in seen["watch"].values():
            row["peers"] = [peer for peer in row.get("peers") or () if peer.get("port") not in ports]
        return seen


def nothing_seen() -> Json:
    """Return what is seen before anybody looks."""
    return {"instances": {}, "probes": {}, "watch": {}, "hosts": {}, "leftovers": {}, "lost": {}}


def _take(seen: Json, host: str, observation: Json, asked: t.Sequence[float] | None) -> None:
    """Put what one host answered into what is seen; ``asked`` is the time before and after, where somebody noted it."""
    seen["instances"].update(observation.get("instances") or {})
    seen["probes"].update(observation.get("probes") or {})
    seen["watch"].update((observation.get("watch") or {}).get("listeners") or {})
    if "leftovers" in observation:
        seen["leftovers"][host] = observation["leftovers"]
    seen["hosts"][host] = {name: observation.get(name) or [] for name in ("addresses", "probe_ports")}
    if "soak" in observation:
        seen["hosts"][host]["soak"] = observation["soak"]
    if asked and "clock" in observation:
        seen["hosts"][host]["clock_off"] = clock_off(float(observation["clock"]), *asked)


def observation_of(pair: Pair, seen: t.Mapping[str, t.Any]) -> Json:
    """Return what hosts showed of a pair, as they told it: what stands behind its evidence.

    Options are left out, for who reads a ledger need not know what hosts' files hold.
    """
    probes, instances = seen["probes"], seen["instances"]
    shown = {role: instances.get(end.name) or {} for role, end in (("client", pair.client), ("server", pair.server))}
    return {
        "tls": probes.get(tls_probe(pair)),
        "clear": probes.get(clear_probe(pair)),
        **({"front": probes.get(front_probe(pair))} if pair.fronted else {}),
        **{role: {field: row[field] for field in _TOLD if field in row} for role, row in shown.items()},
    }


#: What is kept of an instance beside its sockets and files.
_TOLD: t.Final = ("generation", "loaded", "drift", "pending", "unreadable")


def why_lost(result: t.Mapping[str, t.Any]) -> str:
    """Return in a line why a host gave no answer."""
    lines = str(result.get("msg") or "").strip().splitlines()
    said = lines[0] if lines else "it did not answer"
    return "it is unreachable: %s" % said if result.get("unreachable") else said


def merged(old: t.Mapping[str, t.Any], new: t.Mapping[str, t.Any]) -> Json:
    """Return what is seen with the newer over the older; a host that answers again is no longer lost."""
    lost = {host: why for host, why in old["lost"].items() if host not in new["hosts"]}
    return {
        **{name: {**old[name], **new[name]} for name in ("instances", "probes", "watch", "leftovers")},
        "hosts": {
            **old["hosts"],
            **{host: {**old["hosts"].get(host, {}), **row} for host, row in new["hosts"].items()},
        },
        "lost": {**lost, **new["lost"]},
    }
