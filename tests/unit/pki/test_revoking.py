# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of what left the fleet stand on their issuer's list until they end; openssl judges."""

from __future__ import annotations

import dataclasses
import subprocess
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._material import (
    MaterialRefused,
    Revocation,
    WantedAuthority,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._removal import Removal, revocable, revocations
from ansible_collections.connsec.tls.plugins.plugin_utils import _transaction
from ansible_collections.connsec.tls.plugins.plugin_utils._secrets import Passphrases
from ansible_collections.connsec.tls.plugins.plugin_utils._store import standing

from .conftest import CANARY, DAY, NOW, Bench, reasons, snapshot, wanted


@pytest.fixture
def revocation(store: Bench) -> Revocation:
    """Return the revocation of an identity of a filled store."""
    info = store.carry_out(wanted()).identities["router@urs1"]
    return Revocation(info.name, info.serial, info.chain_sha256[0], info.not_after)


def verified(store: Bench) -> str:
    """Return what openssl says of the identity, with the lists of the store."""
    folder = store.folder / "authorities/connsec"
    argv = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-attime", str(NOW)]
    argv += ["-trusted", str(folder / "root.pem"), "-untrusted", str(folder / "issuing-000001.pem")]
    argv += ["-CRLfile", str(folder / "root.crl.pem"), "-CRLfile", str(folder / "issuing-000001.crl.pem")]
    done = subprocess.run(
        [*argv, str(store.folder / "identities/router@urs1.pem")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_what_is_revoked_is_refused_by_who_reads_the_list_and_stays_on_it(store: Bench, revocation: Revocation) -> None:
    assert verified(store).endswith(": OK\n")
    why = {"authority connsec issuing CRL": "router@urs1 is revoked"}
    assert reasons(store.carry_out(revoke=[revocation])) == why
    assert "certificate revoked" in verified(store)
    assert reasons(store.carry_out(revoke=[revocation])) == {}, "a second time changes nothing"
    store.carry_out(now=NOW + 4 * DAY)
    assert revocation.serial in standing(store.paths).revoked, "the next list has it too"


def test_a_list_loses_what_has_ended(store: Bench, revocation: Revocation) -> None:
    store.carry_out(revoke=[revocation])
    store.carry_out(now=revocation.not_after + 1)
    assert standing(store.paths).revoked == frozenset()


def test_a_revocation_is_in_the_journal_before_the_list_is_signed_and_survives_a_kill(
    store: Bench, revocation: Revocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_args: t.Any, **_options: t.Any) -> t.NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_transaction._pki, "build_crl", killed)
        with pytest.raises(KeyboardInterrupt):
            store.carry_out(revoke=[revocation])
    assert store.journal()[-2]["act"] == "revoked"
    assert standing(store.paths).revoked == frozenset()
    assert reasons(store.carry_out()) == {"authority connsec issuing CRL": "router@urs1 is revoked"}
    assert revocation.serial in standing(store.paths).revoked


def test_without_the_authorities_passphrase_it_waits(store: Bench, revocation: Revocation) -> None:
    view = store.carry_out(revoke=[revocation], passphrases=Passphrases(None, CANARY))
    assert reasons(view) == {}
    assert [change.target for change in view.postponed] == ["authority connsec issuing CRL"]


def must_refuse(store: Bench, says: str, *revoke: Revocation) -> None:
    """Fail unless a look and the task itself refuse to revoke, and nothing of the store has changed."""
    before = snapshot(store.folder)
    for act in (store.inspect, store.carry_out):
        with pytest.raises(MaterialRefused, match=says):
            act(revoke=revoke)
    assert snapshot(store.folder) == before


def test_the_certificate_of_somebody_elses_authority_is_refused_and_changes_nothing(
    store: Bench, revocation: Revocation
) -> None:
    stranger = dataclasses.replace(revocation, name="x@y", serial="0a", issuer="ab" * 32)
    root, issuing = (store.inspect().authorities["connsec"].root, store.inspect().authorities["connsec"].issuing[-1])
    says = (
        r"^revoke: certificate 0a of x@y was issued by '(ab){32}', and the store has no such authority \(it has %s\);"
    )
    known = ", ".join(sorted("connsec " + each.sha256[:16] for each in (root, issuing)))
    must_refuse(
        store, says % known + " take the issuer's fingerprint .* or have whoever issued it revoke it$", stranger
    )
    must_refuse(store, "the store has no such authority", revocation, stranger)
    assert revocation.serial not in standing(store.paths).revoked


def test_an_empty_store_revokes_nothing(store: Bench) -> None:
    stranger = Revocation("x@y", "0a", "ab" * 32, NOW + DAY)
    with pytest.raises(MaterialRefused, match=r"the store has no such authority \(it has none\)"):
        store.carry_out(revoke=[stranger])
    assert not (store.folder / "authorities").exists()


def test_the_certificate_of_an_authority_that_is_not_named_is_refused(store: Bench, revocation: Revocation) -> None:
    store.authorities = [WantedAuthority("other")]
    store.carry_out()
    says = "was issued by authority connsec, whose list is not signed here; name it in `authorities`"
    must_refuse(store, says, revocation)
    store.authorities.append(WantedAuthority())
    assert "authority connsec issuing CRL" in reasons(store.carry_out(revoke=[revocation]))
    store.authorities.pop()
    assert reasons(store.carry_out(revoke=[revocation])) == {}, "it stands on the list already"


OWN, SHARED = Revocation("old@app1", "0a", "i1", 100), Revocation("shared", "0c", "i1", 100)
LEAVES = Removal("old@app1", "app1", "old", "it is gone", certificates=(OWN,))


def test_only_what_leaves_its_host_and_has_not_ended_is_revoked() -> None:
    bare = Removal("bare@app1", "app1", "bare", "it is gone")
    other = (Revocation("held@app1", "0b", "i1", 100),)
    held = Removal("held@app1", "app1", "held", "it is gone", held="process 7 names it", certificates=other)
    leaving = revocable([LEAVES, bare, held], issuers={"i1"}, can_sign=True)
    assert [each.name for each in revocations(leaving, now=100)] == ["old@app1"]
    assert leaving[0].parts == ("the validity of its certificate",)
    assert leaving[1:] == (bare, held)
    assert revocations(leaving, now=101) == []
    assert revocations([LEAVES], now=50) == [], "nobody asked for it"


def test_all_certificates_of_what_leaves_are_revoked_and_one_that_several_held_once() -> None:
    several = [
        Removal("old@app1", "app1", "old", "it is gone", certificates=(OWN, SHARED)),
        Removal("old@app2", "app2", "old", "it is gone", certificates=(SHARED, Revocation("x", "0d", "theirs", 100))),
    ]
    leaving = revocable(several, issuers={"i1"}, can_sign=True)
    assert [each.parts for each in leaving] == [
        ("the validity of its certificates",),
        ("the validity of its certificate",),
    ]
    assert revocations(leaving, now=100) == [OWN, SHARED]


def test_what_cannot_be_revoked_yet_stays_on_its_host() -> None:
    (theirs,) = revocable([LEAVES], issuers=(), can_sign=False)
    assert theirs == LEAVES, "others issued it, and revoke it"
    found = revocable([LEAVES], issuers={"i1"}, can_sign=False)
    assert found[0].held == "its certificate is to be revoked, and tls_authorities_passphrase is not set"
    assert revocations(found, now=50) == []
