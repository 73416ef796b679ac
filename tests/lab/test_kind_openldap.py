# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind `openldap` on hosts: a directory that demands certificates over StartTLS, and who searches it."""

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

MODEL: t.Final = {
    "components": {
        "directory": {
            "kind": "openldap",
            "hosts": ["ds"],
            "listeners": {"ldap": {"port": 389, "protocol": "ldap", "mode": "mutual"}},
        },
        "app": {"kind": "pem_service", "hosts": ["desk"]},
    },
    "connections": [{"client": "app", "server": "directory.ldap", "dial": "ds"}],
}
CONFIG: t.Final = "ldapsearch -Q -Y EXTERNAL -H ldapi:/// -LLL -o ldif-wrap=no -b cn=config"
SEARCH: t.Final = "ldapsearch -x -LLL -H ldap://ds -b dc=lab,dc=test -s base dn 2>&1 || true"


#: A search of the root entry as it goes over the line (RFC 4511, 4.5.1).
ROOT: t.Final = (
    "0*\x02\x01\x01c%\x04\x00\n\x01\x00\n\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00"
    "\x87\x0bobjectClass0\x05\x04\x031.1"
)


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    driver.build(print)
    with driver.lab(NET, parse_hosts("ds,desk")) as found:
        found.ssh("ds", "systemctl start slapd")
        yield found


def test_searches_are_moved_enforced_and_back(lab: Lab, tmp_path: Path) -> None:
    story = Story(lab, tmp_path / "story", model=MODEL, settings={"directory": {}})
    before = lab.ssh("ds", CONFIG)
    row = {"protocol": "ldap", "address": "ds", "port": 389, "base": "dc=lab,dc=test"}
    story.start_app("desk", {"directory": row})
    since = lab.ssh("ds", "cat /run/slapd/slapd.pid")
    began = time.monotonic()
    story.must_be_enforced()
    print("enforced in %.1f s" % (time.monotonic() - began))
    must_be_refused(story)
    story.must_be_unchanged()
    counted = story.must_be_answered_anew("desk")["directory"]
    print("lost in all: %s" % (counted,))
    assert counted.lost == 0
    assert lab.ssh("ds", "cat /run/slapd/slapd.pid") == since, "it was not restarted"
    story.must_go_back()
    assert sorted(lab.ssh("ds", CONFIG).splitlines()) == sorted(before.splitlines())
    print("lost with the way back, for which it is stopped: %s" % (story.must_be_answered_anew("desk")["directory"],))


def must_be_refused(story: Story) -> None:
    """Fail unless searches in the clear are refused, and a client without a certificate, or with a stranger's."""
    assert "Confidentiality required (13)" in story.lab.ssh("desk", SEARCH)
    assert "confidentiality required" in story.said("desk", 389, ROOT, at="ds", seconds=1)
    ours, folder = "dn: dc=lab,dc=test", "/etc/connsec/app/current"
    assert ours in searched(story, "LDAPTLS_CERT=%s/fullchain.pem LDAPTLS_KEY=%s/key.pem" % (folder, folder))
    assert ours not in searched(story, "")
    story.foreign("desk")
    assert ours not in searched(story, "LDAPTLS_CERT=/root/f.pem LDAPTLS_KEY=/root/f.key")
    story.must_be_on_tls("desk", "ds:389", "-starttls", "ldap", *story.ours())


def searched(story: Story, presenting: str) -> str:
    """Return what the directory's own client says over StartTLS, with these variables."""
    trust = "LDAPTLS_REQCERT=demand LDAPTLS_CACERT=/etc/connsec/app/current/trust.pem"
    return story.lab.ssh("desk", "%s %s %s" % (trust, presenting, SEARCH.replace("-x", "-x -ZZ")))
