# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
r"""Variables in the registry of a Windows host, for all of it or for one service; private to this collection.

As with Solaris' SMF there are no lines between marks, so what is ours is noted beside it, in keys below
``HKLM\SOFTWARE\connsec\environment``: for each variable its instance, our part of its value, and what it was before.
Names of variables have no case there, and stand in capitals here.

Windows shows nobody what another process was started with. So a process counts as having a variable if it was started
after we last wrote there; where nothing is noted, as having none.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

from ._change import Change
from ._environment import WINDOWS_LISTS, EnvironmentRefused, Wanted, merged
from ._smf import Note, ServicePlan, plan_service

Json = t.Mapping[str, t.Any]
Order = t.Dict[str, t.Any]

_MACHINE: t.Final = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Environment"
_SERVICES: t.Final = "HKLM\\SYSTEM\\CurrentControlSet\\Services"
_SERVICE: t.Final = re.compile(r"[^\\/\x00-\x1f]{1,256}")


@dataclass(frozen=True)
class Place:
    """What gives variables to processes: the machine, or a service.

    Attributes:
        service: its name; empty for the machine.
        found: values by name, as they stand there.
        given: the same as processes get them.
        notes: what is noted of ours, by name.
        lines: the lines of a service's own variables.
        changed: when we last wrote there, by the host's clock in seconds since 1970; None if nothing is noted.
    """

    service: str
    found: t.Mapping[str, str]
    given: t.Mapping[str, str]
    notes: t.Mapping[str, Note]
    lines: tuple[str, ...] = ()
    changed: float | None = None

    @property
    def path(self) -> str:
        """Where it lies in the registry."""
        return "%s\\%s\\Environment" % (_SERVICES, self.service) if self.service else _MACHINE

    def after(self, plan: ServicePlan) -> Place:
        """Return what is there once a plan was carried out, for whoever shares the place."""
        told = {each.name: each.value for each in plan.tells}
        notes = {**self.notes, **{each.name: each.note for each in plan.tells}}
        found = {**self.found, **told}
        return replace(
            self,
            found={name: value for name, value in found.items() if value is not None},
            notes={name: note for name, note in notes.items() if note is not None},
            lines=tuple(_lines(self, told)),
        )


def machine_of(row: Json) -> Place:
    """Return what the machine gives to processes, as the host showed it."""
    rows = {str(name).upper(): each for name, each in row["rows"].items()}
    found = {name: str(each["value"]) for name, each in rows.items()}
    given = {name: str(each["expanded"]) for name, each in rows.items()}
    return Place("", found, given, _notes(row["notes"]), (), _changed(row["notes"]))


def service_of(name: str, row: Json) -> Place:
    """Return what a service gives to its process besides, as the host showed it."""
    lines = tuple(str(line) for line in row["lines"])
    found = {variable.upper(): value for variable, _equals, value in (line.partition("=") for line in lines)}
    return Place(name, found, found, _notes(row["notes"]), lines, _changed(row["notes"]))


def _notes(row: Json) -> dict[str, Note]:
    return {str(name).upper(): tuple(map(str, note)) for name, note in row["rows"].items() if len(note) > 1}


def _changed(row: Json) -> float | None:
    return None if row["changed"] is None else int(row["changed"]) / 1000


def place_asked(owner: str, spec: Json) -> str:
    """Return the service whose variables are meant; empty for the machine's.

    Raises:
        EnvironmentRefused: there can be no such service.
    """
    if spec.get("path"):
        raise EnvironmentRefused("%s: variables lie in the registry on Windows; leave path out" % owner)
    if spec.get("target") != "service":
        return ""
    unit = str(spec.get("unit") or "")
    if not _SERVICE.fullmatch(unit):
        raise EnvironmentRefused("%s: unit is %r; for target service it is the name of a service" % (owner, unit))
    return unit


def plan_variables(wanted: Wanted, place: Place, machine: Place) -> ServicePlan:
    """Return what has to be written there, and why.

    A variable of a service takes the place of the machine's. So a list of it begins with ours, and goes on with the
    machine's, where the service has none of its own yet.

    Raises:
        EnvironmentRefused: a name is given twice, or another instance has the variable there.
    """
    ours: dict[str, str] = {}
    for name, value in wanted.variables.items():
        if name.upper() in ours:
            raise EnvironmentRefused("%s: %s is given twice, for names have no case on Windows" % (wanted.owner, name))
        ours[name.upper()] = _with_inherited(name.upper(), value, place, machine)
    return plan_service(
        replace(wanted, variables=ours), found=place.found, notes=place.notes, lists=WINDOWS_LISTS, quotes=False
    )


def _with_inherited(name: str, value: str, place: Place, machine: Place) -> str:
    note = place.notes.get(name)
    own = place.found.get(name) is not None if note is None else len(note) > 2
    if not place.service or own or name not in WINDOWS_LISTS:
        return value
    return merged(name, ours=value, theirs=machine.given.get(name), lists=WINDOWS_LISTS)


def orders(plan: ServicePlan, place: Place) -> list[Order]:
    """Return the orders for it. Notes come first, so that a killed run leaves one too many, and last once more.

    The last ones set the moment of the change, and nothing may be written behind that.
    """
    noted = [_note(place, each.name, each.note) for each in plan.tells]
    before = [order for order in noted if order["note"] is not None]
    return [*before, *_values(plan, place), *noted] if plan.tells else []


def _note(place: Place, name: str, note: Note | None) -> Order:
    return {"action": "note", "service": place.service, "name": name, "note": None if note is None else list(note)}


def _values(plan: ServicePlan, place: Place) -> list[Order]:
    if not place.service:
        return [{"action": "machine", "name": each.name, "value": each.value} for each in plan.tells]
    lines = _lines(place, {each.name: each.value for each in plan.tells})
    return [{"action": "service", "service": place.service, "lines": lines or None}]


def _lines(place: Place, told: t.Mapping[str, str | None]) -> list[str]:
    """Return the lines of a service's variables as they are to be; what is new comes last."""
    lines = [line for line in (_line(line, told) for line in place.lines) if line is not None]
    fresh = sorted(name for name, value in told.items() if value is not None and name not in place.found)
    return lines + ["%s=%s" % (name, told[name]) for name in fresh]


def _line(line: str, told: t.Mapping[str, str | None]) -> str | None:
    """Return a line as it is to be; None for one that goes."""
    name = line.partition("=")[0]
    if name.upper() not in told:
        return line
    value = told[name.upper()]
    return None if value is None else "%s=%s" % (name, value)


def variables_of_process(
    names: t.Iterable[str], started: float | None, *, service: Place | None, machine: Place
) -> dict[str, str | None]:
    """Return what a process has of these variables; None for one that it does not have, or of which nobody knows."""
    found: dict[str, str | None] = {}
    for name in names:
        place = service if service is not None and name.upper() in service.given else machine
        known = place.changed is not None and started is not None and started > place.changed
        found[name] = place.given.get(name.upper()) if known else None
    return found


def environment_seen(spec: Json, place: Place, plan: ServicePlan) -> dict[str, t.Any]:
    """Return what observation shows of an environment."""
    change: Change | None = plan.change
    reason = change.reason if change else None
    return {"target": spec.get("target"), "path": place.path, "missing": list(plan.due), "reason": reason}
