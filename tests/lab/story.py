# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout on hosts of a lab: an inventory of its own, the real playbooks, and a client that asks all the while.

The client is `load.py` on its host, as the unit `app`: it asks each of its servers in turn, in the server's protocol,
and reads from its option file, which kind `pem_service` edits, whether it uses TLS and what it presents.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

import yaml
from integration.harness import ENFORCE, PASSPHRASE, Fleet

from . import LabError
from .driver import Lab

#: The client, as a component of kind `pem_service`.
APP: t.Final[dict[str, t.Any]] = {
    "config": "/etc/app.ini",
    "process": {"service": "app"},
    "reload": {"command": ["/bin/true"]},  # it reads its options for each request
    "connect": [
        {"section": "{server}", "key": "port", "value": "{secure_port}"},
        {"section": "{server}", "key": "trust", "value": "{trust}"},
        {"section": "{server}", "key": "certificate", "value": "{fullchain}", "mode": "mutual"},
        {"section": "{server}", "key": "key", "value": "{key}", "mode": "mutual"},
        {"section": "{server}", "key": "tls", "value": "yes"},
    ],
    "verify": [{"section": "{server}", "key": "tls", "value": "yes"}],
}


class Traffic(t.NamedTuple):
    """What the client counted at one server: requests, those that were not answered, and the first of these."""

    asked: int
    lost: int
    why: str


class Story(Fleet):
    """A fleet on hosts of a lab."""

    def __init__(self, lab: Lab, root: Path, *, model: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]) -> None:
        """Write the inventory: what the model and `tls_settings` hold, besides the hosts and the client's settings."""
        super().__init__(root, net="127.0.0")
        self.lab = lab
        self.inventory.mkdir(parents=True)
        shutil.copy(lab.inventory, self.inventory / "hosts.json")
        self._write("tls_connections.yml", {"plugin": "connsec.tls.connections", **model})
        settings = {"app": APP, **settings}
        self._write(
            "group_vars/all.yml",
            {
                "tls_store": str(self.store),
                "tls_store_passphrase": PASSPHRASE,
                "tls_report_directory": str(root),
                "tls_settings": settings,
            },
        )

    def _write(self, name: str, data: t.Any) -> None:
        path = self.inventory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(data, sort_keys=False, width=1000))

    def must_be_enforced(self) -> None:
        """Fail unless a rollout takes all pairs to the end."""
        run = self.playbook("rollout", *ENFORCE).must_end(0)
        assert set(self.stages().values()) == {("enforced", "done")}, run.last_lines

    def must_be_unchanged(self) -> None:
        """Fail unless a rollout finds nothing to do."""
        again = self.playbook("rollout", *ENFORCE).must_end(0)
        assert again.changed == 0, again.text[-3000:]

    def must_go_back(self) -> None:
        """Fail unless a rollback takes back all that rollouts did."""
        run = self.playbook("rollback", "-e", "tls_scope=all").must_end(0)
        assert {stage for stage, _status in self.stages().values()} <= {"plain", "trusted", "presented"}, run.text

    # its client

    def start_app(self, host: str, servers: t.Mapping[str, t.Mapping[str, t.Any]], *, name: str = "app") -> None:
        """Start a client on a host; `servers` has what its option file says of each."""
        rows = ["[%s]\n%s" % (each, "".join("%s = %s\n" % row for row in one.items())) for each, one in servers.items()]
        self.put(host, "/etc/%s.ini" % name, "\n".join(rows))
        self.put(host, "/usr/local/bin/app", Path(__file__).with_name("load.py").read_text())
        self.lab.ssh(host, "systemd-run --quiet --unit=%s /usr/bin/python3 /usr/local/bin/app %s" % (name, name))
        self.must_be_answered_anew(host, name=name)

    def put(self, host: str, path: str, text: str) -> None:
        """Write a file on a host, as somebody who works there."""
        self.lab.ssh(host, "cat >%s" % path, given=text)

    def counted(self, host: str, *, name: str = "app") -> dict[str, Traffic]:
        """Return what a client has counted so far, by server."""
        try:
            found = json.loads(self.lab.ssh(host, "cat /run/%s.json" % name))
        except LabError:
            return {}
        return {each: Traffic(**row) for each, row in found.items()}

    def must_be_answered_anew(self, host: str, *, name: str = "app") -> dict[str, Traffic]:
        """Fail unless each server answers a client again, and return what it had counted by then."""
        before, until = self.counted(host, name=name), time.monotonic() + 20
        while True:
            now = self.counted(host, name=name)
            if now and all(_answered(now, each) > _answered(before, each) for each in now):
                return now
            assert time.monotonic() < until, now
            time.sleep(0.2)

    # what must hold on hosts

    def held(self, host: str, *paths: str) -> str:
        """Return the digests, modes and owners of files of a host; of one that is not there, that."""
        command = "for f in %s; do sha256sum $f && stat -c '%%a %%U %%G' $f || echo none; done 2>/dev/null"
        return self.lab.ssh(host, command % " ".join(paths))

    def started(self, host: str, *units: str) -> list[str]:
        """Return since when the main processes of units run."""
        show = "systemctl show --property=ExecMainStartTimestampMonotonic --value " + " ".join(units)
        return self.lab.ssh(host, show).split()

    def s_client(self, host: str, where: str, *arguments: str, words: str = "") -> str:
        """Return what openssl's client says of `host:port`, seen from a host, and what comes back to some words."""
        name = where.partition(":")[0]
        command = ["openssl", "s_client", "-connect", where, "-brief", "-CAfile", "/etc/connsec/app/current/trust.pem"]
        command += ["-verify_hostname", name, "-verify_return_error", *arguments]
        say = "(printf %s; sleep %s)" % (shlex.quote(words), 1.5 if words else 0)
        return self.lab.ssh(host, "%s | timeout 10 %s 2>&1 || true" % (say, shlex.join(command)))

    def must_be_on_tls(self, host: str, where: str, *arguments: str) -> None:
        """Fail unless openssl verifies a listener, and agrees with it on no version before TLS 1.2."""
        said = self.s_client(host, where, *arguments)
        assert "Verification: OK" in said and "Protocol version: TLSv1.3" in said, said
        assert "Verification: OK" in self.s_client(host, where, *arguments, "-tls1_2")
        assert "CONNECTION ESTABLISHED" not in self.s_client(host, where, *arguments, "-tls1_1")

    def ours(self) -> tuple[str, ...]:
        """Return the arguments by which openssl presents the client's certificate."""
        folder = "/etc/connsec/app/current/"
        return ("-cert", folder + "certificate.pem", "-cert_chain", folder + "chain.pem", "-key", folder + "key.pem")

    def foreign(self, host: str) -> tuple[str, ...]:
        """Return the arguments by which openssl presents the certificate of a CA that nobody here knows."""
        make = (
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout /root/f.key -out /root/f.pem -days 2 -subj /CN=foreign"
        )
        self.lab.ssh(host, make + " 2>/dev/null")
        return ("-cert", "/root/f.pem", "-key", "/root/f.key")

    def said(self, host: str, port: int, words: str, *, at: str, seconds: float = 3.0) -> str:
        """Return what a port says to some words in the clear, as a host's raw socket sees it."""
        script = (
            "import socket, sys\n"
            "s = socket.create_connection((%r, %d), %r)\n"
            "s.sendall(%r)\n"
            "data = b''\n"
            "try:\n"
            "    while part := s.recv(4096): data += part\n"
            "except OSError: pass\n"
            "print(data.decode('latin-1'))\n"
        ) % (at, port, seconds, words.encode("latin-1"))
        done = subprocess.run(
            self.lab.ssh_command(host, "python3", "-"),
            input=script,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout + done.stderr


def _answered(counted: t.Mapping[str, Traffic], name: str) -> int:
    return counted[name].asked - counted[name].lost if name in counted else 0
