# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where every pair stands, how far it may go in a run, and what keeps it from going on; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._dormant import must_be_seen, why_unexercised
from ._entities import Instance, Model, Pair
from ._evidence import Evidence, fails
from ._holding import material_fault
from ._presenting import waits_to_present
from ._scene import Scene, setting
from ._soak import why_not_soaked
from ._stages import GATES, MOVES_TO, examine, rank, reached, stage_of, steps_of, wrong_clock
from ._strangers import closes_itself, ends_plaintext

#: The stages of steps, in the order in which they go back.
BACK: t.Final = ("enforce", "demand", "connect", "permit")

Status = t.Literal["done", "due", "waiting", "blocked", "failed"]


@dataclass(frozen=True)
class Ask:
    """What somebody asked for.

    Attributes:
        scope: ids of the pairs that may be touched.
        until: the stage to stop at.
        hosts: the hosts that may be changed; None means all.
        watch: seconds that a clear listener is watched before enforcement.
        soak: seconds for which its peers should have been collected.
        window: the moment until which interruptions are allowed in this run, whatever windows say; 0 for none.
        by_wave: whether the scope is that of waves, so that what is outside waits for its own.
        back: the stages of the steps that a rollback takes back.
    """

    scope: frozenset[str]
    until: str
    hosts: frozenset[str] | None = None
    watch: float = 5.0
    soak: float = 0.0
    window: float = 0.0
    by_wave: bool = True
    back: tuple[str, ...] = BACK


@dataclass(frozen=True)
class View:
    """What is to be said of one pair.

    Attributes:
        stage: where it stands; where nobody could look, where the ledger has it.
        goal: how far it may go in this run.
        evidence: of its gates, up to the first that does not hold.
        why: what keeps it from what was asked for; None if nothing does.
    """

    pair: Pair
    stage: str
    goal: str
    status: Status
    evidence: tuple[Evidence, ...] = ()
    why: Evidence | None = None


class Survey:
    """Where every pair stands, and what keeps its listener open; each looked at once."""

    def __init__(self, scene: Scene, ask: Ask, evidence: dict[str, tuple[Evidence, ...]] | None = None) -> None:
        """Take the scene, what was asked for, and evidence that another survey of this scene has already gathered."""
        self.scene = scene
        self.ask = ask
        self._evidence = {} if evidence is None else evidence
        self._closing: dict[tuple[str, str], tuple[bool, Evidence | None]] = {}

    def evidence(self, pair: Pair) -> tuple[Evidence, ...]:
        """Return the evidence of the pair's gates."""
        if pair.id not in self._evidence:
            self._evidence[pair.id] = examine(self.scene, pair)
        return self._evidence[pair.id]

    def stage(self, pair: Pair) -> str:
        """Return the stage that the pair shows; where nobody could look, the one that the ledger has."""
        evidence = self.evidence(pair)
        if evidence[-1].fault in ("unreachable", "unseen") and not any(item.holds for item in evidence):
            return self.scene.recorded.get(pair.id, "plain")
        return stage_of(evidence)

    def furthest(self, pair: Pair) -> str:
        """Return how far the pair can go now: to ``until``, or less far while its listener has to stay open.

        A later wave keeps a listener open, and that is no reason to call this pair's own wave unfinished.
        """
        return self._goal(pair)[0]

    def views(self) -> tuple[View, ...]:
        """Return what is to be said of each pair."""
        return tuple(self.view(pair) for pair in self.scene.model.pairs)

    def view(self, pair: Pair) -> View:
        """Return what is to be said of a pair."""
        if pair.blocked:
            why = fails("plain", "its behaviour is built, and nobody forbids it", pair.blocked, "blocked")
            return View(pair, self.scene.recorded.get(pair.id, "plain"), "plain", "blocked", (), why)
        evidence, stage = self.evidence(pair), self.stage(pair)
        goal, waits = self._goal(pair)
        if rank(stage) >= rank(goal) and waits is None:
            return View(pair, stage, goal, "done", evidence)
        if pair.id not in self.ask.scope:
            return View(pair, stage, stage, "waiting", evidence, self._not_asked(pair))
        clock = wrong_clock(self.scene, pair) if rank(stage) < rank(goal) else None
        if clock is not None:
            return View(pair, stage, goal, "failed", evidence, clock)
        if evidence[-1].rule.hopeless or (evidence[-1].fault == "unseen" and stage == "plain"):
            return View(pair, stage, goal, "failed", evidence, evidence[-1])
        if rank(stage) >= rank(goal):
            return View(pair, stage, goal, "waiting", evidence, waits)
        if evidence[-1].fault == "theirs":
            return View(pair, stage, goal, "waiting", evidence, evidence[-1])
        outside = self._outside(pair, goal)
        if outside:
            limit = fails("reach", "%s may be changed" % outside, "--limit leaves it out", "held")
            return View(pair, stage, goal, "waiting", evidence, limit)
        return View(pair, stage, goal, "due", evidence, waits)

    def _not_asked(self, pair: Pair) -> Evidence:
        if self.ask.by_wave:
            seen = "waiting for wave %d" % pair.wave
            todo = "run connsec.tls.rollout when the waves before it are finished"
        else:
            seen, todo = "tls_scope does not name it", "name it in tls_scope, or leave tls_scope out"
        return fails(self.evidence(pair)[-1].gate, "to go on to %s" % self.ask.until, seen, "held", todo=todo)

    def _goal(self, pair: Pair) -> tuple[str, Evidence | None]:
        """Return how far the pair may go in this run, and what keeps it from ``until``."""
        flip = self.scene.shape(pair) == "flip"
        until = self.ask.until
        unsigned = waits_to_present(self.scene, pair) if rank(until) > rank("trusted") else None
        if unsigned is not None:
            return "trusted", unsigned
        if until == "demanded" and pair.mode != "mutual":
            until = "switched"
        if flip and until in ("permissive", "switched", "demanded"):
            seen = "its listener can only flip, from presented to enforced at once"
            todo = "run again with -e tls_until=enforced"
            return "presented", fails("enforced", "to go on to %s" % until, seen, "held", todo=todo)
        turns = closes_itself(self.scene, pair)
        if turns and until in ("switched", "demanded"):
            seen = (
                "its members refuse plaintext as soon as they use TLS, so they go from permissive to enforced at once"
            )
            todo = "run again with -e tls_until=enforced"
            return "permissive", fails("enforced", "to go on to %s" % until, seen, "held", todo=todo)
        if rank(until) <= rank("switched"):
            return until, None
        demands, waits = self.closing(pair)
        if waits is None or (demands and until == "demanded"):
            return until, None
        if flip or turns:
            return "presented" if flip else "permissive", waits
        return ("demanded" if demands and pair.mode == "mutual" else "switched"), waits

    def closing(self, pair: Pair) -> tuple[bool, Evidence | None]:
        """Return whether the pair's listener may demand certificates in this run, and why it may not be enforced.

        Who does not know all that use plaintext may not end it, and may well demand certificates of those on TLS.
        """
        key = (pair.server.name, pair.listener.name)
        if key not in self._closing:
            late = self._why_late(pair)
            waits = late or self._why_open(pair)
            self._closing[key] = ((waits if ends_plaintext(self.scene, "demand", pair) else late) is None, waits)
        return self._closing[key]

    def _why_open(self, pair: Pair) -> Evidence | None:
        """Return what is not known of those that use the listener in the clear; None if all is."""
        ask = self.ask
        soak = why_not_soaked(self.scene, pair, ask.soak) if ask.soak else None
        if soak is not None:
            return soak
        others = self.scene.model.pairs_of_listener(pair.server.name, pair.listener.name)
        # one that is not switched yet may show a session in this very run, and is asked before the step
        return next(
            (why for each in others if rank(self.stage(each)) >= rank("switched") and (why := self.unexercised(each))),
            None,
        )

    def unexercised(self, pair: Pair) -> Evidence | None:
        """Return that a pair which has to be seen over TLS never was, and has no drill; None otherwise."""
        if not must_be_seen(self.scene, pair):
            return None
        live = any(item.gate == "switched" and item.live for item in self.evidence(pair))
        seen = why_unexercised(self.scene, pair, live=live)
        if not seen:
            return None
        todo = "have it run or fail over once while this runs, or name the drill in its `drill`; then run again"
        if not pair.connection.dormant:
            owner = self.scene.model.owner_of(pair.client)
            todo = "ask %s whether %s uses TLS, and name in its `drill` who said so" % (owner, pair.client.component)
        return fails(
            "enforced", "every client of %s was seen over TLS" % pair.server.name, seen, "unexercised", todo=todo
        )

    def _why_late(self, pair: Pair) -> Evidence | None:
        """Return which other client of the listener has to come first; None if none has."""
        ask, expected = self.ask, "%s may be closed to plaintext" % pair.server.name
        for other in unit_of(self.scene.model, pair.server, pair.listener.name):
            if other.blocked:
                seen = "%s is blocked: %s" % (other.id, other.blocked)
                return fails("enforced", expected, seen, "held", todo="see to it first; its listener stays open for it")
            if other.id not in ask.scope and rank(self.stage(other)) < rank("switched"):
                seen = "waiting for wave %d: %s is not switched" % (other.wave, other.id)
                todo = "go on with wave %d" % other.wave
                return fails("enforced", expected, seen, "held", todo=todo)
        return None

    def _outside(self, pair: Pair, goal: str) -> str:
        """Return the host outside ``--limit`` on which the next thing that moves the pair would have to be done."""
        hosts = self.ask.hosts
        if hosts is None or not self.scene.looked:
            return ""
        for end in self.scene.our_ends(pair):
            if end.host not in hosts and rank(goal) >= rank("trusted") and material_fault(self.scene, end):
                return end.host
        for stage in steps_of(pair):
            if rank(MOVES_TO[stage]) <= rank(goal) and why_step(self.scene, stage, pair):
                end = pair.end_of(stage)
                return "" if end.host in hosts else end.host
        return ""


def why_step(scene: Scene, stage: str, pair: Pair, loading: t.Collection[str] = ()) -> str:
    """Return why a step of this stage is due for the pair; empty if it is not.

    A gate that fails only because a process runs with older material is a matter for a ``load`` step; one that fails
    because its client has no material yet is a matter of that.

    Args:
        scene: what is seen.
        stage: of the step.
        pair: the pair.
        loading: names of instances that a ``load`` step makes use what is installed.
    """
    if not scene.looked:
        stood = scene.recorded.get(pair.id, "plain")
        return "the ledger says %s" % stood if rank(stood) < rank(MOVES_TO[stage]) else ""
    gate = GATES[MOVES_TO[stage]](scene, pair)
    if gate.holds or not gate.rule.by_step or not setting(scene, stage, pair).declared:
        return ""
    if gate.fault == "handshake":
        if pair.end_of(stage).name in loading:
            return ""
        if setting(scene, stage, pair).is_made and material_fault(scene, scene.vantage(pair)):
            return ""
    return gate.seen


def drifted(scene: Scene, pair: Pair, stage: str) -> bool:
    """Return whether a pair that stands at a stage had got further, without anybody going back."""
    return rank(stage) < rank(reached(scene, pair))


def unit_of(model: Model, server: Instance, listener: str) -> list[Pair]:
    """Return the pairs that have to be on TLS before a listener is closed.

    That are its own, and those of its cluster: members go as a unit, so none is closed before all have got there.
    """
    own = model.pairs_of_listener(server.name, listener)
    if not any(pair.link for pair in own):
        return list(own)
    members = [each for each in model.instances_of(server.component) if each != server]
    others = (pair for each in members for pair in model.pairs_of_listener(each.name, listener) if pair.link)
    return [*own, *others]


def instances_of(pairs: t.Iterable[Pair]) -> list[Instance]:
    """Return the instances at the ends of these pairs, each once, by name."""
    found = {end.name: end for pair in pairs for end in pair.ends}
    return [found[name] for name in sorted(found)]
