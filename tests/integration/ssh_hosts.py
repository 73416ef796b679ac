# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH hosts for tests: an own sshd on a loopback port for each host, which can be stopped in the middle of a run."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from ports import ADDRESS, free_port

from .harness import Fleet


def sshd_program() -> str:
    """Return sshd, which wants to be started by its whole path; without it the test is left out, and says so."""
    found = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if not found:
        pytest.skip("LEFT OUT: there is no sshd on this machine; the tests of lost hosts did not run")
    return str(Path(found).resolve())


class SshHosts:
    """Hosts of a fleet that Ansible reaches over SSH."""

    def __init__(self, fleet: Fleet, names: list[str]) -> None:
        self._fleet = fleet
        self._folder = fleet.root / "ssh"
        self._folder.mkdir(mode=0o700)
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("host_key", "user_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._folder / name)], check=True, timeout=30
            )
        for name in names:
            self._start(name)

    def _start(self, name: str) -> None:
        port = free_port()
        config = self._folder / ("sshd_%s" % name)
        config.write_text(
            "\n".join(
                (
                    "Port %d" % port,
                    "ListenAddress %s" % ADDRESS,
                    "HostKey %s" % (self._folder / "host_key"),
                    "AuthorizedKeysFile %s" % (self._folder / "user_key.pub"),
                    "PidFile none",
                    "StrictModes no",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "PermitRootLogin prohibit-password",
                    "",
                )
            )
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._daemons[name] = subprocess.Popen(
            [sshd_program(), "-D", "-e", "-f", str(config)], stderr=subprocess.DEVNULL, start_new_session=True
        )
        options = "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o ControlMaster=no -o ConnectTimeout=3"
        variables = {
            "ansible_connection": "ssh",
            "ansible_host": ADDRESS,
            "ansible_port": port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self._folder / "user_key"),
            "ansible_ssh_args": options,
            "ansible_ssh_retries": 0,
        }
        folder = self._fleet.inventory / "host_vars"
        folder.mkdir(exist_ok=True)
        rows = ["%s: '%s'" % row if isinstance(row[1], str) else "%s: %s" % row for row in variables.items()]
        with open(folder / ("%s.yml" % name), "a") as file:
            file.write("\n".join(rows) + "\n")
        self._wait(port)

    def _wait(self, port: int) -> None:
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((ADDRESS, port), 1).close()
                return
            except OSError:
                assert time.monotonic() < until, "sshd does not listen"
                time.sleep(0.05)

    def lose(self, name: str) -> None:
        """Stop a host's sshd and every session of it, as if its network went away; its programs go on."""
        daemon = self._daemons.pop(name)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()

    def __enter__(self) -> SshHosts:
        """Return the hosts, all of them reachable."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop every sshd, and let Ansible reach the hosts without it again."""
        for name in list(self._daemons):
            self.lose(name)
        shutil.rmtree(self._fleet.inventory / "host_vars")
