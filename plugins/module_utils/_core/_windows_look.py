# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look at a Windows host: what its module is asked, and what its answer means; private to this collection.

The module shows what there is; here it becomes the observation that other systems' own module returns.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from ._environment import wanted_environment
from ._errors import TlsError
from ._manifest import Drift
from ._option_formats import read
from ._windows_host import Host, windows_directory
from ._windows_material import Place as Folder
from ._windows_material import Wanted, account_asked
from ._windows_variables import (
    Place,
    environment_seen,
    machine_of,
    place_asked,
    plan_variables,
    service_of,
    variables_of_process,
)

Json = t.Dict[str, t.Any]
Asked = t.Mapping[str, t.Any]
_Seen = t.TypeVar("_Seen")

_KEYS: t.Final = ("directory", "instances", "probes", "token", "system")
#: What other systems are asked for, and who is not answered here.
_NOT_BUILT: t.Final[t.Mapping[str, str]] = {
    "leftovers": "nobody looks for folders on Windows that nobody names",
    "settle": "nobody waits for sessions on Windows",
    "soak": "nothing is collected between runs on Windows",
    "watch": "nobody watches listeners on Windows",
}
#: States of MSFT_NetTCPConnection by their names elsewhere; Bound is no socket of TCP yet.
_STATES: t.Final[t.Mapping[str, str]] = {
    "Closed": "CLOSE",
    "CloseWait": "CLOSE_WAIT",
    "Closing": "CLOSING",
    "DeleteTCB": "CLOSE",
    "Established": "ESTABLISHED",
    "FinWait1": "FIN_WAIT1",
    "FinWait2": "FIN_WAIT2",
    "LastAck": "LAST_ACK",
    "Listen": "LISTEN",
    "SynReceived": "SYN_RECV",
    "SynSent": "SYN_SENT",
    "TimeWait": "TIME_WAIT",
}
_WILDCARDS: t.Final = ("0.0.0.0", "::")
_ELSEWHERE: t.Final = "/etc/connsec"


class LookRefused(TlsError):
    """A look asks for what cannot be looked at on Windows, or for what makes no sense."""


@dataclass(frozen=True)
class Question:
    """What the module is asked.

    Attributes:
        directory: the host's folder for instances.
        accounts, files, services: whose and which.
        samples: how often sockets are listed.
    """

    directory: str
    accounts: tuple[str, ...]
    files: tuple[str, ...]
    services: tuple[str, ...]
    samples: int

    def to_json(self) -> Json:
        """Return the module's arguments."""
        return {
            "directory": self.directory,
            "accounts": list(self.accounts),
            "files": list(self.files),
            "services": list(self.services),
            "samples": self.samples,
        }


def question(request: Asked) -> Question:
    """Return what the module is asked for a request, as docs/looking.md describes it.

    Raises:
        LookRefused: it asks for what cannot be had.
    """
    if request.get("system", "linux" if "token" in request else "windows") != "windows":
        raise LookRefused(
            "this host runs windows, and the model says %s: correct its os" % request.get("system", "linux")
        )
    for name in sorted(set(request) - set(_KEYS)):
        if name not in _NOT_BUILT:
            raise LookRefused("a request has no %r; it has %s" % (name, ", ".join(sorted({*_KEYS, *_NOT_BUILT}))))
        if request[name]:
            raise LookRefused("%s yet; leave %s out" % (_NOT_BUILT[name], name))
    rows = list(request.get("instances") or ())
    services = {service for row in rows for service in _services(row)}
    looked = [row for row in rows if row.get("sockets") or row.get("udp")]
    return Question(
        windows_directory(str(request.get("directory") or _ELSEWHERE), default=_ELSEWHERE),
        tuple(sorted({account_asked(row.get("account")) or "" for row in rows} - {""})),
        tuple(sorted({path for row in rows for path in _files(row)})),
        tuple(sorted(services)),
        0 if not looked else 1 if all(row.get("glance") for row in looked) else 2,
    )


def _services(row: Asked) -> t.Iterator[str]:
    """Yield the services that an instance is about."""
    if (row.get("process") or {}).get("service"):
        yield str(row["process"]["service"])
    spec = row.get("environment") or {}
    if spec.get("target") == "service" and spec.get("unit"):
        yield str(spec["unit"])


def _files(row: Asked) -> t.Iterator[str]:
    """Yield the files that an instance is told by."""
    yield from (str(each["file"]) for each in row.get("reads") or ())
    for files in (row.get("adopted") or {}).values():
        yield from (str(path) for path in files.values())
    if (row.get("sessions") or {}).get("file"):
        yield str(row["sessions"]["file"])


class Shown:
    """What the module showed, with what it means for all instances."""

    def __init__(self, state: Asked, host: Host, files: t.Mapping[str, str | TlsError]) -> None:
        """Take in its answer, what of it is material, and the texts of files by path."""
        self.state, self.host, self.files = state, host, files
        self.machine = machine_of(state["variables"])
        self.samples = [[row for row in each["rows"] if row["state"] in _STATES] for each in state["samples"]]

    def service(self, name: str) -> Asked:
        """Return a service.

        Raises:
            LookRefused: the host has none of this name.
        """
        row: Asked | None = self.state["services"].get(name)
        if row is None:
            raise LookRefused("there is no service %s" % name)
        return row

    def variables(self, name: str) -> Place:
        """Return a service's own variables."""
        return service_of(name, self.service(name)["variables"])

    def family(self, main: int) -> list[int]:
        """Return a process and those that it started, and theirs; a number may have been another one's before."""
        started = {int(row["id"]): row["started"] or 0 for row in self.state["processes"]}
        found = [main]
        for parent in found:
            found += sorted(
                int(row["id"])
                for row in self.state["processes"]
                if int(row["parent"]) == parent
                and int(row["id"]) not in found
                and (row["started"] or 0) >= started.get(parent, 0)
            )
        return found

    def started(self, process: int) -> float | None:
        """Return when a process was started, in seconds since 1970."""
        at = next((row["started"] for row in self.state["processes"] if int(row["id"]) == process), None)
        return None if at is None else at / 1000

    def sockets(self, sample: int, pids: t.Collection[int], addresses: t.Collection[str]) -> list[Json]:
        """Return the sockets of processes in one of the looks, and what is left of some at their addresses."""
        rows = self.samples[sample] if sample < len(self.samples) else []
        mine = [row for row in rows if int(row["process"]) in pids]
        local = {*addresses, *(row["local"] for row in mine)} - set(_WILDCARDS)
        ended = [row for row in rows if row["state"] == "TimeWait" and row["local"] in local]
        return [_socket(row, owned=row["state"] != "TimeWait") for row in [*mine, *ended]]


def _socket(row: Asked, *, owned: bool) -> Json:
    local, peer = _end(row["local"], row["local_port"]), _end(row["peer"], row["peer_port"])
    return {"local": local, "peer": peer, "state": _STATES[row["state"]], "owned": owned}


def _end(address: str, port: int) -> str:
    return ("[%s]:%d" if ":" in address else "%s:%d") % (address.partition("%")[0], port)


class WindowsSight:
    """An instance of a Windows host as it was shown, with what could not be seen of it."""

    def __init__(self, asked: Asked, shown: Shown, directory: str) -> None:
        """Take in what was asked, what was shown, and the host's folder of ours."""
        self._asked, self._shown, self._directory = asked, shown, directory
        self.unreadable: dict[str, str] = {}
        service = (asked.get("process") or {}).get("service")
        self._service = str(service) if service else None
        self._pids: list[int] = self._try("process", self._processes) or []

    def to_json(self) -> Json:
        """Return what the instance shows."""
        asked = self._asked
        if asked.get("sockets") and not asked.get("process"):
            self.unreadable["process"] = "nothing says how its process is found"
        seen: Json = dict(self._try("installed", self._installed) or {})
        if asked.get("keys"):
            self.unreadable["keys"] = "keys that are born on their host are not built for Windows"
        if asked.get("back"):
            self.unreadable["refused"] = "which steps cannot be taken back is not told by a look on Windows"
        reads = self._reads()
        seen.update(
            reads=reads,
            process=self._process(),
            environment=self._try("environment", self._environment),
            adopted={},
            sessions=self._try("sessions", self._sessions),
            sockets=self._sockets() if asked.get("sockets") else [],
            udp=self._udp(),
            recent=[],
            unreadable=self.unreadable,
        )
        return seen

    def _try(self, what: str, look: t.Callable[[], _Seen]) -> _Seen | None:
        """Return what ``look`` sees, or None and note why it sees nothing."""
        try:
            return look()
        except TlsError as error:
            self.unreadable[what] = str(error)
        return None

    # Processes

    def _processes(self) -> list[int]:
        process = self._asked.get("process")
        if not process:
            return []
        if self._service is None:
            raise LookRefused(
                "on Windows a process is found by its service, and not by %s" % ", ".join(sorted(process))
            )
        row = self._shown.service(self._service)
        return self._shown.family(int(row["process"])) if row["process"] else []

    def _process(self) -> Json:
        names = [str(name) for name in self._asked.get("variables") or ()]
        if not self._pids or self._service is None:
            return {"pids": [], "started": None, "user": None, "variables": dict.fromkeys(names)}
        started = self._shown.started(self._pids[0])
        service = self._shown.variables(self._service)
        return {
            "pids": self._pids,
            "started": started,
            "user": self._shown.service(self._service)["account"],
            "variables": variables_of_process(names, started, service=service, machine=self._shown.machine),
        }

    def _environment(self) -> Json | None:
        spec, variables = self._asked.get("environment"), dict(self._asked.get("variables") or {})
        if not spec:
            return None
        owner = str(self._asked["name"])
        wanted = wanted_environment(owner, str(spec.get("target")), variables, system="windows")
        service = place_asked(owner, spec)
        place = self._shown.variables(service) if service else self._shown.machine
        return environment_seen(spec, place, plan_variables(wanted, place, self._shown.machine))

    # Sockets

    def _sockets(self) -> list[Json]:
        if not self._pids:
            return []
        addresses = [str(each) for each in self._asked.get("addresses") or ()]
        rows = self._shown.sockets(0, self._pids, addresses)
        if self._asked.get("glance") or len(self._shown.samples) < 2:
            return rows
        still = {(row["local"], row["peer"]) for row in self._shown.sockets(1, self._pids, addresses) if _stands(row)}
        gone = [row for row in rows if _stands(row) and (row["local"], row["peer"]) not in still]
        return [{**row, "brief": True} if row in gone else row for row in rows]

    def _udp(self) -> Json | None:
        ports = [int(port) for port in self._asked.get("udp") or ()]
        if not ports or not self._pids:
            return None
        found = {int(row["port"]) for row in self._shown.state["endpoints"] if int(row["process"]) in self._pids}
        return {str(port): port in found for port in ports}

    # Files

    def _reads(self) -> Json:
        """Return the settings by id. One that has no value is None; one that cannot be read is left out and named."""
        found: Json = {}
        for row in self._asked.get("reads") or ():
            try:
                text = self._text(str(row["file"]), made=bool(row.get("made")))
                form, section = str(row.get("format") or "ini"), str(row.get("section") or "")
                found[str(row["id"])] = read(text, form, section, str(row["key"]))
            except TlsError as error:
                self.unreadable[str(row["id"])] = str(error)
        return found

    def _text(self, path: str, *, made: bool = False) -> str:
        """Return a file's text; that of a file which a step makes is empty before."""
        found = self._shown.files.get(path)
        if isinstance(found, TlsError):
            raise found
        if found is None and not made:
            raise LookRefused("%s does not exist" % path)
        return found or ""

    def _sessions(self) -> list[Json] | None:
        asked = self._asked.get("sessions")
        if not asked:
            return None
        if not asked.get("file"):
            raise LookRefused("on Windows sessions are listed by a file")
        sessions, bad = [], 0
        for line in self._text(str(asked["file"])).splitlines():
            session = _parsed(line) if line.strip() else {}
            bad += session is None
            sessions += [session] if session else []
        if bad:
            self.unreadable["sessions"] = "%d lines of the session list are not JSON" % bad
        return sessions

    # Material

    def _installed(self) -> Json:
        """Return what lies in the instance's folder."""
        folder = str(self._asked.get("folder") or "")
        if not folder:
            return {}
        base = "%s\\%s" % (self._directory, folder)
        seen = self._shown.host.instances.get(folder)
        notes = self._shown.state["notes"].get(folder) or {"loaded": None, "pending": None, "since": None, "steps": {}}
        generation = seen.installed if seen is not None else None
        manifest = dict(generation.manifest) if generation is not None and generation.manifest is not None else None
        if manifest is not None and notes["since"] is not None:
            manifest["installed_at"] = notes["since"] / 1000  # by the host's clock, as the start of its process
        return {
            "generation": seen.current if seen is not None else None,
            "previous": seen.previous if seen is not None else None,
            "manifest": manifest,
            "drift": {row.name: row.seen for row in self._drift(folder)} if seen is not None and seen.current else {},
            "pending": _noted(base, "pending.json", notes["pending"]) or {},
            "loaded": _noted(base, "loaded.json", notes["loaded"]),
            "steps": {name: _step(base, name, row) for name, row in sorted(notes["steps"].items()) if row["before"]},
        }

    def _drift(self, folder: str) -> list[Drift]:
        """Return what is not as it was installed; whose it should be is asked only where the account is told."""
        account = self._asked.get("account")
        wanted = Wanted(str(self._asked["name"]), folder, account)
        rows = Folder(wanted, self._shown.host, self._directory).drift()
        return [row for row in rows if account or not row.repairable]


def _stands(row: Asked) -> bool:
    return bool(row["state"] == "ESTABLISHED")


def _parsed(text: str) -> Json | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _noted(base: str, name: str, text: str | None) -> Json | None:
    """Return a file of ours.

    Raises:
        LookRefused: it is damaged.
    """
    found = None if text is None else _parsed(text)
    if text is not None and found is None:
        raise LookRefused("%s\\%s is damaged; remove it, and the next run makes it anew" % (base, name))
    return found


def _step(base: str, name: str, row: Asked) -> Json:
    before = _noted(base, "steps\\%s\\before.json" % name, row["before"]) or {}
    return {"at": before.get("at"), "files": sorted(before.get("files") or {}), "finished": bool(row["finished"])}
