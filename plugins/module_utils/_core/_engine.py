# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a plan: which steps of a round may start, and what their gates say afterwards; private to this collection.

Nothing here believes a task. A step that was started is judged by what is seen afterwards; what a task said only lends
its words to the message.
"""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field

from ._entities import Instance, Pair
from ._look import listener_id
from ._plan import Ask, Round, Step, Survey, material_fault
from ._scene import Evidence, Scene, clear_probe, tls_probe
from ._stages import GATES, environment_fault, own_sessions, rank, sessions

#: Faults of the ``switched`` gate that wait for somebody, instead of telling that the step was wrong.
PATIENT: t.Final = ("leftover",)


@dataclass(frozen=True)
class Hold:
    """Why a step is not started, or what its gate refuted; ``waiting`` if that is nobody's fault."""

    evidence: Evidence
    waiting: bool


@dataclass(frozen=True)
class Verdict:
    """What the gates of a round say.

    Attributes:
        reverse: started steps to take back, each with the evidence against it.
        notes: per pair, what kept it back.
        down: instances that are not to be relied on: a member of theirs is not touched.
    """

    reverse: tuple[tuple[Step, Evidence], ...] = ()
    notes: t.Mapping[str, Hold] = field(default_factory=dict)
    down: frozenset[str] = frozenset()


def may_start(
    scene: Scene, ask: Ask, step: Step, *, down: t.Collection[str], watched: t.Mapping[str, t.Any]
) -> Hold | None:
    """Return why the step may not start now; None if it may.

    Args:
        scene: the newest that was seen.
        ask: what was asked for.
        step: the step.
        down: instances that do not answer as before.
        watched: what the watch of this round saw, per listener (``component.listener@host``).
    """
    if step.instance.host in scene.lost:
        return _hold("reach", "%s answers Ansible" % step.instance.host, scene.lost[step.instance.host])
    members = {pair.server.name for pair in scene.model.pairs if pair.server.component == step.instance.component}
    for member in sorted((members | set(down)) - {step.instance.name}):
        if member in down and member.partition("@")[0] == step.instance.component:
            return _hold(
                "reach",
                "%s answers as before" % member,
                "its step failed or it is silent; %s is left alone" % step.instance.name,
            )
    if step.reverse or scene.check_mode:
        return None
    return _START[step.stage](scene, ask, step, watched)


def _hold(gate: str, expected: str, seen: str, *, todo: str = "", waiting: bool = False, fault: str = "held") -> Hold:
    return Hold(Evidence(gate, False, expected, seen, todo=todo, fault=fault), waiting)


def _start_load(scene: Scene, ask: Ask, step: Step, watched: t.Mapping[str, t.Any]) -> Hold | None:
    fault = material_fault(scene, step.instance)
    return _hold("presented", "%s holds its material" % step.instance.name, fault) if fault else None


def _start_permit(scene: Scene, ask: Ask, step: Step, watched: t.Mapping[str, t.Any]) -> Hold | None:
    fault = material_fault(scene, step.instance) or environment_fault(scene, step.instance)
    return _hold("presented", "%s holds its material" % step.instance.name, fault) if fault else None


def _start_connect(scene: Scene, ask: Ask, step: Step, watched: t.Mapping[str, t.Any]) -> Hold | None:
    for pair in _pairs(scene, step):
        for gate in ("trusted", "presented", "permissive"):
            evidence = GATES[gate](scene, pair)
            if not evidence.holds:
                return Hold(evidence, waiting=False)
    return None


def _start_demand(scene: Scene, ask: Ask, step: Step, watched: t.Mapping[str, t.Any]) -> Hold | None:
    survey = Survey(scene, ask)
    for pair in _clients(scene, step):
        hold = _not_switched(survey, pair) or _not_presenting(scene, pair)
        if hold:
            return hold
    return None


def _start_enforce(scene: Scene, ask: Ask, step: Step, watched: t.Mapping[str, t.Any]) -> Hold | None:
    survey = Survey(scene, ask)
    for pair in _clients(scene, step):
        if scene.shape(pair) == "flip":
            for gate in ("trusted", "presented"):
                evidence = GATES[gate](scene, pair)
                if not evidence.holds:
                    return Hold(evidence, waiting=False)
            continue
        hold = _not_switched(survey, pair)
        if hold:
            return hold
        if pair.mode == "mutual":
            evidence = GATES["demanded"](scene, pair)
            if not evidence.holds:
                return Hold(evidence, waiting=False)
    return strangers(scene, step.instance, step.of, watched)


_START: t.Final[t.Mapping[str, t.Callable[[Scene, Ask, Step, t.Mapping[str, t.Any]], Hold | None]]] = {
    "load": _start_load,
    "permit": _start_permit,
    "connect": _start_connect,
    "demand": _start_demand,
    "enforce": _start_enforce,
}


def strangers(
    scene: Scene, server: Instance, listeners: t.Iterable[str], watched: t.Mapping[str, t.Any]
) -> Hold | None:
    """Return who still uses these clear listeners of an instance, the first that is found.

    A peer belongs to the hosts that have its address. Connections that had ended before the watch began do not count.
    """
    for name in listeners:
        listener = listener_id(server, name)
        if listener not in watched:
            return _hold("enforced", "the peers of %s were watched" % listener, "nobody watched them")
        pairs = scene.model.pairs_of_listener(server.name, name)
        hold = _stranger_at(scene, listener, pairs, watched[listener].get("peers", ()))
        if hold is not None:
            return hold
    return None


def _stranger_at(
    scene: Scene, listener: str, pairs: t.Sequence[Pair], peers: t.Iterable[t.Mapping[str, t.Any]]
) -> Hold | None:
    one_port = scene.shape(pairs[0]) != "second_listener"
    known = {address: pair for pair in pairs for address in scene.addresses.get(pair.client.host, ())}
    for peer in peers:
        address = str(peer["address"])
        if peer.get("state") == "TIME_WAIT" and not peer.get("new"):
            continue
        if address not in known:
            return _stranger(listener, address, ask_for=", which no enumerated client has")
        if not one_port:
            return _stranger(listener, address, ask_for=", a clear session of %s" % known[address].client.name)
    if scene.shape(pairs[0]) == "same_port":
        for pair in pairs:
            clear, _ = sessions(scene, pair)
            if clear:
                return _stranger(listener, clear[0], ask_for=", a clear session of %s" % pair.client.name)
    return None


def _stranger(listener: str, address: str, *, ask_for: str) -> Hold:
    return _hold(
        "enforced",
        "nobody uses %s in the clear" % listener,
        "%s%s" % (address, ask_for),
        todo="move it to TLS, enumerate it, or end its session; then run again",
        waiting=True,
        fault="stranger",
    )


def judge(
    scene: Scene, before: Scene, this: Round, *, started: t.Sequence[Step], failures: t.Mapping[str, str]
) -> Verdict:
    """Return what the gates say of the steps that were started.

    Args:
        scene: what is seen after them.
        before: what had been seen before the round.
        this: the round.
        started: the steps of it that were let go.
        failures: what tasks said of the steps that they failed, by target.
    """
    if scene.check_mode:
        return Verdict()
    against: dict[str, Evidence] = {}
    notes: dict[str, Hold] = {}
    down = set()
    for step in started:
        evidence = _against(scene, before, step, failures.get(step.target))
        if evidence is not None:
            against[step.target] = evidence
            for pair_id in step.pairs:
                notes[pair_id] = Hold(evidence, waiting=evidence.fault in PATIENT)
        for pair in _pairs(scene, step):
            gate = _gate_of(scene, before, step, pair)
            if gate is not None and pair.id not in notes:
                notes[pair.id] = Hold(gate, waiting=gate.fault in PATIENT)
        if _is_down(scene, before, step):
            down.add(step.instance.name)
    takes_back = [
        (step, against[step.target])
        for step in started
        if step.target in against and _reversible(step, against[step.target])
    ]
    if this.together and against:
        reason = next(iter(against.values()))
        takes_back = [
            (step, against.get(step.target, reason)) for step in started if step.instance.host not in scene.lost
        ]
    return Verdict(reverse=tuple(takes_back), notes=notes, down=frozenset(down))


def _reversible(step: Step, evidence: Evidence) -> bool:
    return step.stage != "load" and not step.reverse and evidence.fault not in (*PATIENT, "unreachable")


def _against(scene: Scene, before: Scene, step: Step, failure: str | None) -> Evidence | None:
    """Return what speaks against the step as a whole, if anything does."""
    gate = MOVED.get(step.stage, "presented")
    if step.instance.host in scene.lost:
        seen = scene.lost[step.instance.host]
        return Evidence("reach", False, "%s answers Ansible" % step.instance.host, seen, fault="unreachable")
    if failure is not None:
        return Evidence(gate, False, "%s works" % step.target, failure, todo="see the task that failed", fault="failed")
    if step.reverse:
        return None
    found = [_gate_of(scene, before, step, pair) for pair in _pairs(scene, step) if not _lost_end(scene, step, pair)]
    bad = [evidence for evidence in found if evidence is not None]
    if not bad:
        return _silenced(scene, before, step)
    if step.stage == "permit" and len(bad) < len(found):
        return _silenced(scene, before, step)
    return next((evidence for evidence in bad if evidence.fault not in PATIENT), bad[0])


MOVED: t.Final = {
    "load": "presented",
    "permit": "permissive",
    "connect": "switched",
    "demand": "demanded",
    "enforce": "enforced",
}


def _lost_end(scene: Scene, step: Step, pair: Pair) -> bool:
    return pair.client.host in scene.lost or pair.server.host in scene.lost


def _gate_of(scene: Scene, before: Scene, step: Step, pair: Pair) -> Evidence | None:
    """Return the first gate, of those that the step answers for, that does not hold at this pair."""
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
    if step.reverse:
        return None
    gates = {
        "load": ("permissive",) if _spoke_tls(before, pair) else (),
        "permit": ("permissive",),
        "connect": ("permissive", "switched"),
        "demand": ("permissive", "demanded"),
        "enforce": ("permissive", "enforced"),
    }[step.stage]
    for gate in gates:
        evidence = GATES[gate](scene, pair)
        if not evidence.holds:
            return evidence
    if step.stage == "connect":
        return _no_session(scene, before, pair)
    return None


def _no_session(scene: Scene, before: Scene, pair: Pair) -> Evidence | None:
    """Return that no TLS session of the client comes up, if that is what is seen.

    A client that held a session before its step has to hold one after it. One that connects now and then only has to
    show in the server's list of sessions, where there is such a list and the client was seen dialling.
    """
    clear_before, tls_before = sessions(before, pair)
    _, tls = sessions(scene, pair)
    held = bool(clear_before or tls_before) and not _holds_one(scene, pair)
    dials = scene.shape(pair) == "second_listener" and bool(own_sessions(scene, pair)[1])
    if tls and not held:
        return None
    if not held and not (dials and keeps_ended(scene, pair)):
        return None
    return Evidence(
        "switched",
        False,
        "a TLS session of %s" % pair.client.name,
        "no session comes up: it does not accept %s, or is not accepted" % pair.server.name,
        todo="see which CA list %s reads, and its log" % pair.client.name,
        security="tls_unverified",
        fault="no_session",
    )


def _holds_one(scene: Scene, pair: Pair) -> bool:
    """Return whether the client holds a TLS session now, and not only came and went."""
    if scene.shape(pair) != "second_listener":
        return bool(sessions(scene, pair)[1])
    seen = scene.instances.get(pair.client.name, {})
    open_now = {**seen, "recent": [row for row in seen.get("recent") or () if row.get("now")]}
    now = dataclasses.replace(scene, instances={**scene.instances, pair.client.name: open_now})
    return bool(sessions(now, pair)[1])


def keeps_ended(scene: Scene, pair: Pair) -> bool:
    """Return whether the server's list also has sessions that ended lately, so that short ones are found in it."""
    listed = scene.instances.get(pair.server.name, {}).get("sessions") or []
    return any("ended" in session for session in listed)


def _spoke_tls(before: Scene, pair: Pair) -> bool:
    return before.probes.get(tls_probe(pair), {}).get("outcome") == "tls"


def _silenced(scene: Scene, before: Scene, step: Step) -> Evidence | None:
    """Return that a clear port which answered before the step does not answer after it, if that is so."""
    if step.stage not in ("load", "permit", "connect"):
        return None
    for pair in _pairs(scene, step):
        had = before.probes.get(clear_probe(pair), {}).get("outcome")
        has = scene.probes.get(clear_probe(pair), {}).get("outcome")
        if had == "clear" and has is not None and has != "clear" and not _lost_end(scene, step, pair):
            return Evidence(
                "permissive",
                False,
                "%s still answers in the clear" % pair.server.name,
                "it does not: %s" % has,
                todo="look at the log of %s" % pair.server.name,
                fault="silent",
            )
    return None


def _is_down(scene: Scene, before: Scene, step: Step) -> bool:
    """Return whether the instance, after its step, answers less than before it."""
    if step.instance.host in scene.lost:
        return True
    for pair in _pairs(scene, step):
        if pair.server.name != step.instance.name:
            continue
        seen = [scene.probes.get(name, {}).get("outcome") for name in (clear_probe(pair), tls_probe(pair))]
        if any(seen) and not {"clear", "tls"} & set(seen):
            return True
    return False


def _not_switched(survey: Survey, pair: Pair) -> Hold | None:
    if pair.blocked:
        return _hold("enforced", "every client is on TLS", "%s is blocked: %s" % (pair.id, pair.blocked), waiting=True)
    if rank(survey.stage(pair)) >= rank("switched"):
        return None
    last = survey.evidence(pair)[-1]
    return _hold(
        "enforced", "every client is on TLS", "%s is not: %s" % (pair.id, last.seen), todo=last.todo, waiting=True
    )


def _not_presenting(scene: Scene, pair: Pair) -> Hold | None:
    """Return that the client was not seen presenting a certificate, if it was not."""
    expected = "%s presents a certificate that %s accepts" % (pair.client.name, pair.server.name)
    probe = scene.probes.get(tls_probe(pair), {})
    if probe.get("security") != "mutual":
        return _hold("demanded", expected, str(probe.get("reason") or "it was not asked for one"), waiting=True)
    listed = scene.instances.get(pair.server.name, {}).get("sessions")
    if listed:
        addresses = set(scene.addresses.get(pair.client.host, ()))
        mine = [
            s for s in listed if str(s.get("peer", "")).rpartition(":")[0].strip("[]") in addresses and s.get("tls")
        ]
        if mine and not any(session.get("verified") for session in mine):
            return _hold("demanded", expected, "its session %s presents none" % mine[0]["peer"], waiting=True)
    return None


def _pairs(scene: Scene, step: Step) -> list[Pair]:
    return [scene.model.pair(name) for name in step.pairs]


def _clients(scene: Scene, step: Step) -> list[Pair]:
    """Return every enumerated pair of the listeners that the step moves, in scope or not."""
    return [pair for name in step.of for pair in scene.model.pairs_of_listener(step.instance.name, name)]
