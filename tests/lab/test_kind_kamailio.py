# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind `kamailio` on hosts: a registrar that demands certificates, and a proxy and a program that ask it."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import pytest

from .driver import Lab
from .fleet import LabFleet
from .judges import STRANGERS, Judge, begin

#: All kinds at once are in test_centre.py; each by itself takes most of a minute.
pytestmark = pytest.mark.soak

HOSTS: t.Final = "reg,edge"
FILES: t.Final = ("/etc/kamailio/kamailio-local.cfg", "/etc/kamailio/tls.cfg", "/etc/kamailio/dispatcher.list")
UNITS: t.Final = (("reg", "kamailio"), ("edge", "kamailio"))
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


def set_up(fleet: LabFleet) -> None:
    """Configure all of them as people would, in the clear."""
    address, own = (fleet.lab.host(name).address for name in ("reg", "edge"))
    listens = "listen=udp:%s:5060\nlisten=tcp:%s:5060 # phones\n" % (address, address)
    fleet.put("reg", "/etc/kamailio/kamailio-local.cfg", listens)
    fleet.lab.ssh("reg", "systemctl start kamailio")
    fleet.put("edge", "/etc/kamailio/kamailio-local.cfg", "listen=udp:%s:5060\nlisten=tcp:%s:5060\n" % (own, own))
    fleet.put("edge", "/etc/kamailio/dispatcher.list", "# servers\n1 sip:%s:5060;transport=tcp\n" % address)
    fleet.put("edge", "/root/dispatcher.cfg", PROXY)
    fleet.lab.ssh("edge", "sed -i '/^loadmodule .siputils.so/r /root/dispatcher.cfg' /etc/kamailio/kamailio.cfg")
    fleet.lab.ssh("edge", "systemctl start kamailio")
    fleet.work()


def test_sip_is_moved_enforced_and_back(lab: Lab, tmp_path: Path) -> None:
    connections = [
        {"client": "proxy", "server": "registrar.sip", "dial": lab.host("reg").address},  # it asks a name service only
        {"client": "app", "server": "registrar.sip", "dial": "reg"},
    ]
    model = {"components": COMPONENTS, "connections": connections}
    fleet = LabFleet(lab, tmp_path / "fleet", model=model, settings=SETTINGS)
    set_up(fleet)
    before = {host: fleet.held(host, *FILES) for host in ("reg", "edge")}
    must_be_reached(lab, "tcp")
    print("enforced in %.1f s" % fleet.enforced())
    must_be_refused(lab)
    must_be_reached(lab, "tls")
    fleet.unchanged(*UNITS)
    print("lost in all: %s" % fleet.worked("app"))
    fleet.taken_back()
    assert {host: fleet.held(host, *FILES) for host in ("reg", "edge")} == before
    fleet.worked("app")
    must_be_reached(lab, "tcp")


def must_be_reached(lab: Lab, transport: str) -> None:
    """Fail unless the proxy says of its server that it is there, over this transport."""
    until = time.monotonic() + 15
    while True:
        said = lab.ssh("edge", "kamcmd dispatcher.list")
        if "transport=%s" % transport in said and "FLAGS: AP" in said:
            return
        assert time.monotonic() < until, said
        time.sleep(0.5)


def must_be_refused(lab: Lab) -> None:
    """Fail unless SIP in the clear is refused, and a client without a certificate, or with a stranger's."""
    judge = Judge(lab, "edge", "app")
    assert "Connection refused" in judge.in_the_clear("reg", 5060, "sip")
    for how in ("", "-E tcp"):
        assert "200" not in lab.ssh("edge", "timeout 5 sipsak %s -s sip:reg:5060 2>&1; true" % how)
    assert "SIP/2.0 200" in judge.answer("reg:5061", begin("sip", "reg:5061"), who="itself")
    for who in STRANGERS:
        assert "SIP/2.0 200" not in judge.answer("reg:5061", begin("sip", "reg:5061"), who=who)
    judge.must_be_on_tls("reg:5061", who="itself")
