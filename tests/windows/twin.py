# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Windows twin in the hands of a test: made, looked at, put at fault, and addressed by plays.

twin = WindowsTwin.made(tmp_path / "win1", name="WIN1")
twin.add_service("Confserv", username="NT SERVICE\\\\Confserv", state="running")
run = play([twin], [{"ansible.windows.win_ping": {}}])
assert twin.trips == 1 and not twin.violations
"""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from . import acls, scripts
from .accounts import CONNECTING
from .certificates import Key
from .disk import normal
from .host import Trip, read_log
from .machine import HOME, TEMP, Machine, first_stores, opened, replace
from .registry import MACHINE_ENVIRONMENT, SERVICES, USER_ENVIRONMENT, Value

#: Windows Server by build number.
SERVER_2016: t.Final = 14393
SERVER_2019: t.Final = 17763
SERVER_2022: t.Final = 20348

_FOLDERS: t.Final = ("C:\\ProgramData", "C:\\Program Files", "C:\\Windows\\System32", TEMP)
_PATH: t.Final = "%SystemRoot%\\system32;%SystemRoot%"


@dataclass(frozen=True)
class WindowsTwin:
    """A modelled Windows host in a folder."""

    folder: Path

    @classmethod
    def made(
        cls,
        folder: Path,
        *,
        name: str = "WIN1",
        build: int = SERVER_2019,
        users: t.Sequence[str] = (),
        pools: t.Sequence[str] = (),
        addresses: t.Sequence[str] = ("192.0.2.10",),
        provider: t.Literal["csp", "cng"] = "csp",
    ) -> WindowsTwin:
        """Make a host as its installation leaves it.

        Users are local accounts, pools are application pools of IIS; ``provider`` is the sort that takes RSA keys.
        """
        for part in ("drives/C", "keys"):
            (folder / part).mkdir(parents=True, mode=0o700)
        state = {
            "name": name,
            "fqdn": "%s.example.com" % name.lower(),
            "build": build,
            "users": list(users),
            "pools": list(pools),
            "addresses": list(addresses),
            "stores": first_stores(),
            "containers": {},
            "rules": {},
            "registry": {},
            "services": {},
            "sockets": [],
            "programs": {},
            "provider": provider,
        }
        replace(folder / "machine.json", json.dumps(state))
        replace(folder / "faults.json", "{}")
        replace(folder / "scripts.json", "{}")
        with opened(folder) as machine:
            _install(machine)
        return cls(folder)

    @property
    def name(self) -> str:
        return self.machine().name

    def machine(self) -> Machine:
        """Return the host as it is now, to be read."""
        return Machine(self.folder)

    def variables(self) -> dict[str, t.Any]:
        """Return the inventory variables by which Ansible reaches it."""
        return {
            "ansible_connection": "windows_twin",
            "ansible_shell_type": "powershell",
            "ansible_windows_twin_folder": str(self.folder),
        }

    # ------------------------------------------------ what was there before

    def add_service(
        self,
        name: str,
        *,
        username: str = "LocalSystem",
        state: t.Literal["running", "stopped"] = "stopped",
        needs: t.Sequence[str] = (),
        environment: t.Mapping[str, str] | None = None,
        program: t.Sequence[str] = (),
    ) -> None:
        """Give the host a service; ``program`` is what really runs on this machine while it does."""
        with opened(self.folder) as machine:
            services = machine.services
            services.make(name, "C:\\Program Files\\%s\\%s.exe" % (name, name.lower()))
            services.set(name, "ObjectName", username)
            services.set_needs(name, needs)
            machine.state["services"][name]["program"] = list(program) or None
            if environment:
                lines = ["%s=%s" % pair for pair in environment.items()]
                machine.registry.set(services.key(name), Value("Environment", "multistring", lines))
            if state == "running":
                services.start(name)

    def add_socket(self, service: str, local: str, peer: str, *, state: str = "Established", seen: int = -1) -> None:
        """Give a service a TCP socket that is in this many looks, or in all; its ends are an address and a port."""
        row = {"service": service, "local": local, "peer": peer, "state": state, "seen": seen}
        with opened(self.folder) as machine:
            machine.state["sockets"].append(row)

    def add_program(self, path: str, stand_in: t.Sequence[str]) -> None:
        """Give the host a program; its stand-in is run here, and finds the drives' folder in TWIN_DRIVES."""
        self.write(path, b"MZ")
        with opened(self.folder) as machine:
            machine.state["programs"][path.lower()] = list(stand_in)

    def start(self, service: str) -> None:
        """Start a service, as somebody on the host does."""
        with opened(self.folder) as machine:
            machine.services.start(service)

    def stop(self, *services: str) -> None:
        """Stop services, or all of them; no program goes on behind a test."""
        with opened(self.folder) as machine:
            for name in services or machine.services.names():
                machine.services.stop(name, force=True)

    def write(self, path: str, content: bytes) -> None:
        """Give the host a file, and the folder that it lies in."""
        with opened(self.folder) as machine:
            folder = path.rpartition("\\")[0]
            if not machine.disk.is_folder(normal(folder + "\\")):
                machine.disk.make_folder(normal(folder + "\\"))
            machine.disk.write(normal(path), content)

    def register(self, text: str | bytes, act: str) -> None:
        """Have a script, a command line or a module of others acted out by a function, `package.module:function`."""
        scripts.register(self.folder, text, act)

    # ------------------------------------------------ faults

    def _fault(self, name: str, value: t.Any) -> None:
        path = self.folder / "faults.json"
        replace(path, json.dumps({**json.loads(path.read_text(encoding="utf-8")), name: value}))

    def lose(self, *, after: int = 0) -> None:
        """Have the host not answer any more, after some more round trips."""
        self._fault("lost_after", self.trips + after)

    def find(self) -> None:
        """Have the host answer again."""
        self._fault("lost_after", None)

    def fill_disk(self, *, full: bool = True) -> None:
        """Have no room left on its drives, or room again."""
        self._fault("disk_full", full)

    def break_services(self, *names: str) -> None:
        """Have these services, and no others, fail to start."""
        self._fault("services_that_fail", list(names))

    # ------------------------------------------------ what happened

    @property
    def log(self) -> list[Trip]:
        """All round trips so far."""
        return read_log(self.folder)

    @property
    def trips(self) -> int:
        """How many round trips there were."""
        return len(self.log)

    @property
    def violations(self) -> list[str]:
        """What check mode did not allow, module or caller."""
        return [each for trip in self.log for each in trip.violations]

    @property
    def refusals(self) -> list[str]:
        """What the twin was asked for and does not model."""
        return [trip.refused for trip in self.log if trip.refused is not None]

    def snapshot(self) -> dict[str, t.Any]:
        """Return all that a host is, to be compared: state, files by digest, keys by digest."""
        files = {
            str(path.relative_to(self.folder)): _seen(path)
            for top in ("drives", "keys")
            for path in sorted((self.folder / top).rglob("*"))
        }
        return {"state": self.machine().state, "files": files}

    def files_with(self, secret: bytes) -> list[str]:
        """Return the files in which a secret stays behind: those of the host, its state, and the twin's own log."""
        files = [*(self.folder / "drives").rglob("*"), *self.folder.glob("*.json*")]
        return sorted(
            str(path.relative_to(self.folder)) for path in files if path.is_file() and secret in path.read_bytes()
        )

    # ------------------------------------------------ what is there now

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or nothing where it is missing."""
        disk = self.machine().disk
        return disk.read(normal(path)) if disk.is_file(normal(path)) else None

    def readers(self, path: str) -> set[str]:
        """Return the names that may read a file or a folder."""
        machine = self.machine()
        return {machine.accounts.name(sid) for sid in acls.readers(machine.rules(normal(path)))}

    def certificates(self, store: str, location: str = "LocalMachine") -> dict[str, x509.Certificate]:
        """Return the certificates of a store by thumbprint."""
        stores = self.machine().stores
        found = {each: stores.certificate(location, store, each) for each in stores.thumbprints(location, store)}
        return {each: certificate for each, certificate in found.items() if certificate is not None}

    def private_key(self, thumbprint: str, store: str = "My", location: str = "LocalMachine") -> Key | None:
        """Return the private key behind a certificate, as the host itself would use it."""
        stores = self.machine().stores
        container = stores.container(location, store, thumbprint)
        return None if container is None else stores.key(container)

    def key_exportable(self, thumbprint: str, store: str = "My", location: str = "LocalMachine") -> bool:
        """Return whether the private key behind a certificate can leave the host."""
        stores = self.machine().stores
        container = stores.container(location, store, thumbprint)
        return container is not None and stores.exportable(container)

    def key_readers(self, thumbprint: str, store: str = "My", location: str = "LocalMachine") -> set[str]:
        """Return the names that may use the private key behind a certificate."""
        machine = self.machine()
        container = machine.stores.container(location, store, thumbprint)
        rules = [] if container is None else machine.stores.rules(container)
        return {machine.accounts.name(sid) for sid in acls.readers(rules)}

    @property
    def orphaned_keys(self) -> int:
        """How many key containers no certificate leads to."""
        return len(self.machine().stores.orphans())

    def environment(self, service: str | None = None) -> dict[str, str]:
        """Return the machine's variables as the registry has them, or those that a running service started with."""
        machine = self.machine()
        if service is None:
            return {each.name: str(each.data) for each in machine.registry.values(MACHINE_ENVIRONMENT)}
        return dict(machine.state["services"][service]["environment"] or {})

    def service(self, name: str) -> dict[str, t.Any]:
        """Return state, number of starts, start mode and account of a service."""
        machine = self.machine()
        row = machine.state["services"][name]
        return {
            "state": row["state"],
            "starts": row["starts"],
            "start_mode": machine.services.start_mode(name),
            "username": machine.services.setting(name, "ObjectName"),
        }


def _seen(path: Path) -> str | None:
    """Return what a snapshot has of a path: where a junction leads, a file's digest, nothing of a folder."""
    if path.is_symlink():
        return "-> %s" % os.readlink(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _install(machine: Machine) -> None:
    for path in _FOLDERS:
        machine.disk.make_folder(path)
    machine.set_rules("C:\\", acls.DRIVE)
    machine.set_rules("C:\\ProgramData", acls.PROGRAM_DATA, protected=True)
    own = acls.file_rule(
        acls.Rule(
            machine.accounts.sid(CONNECTING) or "",
            "allow",
            acls.FILE_RIGHTS["fullcontrol"],
            containers=True,
            objects=True,
        )
    )
    machine.set_rules(HOME, (*acls.PROFILE, own), protected=True)
    machine.registry.set(MACHINE_ENVIRONMENT, Value("Path", "expandstring", _PATH))
    machine.registry.set(MACHINE_ENVIRONMENT, Value("ComSpec", "expandstring", "%SystemRoot%\\system32\\cmd.exe"))
    machine.registry.make(USER_ENVIRONMENT)
    machine.registry.make(SERVICES)
    machine.registry.make("HKLM:\\SOFTWARE")
