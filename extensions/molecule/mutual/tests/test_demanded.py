# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface demands certificates over TLS, its clear port is still open, and nothing else was touched."""

from __future__ import annotations

from connsec_testinfra import Host, demands_certificates, handshake, plaintext

testinfra_hosts = ["lb1"]
MATERIAL = "/etc/connsec/front/current/"
GIVEN = {"trust": MATERIAL + "trust.pem", "client": (MATERIAL + "fullchain.pem", MATERIAL + "key.pem")}


def test_known_programs_are_answered_and_others_refused(host: Host) -> None:
    assert demands_certificates(host, "api1.lab.test", 8443, **GIVEN)
    assert handshake(host, "api1.lab.test", 8443, **GIVEN).answer.endswith("api")


def test_its_clear_port_is_open_until_it_is_enforced(host: Host) -> None:
    assert plaintext(host, "api1.lab.test", 8080).startswith("HTTP/1.1 404")


def test_what_was_not_in_scope_speaks_no_tls(host: Host) -> None:
    for server in ("web1", "web2", "lb1"):
        assert plaintext(host, server + ".lab.test", 8443) == "closed"
