# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system's own trust on real hosts: curl, openssl and Java refuse a server, trust it, and refuse it again."""

from __future__ import annotations

import shlex
import time
import typing as t
from pathlib import Path

import pytest
from unit.look.servers import Authority

from . import LabError
from .driver import Lab
from .plays import Plays

#: It takes most of a minute; make soak runs it.
pytestmark = pytest.mark.soak


LIST = "/etc/ssl/certs/ca-certificates.crt"
#: Every file and link of what a system trusts, with its content.
SEEN = (
    "cd /; find etc/ssl/certs usr/local/share/ca-certificates etc/connsec -type l -printf '%p -> %l\\n' -o -type f"
    " ! -name .lock ! -path etc/ssl/certs/java/cacerts -printf '%m %p ' -exec sh -c 'sha256sum <\"$1\"' sh '{}' ';'"
    " 2>/dev/null | sort"
)


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority("Partner", tmp_path_factory.mktemp("partner"))


@pytest.fixture(scope="module")
def served(lab: Lab, partner: Authority) -> t.Iterator[str]:
    """A server on db with a certificate of the partner's; what a client dials."""
    issued = partner.issue("server", "db.lab.test")
    put(lab, "db", "/run/server.pem", issued.pem + issued.key_pem)
    command = "openssl s_server -accept 4433 -cert /run/server.pem -key /run/server.pem -www"
    lab.ssh("db", "systemd-run --unit=served --collect --quiet -- " + command)
    wait(lab, "db", "ss -Hltn sport = 4433 | grep -q .")
    yield "https://db.lab.test:4433/"
    lab.ssh("db", "systemctl stop served")


def put(lab: Lab, host: str, path: str, text: str) -> None:
    lab.ssh(host, "umask 077; cat > " + shlex.quote(path), given=text)


def wait(lab: Lab, host: str, command: str) -> None:
    until = time.monotonic() + 10
    while not works(lab, host, command):
        assert time.monotonic() < until, command
        time.sleep(0.1)


def works(lab: Lab, host: str, command: str) -> bool:
    try:
        lab.ssh(host, command)
    except LabError:
        return False
    return True


def trusts(lab: Lab, url: str) -> dict[str, bool]:
    """Return which programs of web complete a handshake with a server, by the list and by the folder of the system."""
    openssl = "openssl s_client -connect db.lab.test:4433 -verify_hostname db.lab.test -verify_return_error </dev/null"
    python = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"
    return {
        "curl": works(lab, "web", "curl --silent --show-error --output /dev/null " + url),
        "openssl": works(lab, "web", openssl),
        "openssl, folder": works(lab, "web", openssl + " -no-CAfile -CApath /etc/ssl/certs"),
        "python": works(lab, "web", "python3 -c %s %s" % (shlex.quote(python), url)),
    }


def java_aliases(lab: Lab, store: str) -> list[str]:
    said = lab.ssh("web", "keytool -list -keystore %s -storepass changeit" % store)
    return [line.partition(",")[0] for line in said.splitlines() if line.startswith("connsec-")]


def test_programs_trust_what_is_added_and_refuse_it_once_it_is_gone(
    lab: Lab, served: str, partner: Authority, tmp_path: Path
) -> None:
    plays = Plays(lab, tmp_path)
    given: dict[str, t.Any] = {"trusting": "web", "partner_roots": partner.root.certificate_file}
    plays.play("authority", trusting="web")
    before = lab.ssh("web", SEEN)
    assert set(trusts(lab, served).values()) == {False}
    plays.four_beats("system_trust", lambda: lab.ssh("web", SEEN), **given)
    assert set(trusts(lab, served).values()) == {True}
    store = "/etc/connsec/java.d/cacerts"
    assert {alias.split("-")[1] for alias in java_aliases(lab, store)} == {"ours", "partner"}
    assert plays.play("system_trust", tls_system_trust_state="absent", **given).changed == 2
    assert plays.play("system_trust", tls_system_trust_state="absent", **given).changed == 0
    assert set(trusts(lab, served).values()) == {False}
    assert lab.ssh("web", SEEN) == before, "not a link of it is left"


def test_a_refresh_that_fails_is_made_up_for_by_the_next_run(lab: Lab, partner: Authority, tmp_path: Path) -> None:
    plays = Plays(lab, tmp_path)
    given: dict[str, t.Any] = {"trusting": "web", "partner_roots": partner.root.certificate_file}
    said = plays.play("system_trust", ends=2, **given).text
    assert "ours: the store has no authority connsec; it has none" in said
    before, given["tls_system_trust"] = lab.ssh("web", SEEN), [{"name": "partner", "pem": partner.root.pem}]
    lab.ssh("web", "mv /usr/bin/openssl /usr/bin/openssl.away")
    try:
        said = plays.play("system_trust", ends=2, **given).text
    finally:
        lab.ssh("web", "mv /usr/bin/openssl.away /usr/bin/openssl")
    assert "the refresh of the system's trust (/usr/sbin/update-ca-certificates) ended with 127" in said
    assert lab.ssh("web", "ls /usr/local/share/ca-certificates") == ""
    said = plays.play("system_trust", "--diff", tls_system_trust_state="absent", **given).text
    assert "a refresh was begun and has not ended" in said
    assert lab.ssh("web", SEEN) == before
