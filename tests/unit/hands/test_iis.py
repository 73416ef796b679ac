# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bindings of IIS: which can be had, which stand beside each other, and what a renewal binds again."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._iis import (
    Binding,
    BindingRefused,
    clear,
    conflict,
    read_binding,
    read_sites,
    rebound,
)

OLD, NEW = "AB" * 20, "CD" * 20


def https(site: str = "shop", host: str = "", **more: t.Any) -> Binding:
    """Return a binding over TLS on port 443."""
    return Binding(
        **{"site": site, "protocol": "https", "ip": "*", "port": 443, "host": host, "thumbprint": OLD, **more}
    )


def http(site: str = "shop", **more: t.Any) -> Binding:
    """Return a binding in the clear on port 80."""
    return Binding(**{"site": site, "protocol": "http", "ip": "*", "port": 80, **more})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"port": 0}, "no number from 1 to 65535"),
        ({"host": "a b"}, "a host that is no DNS name"),
        ({"ip": "localhost"}, "neither * nor an IP address"),
        ({"ip": "2001:db8::1"}, "IPv6 without brackets"),
        ({"thumbprint": None}, "needs the thumbprint"),
        ({"thumbprint": "AB" * 32}, "40 hexadecimal digits"),
        ({"ssl_flags": 1, "host": ""}, "has SNI, and so needs a host"),
        ({"ssl_flags": 2}, "a central store, which is not ours"),
        ({"ssl_flags": 128}, "no sum of"),
        ({"protocol": "http"}, "is http and names a certificate"),
    ],
)
def test_what_iis_cannot_have_is_refused_in_one_sentence(changed: dict[str, t.Any], says: str) -> None:
    row = {**https(host="shop.example.net", ssl_flags=1).row(), **changed}
    with pytest.raises(BindingRefused) as refused:
        read_binding(row)
    assert says in str(refused.value) and "shop" in str(refused.value)


def test_a_binding_is_read_as_it_is_written() -> None:
    wanted = https(ip="[2001:db8::1]", host="*.example.net", ssl_flags=1)
    assert read_binding({**wanted.row(), "thumbprint": "ab " * 20}) == wanted
    assert wanted.information == "[2001:db8::1]:443:*.example.net"
    assert read_binding({"site": "shop", "port": 80, "protocol": "http"}) == http()
    assert read_binding({"site": "shop", "port": 443, "state": "absent"}).thumbprint is None


@pytest.mark.parametrize(
    ("wanted", "other", "says"),
    [
        (https("a", "a.net", ssl_flags=1), https("b", "b.net", ssl_flags=1, thumbprint=NEW), None),
        (https("a", "a.net", ssl_flags=1), https("b", thumbprint=NEW), None),
        (https("a", "a.net"), https("b", "b.net"), None),
        (https("a", "a.net"), https("b", "b.net", thumbprint=NEW), "b shares *:443 without SNI"),
        (https("a", "a.net", ssl_flags=1), https("b", "A.net", ssl_flags=1), "b is bound to *:443:A.net already"),
        (https("a"), http("b", port=443), "port 443 of * is b's, which speaks http"),
        (https("a"), http("a", port=443), "a speaks http on *:443: already"),
        (https("a"), https("a", thumbprint=NEW), None),
        (https("a"), https("b", port=8443, thumbprint=NEW), None),
    ],
)
def test_bindings_stand_beside_each_other_or_not(wanted: Binding, other: Binding, says: str | None) -> None:
    found = conflict(wanted, [wanted, other])
    assert found is None if says is None else str(found).startswith(says)


def test_a_renewed_certificate_is_bound_wherever_the_old_one_was() -> None:
    others = [http(), https("blog", "b.net", thumbprint=NEW)]
    bound = [https(), https(host="x.net", ssl_flags=33)]
    found = rebound([*bound, *others], old=OLD.lower(), new=NEW.lower())
    assert [(each.information, each.ssl_flags) for each in found] == [("*:443:", 0), ("*:443:x.net", 33)]
    assert {each.thumbprint for each in found} == {NEW}


def test_bindings_in_the_clear_leave_only_where_others_stay() -> None:
    shown = {"shop": [http().row(), https().row()], "blog": [http("blog").row()], "pipe": []}
    found = read_sites(shown)
    assert clear(found, "shop") == [http()]
    with pytest.raises(BindingRefused, match="the site blog has no https binding"):
        clear(found, "blog")
