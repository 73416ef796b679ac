# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind `stunnel` on hosts: a server and a client that cannot speak TLS, and a client of that server that can."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import pytest

from . import driver
from .conftest import NET
from .driver import Lab
from .names import parse_hosts
from .story import Story

#: All kinds at once are in test_centre.py; each by itself takes most of a minute.
pytestmark = pytest.mark.soak

FILES: t.Final = {
    "back": ("/etc/billing.ini", "/etc/stunnel/*", "/etc/systemd/system/*.service", "/etc/systemd/system/*.target.d"),
    "desk": ("/etc/dialer.ini", "/etc/stunnel/*", "/etc/systemd/system/*.service", "/etc/systemd/system/*.target.d"),
}
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
        "application_config": "/etc/dialer.ini",
        "application": {"command": ["/bin/true"]},  # it reads its options for each request
        "application_process": {"service": "dialer"},
        "connect": [
            {"section": "{server}", "key": "address", "value": "127.0.0.1"},
            {"section": "{server}", "key": "port", "value": "{port}"},
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


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    driver.build(print)
    with driver.lab(NET, parse_hosts("back,desk")) as found:
        yield found


def set_up(story: Story) -> None:
    """Start the server and its clients, in the clear."""
    story.put("back", "/usr/local/bin/billing", BILLING)
    story.put("back", "/etc/billing.ini", "; who may reach it\n[server]\nbind = 0.0.0.0\n")
    story.put("back", "/etc/systemd/system/billing.service", UNIT)
    story.lab.ssh("back", "systemctl start billing; sleep 0.3")
    row = {"protocol": "echo", "address": "back", "port": 7000}
    story.start_app("desk", {"billing": row})
    story.start_app("desk", {"billing": row}, name="dialer")


def test_programs_without_tls_are_moved_enforced_and_back(lab: Lab, tmp_path: Path) -> None:
    story = Story(lab, tmp_path / "story", model=MODEL, settings=SETTINGS)
    set_up(story)
    before = {host: story.held(host, *files) for host, files in FILES.items()}
    began = time.monotonic()
    story.must_be_enforced()
    print("enforced in %.1f s" % (time.monotonic() - began))
    must_be_closed(story)
    units = ("back", "connsec-billing", "billing"), ("desk", "connsec-dialer")
    since = [story.started(*each) for each in units]
    story.must_be_unchanged()
    assert [story.started(*each) for each in units] == since
    counted = [story.must_be_answered_anew("desk", name=name)["billing"] for name in ("app", "dialer")]
    print("lost by those with TLS of their own and without, in all: %s, %s" % tuple(counted))
    assert sum(each.lost for each in counted) <= 20, counted
    must_start_with_the_host(story)
    story.must_go_back()
    assert {host: story.held(host, *files) for host, files in FILES.items()} == before
    assert lab.ssh("back", "systemctl is-active connsec-billing || true").strip() == "inactive"
    for name in ("app", "dialer"):
        story.must_be_answered_anew("desk", name=name)


def must_be_closed(story: Story) -> None:
    """Fail unless the program answers nobody in the clear, and over TLS those alone whom its tunnel knows."""
    assert "Connection refused" in story.said("desk", 7000, "hello\n", at="back")
    assert "hello" not in story.said("desk", 7001, "hello\n", at="back")
    assert "hello" in story.said("desk", 7000, "hello\n", at="127.0.0.1", seconds=1)
    assert "hello" in story.s_client("desk", "back:7001", *story.ours(), words="hello\n")
    for stranger in ((), story.foreign("desk")):
        assert "hello" not in story.s_client("desk", "back:7001", *stranger, words="hello\n")
    story.must_be_on_tls("desk", "back:7001", *story.ours())
    assert "stunnel4" in story.lab.ssh("back", "stat -Lc %U /etc/connsec/billing/current/key.pem")


def must_start_with_the_host(story: Story) -> None:
    """Fail unless a host that boots has its tunnel."""
    story.lab.ssh("back", "systemctl daemon-reload")
    wants = story.lab.ssh("back", "systemctl show --property=Wants --value multi-user.target")
    assert "connsec-billing.service" in wants.split()
