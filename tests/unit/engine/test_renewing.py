# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate that goes on while others have not renewed it is told of, and loudly when it ends soon."""

from __future__ import annotations

import dataclasses
import types
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Instance
from ansible_collections.connsec.tls.plugins.module_utils._core._material import DAY, IdentityInfo
from ansible_collections.connsec.tls.plugins.module_utils._core._renewing import unrenewed
from ansible_collections.connsec.tls.plugins.module_utils._core._requesting import Awaited
from ansible_collections.connsec.tls.plugins.module_utils._core._wanting import Wishes
from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import Ledger
from ansible_collections.connsec.tls.plugins.plugin_utils._operator import Operator
from ansible_collections.connsec.tls.plugins.plugin_utils._outcome import Outcome
from ansible_collections.connsec.tls.plugins.plugin_utils._page import render
from ansible_collections.connsec.tls.plugins.plugin_utils._relay import Progress, nothing_seen
from ansible_collections.connsec.tls.plugins.plugin_utils._rounds import Standing
from ansible_collections.connsec.tls.plugins.plugin_utils._view import StoreView
from ansible_collections.connsec.tls.plugins.plugin_utils._words import outcome_lines

from .scenes import MODEL, Scene, ask_for, scene_of

SERVER = "store@db1"
BEGAN = 1_800_000_000  # 2027-01-15
AWAITS = Awaited(
    "corporate",
    "identity store@db1 waits for a signature of authority corporate since 2027-03-16 (it is due)",
    "have authority corporate sign requests/store@db1/request.pem",
)
INFO = IdentityInfo(
    name=SERVER,
    authority="corporate",
    sha256="aa",
    serial="01",
    not_before=BEGAN,
    not_after=BEGAN + 90 * DAY - 1,
    names=("db1",),
    usages=("server",),
    key_type="ec-p256",
    spki_sha256="bb",
    issuer="CN=corporate",
    chain_sha256=("cc",),
    chain_not_after=BEGAN + 90 * DAY - 1,
    common_name="",
)


@pytest.mark.parametrize(
    ("days", "left", "urgent"),
    [(61, 28, False), (79, 10, False), (80, 9, True), (88, 1, True), (89, 0, True), (90, None, False)],
)
def test_it_is_told_of_until_it_ends_and_is_urgent_from_eight_ninths_of_its_life_on(
    days: int, left: int | None, urgent: bool
) -> None:
    found = unrenewed({SERVER: AWAITS}, {SERVER: INFO}, now=BEGAN + days * DAY)
    assert [(row.days_left, row.is_urgent) for row in found] == ([] if left is None else [(left, urgent)])
    for row in found:
        assert row.evidence.expected == "the certificate of store@db1 is renewed before it ends on 2027-04-15"
        unit = "day" if left == 1 else "days"
        assert row.evidence.seen == AWAITS.seen + "; it ends in %d %s" % (left, unit)
        assert row.evidence.todo == AWAITS.todo


def test_what_ends_first_above_it_counts_and_what_ends_first_comes_first() -> None:
    early = dataclasses.replace(INFO, name="a@h", chain_not_after=BEGAN + 70 * DAY)
    awaited = {SERVER: AWAITS, "a@h": AWAITS, "new@h": AWAITS}
    found = unrenewed(awaited, {SERVER: INFO, "a@h": early}, now=BEGAN + 65 * DAY)
    assert [(row.identity, row.days_left, row.is_urgent) for row in found] == [("a@h", 5, True), (SERVER, 24, False)]


# In the report


def outcome(scene: Scene, ledger: Ledger, *, now: int, awaited: t.Mapping[str, Awaited]) -> dict[str, t.Any]:
    """Return the report of a verification of this scene."""
    wishes = Wishes(scene.model, scene.kinds, scene.addresses)
    view = StoreView(identities={SERVER: INFO}, awaited=awaited)
    fleet: t.Any = types.SimpleNamespace(
        ledger=ledger,
        wishes=wishes,
        view=lambda _instances, _seen: view,
        instances=lambda: [Instance.parse(SERVER)],
        operator=Operator("me", "root", "ctl1"),
        paths=types.SimpleNamespace(ledger="ledger"),
    )
    plan = {"goal": "verify", "stuck": {}, "removals": [], "rounds": []}
    standing = Standing(fleet, plan, ask_for(scene), nothing_seen(), Progress(), scene)
    return Outcome(standing, now=float(now)).report()


@pytest.fixture
def scene() -> Scene:
    asked = {SERVER: {"issuer": "requested", "authority": "corporate"}}
    others = {"connsec": {}, "corporate": {"trust_file": "ca.pem"}}
    return scene_of({**MODEL, "authorities": others, "identities": asked})


@pytest.mark.parametrize(("days", "urgent"), [(61, False), (85, True)])
def test_the_report_has_a_finding_of_it_and_the_last_lines_are_loud_when_it_ends_soon(
    scene: Scene, tmp_path: t.Any, days: int, urgent: bool
) -> None:
    told = outcome(scene, Ledger(str(tmp_path)), now=BEGAN + days * DAY, awaited={SERVER: AWAITS})
    (row,) = (row for row in told["findings"] if row["instance"] == SERVER)
    assert (row["status"], row["urgent"], row["expires"]) == ("waiting", urgent, "2027-04-15T07:59:59+00:00")
    lines = outcome_lines(told)
    loud = "  ENDS SOON: the certificate of store@db1, on 2027-04-15, and nobody has signed the one that is to follow"
    assert (loud in lines) is urgent
    assert "WAITING store@db1" in lines
    assert "    to do: " + AWAITS.todo in lines
    assert AWAITS.seen in render(told)


def test_what_nobody_waits_for_is_no_finding(scene: Scene, tmp_path: t.Any) -> None:
    told = outcome(scene, Ledger(str(tmp_path)), now=BEGAN + 61 * DAY, awaited={})
    assert not [row for row in told["findings"] if row["instance"] == SERVER]


def test_what_we_sign_ourselves_waits_for_nobody_else(tmp_path: t.Any) -> None:
    told = outcome(scene_of(), Ledger(str(tmp_path)), now=BEGAN + 61 * DAY, awaited={SERVER: AWAITS})
    assert not [row for row in told["findings"] if row["instance"] == SERVER]
