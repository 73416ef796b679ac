# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run carries from one action to the next, as plain data in facts of localhost; private to this collection.

``tls_plan`` is made once, ``tls_seen`` grows with every look, ``tls_state`` holds what gates said, and ``tls_round`` is
the round at hand. An action reads them with :func:`recall` and gives them back as facts.
"""

from __future__ import annotations

import typing as t

from ..module_utils._core._engine import Hold
from ..module_utils._core._entities import Instance
from ..module_utils._core._errors import TlsError
from ..module_utils._core._plan import Ask, Round, Step
from ..module_utils._core._scene import Evidence
from ._fleet import plain

Json = dict[str, t.Any]


def recall(task_vars: t.Mapping[str, t.Any], name: str) -> Json:
    """Return a fact of localhost that an earlier action of this run left.

    Raises:
        TlsError: there is none, because the task runs outside our playbooks.
    """
    found = task_vars["hostvars"]["localhost"].get(name)
    if found is None:
        raise TlsError("%s is not set: this action is a part of connsec.tls.rollout and does not run alone" % name)
    value: Json = plain(found)
    return value


def ask_to_json(ask: Ask) -> Json:
    """Return what was asked for as plain data."""
    return {
        "scope": sorted(ask.scope),
        "until": ask.until,
        "hosts": sorted(ask.hosts) if ask.hosts is not None else None,
        "watch": ask.watch,
        "soak": ask.soak,
    }


def ask_from_json(data: t.Mapping[str, t.Any]) -> Ask:
    """Return what was asked for."""
    return Ask(
        scope=frozenset(data["scope"]),
        until=data["until"],
        hosts=frozenset(data["hosts"]) if data["hosts"] is not None else None,
        watch=data["watch"],
        soak=data["soak"],
    )


def round_to_json(this: Round) -> Json:
    """Return a round as plain data."""
    return {
        "phase": this.phase,
        "together": this.together,
        "interruption": this.interruption,
        "steps": [{**vars(step), "instance": vars(step.instance)} for step in this.steps],
    }


def round_from_json(data: t.Mapping[str, t.Any]) -> Round:
    """Return the round that was written as ``data``."""
    return Round(
        phase=data["phase"],
        together=data["together"],
        interruption=data["interruption"],
        steps=tuple(step_from_json(step) for step in data["steps"]),
    )


def step_from_json(data: t.Mapping[str, t.Any]) -> Step:
    """Return the step that was written as ``data``."""
    return Step(
        **{**data, "instance": Instance(**data["instance"]), "of": tuple(data["of"]), "pairs": tuple(data["pairs"])}
    )


def hold_to_json(hold: Hold) -> Json:
    """Return what held a pair back as plain data."""
    return {"evidence": vars(hold.evidence), "waiting": hold.waiting}


def hold_from_json(data: t.Mapping[str, t.Any]) -> Hold:
    """Return what held a pair back."""
    return Hold(Evidence(**data["evidence"]), bool(data["waiting"]))


class Looks:
    """What a task that looked left in each host's variables, read as one set of observations."""

    def __init__(self, task_vars: t.Mapping[str, t.Any], *, token: str) -> None:
        self._hostvars = task_vars["hostvars"]
        self._token = token

    def gather(self, variable: str, hosts: t.Iterable[str], *, outside: str = "") -> Json:
        """Return the observations of these hosts, merged: ``instances``, ``probes``, ``watch``, ``lost``.

        A host that gave no answer to this very question is lost: a variable may hold the answer to an earlier one.

        Args:
            variable: the variable in which the hosts' results were registered.
            hosts: the hosts that were asked.
            outside: the variable with the results of hosts that were asked by delegation.
        """
        seen: Json = {"instances": {}, "probes": {}, "watch": {}, "lost": {}}
        delegated = self._delegated(outside) if outside else {}
        for host in hosts:
            result = delegated.get(host)
            if result is None:
                result = plain(self._hostvars[host].get(variable) or {})
            take(seen, host, result, token=self._token)
        return seen

    def _delegated(self, variable: str) -> Json:
        rows = plain(self._hostvars["localhost"].get(variable) or {}).get("results") or []
        return {row["tls_outside"]: row for row in rows if "tls_outside" in row}


def take(seen: Json, host: str, result: t.Mapping[str, t.Any], *, token: str) -> None:
    """Put what one host answered into what is seen."""
    observation = result.get("observation") or {}
    if not observation or observation.get("token") != token:
        said = str(result.get("msg") or "it did not answer").strip().splitlines()
        seen["lost"][host] = "%s cannot be looked at: %s" % (host, said[0] if said else "it did not answer")
        return
    watch = observation.get("watch") or {}
    for name, instance in (observation.get("instances") or {}).items():
        seen["instances"][name] = instance
    seen["probes"].update(observation.get("probes") or {})
    ours = set(observation.get("source_ports") or ())
    for name, row in (watch.get("listeners") or {}).items():
        peers = [peer for peer in row.get("peers") or () if peer.get("port") not in ours]
        seen["watch"][name] = {**row, "peers": peers}


def merged(old: t.Mapping[str, t.Any], new: t.Mapping[str, t.Any]) -> Json:
    """Return what is seen with the newer over the older; a host that answers again is no longer lost."""
    answered = {name.rpartition("@")[2] for name in new["instances"]}
    lost = {host: why for host, why in (old.get("lost") or {}).items() if host not in answered}
    return {
        "instances": {**(old.get("instances") or {}), **new["instances"]},
        "probes": {**(old.get("probes") or {}), **new["probes"]},
        "watch": {**(old.get("watch") or {}), **new["watch"]},
        "lost": {**lost, **new["lost"]},
    }
