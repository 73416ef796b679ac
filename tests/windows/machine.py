# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modelled Windows: its state in a folder, opened for one round trip at a time, and every effect on it noted.

folder/machine.json   stores, key containers, access rules, registry, services
folder/drives/C/...   files, under their own names
folder/keys/...       private keys of containers, which Windows keeps encrypted
folder/faults.json    what a test has go wrong
folder/scripts.json   scripts and modules of others, and the functions that act them out
folder/log.jsonl      a line a round trip
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import typing as t
from pathlib import Path

from . import Failed, Refused
from .accounts import ADMINISTRATORS, CONNECTING, Accounts
from .acls import Rule, loaded, stored
from .certificates import STORES, Stores
from .disk import Disk, expanded, normal, parent
from .registry import MACHINE_ENVIRONMENT, SYSTEM_VARIABLES, USER_ENVIRONMENT, Registry
from .services import Services

HOME: t.Final = "C:\\Users\\%s" % CONNECTING
TEMP: t.Final = HOME + "\\AppData\\Local\\Temp"
#: Where Ansible keeps what it needs for the time of one task.
SCRATCH: t.Final = TEMP + "\\ansible-tmp-"


class Machine:
    """One Windows host, as far as it is modelled. Whatever changes it notes an effect, whoever asked for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, t.Any] = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
        self.faults: dict[str, t.Any] = json.loads((folder / "faults.json").read_text(encoding="utf-8"))
        self.effects: list[str] = []
        state = self.state
        self.disk = Disk(folder / "drives", effect=self.effect, full=lambda: bool(self.faults.get("disk_full")))
        self.registry = Registry(state["registry"], effect=self.effect)
        self.services = Services(
            state["services"], self.registry, effect=self.effect, broken=self.faults.get("services_that_fail", ())
        )
        self.stores = Stores(
            state["stores"], state["containers"], folder / "keys", provider=state["provider"], effect=self.effect
        )

    def effect(self, words: str) -> None:
        """Note that something changed."""
        self.effects.append(words)

    @property
    def name(self) -> str:
        return str(self.state["name"])

    @property
    def build(self) -> int:
        """The build number of its Windows."""
        return int(self.state["build"])

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.name, self.state["users"], self.services.names(), self.state["pools"])

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a new process of the connecting account."""
        found = {"COMPUTERNAME": self.name, "USERNAME": CONNECTING, "USERPROFILE": HOME, "TEMP": TEMP, "TMP": TEMP}
        found |= SYSTEM_VARIABLES
        for key in (MACHINE_ENVIRONMENT, USER_ENVIRONMENT):
            found |= self.registry.environment(key, found)
        return found

    def path(self, text: str) -> str:
        """Return the path that a text means, with variables put in."""
        return normal(expanded(text, self.environment))

    # ------------------------------------------------ access rules of files

    def _row(self, path: str) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.state["rules"].get(path.lower(), {}))

    def protected(self, path: str) -> bool:
        """Return whether a path inherits nothing."""
        return parent(path) is None or bool(self._row(path).get("protected"))

    def explicit_rules(self, path: str) -> list[Rule]:
        return loaded(self._row(path).get("rules", ()))

    def rules(self, path: str) -> list[Rule]:
        """Return all rules of a path, its own before those that it inherits; behind a junction, of what is there."""
        path = self.disk.final(path)
        return self.explicit_rules(path) + ([] if self.protected(path) else self.inherited_rules(path))

    def inherited_rules(self, path: str) -> list[Rule]:
        """Return what a path has from the folder that it lies in, or would have."""
        above = parent(path)
        if above is None:
            return []
        folder = self.disk.is_folder(path)
        return [rule for rule in (each.for_child(folder=folder) for each in self.rules(above)) if rule is not None]

    def set_rules(self, path: str, rules: t.Iterable[Rule], *, protected: bool | None = None) -> None:
        """Set a path's own rules."""
        self.effect("changed access rules of %s" % path)
        cut = self.protected(path) if protected is None else protected
        self.state["rules"][path.lower()] = {"rules": stored(rules), "protected": cut}

    def remove(self, path: str) -> None:
        """Remove a file or a folder, and with it what was said of access to it."""
        self.disk.remove(path)
        low = path.lower()
        for known in [each for each in self.state["rules"] if each == low or each.startswith(low + "\\")]:
            del self.state["rules"][known]

    def owner(self, path: str) -> str:
        """Return who owns a path: administrators own what they make (Microsoft: default owner of administrators)."""
        return self.accounts.name(str(self._row(path).get("owner", ADMINISTRATORS)))

    # ------------------------------------------------ stores by name

    def store(self, location: str, store: str) -> tuple[str, str]:
        """Return a location and a store that is there, by the names that modules take.

        Raises:
            Failed: there is none.
        """
        name = "CA" if store == "CertificateAuthority" else store
        if not self.stores.has(location, name):
            raise Failed("unable to find store '%s': (CertOpenStore failed)" % name)
        return location, name

    def key_path(self, path: str) -> tuple[str, str, str]:
        """Return location, store and thumbprint of a path such as `Cert:\\LocalMachine\\My\\<thumbprint>`."""
        parts = [part for part in path.split(":", 1)[1].split("\\") if part]
        if len(parts) != 3:
            raise Refused(
                "the twin models Cert: paths of a certificate, Cert:\\location\\store\\thumbprint; this is %s" % path
            )
        return parts[0], parts[1], parts[2].upper()


def first_stores() -> dict[str, dict[str, dict[str, t.Any]]]:
    """Return the stores that a host begins with."""
    return {location: {store: {} for store in STORES} for location in ("LocalMachine", "CurrentUser")}


@contextlib.contextmanager
def opened(folder: Path) -> t.Iterator[Machine]:
    """Open a machine for one round trip: nobody else has it meanwhile, and what changed is kept however it ends."""
    with open(folder / "lock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        machine = Machine(folder)
        before = json.dumps(machine.state)
        try:
            yield machine
        finally:
            after = json.dumps(machine.state)
            if after != before:
                replace(folder / "machine.json", after)


def replace(path: Path, content: str) -> None:
    """Put content in a file's place in one step, for its owner alone."""
    fresh = path.with_name(path.name + ".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
    fresh.replace(path)
