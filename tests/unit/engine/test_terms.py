# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends can do decides what listeners are told, what identities are, and how a gate tries."""

from __future__ import annotations

import copy
import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Instance
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._kind import KindError, parse_kind
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import GATES
from ansible_collections.connsec.tls.plugins.module_utils._core._wanting import Wishes

from .scenes import DECLARED, MODEL, at_stage, scene_of

ROUTER_DB = "router@app1->store.sql@db1"
DESK_DB = "desk@app2->store.sql@db1"
CBC = "TLS_RSA_WITH_AES_128_CBC_SHA"


def scene(*, listener=None, **limits):
    model = copy.deepcopy(MODEL)
    model["components"]["store"]["listeners"]["sql"].update(listener or {})
    for component, limited in limits.items():
        model["components"][component]["limits"] = limited
    return scene_of(model)


def words(found, name):
    pair = found.model.pair(name)
    return found.listener_words(pair.server, pair.listener), found.pair_words(pair)


def test_a_listener_is_told_its_profile_and_a_client_what_is_left_of_it():
    server, client = words(scene(desk={"protocols": ["TLSv1.2"]}), DESK_DB)
    assert (server["protocols"], client["protocols"]) == ("TLSv1.2 TLSv1.3", "TLSv1.2")
    assert "CHACHA20" in server["ciphers"] and client["ciphersuites"] == ""
    server, _client = words(scene(store={"protocols": ["TLSv1.3"]}), DESK_DB)
    assert (server["minimum_protocol"], server["java_protocols"]) == ("TLSv1.3", "TLSv1.3")


def test_a_listener_with_the_profile_fips_is_told_nothing_that_fips_does_not_approve():
    server, client = words(scene(listener={"profile": "fips"}), ROUTER_DB)
    for told in (server, client):
        assert "CHACHA20" not in " ".join(told[name] for name in ("ciphers", "ciphersuites", "java_suites"))
        assert told["profile"] == "fips"


def test_a_kind_may_use_the_words_of_a_profile():
    reads = {**DECLARED["reads"], "permit": [{"file": "{config}", "key": "ciphers", "value": "{ciphers}"}]}
    assert parse_kind("thing", role="r", source="s", declared={**DECLARED, "reads": reads})
    with pytest.raises(KindError, match=r"\{cypher\} is neither"):
        parse_kind("thing", role="r", source="s", declared={**DECLARED, "test": ["{cypher}"]})


def probe_of(found, name):
    plan = LookPlan(found, token="t")
    plan.dial(found.model.pair(name))
    (host,) = plan.hosts
    return next(row for row in plan.requests()[host]["probes"] if row["tls"])


def test_a_gate_tries_with_what_the_client_knows():
    weak = {"profile": "old", "reason": "r", "approver": "a", "until": "2027-01-01"}
    model = copy.deepcopy(MODEL)
    model["components"]["store"]["listeners"]["sql"].update(weak)
    model["components"]["desk"]["limits"] = {"suites": [CBC]}
    model["connections"].pop(1)  # desk to confserv, which has nothing for it
    found = scene_of(model)
    probe = probe_of(found, DESK_DB)
    assert (probe["protocols"], probe["ciphers"]) == (["TLSv1.2"], "AES128-SHA")
    assert not {"protocols", "ciphers"} & set(probe_of(found, ROUTER_DB)), "one without limits is tried as before"
    evidence = GATES["permissive"](at_stage(found, "permissive"), found.model.pair(DESK_DB))
    assert evidence.expected.endswith("from app2, which knows TLSv1.2 and the suites AES128-SHA")


def test_what_was_taken_away_is_told_with_who_took_it():
    found = scene(desk={"protocols": ["TLSv1.2"], "common_name": True})
    assert found.agreement(found.model.pair(DESK_DB)).reasons == {
        "protocols": "component desk is limited to TLSv1.2",
        "common_name": "component desk needs a common name",
    }


def wishes(found, **kinds):
    made = {
        name: dataclasses.replace(kind, **kinds.get(name.partition("@")[0], {})) for name, kind in found.kinds.items()
    }
    return Wishes(found.model, made, found.addresses)


@pytest.mark.parametrize(
    ("formats", "limit", "given"),
    [
        (("pkcs12", "java"), ["java"], ("java", "pem")),
        (("pkcs12", "java"), None, ("java", "pem", "pkcs12")),
        (("pkcs12",), ["pem"], None),
    ],
)
def test_an_instance_is_given_the_formats_that_its_component_reads(formats, limit, given):
    found = scene(**({"store": {"formats": limit}} if limit else {}))
    made = wishes(found, store={"formats": formats})
    if given:
        assert made.formats_of(Instance("store", "db1")) == given
        return
    with pytest.raises(TlsError, match="store@db1: its kind thing reads pkcs12, and component store is limited to pem"):
        made.formats_of(Instance("store", "db1"))
