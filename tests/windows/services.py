# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a twin: their settings lie in its registry, as on Windows, and what runs beside it, with what it got."""

from __future__ import annotations

import typing as t

from . import Failed, programs
from .registry import MACHINE_ENVIRONMENT, SERVICES, SYSTEM_VARIABLES, Registry, Value

StartMode = t.Literal["auto", "delayed", "manual", "disabled"]
_STARTS: t.Final[t.Mapping[str, int]] = {"auto": 2, "delayed": 2, "manual": 3, "disabled": 4}


class Services:
    """Services by name. `rows` is what runs, in the twin's state."""

    def __init__(
        self,
        rows: dict[str, dict[str, t.Any]],
        registry: Registry,
        *,
        effect: t.Callable[[str], None],
        broken: t.Collection[str],
    ) -> None:
        self._rows = rows
        self._registry = registry
        self._effect = effect
        self._broken = broken

    def key(self, name: str) -> str:
        """Return the registry key of a service."""
        return "%s\\%s" % (SERVICES, name)

    def names(self) -> list[str]:
        return sorted(self._rows)

    def find(self, name: str) -> str | None:
        """Return the service of this name, or this display name, in its own spelling."""
        wanted = name.lower()
        for known in self._rows:
            if wanted in (known.lower(), (self.setting(known, "DisplayName") or "").lower()):
                return known
        return None

    def setting(self, name: str, value: str) -> str | None:
        return self._registry.text(self.key(name), value)

    def set(self, name: str, value: str, data: str) -> None:
        self._registry.set(self.key(name), Value(value, "string", data))

    def unset(self, name: str, value: str) -> None:
        self._registry.unset(self.key(name), value)

    def needs(self, name: str) -> list[str]:
        """Return the services that this one cannot run without."""
        found = self._registry.value(self.key(name), "DependOnService")
        return list(found.data) if found else []

    def set_needs(self, name: str, needs: t.Sequence[str]) -> None:
        self._registry.set(self.key(name), Value("DependOnService", "multistring", list(needs)))

    def needed_by(self, name: str) -> list[str]:
        return [other for other in self.names() if name.lower() in (each.lower() for each in self.needs(other))]

    def start_mode(self, name: str) -> StartMode:
        number = self._registry.value(self.key(name), "Start")
        late = self._registry.value(self.key(name), "DelayedAutostart")
        if number is None or number.data == 2:
            return "delayed" if late is not None and late.data else "auto"
        return "manual" if number.data == 3 else "disabled"

    def set_start_mode(self, name: str, mode: StartMode) -> None:
        self._registry.set(self.key(name), Value("Start", "dword", _STARTS[mode]))
        self._registry.set(self.key(name), Value("DelayedAutostart", "dword", int(mode == "delayed")))

    def state(self, name: str) -> str:
        """Return `running` or `stopped`."""
        return str(self._rows[name]["state"])

    def process(self, name: str) -> programs.Process | None:
        """Return the process of a service that runs."""
        found: programs.Process | None = self._rows[name]["process"]
        return found

    def make(self, name: str, path: str) -> None:
        """Make a service that is stopped, starts by itself, and runs as LocalSystem."""
        self._effect("made service %s" % name)
        self._rows[name] = {"state": "stopped", "starts": 0, "environment": None, "process": None, "program": None}
        for value, data in (("ImagePath", path), ("DisplayName", name), ("ObjectName", "LocalSystem")):
            self.set(name, value, data)
        self.set_start_mode(name, "auto")

    def remove(self, name: str) -> None:
        self._effect("removed service %s" % name)
        del self._rows[name]
        self._registry.remove(self.key(name))

    def start(self, name: str) -> None:
        """Start a service, and before it those that it needs; it takes the environment as it is at this moment.

        Raises:
            Failed: it cannot start.
        """
        if self.state(name) == "running":
            return
        for other in self.needs(name):
            known = self.find(other)
            if known is None:
                raise Failed(
                    "Service '%s' cannot be started: the service '%s' that it depends on does not exist" % (name, other)
                )
            self.start(known)
        if self.start_mode(name) == "disabled" or name in self._broken:
            raise Failed("Service '%s (%s)' cannot be started" % (self.setting(name, "DisplayName"), name))
        self._effect("started service %s" % name)
        row = self._rows[name]
        environment = self.environment(name)
        taken = [each["process"]["id"] for each in self._rows.values() if each["process"]]
        process = programs.started(row["program"], environment, taken=taken)
        row.update(state="running", starts=row["starts"] + 1, environment=environment, process=process)

    def stop(self, name: str, *, force: bool) -> list[str]:
        """Stop a service, and with ``force`` those that need it; return what was stopped.

        Raises:
            Failed: others that run need it.
        """
        stopped: list[str] = []
        running = [other for other in self.needed_by(name) if self.state(other) == "running"]
        if running and not force:
            raise Failed(
                "Cannot stop service '%s' because it has dependent services. "
                "It can only be stopped if the Force flag is set" % name
            )
        for other in running:
            stopped += self.stop(other, force=True)
        if self.state(name) == "running":
            self._effect("stopped service %s" % name)
            programs.ended(self._rows[name]["process"])
            self._rows[name].update(state="stopped", environment=None, process=None)
            stopped.append(name)
        return stopped

    def restart(self, name: str, *, force: bool) -> None:
        """Stop a service, and start it with those that were stopped for it."""
        stopped = self.stop(name, force=force)
        self.start(name)
        for other in reversed(stopped):
            self.start(other)

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment that a service starts with: the machine's, and its own `Environment` above it."""
        machine = self._registry.environment(MACHINE_ENVIRONMENT, SYSTEM_VARIABLES)
        found = {each.upper(): value for each, value in {**SYSTEM_VARIABLES, **machine}.items()}
        own = self._registry.value(self.key(name), "Environment")
        for line in own.data if own else ():
            variable, _unused, value = line.partition("=")
            found[variable.upper()] = value
        return found
