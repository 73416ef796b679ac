# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environments of a host's instances: planned together, written one by one; private to this collection."""

from __future__ import annotations

import os
import typing as t

from .._core._change import Change
from .._core._environment import EnvironmentRefused, Wanted, holds, plan_environment, wanted_environment
from ._environment_file import elsewhere, environment_path
from ._files import as_found, make_directory, write_durable
from ._process import ProcessUnknown, pids_of, systemctl, variables_of
from ._reading import read_text
from ._system import IS_LINUX, SYSTEM

#: sd_booted(3)
_SYSTEMD_RUNS: t.Final = "/run/systemd/system"


class Environments:
    """The environments of a host's instances, read and planned; several of them may share a file.

    Attributes:
        changes: what is due, one change an instance.
        paths: the file of each instance.
    """

    def __init__(self, asked: t.Sequence[tuple[t.Mapping[str, t.Any], t.Mapping[str, str]]]) -> None:
        """Read and decide.

        Args:
            asked: specification and variables of each instance.

        Raises:
            EnvironmentRefused: a specification or a value makes no sense.
            FileUnreadable: a file cannot be read.
        """
        self._asked = asked
        self._texts: dict[str, str | None] = {}
        self._owners: dict[str, str] = {}
        self.changes: list[Change] = []
        self.paths: dict[str, str] = {}
        self._units: set[str] = set()
        self._services: dict[str, t.Any] = {}
        for spec, variables in asked:
            self._plan(spec, variables)

    def _plan(self, spec: t.Mapping[str, t.Any], variables: t.Mapping[str, str]) -> None:
        owner = str(spec["name"])
        if owner in self.paths:
            raise EnvironmentRefused("%s is given twice; give an instance once, with all its variables" % owner)
        wanted = wanted_environment(owner, str(spec.get("target")), variables, system=SYSTEM)
        path = environment_path(owner, spec)
        if not IS_LINUX and wanted.target.name in ("smf", "src"):
            self._plan_service(wanted, path, spec)
            return
        if path not in self._texts:
            self._texts[path] = read_text(path)
        edit = plan_environment(wanted, found=self._texts[path], elsewhere=elsewhere(wanted, spec, path))
        self.paths[owner] = path
        unit = wanted.target.name == "unit" and os.path.isdir(_SYSTEMD_RUNS)
        change = edit.change
        if change is None and unit and (variables or edit.text is not None) and _is_unread(str(spec.get("unit") or "")):
            change = Change("environment %s" % owner, None, None, "systemd has not read its unit again")
        if change is not None:
            self.changes.append(change)
            self._owners[change.target] = owner
            self._texts[path] = edit.text
            self._units.update(["unit"] if unit else [])

    def _plan_service(self, wanted: Wanted, path: str, spec: t.Mapping[str, t.Any]) -> None:
        """Plan what a service manager has to be told; a service is one instance's."""
        from ._service_environment import Service

        service = Service(wanted, path, spec)
        self.paths[wanted.owner] = path
        if service.change is not None:
            self.changes.append(service.change)
            self._services[service.change.target] = service

    def make(self, change: Change) -> None:
        """Write the file of one change. The last one of those that share it has all of them in it."""
        if change.target in self._services:
            self._services[change.target].make()
            return
        path = self.paths[self._owners[change.target]]
        text = self._texts[path]
        if text == read_text(path):
            return
        if text is None:
            os.unlink(path)
            return
        make_directory(os.path.dirname(path), mode=0o755)
        mode, owner = as_found(path)
        write_durable(path, text.encode("utf-8", "surrogateescape"), mode=mode, owner=owner)

    def settle(self) -> None:
        """Let systemd read its units again, once; that touches no process."""
        if self._units:
            systemctl("daemon-reload")

    def running(self) -> dict[str, dict[str, t.Any]]:
        """Return for each instance whose process was described what that one lacks."""
        return {
            str(spec["name"]): _running(process, variables)
            for spec, variables in self._asked
            for process in [{key: value for key, value in (spec.get("process") or {}).items() if value}]
            if process
        }


def _running(process: t.Mapping[str, t.Any], variables: t.Mapping[str, str]) -> dict[str, t.Any]:
    try:
        pids = pids_of(process)
        had = variables_of(pids[0], variables) if pids else {}
    except ProcessUnknown as error:
        return {"pids": [], "missing": sorted(variables), "unreadable": str(error)}
    missing = [name for name, value in sorted(variables.items()) if not holds(name, found=had.get(name), wanted=value)]
    return {"pids": pids, "missing": missing if pids else [], "unreadable": None}


def _is_unread(unit: str) -> bool:
    """Return whether systemd knows an older state of a unit: we were stopped between writing and its reading."""
    try:
        return systemctl("show", "--property=NeedDaemonReload", "--value", "--", unit).strip() == "yes"
    except ProcessUnknown:
        return False
