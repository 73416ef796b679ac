# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a round: what the gates say of its steps, and what is taken back; private to this collection.

Nothing here believes a task. A step is judged by what is seen afterwards; what a task said only lends its words to the
message.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ._dormant import is_asleep
from ._entities import Pair
from ._evidence import Evidence, fails
from ._hold import Hold, refuted
from ._scene import Scene, setting
from ._sessions import Sessions, presented_by, presented_perhaps, sessions_of
from ._stages import GATES, MOVES_TO, lost_host, unreachable
from ._steps import Round, Step
from ._strangers import closes_itself

#: The gates that a step of each stage answers for.
_ANSWERS_FOR: t.Final[t.Mapping[str, tuple[str, ...]]] = {
    "load": ("permissive",),
    "permit": ("permissive",),
    "connect": ("permissive", "switched"),
    "demand": ("permissive", "demanded"),
    "enforce": ("permissive", "enforced"),
}


@dataclass(frozen=True)
class Verdict:
    """What the gates of a round say.

    Attributes:
        reverse: the started steps to take back, latest first.
        notes: per pair, what kept it back.
        down: instances that are not to be relied on: a member of theirs is not touched.
    """

    reverse: tuple[Step, ...] = ()
    notes: t.Mapping[str, Hold] = field(default_factory=dict)
    down: frozenset[str] = frozenset()


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
    closing = {name for step in this.steps for name in _closed(scene, step)}
    trials = [Trial(scene, before, step, failures.get(step.target), closing=closing) for step in started]
    notes = {name: hold for trial in trials for name, hold in trial.notes().items()}
    down = frozenset(trial.step.instance.name for trial in trials if trial.is_down())
    if not this.together:
        return Verdict(tuple(trial.step for trial in reversed(trials) if trial.is_taken_back()), notes, down)
    guilty = [trial.against for trial in trials if trial.against is not None]
    if not guilty:
        return Verdict((), notes, down)
    reachable = [step for step in started if step.instance.host not in scene.lost and not step.reverse]
    back = () if _flipped_unseen(scene, started) else tuple(reversed(reachable))
    common = refuted(guilty[0])
    return Verdict(back, {name: notes.get(name, common) for step in started for name in step.pairs}, down)


def _closed(scene: Scene, step: Step) -> t.Iterator[str]:
    """Yield the pairs whose listener a step closes to plaintext: an enforcement, or the switch of some members."""
    if step.stage == "enforce":
        yield from step.pairs
    elif step.stage == "connect":
        for pair in (each for each in map(scene.model.pair, step.pairs) if closes_itself(scene, each)):
            own = scene.model.pairs_of_listener(pair.client.name, pair.listener.name)
            yield from (each.id for each in own)


def _flipped_unseen(scene: Scene, started: t.Sequence[Step]) -> bool:
    """Return whether the server's host was lost in a flip, and its listener speaks TLS: its clients stay with it."""
    servers = [step for step in started if step.stage == "enforce"]
    pairs = [scene.model.pair(name) for step in servers for name in step.pairs]
    return any(step.instance.host in scene.lost for step in servers) and any(scene.tls(pair).is_tls for pair in pairs)


class Trial:
    """One started step before its gates.

    Attributes:
        step: the step.
        faults: the evidence against each of its pairs that has some.
        against: what speaks against the step as a whole; None if nothing does.
    """

    def __init__(
        self, scene: Scene, before: Scene, step: Step, failure: str | None, *, closing: t.Collection[str] = ()
    ) -> None:
        """Hear the gates.

        Args:
            scene: what is seen after the step.
            before: what had been seen before it.
            step: the step.
            failure: what its task said, if it failed.
            closing: pairs whose listener the same round closes to plaintext.
        """
        self.step = step
        self._closing = closing
        self._scene, self._before, self._failure = scene, before, failure
        self._pairs = [scene.model.pair(name) for name in step.pairs]
        found = {pair.id: self._fault_of(pair) for pair in self._pairs}
        self.faults = {name: evidence for name, evidence in found.items() if evidence is not None}
        self.against = self._against()

    def notes(self) -> dict[str, Hold]:
        """Return what keeps each pair back: what its task said, its own fault, or another pair's that takes it back.

        Where a task failed, what gates see of its pairs merely follows from that.
        """
        own = {} if self._failure else {name: refuted(evidence) for name, evidence in self.faults.items()}
        if self.against is None or not (self._failure or self.is_taken_back() or not own):
            return own
        guilty = next((name for name, evidence in self.faults.items() if evidence is self.against), "")
        common = refuted(self.against, of=guilty)
        return {pair.id: own.get(pair.id) or common.for_pair(pair) for pair in self._pairs}

    def is_taken_back(self) -> bool:
        """Return whether the step is to be taken back for what speaks against it."""
        if self.against is None or self.step.stage == "load" or self.step.reverse:
            return False
        return not self.against.rule.waits and self.against.fault not in ("unreachable", "unseen")

    def is_down(self) -> bool:
        """Return whether the instance is not to be relied on after its step: other members of it are left alone."""
        if self.step.instance.host in self._scene.lost:
            return True
        served = self._scene.served(self.step.instance)
        if served and self.step.stage != "connect" and self.against is not None and not self.against.rule.waits:
            return True  # what one member cannot do, the other one should not try
        return any(_is_silent(self._scene, pair) for pair in served)

    def _against(self) -> Evidence | None:
        if self.step.instance.host in self._scene.lost:
            return lost_host(self._scene, self.step.instance)
        if self._failure is not None:
            gate = MOVES_TO.get(self.step.stage, "presented")
            return fails(gate, "%s works" % self.step.target, self._failure, "failed")
        if self.step.reverse:
            return None
        judged = [pair.id for pair in self._pairs if unreachable(self._scene, pair) is None]
        bad = [self.faults[name] for name in judged if name in self.faults]
        if not bad or (self.step.stage == "permit" and len(bad) < len(judged)):
            # one client that cannot use the listener is held back alone, unless a clear port fell silent
            return self._silenced()
        return next((evidence for evidence in bad if not evidence.rule.waits), bad[0])

    def _fault_of(self, pair: Pair) -> Evidence | None:
        """Return the first gate, of those that the step answers for, that does not let this pair through."""
        lost = unreachable(self._scene, pair)
        if lost is not None or self.step.reverse:
            return lost
        if self.step.stage == "load" and self._before.tls(pair).outcome != "tls":
            return None
        for gate in _ANSWERS_FOR[self.step.stage]:
            evidence = GATES[gate](self._scene, pair)
            if self.step.stage == "load" and self._is_anothers(pair, evidence):
                return None
            if not evidence.holds:
                # who keeps the clear session that it has, and gets no TLS session, has not merely left one over
                nothing = self._no_session(pair) if evidence.fault == "leftover" else None
                return nothing or self._not_the_networks(pair, evidence)
            if gate in ("demanded", "enforced"):
                untried = self._not_tried(pair, gate)
                if untried is not None:
                    return untried
        return self._no_session(pair)

    def _is_anothers(self, pair: Pair, evidence: Evidence) -> bool:
        """Return whether a load is not to answer for a fault, since another step does.

        A load writes nothing: another step of the instance does, and comes after this one. And a server that presents
        what it had is loaded by a step of its own: members of a cluster are one after the other, and are clients too.
        """
        if evidence.fault in ("pending", "setting"):
            return True
        verified = evidence.security == "verified"  # as the client has its CA list by now
        return evidence.fault == "stale" and verified and pair.server != self.step.instance

    def _not_the_networks(self, pair: Pair, evidence: Evidence) -> Evidence:
        """Return evidence as a fault of the step's where the listener answered over TLS before it: a flow was open."""
        if evidence.fault == "network" and self._before.tls(pair).is_tls:
            return replace(evidence, fault="handshake")
        return evidence

    def _not_tried(self, pair: Pair, gate: str) -> Evidence | None:
        """Return what had to be tried after the step and was not: a foreign certificate, an old protocol version."""
        if is_asleep(self._scene, pair):
            return None
        probe = self._scene.tls(pair)
        if gate == "demanded" and probe.foreign != "refused":
            seen = "nobody can tell: %s" % (probe.foreign or "it was not tried")
            return fails("demanded", "a foreign CA's certificate is refused", seen, "unseen")
        unknown = sorted(name for name, answer in probe.old_protocols.items() if answer == "unknown")
        if gate == "enforced" and (unknown or not probe.old_protocols):
            seen = "nobody can tell of %s" % (", ".join(unknown) or "any")
            return fails("enforced", "old protocol versions are refused", seen, "unseen")
        return None

    def _no_session(self, pair: Pair) -> Evidence | None:
        """Return that no TLS session of a client that is set to use TLS comes up, if that is what is seen.

        A client that had a session before the step has to have one after it. One that connects now and then has to show
        in the server's list of sessions, where there is such a list and the client was seen dialling; and it must not
        go on dialling the clear listener alone. Nobody has one with a standby that sleeps.
        """
        if not setting(self._scene, "connect", pair).is_made or is_asleep(self._scene, pair):
            return None
        if not self._scene.ours(pair.client):
            return None  # nobody knows when it connects anew
        before, after = sessions_of(self._before, pair), sessions_of(self._scene, pair)
        held = before.clear_held or before.held
        listed = self._scene.seen(pair.server).keeps_ended
        if (
            after.tls
            or self._is_listed_anew(pair, after)
            or not (held or after.stays_clear or (after.dials and listed))
        ):
            return None
        seen = "no session comes up: it does not accept %s, or is not accepted" % pair.server.name
        todo = "see which CA list %s reads, and its log" % pair.client.name
        expected = "a TLS session of %s" % pair.client.name
        return fails("switched", expected, seen, "no_session", todo=todo, security="tls_unverified")

    def _is_listed_anew(self, pair: Pair, after: Sessions) -> bool:
        """Return whether a TLS session of the client is listed that was not before the step.

        What passes sessions on hides whose each is, and which member has it: there a new one may be the client's, if it
        was seen dialling, and nothing but TLS.
        """
        if len(self._scene.origins(pair)) == 1:
            known = {session.peer for session in presented_by(self._before, pair)}
            return any(session.peer not in known for session in presented_by(self._scene, pair))
        if after.stays_clear or not after.dials:
            return False
        members = [
            each
            for each in self._scene.model.pairs_of_client(pair.client.name)
            if (each.server.component, each.listener) == (pair.server.component, pair.listener)
        ]
        known = {session.peer for each in members for session in presented_perhaps(self._before, each)}
        now = (session.peer for each in members for session in presented_perhaps(self._scene, each))
        return any(peer not in known for peer in now)

    def _silenced(self) -> Evidence | None:
        """Return that a clear port which answered before the step does not answer after it, if that is so."""
        if self.step.stage not in ("load", "permit", "connect"):
            return None
        for pair in (*self._pairs, *self._scene.served(self.step.instance)):
            if pair.id in self._closing or is_asleep(self._scene, pair):
                continue  # another member has taken over
            had, has = self._before.clear(pair).outcome, self._scene.clear(pair)
            if had == "clear" and has.outcome not in ("", "clear") and unreachable(self._scene, pair) is None:
                expected, seen = "%s still answers in the clear" % pair.server.name, has.reason or "it does not"
                return fails("permissive", expected, seen, "failed", todo="look at the log of %s" % pair.server.name)
        return None


def _is_silent(scene: Scene, pair: Pair) -> bool:
    """Return whether a listener was dialled and answers neither in the clear nor over TLS, and is no standby's."""
    if is_asleep(scene, pair):
        return False
    clear, tls = scene.clear(pair), scene.tls(pair)
    return bool(clear.outcome or tls.outcome) and clear.outcome != "clear" and not tls.is_tls


def silent_servers(scene: Scene) -> frozenset[str]:
    """Return the instances that serve and are not to be relied on: lost with their host, or silent."""
    return frozenset(
        pair.server.name
        for pair in scene.model.pairs
        if not pair.blocked and (pair.server.host in scene.lost or _is_silent(scene, pair))
    )
