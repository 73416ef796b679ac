# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names from outside."""

from __future__ import annotations

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core import _names as names

#: Refused by every validator of a name that becomes a certificate name or a part of a path.
HOSTILE = [
    "",
    " ",
    ".",
    "..",
    "../../x",
    "a/b",
    "a\\b",
    "C:\\x",
    "/etc/passwd",
    "a b",
    " a",
    "a ",
    "a\x00b",
    "a\nb",
    "a\n",
    "x; rm -rf /",
    "$(id)",
    "`id`",
    "${IFS}",
    "$env:TEMP",
    "%TEMP%",
    "a|b",
    "a&b",
    "a>b",
    "a'b",
    'a"b',
    "(Get-Item)",
    "Remove-Item x",
    "{{ x }}",
    "-rf",
    "--help",
    "~root",
    "con",
    "nul",
    "AUX",
    "com1",
    "lpt9",
    "a" * 64,
    "a" * 254,
    ".".join(["a" * 63] * 4) + ".b",
    "*.example.net",
    "*",
    "host.",
    "a..b",
    "b\u00fccher.example",
    "ex\u0430mple.net",  # a Cyrillic a
    "\u202egnp.exe",
    "a\u200bb",
    "\uff41bc",  # full-width a
    None,
    True,
    7,
    1.5,
    ["a"],
    {"a": 1},
    b"a",
]

VALIDATORS = [
    names.component_name,
    names.listener_name,
    names.authority_name,
    names.protocol_name,
    names.kind_name,
    names.identity_name,
    names.host_name,
    names.dns_name,
    names.endpoint_name,
    names.ip_address,
]


@pytest.mark.parametrize("check", VALIDATORS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_hostile_name_is_refused_with_its_place(check, value):
    with pytest.raises(names.NameRefused) as refusal:
        check(value, "here[3].name")
    assert str(refusal.value).startswith("here[3].name: ")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("value", [each for each in HOSTILE if each not in ("a" * 64,)], ids=ascii)
def test_a_hostile_folder_is_refused(value):
    with pytest.raises(names.NameRefused):
        names.folder_name(value)


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("crm.example.net", "crm.example.net"),
        ("CRM.Example.NET", "crm.example.net"),
        ("db1", "db1"),
        ("4you.example", "4you.example"),
        ("a-b.c-d", "a-b.c-d"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("XN--Bcher-KVA.example", "xn--bcher-kva.example"),
        ("a" * 63 + ".net", "a" * 63 + ".net"),
        (".".join(["a" * 63] * 3 + ["b" * 61]), ".".join(["a" * 63] * 3 + ["b" * 61])),
        ("aux.example.net", "aux.example.net"),
        ("192.0.2.10", "192.0.2.10"),
        ("2001:DB8:0:0::10", "2001:db8::10"),
    ],
)
def test_an_endpoint_is_taken_in_its_one_spelling(value, clean):
    assert names.endpoint_name(value, "dial") == clean


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("-a.example", "inner hyphens"),
        ("a-.example", "inner hyphens"),
        ("a_b.example", "inner hyphens"),
        ("xn--.example", "inner hyphens"),
        ("xn--a.example", "punycode"),
        ("xn--abc-.example", "inner hyphens"),
        ("xn--zzzzzzzzzzzz99999.example", "punycode"),
        ("ab--c.example", "punycode"),
        ("300.300.300.300", "number"),
        ("1.2.3", "number"),
        ("host.0x7f", "number"),
        ("010.0.0.1", "number"),
        ("a" * 64 + ".example", "63"),
        ("a." * 126 + "aa", "253"),
        ("host.", "dot"),
        ("*.example", "wildcard"),
        ("b\u00fccher.example", "A-label"),
    ],
)
def test_a_refused_endpoint_tells_why(value, why):
    with pytest.raises(names.NameRefused, match=why):
        names.endpoint_name(value, "dial")


@pytest.mark.parametrize(
    "value",
    [
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "fe80::1%eth0",
        "::ffff:192.0.2.1",
        "1.2.3.4:80",
        "[::1]",
        ":",
    ],
)
def test_an_address_of_no_single_host_is_refused(value):
    with pytest.raises(names.NameRefused):
        names.ip_address(value, "addresses[0]")


@pytest.mark.parametrize("value", ["router", "crm_db", "sip-proxy", "9to5", "a" * 63])
def test_a_word_names_a_component(value):
    assert names.component_name(value, "x") == value


@pytest.mark.parametrize("value", ["Router", "a.b", "a@b", "_a", "router@urs1"])
def test_a_component_is_no_other_word(value):
    with pytest.raises(names.NameRefused):
        names.component_name(value, "x")


@pytest.mark.parametrize("value", ["urs1", "URS1.cc.example.net", "db_1", "10.0.0.1", "a" * 63])
def test_an_inventory_name_names_a_host(value):
    assert names.host_name(value, "x") == value


@pytest.mark.parametrize("value", ["con.example.net", "Nul", "a..b", "a.", "::1", "a" * 63 + ".", "h\u00f6st"])
def test_an_inventory_name_that_is_no_part_of_a_path_is_refused(value):
    with pytest.raises(names.NameRefused):
        names.host_name(value, "x")


@pytest.mark.parametrize("value", ["web", "web.2026", "router@urs1", "router@urs1.example.net"])
def test_an_identity_is_a_word_or_an_instance(value):
    assert names.identity_name(value, "x") == value


@pytest.mark.parametrize(
    "value", ["@urs1", "router@", "a@b@c", "con@urs1", "router@con", "router@../x", "r@" + "a." * 100 + "aa"]
)
def test_an_identity_is_nothing_else(value):
    with pytest.raises(names.NameRefused):
        names.identity_name(value, "x")


@pytest.mark.parametrize(
    ("value", "clean"),
    [("/etc/connsec", "/etc/connsec"), ("/etc//connsec/./a/", "/etc/connsec/a"), ("/", "/"), ("/opt/a b", "/opt/a b")],
)
def test_a_path_is_normalised(value, clean):
    assert names.unix_path(value, "x") == clean


@pytest.mark.parametrize(
    "value", ["", "etc", "/a/../b", "/a\x00b", "/a\nb", "~/x", "/" + "a" * 256, "/" + "a/" * 2100, None, 5]
)
def test_a_path_that_leads_elsewhere_is_refused(value):
    with pytest.raises(names.NameRefused):
        names.unix_path(value, "x")


@pytest.mark.parametrize(
    "value", ["genesys", "www-data", "_chrony", "svc$", "CC\\svc-router", "NT SERVICE\\Router", "a" * 63]
)
def test_an_account_is_taken(value):
    assert names.account_name(value, "x") == value


@pytest.mark.parametrize("value", ["", "-u", "a b", "a;b", "$x", "a\\b\\c", "root\n", "a/b", "0", None])
def test_an_account_with_other_letters_is_refused(value):
    with pytest.raises(names.NameRefused):
        names.account_name(value, "x")


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(names.NameRefused) as refusal:
        names.dns_name("x" * 100_000, "dial")
    assert len(str(refusal.value)) < 300
