# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is handed out for one instance: it belongs together, is valid, and holds no more than its readers read."""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._manifest import file_in
from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedAuthority
from ansible_collections.connsec.tls.plugins.module_utils._core._names import NameRefused
from ansible_collections.connsec.tls.plugins.plugin_utils._secrets import PassphraseMissing
from ansible_collections.connsec.tls.plugins.plugin_utils._store import NotIssued, StoreError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from .conftest import CANARY, DAY, NOW, Bench, wanted


def test_a_key_of_another_identity_is_found_out(store: Bench) -> None:
    store.carry_out(wanted(), wanted("b@h"))
    one, other = store.folder / "identities/router@urs1.pem", store.folder / "identities/b@h.pem"
    marker = b"-----BEGIN ENCRYPTED"
    one.write_bytes(one.read_bytes().split(marker)[0] + marker + other.read_bytes().split(marker)[1])
    with pytest.raises(StoreError, match="router@urs1"):
        store.material()


def test_what_is_not_made_yet_is_refused_by_name(shared_store: Bench) -> None:
    with pytest.raises(NotIssued, match="identity x@h has no certificate"):
        shared_store.material("x@h")
    with pytest.raises(NotIssued, match=r"authority other is not in the store .*, which holds connsec; run connsec"):
        shared_store.material(trust=["other"])
    with pytest.raises(NotIssued, match="authority other is not in the store"):
        shared_store.material(None, trust=["other"], passphrase=None)


def test_an_authority_whose_root_was_lost_is_trusted_by_nobody(store: Bench) -> None:
    store.carry_out(wanted())
    (store.folder / "authorities/connsec/root.pem").unlink()
    for identity in (None, "router@urs1"):
        with pytest.raises(NotIssued, match=r"authority connsec is not in the store .*, which holds none"):
            store.material(identity, trust=["connsec"] if identity is None else [])


def test_an_issuing_authority_of_another_root_is_found_out(store: Bench) -> None:
    store.authorities = [WantedAuthority(), WantedAuthority("other")]
    store.carry_out(wanted())
    own = store.folder / "authorities"
    shutil.copy(own / "other/root.pem", own / "connsec/root.pem")
    with pytest.raises(StoreError, match=r"connsec/root\.pem: its certificates are not a chain"):
        store.material()


def test_an_identity_whose_issuer_is_gone_is_not_handed_out(store: Bench) -> None:
    store.carry_out(wanted())
    (store.folder / "authorities/connsec/issuing-000001.pem").unlink()
    with pytest.raises(NotIssued, match="whose issuer is not in"):
        store.material()


def test_an_expired_identity_is_not_handed_out(store: Bench) -> None:
    end = store.carry_out(wanted()).identities["router@urs1"].not_after
    assert store.material(now=end).identities
    with pytest.raises(NotIssued, match=r"router@urs1 has no valid certificate: .* ended at 2027-04-15"):
        store.material(now=end + 1)


def test_the_end_of_a_chain_is_the_first_of_its_certificates(store: Bench) -> None:
    store.authorities = [WantedAuthority(root_days=60, issuing_days=40)]
    view = store.carry_out(wanted("long@h"), wanted("short@h", days=6))
    issuing = view.authorities["connsec"].issuing[0]
    assert view.identities["long@h"].chain_not_after == issuing.not_after
    assert view.identities["short@h"].chain_not_after == view.identities["short@h"].not_after < issuing.not_after
    assert store.inspect(wanted("long@h")).identities["long@h"] == view.identities["long@h"]


def test_material_belongs_together_and_inputs_are_the_same_each_time(shared_store: Bench) -> None:
    one = shared_store.material(formats=["java", "pkcs12"])
    two = shared_store.material(formats=["java", "pkcs12"])
    assert one.inputs == two.inputs
    assert one.files["keystore.p12"] != two.files["keystore.p12"]
    assert one.files["truststore.p12"] == two.files["truststore.p12"]
    assert one.secret == {"key.pem", "keystore.p12", "keystore.password"}
    key = load_pem_private_key(one.files["key.pem"], None)
    certificate = x509.load_pem_x509_certificate(one.files["certificate.pem"])
    assert key.public_key() == certificate.public_key()
    assert one.files["fullchain.pem"] == one.files["certificate.pem"] + one.files["chain.pem"]
    assert one.files["keystore.password"].decode() not in str(one.inputs)


def test_the_root_above_an_identity_is_among_its_inputs(shared_store: Bench) -> None:
    root = shared_store.inspect().trust["connsec"][0]
    assert shared_store.material(trust=[]).inputs["identities"][""]["root"] == root
    assert shared_store.material(None, passphrase=None).inputs["identities"] == {}


PEM = ["certificate.pem", "chain.pem", "fullchain.pem", "key.pem", "trust.pem"]


@pytest.mark.parametrize(
    ("identity", "trust", "formats", "files"),
    [
        ("router@urs1", ["connsec"], [], PEM),
        ("router@urs1", ["connsec"], ["crl"], ["crl.pem", *PEM]),
        ("router@urs1", ["connsec"], ["pkcs12"], [*PEM, "keystore.p12", "keystore.password"]),
        ("router@urs1", ["connsec"], ["combined"], ["combined.pem", *PEM]),
        ("router@urs1", ["connsec"], ["java"], [*PEM, "truststore.p12"]),
        ("router@urs1", [], ["java", "pkcs12"], [*PEM, "keystore.p12", "keystore.password"]),
        (None, ["connsec"], ["pem"], ["trust.pem"]),
        (None, ["connsec"], ["crl", "java", "pkcs12"], ["crl.pem", "trust.pem", "truststore.p12"]),
        (None, [], ["java"], ["trust.pem"]),
    ],
)
def test_formats_are_made_only_for_those_who_read_them(
    shared_store: Bench, identity: str | None, trust: list[str], formats: list[str], files: list[str]
) -> None:
    passphrase = CANARY if identity else None
    made = shared_store.material(identity, trust=trust, formats=formats, passphrase=passphrase)
    assert sorted(made.files) == sorted(files)
    assert made.inputs["formats"] == sorted({"pem", *formats})
    password = made.inputs["identities"].get("", {}).get("password")
    assert (password is None) == ("keystore.p12" not in files)
    assert (made.inputs["crl"] is None) == ("crl.pem" not in files)


def test_a_combined_file_has_certificate_key_and_chain_in_this_order_and_is_secret(shared_store: Bench) -> None:
    made = shared_store.material(formats=["combined"])
    parts = [made.files[name] for name in ("certificate.pem", "key.pem", "chain.pem")]
    assert made.files["combined.pem"] == b"".join(parts)
    assert "combined.pem" in made.secret


def test_a_format_that_nobody_knows_is_refused(shared_store: Bench) -> None:
    with pytest.raises(StoreError, match="'jks' is not a format; there are combined, crl, java, pem, pkcs12"):
        shared_store.material(formats=["jks"])


def test_what_is_presented_needs_the_passphrase_and_what_is_trusted_does_not(shared_store: Bench) -> None:
    with pytest.raises(PassphraseMissing):
        shared_store.material(passphrase=None)
    assert shared_store.material(None, formats=["java"], passphrase=None).identities == {}


def test_lists_are_told_apart_by_their_numbers_and_stale_ones_are_not_handed_out(store: Bench) -> None:
    store.carry_out(wanted())
    first = store.material(formats=["crl"])
    assert [name.split()[0] for name in first.inputs["crl"]] == ["connsec/issuing-000001", "connsec/root"]
    assert first.files["crl.pem"].count(b"BEGIN X509 CRL") == 2
    assert sorted(store.inspect(wanted()).lists["connsec"]) == first.inputs["crl"], (
        "a plan knows them by the same names"
    )
    store.carry_out(wanted(), now=NOW + 4 * DAY)
    assert store.material(formats=["crl"], now=NOW + 4 * DAY).inputs["crl"] != first.inputs["crl"]
    with pytest.raises(NotIssued, match="connsec/issuing-000001 has no revocation list that is current"):
        store.material(formats=["crl"], now=NOW + 12 * DAY)
    assert "crl.pem" not in store.material(now=NOW + 12 * DAY).files


def test_a_keystore_password_stays_when_the_certificate_is_renewed(store: Bench) -> None:
    store.carry_out(wanted())
    first = store.material(formats=["pkcs12"])
    store.carry_out(wanted(), now=NOW + 62 * DAY)
    second = store.material(formats=["pkcs12"], now=NOW + 62 * DAY)
    assert first.files["keystore.password"] == second.files["keystore.password"]
    before, after = first.inputs["identities"][""], second.inputs["identities"][""]
    assert before["password"] == after["password"]
    assert before["certificate"] != after["certificate"]


def test_instances_that_share_an_identity_have_passwords_of_their_own(shared_store: Bench) -> None:
    one, other, again = (
        shared_store.material(formats=["pkcs12"], instance=name).files["keystore.password"]
        for name in ("router@urs1", "router@urs2", "router@urs1")
    )
    assert one == again != other


def test_further_identities_lie_in_folders_of_their_names_and_share_the_password(shared_store: Bench) -> None:
    made = shared_store.material("router@urs1", "gateway@gw1", formats=["pkcs12", "java"], instance="router@urs1")
    below = {name for name in made.files if name.startswith("gateway@gw1/")}
    own = [*PEM[:-1], "keystore.p12", "keystore.password"]
    assert below == {"gateway@gw1/" + name for name in own}
    assert set(made.files) - below == {*own, "trust.pem", "truststore.p12"}
    secret = {"key.pem", "keystore.p12", "keystore.password"}
    assert made.secret == {*secret, *("gateway@gw1/" + name for name in secret)}
    assert made.files["keystore.password"] == made.files["gateway@gw1/keystore.password"]
    assert {folder: info.name for folder, info in made.identities.items()} == {
        "": "router@urs1",
        "gateway@gw1": "gateway@gw1",
    }
    for folder, info in made.identities.items():
        certificate = x509.load_pem_x509_certificate(made.files[file_in(folder, "certificate.pem")])
        key = load_pem_private_key(made.files[file_in(folder, "key.pem")], None)
        assert key.public_key() == certificate.public_key()
        assert made.inputs["identities"][folder]["certificate"] == info.sha256
        keystore, password = (made.files[file_in(folder, name)] for name in ("keystore.p12", "keystore.password"))
        assert load_key_and_certificates(keystore, password)[1] == certificate


def test_without_a_default_one_nothing_lies_at_the_top_but_what_is_trusted(shared_store: Bench) -> None:
    made = shared_store.material(None, "gateway@gw1")
    assert {name for name in made.files if "/" not in name} == {"trust.pem"}
    assert set(made.inputs["identities"]) == {"gateway@gw1"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../x", "identities: '../x' is not an identity's name"),
        ("a/b", "is not an identity's name"),
        ("key.pem", "identities: 'key.pem' is called like a file of every generation; rename it"),
    ],
)
def test_a_name_that_cannot_become_a_folder_is_refused(shared_store: Bench, name: str, says: str) -> None:
    with pytest.raises(NameRefused, match=says):
        shared_store.material("router@urs1", name)
