# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of a Windows host: looked at, decided here, written in one more round trip; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..module_utils._core._change import Change
from ..module_utils._core._environment import (
    WINDOWS_LISTS,
    EnvironmentRefused,
    Wanted,
    holds,
    library_variables,
    wanted_environment,
)
from ..module_utils._core._smf import ServicePlan
from ..module_utils._core._windows_variables import (
    Order,
    Place,
    machine_of,
    orders,
    place_asked,
    plan_variables,
    service_of,
    variables_of_process,
)

Json = dict[str, t.Any]
Asked = t.Mapping[str, t.Any]


class Call(t.Protocol):
    """Calls ``win_variables`` on the host, which is one round trip, and returns its state."""

    def __call__(self, *, services: list[str], orders: list[Order]) -> Asked: ...


@dataclass(frozen=True)
class Outcome:
    """What came of it: what was due, and keys for the action's result."""

    changes: t.Sequence[Change]
    result: Json


def set_variables(rows: t.Sequence[Asked], call: Call, *, check: bool) -> Outcome:
    """Look, decide, write, and tell: one round trip where nothing is due, and one more where something is.

    Args:
        rows: instances as ``tls_environment`` takes them.
        call: calls the module.
        check: whether nothing is to be changed.

    Raises:
        EnvironmentRefused: an instance makes no sense, or two of them want the same variable.
    """
    asked = [_asked(row) for row in rows]
    twice = sorted({each.owner for each, _place in asked if [one.owner for one, _at in asked].count(each.owner) > 1})
    if twice:
        raise EnvironmentRefused("%s is given twice; give an instance once, with all its variables" % twice[0])
    services = sorted({place for _wanted, place in asked if place} | {name for row in rows if (name := _process(row))})
    state = call(services=services, orders=[])
    planned = _planned(asked, state)
    changes = [plan.change for plan, _place in planned if plan.change is not None]
    if changes and not check:
        due = [order for plan, place in planned for order in orders(plan, place)]
        state = call(services=services, orders=due)
    return Outcome(changes, _result(rows, asked, state, changes))


def _asked(row: Asked) -> tuple[Wanted, str]:
    """Return the checked variables of an instance, and the service whose they are; empty for the machine."""
    owner, variables = str(row["name"]), {}
    if (row.get("state") or "present") != "absent":
        found = library_variables(row.get("libraries") or (), row.get("paths") or {}, system="windows")
        variables = {**found, **{str(name): str(value) for name, value in (row.get("variables") or {}).items()}}
    wanted = wanted_environment(owner, str(row.get("target")), variables, system="windows")
    return wanted, place_asked(owner, row)


def _process(row: Asked) -> str | None:
    process = {name: value for name, value in (row.get("process") or {}).items() if value}
    if process and not process.get("service"):
        raise EnvironmentRefused("%s: on Windows a process is found by its service" % row["name"])
    return str(process["service"]) if process else None


def _place(name: str, state: Asked, owner: str) -> Place:
    row = state["services"].get(name)
    if row is None:
        raise EnvironmentRefused("%s: there is no service %s" % (owner, name))
    return service_of(name, row["variables"])


def _planned(asked: t.Sequence[tuple[Wanted, str]], state: Asked) -> list[tuple[ServicePlan, Place]]:
    """Return what is due for each instance, one on what the ones before will have written."""
    machine = machine_of(state["variables"])
    places: dict[str, Place] = {}
    found = []
    for wanted, service in asked:
        place = places.get(service.lower()) or (_place(service, state, wanted.owner) if service else machine)
        plan = plan_variables(wanted, place, machine)
        found.append((plan, place))
        places[service.lower()] = place.after(plan)
    return found


def _result(
    rows: t.Sequence[Asked], asked: t.Sequence[tuple[Wanted, str]], state: Asked, changes: t.Sequence[Change]
) -> Json:
    machine = machine_of(state["variables"])
    paths, running = {}, {}
    for row, (wanted, service) in zip(rows, asked, strict=True):
        place = _place(service, state, wanted.owner) if service else machine
        paths[wanted.owner] = place.path
        name = _process(row)
        if name is not None:
            running[wanted.owner] = _running(name, wanted, state, machine)
    return {
        "changed": bool(changes),
        "reasons": {change.target: change.reason for change in changes},
        "paths": paths,
        "running": running,
    }


def _running(name: str, wanted: Wanted, state: Asked, machine: Place) -> Json:
    """Return the process of a service, and the variables that it was not started with."""
    row = state["services"].get(name)
    if row is None:
        missing = sorted(wanted.variables)
        return {"pids": [], "missing": missing, "unreadable": "there is no service %s" % name}
    pids = [int(row["process"])] if row["process"] else []
    at = next((each["started"] for each in state["processes"] if pids and int(each["id"]) == pids[0]), None)
    had = variables_of_process(
        wanted.variables,
        None if at is None else at / 1000,
        service=service_of(name, row["variables"]),
        machine=machine,
    )
    missing = [
        each
        for each, value in sorted(wanted.variables.items())
        if not holds(each.upper(), found=had[each], wanted=value, lists=WINDOWS_LISTS)
    ]
    return {"pids": pids, "missing": missing if pids else [], "unreadable": None}
