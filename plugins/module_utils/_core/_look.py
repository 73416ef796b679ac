# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to look at: the request of one host, whose one answer serves all gates; private to this collection."""

from __future__ import annotations

import typing as t

from ._entities import Instance, Pair
from ._kind import Option
from ._scene import CLIENT_STAGES, Scene, clear_probe, option_id, tls_probe
from ._stages import own_sessions, variables

#: Seconds after which a probe gives up.
PROBE_TIMEOUT: t.Final = 5.0
#: Seconds between two samples of a watch.
SAMPLE: t.Final = 0.05
#: Seconds for which a session has to last before it counts as held.
HOLD: t.Final = 0.3


def host_request(
    scene: Scene,
    host: str,
    *,
    instances: t.Iterable[Instance],
    pairs: t.Iterable[Pair],
    thorough: bool = False,
    foreign: t.Mapping[str, str] | None = None,
) -> dict[str, t.Any]:
    """Return what ``observe`` is asked on one host.

    Args:
        scene: the model and the kinds.
        host: the host.
        instances: the instances whose files, settings and process are wanted; those of other hosts are left out.
        pairs: the pairs that are probed; only those whose client is on this host.
        thorough: also try old protocol versions.
        foreign: a certificate and key of an authority that nobody trusts, to be refused by listeners that demand.
    """
    mine = {instance.name: instance for instance in instances if instance.host == host}
    return {
        "directory": scene.directories[host],
        "instances": [_instance(scene, mine[name]) for name in sorted(mine)],
        "probes": [
            probe
            for pair in sorted(pairs, key=lambda pair: pair.id)
            if pair.client.host == host
            for probe in _probes(scene, pair, thorough=thorough, foreign=foreign)
        ],
    }


def watch_of(
    scene: Scene, host: str, *, listeners: t.Iterable[tuple[Instance, str]], seconds: float
) -> dict[str, t.Any]:
    """Return the part of a request that watches the peers of clear listeners of a host for some seconds."""
    rows = [
        {
            "id": listener_id(server, name),
            "address": _only_address(scene, host),
            "port": scene.model.components[server.component].listeners[name].port,
        }
        for server, name in listeners
    ]
    return {"seconds": seconds, "interval": SAMPLE, "listeners": rows}


def listener_id(server: Instance, name: str) -> str:
    """Return how a watch calls a listener: ``component.listener@host``."""
    return "%s.%s@%s" % (server.component, name, server.host)


def settle_rows(scene: Scene, pairs: t.Iterable[Pair], *, host: str, seconds: float) -> list[dict[str, t.Any]]:
    """Return what to wait for after clients were switched: a TLS session of each, and no clear one.

    The client's host sees it in the client's own sockets; on one port the server has to list its sessions. A client
    that held a session before has to hold one for a moment: a handshake that fails also makes a connection.
    """
    rows = []
    for pair in pairs:
        if scene.shape(pair) == "second_listener" and pair.client.host == host:
            targets = sorted({pair.dial, *scene.addresses.get(pair.server.host, ())})
            rows.append(
                {
                    "instance": pair.client.name,
                    "present": ["%s:%s" % (address, pair.listener.secure_port) for address in targets],
                    "absent": ["%s:%s" % (address, pair.listener.port) for address in targets],
                    "hold": HOLD if any(own_sessions(scene, pair)) else 0.0,
                    "seconds": seconds,
                }
            )
    return rows


def _instance(scene: Scene, instance: Instance) -> dict[str, t.Any]:
    kind = scene.kinds[instance.name]
    environment = kind.environment
    return {
        "name": instance.name,
        "folder": instance.component,
        "account": kind.account,
        "process": dict(kind.process),
        "environment": {key: value for key, value in environment.items() if key != "variables"} or None,
        "variables": variables(scene, instance) if environment else {},
        "reads": [
            {"id": option_id(o), "file": o.file, "format": o.format, "section": o.section, "key": o.key}
            for o in _options(scene, instance)
        ],
        "sessions": dict(kind.sessions) or None,
        "sockets": any(pair.client.name == instance.name for pair in scene.pairs_at(instance)),
    }


def _options(scene: Scene, instance: Instance) -> list[Option]:
    """Return every option of every stage that this instance's files may hold, each place once."""
    found: dict[str, Option] = {}
    for pair in scene.pairs_at(instance):
        stages = []
        if pair.server.name == instance.name:
            stages += ["permit", "enforce"] + (["demand"] if pair.mode == "mutual" else [])
        if pair.client.name == instance.name:
            stages += CLIENT_STAGES
        for stage in stages:
            for option in scene.options(stage, pair):
                found.setdefault(option_id(option), option)
    return [found[name] for name in sorted(found)]


def _probes(
    scene: Scene, pair: Pair, *, thorough: bool, foreign: t.Mapping[str, str] | None
) -> t.Iterator[dict[str, t.Any]]:
    shape = scene.shape(pair)
    listener = pair.listener
    protocol = listener.protocol if shape == "same_port" else "tls"
    common = {
        "address": pair.dial,
        "name": pair.dial,
        "source": _only_address(scene, pair.client.host),
        "timeout": PROBE_TIMEOUT,
    }
    paths = scene.paths(pair.client)
    mutual = pair.mode == "mutual"
    yield {
        **common,
        "id": tls_probe(pair),
        "tls": True,
        "protocol": protocol,
        "port": listener.secure_port if shape == "second_listener" else listener.port,
        "trust": paths["trust"],
        "certificate": paths["fullchain"] if mutual else None,
        "key": paths["key"] if mutual else None,
        "demand": mutual,
        "old_protocols": thorough,
        **({"foreign": dict(foreign)} if foreign and mutual else {}),
    }
    yield {
        **common,
        "id": clear_probe(pair),
        "tls": False,
        "protocol": listener.protocol if shape == "same_port" else "tls",
        "port": listener.port,
    }


def _only_address(scene: Scene, host: str) -> str | None:
    addresses = scene.addresses.get(host, ())
    return addresses[0] if addresses else None
