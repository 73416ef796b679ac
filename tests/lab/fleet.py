# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet on hosts of a lab: an inventory for the collection's playbooks, clients that ask all the while, and runs.

    fleet = LabFleet(lab, folder, model={"components": ..., "connections": ...}, settings={"directory": {}})
    fleet.work()                        # every client that is the load program asks its servers, in the clear
    fleet.enforced()                    # a rollout, which has to take all pairs to the end
    fleet.worked("app")["lost"]         # once it was answered anew

Clients of kind `pem_service` are the load program (programs/load.py), as the unit `load@<component>`. The model says
whom it asks, and the server's kind how.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml
from integration.harness import BIN, ENFORCE, SWITCH, Fleet, Run

from . import LabError
from .driver import Lab

PROGRAMS: t.Final = Path(__file__).resolve().parent / "programs"
Json = dict[str, t.Any]

#: The client with which a kind of server is asked, and what it needs to know.
CLIENTS: t.Final[t.Mapping[str, t.Mapping[str, str]]] = {
    "apache": {"client": "curl"},
    "haproxy": {"client": "curl"},
    "kamailio": {"client": "sip"},
    "mariadb": {"client": "mariadb", "user": "load"},
    "nginx": {"client": "curl"},
    "openldap": {"client": "ldap", "base": "dc=lab,dc=test"},
    "postfix": {"client": "smtp", "to": "games@lab.test"},
    "postgresql": {"client": "psql", "user": "load", "database": "load"},
    "rabbitmq": {"client": "amqp", "login": "guest:guest"},
    "redis": {"client": "redis", "ask": "incr load"},
    "stunnel": {"client": "line"},
    "tomcat": {"client": "curl"},
}
#: Seconds in which every pair has to be answered, or answered anew.
_ANSWERED: t.Final = 60.0

_OPTIONS: t.Final = "/opt/load/%s/options.ini"
_UNIT: t.Final = """[Unit]
Description=Load on servers, by %i
[Service]
ExecStart=/usr/bin/python3 -B /opt/load/load.py /opt/load/%i/options.ini
ExecReload=/bin/kill -HUP $MAINPID
"""


@dataclass(frozen=True)
class Pair:
    """A pair of the model, as reports name it: who asks, and the listener that is asked."""

    client: str
    client_host: str
    server: str
    server_host: str
    listener: str
    kind: str
    dial: str
    about: t.Mapping[str, t.Any]

    @property
    def id(self) -> str:
        """Its name in reports."""
        return "%s@%s->%s.%s@%s" % (self.client, self.client_host, self.server, self.listener, self.server_host)

    @property
    def place(self) -> tuple[str, str]:
        """The client component and its host."""
        return (self.client, self.client_host)

    def section(self, **more: str) -> str:
        """Return what the load program is told of it."""
        rows = {
            "id": self.id,
            "name": self.dial,
            "port": self.about["port"],
            "tls": "no",
            "verify": "yes",
            "patience": "0",
            "queue": "load." + self.client,
            **CLIENTS[self.kind],
            **more,
        }
        return "[peer.%s.%s]\n%s" % (self.server, self.server_host, "".join("%s = %s\n" % row for row in rows.items()))


def pairs_of(model: t.Mapping[str, t.Any]) -> list[Pair]:
    """Return the pairs of a model, as `enumerate` counts them."""
    components, found = model["components"], []
    for row in model["connections"]:
        name, _unused, listener = row["server"].partition(".")
        server = components[name]
        for host in components[row["client"]]["hosts"]:
            for at in (at for at in server["hosts"] if (name, at) != (row["client"], host)):
                dial = row.get("dial", at + ".lab.test")
                about = server["listeners"][listener]
                found.append(Pair(row["client"], host, name, at, listener, server["kind"], dial, about))
    return found


def load_settings(name: str) -> Json:
    """Return the settings of a client that is the load program: it presents a certificate where it is asked for one."""
    section, config = "peer.{server}.{server_host}", _OPTIONS % name
    rows: list[Json] = [
        {"key": "port", "value": "{secure_port}"},
        {"key": "trust", "value": "{trust}"},
        {"key": "certificate", "value": "{fullchain}", "mode": "mutual"},
        {"key": "key", "value": "{key}", "mode": "mutual"},
        {"key": "tls", "value": "yes"},
    ]
    return {
        "config": config,
        "test": ["/usr/bin/python3", "-B", "/opt/load/load.py", "--check", config],
        "process": {"service": "load@" + name},
        "reload": {"service": "load@" + name},
        "connect": [{"section": section, **row} for row in rows],
        "verify": [{"section": section, "key": "verify", "value": "yes"}],
    }


class LabFleet(Fleet):
    """Components on hosts of a lab, in a folder of their own on the controller."""

    #: Servers are restarted there, and whole clusters.
    patience = 900

    def __init__(
        self,
        lab: Lab,
        root: Path,
        *,
        model: t.Mapping[str, t.Any],
        settings: t.Mapping[str, t.Any],
        variables: t.Mapping[str, t.Any] | None = None,
    ) -> None:
        """Write the inventory.

        Args:
            lab: the hosts.
            root: the folder.
            model: ``components`` and ``connections`` of ``tls_connections.yml``; ``hosts`` where those have other
                names than ``<host>.lab.test``.
            settings: ``tls_settings``, of all that are not the load program.
            variables: further variables of the inventory.
        """
        super().__init__(root, net="")
        self.lab = lab
        self.model = model
        self.pairs = pairs_of(model)
        loads = [name for name, row in model["components"].items() if row["kind"] == "pem_service"]
        hosts = json.loads(lab.inventory.read_text())
        for name, row in hosts["all"]["hosts"].items():
            if "hosts" not in model:
                row["tls_addresses"] = [name + ".lab.test", lab.host(name).address]
        (self.inventory / "group_vars").mkdir(parents=True)
        self._write("hosts.yml", hosts)
        self._write("tls_connections.yml", {"plugin": "connsec.tls.connections", **model})
        ours = {
            "tls_store": str(self.store),
            "tls_store_passphrase": "{{ lookup('ansible.builtin.file', '%s') }}" % (root / "passphrase"),
            "tls_report_directory": str(root),
            "tls_settings": {**{name: load_settings(name) for name in loads}, **settings},
        }
        self._write("group_vars/all.yml", {**(variables or {}), **ours})
        self.prepare()

    def _write(self, name: str, data: t.Any) -> None:
        (self.inventory / name).write_text(yaml.safe_dump(data, sort_keys=False, width=1000))

    # runs

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of its playbooks, which ask all hosts of a lab at once."""
        return super().environment(ANSIBLE_FORKS=str(len(self.lab.hosts)), **more)

    def finish(self, process: subprocess.Popen[str]) -> Run:
        """Wait for a playbook and return what it said; all that playbooks said stays in playbooks.log."""
        run = super().finish(process)
        with (self.root / "playbooks.log").open("a") as log:
            log.write("$ %s\n%s\n" % (" ".join(map(str, t.cast("list[str]", process.args))), run.text))
        return run

    def ask(self, host: str, module: str, options: Json) -> Json:
        """Return what a module of ours says on a host."""
        argv = [str(BIN / "ansible"), "-i", str(self.inventory), host, "-m", "connsec.tls." + module]
        argv += ["-a", json.dumps(options)]
        done = subprocess.run(argv, env=self.environment(), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found: Json = json.loads(done.stdout.partition("=>")[2])
        return found

    def enforced(self, *, exercised: bool = False) -> float:
        """Fail unless a rollout takes all pairs to the end, perhaps seen on live traffic; return how long it took."""
        began = time.monotonic()
        run = self.playbook("rollout", *ENFORCE).must_end(0)
        seconds = time.monotonic() - began
        assert set(self.stages().values()) == {("enforced", "done")}, run.last_lines
        assert not exercised or "unexercised" not in run.last_lines, run.last_lines
        return seconds

    def renewed(self, *units: tuple[str, str]) -> None:
        """Renew every certificate, which has to be seen in use, and to start none of these units of hosts anew."""
        before = self.started(*units)
        self.edit_yaml("tls_connections.yml", lambda data: data.update(authorities={"connsec": {"leaf_days": 45}}))
        run = self.playbook("rollout", *ENFORCE).must_end(0)
        assert re.search(r"store: identity .*round 1 of \d: load", run.text, re.S), run.text[-3000:]
        assert set(self.stages().values()) == {("enforced", "done")}, run.last_lines
        assert self.started(*units) == before

    def unchanged(self, *units: tuple[str, str]) -> None:
        """Roll out again, which has to change nothing and to start none of these units of hosts anew."""
        before = self.started(*units)
        again = self.playbook("rollout", *ENFORCE).must_end(0)
        assert again.changed == 0, again.text[-3000:]
        assert self.started(*units) == before

    def taken_back(self) -> None:
        """Take back all that rollouts did."""
        run = self.playbook("rollback", *SWITCH).must_end(0)
        assert {stage for stage, _status in self.stages().values()} <= {"plain", "trusted", "presented"}, run.last_lines

    # hosts

    def everywhere(self, work: t.Callable[[str], None]) -> None:
        """Do something with all hosts at once."""
        with ThreadPoolExecutor(len(self.lab.hosts)) as pool:
            list(pool.map(work, [host.name for host in self.lab.hosts]))

    def started(self, *units: tuple[str, str]) -> list[str]:
        """Return since when the main processes of units of hosts run."""
        show = "systemctl show --value --property=ExecMainStartTimestampMonotonic "
        return [self.lab.ssh(host, show + unit).strip() for host, unit in units]

    def held(self, host: str, *paths: str) -> str:
        """Return the digests, modes and owners of files of a host; of one that is not there, that."""
        command = "for f in %s; do sha256sum $f && stat -c '%%a %%U %%G' $f || echo none; done 2>/dev/null"
        return self.lab.ssh(host, command % " ".join(paths))

    def put(self, host: str, path: str, text: str, mode: str = "644") -> None:
        """Write a file on a host, as somebody who works there."""
        where = shlex.quote(path)
        words = "mkdir -p $(dirname %s) && cat > %s && chmod %s %s" % (where, where, mode, where)
        self.lab.ssh(host, words, given=text)

    def refuses(self, host: str, *words: str) -> str:
        """Run a command on a host that has to fail, and return what it said."""
        command = self.lab.ssh_command(host, *words)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0, "%s works: %s" % (" ".join(words), done.stdout)
        return done.stdout + done.stderr

    # clients

    def work(self, *clients: str, interval: float = 0.05, session: int = 1, **more: str) -> None:
        """Have clients ask their servers from now on, and return once each was answered.

        Args:
            clients: which ones; all that are the load program unless some are named.
            interval: seconds between two sessions of a pair.
            session: how many messages one has.
            more: what its client needs to know besides.
        """
        components = self.model["components"]
        names = clients or [name for name, row in components.items() if row["kind"] == "pem_service"]
        asked = [pair for pair in self.pairs if pair.client in names]

        def start(host: str) -> None:
            here = sorted({pair.client for pair in asked if pair.client_host == host})
            if here:
                self.put(host, "/opt/load/load.py", (PROGRAMS / "load.py").read_text())
                self.put(host, "/etc/systemd/system/load@.service", _UNIT)
                for name in here:
                    sections = [
                        pair.section(requests=str(session), **more) for pair in asked if pair.place == (name, host)
                    ]
                    head = "[component]\nname = %s\ninterval = %g\n" % (name, interval)
                    self.put(host, _OPTIONS % name, "\n".join([head, *sections]), "600")
                units = " ".join("load@" + name for name in here)
                self.lab.ssh(host, "systemctl daemon-reload && systemctl start " + units)

        self.everywhere(start)
        self._answered_anew(asked, {})

    def traffic(self) -> dict[str, Json]:
        """Return what every client counted, by pair."""
        rows: dict[str, Json] = {}
        show = "for each in /opt/load/*/tally.json; do cat $each 2>/dev/null && echo; done; true"
        for host in sorted({pair.client_host for pair in self.pairs}):
            said = self.lab.ssh(host, show)
            rows.update({row["id"]: row for part in said.splitlines() for row in json.loads(part) if "id" in row})
        return rows

    def worked(self, client: str) -> Json:
        """Return what a client counted at its one server, once it was answered anew."""
        (pair,) = (each for each in self.pairs if each.client == client)
        return self._answered_anew([pair], self.traffic())[pair.id]

    def must_be_answered(self) -> dict[str, Json]:
        """Fail unless every pair whose client counts is answered anew, and return what was counted."""
        before = self.traffic()
        return self._answered_anew([pair for pair in self.pairs if pair.id in before], before)

    def rest(self, *clients: str) -> None:
        """End clients, and forget what they counted."""
        for client, host in {pair.place for pair in self.pairs if pair.client in clients}:
            self.lab.ssh(host, "systemctl stop load@%s; rm -r /opt/load/%s" % (client, client))

    def _answered_anew(self, asked: t.Sequence[Pair], before: t.Mapping[str, Json]) -> dict[str, Json]:
        until = time.monotonic() + _ANSWERED
        while True:
            now = self.traffic()
            silent = [
                pair.id
                for pair in asked
                if now.get(pair.id, {}).get("answered", 0) <= before.get(pair.id, {}).get("answered", 0)
            ]
            if not silent:
                return now
            if time.monotonic() > until:
                said = ("%s: %s" % (name, now.get(name, {}).get("said", "it never asked")) for name in silent)
                raise LabError("nobody answers on %s" % "; ".join(said))
            time.sleep(0.2)
