# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store does to a real folder."""

from __future__ import annotations

import os
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._lost_store import StoreLost
from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedAuthority
from ansible_collections.connsec.tls.plugins.plugin_utils._secrets import (
    PassphraseMissing,
    Passphrases,
    PassphraseWrong,
)
from ansible_collections.connsec.tls.plugins.plugin_utils._store import StoreError, preflight

from .conftest import CANARY, DAY, NOW, Bench, reasons, snapshot, wanted

FIRST = {
    "authority connsec root": "no certificate yet",
    "authority connsec issuing": "no certificate yet",
    "authority connsec root CRL": "no list yet",
    "authority connsec issuing CRL": "no list yet",
    "identity router@urs1": "no certificate yet",
}


def test_four_beats_look_do_look_do(store: Bench) -> None:
    assert reasons(store.inspect(wanted())) == FIRST
    assert not store.folder.exists()
    assert reasons(store.carry_out(wanted())) == FIRST
    before = snapshot(store.folder)
    assert reasons(store.inspect(wanted())) == {}
    assert reasons(store.carry_out(wanted())) == {}
    assert snapshot(store.folder) == before


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_modes_are_right_under_any_umask(store: Bench, umask: int) -> None:
    before = os.umask(umask)
    try:
        store.folder.mkdir(0o700)
        os.chmod(store.folder, 0o700)
        if umask == 0o277:
            os.umask(0o077)  # no folder could be made
        store.carry_out(wanted())
    finally:
        os.umask(before)
    for path in store.folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_renewal_has_a_new_key_and_a_new_serial_number_and_comes_once(store: Bench) -> None:
    first = store.carry_out(wanted()).identities["router@urs1"]
    later = store.carry_out(wanted(), now=NOW + 62 * DAY)
    second = later.identities["router@urs1"]
    assert reasons(later)["identity router@urs1"] == "two thirds of its life have passed"
    assert second.spki_sha256 != first.spki_sha256
    assert second.serial != first.serial
    assert second.not_after == NOW - 3600 + 152 * DAY - 1
    assert "identity router@urs1" not in reasons(store.inspect(wanted(), now=NOW + 62 * DAY))


def test_a_changed_plan_issues_one_identity_and_touches_no_other(store: Bench) -> None:
    store.carry_out(wanted(), wanted("b@h"))
    other = (store.folder / "identities/b@h.pem").read_bytes()
    view = store.carry_out(wanted(names=("new.example.net",)), wanted("b@h"))
    assert reasons(view) == {"identity router@urs1": "names differ: +new.example.net -192.0.2.7 -urs1.example.net"}
    assert view.identities["router@urs1"].names == ("new.example.net",)
    assert (store.folder / "identities/b@h.pem").read_bytes() == other


def test_a_leaf_never_outlives_its_issuer_and_that_is_said(store: Bench) -> None:
    store.authorities = [WantedAuthority(issuing_days=50)]
    view = store.carry_out(wanted())
    issuing = view.authorities["connsec"].issuing[0]
    said = "the issuing authority of connsec ends on 2027-03-06, and so do the certificates of router@urs1"
    assert view.notes == store.inspect(wanted()).notes == (said + ", earlier than planned",)
    assert view.identities["router@urs1"].not_after == issuing.not_after == NOW - 3600 + 50 * DAY - 1


def test_an_issuing_authority_is_followed_by_another_under_the_same_root(store: Bench) -> None:
    store.carry_out(wanted())
    trust = store.inspect().trust
    view = store.carry_out(wanted(), now=NOW + 1096 * DAY)
    assert [ca.number for ca in view.authorities["connsec"].issuing] == [1, 2]
    assert view.trust == trust
    assert view.identities["router@urs1"].chain_sha256 == (view.authorities["connsec"].issuing[1].sha256,)
    assert reasons(store.inspect(wanted(), now=NOW + 1096 * DAY)) == {}


def test_an_expired_root_signs_nothing(store: Bench) -> None:
    store.authorities = [WantedAuthority(root_days=10, issuing_days=5)]
    store.carry_out()
    with pytest.raises(TlsError, match="plan a rotation"):
        store.carry_out(wanted(), now=NOW + 11 * DAY)


def test_list_numbers_grow_even_after_the_store_was_restored_from_a_backup(store: Bench, tmp_path: Path) -> None:
    store.carry_out()
    subprocess.run(["cp", "-a", str(store.folder), str(tmp_path / "backup")], check=True)
    numbers = []
    for days in (4, 8):
        issuing = store.carry_out(now=NOW + days * DAY).authorities["connsec"].issuing[0]
        numbers.append(t.cast("t.Any", issuing.crl).number)
    subprocess.run(["rm", "-r", str(store.folder)], check=True)
    subprocess.run(["cp", "-a", str(tmp_path / "backup"), str(store.folder)], check=True)
    issuing = store.carry_out(now=NOW + 9 * DAY).authorities["connsec"].issuing[0]
    numbers.append(t.cast("t.Any", issuing.crl).number)
    assert numbers == sorted(set(numbers))


def test_list_numbers_grow_when_the_clock_goes_back(store: Bench) -> None:
    first = store.carry_out().authorities["connsec"].issuing[0].crl
    (store.folder / "authorities/connsec/issuing-000001.crl.pem").unlink()
    second = store.carry_out(now=NOW - 600).authorities["connsec"].issuing[0].crl
    assert first and second and second.number > first.number


@pytest.mark.parametrize(
    ("passphrases", "error", "says"),
    [
        (Passphrases(CANARY, None), PassphraseMissing, "tls_identities_passphrase"),
        (Passphrases("wrong-one", CANARY), PassphraseWrong, "tls_authorities_passphrase"),
        (Passphrases(CANARY, "wrong-one"), PassphraseWrong, "tls_identities_passphrase"),
    ],
)
def test_a_missing_or_wrong_passphrase_is_said_before_anything_is_made(
    store: Bench, passphrases: Passphrases, error: type[StoreError], says: str
) -> None:
    store.carry_out(wanted("first@h"))
    before = snapshot(store.folder)
    with pytest.raises(error, match=says) as raised:
        store.carry_out(wanted(), passphrases=passphrases)
    assert snapshot(store.folder) == before
    assert "wrong-one" not in str(raised.value)


def test_what_is_to_be_signed_waits_for_a_run_with_the_authorities_passphrase_and_is_named(store: Bench) -> None:
    store.carry_out(wanted("first@h"))
    before = snapshot(store.folder)
    view = store.carry_out(wanted(), passphrases=Passphrases(None, CANARY))
    assert [change.target for change in view.postponed] == ["identity router@urs1"]
    assert any("tls_authorities_passphrase" in note for note in view.notes)
    assert snapshot(store.folder) == before


def test_a_new_store_takes_no_short_passphrase(store: Bench) -> None:
    with pytest.raises(StoreError, match="shorter than 8"):
        store.carry_out(wanted(), passphrases=Passphrases("short", "short"))
    assert not store.folder.exists()


def test_a_passphrase_is_the_same_in_either_way_of_writing_its_letters(store: Bench) -> None:
    store.carry_out(passphrases=Passphrases("Schl\u00fcssel-1", None))
    store.carry_out(wanted(), passphrases=Passphrases("Schlu\u0308ssel-1", CANARY))


def test_the_preflight_says_in_check_mode_what_the_run_would_say(store: Bench) -> None:
    view = store.inspect(wanted())
    with pytest.raises(PassphraseMissing):
        preflight(store.paths, view, passphrases=Passphrases(None, None))
    with pytest.raises(StoreLost, match="is empty"):
        preflight(store.paths, view, passphrases=store.passphrases, generations_seen=["cfg1"])
    assert not store.folder.exists()


@pytest.mark.parametrize(
    "damage", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" * 2]
)
@pytest.mark.parametrize(
    "file", ["authorities/connsec/root.pem", "authorities/connsec/issuing-000001.pem", "identities/router@urs1.pem"]
)
def test_a_damaged_file_is_named_and_nothing_else_happens(store: Bench, file: str, damage: bytes) -> None:
    store.carry_out(wanted())
    (store.folder / file).write_bytes(damage)
    with pytest.raises(StoreError, match=r"%s is damaged" % file.rsplit("/", maxsplit=1)[-1]):
        store.inspect(wanted())


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b"\xff", b"[" * 3000, b'{"version": 2, "kdf": {}, "cipher": {}}'])
def test_a_damaged_secret_is_named(store: Bench, junk: bytes) -> None:
    store.carry_out(wanted())
    (store.folder / "identities/secret.json").write_bytes(junk)
    with pytest.raises(StoreError, match=r"secret\.json"):
        store.material()


@pytest.mark.parametrize("file", ["identities/router@urs1.pem", "authorities/connsec/issuing-000001.crl.pem"])
def test_a_huge_file_is_refused_at_once(store: Bench, file: str) -> None:
    store.carry_out(wanted())
    (store.folder / file).write_bytes(b"-----BEGIN CERTIFICATE-----\n" * 40_000)
    with pytest.raises(StoreError, match="bytes long; at most 1048576 belong there"):
        store.inspect(wanted())


def test_a_shorter_life_that_is_planned_is_issued_once(store: Bench) -> None:
    store.carry_out(wanted())
    view = store.carry_out(wanted(days=30))
    assert reasons(view) == {"identity router@urs1": "its life is 90 days, planned 30"}
    assert view.identities["router@urs1"].not_after == NOW - 3600 + 30 * DAY - 1
    assert reasons(store.inspect(wanted(days=30))) == {}


def test_certificates_and_lists_of_authorities_are_in_the_view(store: Bench) -> None:
    store.carry_out(wanted())
    view = store.carry_out(wanted(), now=NOW + 1096 * DAY)
    own = store.folder / "authorities/connsec"
    for pem, file in zip(view.issuing["connsec"], ("issuing-000001.pem", "issuing-000002.pem"), strict=True):
        assert (own / file).read_text().startswith(pem)
    lists = [(own / file).read_text() for file in ("root.crl.pem", "issuing-000001.crl.pem", "issuing-000002.crl.pem")]
    assert list(view.crls["connsec"]) == lists
    assert "PRIVATE KEY" not in "".join([*view.issuing["connsec"], *view.crls["connsec"], *view.roots["connsec"]])


def refused(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
    raise ValueError("[digital envelope routines] unsupported")


@pytest.mark.parametrize(
    ("derivation", "says"),
    [("scrypt", "OpenSSL refuses scrypt, .*FIPS"), ("pbkdf2_hmac", "OpenSSL refuses PBKDF2 .*FIPS")],
)
def test_a_controller_in_fips_mode_is_told_so_in_one_sentence(
    store: Bench, monkeypatch: pytest.MonkeyPatch, derivation: str, says: str
) -> None:
    monkeypatch.setattr("hashlib." + derivation, refused)
    with pytest.raises(TlsError, match=says):
        store.carry_out(wanted())


def test_a_signing_process_says_what_its_own_error_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.connsec.tls.plugins.plugin_utils._parallel import spread

    monkeypatch.setattr("threading.active_count", lambda: 1)

    def work(index: int) -> int:
        if index:
            raise TlsError("a sentence of ours")
        return index

    with pytest.raises(StoreError, match=r"\Aa sentence of ours\Z"):
        spread(work, 2, workers=2)


def test_no_secret_lies_in_the_store_in_the_clear(store: Bench) -> None:
    store.carry_out(wanted())
    files = store.material(formats=["pkcs12"])
    everything = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    assert CANARY.encode() not in everything
    assert files.files["keystore.password"] not in everything
    assert b"BEGIN PRIVATE KEY" not in everything
    assert CANARY not in repr(store.passphrases)


@pytest.mark.parametrize(
    "trap", ["folder is a link", "file is a link", "folder is open to others", "file in its place"]
)
def test_nothing_is_written_through_what_somebody_else_could_have_put_there(
    store: Bench, tmp_path: Path, trap: str
) -> None:
    victim = tmp_path / "victim"
    store.folder.mkdir()
    if trap == "folder is a link":
        victim.mkdir()
        (store.folder / "authorities").symlink_to(victim)
    elif trap == "file is a link":
        victim.write_text("precious")
        (store.folder / "authorities").mkdir(mode=0o700)
        (store.folder / "authorities/journal.jsonl").symlink_to(victim)
    elif trap == "folder is open to others":
        (store.folder / "authorities").mkdir()
        (store.folder / "authorities").chmod(0o777)
    else:
        (store.folder / "authorities").write_text("precious")
    with pytest.raises(StoreError, match="authorities"):
        store.carry_out(wanted())
    assert not victim.exists() or victim.is_dir() or victim.read_text() == "precious"
    assert not victim.is_dir() or not list(victim.iterdir())


@pytest.mark.parametrize("others", [0, 20])
def test_a_full_disk_leaves_the_old_files_and_no_temporary_ones(
    store: Bench, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    store.carry_out(wanted())
    before = {path: path.read_bytes() for path in (store.folder / "identities").iterdir()}

    sync = os.fsync

    def full(fd: int) -> None:
        if "/.new-" in os.readlink("/proc/self/fd/%d" % fd) or others:
            raise OSError(28, "No space left on device")
        sync(fd)

    folder = "ansible_collections.connsec.tls.plugins.plugin_utils._folder."
    monkeypatch.setattr(folder + ("_sync_file_system" if others else "os.fsync"), full)
    with pytest.raises(StoreError, match="No space left"):
        store.carry_out(wanted(names=("new.example.net",)), *(wanted("web@web%d" % each) for each in range(others)))
    after = {path: path.read_bytes() for path in (store.folder / "identities").iterdir()}
    assert {p: c for p, c in after.items() if p.name != ".lock"} == {
        p: c for p, c in before.items() if p.name != ".lock"
    }


def test_doubles_and_unknown_authorities_are_refused(store: Bench) -> None:
    with pytest.raises(StoreError, match="identity router@urs1 is given twice"):
        store.inspect(wanted(), wanted())
    with pytest.raises(StoreError, match="differ in case only"):
        store.inspect(wanted("a@Host"), wanted("a@host"))
    with pytest.raises(StoreError, match="names authority other"):
        store.inspect(wanted(authority="other"))


def test_a_thousand_serial_numbers_are_all_different_and_long(store: Bench) -> None:
    store.carry_out(*(wanted("i%d@h" % n) for n in range(200)), workers=2)
    serials = [int(line["serial"], 16) for line in store.journal() if line["act"] == "intent"]
    assert len(set(serials)) == len(serials) == 202
    assert min(serials) > 0
    assert max(serials).bit_length() in range(150, 160)


def test_two_processes_sign_what_one_would(store: Bench) -> None:
    identities = [wanted("i%d@h" % n, names=("h%d.example.net" % n,)) for n in range(70)]
    view = store.carry_out(*identities, workers=2)
    assert {name: info.names for name, info in view.identities.items()} == {i.name: i.names for i in identities}
    assert view.identities == store.inspect(*identities).identities


def test_the_journal_has_the_intent_of_every_certificate(store: Bench) -> None:
    view = store.carry_out(wanted())
    lines = store.journal()
    intents = {line["target"]: line for line in lines if line["act"] == "intent"}
    info = view.identities["router@urs1"]
    assert intents["identity router@urs1"]["serial"] == info.serial
    assert intents["identity router@urs1"]["spki_sha256"] == info.spki_sha256
    assert intents["identity router@urs1"]["names"] == ["192.0.2.7", "urs1.example.net"]
    assert intents["identity router@urs1"]["issuer_spki_sha256"] == view.authorities["connsec"].issuing[0].spki_sha256
    closed = {line["serial"]: line for line in lines if line["act"] == "issued"}
    assert lines[-1]["act"] == "issued"
    assert set(closed) == {line["serial"] for line in intents.values()}
    assert (closed[info.serial]["sha256"], closed[info.serial]["not_after"]) == (info.sha256, info.not_after)
    root = view.authorities["connsec"].root
    assert root is not None
    assert (closed[root.serial]["sha256"], closed[root.serial]["not_after"]) == (root.sha256, root.not_after)


@pytest.mark.parametrize("tail", [b'{"act":"int', b"\x00\x00", b"{"])
def test_a_torn_last_line_of_the_journal_is_passed_over_for_ever(store: Bench, tail: bytes) -> None:
    store.carry_out(wanted())
    journal = store.folder / "authorities/journal.jsonl"
    journal.write_bytes(journal.read_bytes() + tail)
    assert not store.inspect(wanted()).changes
    store.carry_out(wanted("b@h"))
    store.carry_out(wanted("c@h"))
    assert not store.inspect(wanted(), wanted("b@h"), wanted("c@h")).changes


def test_a_damaged_line_in_the_journal_is_named(store: Bench) -> None:
    store.carry_out(wanted())
    journal = store.folder / "authorities/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"junk\n", *lines[1:]]))
    with pytest.raises(StoreError, match=r"journal\.jsonl, line 2"):
        store.inspect(wanted())


def test_an_rsa_authority_says_so_where_another_is_planned(store: Bench) -> None:
    store.carry_out()
    store.authorities = [WantedAuthority(key_type="rsa-4096")]
    view = store.inspect()
    assert not view.changes
    assert "needs a rotation" in view.notes[0]
