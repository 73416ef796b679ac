# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From documents to the model, or to every mistake in them."""

from __future__ import annotations

import copy
import json
import time

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core import _model as model_module
from ansible_collections.connsec.tls.plugins.module_utils._core._model import (
    Document,
    Host,
    Instance,
    ModelError,
    parse_limits,
    parse_model,
)

HOSTS = ("cfg1", "cfg2", "db1", "urs1", "web1", "win1")

FLEET = {
    "plugin": "connsec.tls.connections",
    "components": {
        "confserv": {
            "kind": "pem_service",
            "hosts": ["cfg1", "cfg2"],
            "listeners": {
                "default": {"port": 2020, "secure_port": 2021, "protocol": "configuration", "mode": "mutual"}
            },
        },
        "crm_db": {
            "kind": "pem_service",
            "hosts": ["db1"],
            "listeners": {"sql": {"port": 5432, "protocol": "postgresql"}},
        },
        "router": {"kind": "pem_service", "hosts": ["urs1"]},
    },
    "connections": [
        {"client": "router", "server": "confserv.default", "wave": 1},
        {"client": "router", "server": "crm_db.sql", "dial": "crm.example.net", "wave": 2},
    ],
}

DELETE = object()


def changed(*changes):
    """Return the fleet with values put in at paths: ``(("components", "router", "hosts"), ["urs2"])``."""
    data = copy.deepcopy(FLEET)
    for path, value in changes:
        place = data
        for key in path[:-1]:
            place = place[key] if isinstance(place, list) else place.setdefault(key, {})
        if value is DELETE:
            del place[path[-1]]
        elif isinstance(place, list) and path[-1] == len(place):
            place.append(value)
        else:
            place[path[-1]] = value
    return data


def parse(data, hosts=HOSTS, **more):
    return parse_model([Document("fleet.yml", data)], hosts, **more)


def mistakes(data, hosts=HOSTS, **more):
    with pytest.raises(ModelError) as error:
        parse(data, hosts, **more)
    return list(error.value.mistakes)


ROUTER, CONFSERV, DB = ("components", "router"), ("components", "confserv"), ("components", "crm_db")
LISTENER = (*CONFSERV, "listeners", "default")
FIRST = ("connections", 0)


def test_a_fleet_becomes_pairs_of_instances():
    model = parse(FLEET)
    assert [(pair.id, pair.dial, pair.mode, pair.wave, pair.blocked) for pair in model.pairs] == [
        ("router@urs1->confserv.default@cfg1", "cfg1", "mutual", 1, None),
        ("router@urs1->confserv.default@cfg2", "cfg2", "mutual", 1, None),
        ("router@urs1->crm_db.sql@db1", "crm.example.net", "simple", 2, None),
    ]
    pair = model.pair("router@urs1->confserv.default@cfg2")
    assert (pair.client, pair.server) == (Instance("router", "urs1"), Instance("confserv", "cfg2"))
    assert (pair.listener.port, pair.listener.secure_port) == (2020, 2021)
    assert model.pairs_of_listener("confserv@cfg2", "default") == (pair,)
    assert model.pairs_of_listener("confserv@cfg2", "other") == ()
    assert len(model.pairs_of_client("router@urs1")) == 3
    assert [each.name for each in model.instances()] == ["confserv@cfg1", "confserv@cfg2", "crm_db@db1", "router@urs1"]
    assert model.authorities["connsec"].leaf_days == 90
    assert model.authority_of("router@urs1") == "connsec"


def test_what_is_parsed_is_plain_data_again():
    text = json.dumps(parse(FLEET).to_json(), sort_keys=True)
    assert json.loads(text)["pairs"][0]["id"] == "router@urs1->confserv.default@cfg1"
    assert text == json.dumps(parse(copy.deepcopy(FLEET)).to_json(), sort_keys=True)


def test_entries_of_several_files_belong_together():
    parts = [
        Document("a.yml", {"components": FLEET["components"]}),
        Document("b.yml", {"connections": FLEET["connections"]}),
    ]
    assert parse_model(parts, HOSTS).pairs == parse_model(list(reversed(parts)), HOSTS).pairs != ()


def test_what_stands_in_two_files_is_told_with_both():
    parts = [Document("a.yml", FLEET), Document("b.yml", {"components": {"router": FLEET["components"]["router"]}})]
    with pytest.raises(ModelError) as error:
        parse_model(parts, HOSTS)
    assert str(error.value) == "b.yml: components.router: it is declared already at a.yml: components.router"


MISTAKES = [
    # entries
    ((("connection",), []), "fleet.yml: there is no entry 'connection'; did you mean 'connections'?"),
    (
        (("plugin",), "connsec.tls.connection"),
        "fleet.yml: plugin: 'connsec.tls.connection' is not connsec.tls.connections",
    ),
    ((("components",), ["router"]), "fleet.yml: components: ['router'] is not a mapping of names"),
    (
        (("connections",), {"client": "x"}),
        "fleet.yml: connections: {'client': 'x'} is not a list; each entry begins with a dash",
    ),
    (((*FIRST,), "router"), "fleet.yml: connections[0]: 'router' is not a mapping; it has the fields"),
    # unknown fields and missing ones
    (((*FIRST, "serer"), "x"), "fleet.yml: connections[0].serer: there is no field 'serer'; did you mean 'server'?"),
    (((*FIRST, "client"), DELETE), "fleet.yml: connections[0]: client is missing"),
    (((*FIRST, "server"), None), "fleet.yml: connections[0].server: None is not component.listener"),
    (((*ROUTER, "kind"), DELETE), "fleet.yml: components.router: kind is missing"),
    (((*LISTENER, "prot"), 1), "listeners.default.prot: there is no field 'prot'; did you mean 'port'?"),
    (((*LISTENER, "protocol"), DELETE), "fleet.yml: components.confserv.listeners.default: protocol is missing"),
    # references
    (
        ((*FIRST, "server"), "confserv.defalt"),
        "there is no listener 'confserv.defalt'; did you mean 'confserv.default'?",
    ),
    (
        ((*FIRST, "server"), "confsrv.default"),
        "there is no listener 'confsrv.default'; did you mean 'confserv.default'?",
    ),
    (((*FIRST, "server"), "confserv"), "fleet.yml: connections[0].server: 'confserv' is not component.listener"),
    (((*FIRST, "server"), "router.default"), "there is no listener 'router.default'; router has no listeners"),
    (
        ((*FIRST, "client"), "routr"),
        "fleet.yml: connections[0].client: there is no component 'routr'; did you mean 'router'?",
    ),
    (((*ROUTER, "hosts"), ["ursl"]), "components.router.hosts[0]: there is no host 'ursl'"),
    (((*ROUTER, "hosts"), ["urs1", "urs1"]), "components.router.hosts[1]: 'urs1' stands there twice"),
    (((*ROUTER, "hosts"), []), "components.router.hosts: a component is on one host at least"),
    (((*ROUTER, "hosts"), "urs1"), "components.router.hosts: 'urs1' is not a list; write it in brackets"),
    ((("hosts", "cgf1"), {"os": "aix"}), "fleet.yml: hosts.cgf1: there is no host 'cgf1'"),
    ((("hosts", "cfg1"), {"os": "AIX"}), "fleet.yml: hosts.cfg1.os: 'AIX' is not one of linux, aix, solaris, windows"),
    (((*ROUTER, "identities"), {"client": "web"}), "components.router.identities.client: there is no identity 'web'"),
    (((*LISTENER, "identity"), "web"), "listeners.default.identity: there is no identity 'web'"),
    ((("identities", "web"), {"authority": "conn"}), "identities.web.authority: there is no authority 'conn'"),
    ((("identities", "key.pem"), {}), "identities.key.pem: a file of every generation is called so"),
    (
        (("identities", "router@urs2"), {}),
        "identities.router@urs2: there is no instance 'router@urs2'; did you mean 'router@urs1'?",
    ),
    (
        ((*FIRST, "through"), [{"component": "lb", "does": "pass"}]),
        "connections[0].through[0].component: there is no component 'lb'",
    ),
    (
        ((*FIRST, "through"), [{"component": "router", "does": "ends"}]),
        "connections[0].through[0].does: 'ends' is not one of pass, terminate",
    ),
    # values
    (((*LISTENER, "port"), "2020"), "listeners.default.port: '2020' is not a whole number from 1 to 65535"),
    (((*LISTENER, "port"), True), "listeners.default.port: True is not a whole number"),
    (((*LISTENER, "port"), 65536), "listeners.default.port: 65536 is not a whole number"),
    (((*LISTENER, "secure_port"), 2020), "listeners.default.secure_port: 2020 is the port of default already"),
    (
        ((*LISTENER, "mode"), "mutal"),
        "listeners.default.mode: 'mutal' is not one of simple, mutual; did you mean 'mutual'?",
    ),
    (((*LISTENER, "transport"), "sctp"), "listeners.default.transport: 'sctp' is not one of tcp, udp"),
    (
        ((*LISTENER, "profile"), "modern"),
        "listeners.default.profile: there is no profile 'modern'; it knows fips, intermediate, old",
    ),
    (
        ((*LISTENER, "profile"), "old"),
        "components.confserv.listeners.default: profile old is an exception: it needs reason",
    ),
    (((*LISTENER, "until"), "2027-01-01"), "listeners.default.until: it belongs to a weak profile, which is not there"),
    (
        ((*DB, "listeners", "sql", "transport"), "udp"),
        "listeners.sql: udp moves to a second listener over TLS: give secure_port",
    ),
    (((*FIRST, "wave"), 0), "connections[0].wave: 0 is not a whole number from 1 to 9999"),
    (
        ((*FIRST, "dial"), "*.example.net"),
        "connections[0].dial: '*.example.net' is not a DNS name that can be dialled: a wildcard",
    ),
    (((*FIRST, "dial"), "b\u00fccher.example"), "connections[0].dial: 'b\u00fccher.example' is not a DNS name"),
    (((*ROUTER, "account"), "a;b"), "components.router.account: 'a;b' is not an account"),
    (((*ROUTER, "window"), "22-04"), "components.router.window: '22-04' is not a window like 22:00-04:00"),
    (
        ((*ROUTER, "version"), 8.5),
        "components.router.version: 8.5 is not a line of 1 to 100 printable characters; put it in quotes",
    ),
    (((*ROUTER, "relation"), "external"), "components.router.relation: 'external' is not one of internal, third_party"),
    (((*ROUTER, "limits"), {"protocols": ["TLSv1.4"]}), "limits.protocols[0]: 'TLSv1.4' is not one of"),
    (((*ROUTER, "limits"), {"protocols": []}), "components.router.limits.protocols: the list is empty"),
    # names
    ((("components", "Router"), {}), "fleet.yml: components: 'Router' is not a component's name"),
    ((("components", "con"), {}), "fleet.yml: components: 'con' is refused: Windows reserves it"),
    ((("authorities", "../x"), {}), "fleet.yml: authorities: '../x' is not an authority's name"),
    # what does not go together
    (
        ((*ROUTER, "addresses"), ["192.0.2.1"]),
        "components.router.addresses: only a component with managed: false has it",
    ),
    (
        ((*ROUTER, "managed"), False),
        "components.router.hosts: a component that is not ours (managed: false) has addresses and no hosts",
    ),
    (((*FIRST, "secure"), False), "connections[0]: secure: false needs approver"),
    (
        (("components", "cfg1"), {"kind": "appliance", "managed": False, "addresses": ["192.0.2.1"]}),
        "components.cfg1: a component that is not ours cannot be called like the host cfg1: give it another name",
    ),
    (((*FIRST, "reason"), "x"), "connections[0].reason: it belongs to secure: false, which is not there"),
    (
        ((*FIRST, "drill"), "x"),
        "connections[0].drill: it belongs to a dormant connection, or to a client that is not ours; this is neither",
    ),
    (
        ((*FIRST, "link"), True),
        "connections[0].link: a link is among members of one component, and router is not confserv",
    ),
    (
        (("connections", 2), {"client": "crm_db", "server": "crm_db.sql"}),
        "connections[2]: crm_db is on one host: a link needs two members",
    ),
    (
        (("connections", 2), {"client": "router", "server": "crm_db.sql"}),
        "connections[2]: router->crm_db.sql is enumerated already at",
    ),
    (
        (("authorities", "a"), {"leaf_days": 365}),
        "authorities.a.leaf_days: 365 is more than 199 days; give days_reason",
    ),
    (
        (("authorities", "a"), {"issuing_days": 4000}),
        "authorities.a.issuing_days: an issuing authority cannot outlive its root (3652)",
    ),
    (
        (("authorities", "a"), {"issuing_days": 80}),
        "authorities.a.leaf_days: a certificate cannot outlive its issuer (80)",
    ),
    ((("authorities",), {"a": {}, "b": {}}), "authorities.a: one of several must be called connsec"),
    (
        (("authorities",), {"corporate": {"trust_file": "../ca.pem", "leaf_days": 30}}),
        "authorities.corporate: it has a trust_file, so it is not ours, and nothing else can be said of it",
    ),
    (
        (("authorities",), {"connsec": {"trust_file": "../ca.pem"}}),
        "authorities.connsec: connsec is the name of our own authority; give one with a trust_file another",
    ),
    (
        (("authorities",), {"corporate": {"trust_file": "ca/../../x.pem"}}),
        "authorities.corporate.trust_file: '/ca/../../x.pem' is not a path that can be taken",
    ),
    (
        (("identities", "web"), {"issuer": "requested"}),
        "identities.web.authority: it is requested: name its authority, one with a trust_file (none has one yet)",
    ),
    (
        (("identities", "web"), {"files": {"certificate": "/etc/web.pem"}}),
        "identities.web.files: only an identity with issuer: installed has them; ours lie where we put them",
    ),
    (
        (("identities", "web"), {"issuer": "installed", "files": {"certificate": "/etc/web.pem"}}),
        "identities.web.files: it is installed: say where on its hosts, as certificate (PEM) and key, or certificate",
    ),
    (
        (("identities", "web"), {"issuer": "installed", "files": {"certificate": "web.pem"}}),
        "identities.web.files.certificate: 'web.pem' is not an absolute path",
    ),
    (
        (("identities", "web"), {"issuer": "requested", "authority": "connsec"}),
        "identities.web.authority: connsec is ours: an identity that is requested needs an authority with a trust_file",
    ),
    # what both ends can do
    (
        ((*DB, "limits"), {"protocols": ["TLSv1"]}),
        "connections[1]: the ends have no protocol version in common: component crm_db is limited to TLSv1",
    ),
    (
        ((*ROUTER, "limits"), {"names": ["ip"]}),
        "connections[0].dial: cfg1 is dialled, and router verifies ip names only",
    ),
]


@pytest.mark.parametrize(("change", "told"), MISTAKES, ids=[told for _unused, told in MISTAKES])
def test_a_mistake_is_told_with_its_file_and_entry(change, told):
    found = mistakes(changed(change))
    assert any(told in line for line in found), found
    assert all(line.startswith("fleet.yml: ") for line in found)


def test_every_mistake_is_told_at_once():
    data = changed(
        ((*FIRST, "server"), "confserv.defalt"),
        ((*ROUTER, "hosts"), ["ursl"]),
        ((*LISTENER, "port"), 0),
        (("connections", 2), {"client": "routr", "server": 3, "wawe": 1}),
    )
    assert len(mistakes(data)) == 6


def test_a_sound_entry_brings_no_mistake_because_of_another():
    assert mistakes(changed(((*LISTENER, "port"), 0))) == [
        "fleet.yml: components.confserv.listeners.default.port: 0 is not a whole number from 1 to 65535"
    ]


def test_a_thousand_mistakes_are_counted_after_a_hundred():
    data = changed((("connections",), [{"client": "nobody", "server": "confserv.default"}] * 1000))
    with pytest.raises(ModelError) as error:
        parse(data)
    assert len(str(error.value).splitlines()) == 101
    assert str(error.value).endswith("more")


@pytest.mark.parametrize(
    "data", [[], "x", None, 3, {"components": {"a": None}}, {"connections": [None]}, {1: 2}, {"hosts": {5: {}}}]
)
def test_no_data_at_all_makes_a_model_or_a_mistake_and_nothing_else(data):
    with pytest.raises(ModelError):
        parse(data)


def test_an_empty_file_is_a_model_without_pairs():
    assert parse({}).pairs == ()


def test_a_host_that_no_inventory_was_asked_for_is_taken():
    assert len(parse(FLEET, hosts=None).pairs) == 3


def test_hosts_that_differ_in_case_only_are_refused():
    data = changed(((*CONFSERV, "hosts"), ["cfg1", "CFG1"]))
    assert "differ in case only" in mistakes(data, hosts=None)[0]


def test_a_dial_defaults_to_the_first_address_else_to_the_name():
    data = changed((("hosts", "cfg1"), {"addresses": ["cfg1.example.net", "192.0.2.1"]}))
    dials = [pair.dial for pair in parse(data).pairs]
    assert dials == ["cfg1.example.net", "cfg2", "crm.example.net"]


def test_a_name_that_cannot_be_dialled_asks_for_an_address():
    data = changed(((*CONFSERV, "hosts"), ["cfg_1"]))
    assert mistakes(data, hosts=None) == [
        "fleet.yml: connections[0].dial: cfg_1 is no DNS name; give it, or hosts.cfg_1.addresses"
    ]


def test_what_the_inventory_declares_completes_what_the_file_declares():
    declared = {"cfg1": Host("cfg1", os="aix", os_reason="declared", addresses=("192.0.2.1",), source="hosts.yml:4")}
    model = parse(FLEET, declared=declared)
    assert (model.hosts["cfg1"].os, model.hosts["cfg1"].addresses) == ("aix", ("192.0.2.1",))
    assert model.pairs[0].dial == "192.0.2.1"


def test_what_the_inventory_declares_otherwise_is_told_with_both_places():
    declared = {"cfg1": Host("cfg1", os="aix", os_reason="declared", addresses=("192.0.2.1",), source="hosts.yml:4")}
    data = changed((("hosts", "cfg1"), {"os": "linux", "addresses": ["192.0.2.2"]}))
    assert mistakes(data, declared=declared) == [
        "fleet.yml: hosts.cfg1.os: it is linux here and aix in hosts.yml:4",
        "fleet.yml: hosts.cfg1.addresses: it is 192.0.2.2 here and 192.0.2.1 in hosts.yml:4",
    ]


def test_a_system_that_is_only_guessed_gives_way_to_a_declared_one():
    declared = {"cfg1": Host("cfg1", os="linux", os_reason="connection ssh, nothing declared")}
    assert parse(changed((("hosts", "cfg1"), {"os": "solaris"})), declared=declared).hosts["cfg1"].os == "solaris"


BLOCKED = [
    (
        [
            ((*FIRST, "secure"), False),
            ((*FIRST, "reason"), "old"),
            ((*FIRST, "approver"), "A"),
            ((*FIRST, "until"), "2027-06-30"),
        ],
        "A decided until 2027-06-30 not to protect it: old",
    ),
    ([(("hosts", "urs1"), {"os": "windows"})], "urs1 runs windows"),
    (
        [((*CONFSERV, "managed"), False), ((*CONFSERV, "hosts"), DELETE), ((*CONFSERV, "addresses"), ["10.0.0.8"])],
        "confserv is not ours and has no trust_file",
    ),
    (
        [
            (end, value)
            for name in (ROUTER, CONFSERV)
            for end, value in (
                ((*name, "managed"), False),
                ((*name, "hosts"), DELETE),
                ((*name, "addresses"), ["10.0.0.8"]),
            )
        ],
        "neither router nor confserv is ours",
    ),
]


@pytest.mark.parametrize(("changes", "told"), BLOCKED, ids=[told for _unused, told in BLOCKED])
def test_what_is_not_built_yet_blocks_with_one_sentence(changes, told):
    pair = parse(changed(*changes)).pairs[0]
    assert pair.blocked.startswith(told)
    assert "\n" not in pair.blocked


def test_a_key_that_is_born_on_a_host_is_one_instances_alone():
    at_home = (("identities", "web"), {"key_at": "host"})
    shared = changed(((*CONFSERV, "identities"), ["web"]), at_home)
    assert mistakes(shared) == [
        "fleet.yml: identities.web.key_at: a key that is born on a host is one instance's alone, and confserv@cfg1,"
        " confserv@cfg2 present web; name an identity for each, such as confserv@cfg1, or leave key_at out"
    ]
    by_two = changed(((*ROUTER, "identities"), ["web"]), ((*DB, "identities"), {"server": "web"}), at_home)
    assert ["crm_db@db1, router@urs1 present web" in line for line in mistakes(by_two)] == [True]


@pytest.mark.parametrize("issuer", ["own", "requested"])
@pytest.mark.parametrize("name", ["web", "router@urs1"])
def test_a_key_of_one_instance_may_be_born_on_its_host(name, issuer):
    named = [((*ROUTER, "identities"), ["web"])] if name == "web" else []
    others = [(("authorities",), {"corporate": {"trust_file": "ca.pem"}})] if issuer == "requested" else []
    model = parse(changed(*named, *others, (("identities", name), {"key_at": "host", "issuer": issuer})))
    assert {pair.blocked for pair in model.pairs} == {None}
    keeping = {each.name for each in model.instances() if model.keeps_key(each)}
    assert keeping == {"router@urs1"}


def test_identities_of_listeners_and_roles_block_nothing():
    names = ("one", "two", "three")
    given = [
        ((*LISTENER, "identity"), "two"),
        ((*CONFSERV, "identities"), ["one", "two"]),
        ((*ROUTER, "identities"), {"client": "three"}),
        (("identities",), {name: {} for name in names}),
    ]
    assert {pair.blocked for pair in parse(changed(*given)).pairs} == {None}
    at_home = (("identities", "two"), {"key_at": "host"})
    beside = parse(changed(*given, ((*CONFSERV, "hosts"), ["cfg1"]), at_home))
    assert {pair.blocked for pair in beside.pairs} == {None}
    assert {each.name for each in beside.instances() if beside.keeps_key(each)} == {"confserv@cfg1"}


def test_one_identity_for_all_usages_blocks_nothing():
    model = parse(
        changed(((*CONFSERV, "identities"), ["shared"]), (("identities", "shared"), {"names": ["cfg.example.net"]}))
    )
    assert {pair.blocked for pair in model.pairs} == {None}
    assert model.identities["shared"].authority == "connsec"


def test_a_link_excludes_self():
    data = changed((("connections", 2), {"client": "confserv", "server": "confserv.default"}))
    links = [pair for pair in parse(data).pairs if pair.link]
    assert [pair.id for pair in links] == [
        "confserv@cfg1->confserv.default@cfg2",
        "confserv@cfg2->confserv.default@cfg1",
    ]


def test_a_component_that_is_not_ours_is_dialled_at_its_first_address():
    data = changed(
        ((*CONFSERV, "managed"), False),
        ((*CONFSERV, "hosts"), DELETE),
        ((*CONFSERV, "addresses"), ["10.0.0.0/8", "sbc.example"]),
    )
    model = parse(data)
    assert model.pairs[0].id == "router@urs1->confserv.default@confserv"
    assert model.pairs[0].dial == "sbc.example"
    assert "confserv" not in model.hosts


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("../trust/carrier.pem", "../trust/carrier.pem"),
        ("../../trust//carrier.pem", "../../trust/carrier.pem"),
        ("/etc/trust.pem", "/etc/trust.pem"),
        ("trust/../carrier.pem", None),
        ("../trust/../carrier.pem", None),
    ],
)
def test_a_trust_file_lies_in_the_inventorys_folder_beside_it_or_anywhere(given, taken):
    data = changed(
        ((*CONFSERV, "managed"), False),
        ((*CONFSERV, "hosts"), DELETE),
        ((*CONFSERV, "addresses"), ["192.0.2.1"]),
        ((*CONFSERV, "trust_file"), given),
    )
    if taken:
        assert parse(data).components["confserv"].trust_file == taken
    else:
        assert "is not a path that can be taken: no .. in it" in mistakes(data)[0]


def test_a_component_known_by_networks_only_must_be_dialled_by_name():
    data = changed(
        ((*CONFSERV, "managed"), False), ((*CONFSERV, "hosts"), DELETE), ((*CONFSERV, "addresses"), ["10.0.0.0/8"])
    )
    assert mistakes(data) == [
        "fleet.yml: connections[0].dial: it is needed, for confserv has only networks as addresses"
    ]


def test_a_client_that_no_socket_could_show_is_refused():
    data = changed(
        ((*ROUTER, "managed"), False), ((*ROUTER, "hosts"), DELETE), ((*ROUTER, "addresses"), ["desk.example"])
    )
    assert mistakes(data)[0] == (
        "fleet.yml: connections[0].client: router is known by names alone, and sockets show IP addresses:"
        " give it some, or its networks"
    )


def test_the_only_authority_is_the_default_whatever_it_is_called():
    model = parse(changed((("authorities", "corp"), {"leaf_days": 46, "organization": "Example"})))
    assert model.authority_of("router@urs1") == "corp"
    assert model.authorities["corp"].leaf_days == 46


def test_limits_of_a_kind_are_read_like_those_of_a_component():
    assert parse_limits({"key_types": ["rsa-2048"]}, "kind java").key_types == ("rsa-2048",)
    with pytest.raises(
        ModelError, match=r"kind java\.keytypes: there is no field 'keytypes'; did you mean 'key_types'"
    ):
        parse_limits({"keytypes": []}, "kind java")


def test_a_model_of_too_many_pairs_is_refused_before_it_fills_the_memory(monkeypatch):
    data = changed(
        (("components", "a"), {"kind": "x", "hosts": ["h%d" % n for n in range(3000)]}),
        (
            ("components", "b"),
            {"kind": "x", "hosts": ["h%d" % n for n in range(3000)], "listeners": {"l": {"port": 1, "protocol": "p"}}},
        ),
        (("connections", 2), {"client": "a", "server": "b.l"}),
    )
    assert mistakes(data, hosts=None) == [
        "fleet.yml: connections[2]: it makes more than 200000 pairs of the model; is it meant for all hosts?"
    ]


def large(count):
    listener = {"default": {"port": 2020, "secure_port": 2021, "protocol": "line", "mode": "mutual"}}
    return {
        "components": {
            "c%05d" % n: {"kind": "pem_service", "hosts": ["h%05d" % n], "listeners": listener} for n in range(count)
        },
        "connections": [
            {"client": "c%05d" % n, "server": "c%05d.default" % ((n + 7 * k) % count), "wave": 1 + n % 9}
            for n in range(count)
            for k in (1, 2, 3)
        ],
    }


def test_ten_thousand_hosts_take_about_twice_as_long_as_five_thousand():
    def seconds(count):
        data, hosts = large(count), ["h%05d" % n for n in range(count)]
        best = None
        for _unused in range(2):
            begin = time.process_time()
            assert len(parse(data, hosts).pairs) == 3 * count
            spent = time.process_time() - begin
            best = spent if best is None else min(best, spent)
        return best

    half, whole = seconds(2500), seconds(5000)
    assert whole < 5
    assert whole < 3.5 * half  # linear, with room for a busy machine


@pytest.mark.parametrize(
    ("field", "value"), [("server", "c00001.defalt"), ("server", "d00001.default"), ("client", "d00001")]
)
def test_many_mistakes_in_a_large_model_are_told_in_seconds(field, value):
    data = large(2000)
    for n, connection in enumerate(data["connections"]):
        connection[field] = "%s%d" % (value, n)
    begin = time.process_time()
    assert len(mistakes(data, ["h%05d" % n for n in range(2000)])) >= 6000
    assert time.process_time() - begin < 5


def test_a_model_whose_hosts_are_all_unknown_is_told_in_seconds():
    begin = time.process_time()
    assert len(mistakes(large(2000), ["g%05d" % n for n in range(5000)])) == 2000
    assert time.process_time() - begin < 5


def test_every_public_name_is_there():
    for name in model_module.__all__:
        assert hasattr(model_module, name)


@pytest.mark.parametrize(
    ("authorities", "web", "issued_by", "ours"),
    [
        ({}, {}, "connsec", ["connsec"]),
        ({"corporate": {"trust_file": "../ca.pem"}}, {"issuer": "requested"}, "corporate", ["connsec"]),
        ({"corporate": {"trust_file": "/x/ca.pem"}, "inner": {}}, {}, "inner", ["inner"]),
        (
            {"one": {"trust_file": "a.pem"}, "two": {"trust_file": "b.pem"}},
            {"issuer": "requested", "authority": "two"},
            "two",
            ["connsec"],
        ),
    ],
)
def test_an_identity_is_issued_by_the_authority_that_is_meant(authorities, web, issued_by, ours):
    changes = [(("identities", "web"), web), *([(("authorities",), authorities)] if authorities else [])]
    model = parse(changed(*changes))
    assert model.authority_of("web") == issued_by
    assert [name for name, spec in model.authorities.items() if not spec.trust_file] == ours
    assert model.trust_files == {n: spec["trust_file"] for n, spec in authorities.items() if "trust_file" in spec}
