# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When another generation of material is due, when a repair is enough, and why."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._generation import Due, plan_generation, why_useless
from ansible_collections.connsec.tls.plugins.module_utils._core._manifest import Drift

ME = "router@urs1"
IDENTITY = {"certificate": "c1", "chain": ["i1"], "password": "digest-of-a-password"}
INPUTS: dict[str, t.Any] = {
    "identities": {"": IDENTITY, "outer": IDENTITY},
    "trust": ["r1", "r2"],
    "formats": ["pem", "pkcs12"],
}
MODE = Drift("key.pem", "key.pem is 0644, planned 0400", repairable=True)
OWNER = Drift("trust.pem", "trust.pem belongs to root, planned router", repairable=True)
CONTENT = Drift("key.pem", "key.pem differs from what was installed")


def other(place: str = "", **more: t.Any) -> dict[str, t.Any]:
    """Return inputs with something else of one identity."""
    return {"identities": {**INPUTS["identities"], place: {**IDENTITY, **more}}}


def plan(*drift: Drift, installed: t.Mapping[str, t.Any] | None, **wanted: t.Any) -> Due | None:
    """Plan with what is installed, where a manifest holds inputs, and with what is wanted otherwise."""
    manifest = None if installed is None else {"inputs": installed}
    return plan_generation(ME, installed=manifest, drift=drift, wanted={**INPUTS, **wanted})


DUE = [
    # what is not as it was, what is installed, what is wanted otherwise, the reason, whether a repair is enough
    ([], None, {}, "no generation is installed", False),
    ([], {**INPUTS, **other(certificate="c0")}, {}, "the certificate is another", False),
    ([], {**INPUTS, **other("outer", certificate="c0")}, {}, "the certificate of outer is another", False),
    ([], {}, {}, "the certificate is another", False),
    ([], INPUTS, {"identities": {"": IDENTITY, "inner": IDENTITY}}, "the certificate of inner is another", False),
    ([], INPUTS, {"trust": ["r1"]}, "the CA list is another", False),
    ([], INPUTS, {"trust": ["r1", "r2", "r3"]}, "the CA list is another", False),
    ([], INPUTS, other(chain=[]), "the chain is another", False),
    ([], INPUTS, other("outer", chain=[]), "the chain of outer is another", False),
    ([], INPUTS, {"formats": ["pem"]}, "the formats are others", False),
    ([], INPUTS, other(password="another digest"), "the keystore password is another", False),
    ([], INPUTS, {**other(certificate="c2"), "trust": []}, "the certificate is another", False),
    ([CONTENT], INPUTS, {}, CONTENT.seen, False),
    ([MODE, CONTENT], INPUTS, {}, CONTENT.seen, False),
    ([CONTENT], INPUTS, {"trust": []}, CONTENT.seen, False),
    ([MODE], INPUTS, {}, MODE.seen, True),
    ([MODE, OWNER], INPUTS, {}, MODE.seen, True),
    ([MODE], INPUTS, {"trust": []}, "the CA list is another", False),
    ([Drift("manifest.json", "manifest.json is missing or damaged")], None, {}, "manifest.json is missing", False),
]


@pytest.mark.parametrize(("drift", "installed", "wanted", "reason", "repair"), DUE)
def test_what_is_due_says_why(drift, installed, wanted, reason, repair) -> None:
    due = plan(*drift, installed=installed, **wanted)
    assert due is not None
    assert due.change.target == "material router@urs1"
    assert due.change.reason.startswith(reason)
    assert due.repair is repair


@pytest.mark.parametrize(
    "wanted", [{}, {"trust": ["r2", "r1"]}, {"trust": ("r1", "r2")}, {"formats": ["pkcs12", "pem"]}]
)
def test_nothing_is_due_where_the_same_went_in_in_whatever_order(wanted) -> None:
    assert plan(installed=INPUTS, **wanted) is None


@pytest.mark.parametrize("identities", [{}, {"": IDENTITY}, {"outer": IDENTITY}])
def test_what_is_not_asked_for_any_more_is_no_reason(identities) -> None:
    assert plan(installed=INPUTS, identities=identities) is None


def test_an_instance_that_only_verifies_is_settled_without_a_certificate() -> None:
    assert plan_generation(ME, installed={"inputs": {"trust": ["r1"]}}, drift=[], wanted={"trust": ["r1"]}) is None


def test_a_diff_shows_what_went_in_but_for_the_password() -> None:
    due = plan(installed={**INPUTS, **other(certificate="c0")})
    assert due is not None
    before, after = due.change.before, due.change.after
    assert before["trust"] == after["trust"] == ["r1", "r2"]
    assert before["identities"][""] == {"certificate": "c0", "chain": ["i1"]}
    assert after["identities"] == {name: {"certificate": "c1", "chain": ["i1"]} for name in ("", "outer")}


def test_the_diff_of_a_repair_shows_each_file() -> None:
    due = plan(MODE, OWNER, installed=INPUTS)
    assert due is not None
    assert due.change.before == MODE.seen + "\n" + OWNER.seen
    assert due.change.after == "as it was installed"


EARLIER = {
    "identities": {"": {"serial": "0a", "not_after": 200, "chain_not_after": 100}, "outer": {"serial": "0b"}},
    "inputs": {
        "identities": {"": {"chain": ["i1"], "root": "r1"}, "outer": {"chain": ["i2"], "root": "r2"}},
        "trust": ["r1"],
    },
}
USELESS = [
    # what differs from an earlier generation that may be gone back to, and why it may not then
    ({"now": 99}, ""),
    ({"now": 100}, "has expired"),
    ({"revoked": ["0c"]}, ""),
    ({"revoked": ["0a"]}, "is revoked"),
    ({"revoked": ["0b"]}, "is revoked"),
    ({"revoked": ["i1"]}, "is revoked"),
    ({"revoked": ["i2"]}, "is revoked"),
    ({"roots": ["r1", "r2"]}, ""),
    ({"roots": ["r2"]}, "was issued by an authority that is not in the store any more"),
    ({"trusted": ["r1", "r2"]}, ""),
    ({"trusted": ["r2"]}, "trusts an authority that is not trusted any more"),
]


@pytest.mark.parametrize(("differs", "why"), USELESS)
def test_an_earlier_generation_says_why_nobody_should_go_back_to_it(differs, why) -> None:
    usual: dict[str, t.Any] = {"now": 50, "trusted": None, "roots": None, "revoked": ()}
    assert why_useless(EARLIER, **{**usual, **differs}) == why


def test_an_instance_that_presents_nothing_goes_back_whoever_is_revoked() -> None:
    found = why_useless({"inputs": {"trust": ["r1"]}}, now=50, trusted=["r1"], roots=[], revoked=["0a"])
    assert found == ""
