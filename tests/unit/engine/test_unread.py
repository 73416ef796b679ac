# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA list that cannot be read holds back who needs it, and changes nothing installed or planned for others."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._blocked import with_pairs_blocked
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Instance
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import Scene
from ansible_collections.connsec.tls.plugins.module_utils._core._unread import instances_that_stay, pairs_without_list
from ansible_collections.connsec.tls.plugins.module_utils._core._wanting import Wishes
from ansible_collections.connsec.tls.plugins.plugin_utils._trust_list import unreadable_lists

from .scenes import scene_of, showing

WHY = "the CA list of corporate, trust_file ca.pem, cannot be read: No such file or directory"
UNREAD: t.Final = {"corporate": WHY, "peer/partner": "the CA list of partner is nothing"}


def component(*hosts: str, mode: str = "simple") -> dict[str, t.Any]:
    listeners = {"it": {"port": 1, "secure_port": 2, "protocol": "sql", "mode": mode}}
    return {"kind": "thing", "hosts": list(hosts), "listeners": listeners}


#: ``a`` and ``b`` serve under our authority, ``c`` under another's; ``partner`` is not ours and calls ``b``.
FLEET: t.Final = {
    "authorities": {"connsec": {}, "corporate": {"trust_file": "ca.pem"}},
    "identities": {"c@db1": {"issuer": "requested", "authority": "corporate"}},
    "components": {
        "a": component("cfg1"),
        "b": component("cfg1", mode="mutual"),
        "c": component("db1"),
        "router": {"kind": "thing", "hosts": ["app1"]},
        "partner": {
            "kind": "thing",
            "managed": False,
            "addresses": ["198.51.100.7"],
            "trust_file": "partner.pem",
        },
    },
    "connections": [
        {"client": "router", "server": "a.it"},
        {"client": "router", "server": "b.it"},
        {"client": "router", "server": "c.it"},
        {"client": "c", "server": "a.it", "dial": "a.example.net"},
        {"client": "partner", "server": "b.it"},
    ],
}


@pytest.fixture
def scene() -> Scene:
    return scene_of(FLEET)


def names(found: t.Iterable[str]) -> set[str]:
    return {name.replace("@app1", "").replace("@cfg1", "").replace("@db1", "") for name in found}


@pytest.mark.parametrize(
    ("unread", "blocked"),
    [
        ((), set()),
        (("corporate",), {"router->c.it", "c->a.it"}),
        (("peer/partner",), {"partner@others->b.it"}),
        (("corporate", "peer/partner"), {"router->c.it", "c->a.it", "partner@others->b.it"}),
    ],
)
def test_pairs_that_need_the_list_are_blocked_and_no_others(
    scene: Scene, unread: tuple[str, ...], blocked: set[str]
) -> None:
    lists = {name: UNREAD[name] for name in unread}
    found = pairs_without_list(scene.model, Wishes(scene.model, scene.kinds, scene.addresses, unread=lists), lists)
    assert {name.split("->")[1].split("@")[0] for name in found} == {each.split("->")[1] for each in blocked}
    assert len(found) == len(blocked)
    assert set(found.values()) == {UNREAD[name] for name in unread}


def test_nobody_elses_names_change_while_pairs_are_blocked(scene: Scene) -> None:
    wishes = Wishes(scene.model, scene.kinds, scene.addresses, unread=UNREAD)
    server = Instance.parse("a@cfg1")
    (identity,) = wishes.identities([server])
    assert "a.example.net" in identity.names, "what a blocked pair dials stays in the certificate"
    assert wishes.trusted_by(Instance.parse("router@app1")) == ("connsec",)
    assert wishes.needed_by(Instance.parse("router@app1")) == ("connsec", "corporate")
    assert wishes.trust_files() == {}
    model = with_pairs_blocked(scene.model, pairs_without_list(scene.model, wishes, UNREAD))
    assert names(pair.id for pair in model.pairs if not pair.blocked) == {"router->a.it", "router->b.it"}


@pytest.mark.parametrize(
    ("installed", "stays"),
    [(None, False), (["root"], False), (["corporate-root", "root"], True)],
    ids=["nothing is installed", "it never had the list", "it has the list"],
)
def test_material_with_a_list_that_cannot_be_read_stays_as_it_is(
    scene: Scene, installed: list[str] | None, stays: bool
) -> None:
    wishes = Wishes(scene.model, scene.kinds, scene.addresses, unread=UNREAD)
    if installed is not None:
        scene = showing(scene, "router@app1", generation="000001", inputs={"trust": installed})
        scene = showing(scene, "a@cfg1", generation="000001", inputs={"trust": installed})
    instances = [Instance.parse(name) for name in ("router@app1", "a@cfg1")]
    found = instances_that_stay(scene, wishes, instances, UNREAD)
    assert set(found) == ({"router@app1"} if stays else set()), "a@cfg1 needs no list of others"
    for sentence in found.values():
        assert sentence.startswith(WHY)
        assert "router@app1 has it from before" in sentence


def test_each_list_that_cannot_be_read_is_told_of_with_its_file_and_what_would_work(tmp_path: t.Any) -> None:
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----")
    files = {name: str(tmp_path / (name + ".pem")) for name in ("gone", "empty", "key")}
    found = unreadable_lists({**files, "peer/folder": str(tmp_path)})
    assert found["gone"] == (
        "the CA list of gone, trust_file %s, cannot be read: No such file or directory; put CA certificates in PEM"
        " there" % files["gone"]
    )
    assert (
        found["empty"] == "%s has no certificates in PEM that can be read; put CA certificates there" % files["empty"]
    )
    assert "holds a private key; a CA list has certificates only, so take the key out" in found["key"]
    assert found["peer/folder"].startswith(
        "the CA list of folder, trust_file %s, cannot be read: Is a directory" % tmp_path
    )


def test_fleets_without_lists_of_others_are_looked_at_no_further(scene: Scene) -> None:
    wishes = Wishes(scene.model, scene.kinds, scene.addresses)
    blank = dataclasses.replace(scene, wanted={})
    assert pairs_without_list(scene.model, wishes, {}) == {}
    assert instances_that_stay(blank, wishes, [], {}) == {}
