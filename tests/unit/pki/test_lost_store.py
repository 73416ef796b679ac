# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that was lost, wholly or in part, is refused by name and never filled again."""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._lost_store import StoreLost
from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedAuthority
from ansible_collections.connsec.tls.plugins.plugin_utils._secrets import Passphrases
from ansible_collections.connsec.tls.plugins.plugin_utils._store import StoreError

from .conftest import CANARY, Bench, snapshot, wanted


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("authorities/connsec/root.pem", "the root of authority connsec is gone .* what it signed is still there"),
        ("authorities/connsec", "the root of authority connsec is gone .* the journal says that it was issued"),
        ("authorities/other", "the root of authority other is gone .* the journal says that it was issued"),
    ],
)
def test_a_root_that_was_once_there_is_not_made_anew(store: Bench, lost: str, says: str) -> None:
    store.authorities = [WantedAuthority(), WantedAuthority("other")]
    store.carry_out(wanted())
    path = store.folder / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    before = snapshot(store.folder)
    with pytest.raises(StoreLost, match=says):
        store.inspect(wanted())
    with pytest.raises(StoreLost, match="restore the authority's folder from a backup"):
        store.carry_out(wanted())
    assert snapshot(store.folder) == before


def test_a_lost_root_counts_also_without_the_journal(store: Bench) -> None:
    store.carry_out(wanted())
    (store.folder / "authorities/connsec/root.pem").unlink()
    (store.folder / "authorities/journal.jsonl").unlink()
    with pytest.raises(StoreLost, match="what it signed is still there"):
        store.carry_out(wanted())


def test_another_authority_is_made_beside_those_that_are_there(store: Bench) -> None:
    store.carry_out()
    store.authorities = [WantedAuthority(), WantedAuthority("other")]
    assert set(store.carry_out().trust) == {"connsec", "other"}


def test_an_empty_store_is_not_filled_while_hosts_hold_generations_of_ours(store: Bench) -> None:
    with pytest.raises(StoreLost, match=r"authorities is empty, while generations .* on cfg1, cfg2; .* they trust"):
        store.carry_out(wanted(), generations_seen=["cfg2", "cfg1"])
    assert not store.folder.exists()
    store.carry_out(wanted())
    store.carry_out(wanted("b@h"), generations_seen=["cfg1"])


def test_lost_identities_are_said_to_be_certificates_and_not_authorities(store: Bench) -> None:
    store.carry_out(wanted())
    for file in (store.folder / "identities").glob("*.pem"):
        file.unlink()
    with pytest.raises(
        StoreLost, match=r"identities is empty, while generations .* on cfg1; .* every certificate"
    ) as raised:
        store.carry_out(wanted(), generations_seen=["cfg1"])
    assert "authorities" not in str(raised.value)


@pytest.mark.parametrize("part", ["authorities", "identities"])
def test_keys_whose_secret_is_gone_get_no_new_one(store: Bench, part: str) -> None:
    store.carry_out(wanted())
    (store.folder / part / "secret.json").unlink()
    before = snapshot(store.folder)
    for attempt in (store.passphrases, Passphrases(CANARY, CANARY)):
        with pytest.raises(StoreError, match=r"%s holds keys, and its secret\.json is gone; restore" % part):
            store.carry_out(wanted("new@h"), passphrases=attempt)
    after = snapshot(store.folder)
    assert {path for path in after if not path.endswith(".lock")} == {
        path for path in before if not path.endswith(".lock")
    }
