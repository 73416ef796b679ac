# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that are born on hosts, as the engine sees them: who is asked for them, and what becomes of the answers."""

from __future__ import annotations

import copy
import dataclasses
import types
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._briefing import reads_keystore_only
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Instance
from ansible_collections.connsec.tls.plugins.module_utils._core._issuing import Signing
from ansible_collections.connsec.tls.plugins.module_utils._core._look import LookPlan
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import Plan
from ansible_collections.connsec.tls.plugins.module_utils._core._requesting import terms_asked
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import Scene
from ansible_collections.connsec.tls.plugins.module_utils._core._wanting import Wishes
from ansible_collections.connsec.tls.plugins.plugin_utils import _rounds
from ansible_collections.connsec.tls.plugins.plugin_utils._births import births_of
from ansible_collections.connsec.tls.plugins.plugin_utils._relay import BIRTH, Progress, nothing_seen
from ansible_collections.connsec.tls.plugins.plugin_utils._view import StoreView

from .scenes import MODEL, ask_for, scene_of

SERVER, CLIENT, OTHER = "store@db1", "router@app1", "confserv@cfg1"


def at_home(*names: str) -> Scene:
    """Return the fleet with these instances' keys on their hosts."""
    model = copy.deepcopy(MODEL)
    model["identities"] = {name: {"key_at": "host"} for name in names}
    return scene_of(model)


def test_only_hosts_with_keys_of_their_own_are_asked_which_they_have() -> None:
    scene = at_home(SERVER)
    plan = LookPlan(scene, token="t")
    plan.see(*(Instance.parse(name) for name in (SERVER, CLIENT, OTHER)))
    asked = {row["name"]: row["keys"] for request in plan.requests().values() for row in request["instances"]}
    assert asked == {SERVER: True, CLIENT: False, OTHER: False}


def with_formats(scene: Scene, name: str, *formats: str, key_option: bool = False) -> Scene:
    """Return the scene with what the kind of an instance reads, and perhaps an option that names its key."""
    kind = scene.kinds[name]
    reads: t.Any = kind.reads
    if key_option:
        (option,) = reads["permit"]
        reads = {**reads, "permit": [{**option, "key": "key", "value": "{key}"}]}
    kinds = {**scene.kinds, name: dataclasses.replace(kind, formats=formats, reads=reads)}
    return dataclasses.replace(scene, kinds=kinds)


@pytest.mark.parametrize(
    ("name", "formats", "key_option", "only"),
    [
        (SERVER, ("pem",), False, False),
        (SERVER, ("pem", "pkcs12"), False, True),
        (SERVER, ("pem", "pkcs12"), True, False),
        (CLIENT, ("pem", "pkcs12"), False, False),
    ],
    ids=["reads PEM", "reads a keystore", "an option names its key", "a client presents it in our probes"],
)
def test_keytool_does_where_nobody_needs_the_key_outside_of_a_keystore(
    name: str, formats: tuple[str, ...], key_option: bool, only: bool
) -> None:
    scene = with_formats(at_home(name), name, *formats, key_option=key_option)
    assert reads_keystore_only(scene, Instance.parse(name), name) is only


# Who is asked


@pytest.mark.parametrize(
    ("act", "installs", "can_sign", "lost", "born"),
    [
        ("sign", True, True, False, True),
        ("sign", True, False, False, False),
        ("sign", False, True, False, False),
        ("ask", False, False, False, True),
        ("ask", False, False, True, False),
        ("show", False, False, False, False),
        ("take", True, False, False, False),
    ],
)
def test_a_host_is_asked_for_a_key_before_somebody_signs_it(
    act: t.Any, installs: bool, can_sign: bool, lost: bool, born: bool
) -> None:
    scene = at_home(SERVER)
    instance = Instance.parse(SERVER)
    scene = dataclasses.replace(scene, lost={instance.host: "gone"} if lost else {})
    wishes = Wishes(scene.model, scene.kinds, scene.addresses)
    fleet: t.Any = types.SimpleNamespace(wishes=wishes, can_sign=can_sign)
    view = StoreView(changes=(Signing("identity " + SERVER, None, None, "due", act=act),))
    plan = Plan((), (), material={instance.host: (SERVER,)} if installs else {})
    rows = births_of(fleet, view, scene, plan, [instance])
    assert set(rows) == ({instance.host} if born else set())
    for row in rows.get(instance.host, ()):
        asked = {name: row.get(name) for name in ("names", "usages", "common_name")}
        (planned,) = wishes.identities([instance])
        assert asked == (terms_asked(planned) if act == "ask" else dict.fromkeys(asked)), "only others are asked for it"


# What hosts answered


def standing_of(scene: Scene, births: t.Mapping[str, t.Mapping[str, str]]) -> _rounds.Standing:
    """Return a run that has asked for keys."""

    class Seeing:
        @staticmethod
        def seeing(scene: Scene, _seen: t.Any) -> Scene:
            return scene

    seen = {**nothing_seen(), "instances": {SERVER: {"generation": "000001", "keys": ["old"]}}}
    fleet: t.Any = Seeing()
    return _rounds.Standing(fleet, {"births": births}, ask_for(scene), seen, Progress(), scene)


def answer(name: str, **more: t.Any) -> dict[str, t.Any]:
    row = {"request": "pem", "spki_sha256": "new", "held": ["new", "old"]}
    return {"token": BIRTH, "keys": {name: row}, "failures": {}, **more}


def test_what_a_host_asks_for_goes_to_the_store_and_its_new_key_is_known() -> None:
    scene = at_home(SERVER)
    variables = {"hostvars": {"db1": {"tls_born": answer(SERVER)}}}
    after, asked = _rounds.born(standing_of(scene, {"db1": {SERVER: SERVER}}), variables)
    assert asked == {SERVER: {"request": "pem", "spki_sha256": "new", "held": ["new", "old"]}}
    assert after.seen["instances"][SERVER] == {"generation": "000001", "keys": ["new", "old"]}
    assert not after.progress.notes


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({}, "it did not answer"),
        ({"unreachable": True, "msg": "no route to host"}, "it is unreachable: no route to host"),
        (answer(SERVER, token="an earlier question"), "it did not answer"),
        (
            {"token": BIRTH, "keys": {}, "failures": {SERVER: "it has no openssl"}, "failed": True},
            "it has no openssl",
        ),
    ],
    ids=["silent", "unreachable", "another question's answer", "no program"],
)
def test_a_host_that_gave_no_key_keeps_back_its_own_pairs_alone(result: dict[str, t.Any], says: str) -> None:
    scene = at_home(SERVER, OTHER)
    variables = {"hostvars": {"db1": {"tls_born": result}, "cfg1": {"tls_born": answer(OTHER)}}}
    after, asked = _rounds.born(standing_of(scene, {"db1": {SERVER: SERVER}, "cfg1": {OTHER: OTHER}}), variables)
    assert set(asked) == {OTHER}
    assert {name.partition("->")[2] for name in after.progress.notes} == {"store.sql@db1"}
    (seen,) = {hold.evidence.seen for hold in after.progress.notes.values()}
    assert says in seen
