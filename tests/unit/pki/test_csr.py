# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate requests: what is taken from one is its key, and only where its sender proves to have that."""

from __future__ import annotations

import base64
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedIdentity
from ansible_collections.connsec.tls.plugins.plugin_utils._csr import (
    Request,
    RequestRefused,
    read_request,
    read_requests,
)
from ansible_collections.connsec.tls.plugins.plugin_utils._store import NotIssued, StoreError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from .conftest import DAY, NOW, Bench, reasons, wanted

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def request(key: Key, *names: str, hashed: hashes.HashAlgorithm | None = hashes.SHA256()) -> bytes:  # noqa: B008
    """Return a request as DER, for whatever names somebody would like."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "router@urs1")])
    )
    if names:
        asked = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(asked, critical=False)
    return builder.sign(key, hashed).public_bytes(serialization.Encoding.DER)


def pem(der: bytes) -> str:
    return "-----BEGIN CERTIFICATE REQUEST-----\n%s-----END CERTIFICATE REQUEST-----\n" % _lines(der)


def _lines(der: bytes) -> str:
    return base64.encodebytes(der).decode()


def edited(der: bytes, at: int) -> bytes:
    """Return a request with a bit flipped."""
    return der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]


P256 = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
GOOD = request(P256)


def with_key_of(der: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a request into which somebody put another key of the same length."""
    mine, other = (
        each.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        for each in (P256, key)
    )
    assert mine in der
    return der.replace(mine, other)


REFUSED: tuple[tuple[str, t.Callable[[], str], str], ...] = (
    (
        "P-384 for P-256",
        lambda: pem(request(ec.generate_private_key(ec.SECP384R1()))),
        "has a key of type ec-p384, planned",
    ),
    (
        "RSA for P-256",
        lambda: pem(request(rsa.generate_private_key(65537, 2048))),
        "has a key of type rsa-2048, planned",
    ),
    ("a curve of nobody", lambda: pem(request(ec.generate_private_key(ec.SECP256K1()))), "has a key of type unknown"),
    ("Ed25519", lambda: pem(request(ed25519.Ed25519PrivateKey.generate(), hashed=None)), "has a key of type unknown"),
    (
        "another key put in",
        lambda: pem(with_key_of(GOOD, OTHER)),
        "signature of the certificate request of router@urs1 is not",
    ),
    ("a changed name", lambda: pem(GOOD.replace(b"router@urs1", b"router@urs2")), "is not of its own key"),
    ("a changed signature", lambda: pem(edited(GOOD, len(GOOD) - 3)), "is not of its own key"),
    ("cut off", lambda: pem(GOOD[:-20]), "is not a PKCS#10 request in PEM"),
    ("no PEM", lambda: "hello", "is not a PKCS#10 request in PEM"),
    ("nothing", lambda: "", "is not a PKCS#10 request in PEM"),
    ("letters of elsewhere", lambda: "\u212a" * 10, "is not a PKCS#10 request in PEM"),
    ("megabytes", lambda: "A" * (1 << 20), "bytes long; at most 65536 are read"),
)


@pytest.mark.parametrize(("made", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_request_that_proves_nothing_is_refused_in_one_sentence(made: t.Callable[[], str], says: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_request(made(), identity="router@urs1", key_type="ec-p256")
    assert says in str(refused.value)
    assert "router@urs1" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_weak_hash_proves_nothing(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("LEFT OUT: there is no openssl on this machine")
    argv = [openssl, "req", "-new", "-sha1", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    made = subprocess.run([*argv, "-keyout", str(tmp_path / "key")], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip("this openssl signs nothing with SHA-1")
    with pytest.raises(RequestRefused, match="is signed with SHA1; sign it with SHA-256"):
        read_request(made.stdout, identity="router@urs1", key_type="rsa-2048")


def test_an_exponent_that_nobody_uses_is_refused() -> None:
    der = request(rsa.generate_private_key(3, 2048))
    with pytest.raises(RequestRefused, match="exponent is not 65537"):
        read_request(pem(der), identity="router@urs1", key_type="rsa-2048")


def test_a_key_that_is_not_the_announced_one_is_refused() -> None:
    announced = read_request(pem(request(OTHER)), identity="a@h", key_type="ec-p256").spki_sha256
    assert read_request(pem(GOOD), identity="a@h", key_type="ec-p256").spki_sha256 != announced
    with pytest.raises(RequestRefused, match=r"another key .* than the one that was announced"):
        read_request(pem(GOOD), identity="a@h", key_type="ec-p256", spki_sha256=announced)


def test_hosts_that_came_with_one_key_are_both_refused_and_others_are_not() -> None:
    identities = [WantedIdentity(name, names=("h",), key_at="host") for name in ("a@h1", "a@h2", "b@h3")]
    given = {"a@h1": pem(GOOD), "a@h2": {"request": pem(GOOD), "spki_sha256": ""}, "b@h3": pem(request(OTHER))}
    taken, refused = read_requests(given, identities)
    assert set(taken) == {"b@h3"}
    assert set(refused) == {"a@h1", "a@h2"}
    assert "a@h1, a@h2 came with one and the same key" in refused["a@h1"]


def test_a_request_for_a_key_of_the_controller_is_refused() -> None:
    taken, refused = read_requests({"a@h": pem(GOOD)}, [WantedIdentity("a@h", names=("h",))])
    assert not taken
    assert refused == {"a@h": "a certificate request came for a@h, whose key is not born on a host"}


# In the store

BORN = wanted(key_at="host")


def asked(key: ec.EllipticCurvePrivateKey, *names: str) -> dict[str, Request]:
    """Return what a host asks for."""
    return {BORN.name: read_request(pem(request(key, *names)), identity=BORN.name, key_type="ec-p256")}


def certificate_of(store: Bench) -> x509.Certificate:
    return x509.load_pem_x509_certificate((store.folder / "identities" / (BORN.name + ".pem")).read_bytes())


def test_names_come_from_the_plan_whatever_a_request_asks_for(store: Bench) -> None:
    store.carry_out(BORN, requests=asked(P256, "bank.example.com", "*.example.com"))
    names = certificate_of(store).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(str(each.value) for each in names) == sorted(BORN.names)
    assert not certificate_of(store).subject.rdns


def test_the_store_holds_no_key_of_it_and_its_journal_has_both_lines(store: Bench) -> None:
    view = store.carry_out(BORN, wanted("b@h"), requests=asked(P256))
    assert b"PRIVATE KEY-----" not in (store.folder / "identities" / (BORN.name + ".pem")).read_bytes()
    assert view.identities[BORN.name].key_at == "host"
    assert view.identities["b@h"].key_at == "controller"
    lines = [line for line in store.journal() if line.get("target") == "identity " + BORN.name]
    assert [line["spki_sha256"] for line in lines] == [view.identities[BORN.name].spki_sha256]
    serial = lines[0]["serial"]
    assert [line["act"] for line in store.journal() if line.get("serial") == serial] == ["intent", "issued"]
    assert not store.inspect(BORN, wanted("b@h")).changes


def test_without_a_request_its_certificate_waits_and_others_are_made(store: Bench) -> None:
    view = store.carry_out(BORN, wanted("b@h"))
    assert BORN.name not in view.identities
    assert "b@h" in view.identities
    assert [change.target for change in view.postponed] == ["identity " + BORN.name]
    with pytest.raises(NotIssued, match="has no certificate"):
        store.material(BORN.name)
    assert set(reasons(store.inspect(BORN, wanted("b@h")))) == {"identity " + BORN.name}


def test_its_material_has_no_secret_and_needs_no_passphrase(store: Bench) -> None:
    view = store.carry_out(BORN, requests=asked(P256))
    found = store.material(BORN.name, passphrase=None, formats=["pem", "pkcs12", "java"])
    assert set(found.files) == {"certificate.pem", "chain.pem", "fullchain.pem", "trust.pem", "truststore.p12"}
    assert found.secret == frozenset()
    digest = view.identities[BORN.name].spki_sha256
    assert found.born == {"": {"identity": BORN.name, "spki_sha256": digest, "keystore": True}}
    inputs = found.inputs["identities"][""]
    assert (inputs["key"], inputs["password"]) == (digest, None)


def test_identities_of_one_instance_may_have_their_keys_in_different_places(store: Bench) -> None:
    view = store.carry_out(BORN, wanted("b@h"), requests=asked(P256))
    found = store.material("b@h", BORN.name)
    assert set(found.born) == {BORN.name}
    assert found.born[BORN.name]["spki_sha256"] == view.identities[BORN.name].spki_sha256
    assert found.secret == {"key.pem"}


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (None, None),
        ("its own", None),
        ("another", "its key is not on its host any more"),
        ("none", "its key is not on its host any more"),
    ],
)
def test_a_key_that_its_host_lost_makes_its_certificate_due(store: Bench, held: str | None, reason: str | None) -> None:
    own = store.carry_out(BORN, requests=asked(P256)).identities[BORN.name].spki_sha256
    keys = {None: None, "its own": [own, "ff"], "another": ["ff"], "none": []}[held]
    view = store.inspect(BORN, held={} if keys is None else {BORN.name: keys})
    assert reasons(view).get("identity " + BORN.name) == reason
    assert all(not change.can_wait for change in view.changes)


def test_a_request_with_another_key_replaces_the_lost_one_and_a_second_changes_nothing(store: Bench) -> None:
    first = store.carry_out(BORN, requests=asked(P256)).identities[BORN.name]
    second = store.carry_out(BORN, requests=asked(OTHER)).identities[BORN.name]
    assert first.spki_sha256 != second.spki_sha256
    assert not store.carry_out(BORN, requests=asked(OTHER)).changes


def test_a_key_moves_from_controller_to_host_and_back_by_a_new_certificate(store: Bench) -> None:
    home = wanted()
    store.carry_out(home)
    due = store.inspect(BORN).changes
    assert [(change.reason, change.can_wait) for change in due] == [
        ("its key was made at the controller, planned at the host", True)
    ]
    store.carry_out(BORN, requests=asked(P256))
    assert reasons(store.inspect(home)) == {
        "identity router@urs1": "its key was made at the host, planned at the controller"
    }
    store.carry_out(home)
    assert store.material().secret == {"key.pem"}


def test_a_renewal_is_due_as_for_any_other(store: Bench) -> None:
    store.carry_out(BORN, requests=asked(P256))
    later = store.inspect(BORN, now=NOW + 62 * DAY)
    assert reasons(later)["identity router@urs1"] == "two thirds of its life have passed"


def test_a_file_that_lost_its_key_is_damaged_and_not_one_without(store: Bench) -> None:
    store.carry_out(wanted())
    file = store.folder / "identities/router@urs1.pem"
    file.write_bytes(file.read_bytes().partition(b"-----BEGIN ENCRYPTED")[0])
    with pytest.raises(StoreError, match="damaged"):
        store.inspect(wanted())
