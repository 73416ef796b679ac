# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind `kamailio` on hosts: a registrar that demands certificates, and a proxy and a program that ask it."""

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

FILES: t.Final = ("/etc/kamailio/kamailio-local.cfg", "/etc/kamailio/tls.cfg", "/etc/kamailio/dispatcher.list")
COMPONENTS: t.Final = {
    "registrar": {
        "kind": "kamailio",
        "hosts": ["reg"],
        "listeners": {"sip": {"port": 5060, "secure_port": 5061, "protocol": "sip", "mode": "mutual"}},
    },
    "proxy": {"kind": "kamailio", "hosts": ["edge"]},
    "app": {"kind": "pem_service", "hosts": ["edge"]},
}
SETTINGS: t.Final = {
    "registrar": {},
    "proxy": {
        "peers_config": "/etc/kamailio/dispatcher.list",
        "connect": [
            {"key": "1 sip:{dial}:{port};transport=tcp", "state": "absent"},
            {"key": "1 sip:{dial}:{secure_port};transport=tls", "value": ""},
        ],
    },
}

#: A proxy that asks its servers once a second whether they are there, as dispatcher does.
PROXY: t.Final = """\
loadmodule "dispatcher.so"
modparam("dispatcher", "list_file", "/etc/kamailio/dispatcher.list")
modparam("dispatcher", "ds_ping_interval", 1)
modparam("dispatcher", "ds_probing_mode", 1)
"""


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    driver.build(print)
    with driver.lab(NET, parse_hosts("reg,edge")) as found:
        yield found


def set_up(story: Story) -> None:
    """Configure all of them as people would, in the clear."""
    address = story.lab.host("reg").address
    listens = "listen=udp:%s:5060\nlisten=tcp:%s:5060 # phones\n" % (address, address)
    story.put("reg", "/etc/kamailio/kamailio-local.cfg", listens)
    story.lab.ssh("reg", "systemctl start kamailio")
    own = story.lab.host("edge").address
    story.put("edge", "/etc/kamailio/kamailio-local.cfg", "listen=udp:%s:5060\nlisten=tcp:%s:5060\n" % (own, own))
    story.put("edge", "/etc/kamailio/dispatcher.list", "# servers\n1 sip:%s:5060;transport=tcp\n" % address)
    story.put("edge", "/root/dispatcher.cfg", PROXY)
    story.lab.ssh("edge", "sed -i '/^loadmodule .siputils.so/r /root/dispatcher.cfg' /etc/kamailio/kamailio.cfg")
    story.lab.ssh("edge", "systemctl start kamailio")
    story.start_app("edge", {"registrar": {"protocol": "sip", "address": "reg", "port": 5060}})


def test_sip_is_moved_enforced_and_back(lab: Lab, tmp_path: Path) -> None:
    connections = [
        {"client": "proxy", "server": "registrar.sip", "dial": lab.host("reg").address},  # it asks a name service only
        {"client": "app", "server": "registrar.sip", "dial": "reg"},
    ]
    model = {"components": COMPONENTS, "connections": connections}
    story = Story(lab, tmp_path / "story", model=model, settings=SETTINGS)
    set_up(story)
    before = {host: story.held(host, *FILES) for host in ("reg", "edge")}
    must_be_reached(story, "tcp")
    began = time.monotonic()
    story.must_be_enforced()
    print("enforced in %.1f s" % (time.monotonic() - began))
    must_be_refused(story)
    must_be_reached(story, "tls")
    since = [story.started(host, "kamailio") for host in ("reg", "edge")]
    story.must_be_unchanged()
    assert [story.started(host, "kamailio") for host in ("reg", "edge")] == since
    counted = story.must_be_answered_anew("edge")["registrar"]
    print("lost in all: %s" % (counted,))
    story.must_go_back()
    assert {host: story.held(host, *FILES) for host in ("reg", "edge")} == before
    story.must_be_answered_anew("edge")
    must_be_reached(story, "tcp")


def must_be_reached(story: Story, transport: str) -> None:
    """Fail unless the proxy says of its server that it is there, over this transport."""
    until = time.monotonic() + 15
    while True:
        said = story.lab.ssh("edge", "kamcmd dispatcher.list")
        if "transport=%s" % transport in said and "FLAGS: AP" in said:
            return
        assert time.monotonic() < until, said
        time.sleep(0.5)


OPTIONS: t.Final = (
    "OPTIONS sip:reg:5061 SIP/2.0\r\nVia: SIP/2.0/TLS edge;branch=z9hG4bK1;rport\r\nFrom: <sip:a@lab.test>;tag=1\r\n"
    "To: <sip:reg>\r\nCall-ID: 1@lab.test\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 5\r\nContent-Length: 0\r\n\r\n"
)


def must_be_refused(story: Story) -> None:
    """Fail unless SIP in the clear is refused, and a client without a certificate, or with a stranger's."""
    assert "Connection refused" in story.said("edge", 5060, OPTIONS, at="reg")
    sipsak = story.lab.ssh(
        "edge", "timeout 5 sipsak -s sip:reg:5060 2>&1; timeout 5 sipsak -E tcp -s sip:reg:5060 2>&1; true"
    )
    assert "200" not in sipsak
    assert "SIP/2.0 200" in story.s_client("edge", "reg:5061", *story.ours(), words=OPTIONS)
    for stranger in ((), story.foreign("edge")):
        assert "SIP/2.0 200" not in story.s_client("edge", "reg:5061", *stranger, words=OPTIONS)
    story.must_be_on_tls("edge", "reg:5061", *story.ours())
