# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A contact centre on hosts of the lab: its servers, its load, and the playbooks that move it.

with driver.lab(net, wanted()) as lab:
    centre = Centre(lab, folder)
    centre.begin()                      # everything runs, and talks in the clear
    centre.roll_out()                   # wave after wave
    centre.leave()                      # what every client counted, and who listens where
"""

from __future__ import annotations

import json
import shutil
import time
import typing as t
from pathlib import Path

import yaml

from .. import LabError
from ..driver import Lab, quiet
from ..fleet import Json, LabFleet
from ..ledger import ledger_settings, start_ledger
from ..names import Wanted

HERE: t.Final = Path(__file__).resolve().parent
HOSTS: t.Final = ("web1", "web2", "lb1", "db1", "db2", "mx1", "mq1", "sip1", "app1", "app2", "app3")

#: The kinds that are restarted, or whose program is, and so cut off their clients for a while; their pages say when.
RESTARTED: t.Final = frozenset({"kamailio", "mariadb", "rabbitmq", "stunnel", "tomcat"})
#: Seconds between two messages of a pair, and for which one is repeated until it is lost.
INTERVAL: t.Final = 1.0
PATIENCE: t.Final = "5"


def wanted() -> list[Wanted]:
    """Return the hosts that it needs."""
    return [Wanted(name) for name in HOSTS]


class Centre(LabFleet):
    """The contact centre on a lab, with all that it leaves in a folder."""

    def __init__(self, lab: Lab, root: Path) -> None:
        """Write the inventory, in a folder in which nothing of a centre before is left."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(mode=0o700, parents=True)
        model, variables = (
            yaml.safe_load((HERE / "inventory" / name).read_text())
            for name in ("tls_connections.yml", "group_vars/all.yml")
        )
        settings = {**variables.pop("tls_settings"), "ledger": ledger_settings()}
        super().__init__(lab, root, model=model, settings=settings, variables=variables)

    def begin(self) -> None:
        """Start servers and load, and wait until every pair was answered.

        Raises:
            LabError: one is not.
        """
        self.everywhere(self._set_up)
        start_ledger(self, user="load")
        self.work(interval=INTERVAL, patience=PATIENCE)
        self.worked("ledger")

    def _set_up(self, host: str) -> None:
        script = HERE / "hosts" / (host + ".sh")
        if script.exists():
            self.lab.ssh(host, "bash", "-eu", given=script.read_text(), seconds=120)

    def roll_out(self, say: t.Callable[[str], None] = quiet) -> None:
        """Take all pairs from clear to enforced, wave after wave.

        Raises:
            LabError: a run fails, or a pair is not enforced at the end.
        """
        for wave in sorted({int(row.get("wave", 1)) for row in self.model["connections"]}):
            began = time.monotonic()
            run = self.playbook("rollout", "-e", "tls_until=enforced")
            if run.code:
                raise LabError("the rollout of wave %d ended with %d:\n%s" % (wave, run.code, run.text[-4000:]))
            say("wave %d: %.0f s" % (wave, time.monotonic() - began))
        left = {name: row for name, row in self.stages().items() if row != ("enforced", "done")}
        if left:
            raise LabError("these are not enforced: %s" % left)

    def running(self) -> dict[str, str]:
        """Return since when the main process of every running service runs, by host and unit."""
        words = "systemctl list-units --type=service --state=running --plain --no-legend | cut -d' ' -f1"
        found: dict[str, str] = {}

        def look(host: str) -> None:
            shown = self.lab.ssh(host, "systemctl show -p Id,ExecMainStartTimestamp $(%s)" % words)
            for block in shown.strip().split("\n\n"):
                row = dict(line.split("=", 1) for line in block.splitlines())
                found["%s %s" % (host, row["Id"])] = row["ExecMainStartTimestamp"]

        self.everywhere(look)
        return found

    def leave(self) -> list[Json]:
        """Write what the run leaves for others to judge, and return what every client counted."""
        rows = self._counted()
        for name, data in (("traffic", {"version": 1, "connections": rows}), ("listeners", self._listeners())):
            (self.root / (name + ".json")).write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
        return rows

    def _counted(self) -> list[Json]:
        """Return what every client counted, in the form of the demo's `traffic.json`.

        A balancer's own connections carry what its clients ask, and are counted with theirs.
        """
        found, pairs = [], {pair.id: pair for pair in self.pairs}
        for name, row in sorted(self.traffic().items()):
            pair, counted = pairs[name], dict(row)
            counted.update(
                mode=pair.about.get("mode", "simple"),
                kind=pair.kind,
                permissive=pair.kind not in RESTARTED,
                security="tls" if counted.pop("tls") else "clear",
                repeated=0,
            )
            found.append({"said": "", **counted})
        return found

    def _listeners(self) -> list[Json]:
        """Return every TCP listener of the hosts, with the component's listener that it is, where it is one."""
        known = {
            (pair.server_host, pair.about[name]): {**pair.about, "kind": pair.kind}
            for pair in self.pairs
            for name in ("port", "secure_port")
            if name in pair.about
        }
        found: list[Json] = []

        def look(host: str) -> None:
            for line in self.lab.ssh(host, "ss", "-Hltn").splitlines():
                address, _unused, port = line.split()[3].rpartition(":")
                row = known.get((host, int(port)), {})
                about: Json = {name: row[name] for name in ("kind", "protocol", "mode") if name in row}
                found.append({"host": host, "address": address, "port": int(port), **about})

        self.everywhere(look)
        return sorted(found, key=lambda row: (row["host"], row["port"], row["address"]))
