# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances that present several identities, one a listener or one a role, and identities that several present."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._briefing import step_spec
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Instance
from ansible_collections.connsec.tls.plugins.module_utils._core._holding import material_fault
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import make_plan
from ansible_collections.connsec.tls.plugins.module_utils._core._presenting import not_ready, serves_another
from ansible_collections.connsec.tls.plugins.module_utils._core._requesting import Awaited
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import HeldIdentity, Scene
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import GATES
from ansible_collections.connsec.tls.plugins.module_utils._core._steps import Step
from ansible_collections.connsec.tls.plugins.module_utils._core._wanting import Wishes

from .scenes import MODEL, answers, ask_for, at_stage, scene_of, showing, with_probe

CFG1, CFG2, ROUTER, DESK = (
    Instance.parse(name) for name in ("confserv@cfg1", "confserv@cfg2", "router@app1", "desk@app2")
)
#: Pairs by the identity that their listener presents.
INNER, OUTER = "router@app1->confserv.default@cfg1", "desk@app2->confserv.admin@cfg1"


def several(**identities: t.Any) -> dict[str, t.Any]:
    """Return a model in which servers have one for each listener, and a client one for each role.

    ``confserv`` presents ``inner`` and, at its other listener, ``outer``; the router is ``front`` and ``calls``.
    """
    model = copy.deepcopy(MODEL)
    model["identities"] = {"inner": {}, "outer": {"names": ["admin.example.net"]}, "front": {}, "calls": {}}
    for name, more in identities.items():
        model["identities"][name] = more
    server, router = model["components"]["confserv"], model["components"]["router"]
    server["identities"] = ["inner", "outer"]
    server["listeners"]["admin"] = {"port": 2030, "secure_port": 2031, "protocol": "admin", "identity": "outer"}
    router["identities"] = {"server": "front", "client": "calls"}
    router["listeners"] = {"api": {"port": 2040, "secure_port": 2041, "protocol": "api"}}
    more = [{"client": "desk", "server": "confserv.admin"}, {"client": "desk", "server": "router.api"}]
    model["connections"] = [*model["connections"][:1], *more]
    return model


@pytest.fixture
def scene() -> Scene:
    return scene_of(several())


def wishes_of(scene: Scene) -> Wishes:
    return Wishes(scene.model, scene.kinds, scene.addresses)


def wanted_of(scene: Scene, instance: Instance, **more: t.Any) -> dict[str, HeldIdentity]:
    given: dict[str, t.Any] = {"certificates": {}, "roots": {}, "due": {}, **more}
    return dict(wishes_of(scene).wanted(instance, **given).identities)


# What is asked for


def test_nothing_blocks_them(scene: Scene) -> None:
    assert {pair.blocked for pair in scene.model.pairs} == {None}


PRESENTED = [
    (CFG1, {"inner": "", "outer": "outer"}),
    (ROUTER, {"front": "", "calls": "calls"}),
    (DESK, {}),
]


@pytest.mark.parametrize(("instance", "folders"), PRESENTED, ids=[each.name for each, _unused in PRESENTED])
def test_the_default_identity_lies_at_the_top_and_others_in_folders_of_their_names(scene, instance, folders) -> None:
    assert {name: held.folder for name, held in wanted_of(scene, instance).items()} == folders


def test_what_is_enumerated_has_no_say_in_where_they_lie() -> None:
    model = several()
    model["connections"].pop(2)  # nobody dials the router any more
    held = wanted_of(scene_of(model), ROUTER)
    assert {name: each.folder for name, each in held.items()} == {"calls": "calls"}


ISSUED = [
    ("inner", ("10.0.0.1", "10.0.0.2"), ("server",)),
    ("outer", ("10.0.0.1", "10.0.0.2", "admin.example.net"), ("server",)),
    ("front", ("10.0.0.3",), ("server",)),
    ("calls", ("10.0.0.3", "app1"), ("client",)),
]


@pytest.mark.parametrize(("name", "names", "usages"), ISSUED, ids=[name for name, _names, _usages in ISSUED])
@pytest.mark.parametrize("asked", [[CFG1, ROUTER], [CFG2, ROUTER, DESK]], ids=["some instances", "others"])
def test_each_has_the_names_and_usages_of_all_that_present_it(scene, asked, name, names, usages) -> None:
    found = {each.name: each for each in wishes_of(scene).identities(asked)}
    assert set(found) == {"inner", "outer", "front", "calls"}
    assert (found[name].names, found[name].usages) == (names, usages)


def test_what_a_kind_uses_its_certificates_for_besides_is_among_the_usages(scene: Scene) -> None:
    kinds = {name: dataclasses.replace(kind, usages=("client",)) for name, kind in scene.kinds.items()}
    found = Wishes(scene.model, kinds, scene.addresses).identities([CFG1, ROUTER])
    assert {each.name: each.usages for each in found}["inner"] == ("client", "server")


def test_an_identity_of_several_components_is_one_certificate_for_all_their_names() -> None:
    model = several(shared={})
    model["components"]["confserv"]["listeners"]["admin"]["identity"] = "shared"
    model["components"]["router"]["identities"] = {"server": "shared", "client": "calls"}
    model["components"]["confserv"]["identities"] = ["inner"]
    (found,) = (each for each in wishes_of(scene_of(model)).identities([ROUTER]) if each.name == "shared")
    assert found.names == ("10.0.0.1", "10.0.0.2", "10.0.0.3")


def test_who_dials_one_listener_trusts_who_signs_for_that_one_alone() -> None:
    model = several(outer={"authority": "corporate", "issuer": "requested"})
    model["authorities"] = {"corporate": {"trust_file": "ca.pem"}, "connsec": {}}
    found = wishes_of(scene_of(model))
    assert found.trusted_by(ROUTER) == ("connsec",)
    assert found.trusted_by(DESK) == ("connsec", "corporate")


def test_one_that_waits_for_its_signature_keeps_no_other_back() -> None:
    held = wanted_of(scene_of(several()), CFG1, awaited={"outer": Awaited("corporate", "it waits", "sign it")})
    wanted = dataclasses.replace(scene_of(several()).wanted[CFG1.name], identities=held)
    assert {folder: each.name for folder, each in wanted.placed.items()} == {"": "inner"}
    assert held["outer"].lacks_signature()
    assert not held["inner"].lacks_signature()


def test_one_that_was_there_before_is_not_installed() -> None:
    files = {"certificate": "/etc/outer.pem", "key": "/etc/outer.key"}
    model = several(outer={"authority": "corporate", "issuer": "installed", "files": files})
    model["authorities"] = {"corporate": {"trust_file": "ca.pem"}, "connsec": {}}
    scene = scene_of(model)
    assert set(wanted_of(scene, CFG1)) == {"inner"}
    words = scene.listener_words(CFG1, scene.model.pair(OUTER).listener)
    assert (words["fullchain"], words["key"]) == ("/etc/outer.pem", "/etc/outer.key")
    assert words["keystore"] == "/etc/connsec/confserv/current/outer/keystore.p12"


# What is held in reserve


def reserving(**spare: t.Any) -> dict[str, t.Any]:
    """Return the model in which the server lists an identity that none of its listeners presents."""
    model = several(spare=spare)
    model["authorities"] = {"corporate": {"trust_file": "ca.pem"}, "connsec": {}}
    model["components"]["confserv"]["identities"] = ["inner", "outer", "spare"]
    return model


def test_one_in_reserve_is_for_whatever_its_instance_serves_and_lies_beside_the_others() -> None:
    scene = scene_of(reserving())
    assert {pair.blocked for pair in scene.model.pairs} == {None}
    assert wanted_of(scene, CFG1)["spare"].folder == "spare"
    (spare,) = (each for each in wishes_of(scene).identities([CFG1]) if each.name == "spare")
    assert (spare.names, spare.usages) == (("10.0.0.1", "10.0.0.2"), ("server",))


def test_a_component_without_listeners_holds_one_in_reserve_as_a_client() -> None:
    model = several(spare={})
    model["components"]["desk"]["identities"] = ["calls", "spare"]
    (spare,) = (each for each in wishes_of(scene_of(model)).identities([DESK]) if each.name == "spare")
    assert (spare.names, spare.usages) == (("10.0.0.4", "app2"), ("client",))


def test_its_authority_is_trusted_by_nobody_before_a_listener_presents_it() -> None:
    scene = scene_of(reserving(issuer="requested", authority="corporate"))
    assert wishes_of(scene).trusted_by(DESK) == ("connsec",)


def test_one_in_reserve_is_a_reason_to_install_and_refutes_nobody() -> None:
    scene = at_stage(scene_of(reserving()), "presented")
    inputs = scene.seen(CFG1).inputs
    held = {name: row for name, row in inputs["identities"].items() if name != "spare"}
    scene = showing(scene, CFG1.name, inputs={**inputs, "identities": held})
    assert material_fault(scene, CFG1) == "it has no certificate of spare"
    assert make_plan(scene, ask_for(scene)).material == {"cfg1": (CFG1.name,)}
    assert GATES["presented"](scene, scene.model.pair(OUTER)).holds
    assert GATES["presented"](scene, scene.model.pair(INNER)).holds


def test_one_in_reserve_that_nobody_signed_is_told_of_by_itself() -> None:
    scene = at_stage(scene_of(reserving(issuer="requested", authority="corporate")), "presented")
    assert not_ready(scene) == {}
    awaited = Awaited("corporate", "identity spare waits for a signature", "have it signed")
    wanted = scene.wanted[CFG1.name]
    spare = dataclasses.replace(wanted.identities["spare"], certificate=None, awaits=awaited)
    wanted = dataclasses.replace(wanted, identities={**wanted.identities, "spare": spare})
    scene = dataclasses.replace(scene, wanted={**scene.wanted, CFG1.name: wanted})
    told = not_ready(scene)["spare"]
    assert (told.seen, told.todo, told.rule.waits) == (awaited.seen, awaited.todo, True)
    assert {view.status for view in make_plan(scene, ask_for(scene)).views} == {"due"}


ADOPTED = [
    ({}, {"adopted spare": "/etc/spare.pem is not there"}, "confserv@cfg1: /etc/spare.pem is not there"),
    (
        {"spare": {"valid": False, "names": []}},
        {},
        "confserv@cfg1: the certificate /etc/spare.pem is not valid by its host's clock",
    ),
    ({"spare": {"valid": True, "names": ["elsewhere.example.net"]}}, {}, None),
]


@pytest.mark.parametrize(("found", "unreadable", "says"), ADOPTED, ids=["missing", "over", "as it should be"])
def test_one_in_reserve_that_was_there_before_is_looked_at_too(found, unreadable, says) -> None:
    files = {"certificate": "/etc/spare.pem", "key": "/etc/spare.key"}
    scene = at_stage(scene_of(reserving(issuer="installed", authority="corporate", files=files)), "presented")
    assert set(wanted_of(scene, CFG1)) == {"inner", "outer"}
    (request,) = (each for each in look_of(scene)["instances"] if each["name"] == CFG1.name)
    assert request["adopted"] == {"spare": {"fullchain": "/etc/spare.pem", **files}}
    scene = showing(scene, CFG1.name, adopted=found, unreadable=unreadable)
    scene = showing(scene, CFG2.name, adopted={"spare": {"valid": True, "names": []}})
    assert [each.seen for each in not_ready(scene).values()] == ([says] if says else [])


def look_of(scene: Scene) -> dict[str, t.Any]:
    plan = LookPlan(scene, token="t")
    plan.see(CFG1)
    return plan.requests()["cfg1"]


BORN = [
    ({"key_at": "host"}, True),
    (
        {
            "key_at": "host",
            "issuer": "installed",
            "authority": "corporate",
            "files": {"certificate": "/a", "key": "/b"},
        },
        False,
    ),
]


@pytest.mark.parametrize(("calls", "born"), BORN, ids=["ours", "there before us"])
def test_no_key_is_born_for_one_that_was_there_before_us(calls: dict[str, t.Any], born: bool) -> None:
    model = several(calls=calls)
    model["authorities"] = {"corporate": {"trust_file": "ca.pem"}, "connsec": {}}
    scene = scene_of(model)
    assert {pair.blocked for pair in scene.model.pairs} == {None}
    assert scene.model.keeps_key(ROUTER) is born
    assert ("calls" in wanted_of(scene, ROUTER)) is born


def test_one_that_was_there_before_us_may_lie_on_several_hosts_with_its_key() -> None:
    files = {"certificate": "/etc/inner.pem", "key": "/etc/inner.key"}
    model = several(inner={"key_at": "host", "issuer": "installed", "authority": "corporate", "files": files})
    model["authorities"] = {"corporate": {"trust_file": "ca.pem"}, "connsec": {}}
    assert {pair.blocked for pair in scene_of(model).model.pairs} == {None}


# The words of options, and our own probes

CURRENT = {name: "/etc/connsec/%s/current" % name for name in ("confserv", "router", "desk")}


def test_options_of_a_listener_name_the_files_of_its_own_identity(scene: Scene) -> None:
    inner, outer = (scene.listener_words(CFG1, scene.model.pair(name).listener) for name in (INNER, OUTER))
    for word, file in (("key", "key.pem"), ("fullchain", "fullchain.pem"), ("keystore", "keystore.p12")):
        assert inner[word] == "%s/%s" % (CURRENT["confserv"], file)
        assert outer[word] == "%s/outer/%s" % (CURRENT["confserv"], file)
    assert outer["keystore_password_file"] == CURRENT["confserv"] + "/outer/keystore.password"
    assert outer["trust"] == inner["trust"] == CURRENT["confserv"] + "/trust.pem"
    assert outer["truststore"] == inner["truststore"]


def test_options_of_a_client_name_the_files_of_its_role(scene: Scene) -> None:
    words = scene.pair_words(scene.model.pair(INNER))
    assert words["certificate"] == CURRENT["router"] + "/calls/certificate.pem"
    assert words["trust"] == CURRENT["router"] + "/trust.pem"


def test_a_step_is_told_the_paths_of_the_identity_that_it_is_about(scene: Scene) -> None:
    steps = [
        (Step("permit-admin", "permit", CFG1, ("admin",), (OUTER,), ""), "/outer/key.pem"),
        (Step("permit-default", "permit", CFG1, ("default",), (INNER,), ""), "/key.pem"),
        (Step("connect-confserv.default", "connect", ROUTER, (INNER,), (INNER,), ""), "/calls/key.pem"),
        (Step("load", "load", CFG1, (), (INNER, OUTER), ""), "/key.pem"),
    ]
    for step, path in steps:
        assert step_spec(scene, step).paths["key"] == CURRENT[step.instance.component] + path, step.id


def probe_of(scene: Scene, name: str) -> dict[str, t.Any]:
    plan = LookPlan(scene, token="t")
    plan.dial(scene.model.pair(name))
    (host,) = plan.hosts
    return next(row for row in plan.requests()[host]["probes"] if row["tls"])


def test_a_probe_of_a_mutual_listener_presents_what_its_client_does(scene: Scene) -> None:
    probe = probe_of(scene, INNER)
    assert (probe["certificate"], probe["key"]) == (
        CURRENT["router"] + "/calls/fullchain.pem",
        CURRENT["router"] + "/calls/key.pem",
    )
    assert probe["trust"] == CURRENT["router"] + "/trust.pem"
    assert probe_of(scene, OUTER)["certificate"] is None


# Gates


def test_a_listener_that_presents_the_certificate_of_another_one_is_stale(scene: Scene) -> None:
    scene = at_stage(scene, "permissive")
    pair = scene.model.pair(OUTER)
    assert not serves_another(scene, pair)
    assert GATES["permissive"](scene, pair).holds
    scene = with_probe(scene, pair, tls=answers(pair, sha256="sha-inner"))
    assert GATES["permissive"](scene, pair).fault == "stale"
    assert GATES["permissive"](scene, scene.model.pair(INNER)).holds


SEEN = [
    # what is seen of confserv@cfg1, whose pair is refuted and whose is not, the sentence
    ({"drift": {"outer/key.pem": "outer/key.pem is missing"}}, OUTER, INNER, "outer/key.pem is missing"),
    ({"drift": {"outer/keystore.p12": "it differs"}}, OUTER, INNER, "it differs"),
    ({"drift": {"key.pem": "key.pem is missing"}}, INNER, OUTER, "key.pem is missing"),
    ({"identities": {"": {"certificate": "sha-inner"}}}, OUTER, INNER, "it has no certificate of outer"),
    (
        {"identities": {"": {"certificate": "sha-inner"}, "outer": {"certificate": "old"}}},
        OUTER,
        INNER,
        "the certificate of outer is another",
    ),
    (
        {"identities": {"": {"certificate": "old"}, "outer": {"certificate": "sha-outer"}}},
        INNER,
        OUTER,
        "the certificate is another",
    ),
    (
        {"files": {"outer/key.pem": {"owner": "nobody"}}, "user": "confserv"},
        OUTER,
        INNER,
        "its process runs as confserv, and its key belongs to nobody",
    ),
]


@pytest.mark.parametrize(("seen", "refuted", "other", "says"), SEEN, ids=[row[-1] for row in SEEN])
def test_what_is_wrong_with_one_identity_refutes_the_pairs_that_are_shown_it(scene, seen, refuted, other, says) -> None:
    scene = at_stage(scene, "presented")
    more = {name: value for name, value in seen.items() if name in ("drift", "files")}
    if "identities" in seen:
        more["inputs"] = {**scene.seen(CFG1).inputs, "identities": seen["identities"]}
    if "user" in seen:
        more["process"] = dataclasses.replace(scene.seen(CFG1).process, user=seen["user"])
    scene = showing(scene, CFG1.name, **more)
    evidence = GATES["presented"](scene, scene.model.pair(refuted))
    assert not evidence.holds
    assert evidence.seen == "confserv@cfg1: " + says
    assert GATES["presented"](scene, scene.model.pair(other)).holds


def test_what_nobody_presents_any_more_is_no_reason_for_another_generation(scene: Scene) -> None:
    scene = at_stage(scene, "presented")
    inputs = scene.seen(CFG1).inputs
    more = {**inputs["identities"], "spare": {"certificate": "sha-spare"}}
    scene = showing(scene, CFG1.name, inputs={**inputs, "identities": more})
    assert material_fault(scene, CFG1) == ""
    assert not make_plan(scene, ask_for(scene)).material


def test_a_listener_whose_certificate_is_not_signed_yet_keeps_no_other_back(scene: Scene) -> None:
    awaited = Awaited("corporate", "identity outer waits for a signature", "have it signed")
    wanted = scene.wanted[CFG1.name]
    outer = dataclasses.replace(wanted.identities["outer"], certificate=None, awaits=awaited)
    wanted = dataclasses.replace(wanted, identities={**wanted.identities, "outer": outer})
    scene = dataclasses.replace(scene, wanted={**scene.wanted, CFG1.name: wanted})
    views = {view.pair.id: view for view in make_plan(at_stage(scene, "presented"), ask_for(scene)).views}
    assert (views[OUTER].status, views[OUTER].why.seen) == ("waiting", awaited.seen)
    assert (views[INNER].stage, views[INNER].status) == ("presented", "due")


@pytest.mark.parametrize("drifted", ["crl.pem", "trust.pem", "outer/chain.pem", "manifest.json"])
def test_whatever_drifts_is_a_reason_to_install_anew(scene: Scene, drifted: str) -> None:
    scene = showing(at_stage(scene, "presented"), CFG1.name, drift={drifted: "it is missing"})
    assert material_fault(scene, CFG1) == "it is missing"
