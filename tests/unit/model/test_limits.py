# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both ends can do together, and what a profile offers."""

from __future__ import annotations

import ssl

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Limits
from ansible_collections.connsec.tls.plugins.module_utils._core._limits import NothingInCommon, agree, agree_on_key
from ansible_collections.connsec.tls.plugins.module_utils._core._profile import PROFILES, SUITES

RSA_SUITE = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
EC_SUITE = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
TLS13_SUITE = "TLS_AES_128_GCM_SHA256"

AGREEMENTS = [
    # limits of the client, of the server, what is asked, answer
    ({}, {}, "protocols", ("TLSv1.2", "TLSv1.3")),
    ({}, {}, "key_type", "ec-p256"),
    ({}, {}, "common_name", False),
    ({"protocols": ("TLSv1", "TLSv1.2")}, {}, "protocols", ("TLSv1.2",)),
    ({"key_types": ("rsa-2048", "rsa-3072")}, {}, "key_type", "rsa-3072"),
    ({"key_types": ("rsa-2048", "rsa-3072")}, {"key_types": ("ec-p256", "rsa-2048")}, "key_type", "rsa-2048"),
    ({"key_types": ("ec-p384",)}, {}, "key_type", "ec-p384"),
    ({"common_name": True}, {}, "common_name", True),
    ({"protocols": ("TLSv1.2",)}, {"suites": (RSA_SUITE, TLS13_SUITE)}, "suites", (RSA_SUITE,)),
    ({"protocols": ("TLSv1.2",)}, {"suites": (RSA_SUITE,)}, "key_type", "rsa-3072"),
    ({"suites": (RSA_SUITE,)}, {}, "protocols", ("TLSv1.2",)),
    ({"suites": (RSA_SUITE, TLS13_SUITE)}, {}, "key_type", "ec-p256"),
    ({"suites": (EC_SUITE,)}, {}, "key_type", "ec-p256"),
]


@pytest.mark.parametrize(("client", "server", "respect", "answer"), AGREEMENTS)
def test_two_ends_agree_on_what_both_can_do(client, server, respect, answer):
    agreement = agree([("component a", Limits(**client)), ("component b", Limits(**server))])
    assert getattr(agreement, respect) == answer


def test_what_was_taken_away_has_a_reason():
    agreement = agree([("component a", Limits(protocols=("TLSv1.2",))), ("kind java", Limits(key_types=("rsa-2048",)))])
    assert agreement.reasons == {
        "protocols": "component a is limited to TLSv1.2",
        "key_types": "kind java is limited to rsa-2048",
    }


REFUSALS = [
    ({"protocols": ("TLSv1.1",)}, {}, "no protocol version in common: component a is limited to TLSv1.1"),
    ({"protocols": ("TLSv1.2",)}, {"protocols": ("TLSv1.3",)}, "component b is limited to TLSv1.3"),
    ({"key_types": ("ec-p256",)}, {"key_types": ("rsa-2048",)}, "no key type in common"),
    ({"suites": ("TLS_RSA_WITH_AES_128_CBC_SHA",)}, {}, "no cipher suite in common"),
    ({"suites": (TLS13_SUITE,)}, {"protocols": ("TLSv1.2",)}, "no cipher suite for a protocol version that both know"),
    ({"suites": (RSA_SUITE,)}, {"key_types": ("ec-p256",)}, "no key type that a cipher suite of theirs can use"),
]


@pytest.mark.parametrize(("client", "server", "told"), REFUSALS)
def test_ends_with_nothing_in_common_are_told_who_took_what_away(client, server, told):
    with pytest.raises(NothingInCommon, match=told):
        agree([("component a", Limits(**client)), ("component b", Limits(**server))])


def test_an_identity_has_a_key_that_all_its_connections_take():
    any_key, rsa = agree([]), agree([("a", Limits(key_types=("rsa-2048",)))])
    assert agree_on_key([("one", any_key)]) == "ec-p256"
    assert agree_on_key([("one", any_key), ("two", rsa)]) == "rsa-2048"
    assert agree_on_key([]) == "ec-p256"
    with pytest.raises(NothingInCommon, match="two takes rsa-2048 only"):
        agree_on_key([("one", agree([("b", Limits(key_types=("ec-p384",)))])), ("two", rsa)])


def test_the_default_profile_is_mozillas_intermediate_6_0():
    profile = PROFILES["intermediate"]
    assert profile.protocols == ("TLSv1.2", "TLSv1.3")
    assert (
        profile.words()["ciphersuites"] == "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
    )
    assert profile.words()["ciphers"] == (
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
        ":ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
    )
    assert profile.groups == ("X25519MLKEM768", "X25519", "prime256v1", "secp384r1")
    assert len(profile.words()["java_suites"].split(",")) == 9


def test_the_old_profile_is_weak_and_has_neither_an_old_version_nor_what_nobody_should_use():
    profile = PROFILES["old"]
    assert profile.weak and not PROFILES["intermediate"].weak and not PROFILES["fips"].weak
    assert profile.protocols == ("TLSv1.2", "TLSv1.3")
    assert {"AES128-SHA", "ECDHE-RSA-AES256-SHA384"} <= set(profile.words()["ciphers"].split(":"))
    assert not [suite for suite in profile.suites if "3DES" in suite.iana or "_DHE_" in suite.iana]


@pytest.mark.parametrize(("profile", "common"), [("intermediate", False), ("fips", False), ("old", True)])
def test_a_stack_that_knows_only_cbc_agrees_with_a_weak_profile_alone(profile, common):
    ends = [("component a", Limits(suites=("TLS_RSA_WITH_AES_128_CBC_SHA",)))]
    if common:
        found = agree(ends, profile=profile)
        assert (found.protocols, found.key_type) == (("TLSv1.2",), "rsa-3072")
        return
    with pytest.raises(NothingInCommon, match="component a is limited to TLS_RSA_WITH_AES_128_CBC_SHA"):
        agree(ends, profile=profile)


def test_openssl_java_and_erlang_are_told_in_their_own_words():
    words = PROFILES["fips"].words()
    assert words["protocols"] == "TLSv1.2 TLSv1.3"
    assert words["java_protocols"] == "TLSv1.2,TLSv1.3"
    assert words["ciphersuites"] == "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
    assert words["ciphers"].startswith("ECDHE-ECDSA-AES128-GCM-SHA256:")
    assert words["java_suites"].startswith("TLS_AES_128_GCM_SHA256,")
    assert words["erlang_versions"] == "'tlsv1.2','tlsv1.3'"
    assert words["erlang_suites"].startswith('"TLS_AES_128_GCM_SHA256","TLS_AES_256_GCM_SHA384","ECDHE-')
    assert (words["minimum_protocol"], words["groups"]) == ("TLSv1.2", "X25519MLKEM768:prime256v1:secp384r1")


def test_openssl_knows_every_suite_by_the_name_that_it_is_given():
    for profile in PROFILES.values():
        ssl.create_default_context().set_ciphers(profile.words()["ciphers"])
        for suite in profile.suites:
            if suite.protocol == "TLSv1.2":
                context = ssl.create_default_context()
                context.set_ciphers(suite.openssl + "@SECLEVEL=0")
                assert suite.openssl in {row["name"] for row in context.get_ciphers()}


def test_the_fips_profile_has_nothing_that_fips_does_not_approve():
    profile = PROFILES["fips"]
    assert not [suite for suite in profile.words()["java_suites"].split(",") if "CHACHA20" in suite]
    assert "X25519" not in profile.groups
    assert "prime256v1" in profile.groups
    assert len(profile.suites) == len(SUITES) - 3
