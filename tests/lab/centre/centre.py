# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A contact centre on hosts of the lab: its servers, its load, and the playbooks that move it.

with driver.lab(net, wanted()) as lab:
    centre = Centre(lab, folder)
    centre.start()                      # everything runs, and talks in the clear
    centre.playbook("rollout", ...)
    centre.traffic()                    # what every client counted
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from .. import LabError
from ..driver import Lab
from ..names import Wanted

HERE: t.Final = Path(__file__).resolve().parent
ROOT: t.Final = HERE.parents[2]
BIN: t.Final = Path(sys.executable).parent
HOSTS: t.Final = ("web1", "web2", "lb1", "db1", "db2", "mx1", "mq1", "sip1", "app1", "app2")

#: The client with which a kind of server is asked, and what it needs to know.
CLIENTS: t.Final[t.Mapping[str, t.Mapping[str, str]]] = {
    "apache": {"client": "curl"},
    "haproxy": {"client": "curl"},
    "kamailio": {"client": "sip"},
    "mariadb": {"client": "mariadb", "user": "load"},
    "nginx": {"client": "curl"},
    "openldap": {"client": "ldap", "base": "dc=lab,dc=test"},
    "postfix": {"client": "smtp"},
    "postgresql": {"client": "psql", "user": "load", "database": "load"},
    "rabbitmq": {"client": "amqp", "user": "load:load"},
    "redis": {"client": "redis"},
    "stunnel": {"client": "line"},
    "tomcat": {"client": "curl"},
}
#: The kinds that are restarted, or whose program is, and so cut off their clients for a while; their pages say when.
RESTARTED: t.Final = frozenset({"kamailio", "mariadb", "rabbitmq", "stunnel", "tomcat"})
#: Seconds between two messages of a pair, and for which one is repeated until it is lost.
INTERVAL: t.Final = 1.0
PATIENCE: t.Final = 5.0
#: Seconds in which every pair has to be answered once the servers have started.
_STARTING: t.Final = 60.0

_UNIT: t.Final = """[Unit]
Description=Load on servers, by %i
[Service]
ExecStart=/usr/bin/python3 -B /opt/load/load.py /opt/load/%i/options.ini
ExecReload=/bin/kill -HUP $MAINPID
"""


@dataclass(frozen=True)
class Asked:
    """A pair whose client is the load program."""

    client: str
    client_host: str
    server: str
    server_host: str
    listener: str
    port: int
    kind: str

    @property
    def id(self) -> str:
        """The pair, as reports name it."""
        return "%s@%s->%s.%s@%s" % (self.client, self.client_host, self.server, self.listener, self.server_host)

    def section(self) -> str:
        """Return what the load program is told of it."""
        rows = {
            "id": self.id,
            "name": self.server_host + ".lab.test",
            "port": self.port,
            "tls": "no",
            "verify": "yes",
            "patience": "%g" % PATIENCE,
            **CLIENTS[self.kind],
        }
        text = "".join("%s = %s\n" % row for row in rows.items())
        return "[peer.%s.%s]\n%s" % (self.server, self.server_host, text)


def model() -> dict[str, t.Any]:
    """Return who talks to whom."""
    found: dict[str, t.Any] = yaml.safe_load((HERE / "inventory" / "tls_connections.yml").read_text())
    return found


def asked() -> list[Asked]:
    """Return the pairs that the load program asks."""
    components, found = model()["components"], []
    for row in model()["connections"]:
        client, (name, _unused, listener) = components[row["client"]], row["server"].partition(".")
        if client["kind"] == "pem_service":
            server = components[name]
            port = server["listeners"][listener]["port"]
            found += [
                Asked(row["client"], host, name, at, listener, port, server["kind"])
                for host in client["hosts"]
                for at in server["hosts"]
            ]
    return found


def wanted() -> list[Wanted]:
    """Return the hosts that it needs."""
    return [Wanted(name) for name in HOSTS]


class Centre:
    """The contact centre on a lab, with all that it leaves in a folder."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.inventory = folder / "inventory"

    def prepare(self) -> None:
        """Make the inventory: the lab's hosts, with the names that others dial, and who talks to whom."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True)
        shutil.copytree(HERE / "inventory", self.inventory)
        hosts = json.loads(self.lab.inventory.read_text())
        for name, variables in hosts["all"]["hosts"].items():
            variables["tls_addresses"] = [name + ".lab.test", self.lab.host(name).address]
        hosts["all"]["vars"]["centre"] = str(self.folder)
        (self.inventory / "hosts.json").write_text(json.dumps(hosts, indent=1) + "\n")
        (self.folder / "passphrase").write_text(secrets.token_urlsafe(24))
        (self.folder / "passphrase").chmod(0o600)

    def start(self) -> None:
        """Start servers and load, and wait until every pair was answered.

        Raises:
            LabError: one is not.
        """
        self.prepare()
        self._everywhere(self._set_up)
        self._everywhere(self._load)
        until = time.monotonic() + _STARTING
        while True:
            rows = self.traffic()
            silent = [each.id for each in asked() if not rows.get(each.id, {}).get("answered")]
            if not silent:
                return
            if time.monotonic() > until:
                said = ("%s: %s" % (name, rows.get(name, {}).get("said", "it never asked")) for name in silent)
                raise LabError("nobody answers on %s" % "; ".join(said))
            time.sleep(0.5)

    def _everywhere(self, work: t.Callable[[str], None]) -> None:
        with ThreadPoolExecutor(len(HOSTS)) as pool:
            list(pool.map(work, HOSTS))

    def _set_up(self, host: str) -> None:
        script = HERE / "hosts" / (host + ".sh")
        if script.exists():
            self.lab.ssh(host, "bash", "-eu", given=script.read_text(), seconds=120)

    def _load(self, host: str) -> None:
        """Start the load programs of a host."""
        clients = sorted({each.client for each in asked() if each.client_host == host})
        if not clients:
            return
        self.lab.ssh(host, "mkdir -p /opt/load && cat > /opt/load/load.py", given=(HERE / "load.py").read_text())
        self.lab.ssh(host, "cat > /etc/systemd/system/load@.service && systemctl daemon-reload", given=_UNIT)
        for client in clients:
            sections = [each.section() for each in asked() if (each.client, each.client_host) == (client, host)]
            text = "\n".join(["[component]\nname = %s\ninterval = %g\n" % (client, INTERVAL), *sections])
            folder = "/opt/load/" + client
            self.lab.ssh(host, "mkdir -p %s && cat > %s/options.ini" % (folder, folder), given=text)
            self.lab.ssh(host, "systemctl start load@" + client)

    # ---------------------------------------------------------------- playbooks

    def playbook(self, name: str, *extra: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook of ours; all that it said stays in the folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CONNSEC_"))}
        variables = {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build"),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_FORKS": "10",
            "ANSIBLE_NOCOLOR": "true",
            "PATH": "%s:%s" % (BIN, os.environ["PATH"]),
        }
        argv = [str(BIN / "ansible-playbook"), "-i", str(self.inventory), "connsec.tls." + name, *extra]
        done = subprocess.run(
            argv, env={**kept, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        with (self.folder / "playbooks.log").open("a") as log:
            log.write("$ %s\n%s\n" % (" ".join(argv), done.stdout))
        return done

    def pairs(self) -> dict[str, dict[str, t.Any]]:
        """Return the pairs of the model, as `enumerate` counts them, by their names."""
        components, found = model()["components"], {}
        for row in model()["connections"]:
            name, _unused, listener = row["server"].partition(".")
            for host in components[row["client"]]["hosts"]:
                for at in components[name]["hosts"]:
                    server = components[name]
                    pair = "%s@%s->%s.%s@%s" % (row["client"], host, name, listener, at)
                    found[pair] = {**server["listeners"][listener], "kind": server["kind"], "host": at}
        return found

    def report(self) -> dict[str, t.Any]:
        """Return the newest report."""
        found: dict[str, t.Any] = json.loads((self.folder / "report.json").read_text())
        return found

    def stages(self) -> dict[str, tuple[str, str]]:
        """Return stage and status of each pair."""
        return {row["id"]: (row["stage"], row["status"]) for row in self.report()["connections"]}

    # ---------------------------------------------------------------- what it shows

    def traffic(self) -> dict[str, dict[str, t.Any]]:
        """Return what the load programs counted, by pair."""
        clients = sorted({(each.client, each.client_host) for each in asked()})
        rows: dict[str, dict[str, t.Any]] = {}
        for client, host in clients:
            text = self.lab.ssh(host, "cat /opt/load/%s/tally.json 2>/dev/null || echo []" % client)
            rows.update({row["id"]: row for row in json.loads(text) if "id" in row})
        return rows

    def started(self) -> dict[str, str]:
        """Return since when the main process of every running service runs, by host and unit."""
        words = "systemctl list-units --type=service --state=running --plain --no-legend | cut -d' ' -f1"
        found: dict[str, str] = {}
        for host in HOSTS:
            units = self.lab.ssh(host, words).split()
            shown = self.lab.ssh(host, "systemctl", "show", "-p", "Id,ExecMainStartTimestamp", *units)
            for block in shown.strip().split("\n\n"):
                row = dict(line.split("=", 1) for line in block.splitlines())
                found["%s %s" % (host, row["Id"])] = row["ExecMainStartTimestamp"]
        return found


def traffic_of(centre: Centre) -> dict[str, t.Any]:
    """Return what every client counted, in the form of the demo's `traffic.json`.

    A balancer's own connections carry what its clients ask, and are counted with theirs.
    """
    modes = {row["id"]: row["mode"] for row in centre.report()["connections"]}
    kinds = centre.pairs()
    rows = [
        {
            "id": row["id"],
            "sent": row["sent"],
            "answered": row["answered"],
            "lost": row["lost"],
            "repeated": 0,
            "resent": row["resent"],
            "late": row["late"],
            "longest_gap_ms": row["longest_gap_ms"],
            "mode": modes[row["id"]],
            "kind": kinds[row["id"]]["kind"],
            "permissive": kinds[row["id"]]["kind"] not in RESTARTED,
            "security": "tls" if row["tls"] else "clear",
            "said": row.get("said", ""),
        }
        for row in centre.traffic().values()
    ]
    return {"version": 1, "connections": sorted(rows, key=lambda row: str(row["id"]))}


def listeners(centre: Centre) -> list[dict[str, t.Any]]:
    """Return every TCP listener of the hosts, with the component's listener that it is, where it is one."""
    known: dict[tuple[str, int], dict[str, t.Any]] = {}
    for row in centre.pairs().values():
        for name in ("port", "secure_port"):
            if name in row:
                known[(row["host"], row[name])] = row
    found = []
    for host in HOSTS:
        for line in centre.lab.ssh(host, "ss", "-Hltn").splitlines():
            address, _unused, port = line.split()[3].rpartition(":")
            row = known.get((host, int(port)), {})
            about: dict[str, t.Any] = {name: row[name] for name in ("kind", "protocol", "mode") if name in row}
            found.append({"host": host, "address": address, "port": int(port), **about})
    return sorted(found, key=lambda row: (row["host"], row["port"], row["address"]))
