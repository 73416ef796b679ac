# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage table: where a pair of instances stands, seen from what the fleet shows; private to this collection.

Each stage has one gate. A pair stands at the last stage up to which all gates hold. A gate reads observations only:
it never knows what a task claimed.
"""

from __future__ import annotations

import typing as t

from ._entities import Instance, Pair
from ._scene import Evidence, Scene, clear_probe, tls_probe, unset

STAGES: t.Final = ("plain", "trusted", "presented", "permissive", "switched", "demanded", "enforced")

#: Outcomes of a plaintext probe that mean: nobody answers in the clear here.
REFUSED: t.Final = ("refused", "closed", "reset", "alert", "tls")


def rank(stage: str) -> int:
    """Return how far a stage is."""
    return STAGES.index(stage)


def stages_of(pair: Pair) -> tuple[str, ...]:
    """Return the stages that this pair goes through; a listener that is ``simple`` demands nothing."""
    return STAGES if pair.mode == "mutual" else tuple(stage for stage in STAGES if stage != "demanded")


def examine(scene: Scene, pair: Pair) -> tuple[Evidence, ...]:
    """Return the evidence of each gate in order, up to and with the first that does not hold."""
    if scene.remembered is not None:
        return _remembered(pair, scene.remembered.get(pair.id, "plain"))
    found: list[Evidence] = []
    for gate in (_reach, *(GATES[stage] for stage in stages_of(pair))):
        evidence = gate(scene, pair)
        if evidence is None:
            continue
        found.append(evidence)
        if not evidence.holds:
            break
    return tuple(found)


def _remembered(pair: Pair, stage: str) -> tuple[Evidence, ...]:
    """Return what the ledger says as evidence: good for a plan, never for a gate."""
    found = [
        Evidence(name, True, "the ledger has it", "the ledger has it")
        for name in stages_of(pair)
        if rank(name) <= rank(stage)
    ]
    following = [name for name in stages_of(pair) if rank(name) > rank(stage)]
    if following:
        found.append(
            Evidence(following[0], False, "the ledger has it", "the ledger says %s" % stage, fault="remembered")
        )
    return tuple(found)


def stage_of(evidence: t.Sequence[Evidence]) -> str:
    """Return the stage that the evidence shows."""
    held = [item.gate for item in evidence if item.holds]
    return held[-1] if held else "plain"


def _reach(scene: Scene, pair: Pair) -> Evidence | None:
    for end in (pair.client, pair.server):
        if end.host in scene.lost:
            return Evidence(
                "reach",
                False,
                "%s answers Ansible" % end.host,
                scene.lost[end.host],
                todo="make %s reachable and run again" % end.host,
                fault="unreachable",
            )
    return None


def _plain(scene: Scene, pair: Pair) -> Evidence:
    expected = "the listener answers, in the clear or over TLS"
    clear, tls = scene.probes.get(clear_probe(pair)), scene.probes.get(tls_probe(pair))
    if clear is None and tls is None:
        return Evidence("reach", False, expected, "nobody looked from %s" % pair.client.host, fault="unseen")
    if clear and clear["outcome"] == "clear":
        return Evidence("plain", True, expected, "answers in the clear", security="clear")
    if tls and tls["outcome"] == "tls":
        return Evidence("plain", True, expected, "answers over TLS", security=tls.get("security") or "")
    seen = (clear or tls or {}).get("reason") or "neither answers"
    return Evidence(
        "plain", False, expected, str(seen), todo="start %s, or correct its port" % pair.server.name, fault="silent"
    )


def _trusted(scene: Scene, pair: Pair) -> Evidence:
    receivers = [pair.client, pair.server] if pair.mode == "mutual" else [pair.client]
    expected = "%s %s the planned CA list" % (_names(receivers), "holds" if len(receivers) == 1 else "hold")
    for receiver in receivers:
        fault = _material_fault(scene, receiver, what="trust")
        if fault:
            return Evidence("trusted", False, expected, "%s: %s" % (receiver.name, fault), fault="material")
    return Evidence("trusted", True, expected, "the planned CA list is installed")


def _presented(scene: Scene, pair: Pair) -> Evidence:
    presenters = [pair.server, pair.client] if pair.mode == "mutual" else [pair.server]
    expected = "%s %s the planned key and certificate" % (
        _names(presenters),
        "holds" if len(presenters) == 1 else "hold",
    )
    for presenter in presenters:
        fault = _material_fault(scene, presenter, what="certificate")
        if fault:
            return Evidence("presented", False, expected, "%s: %s" % (presenter.name, fault), fault="material")
    for end in (pair.server, pair.client):
        fault = environment_fault(scene, end)
        if fault:
            return Evidence("presented", False, expected, "%s: %s" % (end.name, fault), fault="environment")
        if reload_is_due(scene, end):
            seen = "%s: a reload is noted and has not happened" % end.name
            return Evidence("presented", False, expected, seen, fault="stale")
    return Evidence("presented", True, expected, "key, certificate and chain are installed")


def _permissive(scene: Scene, pair: Pair) -> Evidence:
    expected = "a verified handshake with %s from %s" % (pair.dial, pair.client.host)
    missing = unset(scene, "permit", pair)
    if missing:
        return Evidence("permissive", False, expected, "%s is not set" % missing[0].place, fault="setting")
    if _pending(scene, pair.server, pair, stage="permit"):
        return Evidence("permissive", False, expected, "a step on %s is unfinished" % pair.server.name, fault="pending")
    probe = scene.probes.get(tls_probe(pair), {})
    if probe.get("outcome") != "tls":
        return Evidence(
            "permissive",
            False,
            expected,
            str(probe.get("reason") or "nobody looked"),
            todo="look at the log of %s" % pair.server.name,
            fault="handshake",
        )
    if not probe.get("verified"):
        return Evidence(
            "permissive",
            False,
            expected,
            str(probe.get("reason")),
            todo="see which certificate %s presents and which CA list %s reads" % (pair.server.name, pair.client.name),
            security="tls_unverified",
            fault="stale" if _serves_other(scene, pair) else "handshake",
        )
    if _serves_other(scene, pair):
        return Evidence(
            "permissive",
            False,
            "%s presents what is installed" % pair.server.name,
            "it still presents another certificate",
            security="verified",
            fault="stale",
        )
    return Evidence(
        "permissive",
        True,
        expected,
        "%s, verified as %s" % (probe.get("protocol"), pair.dial),
        security=str(probe.get("security") or "verified"),
    )


def _switched(scene: Scene, pair: Pair) -> Evidence:
    expected = "%s uses TLS and verifies" % pair.client.name
    missing = unset(scene, "connect", pair)
    if missing:
        return Evidence(
            "switched", False, expected, "%s is not set" % missing[0].place, fault="setting", security="clear"
        )
    if _pending(scene, pair.client, pair, stage="connect"):
        return Evidence("switched", False, expected, "a step on %s is unfinished" % pair.client.name, fault="pending")
    if stale_client(scene, pair.client):
        return Evidence(
            "switched", False, expected, "%s has not loaded what is installed" % pair.client.name, fault="stale"
        )
    unverified = unset(scene, "verify", pair)
    if unverified:
        return Evidence(
            "switched",
            False,
            expected,
            "it does not verify: %s is not %r" % (unverified[0].place, unverified[0].value),
            todo="make %s verify its servers" % pair.client.name,
            security="tls_unverified",
            fault="unverified",
        )
    clear, tls = sessions(scene, pair)
    security = str(scene.probes.get(tls_probe(pair), {}).get("security") or "verified")
    if clear:
        return Evidence(
            "switched",
            False,
            expected,
            "a clear session is left: %s" % clear[0],
            todo="end the clear session of %s, or restart it" % pair.client.name,
            security="clear",
            fault="leftover",
        )
    if tls:
        return Evidence("switched", True, expected, "a TLS session: %s" % tls[0], security=security, live=True)
    return Evidence("switched", True, expected, "its setting reads back; no session at the moment", security=security)


def _demanded(scene: Scene, pair: Pair) -> Evidence:
    expected = "%s refuses a client without a certificate" % pair.server.name
    missing = unset(scene, "demand", pair)
    if missing:
        return Evidence("demanded", False, expected, "%s is not set" % missing[0].place, fault="setting")
    if _pending(scene, pair.server, pair, stage="demand"):
        return Evidence("demanded", False, expected, "a step on %s is unfinished" % pair.server.name, fault="pending")
    probe = scene.probes.get(tls_probe(pair), {})
    if probe.get("demanded") is not True:
        return Evidence("demanded", False, expected, "it lets one in", security="verified", fault="handshake")
    if probe.get("foreign") == "accepted":
        return Evidence("demanded", False, expected, "it lets a foreign CA's certificate in", fault="handshake")
    return Evidence("demanded", True, expected, "a client without a certificate is refused", security="mutual")


def _enforced(scene: Scene, pair: Pair) -> Evidence:
    expected = "plaintext to %s is refused" % pair.server.name
    missing = unset(scene, "enforce", pair)
    if missing:
        return Evidence("enforced", False, expected, "%s is not set" % missing[0].place, fault="setting")
    if _pending(scene, pair.server, pair, stage="enforce"):
        return Evidence("enforced", False, expected, "a step on %s is unfinished" % pair.server.name, fault="pending")
    clear = scene.probes.get(clear_probe(pair), {})
    if clear.get("outcome") not in REFUSED:
        return Evidence(
            "enforced", False, expected, str(clear.get("reason") or "it answers in the clear"), fault="clear"
        )
    probe = scene.probes.get(tls_probe(pair), {})
    for protocol, answer in sorted((probe.get("old_protocols") or {}).items()):
        if answer == "accepted":
            return Evidence("enforced", False, "no old protocol version", "%s is accepted" % protocol, fault="protocol")
    return Evidence(
        "enforced", True, expected, "plaintext is refused", security=str(probe.get("security") or "verified")
    )


GATES: t.Final[t.Mapping[str, t.Callable[[Scene, Pair], Evidence]]] = {
    "plain": _plain,
    "trusted": _trusted,
    "presented": _presented,
    "permissive": _permissive,
    "switched": _switched,
    "demanded": _demanded,
    "enforced": _enforced,
}


def _names(instances: t.Sequence[Instance]) -> str:
    return " and ".join(instance.name for instance in instances)


def _material_fault(scene: Scene, instance: Instance, *, what: str) -> str | None:
    """Return why the installed material is not the planned one, if it is not."""
    seen, wanted = scene.instances.get(instance.name, {}), scene.wanted[instance.name]
    if not seen.get("generation"):
        return "no generation is installed"
    if seen.get("drift"):
        return str(seen["drift"][0])
    inputs = (seen.get("manifest") or {}).get("inputs") or {}
    if what == "trust" and (wanted.trust is None or sorted(inputs.get("trust") or ()) != sorted(wanted.trust)):
        return "another CA list is installed"
    if what == "certificate" and (wanted.certificate is None or inputs.get("certificate") != wanted.certificate):
        return "another certificate is installed" if inputs.get("certificate") else "no certificate is installed"
    return None


def environment_fault(scene: Scene, instance: Instance) -> str | None:
    """Return which variable the running process lacks, if its kind declares an environment."""
    kind = scene.kinds[instance.name]
    if not kind.environment:
        return None
    process = scene.instances.get(instance.name, {}).get("process") or {}
    has = process.get("variables") or {}
    for name, value in sorted(variables(scene, instance).items()):
        if value not in str(has.get(name) or "").split(":") and has.get(name) != value:
            return "the running process does not have %s" % name
    return None


def reload_is_due(scene: Scene, instance: Instance) -> bool:
    """Return whether a run that was killed left a reload of the instance open."""
    pending = scene.instances.get(instance.name, {}).get("pending") or {}
    return (pending.get("step") or {}).get("stage") == "load"


def variables(scene: Scene, instance: Instance) -> dict[str, str]:
    """Return the environment variables that the instance's kind asks for, paths put in."""
    words = scene.paths(instance)
    asked = scene.kinds[instance.name].environment.get("variables") or {}
    filled = {}
    for name, value in asked.items():
        for word, path in words.items():
            value = str(value).replace("{%s}" % word, path)
        filled[str(name)] = str(value)
    return filled


def _pending(scene: Scene, instance: Instance, pair: Pair, *, stage: str) -> bool:
    """Return whether a step of this stage that moves this pair is under way on the instance."""
    step = (scene.instances.get(instance.name, {}).get("pending") or {}).get("step") or {}
    moved = step.get("of") or []
    return step.get("stage") == stage and (pair.id in moved or pair.listener.name in moved)


def _serves_other(scene: Scene, pair: Pair) -> bool:
    """Return whether the listener presents another certificate than the one that is installed for it."""
    wanted = scene.wanted[pair.server.name].certificate
    served = scene.probes.get(tls_probe(pair), {}).get("sha256")
    return bool(wanted and served and served != wanted)


def stale_client(scene: Scene, instance: Instance) -> bool:
    """Return whether the process runs with an earlier generation than the installed one.

    It has loaded the installed one if our last reload says so, or if it was started after the generation was installed.
    """
    seen = scene.instances.get(instance.name, {})
    loaded, generation = seen.get("loaded") or {}, seen.get("generation")
    if not generation or loaded.get("generation") == generation:
        return False
    started = (seen.get("process") or {}).get("started")
    installed = (seen.get("manifest") or {}).get("installed_at")
    return not (started and installed and started > installed)


def sessions(scene: Scene, pair: Pair) -> tuple[list[str], list[str]]:
    """Return the pair's clear and TLS sessions as the server's session list or the client's own sockets show them.

    On a second listener the port tells them apart. On one port sockets cannot, and the server has to list its sessions.
    """
    clear: list[str] = []
    tls: list[str] = []
    client_addresses = set(scene.addresses.get(pair.client.host, ()))
    listed = scene.instances.get(pair.server.name, {}).get("sessions") or []
    one_port = scene.shape(pair) != "second_listener"
    if one_port:
        for session in listed:
            if session.get("listener") not in (None, pair.listener.name):
                continue
            if session.get("ended") and not session.get("tls"):
                continue
            if str(session.get("peer", "")).rpartition(":")[0].strip("[]") in client_addresses and not _others(
                scene, pair, session
            ):
                (tls if session.get("tls") else clear).append(str(session["peer"]))
        return clear, tls
    clear, tls = own_sessions(scene, pair)
    if listed and tls:
        answered = {row["peer"].rpartition(":")[0].strip("[]") for row in listed if row.get("tls") and row.get("peer")}
        tls = tls if answered & client_addresses else []
    return clear, tls


def own_sessions(scene: Scene, pair: Pair) -> tuple[list[str], list[str]]:
    """Return the pair's sessions as the client's own sockets show them, on a listener with a port for each kind.

    A connection that came and went while we looked counts as use of TLS. For plaintext only one that is there now
    counts: the watch before enforcement finds the others.
    """
    clear: list[str] = []
    tls: list[str] = []
    targets = {*scene.addresses.get(pair.server.host, ()), pair.dial}
    seen = scene.instances.get(pair.client.name, {})
    rows = [{**row, "now": True, "new": False} for row in seen.get("sockets") or () if row.get("owned", True)]
    for row in (*rows, *(seen.get("recent") or ())):
        address, _, port = str(row.get("peer", "")).rpartition(":")
        if address.strip("[]") not in targets:
            continue
        open_now = row.get("state") == "ESTABLISHED" and row.get("now")
        words = "%s to %s" % (row.get("local"), row["peer"])
        if port == str(pair.listener.port) and open_now:
            clear.append(words)
        elif port == str(pair.listener.secure_port) and (open_now or row.get("new")):
            tls.append(words)
    return clear, tls


def _others(scene: Scene, pair: Pair, session: t.Mapping[str, t.Any]) -> bool:
    """Return whether a listed session belongs to another client instance on the same host.

    The client's own sockets tell, where they were seen; a session that nobody claims is held to be the pair's.
    """
    local = str(session.get("peer"))
    owners = {
        name
        for name, seen in scene.instances.items()
        for socket in seen.get("sockets") or []
        if socket.get("local") == local and socket.get("state") == "ESTABLISHED"
    }
    return bool(owners) and pair.client.name not in owners
