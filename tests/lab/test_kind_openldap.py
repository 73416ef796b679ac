# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind `openldap` on hosts: a directory that demands certificates over StartTLS, and who searches it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .driver import Lab
from .fleet import LabFleet
from .judges import Judge

#: All kinds at once are in test_centre.py; each by itself takes most of a minute.
pytestmark = pytest.mark.soak

HOSTS: t.Final = "ds,desk"
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


def test_searches_are_moved_enforced_and_back(lab: Lab, tmp_path: Path) -> None:
    fleet = LabFleet(lab, tmp_path / "fleet", model=MODEL, settings={"directory": {}})
    lab.ssh("ds", "systemctl start slapd")
    before = lab.ssh("ds", CONFIG)
    fleet.work()
    since = lab.ssh("ds", "cat /run/slapd/slapd.pid")
    print("enforced in %.1f s" % fleet.enforced())
    must_be_refused(lab)
    fleet.unchanged()
    counted = fleet.worked("app")
    print("lost in all: %s" % counted)
    assert counted["lost"] == 0, counted
    assert lab.ssh("ds", "cat /run/slapd/slapd.pid") == since, "it was not restarted"
    fleet.taken_back()
    assert sorted(lab.ssh("ds", CONFIG).splitlines()) == sorted(before.splitlines())
    print("lost with the way back, for which it is stopped: %s" % fleet.worked("app"))


def must_be_refused(lab: Lab) -> None:
    """Fail unless searches in the clear are refused, and a client without a certificate, or with a stranger's."""
    judge = Judge(lab, "desk", "app")
    assert "Confidentiality required (13)" in lab.ssh("desk", SEARCH)
    assert "confidentiality required" in judge.in_the_clear("ds", 389, "ldap")
    ours, folder = "dn: dc=lab,dc=test", "/etc/connsec/app/current"
    assert ours in searched(lab, "LDAPTLS_CERT=%s/fullchain.pem LDAPTLS_KEY=%s/key.pem" % (folder, folder))
    assert ours not in searched(lab, "")
    assert ours not in searched(lab, "LDAPTLS_CERT=/root/stranger.pem LDAPTLS_KEY=/root/stranger.key")
    judge.must_be_on_tls("ds:389", "-starttls", "ldap", who="itself")


def searched(lab: Lab, presenting: str) -> str:
    """Return what the directory's own client says over StartTLS, with these variables."""
    trust = "LDAPTLS_REQCERT=demand LDAPTLS_CACERT=/etc/connsec/app/current/trust.pem"
    return lab.ssh("desk", "%s %s %s" % (trust, presenting, SEARCH.replace("-x", "-x -ZZ")))
