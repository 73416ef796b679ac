# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One certificate for each listener, one for each role, and shared ones: as OpenSSL sees them on the wire."""

from __future__ import annotations

import stat
import subprocess
import typing as t
from pathlib import Path

import pytest

from .harness import CONNECTS_ANEW, ENFORCE, HOLDS_A_SESSION, QUICK, SERVERS, Fleet

#: The secure ports of the server's two listeners, and of the one that its client has itself.
DEFAULT, ADMIN, API = 12021, 12031, 12041


@pytest.fixture
def several(tmp_path: Path, net: str) -> t.Iterator[Fleet]:
    """A small fleet in the clear: a server with two listeners, a client that also serves, and a client of both."""
    found = Fleet(tmp_path / "fleet", net=net)
    found.prepare()
    found.edit_yaml("tls_connections.yml", model)
    found.edit_yaml("group_vars/all.yml", settings)
    found.up()
    try:
        yield found
    finally:
        found.down()


def model(data: dict[str, t.Any]) -> None:
    """Enumerate it."""
    server, router = data["components"]["confserv"], data["components"]["router"]
    server["listeners"]["default"].update(mode="mutual", identity="inner")
    server["listeners"]["admin"] = {"port": 12030, "secure_port": ADMIN, "protocol": "admin", "identity": "outer"}
    router["listeners"] = {"api": {"port": 12040, "secure_port": API, "protocol": "api"}}
    router["identities"] = {"server": "front", "client": "calls"}
    calls = {"key_at": "host"}  # and so a key that is born beside another identity's, which came from the store
    data["identities"] = {"inner": {}, "outer": {"names": ["admin.example.net"]}, "front": {}, "calls": calls}
    data["connections"] = [
        {"client": "router", "server": "confserv.default"},
        {"client": "desk", "server": "confserv.admin"},
        {"client": "desk", "server": "router.api"},
    ]


def settings(data: dict[str, t.Any]) -> None:
    """Say how they are configured: the router presents a certificate, and listens as the server does."""
    server, router = data["tls_settings"]["confserv"], data["tls_settings"]["router"]
    router.update(permit=server["permit"], enforce=server["enforce"])
    router["sessions"] = {"file": "{{ fleet_host }}/router/sessions.jsonl"}
    section = {"section": "listener.{listener}"}
    asked, trust = {**section, "key": "verify_client"}, {**section, "key": "trust", "value": "{trust}"}
    server["permit"] = [trust, {**asked, "value": "request"}, *server["permit"]]
    server["demand"] = [{**asked, "value": "require"}]
    section = {"section": "peer.{server}.{server_host}"}
    presented = [("certificate", "{fullchain}"), ("key", "{key}")]
    router["connect"] = [*({**section, "key": key, "value": value} for key, value in presented), *router["connect"]]


def s_client(fleet: Fleet, instance: str, port: int, *, client: Path | None = None) -> tuple[str, str]:
    """Return what OpenSSL says of a listener, and the fingerprint of the certificate that it presents."""
    presented = ["-cert", str(client / "fullchain.pem"), "-key", str(client / "key.pem")] if client else []
    trust = ["-CAfile", str(fleet.material(CONNECTS_ANEW) / "trust.pem"), "-verify_return_error"]
    argv = ["openssl", "s_client", "-connect", "%s:%d" % (fleet.address(instance), port), *trust, *presented]
    done = subprocess.run([*argv, "-tls1_2"], input="", capture_output=True, text=True, check=False, timeout=20)
    return done.stdout + done.stderr, fingerprint(done.stdout)


def fingerprint(pem: str) -> str:
    """Return the SHA-256 of the first certificate in a text."""
    argv = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    return subprocess.run(argv, input=pem, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def said(certificate: Path) -> str:
    """Return a certificate's names and usages, as OpenSSL prints them."""
    argv = ["openssl", "x509", "-noout", "-ext", "subjectAltName,extendedKeyUsage", "-in", str(certificate)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout


def certificate_of(fleet: Fleet, instance: str, identity: str) -> str:
    """Return the fingerprint of an identity's certificate, as it is installed."""
    return fingerprint((fleet.material(instance) / identity / "certificate.pem").read_text())


def test_each_listener_and_each_role_presents_a_certificate_of_its_own(several: Fleet):
    several.playbook("rollout", *ENFORCE).must_end(0)
    assert set(several.stages().values()) == {("enforced", "done")}
    several.must_talk()

    router = several.material(HOLDS_A_SESSION)
    for server in SERVERS:
        # what is presented at each listener, and at no other
        for port, identity, client in ((DEFAULT, "inner", router / "calls"), (ADMIN, "outer", None)):
            text, served = s_client(several, server, port, client=client)
            assert served == certificate_of(several, server, identity), text
            assert "Verify return code: 0" in text
        assert not (several.material(server) / "key.pem").exists(), "its own identity is presented to nobody"
        for identity in ("inner", "outer"):
            key = (several.material(server) / identity / "key.pem").stat()
            assert stat.S_IMODE(key.st_mode) == 0o400
    inner, outer = (several.material(SERVERS[0]) / name / "certificate.pem" for name in ("inner", "outer"))
    assert inner.read_bytes() != outer.read_bytes()
    # one that is shared is the same on all, and has the names by which each of them is dialled
    assert inner.read_bytes() == (several.material(SERVERS[1]) / "inner" / "certificate.pem").read_bytes()
    assert all("IP Address:" + several.address(server) in said(inner) for server in SERVERS)
    assert "admin.example.net" in said(outer)
    assert "admin.example.net" not in said(inner)

    # one for each role: the client's is for clients alone, and it is what the mutual listener is shown
    text, served = s_client(several, HOLDS_A_SESSION, API)
    assert served == fingerprint((router / "certificate.pem").read_text()), text
    assert "TLS Web Server" in said(router / "certificate.pem")
    assert "TLS Web Client" not in said(router / "certificate.pem")
    assert "TLS Web Server" not in said(router / "calls" / "certificate.pem")
    kept = {name: (several.store / "identities" / (name + ".pem")).read_text() for name in ("front", "calls")}
    assert [name for name, text in kept.items() if "PRIVATE KEY-----" in text] == ["front"], "the other was born there"
    text, _served = s_client(several, SERVERS[0], DEFAULT, client=router)
    assert "alert" in text, "one for servers is refused of a client"
    assert "certificate = %s/calls/fullchain.pem" % router in several.options(HOLDS_A_SESSION).read_text()
    rows = {(row["name"], row["host"]): row for row in several.report()["identities"]}
    assert {name for name, _host in rows} == {"inner", "outer", "front", "calls"}
    assert rows["outer", "cfg1"]["path"] == str(several.material(SERVERS[0]) / "outer" / "certificate.pem")

    again = several.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0, again.text[-3000:]


@pytest.mark.soak
def test_drift_renewal_and_exchange_of_one_certificate_leave_the_others_as_they_are(several: Fleet):
    several.playbook("rollout", *ENFORCE).must_end(0)
    server = SERVERS[0]
    before = {name: certificate_of(several, server, name) for name in ("inner", "outer")}
    (several.material(server) / "outer" / "key.pem").chmod(0o644)
    run = several.playbook("verify", *QUICK).must_end(2)
    assert "outer/key.pem is 0644, planned 0400" in run.last_lines
    drifted = {name for name, (_stage, status) in several.stages().items() if status == "failed"}
    assert drifted == {"desk@app1->confserv.admin@cfg1"}
    several.playbook("rollout", *ENFORCE).must_end(0)
    assert stat.S_IMODE((several.material(server) / "outer" / "key.pem").stat().st_mode) == 0o400

    (several.store / "identities" / "outer.pem").unlink()
    several.playbook("rollout", *ENFORCE).must_end(0)
    after = {name: certificate_of(several, server, name) for name in ("inner", "outer")}
    assert after["inner"] == before["inner"]
    assert after["outer"] != before["outer"]
    assert s_client(several, server, ADMIN)[1] == after["outer"]
    several.must_talk()

    # the listener goes over to its instance's own, and what it named before stays until then
    def own(data: dict[str, t.Any]) -> None:
        del data["components"]["confserv"]["listeners"]["admin"]["identity"]

    several.edit_yaml("tls_connections.yml", own)
    several.playbook("rollout", *ENFORCE).must_end(0)
    assert set(several.stages().values()) == {("enforced", "done")}
    assert s_client(several, server, ADMIN)[1] == certificate_of(several, server, "")
    assert certificate_of(several, server, "outer") == after["outer"]
    assert certificate_of(several, server, "inner") == before["inner"]
    assert "current/outer" not in several.options(server).read_text()
    again = several.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0, again.text[-3000:]
    several.must_talk()
