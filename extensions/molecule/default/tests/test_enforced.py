# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the rollout: no plaintext anywhere, everything verified, and requests answered all the way through."""

from __future__ import annotations

import pytest
from connsec_testinfra import Host, demands_certificates, enforced, handshake, key

testinfra_hosts = ["lb1"]
MATERIAL = "/etc/connsec/front/current/"
TRUST = MATERIAL + "trust.pem"
CLIENT = (MATERIAL + "fullchain.pem", MATERIAL + "key.pem")


@pytest.mark.parametrize("server", ["web1", "web2", "lb1"])
def test_every_listener_refuses_plaintext(host: Host, server: str) -> None:
    assert enforced(host, server + ".lab.test", port=8080, secure_port=8443, trust=TRUST)


def test_the_interface_takes_known_programs_alone(host: Host) -> None:
    given = {"port": 8080, "secure_port": 8443, "trust": TRUST, "client": CLIENT}
    assert enforced(host, "api1.lab.test", **given)
    assert demands_certificates(host, "api1.lab.test", 8443, trust=TRUST, client=CLIENT)


def test_our_authority_signed_for_the_names_that_are_dialled(host: Host) -> None:
    seen = handshake(host, "web1.lab.test", 8443, trust=TRUST)
    assert seen.signer.startswith("connsec issuing")
    assert "web1.lab.test" in seen.names
    assert seen.protocol in ("TLSv1.2", "TLSv1.3")
    assert not handshake(host, "web1.lab.test", 8443).verified, "the system knows nothing of that authority"
    assert not handshake(host, "web1.lab.test", 8443, trust=TRUST, name="web2.lab.test").verified


def test_root_alone_reads_the_key(host: Host) -> None:
    seen = key(host, MATERIAL + "key.pem")
    assert (seen.owner, seen.mode, seen.readers) == ("root", 0o400, ())


@pytest.mark.parametrize(("path", "answers"), [("/", "shop web"), ("/api", "api")])
def test_requests_are_answered_all_the_way_through(host: Host, path: str, answers: str) -> None:
    done = host.run("curl --silent --show-error http://lb1.lab.test:9000%s", path)
    assert done.stdout.startswith(answers), done.stderr
