# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities that a PKI team signs: the request, every answer that is refused, the one that is taken, renewal.

All of it holds for keys that are made at the controller, and for those that are born on their hosts.
"""

from __future__ import annotations

import shutil
import stat
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedIdentity
from ansible_collections.connsec.tls.plugins.module_utils._core._renewing import unrenewed
from ansible_collections.connsec.tls.plugins.module_utils._core._requesting import terms_asked
from ansible_collections.connsec.tls.plugins.module_utils._host._births import Birth
from ansible_collections.connsec.tls.plugins.module_utils._host._born import held_keys
from ansible_collections.connsec.tls.plugins.module_utils._host._generations import File, Material
from ansible_collections.connsec.tls.plugins.plugin_utils._csr import read_requests
from ansible_collections.connsec.tls.plugins.plugin_utils._secrets import Passphrases
from ansible_collections.connsec.tls.plugins.plugin_utils._store import MaterialFiles, StoreError, StoreView
from pki_team import Team, openssl

from .conftest import CANARY, DAY, Bench, snapshot, wanted

NOW = int(time.time()) + 600  # after anything that is signed meanwhile
NAMES, USAGES = "DNS:urs1.example.net,IP:192.0.2.7", "serverAuth,clientAuth"


class Desk:
    """A store whose identity is asked for, and the team that signs it."""

    def __init__(self, store: Bench, team: Team) -> None:
        self.store = store
        store.authorities = []
        store.passphrases = Passphrases(None, CANARY)
        self.team = team
        self.files = {"corporate": str(self.team.root)}
        self.request = store.folder / "requests/router@urs1/request.pem"
        self.answer = store.folder / "requests/router@urs1/answer.pem"

    def wanted(self, **options: t.Any) -> WantedIdentity:
        return wanted(**{"issuer": "requested", "authority": "corporate", **options})

    def inspect(self, *, now: int = NOW, **options: t.Any) -> StoreView:
        from ansible_collections.connsec.tls.plugins.plugin_utils._store import inspect

        return inspect(self.store.paths, [], [self.wanted(**options)], now=now, trust_files=self.files)

    def run(self, *, now: int = NOW, **options: t.Any) -> StoreView:
        return self.store.carry_out(self.wanted(**options), now=now, trust_files=self.files)

    def public_key(self, folder: Path) -> str:
        """Return the public half of the key that the instance has."""
        return openssl("pkey", "-in", folder / "key.pem", "-pubout")

    def sign(self, **options: t.Any) -> str:
        return self.team.sign(self.request, **{"names": NAMES, "usages": USAGES, **options})

    def brings(self, text: str) -> None:
        self.answer.write_text(text)

    def material(self, *, now: int = NOW) -> MaterialFiles:
        return self.store.material(trust=["corporate"], now=now, trust_files=self.files)

    def seen(self, **options: t.Any) -> str:
        return self.inspect(**options).awaited["router@urs1"].seen


class HomeDesk(Desk):
    """The same for a key that is born on its host, which is a folder here."""

    def __init__(self, store: Bench, team: Team) -> None:
        super().__init__(store, team)
        self.directory = store.folder.parent / "connsec"
        self.directory.mkdir()
        self.base = self.directory / "router"
        store.passphrases = Passphrases(None, None)

    def wanted(self, **options: t.Any) -> WantedIdentity:
        return super().wanted(**{"key_at": "host", **options})

    @property
    def held(self) -> dict[str, list[str]]:
        return {"router@urs1": held_keys(str(self.base))}

    def inspect(self, *, now: int = NOW, **options: t.Any) -> StoreView:
        from ansible_collections.connsec.tls.plugins.plugin_utils._store import inspect

        wanted = [self.wanted(**options)]
        return inspect(self.store.paths, [], wanted, now=now, trust_files=self.files, held=self.held)

    def asks(self, certified: str = "", **options: t.Any) -> dict[str, t.Any]:
        """Have the host make its key, if it has to, and return what it tells."""
        wanted = self.wanted(**options)
        whose = {"name": wanted.name, "folder": "router", "identity": wanted.name, "key_type": wanted.key_type}
        birth = Birth(str(self.directory), {**whose, "certified": certified, **terms_asked(wanted)})
        if birth.plan() is not None:
            birth.make()
        waiting = birth.request()
        assert waiting is not None
        return {"request": waiting.request, "spki_sha256": waiting.spki_sha256, "held": held_keys(str(self.base))}

    def run(self, *, now: int = NOW, **options: t.Any) -> StoreView:
        view, held = self.inspect(now=now, **options), self.held
        given: dict[str, t.Any] = {}
        if view.acts("ask") and self.wanted(**options).key_at == "host":
            found = view.identities.get("router@urs1")
            row = self.asks(found.spki_sha256 if found else "", **options)
            given, refused = read_requests({"router@urs1": row}, [self.wanted(**options)])
            assert not refused
        given = {"trust_files": self.files, "requests": given, "held": held}
        after = self.store.carry_out(self.wanted(**options), now=now, **given)
        if view.acts("take") and self.wanted(**options).key_at == "host":
            self.install(now=now)
        return after

    def install(self, *, now: int) -> None:
        """Give the host what the store has for it, which its key joins there."""
        found = self.material(now=now)
        place = Material(
            str(self.directory),
            {"name": "router@urs1", "folder": "router", "inputs": dict(found.inputs), "born": dict(found.born or {})},
        )
        place.make([File(name, data, secret=False) for name, data in found.files.items()])

    def public_key(self, folder: Path) -> str:
        return openssl("pkey", "-in", self.base / "current/key.pem", "-pubout")

    def material(self, *, now: int = NOW) -> MaterialFiles:
        trusting = {"trust": ["corporate"], "trust_files": self.files}
        found = self.store.material(now=now, passphrase=None, **trusting)
        assert found.secret == frozenset()
        return found


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return Team(tmp_path_factory.mktemp("corporate") / "team")


@pytest.fixture(params=["key at the controller", "key at the host"])
def desk(store: Bench, team: Team, request: pytest.FixtureRequest) -> Desk:
    return Desk(store, team) if request.param == "key at the controller" else HomeDesk(store, team)


@pytest.fixture
def home(store: Bench, team: Team) -> HomeDesk:
    return HomeDesk(store, team)


def test_a_request_is_made_once_and_waits_without_the_authorities_passphrase(desk: Desk) -> None:
    view = desk.run()
    assert view.due == {"identity router@urs1": "no certificate yet"}
    assert not view.coming
    awaits = view.awaited["router@urs1"]
    assert "waits for a signature of authority corporate since 20" in awaits.seen
    assert awaits.todo == "have authority corporate sign %s, put the answer at %s, and run again" % (
        desk.request,
        desk.answer,
    )
    before = snapshot(desk.store.folder)
    assert not desk.run(now=NOW + DAY).changes
    assert snapshot(desk.store.folder) == before
    assert not (desk.store.folder / "authorities/secret.json").exists()


def test_a_request_says_what_is_planned_and_holds_no_secret(desk: Desk) -> None:
    desk.run()
    text = openssl("req", "-in", desk.request, "-noout", "-text", "-verify")
    for part in ("IP Address:192.0.2.7, DNS:urs1.example.net", "TLS Web Client Auth", "TLS Web Server Auth", "Digital"):
        assert part in text
    assert stat.S_IMODE(desk.request.stat().st_mode) == 0o644
    kept = desk.store.folder / "identities/router@urs1.requested"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert ("BEGIN ENCRYPTED PRIVATE KEY" in kept.read_text()) is not isinstance(desk, HomeDesk)
    assert "BEGIN PRIVATE KEY" not in kept.read_text()


def _chain(desk: Desk) -> str:
    return desk.team.issuing.read_text()


def _pkcs7(desk: Desk) -> str:
    leaf = desk.team.folder / "signed.pem"
    leaf.write_text(desk.sign())
    return openssl("crl2pkcs7", "-nocrl", "-certfile", leaf, "-certfile", desk.team.issuing)


GOOD: t.Mapping[str, t.Callable[[Desk], str]] = {
    "leaf first": lambda desk: desk.sign() + _chain(desk),
    "leaf last, root and all": lambda desk: desk.team.root.read_text() + _chain(desk) + desk.sign(),
    "with words between": lambda desk: "Dear all,\n" + desk.sign() + "and the chain:\n" + _chain(desk),
    "PKCS#7": _pkcs7,
    "no subject, critical names": lambda desk: desk.sign(subject="/", names="critical," + NAMES) + _chain(desk),
}


@pytest.mark.parametrize("form", GOOD)
def test_a_good_answer_is_taken_whatever_its_order(desk: Desk, form: str) -> None:
    desk.run()
    desk.brings(GOOD[form](desk))
    view = desk.run()
    assert view.due == {"identity router@urs1": "its answer came: no certificate yet"}
    assert not view.awaited
    assert view.identities["router@urs1"].authority == "corporate"
    assert not desk.inspect().changes
    assert not desk.request.exists()
    files = desk.material().files
    assert files["trust.pem"] == desk.team.root.read_bytes()
    folder = desk.store.folder.parent / "host"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    said = openssl(
        "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "urs1.example.net",
        "-trusted", folder / "trust.pem", "-untrusted", folder / "chain.pem", folder / "certificate.pem",
    )  # fmt: skip
    assert said.endswith("OK\n")
    public = openssl("x509", "-in", folder / "certificate.pem", "-noout", "-pubkey")
    assert desk.public_key(folder) == public


def _foreign(desk: Desk) -> str:
    other = Team(desk.store.folder.parent / "foreign", "foreign")
    return other.sign(desk.request, names=NAMES, usages=USAGES) + other.issuing.read_text()


REFUSED: t.Mapping[str, tuple[t.Callable[[Desk], str], str]] = {
    "wrong key": (
        lambda desk: desk.team.sign(desk.team.other_request(), names=NAMES, usages=USAGES) + _chain(desk),
        "it is for another key",
    ),
    "missing name": (
        lambda desk: desk.sign(names="DNS:urs1.example.net") + _chain(desk),
        "it lacks a name: 192.0.2.7",
    ),
    "extra name": (
        lambda desk: desk.sign(names=NAMES + ",DNS:more.example.net") + _chain(desk),
        "it has a name that was not asked for: more.example.net",
    ),
    "a name of another sort": (
        lambda desk: desk.sign(names=NAMES + ",email:a@example.net") + _chain(desk),
        "it has a name that was not asked for: RFC822Name a@example.net",
    ),
    "names that need not be understood, and no subject": (
        lambda desk: desk.sign(subject="/") + _chain(desk),
        "its subject is empty, and its subjectAltName is not critical",
    ),
    "client only": (
        lambda desk: desk.sign(usages="clientAuth") + _chain(desk),
        "it is for client only, and not for server",
    ),
    "other usage besides": (
        lambda desk: desk.sign(usages=USAGES + ",codeSigning") + _chain(desk),
        "it is also for 1.3.6.1.5.5.7.3.3, which was not asked for",
    ),
    "foreign chain": (_foreign, "its chain is foreign: nothing leads from its issuer, CN=foreign issuing,O=Example,"),
    "no chain": (lambda desk: desk.sign(), "its chain is foreign: nothing leads from its issuer, CN=corporate issuing"),
    "private key": (
        lambda desk: desk.sign() + (desk.team.folder / "issuing.key").read_text(),
        "it holds a private key, which nobody was asked for",
    ),
    "nonsense": (lambda desk: "soon\n", "it holds no certificate that can be read, as PEM, DER or PKCS#7"),
    "an authority's": (_chain, "it is for another key"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_answer_that_is_not_as_planned_is_refused_in_its_own_words(desk: Desk, what: str) -> None:
    answer, words = REFUSED[what]
    desk.run()
    desk.brings(answer(desk))
    before = snapshot(desk.store.folder)
    assert "answer.pem is not taken: %s" % words in desk.seen()
    assert not desk.run().changes
    assert snapshot(desk.store.folder) == before
    desk.brings(GOOD["leaf first"](desk))
    assert "router@urs1" in desk.run().identities


def test_an_answer_outside_its_time_is_refused(desk: Desk) -> None:
    desk.run()
    desk.brings(desk.sign(days=10) + _chain(desk))
    assert "answer.pem is not taken: it has expired on 20" in desk.seen(now=NOW + 11 * DAY)
    assert "answer.pem is not taken: it is not valid yet: it begins on 20" in desk.seen(now=NOW - DAY)


def test_a_renewal_is_asked_for_with_a_new_key_while_the_old_certificate_goes_on(desk: Desk) -> None:
    desk.run()
    desk.brings(desk.sign() + _chain(desk))
    first = desk.run().identities["router@urs1"]
    later = NOW + 62 * DAY
    view = desk.run(now=later)
    assert view.due == {"identity router@urs1": "two thirds of its life have passed"}
    assert view.identities["router@urs1"].sha256 == first.sha256
    assert desk.material(now=later).inputs["identities"][""]["certificate"] == first.sha256
    assert "waits for a signature of authority corporate" in view.awaited["router@urs1"].seen
    (waiting,) = unrenewed(view.awaited, view.identities, now=later)
    assert (waiting.identity, waiting.ends, waiting.is_urgent) == ("router@urs1", first.not_after, False)
    assert not unrenewed(view.awaited, view.identities, now=first.not_after + 1), "by then its pairs tell of it"
    desk.brings(desk.sign(days=200) + _chain(desk))
    second = desk.run(now=later).identities["router@urs1"]
    assert second.spki_sha256 != first.spki_sha256
    assert not desk.inspect(now=later).changes


def test_a_changed_plan_asks_again_with_the_same_key_until_it_is_answered(desk: Desk) -> None:
    desk.run()
    key = openssl("req", "-in", desk.request, "-noout", "-pubkey")
    view = desk.run(names=("new.example.net",))
    assert view.due == {"identity router@urs1": "the open request asks for other names than planned"}
    assert openssl("req", "-in", desk.request, "-noout", "-pubkey") == key
    desk.run(names=("new.example.net",), key_type="rsa-2048")
    assert openssl("req", "-in", desk.request, "-noout", "-pubkey") != key


def test_a_request_that_somebody_took_away_is_put_back(desk: Desk) -> None:
    desk.run()
    text = desk.request.read_text()
    desk.request.unlink()
    assert desk.run().due == {"identity router@urs1": "its request is not where others find it"}
    assert desk.request.read_text() == text


def test_a_run_that_was_stopped_after_taking_the_answer_asks_for_nothing(desk: Desk, tmp_path: Path) -> None:
    desk.run()
    kept = desk.store.folder / "identities/router@urs1.requested"
    left = kept.read_bytes()
    desk.brings(desk.sign() + _chain(desk))
    answer = desk.answer.read_text()
    desk.run()
    kept.write_bytes(left)  # as if it had not come to remove it
    desk.brings(answer)
    assert not desk.inspect().changes
    view = desk.run(now=NOW + 62 * DAY)
    assert view.due == {"identity router@urs1": "two thirds of its life have passed"}
    assert not desk.answer.exists()


LISTS: t.Mapping[str, tuple[t.Callable[[Team], str], str]] = {
    "a private key": (
        lambda team: team.root.read_text() + (team.folder / "root.key").read_text(),
        "holds a private key; a CA list has certificates only",
    ),
    "nothing": (lambda team: "", "has no certificates in PEM that can be read"),
    "an issuing authority alone": (
        lambda team: team.issuing.read_text(),
        "lacks the root above CN=corporate issuing,O=Example",
    ),
    "a leaf": (
        lambda team: team.root.read_text() + team.issuing.read_text() + team.sign(
            team.other_request(), names=NAMES, usages=USAGES
        ),
        "which is no authority's certificate; take it out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LISTS)
def test_a_ca_list_that_is_none_is_refused_in_words(desk: Desk, what: str) -> None:
    text, words = LISTS[what]
    listed = desk.store.folder.parent / "list.pem"
    listed.write_text(text(desk.team))
    desk.files = {"corporate": str(listed)}
    with pytest.raises(StoreError, match=words):
        desk.run()


def test_a_pinned_self_signed_peer_is_trusted_as_it_is(desk: Desk) -> None:
    folder = desk.team.folder
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=appliance",
        "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", folder / "peer.key", "-out", folder / "peer.pem",
    )  # fmt: skip
    files = {"peer/appliance": str(folder / "peer.pem")}
    held = desk.store.material(None, trust=["peer/appliance"], now=NOW, trust_files=files).files
    assert held["trust.pem"] == (folder / "peer.pem").read_bytes()


# Keys that are born on their hosts


def test_the_store_never_has_the_key_and_needs_no_passphrase(home: HomeDesk) -> None:
    home.run()
    key = (home.base / "pending-key-router@urs1/key.pem").read_text().splitlines()[1]
    home.brings(home.sign() + _chain(home))
    info = home.run().identities["router@urs1"]
    assert (info.key_at, [info.spki_sha256]) == ("host", home.held["router@urs1"])
    told = {"identity": "router@urs1", "spki_sha256": info.spki_sha256, "keystore": False}
    assert home.material().born == {"": told}
    texts = [path.read_text() for path in home.store.folder.rglob("*") if path.is_file()]
    assert not [text for text in texts if key in text or "PRIVATE KEY-----" in text]
    assert not (home.store.folder / "identities/secret.json").exists()


def test_a_host_that_lost_its_key_makes_another_and_others_are_asked_again(home: HomeDesk) -> None:
    home.run()
    first = openssl("req", "-in", home.request, "-noout", "-pubkey")
    home.brings(home.sign() + _chain(home))
    shutil.rmtree(home.base)
    view = home.run()
    assert view.due == {"identity router@urs1": "the key of the open request is not on its host any more"}
    assert openssl("req", "-in", home.request, "-noout", "-pubkey") != first
    assert not home.answer.exists(), "it is for a key that nobody has"
    home.brings(home.sign() + _chain(home))
    home.run()
    shutil.rmtree(home.base)
    assert home.run().due == {"identity router@urs1": "its key is not on its host any more"}
    home.brings(home.sign() + _chain(home))
    assert home.run().due == {"identity router@urs1": "its answer came: its key is not on its host any more"}
    assert not home.inspect().changes


def test_without_what_its_host_asks_for_others_are_asked_for_nothing(home: HomeDesk) -> None:
    view = home.store.carry_out(home.wanted(), now=NOW, trust_files=home.files)
    assert [change.target for change in view.postponed] == ["identity router@urs1"]
    assert not home.request.exists()
    home.run()
    home.brings(home.sign() + _chain(home))
    view = home.store.carry_out(home.wanted(), now=NOW, trust_files=home.files)
    assert "router@urs1" in view.identities, "an answer is taken without its host"


@pytest.mark.parametrize(("before", "after"), [("controller", "host"), ("host", "controller")])
def test_a_key_that_is_planned_elsewhere_is_asked_for_anew(home: HomeDesk, before: str, after: str) -> None:
    home.store.passphrases = Passphrases(None, CANARY)
    home.run(key_at=before)
    first = openssl("req", "-in", home.request, "-noout", "-pubkey")
    assert home.run(key_at=after).due == {
        "identity router@urs1": "the key of the open request was made at the %s, planned at the %s" % (before, after)
    }
    assert openssl("req", "-in", home.request, "-noout", "-pubkey") != first
    home.brings(home.sign() + _chain(home))
    assert home.run(key_at=after).identities["router@urs1"].key_at == after
    view = home.run(key_at=before)
    reason = "its key was made at the %s, planned at the %s" % (after, before)
    assert view.due == {"identity router@urs1": reason}


OTHERWISE: t.Mapping[str, tuple[dict[str, t.Any], str]] = {
    "another name": (
        {"names": ("evil.example.net",)},
        "asks for names evil.example.net, planned 192.0.2.7, urs1.example.net; nobody is shown it",
    ),
    "another usage": ({"usages": ("client",)}, "asks for usages client, planned client, server"),
    "a subject": ({"common_name": True}, "asks for a subject urs1.example.net, planned none"),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_a_host_that_asks_others_for_something_else_is_refused(home: HomeDesk, what: str) -> None:
    otherwise, words = OTHERWISE[what]
    taken, refused = read_requests({"router@urs1": home.asks(**otherwise)}, [home.wanted()])
    assert not taken
    assert words in refused["router@urs1"]


def test_a_host_that_only_proves_its_key_asks_others_for_nothing(home: HomeDesk) -> None:
    birth = {"name": "router@urs1", "folder": "router", "identity": "router@urs1", "key_type": "ec-p256"}
    Birth(str(home.directory), birth).make()
    waiting = Birth(str(home.directory), birth).request()
    assert waiting is not None
    taken, refused = read_requests({"router@urs1": waiting.request}, [home.wanted()])
    assert not taken
    assert "asks for names none, planned 192.0.2.7" in refused["router@urs1"]
