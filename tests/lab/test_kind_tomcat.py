# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind `tomcat` on hosts: an application that demands certificates, and a program that asks it for a page."""

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
GET: t.Final = "GET / HTTP/1.0\r\nHost: app1\r\n\r\n"


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    driver.build(print)
    with driver.lab(NET, parse_hosts("app1,desk")) as found:
        yield found


def test_pages_are_moved_enforced_and_back(lab: Lab, tmp_path: Path) -> None:
    story = Story(lab, tmp_path / "story", model=MODEL, settings=SETTINGS)
    lab.ssh(
        "app1",
        "systemctl start tomcat10; for i in $(seq 100); do curl -so /dev/null app1:8080 && break; sleep .2; done",
    )
    story.start_app("desk", {"crm": {"protocol": "http", "address": "app1", "port": 8080, "path": "/"}})
    before = story.held("app1", FILE)
    began = time.monotonic()
    story.must_be_enforced()
    print("enforced in %.1f s" % (time.monotonic() - began))
    must_be_refused(story)
    since = story.started("app1", "tomcat10")
    story.must_be_unchanged()
    assert story.started("app1", "tomcat10") == since
    print("lost in all: %s" % (story.must_be_answered_anew("desk")["crm"],))
    story.must_go_back()
    assert story.held("app1", FILE) == before
    story.must_be_answered_anew("desk")


def must_be_refused(story: Story) -> None:
    """Fail unless pages in the clear are refused, and a client without a certificate, or with a stranger's."""
    assert "Connection refused" in story.said("desk", 8080, GET, at="app1")
    assert "200" not in story.said("desk", 8443, GET, at="app1")
    curl = "cd /etc/connsec/app/current; curl -s --cacert trust.pem -o /dev/null -w '%%{http_code}' %s %s || true"
    secure, ours = "https://app1:8443/", "--cert fullchain.pem --key key.pem"
    assert story.lab.ssh("desk", curl % (secure, ours)) == "200"
    assert story.lab.ssh("desk", curl % (secure, "")) == "000"
    for stranger in ((), story.foreign("desk")):
        assert "200" not in story.s_client("desk", "app1:8443", *stranger, words=GET).split()
    story.must_be_on_tls("desk", "app1:8443", *story.ours())
