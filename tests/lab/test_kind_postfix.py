# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind `postfix` on hosts: a server that demands certificates, and a Postfix and a program that send mail to it."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import pytest

from .driver import Lab
from .fleet import LabFleet
from .judges import Judge

#: All kinds at once are in test_centre.py; each by itself takes most of a minute.
pytestmark = pytest.mark.soak

HOSTS: t.Final = "mx,desk"
FILES: t.Final = ("/etc/postfix/main.cf", "/etc/postfix/master.cf", "/etc/postfix/connsec_policy")
MODEL: t.Final = {
    "components": {
        "mail": {
            "kind": "postfix",
            "hosts": ["mx"],
            "listeners": {"smtp": {"port": 25, "protocol": "smtp", "mode": "mutual"}},
        },
        "relay": {"kind": "postfix", "hosts": ["desk"]},
        "app": {"kind": "pem_service", "hosts": ["desk"]},
    },
    "connections": [
        {"client": "relay", "server": "mail.smtp", "dial": "mx"},
        {"client": "app", "server": "mail.smtp", "dial": "mx"},
    ],
}


#: A Postfix that hands on all that it is given; hosts of a lab have no name service.
RELAYING: t.Final = (
    "relayhost=[mx] mydestination= default_transport=smtp relay_transport=relay"
    " smtp_host_lookup=native smtp_tls_security_level=none"
)


def set_up(lab: Lab) -> None:
    """Configure both as people would, in the clear."""
    lab.ssh("mx", "postconf -e inet_interfaces=all && systemctl start postfix")
    lab.ssh("desk", "postconf -e %s && systemctl start postfix" % RELAYING)


def relayed(lab: Lab, number: int) -> None:
    """Have the Postfix at the desk take so many mails from a program of its own host, with swaks."""
    command = "swaks --silent 2 --server 127.0.0.1 --from a@lab.test --to www-data@lab.test --header 'Subject: relayed'"
    lab.ssh("desk", "for i in $(seq %d); do %s || exit 1; done" % (number, command))


def must_have_arrived(lab: Lab, number: int) -> None:
    """Fail unless so many of these arrive, and each once."""
    until = time.monotonic() + 10
    while True:
        found = int(lab.ssh("mx", "cat /var/mail/www-data 2>/dev/null | grep -c '^Subject: relayed' || true"))
        if found >= number:
            assert found == number
            return
        assert time.monotonic() < until, lab.ssh("desk", "mailq; journalctl -t postfix/smtp -n 20 -o cat")
        time.sleep(0.2)


def test_mail_is_moved_enforced_and_back(lab: Lab, tmp_path: Path) -> None:
    set_up(lab)
    fleet = LabFleet(lab, tmp_path / "fleet", model=MODEL, settings={"mail": {}, "relay": {}})
    before = {host: fleet.held(host, *FILES) for host in ("mx", "desk")}
    relayed(lab, 2)
    must_have_arrived(lab, 2)
    fleet.work()
    print("enforced in %.1f s" % fleet.enforced())
    relayed(lab, 2)
    must_have_arrived(lab, 4)
    counted = fleet.worked("app")
    print(counted)
    assert counted["lost"] == 0, counted
    must_be_refused(lab)
    since = fleet.started(("mx", "postfix@-"))
    fleet.unchanged()
    fleet.taken_back()
    assert {host: fleet.held(host, *FILES) for host in ("mx", "desk")} == before
    counted = fleet.worked("app")
    assert counted["lost"] == 0, counted
    relayed(lab, 2)
    must_have_arrived(lab, 6)
    assert fleet.started(("mx", "postfix@-")) == since


def must_be_refused(lab: Lab) -> None:
    """Fail unless mail in the clear is refused, and a client without a certificate, or with a stranger's."""
    judge, smtp = Judge(lab, "desk", "app"), ("-starttls", "smtp")
    assert "530 5.7.0 Must issue a STARTTLS command first" in judge.in_the_clear("mx", 25, "smtp")
    swaks = "swaks --server mx --from a@lab.test --to www-data@lab.test --quit-after RCPT"
    assert "530 5.7.0" in lab.ssh("desk", swaks + " 2>&1 || true")
    words = "EHLO desk\r\nMAIL FROM:<>\r\n"
    refused = "421 4.7.1 mx.localdomain Error: "
    assert refused + "No client certificate presented" in judge.answer("mx:25", words, *smtp)
    assert refused + "Client certificate not trusted" in judge.answer("mx:25", words, *smtp, who="stranger")
    assert "250 2.1.0 Ok" in judge.answer("mx:25", words, *smtp, who="itself")
    judge.must_be_on_tls("mx:25", *smtp)
