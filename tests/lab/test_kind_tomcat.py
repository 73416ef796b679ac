# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind `tomcat` on hosts: an application that demands certificates, and a program that asks it for a page."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .driver import Lab
from .fleet import LabFleet
from .judges import STRANGERS, Judge, begin

#: All kinds at once are in test_centre.py; each by itself takes most of a minute.
pytestmark = pytest.mark.soak

HOSTS: t.Final = "app1,desk"
FILE: t.Final = "/etc/tomcat10/server.xml"
MODEL: t.Final = {
    "components": {
        "crm": {
            "kind": "tomcat",
            "hosts": ["app1"],
            "listeners": {"web": {"port": 8080, "secure_port": 8443, "protocol": "http", "mode": "mutual"}},
        },
        "app": {"kind": "pem_service", "hosts": ["desk"]},
    },
    "connections": [{"client": "app", "server": "crm.web", "dial": "app1"}],
}
#: The connector should say no more, and take no more, than the clear one.
SETTINGS: t.Final = {"crm": {"permit": [{"key": "maxParameterCount", "value": "1000"}]}}


def test_pages_are_moved_enforced_and_back(lab: Lab, tmp_path: Path) -> None:
    fleet = LabFleet(lab, tmp_path / "fleet", model=MODEL, settings=SETTINGS)
    lab.ssh(
        "app1", "systemctl start tomcat10; curl -so /dev/null --retry 100 --retry-delay 1 --retry-connrefused app1:8080"
    )
    fleet.work()
    before = fleet.held("app1", FILE)
    print("enforced in %.1f s" % fleet.enforced())
    must_be_refused(lab)
    fleet.unchanged(("app1", "tomcat10"))
    print("lost in all: %s" % fleet.worked("app"))
    fleet.taken_back()
    assert fleet.held("app1", FILE) == before
    fleet.worked("app")


def must_be_refused(lab: Lab) -> None:
    """Fail unless pages in the clear are refused, and a client without a certificate, or with a stranger's."""
    judge, secure = Judge(lab, "desk", "app"), "https://app1:8443/"
    assert "Connection refused" in judge.in_the_clear("app1", 8080, "http")
    assert "200" not in judge.in_the_clear("app1", 8443, "http")
    curl = "cd /etc/connsec/app/current; curl -s --cacert trust.pem -o /dev/null -w '%%{http_code}' %s %s || true"
    assert lab.ssh("desk", curl % (secure, "--cert fullchain.pem --key key.pem")) == "200"
    assert lab.ssh("desk", curl % (secure, "")) == "000"
    for who in STRANGERS:
        assert "200" not in judge.answer("app1:8443", begin("http", "app1"), who=who).split()
    judge.must_be_on_tls("app1:8443", who="itself")
