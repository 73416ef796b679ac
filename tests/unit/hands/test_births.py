# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that are born on a host, by its own openssl and keytool: their files, and what a killed run leaves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._birth import (
    BirthRefused,
    PendingKey,
    Terms,
    WantedKey,
    plan_birth,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._manifest import file_in
from ansible_collections.connsec.tls.plugins.module_utils._host import _births, _keygen
from ansible_collections.connsec.tls.plugins.module_utils._host._births import Birth, pending_key
from ansible_collections.connsec.tls.plugins.module_utils._host._born import held_keys
from ansible_collections.connsec.tls.plugins.module_utils._host._generations import File, Material

from .instances import FOLDER, NAME

OPENSSL, KEYTOOL = shutil.which("openssl"), shutil.which("keytool")
needs_openssl = pytest.mark.skipif(not OPENSSL, reason="LEFT OUT: there is no openssl on this machine")
needs_keytool = pytest.mark.skipif(not (OPENSSL and KEYTOOL), reason="LEFT OUT: there is no keytool on this machine")


def run(*argv: str | Path, stdin: bytes = b"") -> bytes:
    """Run a program that judges what ours made."""
    done = subprocess.run([str(part) for part in argv], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


# Decide

WAITING = PendingKey("id", "ec-p256", "aa", "request")


@pytest.mark.parametrize(
    ("pending", "reason"),
    [
        (None, "no key waits for a certificate"),
        (WAITING, None),
        (PendingKey("other", "ec-p256", "aa", ""), "the key that waits is that of other"),
        (PendingKey("id", "rsa-2048", "aa", ""), "the key that waits is rsa-2048, planned ec-p256"),
        (PendingKey("id", "ec-p256", "cc", ""), "the key that waits had its certificate, and each certificate has a"),
        (
            PendingKey("id", "ec-p256", "aa", "", "key.pem is missing"),
            "the key that waits is spoilt: key.pem is missing",
        ),
    ],
)
def test_a_key_is_born_where_none_waits_that_would_do(pending: PendingKey | None, reason: str | None) -> None:
    change = plan_birth(WantedKey("a@h", "id", "ec-p256", certified="cc"), pending=pending)
    assert change.reason.startswith(reason) if reason else change is None


ASKING = Terms(("192.0.2.7", "urs1.example.net"), ("client", "server"))


@pytest.mark.parametrize(("terms", "is_new"), [(ASKING, False), (Terms(("a.example.net",), ("server",)), True)])
def test_a_request_is_made_anew_where_others_are_asked_for_something_else(terms: Terms, is_new: bool) -> None:
    waiting = PendingKey("id", "ec-p256", "aa", "request", terms=ASKING)
    change = plan_birth(WantedKey("a@h", "id", "ec-p256", terms=terms), pending=waiting)
    assert (change is not None) is is_new
    if change is not None:
        assert change.reason == "the request of the key that waits asks for something else than planned"


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (Terms(("a.example.net\nkeyUsage = keyCertSign",), ("server",)), "a@h: names"),
        (Terms(("a.example.net,DNS:b",), ("server",)), "a@h: names"),
        (Terms(("${ENV::HOME}",), ("server",)), "a@h: names"),
        (Terms(("a.example.net",), ("sign",)), "a@h: a request for others has names, and usages of client, server"),
        (Terms(("a.example.net",)), "a@h: a request for others has names, and usages of client, server"),
        (Terms(("a.example.net",), ("server",), "b"), "a@h: common name 'b' is none of its names"),
    ],
)
def test_a_host_asks_others_for_nothing_that_it_would_not_write_down(terms: Terms, says: str) -> None:
    with pytest.raises(TlsError) as refused:
        WantedKey("a@h", "id", "ec-p256", terms=terms)
    assert says in str(refused.value)


def test_a_key_type_that_no_host_makes_is_refused() -> None:
    with pytest.raises(BirthRefused, match="key type is 'dsa'; a host makes ec-p256, ec-p384, rsa-2048"):
        WantedKey("a@h", "id", "dsa")


# Make


class Home:
    """A host's folder, and a small authority that answers its requests with openssl alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "connsec"
        self.base = self.directory / FOLDER
        self.waiting = self.base / ("pending-key-" + NAME)
        self.ca = directory / "ca"
        self.directory.mkdir()
        self.ca.mkdir()

    def birth(self, key_type: str = "ec-p256", **more: t.Any) -> Birth:
        asked = {"name": NAME, "folder": FOLDER, "identity": NAME, "key_type": key_type, **more}
        return Birth(str(self.directory), asked)

    def born(self, key_type: str = "ec-p256", **more: t.Any) -> PendingKey:
        birth = self.birth(key_type, **more)
        assert birth.plan() is not None
        birth.make()
        assert birth.plan() is None
        found = birth.request()
        assert found is not None
        return found

    def certificates(self, request: str) -> bytes:
        """Return the chain that an authority answers a request with."""
        authority, key = self.ca / "ca.pem", self.ca / "ca.key"
        if not authority.exists():
            new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
            run("openssl", "req", "-x509", *new, "-subj", "/CN=ca", "-keyout", key, "-out", authority)
        made = run(
            "openssl", "x509", "-req", "-CA", authority, "-CAkey", key, "-set_serial", "7", stdin=request.encode()
        )
        return made + authority.read_bytes()

    def material(self, waiting: PendingKey, *, keystore: bool = False, combined: bool = False) -> Material:
        """Return the place for the generation of a key."""
        identity = {"certificate": waiting.spki_sha256, "key": waiting.spki_sha256}
        inputs = {"identities": {"": identity}, "trust": [], "formats": ["pem"]}
        born = {"identity": NAME, "spki_sha256": waiting.spki_sha256, "keystore": keystore, "combined": combined}
        return Material(str(self.directory), {"name": NAME, "folder": FOLDER, "inputs": inputs, "born": {"": born}})

    def install(self, waiting: PendingKey, **reads: bool) -> None:
        place = self.material(waiting, **reads)
        assert place.plan() is not None
        place.make([File("fullchain.pem", self.certificates(waiting.request), secret=False)])

    def current(self, name: str) -> Path:
        return self.base / "current" / name


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@needs_openssl
@pytest.mark.parametrize("mask", [0o000, 0o077])
@pytest.mark.parametrize(
    ("key_type", "says"), [("ec-p256", b"prime256v1"), ("ec-p384", b"secp384r1"), ("rsa-2048", b"2048 bit")]
)
def test_openssl_makes_a_key_that_openssl_finds_sound(home: Home, key_type: str, says: bytes, mask: int) -> None:
    before = os.umask(mask)
    try:
        waiting = home.born(key_type)
    finally:
        os.umask(before)
    key = home.waiting / "key.pem"
    assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert says in run("openssl", "req", "-verify", "-noout", "-text", stdin=waiting.request.encode())
    public = run("openssl", "pkey", "-in", key, "-pubout", "-outform", "DER")
    assert hashlib.sha256(public).hexdigest() == waiting.spki_sha256
    assert held_keys(str(home.base)) == [waiting.spki_sha256]


@needs_openssl
def test_a_generation_takes_the_key_that_waits_and_keeps_it_when_another_is_born(home: Home) -> None:
    first = home.born()
    key = (home.waiting / "key.pem").read_bytes()
    home.install(first)
    assert home.current("key.pem").read_bytes() == key
    assert stat.S_IMODE(home.current("key.pem").stat().st_mode) == 0o400
    assert not (home.waiting).exists()
    assert home.material(first).plan() is None
    second = home.born(certified=first.spki_sha256)
    assert held_keys(str(home.base)) == sorted([first.spki_sha256, second.spki_sha256])
    home.install(second)
    assert (home.base / "previous" / "key.pem").read_bytes() == key
    assert home.current("key.pem").read_bytes() != key


@needs_openssl
def test_a_combined_file_is_made_of_the_key_where_it_was_born(home: Home) -> None:
    home.install(home.born(), combined=True)
    made, end = home.current("combined.pem"), b"-----END CERTIFICATE-----\n"
    own, chain = home.current("fullchain.pem").read_bytes().split(end, 1)
    assert made.read_bytes() == own + end + home.current("key.pem").read_bytes() + chain
    assert stat.S_IMODE(made.stat().st_mode) == 0o400


@needs_openssl
def test_a_keystore_is_made_by_openssl_and_java_reads_it(home: Home) -> None:
    home.install(home.born("rsa-2048"), keystore=True)
    store, password = home.current("keystore.p12"), home.current("keystore.password")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (store, password)} == {0o400}
    out = run("openssl", "pkcs12", "-in", store, "-passin", "file:%s" % password, "-nodes")
    assert out.count(b"BEGIN CERTIFICATE") == 2
    if KEYTOOL:
        listed = run(KEYTOOL, "-list", "-keystore", store, "-storepass:file", password)
        assert b"router@urs1" in listed
        assert b"PrivateKeyEntry" in listed
    kept = password.read_bytes()
    home.install(home.born("rsa-2048"), keystore=True)
    assert home.current("keystore.password").read_bytes() == kept, "programs know the password already"


@pytest.mark.judges
@needs_keytool
@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048"])
def test_keytool_makes_the_key_where_there_is_no_openssl(
    home: Home, key_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_births, "program", lambda name: None if name == "openssl" else _keygen.program(name))
    waiting = home.born(key_type, keystore_only=True)
    run("openssl", "req", "-verify", "-noout", stdin=waiting.request.encode())
    home.install(waiting, keystore=True)
    store, password = home.current("keystore.p12"), home.current("keystore.password")
    assert not home.current("key.pem").exists()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (store, password)} == {0o400}
    out = run("openssl", "pkcs12", "-in", store, "-passin", "file:%s" % password, "-nodes")
    assert out.count(b"BEGIN CERTIFICATE") == 2
    key = out[out.index(b"-----BEGIN PRIVATE KEY") :]
    public = run("openssl", "pkey", "-pubout", "-outform", "DER", stdin=key)
    assert hashlib.sha256(public).hexdigest() == waiting.spki_sha256
    assert held_keys(str(home.base)) == [waiting.spki_sha256]
    assert sorted(os.listdir(home.base)) == ["current", "generations"]


#: What others are asked for: the terms, and how openssl prints them.
TERMS: dict[str, tuple[dict[str, t.Any], tuple[str, ...]]] = {
    "names and addresses, no subject": (
        {"names": ["192.0.2.7", "2001:db8::7", "urs1.example.net"], "usages": ["client", "server"]},
        (
            "Subject: \n",
            "Subject Alternative Name: critical",
            "IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7, DNS:urs1.example.net",
            "Digital Signature",
        ),
    ),
    "a common name": (
        {"names": ["urs1.example.net"], "usages": ["server"], "common_name": "urs1.example.net"},
        ("Subject: CN = urs1.example.net\n", "Subject Alternative Name: \n", "TLS Web Server Authentication\n"),
    ),
}


@pytest.mark.judges
@needs_keytool
@pytest.mark.parametrize("maker", ["openssl", "keytool"])
@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048"])
@pytest.mark.parametrize("asked", TERMS)
def test_a_request_for_others_asks_for_what_is_planned(
    home: Home, maker: str, key_type: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_births, "program", lambda name: _keygen.program(name) if name == maker else None)
    terms, parts = TERMS[asked]
    waiting = home.born(key_type, keystore_only=True, **terms)
    assert waiting.terms == Terms.of(terms)
    text = run("openssl", "req", "-verify", "-noout", "-text", stdin=waiting.request.encode()).decode()
    assert not [part for part in parts if part not in text], text
    assert ("Key Encipherment" in text) is key_type.startswith("rsa")
    files = {path.name: path.read_bytes() for path in home.waiting.glob("k*") if path.suffix != ".json"}
    again = home.born(key_type, keystore_only=True, names=["other.example.net"], usages=["server"])
    assert again.spki_sha256 == waiting.spki_sha256, "it is the request that is made anew, and not the key"
    assert "other.example.net" in run("openssl", "req", "-noout", "-text", stdin=again.request.encode()).decode()
    for name, data in files.items():
        path = home.waiting / name
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (data, 0o400)


@needs_openssl
@pytest.mark.parametrize("keystore_only", [False, True])
def test_a_host_without_a_program_is_told_what_would_help(
    home: Home, monkeypatch: pytest.MonkeyPatch, keystore_only: bool
) -> None:
    monkeypatch.setattr(_births, "program", lambda _name: None)
    with pytest.raises(BirthRefused, match=r"has no openssl.*; install it, or let the key be made with key_at: contr"):
        home.birth(keystore_only=keystore_only).make()
    assert os.listdir(home.base) == []


@needs_openssl
def test_no_program_is_given_a_key_or_a_password_as_an_argument(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    really = subprocess.run

    def noting(argv: list[str], **options: t.Any) -> t.Any:
        calls.append(argv)
        return really(argv, **options)  # pylint: disable=subprocess-run-check

    monkeypatch.setattr(_keygen.subprocess, "run", noting)
    home.install(home.born(), keystore=True)
    key, password = (home.current(name).read_text() for name in ("key.pem", "keystore.password"))
    words = [word for argv in calls for word in argv]
    assert len(calls) >= 3
    assert not [word for word in words if password in word or key.splitlines()[1] in word]


@needs_openssl
def test_a_program_that_fails_leaves_nothing_and_its_words_are_told(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "openssl"
    broken.write_text("#!/bin/sh\necho '-----BEGIN PRIVATE KEY-----'\necho no entropy >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(_births, "program", lambda _name: str(broken))
    with pytest.raises(BirthRefused, match=r"openssl could not make a key: no entropy"):
        home.birth().make()
    assert os.listdir(home.base) == []


SPOILS: dict[str, tuple[t.Callable[[Path], t.Any], str]] = {
    "the key is gone": (lambda folder: (folder / "key.pem").unlink(), "key.pem is missing"),
    "the key is another": (
        lambda folder: ((folder / "key.pem").chmod(0o600), (folder / "key.pem").write_text("x")),
        "key.pem is not the one that was made",
    ),
    "the record is gone": (lambda folder: (folder / "key.json").unlink(), "key.pem is not the one that was made"),
    "the record is no JSON": (lambda folder: (folder / "key.json").write_text("{"), "is damaged"),
    "the folder is empty": (lambda folder: [path.unlink() for path in folder.iterdir()], "key.pem is missing"),
}


@needs_openssl
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_key_that_waits_and_is_spoilt_counts_as_lost_and_another_is_born(home: Home, spoil: str) -> None:
    damage, says = SPOILS[spoil]
    first = home.born()
    damage(home.waiting)
    assert held_keys(str(home.base)) == []
    change = home.birth().plan()
    assert change is not None
    assert says in change.reason
    with pytest.raises(TlsError, match="is not on this host any more; run again"):
        home.install(first)
    assert home.born().spki_sha256 != first.spki_sha256


@needs_openssl
def test_what_a_killed_birth_left_is_swept_by_the_next(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(_self: Birth, _new: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Birth, "_take", dies)
        patched.setattr(_births.shutil, "rmtree", lambda *_args, **_options: None)  # a killed process tidies nothing
        with pytest.raises(KeyboardInterrupt):
            home.birth().make()
    assert os.listdir(home.base) == [".pending-key.connsec-new"]
    assert pending_key(str(home.base), NAME) is None
    home.born()
    assert os.listdir(home.base) == [home.waiting.name]


@needs_openssl
def test_a_run_killed_between_installation_and_tidying_up_is_finished_by_the_next(home: Home) -> None:
    waiting = home.born()
    kept = home.directory / "kept"
    shutil.copytree(home.waiting, kept)
    home.install(waiting)
    kept.rename(home.waiting)
    assert held_keys(str(home.base)) == [waiting.spki_sha256]
    assert home.material(waiting).plan() is None
    again = home.birth(certified=waiting.spki_sha256).plan()
    assert again is not None
    assert "had its certificate" in again.reason


@needs_openssl
def test_a_lost_key_of_the_current_generation_is_taken_from_nowhere_else(home: Home) -> None:
    first = home.born()
    home.install(first)
    home.current("key.pem").unlink()
    assert held_keys(str(home.base)) == []
    with pytest.raises(TlsError, match="the key of router@urs1 is not on this host any more"):
        home.install(first)
    assert json.loads(home.current("manifest.json").read_text())["generation"] == "000001"


@needs_openssl
def test_each_identity_of_an_instance_has_a_key_of_its_own(home: Home) -> None:
    own, outer = home.born(), home.born(identity="outer")
    assert held_keys(str(home.base)) == sorted([own.spki_sha256, outer.spki_sha256])
    keys = {"": own, "outer": outer}
    inputs = {folder: {"certificate": key.spki_sha256, "key": key.spki_sha256} for folder, key in keys.items()}
    born = {
        "": {"identity": NAME, "spki_sha256": own.spki_sha256, "keystore": False},
        "outer": {"identity": "outer", "spki_sha256": outer.spki_sha256, "keystore": True},
    }
    asked = {"name": NAME, "folder": FOLDER, "inputs": {"identities": inputs}, "born": born}
    place = Material(str(home.directory), asked)
    assert place.plan() is not None
    chains = ((folder, home.certificates(key.request)) for folder, key in keys.items())
    place.make([File(file_in(folder, "fullchain.pem"), chain, secret=False) for folder, chain in chains])
    for folder, key in keys.items():
        public = run("openssl", "pkey", "-in", home.current(file_in(folder, "key.pem")), "-pubout", "-outform", "DER")
        assert hashlib.sha256(public).hexdigest() == key.spki_sha256
    assert stat.S_IMODE(home.current("outer/keystore.p12").stat().st_mode) == 0o400
    assert not home.current("keystore.p12").exists()
    assert sorted(os.listdir(home.base)) == ["current", "generations"]
    assert held_keys(str(home.base)) == sorted([own.spki_sha256, outer.spki_sha256])
    home.current("outer/key.pem").unlink()
    assert held_keys(str(home.base)) == [own.spki_sha256]


@pytest.mark.parametrize("identity", ["../x", "a/b", ".", ""])
def test_a_name_that_cannot_become_a_folder_is_refused(home: Home, identity: str) -> None:
    with pytest.raises(TlsError, match="is not an identity's name"):
        home.birth(identity=identity)
