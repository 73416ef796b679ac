# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run without the authorities' passphrase goes on as long as nothing that is due is urgent."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.plugin_utils._secrets import PassphraseMissing, Passphrases, passphrases_of
from ansible_collections.connsec.tls.plugins.plugin_utils._store import StoreError

from .conftest import CANARY, DAY, NOW, Bench, snapshot, wanted

NONE = Passphrases(None, CANARY)


def postponed(store: Bench, *, now: int) -> dict[str, str]:
    """Return what waits, by target, in a run that changes nothing because all that is due can wait."""
    before = snapshot(store.folder)
    view = store.carry_out(wanted(), now=now, passphrases=NONE)
    assert not view.changes
    assert snapshot(store.folder) == before
    return {change.target: change.reason for change in view.postponed}


def test_nothing_to_sign_needs_no_passphrase(store: Bench) -> None:
    store.carry_out(wanted())
    assert postponed(store, now=NOW) == {}


@pytest.mark.parametrize(
    ("days", "waits"),
    [
        (4, {"authority connsec issuing CRL": "half of its life has passed"}),
        (8, {"authority connsec issuing CRL": "it has expired"}),
        (
            70,
            {
                "authority connsec issuing CRL": "it has expired",
                "identity router@urs1": "two thirds of its life have passed",
            },
        ),
    ],
)
def test_renewals_and_lists_wait_for_a_run_that_may_sign(store: Bench, days: int, waits: dict[str, str]) -> None:
    store.carry_out(wanted())
    assert postponed(store, now=NOW + days * DAY) == waits
    assert store.material(now=NOW + days * DAY).identities


def test_an_issuing_authority_that_can_still_sign_waits_too(store: Bench) -> None:
    store.carry_out(wanted(), now=NOW)
    store.carry_out(wanted(), now=NOW + 1090 * DAY)
    assert postponed(store, now=NOW + 1096 * DAY)["authority connsec issuing"] == "its key has signed for three years"


def test_a_note_says_what_waits_and_for_what(store: Bench) -> None:
    identities = [wanted("i%d@h" % n) for n in range(20)]
    store.carry_out(*identities)
    view = store.carry_out(*identities, now=NOW + 80 * DAY, passphrases=NONE)
    (note,) = view.notes
    assert note.startswith("due, but tls_authorities_passphrase is not set: authority connsec issuing CRL (it has exp")
    assert note.endswith(" and 16 more")
    assert len(view.postponed) == 21


def test_an_identity_whose_renewal_waits_is_not_due(store: Bench) -> None:
    store.carry_out(wanted())
    view = store.inspect(wanted(), now=NOW + 70 * DAY)
    assert "identity router@urs1" in view.due
    waiting = view.without_signing()
    assert waiting.due == {}
    assert waiting.identities == view.identities
    assert store.inspect(wanted()).without_signing() == store.inspect(wanted())


@pytest.mark.parametrize(
    ("options", "days", "why"),
    [
        ({"name": "new@h"}, 0, "no certificate yet"),
        ({}, 91, "it has expired"),
        ({"names": ("new.example.net",)}, 0, "names differ: +new.example.net -192.0.2.7 -urs1.example.net"),
    ],
    ids=["not issued yet", "expired meanwhile", "other names"],
)
def test_what_is_urgent_is_awaited_and_says_who_has_to_run(
    store: Bench, options: dict[str, t.Any], days: int, why: str
) -> None:
    store.carry_out(wanted())
    before = snapshot(store.folder)
    view = store.carry_out(wanted(**options), now=NOW + days * DAY, passphrases=NONE)
    assert not view.changes
    assert snapshot(store.folder) == before
    (awaits,) = view.awaited.values()
    assert awaits.seen.endswith("of authority connsec, and tls_authorities_passphrase is not set (%s)" % why)
    assert awaits.todo == "have somebody who may sign run connsec.tls.rollout with tls_authorities_passphrase"


def test_an_authority_that_is_missing_cannot_wait(store: Bench) -> None:
    with pytest.raises(PassphraseMissing, match="tls_authorities_passphrase"):
        store.carry_out(wanted(), passphrases=NONE)


def test_passphrases_are_the_common_one_unless_there_is_one_of_their_own() -> None:
    both = passphrases_of({"tls_store_passphrase": "common-one"})
    assert (both.authorities, both.identities) == ("common-one", "common-one")
    own = passphrases_of({"tls_store_passphrase": "common-one", "tls_identities_passphrase": "own-one"})
    assert (own.authorities, own.identities) == ("common-one", "own-one")
    assert passphrases_of({"tls_store_passphrase": "", "tls_authorities_passphrase": None}).authorities is None
    with pytest.raises(StoreError, match="tls_store_passphrase must be text"):
        passphrases_of({"tls_store_passphrase": 12345678})
