# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a connection is, in four respects."""

from __future__ import annotations

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._category import categorize, group_name, groups
from ansible_collections.connsec.tls.plugins.module_utils._core._model import Document, parse_model


def model(client=None, server=None, listener=None, connection=None, hosts=None):
    """Return a model of one connection, from a@h1 to b.l@h2."""
    data = {
        "hosts": hosts or {},
        "components": {
            "a": {"kind": "java", "hosts": ["h1"], **(client or {})},
            "b": {
                "kind": "pem_service",
                "hosts": ["h2"],
                "listeners": {"l": {"port": 1, "secure_port": 2, "protocol": "sip", **(listener or {})}},
                **(server or {}),
            },
        },
        "connections": [{"client": "a", "server": "b.l", **(connection or {})}],
    }
    return parse_model([Document("f", data)])


NOT_OURS = {"managed": False, "hosts": [], "addresses": ["192.0.2.9"]}

TABLE = [
    # what differs from the plain case, respect, value, part of the reason
    ({}, "relation", "internal", "both ends are internal"),
    ({"server": {"relation": "third_party"}}, "relation", "third_party", "b is third-party"),
    ({"client": {"relation": "third_party"}}, "relation", "third_party", "a is third-party"),
    ({"client": NOT_OURS}, "relation", "internal", "both ends are internal"),
    ({}, "protocol", "sip", "listener b.l says so"),
    ({}, "operating_systems", ("linux", "linux"), "h1 (nothing is declared) and h2 (nothing is declared)"),
    ({"hosts": {"h1": {"os": "aix"}}}, "operating_systems", ("aix", "linux"), "h1 (declared)"),
    ({"hosts": {"h2": {"os": "windows"}}}, "operating_systems", ("linux", "windows"), "h2 (declared)"),
    ({"client": NOT_OURS}, "operating_systems", ("unmanaged", "linux"), "a (managed: false)"),
    ({}, "implementation", ("java", "pem_service"), "kind of a and of b"),
    ({"client": {"kind": "ns.coll.nginx"}}, "implementation", ("ns.coll.nginx", "pem_service"), "kind of a and of b"),
]


@pytest.mark.parametrize(("what", "respect", "value", "reason"), TABLE)
def test_a_pair_is_categorized_with_its_reason(what, respect, value, reason):
    made = model(**what)
    category = categorize(made, made.pairs[0])
    assert getattr(category, respect) == value
    assert reason in category.reasons[respect]
    assert set(category.reasons) == {"relation", "protocol", "operating_systems", "implementation"}


GROUPS = [
    ({}, "tls_none", []),
    ({}, "tls_relation_internal", ["h1", "h2"]),
    ({"server": {"relation": "third_party"}}, "tls_relation_third_party", ["h1", "h2"]),
    ({}, "tls_protocol_sip", ["h1", "h2"]),
    ({"listener": {"protocol": "t-server"}}, "tls_protocol_t_server", ["h1", "h2"]),
    ({"connection": {"wave": 3}}, "tls_wave_3", ["h1", "h2"]),
    ({"hosts": {"h1": {"os": "aix"}}}, "tls_os_aix", ["h1"]),
    ({"hosts": {"h1": {"os": "aix"}}}, "tls_os_linux", ["h2"]),
    ({}, "tls_kind_java", ["h1"]),
    ({"client": {"kind": "ns.coll.nginx"}}, "tls_kind_ns_coll_nginx", ["h1"]),
    ({}, "tls_presenters", ["h2"]),
    ({}, "tls_receivers", ["h1"]),
    ({"listener": {"mode": "mutual"}}, "tls_presenters", ["h1", "h2"]),
    ({"listener": {"mode": "mutual"}}, "tls_receivers", ["h1", "h2"]),
    ({"client": NOT_OURS}, "tls_protocol_sip", ["h2"]),
    ({"client": NOT_OURS}, "tls_receivers", None),
    ({"connection": {"secure": False, "reason": "r", "approver": "a", "until": "2027-01-01"}}, "tls_presenters", None),
]


@pytest.mark.parametrize(("what", "group", "hosts"), GROUPS)
def test_a_group_holds_the_hosts_that_belong_to_it(what, group, hosts):
    assert groups(model(**what)).get(group) == hosts


def test_a_group_has_a_name_that_ansible_takes():
    assert group_name("tls_kind_a.b-c") == "tls_kind_a_b_c"
