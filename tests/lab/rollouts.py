# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet on hosts of a lab: an inventory for the collection's playbooks, applications that work, and judges."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import yaml
from integration.harness import ENFORCE, Fleet, Run
from unit.look.servers import Authority, Issued

from .driver import Lab

PROGRAMS: t.Final = Path(__file__).resolve().parent / "programs"
Json = dict[str, t.Any]


@dataclass(frozen=True)
class Load:
    """What an application counted."""

    answered: int
    lost: int
    faults: tuple[str, ...]


class LabFleet(Fleet):
    """Components on hosts of a lab, in a folder of their own on the controller."""

    #: Servers are restarted there, and whole clusters.
    patience = 900

    def __init__(self, lab: Lab, root: Path, *, model: Json, settings: Json) -> None:
        """Write the inventory.

        Args:
            lab: the hosts.
            root: the folder.
            model: ``components`` and ``connections`` of ``tls_connections.yml``.
            settings: ``tls_settings``.
        """
        super().__init__(root, net="")
        self.lab = lab
        (self.inventory / "group_vars").mkdir(parents=True)
        (self.inventory / "hosts.json").write_text(lab.inventory.read_text())
        hosts = {host.name: {"os": "linux", "addresses": [host.address]} for host in lab.hosts}
        document = {"plugin": "connsec.tls.connections", "hosts": hosts, **model}
        (self.inventory / "tls_connections.yml").write_text(yaml.safe_dump(document, sort_keys=False))
        variables = {
            "tls_store": str(self.store),
            "tls_store_passphrase": "{{ lookup('ansible.builtin.file', '%s') }}" % (root / "passphrase"),
            "tls_report_directory": str(root),
            "tls_settings": settings,
        }
        (self.inventory / "group_vars" / "all.yml").write_text(yaml.safe_dump(variables, sort_keys=False))
        self.prepare()

    # Runs

    def enforced(self) -> float:
        """Roll out until everything is enforced, and return the seconds that it took."""
        began = time.monotonic()
        run = self.playbook("rollout", *ENFORCE).must_end(0)
        seconds = time.monotonic() - began
        assert set(self.stages().values()) == {("enforced", "done")}, run.last_lines
        assert "unexercised" not in run.last_lines
        return seconds

    def renewed(self, *units: tuple[str, str]) -> None:
        """Renew every certificate, which has to be seen in use, and to start none of these units of hosts anew."""
        before = [self.started(*unit) for unit in units]
        self.edit_yaml("tls_connections.yml", lambda data: data.update(authorities={"connsec": {"leaf_days": 45}}))
        run = self.playbook("rollout", *ENFORCE).must_end(0)
        assert re.search(r"store: identity .*round 1 of \d: load", run.text, re.S), run.text[-3000:]
        assert set(self.stages().values()) == {("enforced", "done")}, run.last_lines
        assert [self.started(*unit) for unit in units] == before

    def unchanged(self, *units: tuple[str, str]) -> None:
        """Roll out again, which has to change nothing and to start none of these units of hosts anew."""
        before = [self.started(*unit) for unit in units]
        again = self.playbook("rollout", *ENFORCE).must_end(0)
        assert again.changed == 0, again.text[-3000:]
        assert [self.started(*unit) for unit in units] == before

    def taken_back(self) -> Run:
        """Take everything back."""
        return self.playbook("rollback", *ENFORCE).must_end(0)

    # Hosts

    def started(self, host: str, unit: str) -> str:
        """Return when a unit's main process was started."""
        return self.lab.ssh(host, "systemctl show --value --property=ExecMainStartTimestampMonotonic %s" % unit).strip()

    def held(self, host: str, *paths: str) -> str:
        """Return digests, modes and owners of files."""
        files = " ".join(paths)
        return self.lab.ssh(host, "sha256sum %s; stat -c '%%n %%a %%U %%G' %s" % (files, files))

    def write(self, host: str, path: str, text: str, mode: str = "644") -> None:
        """Write a file."""
        where = shlex.quote(path)
        words = "mkdir -p $(dirname %s) && cat > %s && chmod %s %s" % (where, where, mode, where)
        self.lab.ssh(host, words, given=text)

    def refuses(self, host: str, *words: str) -> str:
        """Run a command on a host that has to fail, and return what it said."""
        done = subprocess.run(
            self.lab.ssh_command(host, *words), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode != 0, "%s works: %s" % (" ".join(words), done.stdout)
        return done.stdout + done.stderr

    # Applications

    def work(
        self, host: str, name: str, client: str, options: t.Mapping[str, str], *, more: str = "", **environment: str
    ) -> None:
        """Have an application work on a host from now on; ``more`` stands in its option file as well."""
        self.write(host, "/opt/load.py", (PROGRAMS / "load.py").read_text())
        rows = "".join("%s = %s\n" % row for row in options.items())
        self.write(host, "/etc/load/%s.ini" % name, "[server]\n" + rows + more, "600")
        given = " ".join("--setenv=%s=%s" % (key, shlex.quote(value)) for key, value in environment.items())
        unit = "systemd-run --quiet --unit=load-%s %s" % (name, given)
        self.lab.ssh(host, "%s /usr/bin/python3 /opt/load.py %s /etc/load/%s.ini" % (unit, client, name))

    def worked(self, host: str, name: str) -> Load:
        """Return what an application counted, once it has counted some more."""
        before, until = self._counted(host, name), time.monotonic() + 30
        while (now := self._counted(host, name)).get("answered", 0) <= before.get("answered", 0):
            assert time.monotonic() < until, now
            time.sleep(0.2)
        return Load(now["answered"], now["lost"], tuple(now["faults"]))

    def rest(self, host: str, name: str) -> None:
        """End an application, and forget what it counted."""
        self.lab.ssh(host, "systemctl stop load-%s; rm /etc/load/%s.*" % (name, name))

    def _counted(self, host: str, name: str) -> Json:
        found: Json = json.loads(self.lab.ssh(host, "cat /etc/load/%s.ini.json 2>/dev/null || echo {}" % name))
        return found


def application(name: str, *, mutual: bool = False) -> Json:
    """Return the settings of an application of ours, of kind ``pem_service``."""
    shown = [{"key": "certificate", "value": "{fullchain}"}, {"key": "key", "value": "{key}"}] if mutual else []
    rows = [{"key": "trust", "value": "{trust}"}, *shown, {"key": "port", "value": "{secure_port}"}]
    return {
        "config": "/etc/load/%s.ini" % name,
        "process": {"service": "load-%s" % name},
        "reload": {"command": ["true"]},  # it reads its options for each session
        "connect": [{"section": "server", **row} for row in (*rows, {"key": "tls", "value": "yes"})],
        "verify": [{"section": "server", "key": "tls", "value": "yes"}],
    }


class Judge:
    """openssl on the controller, as clients that have the CA list: known, without a certificate, and foreign."""

    def __init__(self, fleet: LabFleet, host: str, component: str, work: Path) -> None:
        """Fetch the CA list of an instance, and perhaps its certificate and key."""
        self._folder = work
        work.mkdir()
        for name in ("trust", "fullchain", "key"):
            path = "/etc/connsec/%s/current/%s.pem" % (component, name)
            (work / name).write_text(fleet.lab.ssh(host, "cat %s 2>/dev/null || true" % path))
        self._foreign: Issued = Authority("foreign", work).issue("stranger", "localhost")

    def refusal(self, address: str, port: int, *more: str, as_: str = "") -> str:
        """Return what openssl says where the server is not verified, or ends the session within a second.

        Over TLS 1.3 a client learns behind the handshake that it is refused.
        """
        own, key = str(self._folder / "fullchain"), str(self._folder / "key")
        identity: list[str] = {
            "": [],
            "itself": ["-cert", own, "-cert_chain", own, "-key", key],
            "foreign": ["-cert", self._foreign.certificate_file, "-key", self._foreign.key_file],
        }[as_]
        argv = ["timeout", "1", "openssl", "s_client", "-connect", "%s:%d" % (address, port), "-ign_eof", "-brief"]
        argv += ["-CAfile", str(self._folder / "trust"), "-verify_return_error", *identity, *more]
        done = subprocess.run(argv, input="", capture_output=True, text=True, errors="replace", timeout=30, check=False)
        said = done.stdout + done.stderr
        lasted = done.returncode == 124
        return "" if lasted and "Verification: OK" in said else "ended with %d: %s" % (done.returncode, said)
