# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes for the tables of the engine's tests: a small fleet, and what it shows at each stage."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.connsec.tls.plugins.module_utils._core._kind import parse_kind
from ansible_collections.connsec.tls.plugins.module_utils._core._kind_settings import settle
from ansible_collections.connsec.tls.plugins.module_utils._core._model import Document, Pair, parse_model
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import SeenInstance, SeenProbe, Session
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import (
    HeldIdentity,
    Scene,
    Wanted,
    clear_probe,
    option_id,
    tls_probe,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import steps_of
from ansible_collections.connsec.tls.plugins.module_utils._core._survey import Ask

HOSTS = {"cfg1": "10.0.0.1", "cfg2": "10.0.0.2", "app1": "10.0.0.3", "app2": "10.0.0.4", "db1": "10.0.0.5"}
DECLARED = {
    "shape": "{shape}",
    "interruption": "{interruption}",
    "files": ["{config}"],
    "reload": {"signal": "HUP", "pid_file": "/run/{component}.pid"},
    "restart": {"service": "{component}.service"},
    "process": {"pid_file": "/run/{component}.pid"},
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
#: What blocks a connection: somebody decided not to protect it.
DECIDED = {"secure": False, "reason": "old", "approver": "Anna", "until": "2030-01-01"}


def with_connection(number: int, **more: t.Any) -> dict[str, t.Any]:
    """Return the model with more fields of one of its connections."""
    rows = [{**row, **(more if at == number else {})} for at, row in enumerate(MODEL["connections"])]
    return {**MODEL, "connections": rows}


def scene_of(
    model: t.Mapping[str, t.Any] | None = None, settings: t.Mapping[str, t.Mapping[str, t.Any]] | None = None
) -> Scene:
    """Return the fleet before anything was done to it, every listener answering in the clear."""
    parsed = parse_model([Document("tls_connections.yml", model or MODEL)], list(HOSTS))
    kind = parse_kind("thing", role="kind_thing", source="vars/main.yml", declared=DECLARED)
    ends = {end.name: end for pair in parsed.pairs for end in (pair.client, pair.server)}
    instances = {name: end for name, end in ends.items() if parsed.managed(end)}
    kinds = {
        name: settle(
            kind,
            {"config": "/etc/%s.ini" % end.component, **((settings or {}).get(end.component) or {})},
            instance=name,
            where="tls_settings",
        )
        for name, end in instances.items()
    }
    held: dict[str, dict[str, HeldIdentity]] = {}
    for each, end in ((pair, end) for pair in parsed.pairs for end in pair.ends):
        presented = parsed.presented_in(each, end)
        for name in (presented, *parsed.components[end.component].reserved):
            if name is not None:
                folder = parsed.identity_folder(end, name)
                held.setdefault(end.name, {})[name] = HeldIdentity(name, folder, "sha-" + name)
    wanted = {
        name: Wanted(
            identities=held.get(name, {}),
            authorities=("connsec",),
            trust=("root",),
            formats=("pem",),
        )
        for name in instances
    }
    blank = Scene(
        model=parsed,
        kinds=kinds,
        wanted=wanted,
        addresses={name: (address,) for name, address in HOSTS.items()},
        directories=dict.fromkeys(HOSTS, "/etc/connsec"),
        instances={name: SeenInstance() for name in instances},
        probes={
            probe: row
            for pair in parsed.pairs
            for probe, row in (
                (clear_probe(pair), SeenProbe("clear", security="clear")),
                (tls_probe(pair), SeenProbe("refused", "connection_refused", reason="connection refused")),
            )
        },
    )
    for pair in parsed.pairs:
        if not pair.blocked:
            blank = _nothing_set(blank, pair)
    return blank


def _nothing_set(scene: Scene, pair: Pair) -> Scene:
    """Return the scene with every option of a pair read, and none of them set; servers list no sessions yet."""
    for stage in (*steps_of(pair), "verify"):
        end = pair.end_of(stage)
        if not scene.ours(end):
            continue
        reads = {option_id(option): None for option in scene.options(stage, pair)}
        scene = showing(scene, end.name, reads={**reads, **scene.seen(end).reads})
    if scene.ours(pair.server) and scene.kinds[pair.server.name].sessions:
        scene = showing(scene, pair.server.name, sessions=())
    return scene


def with_material(scene: Scene, *names: str) -> Scene:
    """Return the scene after material was installed on these instances, or on all."""
    for name in names or tuple(scene.instances):
        wanted = scene.wanted[name]
        identities = {folder: {"certificate": each.certificate} for folder, each in wanted.placed.items()}
        inputs = {"identities": identities, "trust": list(wanted.trust or ()), "formats": ["pem"]}
        scene = showing(scene, name, generation="000001", inputs=inputs, installed_at=100.0)
    return scene


def showing(scene: Scene, name: str, **more: t.Any) -> Scene:
    """Return the scene with something else seen of an instance."""
    seen = dataclasses.replace(scene.instances[name], **more)
    return dataclasses.replace(scene, instances={**scene.instances, name: seen})


def with_options(scene: Scene, stage: str, pair: Pair, *, loaded: bool = True) -> Scene:
    """Return the scene after the options of a stage were written, and loaded."""
    instance = pair.end_of(stage)
    if not scene.ours(instance):
        return scene
    seen = scene.seen(instance)
    reads = {**seen.reads, **{option_id(o): o.value for o in scene.options(stage, pair)}}
    return showing(scene, instance.name, reads=reads, loaded=seen.generation if loaded else seen.loaded)


def with_probe(scene: Scene, pair: Pair, *, tls: SeenProbe | None = None, clear: str | None = None) -> Scene:
    """Return the scene with other answers to the pair's probes."""
    probes = dict(scene.probes)
    if tls is not None:
        probes[tls_probe(pair)] = tls
    if clear is not None:
        kind = "connection_refused" if clear == "refused" else ""
        probes[clear_probe(pair)] = SeenProbe(clear, kind, reason=clear)
    return dataclasses.replace(scene, probes=probes)


def answers(pair: Pair, **more: t.Any) -> SeenProbe:
    """Return the answer of a listener that does everything right, and presents its instance's own identity."""
    sha256 = "sha-" + pair.server.name
    security = "mutual" if pair.mode == "mutual" else "verified"
    good = SeenProbe("tls", verified=True, security=security, protocol="TLSv1.3", sha256=sha256)
    return dataclasses.replace(good, **more)


def at_stage(scene: Scene, stage: str, *pairs: Pair) -> Scene:
    """Return the scene with these pairs (all, if none are named) at a stage, as the fleet would show it."""
    order = ("plain", "trusted", "presented", "permissive", "switched", "demanded", "enforced")
    reached = order.index(stage)
    if reached >= 2:
        scene = with_material(scene)
    for pair in pairs or scene.model.pairs:
        scene = with_options(scene, "verify", pair, loaded=False)
        presented = "sha-" + scene.model.identity_in(pair, pair.server)
        if reached >= 3:
            scene = with_options(scene, "permit", pair)
            scene = with_probe(scene, pair, tls=answers(pair, sha256=presented))
        if reached >= 4:
            scene = with_options(scene, "connect", pair)
        if reached >= 5 and pair.mode == "mutual":
            scene = with_options(scene, "demand", pair)
            scene = with_probe(scene, pair, tls=answers(pair, sha256=presented, demanded=True, foreign="refused"))
        if reached >= 6:
            scene = with_options(scene, "enforce", pair)
            refused = dataclasses.replace(scene.tls(pair), old_protocols={"TLSv1.1": "refused"})
            scene = with_probe(scene, pair, tls=refused, clear="refused")
    return scene


def with_sessions(scene: Scene, *pairs: Pair, **more: t.Any) -> Scene:
    """Return the scene with a TLS session of each of these pairs in its server's list."""
    for number, pair in enumerate(pairs, start=40000):
        verified = pair.mode == "mutual"
        row = Session("%s:%d" % (HOSTS[pair.client.host], number), tls=True, verified=verified)
        listed = scene.seen(pair.server).sessions or ()
        scene = showing(scene, pair.server.name, sessions=(*listed, dataclasses.replace(row, **more)))
    return scene


def ask_for(scene: Scene, until: str = "enforced", *, waves: t.Collection[int] = (1, 2), **more: t.Any) -> Ask:
    """Return a request for the pairs of some waves."""
    return Ask(scope=frozenset(pair.id for pair in scene.model.pairs if pair.wave in waves), until=until, **more)
