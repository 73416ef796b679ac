# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that give environment variables to an instance, found and read; private to this collection."""

from __future__ import annotations

import os
import re
import typing as t

from .._core._environment import (
    TARGETS,
    Edit,
    EnvironmentRefused,
    Wanted,
    effective,
    plan_environment,
    target_on,
    wanted_environment,
)
from ._reading import FileUnreadable, read_text
from ._system import IS_LINUX, SYSTEM

#: Where systemd finds units, the most important folder first (systemd.unit(5)).
UNIT_FOLDERS: t.Final = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


def environment_path(owner: str, spec: t.Mapping[str, t.Any]) -> str:
    """Return the file in which an instance's variables stand.

    Args:
        owner: the instance.
        spec: ``{target, path, unit, unit_directory}``; a path, else the target's own.

    Raises:
        EnvironmentRefused: the target has no path of its own and none is given, or it is not one that can be used.
    """
    target = target_on(owner, spec.get("target"), SYSTEM)
    unit = str(spec.get("unit") or "")
    path = spec.get("path") or target.path
    if target.name in ("smf", "src"):
        path = _service_path(owner, target.name, unit, spec.get("path"))
    if not path:
        raise EnvironmentRefused("%s: target %s needs a path, for it has no place of its own" % (owner, target.name))
    if not spec.get("path") and target.name == "unit":
        if not unit or "/" in unit or unit.startswith(".") or not unit.isprintable():
            raise EnvironmentRefused(
                "%s: unit is %r; it is the name of a systemd unit, such as x.service" % (owner, unit)
            )
        unit = unit if "." in unit else unit + ".service"
        path = os.path.join(str(spec.get("unit_directory") or UNIT_FOLDERS[0]), unit + ".d", "zz-connsec.conf")
    path = str(path).format(owner=owner) if not spec.get("path") and target.name != "smf" else str(path)
    if target.name == "smf":
        return path
    if not os.path.isabs(path) or os.path.normpath(path) != path or not path.isprintable():
        raise EnvironmentRefused("%s: path is %r; it is an absolute path without .. in it" % (owner, path))
    return path


def _service_path(owner: str, target: str, unit: str, path: t.Any) -> str:
    """Return the service instance itself for SMF, the file through which a subsystem is started for SRC."""
    rule = r"svc:/[A-Za-z0-9][A-Za-z0-9_.,/-]*:[A-Za-z0-9][A-Za-z0-9_.,-]*" if target == "smf" else r"[A-Za-z0-9_.-]+"
    example = "a service instance, such as svc:/application/x:default" if target == "smf" else "the name of a subsystem"
    if not re.fullmatch(rule, unit):
        raise EnvironmentRefused("%s: unit is %r; for target %s it is %s" % (owner, unit, target, example))
    return unit if target == "smf" else str(path or (TARGETS["src"].path or "").format(unit=unit))


def environment_edit(owner: str, spec: t.Mapping[str, t.Any], variables: t.Mapping[str, str]) -> tuple[str, Edit]:
    """Return the file that gives an instance its variables, and what is due in it.

    Raises:
        EnvironmentRefused: the specification or a value makes no sense.
        FileUnreadable: the file cannot be read.
    """
    wanted = wanted_environment(owner, str(spec.get("target")), variables, system=SYSTEM)
    path = environment_path(owner, spec)
    if not IS_LINUX:
        from ._service_environment import service_edit

        edit = service_edit(wanted, path, spec)
        if edit is not None:
            return path, edit
    return path, plan_environment(wanted, found=read_text(path), elsewhere=elsewhere(wanted, spec, path))


def elsewhere(wanted: Wanted, spec: t.Mapping[str, t.Any], path: str) -> dict[str, str]:
    """Return the values that other files give to the same processes before this one does."""
    return unit_variables(spec, except_for=path) if wanted.target.name == "unit" else {}


def unit_variables(spec: t.Mapping[str, t.Any], *, except_for: str) -> dict[str, str]:
    """Return the variables that a unit's other files set. What an ``EnvironmentFile=`` sets is not among them."""
    unit = str(spec.get("unit") or "")
    if not unit:
        return {}
    unit = unit if "." in unit else unit + ".service"
    folders = ([str(spec["unit_directory"])] if spec.get("unit_directory") else []) + list(UNIT_FOLDERS)
    files = [os.path.join(folder, unit) for folder in folders]
    texts = [next((text for text in map(_readable, files) if text is not None), "")]
    drop_ins: dict[str, str] = {}
    for folder in folders:
        for name in _names(os.path.join(folder, unit + ".d")):
            drop_ins.setdefault(name, os.path.join(folder, unit + ".d", name))
    texts += [_readable(path) or "" for _unused, path in sorted(drop_ins.items()) if path != except_for]
    return effective(TARGETS["unit"], "\n".join(texts))


def _readable(path: str) -> str | None:
    try:
        return read_text(path)
    except FileUnreadable:
        return None


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.endswith(".conf")]
    except OSError:
        return []
