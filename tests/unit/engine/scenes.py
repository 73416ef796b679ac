# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes for the tables of the engine's tests: a small fleet, and what it shows at each stage."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.connsec.tls.plugins.module_utils._core._kind import parse_kind, settle
from ansible_collections.connsec.tls.plugins.module_utils._core._model import Document, Pair, parse_model
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import Ask
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import (
    Scene,
    Wanted,
    clear_probe,
    option_id,
    tls_probe,
)

HOSTS = {"cfg1": "10.0.0.1", "cfg2": "10.0.0.2", "app1": "10.0.0.3", "app2": "10.0.0.4", "db1": "10.0.0.5"}
DECLARED = {
    "shape": "{shape}",
    "interruption": "{interruption}",
    "files": ["{config}"],
    "reload": {"signal": "HUP", "pid_file": "/run/{component}.pid"},
    "environment": "{environment}",
    "sessions": "{sessions}",
    "reads": {
        "permit": [{"file": "{config}", "section": "{listener}", "key": "tls_port", "value": "{secure_port}"}],
        "connect": [{"file": "{config}", "section": "{server}@{server_host}", "key": "tls", "value": "yes"}],
        "verify": [{"file": "{config}", "section": "{server}@{server_host}", "key": "verify", "value": "yes"}],
        "demand": [{"file": "{config}", "section": "{listener}", "key": "verify_client", "value": "require"}],
        "enforce": [{"file": "{config}", "section": "{listener}", "key": "port", "state": "absent"}],
    },
    "settings": {
        "config": {"type": "path", "required": True},
        "shape": {"type": "str", "default": "second_listener"},
        "interruption": {"type": "float", "default": 0},
        "environment": {"type": "dict", "default": {}},
        "sessions": {"type": "dict", "default": {}},
    },
}
MODEL = {
    "hosts": {name: {"os": "linux", "addresses": [address]} for name, address in HOSTS.items()},
    "components": {
        "confserv": {
            "kind": "thing",
            "hosts": ["cfg1", "cfg2"],
            "listeners": {
                "default": {"port": 2020, "secure_port": 2021, "protocol": "configuration", "mode": "mutual"}
            },
        },
        "store": {
            "kind": "thing",
            "hosts": ["db1"],
            "listeners": {"sql": {"port": 5432, "secure_port": 5433, "protocol": "sql"}},
        },
        "router": {"kind": "thing", "hosts": ["app1"]},
        "desk": {"kind": "thing", "hosts": ["app2"]},
    },
    "connections": [
        {"client": "router", "server": "confserv.default", "wave": 1},
        {"client": "desk", "server": "confserv.default", "wave": 1},
        {"client": "router", "server": "store.sql", "wave": 1},
        {"client": "desk", "server": "store.sql", "wave": 2},
    ],
}


def scene_of(
    model: t.Mapping[str, t.Any] = MODEL, settings: t.Mapping[str, t.Mapping[str, t.Any]] | None = None
) -> Scene:
    """Return the fleet before anything was done to it, every listener answering in the clear."""
    parsed = parse_model([Document("tls_connections.yml", model)], list(HOSTS))
    kind = parse_kind("thing", role="kind_thing", source="vars/main.yml", declared=DECLARED)
    instances = {end.name: end for pair in parsed.pairs for end in (pair.client, pair.server)}
    kinds = {
        name: settle(
            kind,
            {"config": "/etc/%s.ini" % end.component, **((settings or {}).get(end.component) or {})},
            instance=name,
            where="tls_settings",
        )
        for name, end in instances.items()
    }
    servers = {pair.server.name for pair in parsed.pairs}
    mutual = {pair.client.name for pair in parsed.pairs if pair.mode == "mutual"}
    wanted = {
        name: Wanted(
            identity=name if name in servers | mutual else None,
            certificate="sha-" + name if name in servers | mutual else None,
            authorities=("connsec",),
            trust=("root",),
            formats=("pem",),
        )
        for name in instances
    }
    return Scene(
        model=parsed,
        kinds=kinds,
        wanted=wanted,
        addresses={name: (address,) for name, address in HOSTS.items()},
        directories=dict.fromkeys(HOSTS, "/etc/connsec"),
        instances={name: {"generation": None, "reads": {}, "sockets": []} for name in instances},
        probes={
            probe: row
            for pair in parsed.pairs
            for probe, row in (
                (clear_probe(pair), {"outcome": "clear"}),
                (tls_probe(pair), {"outcome": "refused", "reason": "connection refused"}),
            )
        },
    )


def with_material(scene: Scene, *names: str) -> Scene:
    """Return the scene after material was installed on these instances, or on all."""
    instances = dict(scene.instances)
    for name in names or tuple(scene.instances):
        wanted = scene.wanted[name]
        manifest = {
            "inputs": {"certificate": wanted.certificate, "trust": list(wanted.trust or ()), "formats": ["pem"]},
            "installed_at": 100.0,
        }
        instances[name] = {**instances[name], "generation": "000001", "manifest": manifest, "drift": []}
    return dataclasses.replace(scene, instances=instances)


def with_options(scene: Scene, stage: str, pair: Pair, *, loaded: bool = True) -> Scene:
    """Return the scene after the options of a stage were written, and loaded."""
    instance = pair.client if stage in ("connect", "verify") else pair.server
    seen = dict(scene.instances[instance.name])
    seen["reads"] = {**seen["reads"], **{option_id(o): o.value for o in scene.options(stage, pair)}}
    if loaded:
        seen["loaded"] = {"generation": seen.get("generation")}
    return dataclasses.replace(scene, instances={**scene.instances, instance.name: seen})


def with_probe(
    scene: Scene, pair: Pair, *, tls: t.Mapping[str, t.Any] | None = None, clear: str | None = None
) -> Scene:
    """Return the scene with other answers to the pair's probes."""
    probes = dict(scene.probes)
    if tls is not None:
        probes[tls_probe(pair)] = tls
    if clear is not None:
        probes[clear_probe(pair)] = {"outcome": clear}
    return dataclasses.replace(scene, probes=probes)


def answers(pair: Pair, **more: t.Any) -> dict[str, t.Any]:
    """Return the answer of a listener that does everything right."""
    return {
        "outcome": "tls",
        "verified": True,
        "security": "mutual" if pair.mode == "mutual" else "verified",
        "protocol": "TLSv1.3",
        "sha256": "sha-" + pair.server.name,
        **more,
    }


def at_stage(scene: Scene, stage: str, *pairs: Pair) -> Scene:
    """Return the scene with these pairs (all, if none are named) at a stage, as the fleet would show it."""
    order = ("plain", "trusted", "presented", "permissive", "switched", "demanded", "enforced")
    reached = order.index(stage)
    if reached >= 2:
        scene = with_material(scene)
    for pair in pairs or scene.model.pairs:
        scene = with_options(scene, "verify", pair, loaded=False)
        if reached >= 3:
            scene = with_options(scene, "permit", pair)
            scene = with_probe(scene, pair, tls=answers(pair))
        if reached >= 4:
            scene = with_options(scene, "connect", pair)
        if reached >= 5 and pair.mode == "mutual":
            scene = with_options(scene, "demand", pair)
            scene = with_probe(scene, pair, tls=answers(pair, demanded=True))
        if reached >= 6:
            scene = with_options(scene, "enforce", pair)
            scene = with_probe(scene, pair, clear="refused")
    return scene


def ask_for(scene: Scene, until: str = "enforced", *, waves: t.Collection[int] = (1, 2), **more: t.Any) -> Ask:
    """Return a request for the pairs of some waves."""
    return Ask(scope=frozenset(pair.id for pair in scene.model.pairs if pair.wave in waves), until=until, **more)
