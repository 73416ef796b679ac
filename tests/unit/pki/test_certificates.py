# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Independent tools judge what was issued: pkilint, OpenSSL, GnuTLS, keytool and a handshake of Java's."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedAuthority
from ansible_collections.connsec.tls.plugins.plugin_utils._pkcs8 import encrypted
from ansible_collections.connsec.tls.plugins.plugin_utils._store import MaterialFiles
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from .conftest import NOW, Bench, wanted

ROOT = Path(__file__).resolve().parents[3]
LINTERS = Path(os.environ.get("CONNSEC_PKILINT", ROOT / ".venv-pkilint" / "bin"))
NO_SYSTEM = ["-no-CAfile", "-no-CApath", "-no-CAstore"]

needs_pkilint = pytest.mark.skipif(
    not (LINTERS / "lint_pkix_cert").exists(),
    reason="NOT LINTED: pkilint is not at %s; install pkilint==0.13.3 there or name its folder in CONNSEC_PKILINT"
    % LINTERS,
)


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason="NOT JUDGED: %s is not installed" % tool)


def ran(*argv: str | Path, **options: t.Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(each) for each in argv], capture_output=True, text=True, check=False, **options)


class Fleet:
    """Several authorities with identities of every shape, on the disk as a host would have them."""

    def __init__(self, folder: Path) -> None:
        self.store = Bench(folder / "store")
        self.store.authorities = [
            WantedAuthority(),
            WantedAuthority("named", organization="M\u00fcller & S\u00f6hne, Ltd."),
            WantedAuthority("legacy", key_type="rsa-4096"),
        ]
        identities = [
            wanted("p256@h"),
            wanted("p384@h", key_type="ec-p384", usages=("client",), names=("2001:db8::7", "xn--bcher-kva.example")),
            wanted("rsa@h", key_type="rsa-3072", common_name=True, usages=("server",), authority="named"),
            wanted("legacy@h", key_type="rsa-2048", common_name=True, authority="legacy"),
        ]
        import time

        self.now = int(time.time())
        self.store.carry_out(*identities, now=self.now)
        self.authority = {each.name: each.authority for each in identities}
        self.folders: dict[str, Path] = {}
        self.files: dict[str, MaterialFiles] = {}
        for each in identities:
            self.folders[each.name] = folder / each.name
            self.folders[each.name].mkdir()
            asked = ["crl", "pkcs12", "java"]
            made = self.store.material(each.name, trust=[each.authority], formats=asked, now=self.now)
            self.files[each.name] = made
            for name, content in made.files.items():
                (self.folders[each.name] / name).write_bytes(content)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


IDENTITIES = ("p256@h", "p384@h", "rsa@h", "legacy@h")
each_identity = pytest.mark.parametrize("name", IDENTITIES)


@pytest.mark.judges
@needs_pkilint
def test_pkilint_finds_nothing_in_any_certificate_and_list(fleet: Fleet) -> None:
    authorities = fleet.store.folder / "authorities"
    lists = sorted(authorities.rglob("*.crl.pem"))
    cas = sorted(path for path in authorities.rglob("*.pem") if path not in lists)
    leaves = [fleet.folders[name] / "certificate.pem" for name in IDENTITIES]
    assert (len(lists), len(cas), len(leaves)) == (6, 6, 4)
    for path in [*cas, *leaves]:
        pem = path.parent / (path.stem + ".lint")
        pem.write_bytes(x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.PEM))
        done = ran(LINTERS / "lint_pkix_cert", "lint", "-s", "WARNING", pem)
        assert done.returncode == 0, "%s: %s%s" % (path, done.stdout, done.stderr)
    for path in lists:
        done = ran(LINTERS / "lint_crl", "lint", "-t", "CRL", "-p", "PKIX", "-s", "WARNING", path)
        assert done.returncode == 0, "%s: %s%s" % (path, done.stdout, done.stderr)
    for name in IDENTITIES:
        folder = fleet.folders[name]
        done = ran(
            LINTERS / "lint_pkix_signer_signee_cert_chain",
            "lint",
            "-s",
            "WARNING",
            folder / "chain.pem",
            folder / "certificate.pem",
        )
        assert done.returncode == 0, done.stdout + done.stderr


@needs("openssl")
@each_identity
def test_openssl_verifies_the_chain_the_name_and_the_lists(fleet: Fleet, name: str) -> None:
    folder = fleet.folders[name]
    info = fleet.files[name].identities[""]
    dns = next(each for each in info.names if not each[0].isdigit())
    for usage in info.usages:
        done = ran(
            "openssl", "verify", "-x509_strict", "-purpose", {"server": "sslserver", "client": "sslclient"}[usage],
            "-verify_hostname", dns, *NO_SYSTEM, "-trusted", folder / "trust.pem", "-untrusted", folder / "chain.pem",
            "-CRLfile", folder / "crl.pem", "-crl_check_all", folder / "certificate.pem",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    unwanted = {"server", "client"} - set(info.usages)
    for usage in unwanted:
        purpose = {"server": "sslserver", "client": "sslclient"}[usage]
        done = ran("openssl", "verify", "-purpose", purpose, *NO_SYSTEM, "-trusted", folder / "trust.pem",
                   "-untrusted", folder / "chain.pem", folder / "certificate.pem")  # fmt: skip
        assert done.returncode != 0


@needs("openssl")
def test_the_files_of_the_store_itself_are_what_the_docs_say_openssl_reads(fleet: Fleet) -> None:
    own = fleet.store.folder / "authorities/connsec"
    done = ran("openssl", "verify", "-x509_strict", *NO_SYSTEM, "-trusted", own / "root.pem", "-untrusted",
               own / "issuing-000001.pem", fleet.store.folder / "identities/p256@h.pem")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@needs("certtool")
@each_identity
def test_gnutls_verifies_the_chain_and_the_name(fleet: Fleet, name: str) -> None:
    folder = fleet.folders[name]
    dns = next(each for each in fleet.files[name].identities[""].names if not each[0].isdigit())
    done = ran("certtool", "--verify", "--load-ca-certificate", folder / "trust.pem", "--verify-hostname", dns,
               "--infile", folder / "fullchain.pem")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@needs("openssl")
@each_identity
def test_openssl_reads_keys_and_keystores(fleet: Fleet, name: str) -> None:
    folder = fleet.folders[name]
    assert ran("openssl", "pkey", "-in", folder / "key.pem", "-noout", "-check").returncode == 0
    password = "file:%s" % (folder / "keystore.password")
    done = ran("openssl", "pkcs12", "-in", folder / "keystore.p12", "-passin", password, "-info", "-noout")
    assert done.returncode == 0, done.stderr
    assert "AES-256-CBC" in done.stderr
    assert "MAC: sha256" in done.stderr


@pytest.mark.judges
@needs("keytool")
@each_identity
def test_keytool_lists_the_key_and_the_trusted_authority(fleet: Fleet, name: str) -> None:
    folder = fleet.folders[name]
    for file, entry in (("keystore.p12", "PrivateKeyEntry"), ("truststore.p12", "trustedCertEntry")):
        done = ran("keytool", "-list", "-keystore", folder / file, "-storepass:file", folder / "keystore.password")
        assert done.returncode == 0, done.stdout
        assert done.stdout.count(entry) == 1, done.stdout
    assert (
        name
        in ran(
            "keytool", "-list", "-keystore", folder / "keystore.p12", "-storepass:file", folder / "keystore.password"
        ).stdout
    )


HANDSHAKE = """
import java.io.*; import java.nio.file.*; import java.security.*; import javax.net.ssl.*;
public class Handshake {
    static KeyStore load(Path folder, String file, char[] password) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(folder.resolve(file))) { store.load(in, password); }
        return store;
    }
    static SSLContext context(Path folder) throws Exception {
        char[] password = Files.readString(folder.resolve("keystore.password")).toCharArray();
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(load(folder, "keystore.p12", password), password);
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(load(folder, "truststore.p12", password));
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }
    public static void main(String[] args) throws Exception {
        SSLServerSocket listener = (SSLServerSocket) context(Path.of(args[0])).getServerSocketFactory()
            .createServerSocket(0, 1, java.net.InetAddress.getByName("127.0.0.1"));
        listener.setNeedClientAuth(true);
        Thread server = new Thread(() -> {
            for (int n = 0; n < 2; n++)
                try (SSLSocket socket = (SSLSocket) listener.accept()) { socket.getOutputStream().write('k'); }
                catch (IOException refused) { }
        });
        server.start();
        for (String name : new String[] {args[2], "wrong.example.org"}) {
            try {
                java.net.Socket plain = new java.net.Socket("127.0.0.1", listener.getLocalPort());
                SSLSocket socket = (SSLSocket) context(Path.of(args[1])).getSocketFactory()
                    .createSocket(plain, name, listener.getLocalPort(), true);
                SSLParameters parameters = socket.getSSLParameters();
                parameters.setEndpointIdentificationAlgorithm("HTTPS");
                socket.setSSLParameters(parameters);
                int answer = socket.getInputStream().read();
                System.out.println(name + ": " + (char) answer + " " + socket.getSession().getProtocol());
                socket.close();
            } catch (IOException error) { System.out.println(name + ": refused, " + error.getMessage()); }
        }
        System.exit(0);
    }
}
"""


@pytest.mark.judges
@needs("javac")
def test_java_shakes_hands_mutually_and_refuses_another_name(fleet: Fleet, tmp_path: Path) -> None:
    source = tmp_path / "Handshake.java"
    source.write_text(HANDSHAKE)
    assert ran("javac", "-d", tmp_path, source).returncode == 0
    server, client = fleet.folders["p256@h"], fleet.folders["p384@h"]
    done = ran("java", "-cp", tmp_path, "Handshake", server, client, "urs1.example.net", timeout=60)
    assert "urs1.example.net: k TLSv1.3" in done.stdout, done.stdout + done.stderr
    assert "wrong.example.org: refused, No subject alternative DNS name matching" in done.stdout


ANCHORS = """
import java.io.*; import java.nio.file.*; import java.security.*; import javax.net.ssl.*;
public class Anchors {
    static int anchors(KeyStore store) throws Exception {
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        factory.init(store);
        return ((X509TrustManager) factory.getTrustManagers()[0]).getAcceptedIssuers().length;
    }
    public static void main(String[] args) throws Exception {
        System.out.println("property: " + anchors(null));
        for (char[] password : new char[][] {null, {}, "any at all".toCharArray()}) {
            KeyStore store = KeyStore.getInstance("PKCS12");
            try (InputStream in = Files.newInputStream(Path.of(args[0]))) { store.load(in, password); }
            System.out.println("loaded: " + anchors(store));
        }
    }
}
"""


@pytest.mark.judges
@needs("javac")
def test_java_trusts_the_authority_with_any_password_and_without_one(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "Anchors.java").write_text(ANCHORS)
    assert ran("javac", "-d", tmp_path, tmp_path / "Anchors.java").returncode == 0
    store = fleet.folders["p256@h"] / "truststore.p12"
    for options in ([], ["-Djavax.net.ssl.trustStorePassword=any-at-all"]):
        done = ran("java", "-cp", tmp_path, "-Djavax.net.ssl.trustStore=%s" % store, *options, "Anchors", store)
        assert done.stdout.splitlines() == ["property: 1", "loaded: 1", "loaded: 1", "loaded: 1"], done.stderr


@pytest.mark.judges
@needs("keytool")
@pytest.mark.parametrize("password", ["", "any-at-all"], ids=["without a password", "with any password"])
def test_keytool_lists_the_truststore(fleet: Fleet, password: str) -> None:
    store = fleet.folders["p256@h"] / "truststore.p12"
    options = ["-storepass", password] if password else []
    done = ran("keytool", "-list", "-keystore", store, *options, input="\n")
    assert done.stdout.count("trustedCertEntry") == 1, done.stdout + done.stderr


def certificate(fleet: Fleet, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(fleet.files[name].files["certificate.pem"])


@each_identity
def test_an_identity_has_the_shape_of_the_profile(fleet: Fleet, name: str) -> None:
    leaf = certificate(fleet, name)
    info = fleet.files[name].identities[""]
    extensions = leaf.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    is_rsa = isinstance(leaf.public_key(), rsa.RSAPublicKey)
    assert usage.critical and usage.value.digital_signature and usage.value.key_encipherment == is_rsa
    assert constraints.critical and not constraints.value.ca
    oids = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {oids[u] for u in info.usages}
    assert extensions.get_extension_for_class(x509.SubjectAlternativeName).critical == (not info.common_name)
    assert info.common_name == ("urs1.example.net" if name in ("rsa@h", "legacy@h") else "")
    assert leaf.not_valid_before_utc.timestamp() == fleet.now - 3600
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 90 * 86400 - 1
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256 if name == "legacy@h" else hashes.SHA384)


def test_authorities_have_the_shape_of_the_profile(fleet: Fleet) -> None:
    own = fleet.store.folder / "authorities/connsec"
    for file, path_length, days in (("root.pem", None, 3652), ("issuing-000001.pem", 0, 1826)):
        ca = x509.load_pem_x509_certificate((own / file).read_bytes())
        key = ca.public_key()
        constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
        assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp384r1"
        assert constraints.critical and constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)
        assert (
            usage.critical and usage.value.key_cert_sign and usage.value.crl_sign and not usage.value.digital_signature
        )
        assert (ca.not_valid_after_utc - ca.not_valid_before_utc).total_seconds() == days * 86400 - 1
        assert isinstance(ca.signature_hash_algorithm, hashes.SHA384)


def test_lists_last_seven_days_or_less_than_a_year(fleet: Fleet) -> None:
    for file, days in (("root.crl.pem", 364), ("issuing-000001.crl.pem", 7)):
        crl = x509.load_pem_x509_crl((fleet.store.folder / "authorities/connsec" / file).read_bytes())
        assert crl.next_update_utc is not None
        assert crl.next_update_utc.timestamp() == fleet.now + days * 86400
        assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number >= fleet.now


@needs("openssl")
@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_openssl_opens_our_pkcs8_with_its_password_only(tmp_path: Path, key: str) -> None:
    made: t.Any = ec.generate_private_key(ec.SECP384R1()) if key == "ec" else rsa.generate_private_key(65537, 4096)
    der = made.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    password = "x" * 44
    (tmp_path / "key.pem").write_bytes(encrypted(der, password=password.encode()))
    done = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "key.pem", "-passin", "stdin", "-outform", "DER"],
        input=password.encode() + b"\n", capture_output=True, check=True,
    )  # fmt: skip
    assert serialization.load_der_private_key(done.stdout, None).private_numbers() == made.private_numbers()  # type: ignore[union-attr]
    assert ran("openssl", "pkey", "-in", tmp_path / "key.pem", "-passin", "pass:" + "y" * 44).returncode != 0
    with pytest.raises(ValueError, match="guess"):
        encrypted(der, password=b"short")


def test_a_certificate_of_six_days_is_issued_as_well(store: Bench) -> None:
    info = store.carry_out(wanted(days=6), now=NOW).identities["router@urs1"]
    assert info.not_after - info.not_before == 6 * 86400 - 1
