# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A truststore beside the JVM's own, made by a real keytool, and judged by keytool and by a handshake of JSSE."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._host._anchors import read_given
from ansible_collections.connsec.tls.plugins.module_utils._host._java_trust import JavaTrust, Jvm, MadeTrust, find_jvm
from unit.look.servers import Authority

KEYTOOL, JAVAC = shutil.which("keytool"), shutil.which("javac")
pytestmark = [
    pytest.mark.judges,
    pytest.mark.skipif(not KEYTOOL, reason="LEFT OUT: there is no keytool on this machine"),
]

CLIENT = """
import java.io.IOException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

public class Client {
    public static void main(String[] arguments) throws IOException {
        var port = Integer.parseInt(arguments[0]);
        try (var socket = (SSLSocket) SSLSocketFactory.getDefault().createSocket("localhost", port)) {
            var parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            socket.startHandshake();
        }
    }
}
"""


@pytest.fixture(scope="module")
def corp(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority("corp", tmp_path_factory.mktemp("corp"))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small list as a JVM has one; that of a real JVM has more than a hundred certificates."""
    folder = tmp_path_factory.mktemp("shipped")
    issued, store = Authority("shipped", folder).root, folder / "cacerts"
    argv = [KEYTOOL, "-importcert", "-noprompt", "-alias", "shipped", "-file", issued.certificate_file]
    subprocess.run(
        [*argv, "-keystore", store, "-storetype", "JKS", "-storepass", "changeit"], check=True, capture_output=True
    )
    return store


@pytest.fixture
def jvm(tmp_path: Path, shipped: Path) -> Jvm:
    home = tmp_path / "jvm"
    (home / "bin").mkdir(parents=True)
    (home / "lib/security").mkdir(parents=True)
    (home / "bin/keytool").symlink_to(os.path.realpath(str(KEYTOOL)))
    (home / "lib/security/cacerts").write_bytes(shipped.read_bytes())
    return Jvm(str(KEYTOOL), find_jvm(str(home)).cacerts)


def made(tmp_path: Path, jvm: Jvm, *rows: dict[str, str]) -> MadeTrust:
    given = read_given(rows, state="present")
    path = str(tmp_path / "connsec/java.d/cacerts")
    return MadeTrust(path, jvm, given.anchors, directory=str(tmp_path / "connsec"), password_file=None)


def settled(tmp_path: Path, jvm: Jvm, *rows: dict[str, str]) -> list[str]:
    found = made(tmp_path, jvm, *rows)
    if found.changes():
        found.make()
    assert made(tmp_path, jvm, *rows).changes() == []
    return [change.reason for change in found.changes()]


def listed(path: Path) -> list[str]:
    """Return the aliases of a store, as keytool lists them without any password."""
    done = subprocess.run(
        [str(KEYTOOL), "-J-Duser.language=en", "-list", "-keystore", str(path)],
        input=b"\n",
        capture_output=True,
        check=True,
    )
    return sorted(line.partition(",")[0] for line in done.stdout.decode().splitlines() if "trustedCertEntry" in line)


def test_it_has_the_jvms_own_list_and_ours_and_is_made_once(tmp_path: Path, jvm: Jvm, corp: Authority) -> None:
    row = {"name": "corp", "pem": corp.root.pem}
    assert settled(tmp_path, jvm, row) == ["it is not there"]
    store = tmp_path / "connsec/java.d/cacerts"
    ours, shipped = listed(store)
    assert ours.startswith("connsec-corp-") and shipped == "shipped"
    assert stat.S_IMODE(store.stat().st_mode) == stat.S_IMODE((store.parent / "cacerts.json").stat().st_mode) == 0o644
    assert sorted(os.listdir(tmp_path / "connsec")) == [".lock", "java.d"], "nothing is left of its making"


def test_it_is_made_anew_when_what_goes_in_is_another(tmp_path: Path, jvm: Jvm, corp: Authority, shipped: Path) -> None:
    row, store = {"name": "corp", "pem": corp.root.pem}, tmp_path / "connsec/java.d/cacerts"
    settled(tmp_path, jvm, row)
    alias = listed(store)[0]
    assert settled(tmp_path, jvm) == ["its anchors differ: -" + alias]
    assert listed(store) == ["shipped"]
    assert settled(tmp_path, jvm, row) == ["its anchors differ: +" + alias]
    argv = [str(KEYTOOL), "-changealias", "-alias", "shipped", "-destalias", "renewed", "-storepass", "changeit"]
    subprocess.run([*argv, "-keystore", jvm.cacerts], check=True, capture_output=True)
    assert settled(tmp_path, jvm, row) == ["the JVM's own list is another"]
    assert listed(store) == [alias, "renewed"]
    store.chmod(0o600)
    assert settled(tmp_path, jvm, row) == ["its mode is 0600"]
    store.write_bytes(shipped.read_bytes())
    assert settled(tmp_path, jvm, row) == ["it is not as it was made"]
    assert listed(store) == [alias, "renewed"]


def test_it_goes_without_a_trace_and_nobody_elses_does(
    tmp_path: Path, jvm: Jvm, corp: Authority, shipped: Path
) -> None:
    settled(tmp_path, jvm, {"name": "corp", "pem": corp.root.pem})
    path = tmp_path / "connsec/java.d/cacerts"
    trust = JavaTrust(str(path), directory=str(tmp_path / "connsec"))
    assert [change.reason for change in trust.removal()] == ["it is wanted no more"]
    trust.remove()
    assert os.listdir(path.parent) == []
    assert JavaTrust(str(path), directory=str(tmp_path / "connsec")).removal() == []
    path.write_bytes(shipped.read_bytes())
    with pytest.raises(TlsError, match="we did not make it"):
        JavaTrust(str(path), directory=str(tmp_path / "connsec")).removal()
    with pytest.raises(TlsError, match="we did not make it"):
        made(tmp_path, jvm).changes()


def test_a_password_that_does_not_fit_leaves_the_old_one(tmp_path: Path, jvm: Jvm, corp: Authority) -> None:
    settled(tmp_path, jvm)
    store = tmp_path / "connsec/java.d/cacerts"
    before, password = store.read_bytes(), tmp_path / "password"
    password.write_text("canary-4711")
    given = read_given([{"name": "corp", "pem": corp.root.pem}], state="present")
    wrong = MadeTrust(str(store), jvm, given.anchors, directory=str(tmp_path / "connsec"), password_file=str(password))
    with pytest.raises(TlsError, match=r"-list ended with 1: .*(password|tampered)") as error:
        wrong.make()
    assert "canary" not in str(error.value)
    assert store.read_bytes() == before


def test_no_password_is_ever_an_argument(tmp_path: Path, jvm: Jvm, corp: Authority) -> None:
    spy = tmp_path / "keytool"
    spy.write_text('#!/bin/sh\necho "$@" >> %s\nexec %s "$@"\n' % (tmp_path / "said", KEYTOOL))
    spy.chmod(0o755)
    settled(tmp_path, Jvm(str(spy), jvm.cacerts), {"name": "corp", "pem": corp.root.pem})
    said = (tmp_path / "said").read_text()
    assert "-storepass:file" in said and "changeit" not in said


def test_a_jvm_is_found_by_its_folder_or_not_at_all(tmp_path: Path, jvm: Jvm) -> None:
    home = Path(jvm.cacerts).parents[2]
    (home / "lib/security/jssecacerts").write_bytes(b"")
    assert find_jvm(str(home)).cacerts.endswith("jssecacerts"), "JSSE reads it before the other"
    shutil.rmtree(home / "lib")
    with pytest.raises(TlsError, match="has no list of its own"):
        find_jvm(str(home))
    with pytest.raises(TlsError, match="no keytool in %s" % tmp_path):
        find_jvm(str(tmp_path))


@pytest.mark.skipif(not JAVAC, reason="LEFT OUT: there is no JDK on this machine")
def test_a_program_trusts_ours_with_it_and_not_without(tmp_path: Path, corp: Authority) -> None:
    (tmp_path / "Client.java").write_text(CLIENT)
    subprocess.run([str(JAVAC), "-d", str(tmp_path), str(tmp_path / "Client.java")], check=True, timeout=60)
    settled(tmp_path, find_jvm(None), {"name": "corp", "pem": corp.root.pem})
    issued = corp.issue("server", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate_file, issued.key_file)
    store = "-Djavax.net.ssl.trustStore=%s" % (tmp_path / "connsec/java.d/cacerts")
    for options, trusts in (([store], True), ([], False)):
        assert handshake(context, [*options, "-cp", str(tmp_path), "Client"]) is trusts


def handshake(context: ssl.SSLContext, arguments: t.Sequence[str]) -> bool:
    """Serve one connection, and return whether a Java program completed its handshake."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _address = listener.accept()
            with peer:
                try:
                    context.wrap_socket(peer, server_side=True).close()
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        argv = ["java", *arguments, str(listener.getsockname()[1])]
        done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
        thread.join()
    assert done.returncode == 0 or b"PKIX path building failed" in done.stderr, done.stderr
    return done.returncode == 0
