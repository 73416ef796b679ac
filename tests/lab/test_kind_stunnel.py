# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind `stunnel` on hosts: a server and a client that cannot speak TLS, and a client of that server that can."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .driver import Lab
from .fleet import LabFleet
from .judges import STRANGERS, Judge, begin

#: All kinds at once are in test_centre.py; each by itself takes most of a minute.
pytestmark = pytest.mark.soak

HOSTS: t.Final = "back,desk"
TUNNEL: t.Final = ("/etc/stunnel/*", "/etc/systemd/system/*.service", "/etc/systemd/system/*.target.d")
FILES: t.Final = {"back": ("/etc/billing.ini", *TUNNEL), "desk": ("/opt/load/dialer/options.ini", *TUNNEL)}
MODEL: t.Final = {
    "components": {
        "billing": {
            "kind": "stunnel",
            "hosts": ["back"],
            "listeners": {"lines": {"port": 7000, "secure_port": 7001, "protocol": "lines", "mode": "mutual"}},
        },
        "dialer": {"kind": "stunnel", "hosts": ["desk"]},
        "app": {"kind": "pem_service", "hosts": ["desk"]},
    },
    "connections": [
        {"client": "dialer", "server": "billing.lines"},
        {"client": "app", "server": "billing.lines", "dial": "back"},
    ],
}
SETTINGS: t.Final = {
    "billing": {
        "application_config": "/etc/billing.ini",
        "application": {"service": "billing"},
        "application_process": {"service": "billing"},
        "enforce": [{"section": "server", "key": "bind", "value": "127.0.0.1"}],
        "interruption": 1,
    },
    "dialer": {
        "application_config": "/opt/load/dialer/options.ini",
        "application": {"service": "load@dialer"},
        "application_process": {"service": "load@dialer"},
        "connect": [
            {"section": "peer.{server}.{server_host}", "key": "name", "value": "127.0.0.1"},
            {"section": "peer.{server}.{server_host}", "key": "port", "value": "{port}"},
        ],
    },
}

#: A server that repeats lines, and cannot speak TLS.
BILLING: t.Final = """\
import configparser, socketserver
options = configparser.ConfigParser()
options.read("/etc/billing.ini")
class Repeat(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server((options["server"]["bind"], 7000), Repeat).serve_forever()
"""
UNIT: t.Final = "[Service]\nExecStart=/usr/bin/python3 /usr/local/bin/billing\n"


def set_up(fleet: LabFleet) -> None:
    """Start the server and its clients, in the clear."""
    fleet.put("back", "/usr/local/bin/billing", BILLING)
    fleet.put("back", "/etc/billing.ini", "; who may reach it\n[server]\nbind = 0.0.0.0\n")
    fleet.put("back", "/etc/systemd/system/billing.service", UNIT)
    fleet.lab.ssh("back", "systemctl start billing; sleep 0.3")
    fleet.work("app", "dialer")


def test_programs_without_tls_are_moved_enforced_and_back(lab: Lab, tmp_path: Path) -> None:
    fleet = LabFleet(lab, tmp_path / "fleet", model=MODEL, settings=SETTINGS)
    set_up(fleet)
    before = {host: fleet.held(host, *files) for host, files in FILES.items()}
    print("enforced in %.1f s" % fleet.enforced())
    must_be_closed(lab)
    fleet.unchanged(("back", "connsec-billing"), ("back", "billing"), ("desk", "connsec-dialer"))
    counted = [fleet.worked(name) for name in ("app", "dialer")]
    print("lost by those with TLS of their own and without, in all: %s, %s" % tuple(counted))
    assert sum(each["lost"] for each in counted) <= 20, counted
    must_start_with_the_host(lab)
    fleet.taken_back()
    assert {host: fleet.held(host, *files) for host, files in FILES.items()} == before
    assert lab.ssh("back", "systemctl is-active connsec-billing || true").strip() == "inactive"
    for name in ("app", "dialer"):
        fleet.worked(name)


def must_be_closed(lab: Lab) -> None:
    """Fail unless the program answers nobody in the clear, and over TLS those alone whom its tunnel knows."""
    judge, hello = Judge(lab, "desk", "app"), begin("lines")
    assert "Connection refused" in judge.in_the_clear("back", 7000, "lines")
    assert hello not in judge.in_the_clear("back", 7001, "lines")
    assert hello in judge.in_the_clear("127.0.0.1", 7000, "lines")
    assert hello in judge.answer("back:7001", hello, who="itself")
    for who in STRANGERS:
        assert hello not in judge.answer("back:7001", hello, who=who)
    judge.must_be_on_tls("back:7001", who="itself")
    assert "stunnel4" in lab.ssh("back", "stat -Lc %U /etc/connsec/billing/current/key.pem")


def must_start_with_the_host(lab: Lab) -> None:
    """Fail unless a host that boots has its tunnel."""
    lab.ssh("back", "systemctl daemon-reload")
    wants = lab.ssh("back", "systemctl show --property=Wants --value multi-user.target")
    assert "connsec-billing.service" in wants.split()
