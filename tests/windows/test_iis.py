# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bindings of IIS on a twin: bound by thumbprint, renewed, taken away in the clear, and put back."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

import pytest
import yaml
from ansible_collections.connsec.tls.plugins.module_utils._core._iis import clear, read_sites, rebound

from . import Failed
from .certificates import Opened
from .direct import MODULES, authority, module
from .documentation import assigned
from .machine import opened
from .material import issued
from .plays import play
from .test_material import bare, spec_of
from .twin import WindowsTwin

CLEAR: t.Final = {"protocol": "http", "information": "*:80:", "hash": None, "store": None, "flags": 0}
PIPE: t.Final = {"protocol": "net.pipe", "information": "*", "hash": None, "store": None, "flags": 0}


@dataclass(frozen=True)
class Iis:
    """A host with IIS and two sites."""

    twin: WindowsTwin

    def has(self, *, key: bool = True) -> str:
        """Put a certificate into the machine's store; return its thumbprint."""
        pair = issued("shop", authority()[1])
        with opened(self.twin.folder) as machine:
            kept = machine.stores.persist(pair.key, scope="machine", exportable=False) if key else None
            machine.stores.add("LocalMachine", "My", Opened(pair.certificate), kept)
        return pair.thumbprint

    def sets(self, *rows: dict[str, t.Any], check: bool = False) -> dict[str, t.Any]:
        """Set bindings."""
        return module(self.twin, "win_iis_binding", {"bindings": list(rows)}, check=check)


@pytest.fixture
def iis(twin: WindowsTwin) -> Iis:
    """One host, whose sites are in the clear."""
    with opened(twin.folder) as machine:
        machine.state["iis"] = {"shop": [dict(CLEAR), dict(PIPE)], "blog": [{**CLEAR, "information": "*:80:b.net"}]}
    return Iis(twin)


def secured(thumbprint: str, **more: t.Any) -> dict[str, t.Any]:
    """Return a binding of the shop over TLS."""
    return {"site": "shop", "port": 443, "host": "s.net", "ssl_flags": 1, "thumbprint": thumbprint, **more}


def test_the_module_documents_the_options_that_it_takes() -> None:
    documented = yaml.safe_load(assigned(MODULES / "win_iis_binding.py", "DOCUMENTATION"))["options"]
    assert spec_of(MODULES / "win_iis_binding.ps1") == bare(documented)


def test_bindings_are_shown_and_nothing_changes(iis: Iis) -> None:
    before = iis.twin.snapshot()
    found = iis.sets()
    assert found["changed"] is False and found["before"] == [] and iis.twin.snapshot() == before
    assert [each.information for each in read_sites(found["sites"])] == ["*:80:", "*:80:b.net"]


def test_a_site_goes_from_plain_to_enforced_and_back_exactly(iis: Iis) -> None:
    thumbprint = iis.has()
    before, resting = iis.twin.snapshot(), _resting(iis.twin)
    assert iis.sets(secured(thumbprint), check=True)["changed"] is True
    assert iis.twin.snapshot() == before
    bound = iis.sets(secured(thumbprint))
    assert bound["changed"] is True and iis.sets(secured(thumbprint))["changed"] is False
    (shown,) = [each for each in read_sites(bound["sites"]) if each.protocol == "https"]
    assert (shown.information, shown.thumbprint, shown.ssl_flags) == ("*:443:s.net", thumbprint, 1)
    enforced = iis.sets(*[each.row("absent") for each in clear(read_sites(bound["sites"]), "shop")])
    assert [each.protocol for each in read_sites(enforced["sites"]) if each.site == "shop"] == ["https"]
    iis.sets(*enforced["before"])
    iis.sets(*bound["before"])
    assert _resting(iis.twin) == resting


def _resting(twin: WindowsTwin) -> dict[str, t.Any]:
    """Return the host's state; bindings of a site have no order that anybody goes by."""
    state = twin.machine().state
    return {**state, "iis": {site: sorted(rows, key=str) for site, rows in state["iis"].items()}}


def test_a_renewed_certificate_is_bound_before_the_old_one_leaves(iis: Iis) -> None:
    old, new = iis.has(), iis.has()
    bound = iis.sets(secured(old), secured(old, host="t.net"))
    rows = [each.row() for each in rebound(read_sites(bound["sites"]), old=old, new=new)]
    renewed = iis.sets(*rows)
    assert {each.thumbprint for each in read_sites(renewed["sites"]) if each.protocol == "https"} == {new}
    assert [row["thumbprint"] for row in renewed["before"]] == [old, old]
    with opened(iis.twin.folder) as machine:
        machine.stores.remove("LocalMachine", "My", old)
    assert iis.sets(*rows)["changed"] is False


def test_flags_alone_are_a_change(iis: Iis) -> None:
    thumbprint = iis.has()
    iis.sets(secured(thumbprint))
    found = iis.sets(secured(thumbprint, ssl_flags=33))
    assert [row["ssl_flags"] for row in found["before"]] == [1]
    iis.sets(*found["before"])
    assert iis.sets(secured(thumbprint))["changed"] is False


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"thumbprint": "AB" * 20}, r"no certificate (AB){20} with a private key in LocalMachine\\My"),
        ({"site": "else"}, "there is no site else in this IIS"),
        ({"site": "blog", "protocol": "http", "port": 80, "host": "b.net", "state": "absent"}, "left without any"),
    ],
)
def test_what_cannot_be_set_changes_nothing(iis: Iis, row: dict[str, t.Any], says: str) -> None:
    thumbprint, before = iis.has(), iis.twin.snapshot()
    with pytest.raises(Failed, match=says):
        iis.sets(secured(thumbprint), {**secured(thumbprint, host="u.net"), **row})
    assert iis.twin.snapshot() == before


def test_sites_that_share_a_port_without_sni_share_the_certificate(iis: Iis) -> None:
    one, other = iis.has(), iis.has()
    iis.sets(secured(one, ssl_flags=0))
    before = iis.twin.snapshot()
    with pytest.raises(Failed, match=r"share \*:443 without SNI, and so the certificate as well"):
        iis.sets(secured(other, site="blog", host="b.net", ssl_flags=0))
    assert iis.twin.snapshot() == before
    assert iis.sets(secured(other, site="blog", host="b.net", ssl_flags=1))["changed"] is True


def test_a_certificate_without_its_key_is_refused_before_iis_sees_it(iis: Iis) -> None:
    with pytest.raises(Failed, match="with a private key"):
        iis.sets(secured(iis.has(key=False)))


def test_a_host_without_iis_says_so(twin: WindowsTwin) -> None:
    with pytest.raises(Failed, match="this host has no IIS 10"):
        module(twin, "win_iis_binding", {})


def test_a_play_costs_one_round_trip_and_none_for_what_iis_cannot_have(iis: Iis) -> None:
    thumbprint = iis.has()
    written = " ".join(thumbprint[at : at + 2].lower() for at in range(0, 40, 2))
    task = {"connsec.tls.win_iis_binding": {"bindings": [secured(written)]}}
    assert play([iis.twin], [task], "--check").changed == [True] and iis.twin.violations == []
    run = play([iis.twin], [task, task])
    assert run.code == 0 and run.changed == [True, False] and iis.twin.trips == 3, run.text
    wrong = play([iis.twin], [{"connsec.tls.win_iis_binding": {"bindings": [secured(thumbprint, host="")]}}])
    assert "has SNI, and so needs a host" in wrong.text and iis.twin.trips == 3
    assert iis.twin.refusals == []
