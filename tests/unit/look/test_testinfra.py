# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helpers for pytest-testinfra judge servers that behave, and those that do not, rightly."""

from __future__ import annotations

import os
import re
import shlex
import socket
import ssl
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from connsec_testinfra import Verdict, demands_certificates, enforced, handshake, key, plaintext, service_variable

from .servers import Listening, Pki

Serve = t.Callable[..., Listening]


class Here:
    """This machine as testinfra would give it, with a Python of its own and perhaps programs of the test's."""

    def __init__(self, path: str = "") -> None:
        self._path = os.pathsep.join([path, os.path.dirname(sys.executable), os.environ["PATH"]])

    def run(self, command: str, *arguments: str) -> t.Any:
        line = command % tuple(map(shlex.quote, arguments))
        done = subprocess.run(
            line, shell=True, capture_output=True, text=True, env={**os.environ, "PATH": self._path}, check=False
        )
        done.rc = done.returncode  # type: ignore[attr-defined]
        return done


HERE = Here()


def answer(context: ssl.SSLContext, says: bytes = b"HTTP/1.0 200 OK\r\n\r\nshop") -> t.Callable[[socket.socket], None]:
    """Return a handler that completes a handshake, reads a request and answers."""

    def handle(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(says)
            tls.unwrap().close()

    return handle


def in_the_clear(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nshop")
    peer.close()


@pytest.fixture
def closed() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def asked(pki: Pki, **more: t.Any) -> dict[str, t.Any]:
    return {"trust": pki.trust, "name": "server.example", **more}


def test_an_enforced_listener_is_one_and_says_who_signed(pki: Pki, serve: Serve, closed: int) -> None:
    server = serve(answer(pki.context()))
    found = enforced(HERE, server.address, port=closed, secure_port=server.port, **asked(pki))
    assert found and "signed by connsec test CA" in found.why
    assert enforced(HERE, server.address, port=server.port, **asked(pki)), "on one port plaintext meets an alert"
    seen = handshake(HERE, server.address, server.port, **asked(pki))
    assert (seen.verified, seen.protocol, seen.signer) == (True, "TLSv1.3", "connsec test CA")
    assert "server.example" in seen.names and seen.answer.endswith("shop")


def judged(pki: Pki, serve: Serve, closed: int, case: str) -> Verdict:
    """Return the verdict on a listener that is not enforced."""
    served = {"foreign": pki.stranger}.get(case)
    old = {"minimum": ssl.TLSVersion.TLSv1, "weak": True} if case == "old" else {}
    server = serve(answer(pki.context(served, **old)))
    clear = serve(in_the_clear).port if case == "clear" else closed
    name = "other.example" if case == "name" else "server.example"
    return enforced(HERE, server.address, port=clear, secure_port=server.port, trust=pki.trust, name=name)


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("clear", "plaintext is answered on port"),
        ("foreign", "no verified handshake .*(unable to get local issuer|self.signed)"),
        ("name", "no verified handshake .*(mismatch|not valid for)"),
        ("old", "TLSv1.1 is spoken"),
    ],
)
def test_a_listener_that_is_not_enforced_says_why(pki: Pki, serve: Serve, closed: int, case: str, why: str) -> None:
    found = judged(pki, serve, closed, case)
    assert not found
    assert re.search(why, found.why), found.why


def test_plaintext_on_the_one_port_is_found(serve: Serve, pki: Pki) -> None:
    server = serve(in_the_clear)
    found = enforced(HERE, server.address, port=server.port, **asked(pki))
    assert not found and "plaintext is answered" in found.why


def test_a_listener_demands_certificates_or_does_not(pki: Pki, serve: Serve) -> None:
    client = (pki.client.certificate_file, pki.client.key_file)
    for clients, demands in ((ssl.CERT_REQUIRED, True), (ssl.CERT_OPTIONAL, False)):
        server = serve(answer(pki.context(clients=clients)))
        assert bool(demands_certificates(HERE, server.address, server.port, client=client, **asked(pki))) is demands
    stranger = (pki.stranger.certificate_file, pki.stranger.key_file)
    server = serve(answer(pki.context(clients=ssl.CERT_REQUIRED)))
    assert not demands_certificates(HERE, server.address, server.port, client=stranger, **asked(pki))


def test_a_refusal_that_is_said_in_http_is_one(pki: Pki, serve: Serve) -> None:
    says = b"HTTP/1.1 400 Bad Request\r\n\r\nNo required SSL certificate was sent"
    server = serve(answer(pki.context(), says))
    client = (pki.client.certificate_file, pki.client.key_file)
    found = demands_certificates(HERE, server.address, server.port, client=client, **asked(pki))
    assert not found and "a client with a certificate is refused" in found.why


def test_what_comes_back_in_the_clear_has_a_word(serve: Serve, pki: Pki, closed: int) -> None:
    assert plaintext(HERE, "127.0.0.1", closed) == "closed"
    assert plaintext(HERE, "127.0.0.1", serve(in_the_clear).port).endswith("shop")
    assert plaintext(HERE, "127.0.0.1", serve(answer(pki.context())).port) in ("alert", "reset")


@pytest.mark.skipif(os.geteuid() != 0, reason="LEFT OUT: only root asks for every account")
def test_who_can_read_a_key(tmp_path: Path) -> None:
    path = Path("/var/tmp") / ("connsec-%d.pem" % os.getpid())
    try:
        path.write_text("a key")
        path.chmod(0o400)
        found = key(HERE, str(path))
        assert (found.owner, found.mode, found.readers) == ("root", 0o400, ())
        path.chmod(0o444)
        assert "nobody" in key(HERE, str(path)).readers
    finally:
        path.unlink()


def test_what_a_running_service_has(tmp_path: Path) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text("#!/bin/sh\necho $CONNSEC_TEST_PID\n")
    tool.chmod(0o755)
    service = subprocess.Popen(["sleep", "60"], env={"SSL_CERT_FILE": "/a/trust.pem"})
    try:
        os.environ["CONNSEC_TEST_PID"] = str(service.pid)
        assert service_variable(Here(str(tmp_path)), "x.service", "SSL_CERT_FILE") == "/a/trust.pem"
        assert service_variable(Here(str(tmp_path)), "x.service", "SSL_CERT_DIR") is None
        os.environ["CONNSEC_TEST_PID"] = "0"
        with pytest.raises(AssertionError, match=r"x\.service does not run"):
            service_variable(Here(str(tmp_path)), "x.service", "SSL_CERT_FILE")
    finally:
        del os.environ["CONNSEC_TEST_PID"]
        service.kill()
        service.wait()
