# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage table: where a pair of instances stands, seen from what the fleet shows; private to this collection.

Each stage has one gate. A pair stands at the last stage up to which all gates hold. A gate reads observations only:
it never knows what a task claimed, and what could not be seen does not hold.
"""

from __future__ import annotations

import functools
import typing as t

from ._dormant import is_asleep
from ._entities import Instance, Pair
from ._evidence import Evidence, Fault, fails, holds
from ._flows import CLOSED, Flow
from ._holding import has_old_material, hides_environment, lacks_environment, lacks_variable, material_fault
from ._observed import SeenProbe
from ._presenting import misread_key, serves_another, waits_to_present
from ._scene import Scene, option_id, setting
from ._sessions import presented_by, presented_perhaps, sessions_of

STAGES: t.Final = ("plain", "trusted", "presented", "permissive", "switched", "demanded", "enforced")

_RANKS: t.Final = {stage: number for number, stage in enumerate(STAGES)}
_WITHOUT_DEMAND: t.Final = tuple(stage for stage in STAGES if stage != "demanded")

#: The stage that a pair has reached once a step of this stage has worked.
MOVES_TO: t.Final = {"permit": "permissive", "connect": "switched", "demand": "demanded", "enforce": "enforced"}

#: What is seen of a standby before a failover.
ASLEEP: t.Final = "nobody listens there, for it is a standby"

Refuted = t.Optional[Evidence]


#: Seconds; what Kerberos allows too (RFC 4120, 8.2). That certificates begin an hour early is no licence for more.
MOST_CLOCK_OFF: t.Final = 300


def rank(stage: str) -> int:
    """Return how far a stage is."""
    return _RANKS[stage]


def furthest(stages: t.Iterable[str]) -> str:
    """Return the furthest of some stages; ``plain`` if there are none."""
    return max(stages, key=rank, default="plain")


def stages_of(pair: Pair) -> tuple[str, ...]:
    """Return the stages that this pair goes through; a listener that is ``simple`` demands nothing."""
    return STAGES if pair.mode == "mutual" else _WITHOUT_DEMAND


def steps_of(pair: Pair) -> tuple[str, ...]:
    """Return the stages of the steps that move this pair, in order."""
    return tuple(stage for stage in MOVES_TO if stage != "demand" or pair.mode == "mutual")


def examine(scene: Scene, pair: Pair) -> tuple[Evidence, ...]:
    """Return the evidence of each gate in order, up to and with the first that does not hold."""
    if not scene.looked:
        return _remembered(stages_of(pair), scene.recorded.get(pair.id, "plain"))
    lost = unreachable(scene, pair)
    if lost is not None:
        return (lost,)
    found: list[Evidence] = []
    for stage in stages_of(pair):
        found.append(GATES[stage](scene, pair))
        if not found[-1].holds:
            break
    return tuple(found)


def stage_of(evidence: t.Sequence[Evidence]) -> str:
    """Return the stage that the evidence shows."""
    return furthest(item.gate for item in evidence if item.holds)


def reached(scene: Scene, pair: Pair) -> str:
    """Return the furthest stage that the pair is known to have reached, and that nobody went back from.

    The ledger knows it; without one the snapshots of finished steps do, which hosts keep until they are taken back.
    """
    proven = []
    for stage in steps_of(pair):
        if step_name(scene, stage, pair) in scene.seen(pair.end_of(stage)).finished:
            proven.append(MOVES_TO[stage])
    return furthest([*proven, scene.highest.get(pair.id, "plain")])


def step_name(scene: Scene, stage: str, pair: Pair) -> str:
    """Return the id of the step that moves this pair; a flip has one per member, for each member flips alone."""
    if stage != "connect":
        return "%s-%s" % (stage, pair.listener.name)
    name = "connect-%s.%s" % (pair.server.component, pair.listener.name)
    return "%s@%s" % (name, pair.server.host) if scene.shape(pair) == "flip" else name


@functools.lru_cache(maxsize=None)  # there are a dozen answers for any number of pairs
def _remembered(stages: tuple[str, ...], stage: str) -> tuple[Evidence, ...]:
    """Return what the ledger says as evidence: good for a plan, never for a gate."""
    words = "the ledger has it"
    found = [holds(name, words, words) for name in stages if rank(name) <= rank(stage)]
    following = [name for name in stages if rank(name) > rank(stage)]
    if following:
        found.append(fails(following[0], words, "the ledger says %s" % stage, "remembered"))
    return tuple(found)


def unreachable(scene: Scene, pair: Pair) -> Refuted:
    """Return which end's host was lost, if one was."""
    return next((lost_host(scene, end) for end in pair.ends if end.host in scene.lost), None)


def lost_host(scene: Scene, instance: Instance) -> Evidence:
    """Return that Ansible could not work on an instance's host."""
    todo = "mend what it says about %s, and run again" % instance.host
    return fails("reach", "Ansible works on %s" % instance.host, scene.lost[instance.host], "unreachable", todo=todo)


def wrong_clock(scene: Scene, pair: Pair) -> Refuted:
    """Return that the clock of an end's host differs from the controller's by more than certificates forgive, if so."""
    for end in pair.ends:
        off = scene.host(end.host).clock_off
        if abs(off) > MOST_CLOCK_OFF:
            expected = "the clock of %s differs by at most %d s from the controller's" % (end.host, MOST_CLOCK_OFF)
            seen = "it is %d s %s" % (abs(off), "ahead" if off > 0 else "behind")
            return fails("reach", expected, seen, "clock")
    return None


def _plain(scene: Scene, pair: Pair) -> Evidence:
    expected = "%s answers, in the clear or over TLS" % pair.server.name
    clear, tls = scene.clear(pair), scene.tls(pair)
    if not (clear.outcome or tls.outcome):
        return fails("reach", expected, "nobody looked from %s" % scene.vantage(pair).host, "unseen")
    if clear.outcome == "clear":
        return holds("plain", expected, "answers in the clear", security="clear")
    if tls.is_tls:
        return holds("plain", expected, "answers over TLS", security=tls.security)
    if is_asleep(scene, pair):
        return holds("plain", expected, ASLEEP)
    seen = clear.reason or tls.reason or "neither answers"
    return fails("plain", expected, seen, "silent", todo="start %s, or correct its port" % pair.server.name)


def _trusted(scene: Scene, pair: Pair) -> Evidence:
    ends = pair.ends if pair.mode == "mutual" else (pair.client,)
    receivers = [end for end in ends if scene.ours(end)]
    if not receivers:
        return holds("trusted", *_not_ours(scene, pair.client, "CA list"))
    expected = "%s the planned CA list" % _they_hold(receivers)
    for receiver in receivers:
        fault = material_fault(scene, receiver, "trust")
        if fault:
            return fails("trusted", expected, "%s: %s" % (receiver.name, fault), "material")
        if _reads_ours(scene, receiver, pair) and has_old_material(scene, receiver):
            return fails("trusted", expected, "%s has not loaded what is installed" % receiver.name, "stale")
    return holds("trusted", expected, "the planned CA list is installed")


def _reads_ours(scene: Scene, receiver: Instance, pair: Pair) -> bool:
    """Return whether the receiver's configuration reads what we install, so that it has to be loaded as well."""
    found = setting(scene, "connect" if receiver == pair.client else "permit", pair)
    return found.declared and found.is_made


def _presented(scene: Scene, pair: Pair) -> Evidence:
    ends = (pair.server, pair.client) if pair.mode == "mutual" else (pair.server,)
    presenters = [end for end in ends if scene.ours(end)]
    expected, seen = "%s the planned key and certificate" % _they_hold(presenters), _AS_ISSUED
    if not presenters:
        expected, seen = _not_ours(scene, pair.server, "certificate")
    waits = waits_to_present(scene, pair)
    if waits is not None:
        return waits
    for presenter in presenters:
        folder = scene.model.identity_folder(presenter, scene.model.identity_in(pair, presenter))
        fault = material_fault(scene, presenter, "certificate", folder) or misread_key(scene, presenter, folder)
        if fault:
            return fails("presented", expected, "%s: %s" % (presenter.name, fault), "material")
    for end in scene.our_ends(pair):
        fault = lacks_environment(scene, end) or lacks_variable(scene, end)
        if fault:
            return fails("presented", expected, "%s: %s" % (end.name, fault), "environment")
        hidden = hides_environment(scene, end)
        if hidden:
            return fails("presented", expected, "%s: %s" % (end.name, hidden), "unseen")
        if is_noted(scene, end, "load"):
            return fails("presented", expected, "%s: a reload is noted and has not happened" % end.name, "stale")
    return holds("presented", expected, seen)


_AS_ISSUED: t.Final = "key, certificate and chain are as they were issued, and its account's alone"


def _not_ours(scene: Scene, instance: Instance, what: str) -> tuple[str, str]:
    """Return what is expected and seen of something that we neither install nor read."""
    expected = "%s has its %s" % (instance.component, what)
    return expected, "it is not ours: that is a matter of %s" % scene.model.owner_of(instance)


def _permissive(scene: Scene, pair: Pair) -> Evidence:
    known = scene.known(pair).words
    limited = ", which knows %s" % known if known and scene.vantage(pair) == pair.client else ""
    dialled = "%s as %s" % (pair.server.name, pair.dial) if pair.fronted else pair.dial
    expected = "a verified handshake with %s from %s%s" % (dialled, scene.vantage(pair).host, limited)
    fault = _not_set(scene, "permit", pair, expected) or _unfinished(scene, "permit", pair, expected)
    if fault is not None:
        return fault
    if is_asleep(scene, pair):
        return _asleep(scene, "permissive", pair)
    probe = scene.tls(pair)
    flow = _closed(scene, pair, probe) if scene.vantage(pair) == pair.client else None
    if not scene.ours(pair.server) and not probe.verified:
        what = "answer over TLS with a certificate for %s that its trust_file vouches for" % pair.dial
        seen = probe.reason or "nobody looked"
        return _theirs(scene, "permissive", expected, seen, pair.server, what, closed=flow)
    stands_in = scene.vantage(pair) != pair.client  # a look that has no certificate of the client's
    if stands_in and probe.kind == "certificate_required" and not serves_another(scene, pair):
        seen = "it presents what is installed, and demands a certificate of its client"
        return holds("permissive", expected, seen, security="verified")
    if probe.outcome != "tls":
        if flow is not None:
            # who is set to dial there is cut off, and waits for nobody
            waits: Fault = "handshake" if setting(scene, "connect", pair).is_made else "network"
            todo = "have line %d allowed, and run again" % flow.line
            return fails("permissive", expected, _citing(probe.reason, flow), waits, todo=todo)
        todo = "look at the log of %s" % pair.server.name
        return fails("permissive", expected, probe.reason or "nobody looked", "handshake", todo=todo)
    if not probe.verified:
        todo = "see which certificate %s presents and which CA list %s reads" % (pair.server.name, pair.client.name)
        kind: Fault = "stale" if serves_another(scene, pair) else "handshake"
        return fails("permissive", expected, probe.reason, kind, todo=todo, security="tls_unverified")
    if serves_another(scene, pair):
        expected, seen = "%s presents what is installed" % pair.server.name, "it presents another certificate"
        return fails("permissive", expected, seen, "stale", todo="reload %s" % pair.server.name, security="verified")
    clear = "; it also answers in the clear" if scene.clear(pair).outcome == "clear" else ""
    seen = "%s, verified as %s%s" % (probe.protocol, pair.dial, clear)
    return holds("permissive", expected, seen, security=probe.security or "verified")


def _switched(scene: Scene, pair: Pair) -> Evidence:
    if not scene.ours(pair.client):
        return _switched_by_others(scene, pair)
    expected = "%s uses TLS and verifies" % pair.client.name
    fault = (
        _waits_to_be_passed_on(scene, pair)
        or _not_set(scene, "connect", pair, expected)
        or _unfinished(scene, "connect", pair, expected)
        or _not_loaded(scene, pair, expected)
        or _not_verifying(scene, pair, expected)
        or _not_shown(scene, pair, expected)
    )
    if fault is not None:
        return fault
    sessions = sessions_of(scene, pair)
    if sessions.clear:
        seen = "a clear session is left: %s" % sessions.clear[0]
        todo = "end the clear session of %s, or restart it; then run again" % pair.client.name
        return fails("switched", expected, seen, "leftover", todo=todo, security="clear")
    listed = presented_by(scene, pair)  # of a client that connects now and then, most have ended
    security = "mutual" if sessions.mutual or any(session.verified for session in listed) else "verified"
    if sessions.tls:
        return holds("switched", expected, "a TLS session: %s" % sessions.tls[0], security=security, live=True)
    if listed:
        seen = "a TLS session that has ended: %s" % listed[-1].peer
        return holds("switched", expected, seen, security=security, live=True)
    if _hides_sessions(scene, pair):
        seen = "its setting reads back; %s lists no sessions to us, and on one port sockets do not show TLS"
        return holds("switched", expected, seen % pair.server.component, security=security)
    seen = "its setting reads back; no session at the moment"
    if pair.id in scene.exercised:
        seen += "; one over TLS was seen first at %s" % scene.exercised[pair.id]
    return holds("switched", expected, seen, security=security)


def not_passed_on(scene: Scene, pair: Pair) -> Refuted:
    """Return that what the client dials does not lead to a listener that it could use, if that is what is seen."""
    if not pair.fronted or not scene.ours(pair.client):
        return None
    probe = scene.front(pair)
    if probe.outcome == "tls" and probe.verified:
        return None
    expected = "a verified handshake with %s from %s" % (pair.dial, pair.client.host)
    seen = probe.reason or "nobody looked"
    between, flow = scene.origins(pair)[1:], _closed(scene, pair, probe)
    if not between:
        todo = "see where %s leads" % pair.dial
        if flow is None:
            return fails("switched", expected, seen, "handshake", todo=todo)
        todo = "have line %d allowed; if it is, %s" % (flow.line, todo)
        return fails("switched", expected, _citing(seen, flow), "network", todo=todo)
    port = pair.listener.secure_port or pair.listener.port
    what = "pass port %d of %s on to %s" % (port, pair.dial, pair.server.component)
    return _theirs(scene, "switched", expected, seen, between[0], what, closed=flow)


def _waits_to_be_passed_on(scene: Scene, pair: Pair) -> Refuted:
    """Return that a client which is ready, and could use every member, does not get through to them."""
    if not pair.fronted or setting(scene, "connect", pair).is_made or not scene.ours(pair.client):
        return None
    if material_fault(scene, pair.client, "trust"):
        return None  # it could not verify anybody yet
    members = (
        each
        for each in scene.model.pairs_of_client(pair.client.name)
        if (each.server.component, each.listener) == (pair.server.component, pair.listener)
    )
    return not_passed_on(scene, pair) if all(_permissive(scene, each).holds for each in members) else None


def _switched_by_others(scene: Scene, pair: Pair) -> Evidence:
    """Return whether a client that is not ours is on TLS: our server's end of its sessions is all that shows it."""
    client = pair.client.component
    expected = "%s uses TLS, and nothing in the clear" % client
    fault = _not_shown(scene, pair, expected)
    if fault is not None:
        return fault
    sessions = sessions_of(scene, pair)
    if sessions.clear:
        seen = "a clear session of it: %s" % sessions.clear[0]
        return _theirs(scene, "switched", expected, seen, pair.client, "move to TLS", security="clear")
    security = "mutual" if sessions.mutual else "tls_unverified"  # whether it verifies shows at its own end only
    if sessions.tls:
        return holds("switched", expected, "a TLS session: %s" % sessions.tls[0], security=security, live=True)
    if presented_by(scene, pair):
        seen = "a TLS session that has ended: %s" % presented_by(scene, pair)[-1].peer
        return holds("switched", expected, seen, security=security, live=True)
    perhaps = [*sessions.perhaps, *(session.peer for session in presented_perhaps(scene, pair))]
    if perhaps:
        seen = "a TLS session that may be another's as well: %s" % perhaps[0]
        seen += "; %s" % pair.connection.drill if pair.connection.drill else ""
        return holds("switched", expected, seen, security=security)
    if scene.clear(pair).refuses_plaintext:
        return holds("switched", expected, "no session at the moment; nothing but TLS is answered", security=security)
    if rank(scene.highest.get(pair.id, "plain")) >= rank("switched"):
        return holds("switched", expected, "no session at the moment; it was seen on TLS before", security=security)
    return _theirs(scene, "switched", expected, "no session of it was seen yet", pair.client, "move to TLS")


def _theirs(
    scene: Scene,
    gate: str,
    expected: str,
    seen: str,
    end: Instance,
    what: str,
    *,
    security: str = "",
    closed: Flow | None = None,
) -> Evidence:
    """Return that a gate waits for the owner of an end that is not ours; only what is seen later closes it.

    Nobody sees from outside whether an owner or the network team is late where a new flow is ``closed``.
    """
    todo = "ask %s to have %s %s" % (scene.model.owner_of(end), end.component, what)
    if closed is not None:
        seen, todo = _citing(seen, closed), "have line %d allowed; if it is, %s" % (closed.line, todo)
    return fails(gate, expected, seen, "theirs", todo=todo, security=security)


def _closed(scene: Scene, pair: Pair, probe: SeenProbe) -> Flow | None:
    """Return the line of the firewall sheet that a probe from the client's host shows to be closed, if it does.

    What accepts a connection and is silent then was reached.
    """
    return scene.flow(pair) if probe.kind in CLOSED and not probe.address else None


def _citing(seen: str, flow: Flow) -> str:
    return "%s; line %d of the firewall sheet (%s)" % (seen, flow.line, flow.words)


def _not_loaded(scene: Scene, pair: Pair, expected: str) -> Refuted:
    if not has_old_material(scene, pair.client):
        return None
    return fails("switched", expected, "%s has not loaded what is installed" % pair.client.name, "stale")


def _not_verifying(scene: Scene, pair: Pair, expected: str) -> Refuted:
    found = setting(scene, "verify", pair)
    if found.declared and found.is_made:
        return None
    seen = "nothing shows that it verifies"
    if found.missing:
        seen = "it does not verify: %s is not %s" % (found.missing[0].place, found.missing[0].shown)
    todo = "make %s verify its servers" % pair.client.name
    return fails("switched", expected, seen, "unverified", todo=todo, security="tls_unverified")


def _not_shown(scene: Scene, pair: Pair, expected: str) -> Refuted:
    """Return that sessions could not be seen, so that nobody knows of a clear one that is left."""
    if _hides_sessions(scene, pair):
        return None
    if scene.shape(pair) == "second_listener":
        unreadable = scene.seen(scene.witness(pair)).unreadable
        why = unreadable.get("process") or unreadable.get("sockets")
    else:
        seen = scene.seen(pair.server)
        none = "%s lists no sessions" % pair.server.name if seen.sessions is None else None
        why = seen.unreadable.get("sessions") or none
    return fails("switched", expected, why, "unseen") if why else None


def _hides_sessions(scene: Scene, pair: Pair) -> bool:
    """Return whether nothing can show the sessions of the pair: on one port, only a server of ours lists them."""
    return scene.shape(pair) != "second_listener" and not scene.ours(pair.server)


def _demanded(scene: Scene, pair: Pair) -> Evidence:
    expected = "%s refuses a client without a certificate" % pair.server.name
    fault = _not_set(scene, "demand", pair, expected) or _unfinished(scene, "demand", pair, expected)
    if fault is not None:
        return fault
    if is_asleep(scene, pair):
        return _asleep(scene, "demanded", pair)
    probe = scene.tls(pair)
    todo = "see which CA list %s demands certificates of" % pair.server.name
    if not scene.ours(pair.server) and not probe.demanded:
        seen = "it lets one in" if probe.demanded is False else probe.reason or "nobody can tell"
        return _theirs(scene, "demanded", expected, seen, pair.server, "demand certificates", security="verified")
    if probe.demanded is None:
        seen = "nobody can tell: %s" % (probe.reason or "nobody looked")
        return fails("demanded", expected, seen, "unseen")
    if not probe.demanded:
        return fails("demanded", expected, "it lets one in", "handshake", todo=todo, security="verified")
    if probe.foreign == "accepted":
        return fails("demanded", expected, "it lets one with a foreign CA's certificate in", "handshake", todo=todo)
    foreign = " and one with a foreign CA's" if probe.foreign == "refused" else ""
    return holds("demanded", expected, "a client without a certificate is refused%s" % foreign, security="mutual")


def _enforced(scene: Scene, pair: Pair) -> Evidence:
    expected = "plaintext to %s is refused" % pair.server.name
    fault = _not_set(scene, "enforce", pair, expected) or _unfinished(scene, "enforce", pair, expected)
    if fault is not None:
        return fault
    if is_asleep(scene, pair):
        return _asleep(scene, "enforced", pair)
    clear, tls = scene.clear(pair), scene.tls(pair)
    if not scene.ours(pair.server) and not clear.refuses_plaintext:
        seen = clear.reason or "nobody looked"
        return _theirs(scene, "enforced", expected, seen, pair.server, "refuse plaintext", security="clear")
    refuses = clear.reason if clear.refuses_plaintext else _refuses_logins(scene, pair)
    if not refuses:
        return fails("enforced", expected, clear.reason or "nobody looked", "clear")
    for protocol, answer in sorted(tls.old_protocols.items()):
        if answer == "accepted":
            if not scene.ours(pair.server):
                return _theirs(scene, "enforced", expected, "%s is accepted" % protocol, pair.server, "refuse it")
            todo = "take %s from the protocols of %s" % (protocol, pair.server.name)
            return fails("enforced", "no old protocol version", "%s is accepted" % protocol, "protocol", todo=todo)
    return holds("enforced", expected, refuses, security=tls.security or "verified")


def _refuses_logins(scene: Scene, pair: Pair) -> str:
    """Return what is seen of a server that refuses plaintext once a password is right, which nobody of us has.

    A look in the clear shows that it refuses a login, and its list of sessions says that it refuses all of them.
    """
    clear = scene.clear(pair)
    if clear.kind != "login_refused" or not scene.seen(pair.server).tls_only:
        return ""
    return "%s; %s says that it lets nobody in without TLS" % (clear.reason, pair.server.name)


def _asleep(scene: Scene, gate: str, pair: Pair) -> Evidence:
    """Return what can be said of a listener that a standby opens at a failover: its options were read before this."""
    expected = "%s has loaded its options and its material" % pair.server.name
    if has_old_material(scene, pair.server):
        return fails(gate, expected, "%s has not loaded what is installed" % pair.server.name, "stale")
    return holds(gate, expected, "its options read back; " + ASLEEP)


GATES: t.Final[t.Mapping[str, t.Callable[[Scene, Pair], Evidence]]] = {
    "plain": _plain,
    "trusted": _trusted,
    "presented": _presented,
    "permissive": _permissive,
    "switched": _switched,
    "demanded": _demanded,
    "enforced": _enforced,
}


def _not_set(scene: Scene, stage: str, pair: Pair, expected: str) -> Refuted:
    """Return the first option of a stage that is not as it has to be, or could not be read."""
    found = setting(scene, stage, pair)
    seen = scene.seen(pair.end_of(stage))
    security = "clear" if stage == "connect" else ""
    if found.unread:
        why = seen.unreadable.get(option_id(found.unread[0]), "nobody read %s" % found.unread[0].place)
        return fails(MOVES_TO[stage], expected, why, "unseen", security=security)
    if found.differs:
        value = seen.reads[option_id(found.differs[0])]
        words = "not set" if value is None else found.differs[0].masked(value)
        return fails(
            MOVES_TO[stage], expected, "%s is %s" % (found.differs[0].place, words), "setting", security=security
        )
    return None


def _unfinished(scene: Scene, stage: str, pair: Pair, expected: str) -> Refuted:
    """Return that a step of this stage that moves the pair is under way, if one is."""
    end = pair.end_of(stage)
    for noted in scene.seen(end).noted:
        if noted.stage == stage and {pair.id, pair.listener.name} & set(noted.of):
            seen = "%s of %s is unfinished (%s)" % (noted.id, end.name, noted.phase)
            return fails(MOVES_TO[stage], expected, seen, "pending")
    return None


def is_noted(scene: Scene, instance: Instance, stage: str) -> bool:
    """Return whether a step of this stage is noted as under way on an instance."""
    return any(noted.stage == stage for noted in scene.seen(instance).noted)


def _they_hold(instances: t.Sequence[Instance]) -> str:
    names = " and ".join(instance.name for instance in instances)
    return "%s %s" % (names, "holds" if len(instances) == 1 else "hold")
