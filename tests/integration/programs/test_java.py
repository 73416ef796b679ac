# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The component on the JVM speaks as the others do, on both of its ports, and refuses options that it cannot use."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from parts import processes

from .authority import Authority
from .bench import FLEET, PORT, TLS_PORT, wait

pytestmark = pytest.mark.skipif(shutil.which("javac") is None, reason="LEFT OUT: there is no JDK here")

ADDRESS: t.Final = "127.97.1.1"


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("java")
    subprocess.run(["javac", "-d", str(made), str(FLEET / "java" / "Component.java")], check=True, timeout=60)
    return made


def write(folder: Path, classes: Path, **options: t.Any) -> None:
    files = {"log": "log", "traffic": "traffic.jsonl", "pid_file": processes.PID_FILE, "sessions": "sessions.jsonl"}
    values = {"name": "reports", "host": "rep1", "address": ADDRESS, "port": PORT, **files, **options}
    text = "".join("%s=%s\n" % item for item in values.items())
    (folder / "options.properties").write_text(text)
    run = ("java", "-Xmx48m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", str(classes), "Component")
    check = (*run, "--check", "options.properties")
    processes.Command((*run, "options.properties"), check, {}).write(folder)


def keystore(folder: Path, authority: Authority) -> dict[str, t.Any]:
    material = authority.issue(ADDRESS)
    certificate = x509.load_pem_x509_certificate(Path(material.certificate).read_bytes())
    key = load_pem_private_key(Path(material.key).read_bytes(), None)
    store = serialize_key_and_certificates(b"own", key, certificate, None, BestAvailableEncryption(b"password"))  # type: ignore[arg-type]
    (folder / "keystore.p12").write_bytes(store)
    (folder / "password").write_text("password\n")
    return {"tls.port": TLS_PORT, "keystore": "keystore.p12", "keystore.password.file": "password"}


def test_it_answers_in_the_clear_and_over_tls_and_lists_its_sessions(
    tmp_path: Path, classes: Path, authority: Authority
) -> None:
    write(tmp_path, classes, **keystore(tmp_path, authority))
    assert processes.check(tmp_path) == 0
    processes.start(tmp_path)
    try:
        processes.wait_started(tmp_path)
        trust = str(authority.issue("127.97.1.2").trust)
        context = ssl.create_default_context(cafile=trust)
        with (
            socket.create_connection((ADDRESS, PORT), 5) as clear,
            socket.create_connection((ADDRESS, TLS_PORT), 5) as raw,
            context.wrap_socket(raw, server_hostname=ADDRESS) as secure,
        ):
            for sock in (clear, secure):
                sock.sendall(b"somebody 1 canary\n")
                assert sock.recv(100) == b"ok 1\n"
            wait(lambda: len(listed(tmp_path)) == 2)
            found = {(row["tls"], row["verified"], row["ended"]) for row in listed(tmp_path)}
            assert found == {(False, False, None), (True, False, None)}
        wait(lambda: all(row["ended"] for row in listed(tmp_path)))
    finally:
        processes.ask_to_end(tmp_path)
        processes.wait_ended(tmp_path)


def listed(folder: Path) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in (folder / "sessions.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"port": "many"}, "port is 'many'"),
        ({"tls.port": TLS_PORT}, "keystore is missing"),
        ({"tls.port": TLS_PORT, "keystore": "nowhere.p12"}, "nowhere.p12"),
        ({"client.auth": "maybe"}, "client.auth is 'maybe'"),
    ],
)
def test_options_that_cannot_be_used_are_refused_in_a_sentence(
    tmp_path: Path, classes: Path, options: dict[str, t.Any], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, classes, **options)
    assert processes.check(tmp_path) == 1
    assert complaint in capfd.readouterr().err
