# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be issued and why, as a table of cases; runs on a target's Python too."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._issuing import (
    notes_on_identities,
    plan_authority,
    plan_identity,
    renewal_at,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._lost_store import StoreLost
from ansible_collections.connsec.tls.plugins.module_utils._core._material import (
    DAY,
    AuthorityInfo,
    CaInfo,
    CrlInfo,
    IdentityInfo,
    WantedAuthority,
    WantedIdentity,
)

NOW = 1_800_000_000
NAME = "router@urs1"
WANTED = WantedIdentity(NAME, names=("b.example.net", "a.example.net"))


def found(**values: t.Any) -> IdentityInfo:
    fresh = IdentityInfo(
        name=NAME,
        authority="connsec",
        sha256="aa",
        serial="1",
        not_before=NOW - 3600,
        not_after=NOW - 3600 + 90 * DAY - 1,
        names=("a.example.net", "b.example.net"),
        usages=("client", "server"),
        key_type="ec-p256",
        spki_sha256="bb",
        issuer="CN=x",
        chain_sha256=("cc",),
        chain_not_after=NOW - 3600 + 90 * DAY - 1,
        common_name="",
    )
    return dataclasses.replace(fresh, **values)


DUE = renewal_at(NAME, not_before=NOW - 3600, not_after=NOW - 3600 + 90 * DAY - 1)


@pytest.mark.parametrize(
    ("there", "planned", "now", "reason"),
    [
        (None, {}, NOW, "no certificate yet"),
        (found(), {}, NOW, None),
        (found(), {"formats": ("java", "pkcs12")}, NOW, None),
        (found(), {"names": ("a.example.net", "c.example.net")}, NOW, "names differ: +c.example.net -b.example.net"),
        (found(), {"usages": ("server",)}, NOW, "usages differ: -client"),
        (found(), {"key_type": "rsa-3072"}, NOW, "key type is ec-p256, planned rsa-3072"),
        (found(), {"authority": "other"}, NOW, "issuer is authority connsec, planned other"),
        (found(authority=""), {}, NOW, "its issuer is not in the store"),
        (found(), {"common_name": True}, NOW, "common name is '', planned 'a.example.net'"),
        (found(), {}, DUE - 1, None),
        (found(), {}, DUE, "two thirds of its life have passed"),
        (found(), {}, NOW + 91 * DAY, "it has expired"),
        (found(chain_not_after=NOW), {}, NOW, None),
        (found(chain_not_after=NOW), {}, NOW + 1, "an authority above it has expired"),
        (found(), {"days": 30}, NOW, "its life is 90 days, planned 30"),
        (found(), {"days": 89}, NOW, "its life is 90 days, planned 89"),
        (found(), {"days": 199}, NOW, None),
    ],
)
def test_an_identity_is_issued_for_a_reason_or_not_at_all(
    there: IdentityInfo | None, planned: dict[str, t.Any], now: int, reason: str | None
) -> None:
    change = plan_identity(dataclasses.replace(WANTED, **planned), found=there, now=now)
    assert (change and change.reason) == reason
    assert change is None or change.target == "identity router@urs1"


@pytest.mark.parametrize(
    ("there", "planned", "now", "can_wait"),
    [
        (None, {}, NOW, False),
        (found(), {"names": ("c.example.net",)}, NOW, False),
        (found(authority=""), {}, DUE, False),
        (found(), {}, NOW + 91 * DAY, False),
        (found(chain_not_after=NOW), {}, DUE, False),
        (found(), {}, DUE, True),
        (found(), {"days": 30}, NOW, True),
    ],
)
def test_only_what_is_still_valid_and_as_planned_can_wait(
    there: IdentityInfo | None, planned: dict[str, t.Any], now: int, can_wait: bool
) -> None:
    change = plan_identity(dataclasses.replace(WANTED, **planned), found=there, now=now)
    assert change is not None and change.can_wait is can_wait


def test_a_certificate_that_ends_with_its_issuer_is_noted_once_for_all_of_them() -> None:
    end = NOW + 20 * DAY
    short = found(not_after=end, chain_not_after=end)
    authorities = {"connsec": AuthorityInfo("connsec", ROOT, (ca(sha256="cc", not_after=end),))}
    wanted = [dataclasses.replace(WANTED, name="i%d@h" % n) for n in range(7)]
    (note,) = notes_on_identities(wanted, found={each.name: short for each in wanted}, authorities=authorities)
    assert note == (
        "the issuing authority of connsec ends on 2027-02-04, and so do the certificates of"
        " i0@h, i1@h, i2@h, i3@h, i4@h and 2 more, earlier than planned"
    )
    assert notes_on_identities([WANTED], found={NAME: found()}, authorities=authorities) == ()
    assert notes_on_identities([WANTED], found={NAME: found(not_after=end - 1)}, authorities=authorities) == ()
    assert notes_on_identities([WANTED], found={}, authorities=authorities) == ()


@pytest.mark.parametrize("days", [6, 46, 90, 199])
def test_renewal_falls_between_two_thirds_and_a_fiftieth_later_and_stays_there(days: int) -> None:
    life = days * DAY
    times = [renewal_at("i%d" % n, not_before=0, not_after=life - 1) for n in range(500)]
    assert min(times) >= life * 2 // 3
    assert max(times) <= life * 2 // 3 + life // 50
    assert len(set(times)) > 400
    assert times == [renewal_at("i%d" % n, not_before=0, not_after=life - 1) for n in range(500)]


def ca(**values: t.Any) -> CaInfo:
    fresh = CaInfo(1, "aa", "1", "CN=x", NOW, NOW + 1826 * DAY - 1, "ec-p384", "bb", CrlInfo(1, NOW, NOW + 7 * DAY))
    return dataclasses.replace(fresh, **values)


ROOT = ca(number=0, not_after=NOW + 3652 * DAY, crl=CrlInfo(1, NOW, NOW + 364 * DAY))


@pytest.mark.parametrize(
    ("there", "now", "expected"),
    [
        (
            AuthorityInfo("connsec"),
            NOW,
            {
                "root": "no certificate yet",
                "issuing": "no certificate yet",
                "root CRL": "no list yet",
                "issuing CRL": "no list yet",
            },
        ),
        (AuthorityInfo("connsec", ROOT, (ca(),)), NOW, {}),
        (AuthorityInfo("connsec", ROOT), NOW, {"issuing": "no certificate yet", "issuing CRL": "no list yet"}),
        (AuthorityInfo("connsec", ROOT, (ca(),)), NOW + 4 * DAY, {"issuing CRL": "half of its life has passed"}),
        (AuthorityInfo("connsec", ROOT, (ca(),)), NOW + 8 * DAY, {"issuing CRL": "it has expired"}),
        (
            AuthorityInfo("connsec", dataclasses.replace(ROOT, crl=CrlInfo(1, NOW, NOW + 9999 * DAY)), (ca(),)),
            NOW + 1095 * DAY,
            {
                "issuing": "its key has signed for three years",
                "issuing CRL": "no list yet",
                "issuing 1 CRL": "it has expired",
            },
        ),
        (
            AuthorityInfo("connsec", ROOT, (ca(), ca(number=2))),
            NOW + 4 * DAY,
            {"issuing CRL": "half of its life has passed", "issuing 1 CRL": "half of its life has passed"},
        ),
    ],
)
def test_an_authority_needs_what_is_missing_or_due(there: AuthorityInfo, now: int, expected: dict[str, str]) -> None:
    changes = plan_authority(WantedAuthority(), found=there, now=now)
    assert {change.target: change.reason for change in changes} == {
        "authority connsec " + part: reason for part, reason in expected.items()
    }


@pytest.mark.parametrize(
    ("there", "now", "urgent"),
    [
        (AuthorityInfo("connsec"), NOW, {"root", "issuing"}),
        (AuthorityInfo("connsec", ROOT), NOW, {"issuing"}),
        (AuthorityInfo("connsec", ROOT, (ca(),)), NOW + 1095 * DAY, set()),
        (AuthorityInfo("connsec", ROOT, (ca(),)), NOW + 1826 * DAY, {"issuing"}),
        (AuthorityInfo("connsec", ROOT, (ca(crl=None),)), NOW, set()),
    ],
)
def test_an_authority_waits_while_it_is_valid_and_its_lists_always(
    there: AuthorityInfo, now: int, urgent: set[str]
) -> None:
    changes = plan_authority(WantedAuthority(), found=there, now=now)
    assert {change.target for change in changes if not change.can_wait} == {"authority connsec " + p for p in urgent}


@pytest.mark.parametrize(
    ("there", "had_root", "says"),
    [
        (AuthorityInfo("connsec", None, (ca(),)), False, "what it signed is still there"),
        (AuthorityInfo("connsec"), True, "the journal says that it was issued"),
    ],
)
def test_a_root_is_made_once_and_never_again(there: AuthorityInfo, had_root: bool, says: str) -> None:
    with pytest.raises(StoreLost, match=says):
        plan_authority(WantedAuthority(), found=there, now=NOW, had_root=had_root)
    assert (
        plan_authority(WantedAuthority(), found=AuthorityInfo("connsec", ROOT, (ca(),)), now=NOW, had_root=True) == ()
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "../x"}, "../x"),
        ({"name": "a@b/../c"}, "b/../c"),
        ({"names": ()}, "has no names"),
        ({"names": ("a b",)}, "a b"),
        ({"names": ("$(id)",)}, "$(id)"),
        ({"names": ("x" * 64 + ".net",)}, "names"),
        ({"usages": ()}, "has no usages"),
        ({"usages": ("sign",)}, "sign"),
        ({"key_type": "dsa"}, "ec-p256"),
        ({"days": 0}, "from 1 to 199"),
        ({"days": 200}, "days_reason"),
        ({"days": True}, "True"),
        ({"formats": ("jks",)}, "jks"),
    ],
)
def test_an_identity_that_cannot_be_issued_is_refused_with_what_was_given(options: dict[str, t.Any], says: str) -> None:
    with pytest.raises(TlsError) as error:
        WantedIdentity(**{"name": NAME, "names": ("a.example.net",), **options})
    assert says in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "../x"},
        {"name": ""},
        {"organization": "a\nb"},
        {"root_days": 1},
        {"issuing_days": 9999},
        {"key_type": "x"},
    ],
)
def test_an_authority_that_cannot_be_made_is_refused(options: dict[str, t.Any]) -> None:
    with pytest.raises(TlsError):
        WantedAuthority(**options)


def test_a_longer_life_needs_a_reason_and_gets_it() -> None:
    assert WantedIdentity(NAME, names=("a.net",), days=365, days_reason="the vendor's appliance, CHG-7").days == 365


def test_names_usages_and_formats_are_in_order_whatever_they_came_in() -> None:
    one = WantedIdentity(NAME, names=("b.net", "a.net", "b.net"), usages=("server", "client"), formats=("pkcs12",))
    assert (one.names, one.usages, one.formats) == (("a.net", "b.net"), ("client", "server"), ("pem", "pkcs12"))
