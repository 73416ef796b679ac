# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables in the repository of Solaris' SMF, and how a subsystem of AIX's SRC is started; private to this collection.

SMF has one place for the variables of a service and no lines between marks, so what is ours there is noted beside it,
in a property group of the instance: a property for each variable, with its instance, our part of its value, and what
it was before, if it was anything.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._change import Change
from ._environment import LISTS, EnvironmentRefused, ListRule, Wanted, merged

#: The property group with our notes.
NOTES: t.Final = "connsec"

Note = t.Tuple[str, ...]


@dataclass(frozen=True)
class Tell:
    """One thing to tell the repository: set a variable to a value, or take it out where that is None; and its note."""

    name: str
    value: str | None
    note: Note | None


@dataclass(frozen=True)
class ServicePlan:
    """What the repository has to be told, why, and which variables are due."""

    tells: tuple[Tell, ...]
    change: Change | None
    due: tuple[str, ...]


def plan_service(
    wanted: Wanted,
    *,
    found: t.Mapping[str, str],
    notes: t.Mapping[str, Note],
    lists: t.Mapping[str, ListRule] = LISTS,
    quotes: bool = True,
) -> ServicePlan:
    """Return what the repository has to be told, so that a service is given its variables.

    Args:
        wanted: the variables; none of them, to take ours out.
        found: the service's variables, as its configuration has them.
        notes: what is noted of ours, by variable.
        lists: the variables that are lists.
        quotes: whether what is noted has to survive being quoted.

    Raises:
        EnvironmentRefused: another instance has the variable here, or what it was cannot be noted.
    """
    tells, reasons = [], {}
    for name, ours in sorted(wanted.variables.items()):
        note = notes.get(name)
        if note is not None and note[0] != wanted.owner:
            raise EnvironmentRefused("%s: %s of this service is %s's" % (wanted.owner, name, note[0]))
        old = note[1] if note else ""
        had = found.get(name) if note is None else (note[2] if len(note) > 2 else None)
        value = merged(name, ours=ours, theirs=_others(name, found.get(name), old, lists), lists=lists)
        before = () if had is None else (_noted(wanted.owner, name, had) if quotes else had,)
        fresh = (wanted.owner, ours, *before)
        if value == found.get(name) and note == fresh:
            continue
        tells.append(Tell(name, value, fresh))
        seen = found.get(name)
        reasons[name] = "%s is not set" % name if seen is None else "%s is %s, planned %s" % (name, seen, value)
    for name, note in sorted(notes.items()):
        if note[0] == wanted.owner and name not in wanted.variables:
            tells.append(Tell(name, _without(name, found.get(name), note, lists), None))
            reasons[name] = "%s is no longer planned" % name
    if not tells:
        return ServicePlan((), None, ())
    held = "\n".join("%s=%s" % (each.name, found[each.name]) for each in tells if each.name in found)
    after = "\n".join("%s=%s" % (each.name, each.value) for each in tells if each.value is not None)
    why = "; ".join(reasons[name] for name in sorted(reasons))
    change = Change("environment %s" % wanted.owner, held or None, after or None, why)
    return ServicePlan(tuple(tells), change, tuple(sorted(reasons)))


def _noted(owner: str, name: str, had: str) -> str:
    """Return an earlier value, if it can be noted: it has to survive being quoted."""
    bad = next((char for char in had if char in "\"'\\$`" or not char.isprintable()), None)
    if bad is not None:
        raise EnvironmentRefused(
            "%s: %s of this service holds %r, which cannot be put back; take it out first" % (owner, name, bad)
        )
    return had


def _others(name: str, found: str | None, ours: str, lists: t.Mapping[str, ListRule]) -> str | None:
    """Return what others have in a variable that is a list; for any other it does not count."""
    rule = lists.get(name)
    if rule is None or not found:
        return None
    mine = set(ours.split(rule.separator)) if ours else set()
    return rule.separator.join(entry for entry in found.split(rule.separator) if entry and entry not in mine) or None


def _without(name: str, found: str | None, note: Note, lists: t.Mapping[str, ListRule]) -> str | None:
    """Return what a variable is without us: what others put there, or what it was before; None for nothing."""
    had = note[2] if len(note) > 2 else None
    rule = lists.get(name)
    if rule is not None:
        kept = set(had.split(rule.separator)) if had else set()
        ours = rule.separator.join(part for part in note[1].split(rule.separator) if part not in kept)
        return _others(name, found, ours, lists)
    return had


def quoted(value: str) -> str:
    """Return a value as ``svccfg`` reads it: in double quotes, with quotes and backslashes escaped."""
    return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')


# SRC


@dataclass(frozen=True)
class Definition:
    """How a subsystem is started: its program and the arguments of it, as the ODM has them."""

    path: str
    arguments: str


SHELL: t.Final = "/usr/bin/sh"


def through(file: str, found: Definition) -> Definition:
    """Return a definition that starts the same program, in its place, with the variables of a file.

    The shell becomes the program (``exec``), so that SRC's process, its signals and its status stay what they were.

    Raises:
        EnvironmentRefused: the program's path cannot be an argument.
    """
    start = _start(file)
    if found.path == SHELL and found.arguments.startswith(start):
        return found
    if not found.path.startswith("/") or not all(char.isalnum() or char in "/._-+" for char in found.path):
        raise EnvironmentRefused("%r cannot be started through a file with variables: rename it" % found.path)
    return Definition(SHELL, " ".join([start + found.path, *([found.arguments] if found.arguments else [])]))


def directly(file: str, found: Definition) -> Definition:
    """Return the definition as it was before it went through a file; the same where it does not."""
    start = _start(file)
    if found.path != SHELL or not found.arguments.startswith(start):
        return found
    path, _unused, arguments = found.arguments[len(start) :].partition(" ")
    return Definition(path, arguments)


def _start(file: str) -> str:
    return '-c \'if [ -r %s ]; then . %s; fi; exec "$0" "$@"\' ' % (file, file)
