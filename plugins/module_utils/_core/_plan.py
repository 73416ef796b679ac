# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: which steps take the pairs in scope from what was seen to what is wanted; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._entities import Instance, Pair
from ._errors import TlsError
from ._scene import Evidence, Scene, unset
from ._stages import GATES, environment_fault, examine, rank, reload_is_due, stage_of, stale_client

#: Phases of a run, in order. ``flip`` is a phase of its own, for its rounds are judged and reversed as one.
PHASES: t.Final = ("load", "permit", "connect", "flip", "demand", "enforce")

#: What a pair must have reached for a step of this stage to move it.
MOVES_TO: t.Final = {"permit": "permissive", "connect": "switched", "demand": "demanded", "enforce": "enforced"}


class PlanError(TlsError):
    """The plan that was asked for cannot be made."""


@dataclass(frozen=True)
class Step:
    """One piece of work on one instance.

    Attributes:
        id: its name on the host, the same in every run that plans it.
        stage: ``load`` (no edit), ``permit``, ``connect``, ``demand`` or ``enforce``.
        instance: the instance that it works on.
        of: the listeners, or for ``connect`` the pairs, that it moves and that its reverse undoes.
        pairs: the pairs that its gate judges.
        reason: why it is due.
        apply: ``reload``, ``restart`` or ``kind`` (what the kind does after an edit).
        reverse: whether this step undoes what a step of this id did.
    """

    id: str
    stage: str
    instance: Instance
    of: tuple[str, ...]
    pairs: tuple[str, ...]
    reason: str
    apply: str = "kind"
    reverse: bool = False

    @property
    def target(self) -> str:
        """Return the step's logical name."""
        return "%s %s %s" % ("undo" if self.reverse else "step", self.id, self.instance.name)


@dataclass(frozen=True)
class Round:
    """Steps of different instances that may run at the same time; ``together`` means judged and reversed as one."""

    phase: str
    steps: tuple[Step, ...]
    together: bool = False
    interruption: float = 0.0


@dataclass(frozen=True)
class View:
    """What the plan says of one pair."""

    pair: Pair
    stage: str
    goal: str
    status: str
    evidence: tuple[Evidence, ...]
    waits: str = ""


@dataclass(frozen=True)
class Ask:
    """What somebody asked for.

    Attributes:
        scope: ids of the pairs that may be touched.
        until: the stage to stop at.
        hosts: the hosts that may be changed; None means all.
        watch: seconds that a clear listener is watched before enforcement.
        soak: seconds for which its peers should have been collected.
    """

    scope: frozenset[str]
    until: str
    hosts: frozenset[str] | None = None
    watch: float = 5.0
    soak: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Everything that one run is about to do, in order."""

    views: tuple[View, ...]
    rounds: tuple[Round, ...]
    material: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    environment: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is due."""
        return not (self.rounds or self.material or self.environment)


def make_plan(scene: Scene, ask: Ask) -> Plan:
    """Return the plan that takes the pairs in scope as far as they may go.

    Args:
        scene: model, what is wanted, and what was seen.
        ask: scope, stage and hosts.
    """
    survey = Survey(scene, ask)
    views = tuple(_view(survey, pair) for pair in scene.model.pairs)
    active = [view for view in views if view.pair.id in ask.scope and view.status in ("due", "waiting")]
    material = _by_host(_material_due(scene, ask, active))
    environment = _by_host(_environment_due(scene, ask, active))
    steps = _steps(scene, ask, active, touched={name for names in material.values() for name in names})
    return Plan(views=views, rounds=_rounds(scene, steps), material=material, environment=environment)


def make_rollback(scene: Scene, ask: Ask) -> Plan:
    """Return the plan that takes back every step that the hosts keep a snapshot of, latest stages first.

    Enforcement and demands are undone before clients, and clients before servers, so that nobody is cut off.
    """
    steps = []
    for instance in _instances(scene, ask.scope):
        kept = scene.instances.get(instance.name, {}).get("steps") or {}
        for stage in ("enforce", "demand", "connect", "permit"):
            for step in (_kept_step(scene, ask, instance, stage, name) for name in sorted(kept)):
                if step is not None:
                    steps.append(step)
    order = {"enforce": 0, "demand": 1, "connect": 2, "permit": 3}
    rounds: list[Round] = []
    for phase in sorted(order, key=order.__getitem__):
        rounds += _pack(scene, [step for step in steps if step.stage == phase and not _flips_alone(scene, step)], phase)
    survey = Survey(scene, ask)
    views = tuple(_view(survey, pair) for pair in scene.model.pairs)
    return Plan(views=views, rounds=(*_flips(scene, [step for step in steps if _flips_alone(scene, step)]), *rounds))


class Survey:
    """Where every pair stands, and what keeps its listener open; each looked at once."""

    def __init__(self, scene: Scene, ask: Ask, evidence: dict[str, tuple[Evidence, ...]] | None = None) -> None:
        """Take the scene, what was asked for, and evidence that another survey of this scene has already gathered."""
        self.scene = scene
        self.ask = ask
        self._evidence = {} if evidence is None else evidence
        self._closing: dict[tuple[str, str], str] = {}

    def evidence(self, pair: Pair) -> tuple[Evidence, ...]:
        """Return the evidence of the pair's gates."""
        if pair.id not in self._evidence:
            self._evidence[pair.id] = examine(self.scene, pair)
        return self._evidence[pair.id]

    def stage(self, pair: Pair) -> str:
        """Return the stage that the pair has reached."""
        return stage_of(self.evidence(pair))

    def furthest(self, pair: Pair) -> str:
        """Return how far the pair can go now: to ``until``, or less far while its listener has to stay open.

        A later wave keeps a listener open, and that is no reason to call this pair's own wave unfinished.
        """
        return _goal(self, pair)[0]

    def closing(self, pair: Pair) -> str:
        """Return why the pair's listener may not be demanded or enforced in this run; empty if it may."""
        key = (pair.server.name, pair.listener.name)
        if key not in self._closing:
            self._closing[key] = self._why_open(pair)
        return self._closing[key]

    def _why_open(self, pair: Pair) -> str:
        ask = self.ask
        if ask.soak > ask.watch:
            return "tls_soak is %d s and tls_watch %d s; collecting between runs is not built yet" % (
                ask.soak,
                ask.watch,
            )
        for other in self.scene.model.pairs_of_listener(pair.server.name, pair.listener.name):
            if other.blocked:
                return "%s is blocked: %s" % (other.id, other.blocked)
            if other.id not in ask.scope and rank(self.stage(other)) < rank("switched"):
                return "waiting for wave %d: %s is not switched" % (other.wave, other.id)
        return ""


def _view(survey: Survey, pair: Pair) -> View:
    ask = survey.ask
    if pair.blocked:
        return View(pair, "plain", "plain", "blocked", (), pair.blocked)
    evidence = survey.evidence(pair)
    stage = stage_of(evidence)
    goal, waits = _goal(survey, pair)
    if rank(stage) >= rank(ask.until):
        return View(pair, stage, ask.until, "done", evidence)
    if evidence[-1].fault in ("unreachable", "unseen", "silent"):
        return View(pair, stage, goal, "failed", evidence, evidence[-1].seen)
    if pair.id not in ask.scope:
        return View(pair, stage, stage, "waiting", evidence, "waiting for wave %d" % pair.wave)
    if rank(stage) >= rank(goal):
        return View(pair, stage, goal, "waiting", evidence, waits)
    return View(pair, stage, goal, "due", evidence, waits)


def _goal(survey: Survey, pair: Pair) -> tuple[str, str]:
    """Return how far the pair may go in this run, and what keeps it from ``until``."""
    flip = survey.scene.shape(pair) == "flip"
    until = survey.ask.until
    if until == "demanded" and pair.mode != "mutual":
        until = "switched"
    if flip and until in ("permissive", "switched", "demanded"):
        return (
            "presented",
            "its listener can only flip, from presented to enforced at once: it needs tls_until=enforced",
        )
    if rank(until) <= rank("switched"):
        return until, ""
    waits = survey.closing(pair)
    if not waits:
        return until, ""
    return ("presented" if flip else "switched"), waits


def _instances(scene: Scene, scope: t.Iterable[str]) -> list[Instance]:
    """Return the instances of these pairs, each once, by name."""
    wanted = set(scope)
    found = {}
    for pair in scene.model.pairs:
        if pair.id in wanted and not pair.blocked:
            found[pair.client.name] = pair.client
            found[pair.server.name] = pair.server
    return [found[name] for name in sorted(found)]


def _allowed(ask: Ask, scene: Scene, instance: Instance) -> bool:
    return (ask.hosts is None or instance.host in ask.hosts) and instance.host not in scene.lost


def _ends(views: t.Sequence[View]) -> list[Instance]:
    found = {end.name: end for view in views for end in (view.pair.client, view.pair.server)}
    return [found[name] for name in sorted(found)]


def _material_due(scene: Scene, ask: Ask, views: t.Sequence[View]) -> list[Instance]:
    ready = [view for view in views if rank(view.goal) >= rank("trusted")]
    if scene.remembered is not None:
        return _ends([view for view in ready if rank(view.stage) < rank("presented")])
    return [end for end in _ends(ready) if _allowed(ask, scene, end) and material_fault(scene, end)]


def material_fault(scene: Scene, instance: Instance) -> str | None:
    """Return why the instance's material has to be installed, if it has to."""
    seen, wanted = scene.instances.get(instance.name, {}), scene.wanted[instance.name]
    if not seen.get("generation"):
        return "no generation is installed"
    if seen.get("drift"):
        return str(seen["drift"][0])
    inputs = (seen.get("manifest") or {}).get("inputs") or {}
    if not wanted.complete or inputs.get("certificate") != wanted.certificate:
        return "the certificate is another"
    if sorted(inputs.get("trust") or ()) != sorted(wanted.trust or ()):
        return "the CA list is another"
    if sorted(inputs.get("formats") or ()) != sorted(wanted.formats):
        return "the formats are others"
    return None


def _environment_due(scene: Scene, ask: Ask, views: t.Sequence[View]) -> list[Instance]:
    ready = [view for view in views if rank(view.goal) >= rank("presented")]
    if scene.remembered is not None:
        ready = [view for view in ready if rank(view.stage) < rank("presented")]
    return [
        end
        for end in _ends(ready)
        if _allowed(ask, scene, end) and scene.kinds[end.name].environment and environment_unset(scene, end)
    ]


def environment_unset(scene: Scene, instance: Instance) -> bool:
    """Return whether the file that gives the instance its environment lacks a variable."""
    written = scene.instances.get(instance.name, {}).get("environment") or {}
    return bool(written.get("missing", True))


def _by_host(instances: t.Iterable[Instance]) -> dict[str, tuple[str, ...]]:
    hosts: dict[str, list[str]] = {}
    for instance in instances:
        hosts.setdefault(instance.host, []).append(instance.name)
    return {host: tuple(names) for host, names in sorted(hosts.items())}


def _steps(scene: Scene, ask: Ask, views: t.Sequence[View], *, touched: t.Collection[str]) -> list[tuple[str, Step]]:
    """Return the steps with their phase, each (stage, instance, listener) once."""
    steps = [("load", step) for step in _load_steps(scene, ask, views, touched)]
    loading = {step.instance.name for _, step in steps}
    grouped: dict[tuple[str, str, str], list[tuple[Pair, str]]] = {}
    ends: dict[str, Instance] = {}
    for view in views:
        for phase, stage, end, reason in _due(scene, view, loading):
            if _allowed(ask, scene, end):
                name = step_id(scene, stage, view.pair)
                grouped.setdefault((phase, end.name, name), []).append((view.pair, reason))
                ends[end.name] = end
    for (phase, end_name, name), rows in sorted(grouped.items()):
        stage = name.partition("-")[0]
        pairs = sorted({pair.id for pair, _ in rows})
        of = tuple(pairs) if stage == "connect" else tuple(sorted({pair.listener.name for pair, _ in rows}))
        steps.append((phase, Step(name, stage, ends[end_name], of, tuple(pairs), rows[0][1])))
    return steps


def step_id(scene: Scene, stage: str, pair: Pair) -> str:
    """Return the name of the step that moves this pair; a flip has one per member, for each member flips alone."""
    if stage != "connect":
        return "%s-%s" % (stage, pair.listener.name)
    name = "connect-%s.%s" % (pair.server.component, pair.listener.name)
    return "%s@%s" % (name, pair.server.host) if scene.shape(pair) == "flip" else name


def _due(scene: Scene, view: View, loading: t.Collection[str]) -> t.Iterator[tuple[str, str, Instance, str]]:
    """Yield (phase, stage, instance, reason) of each step that this pair needs to reach its goal."""
    pair, goal = view.pair, rank(view.goal)
    stages = [("permit", pair.server), ("connect", pair.client), ("enforce", pair.server)]
    if pair.mode == "mutual":
        stages.insert(2, ("demand", pair.server))
    wanted = [(stage, end) for stage, end in stages if goal >= rank(MOVES_TO[stage])]
    due = [(stage, end, why(scene, stage, pair, loading)) for stage, end in wanted]
    if scene.shape(pair) == "flip":
        if any(reason for _, _, reason in due):
            for stage, end, _ in due:
                if stage in ("connect", "enforce"):
                    yield "flip", stage, end, "plaintext and TLS cannot stand side by side on this listener"
        return
    for stage, end, reason in due:
        if reason:
            yield stage, stage, end, reason


def why(scene: Scene, stage: str, pair: Pair, loading: t.Collection[str] = ()) -> str:
    """Return why a step of this stage is due for the pair; empty if it is not.

    A gate that fails only because a process runs with older material is a matter for a ``load`` step.
    """
    if scene.remembered is not None:
        reached = scene.remembered.get(pair.id, "plain")
        return "the ledger says %s" % reached if rank(reached) < rank(MOVES_TO[stage]) else ""
    end = pair.client if stage == "connect" else pair.server
    missing = unset(scene, stage, pair)
    if missing:
        found = (scene.instances.get(end.name, {}).get("reads") or {}).get(
            "%s|%s|%s" % (missing[0].file, missing[0].section, missing[0].key)
        )
        return "%s is %s" % (missing[0].place, "not set" if found is None else "%r" % found)
    gate = GATES[MOVES_TO[stage]](scene, pair)
    if gate.holds or gate.fault in ("stale", "leftover", "unverified", "material", "environment"):
        return ""
    if gate.fault == "handshake" and end.name in loading:
        return ""
    return gate.seen


def _load_steps(scene: Scene, ask: Ask, views: t.Sequence[View], touched: t.Collection[str]) -> list[Step]:
    """Return the reloads and restarts that make running processes use what is installed for them."""
    if scene.remembered is not None:
        return []
    steps = []
    at: dict[str, list[Pair]] = {}
    for view in views:
        if rank(view.goal) >= rank("presented"):
            for name in (view.pair.client.name, view.pair.server.name):
                at.setdefault(name, []).append(view.pair)
    for end in _ends([view for view in views if rank(view.goal) >= rank("presented")]):
        if not _allowed(ask, scene, end):
            continue
        pairs = at[end.name]
        reason = _load_reason(scene, end, pairs, touched)
        if reason:
            apply = "restart" if environment_fault(scene, end) else "kind"
            steps.append(Step("load", "load", end, (), tuple(sorted(pair.id for pair in pairs)), reason, apply=apply))
    return steps


def _load_reason(scene: Scene, end: Instance, pairs: t.Sequence[Pair], touched: t.Collection[str]) -> str:
    fault = environment_fault(scene, end)
    if fault:
        return fault
    if reload_is_due(scene, end):
        return "a reload is noted and has not happened"
    uses = [
        pair
        for pair in pairs
        if (pair.server.name == end.name and scene.options("permit", pair) and not unset(scene, "permit", pair))
        or (pair.client.name == end.name and scene.options("connect", pair) and not unset(scene, "connect", pair))
    ]
    if not uses:
        return ""
    if end.name in touched:
        return "its material is installed anew"
    if stale_client(scene, end):
        return "it has not loaded what is installed"
    for pair in uses:
        if pair.server.name == end.name and GATES["permissive"](scene, pair).fault == "stale":
            return "it presents another certificate than the installed one"
    return ""


def _kept_step(scene: Scene, ask: Ask, instance: Instance, stage: str, name: str) -> Step | None:
    """Return the reverse of a step whose snapshot the host keeps, if it moved a pair in scope."""
    if name.partition("-")[0] != stage or not _allowed(ask, scene, instance):
        return None
    end = "client" if stage == "connect" else "server"
    pairs = [
        pair
        for pair in scene.model.pairs
        if pair.id in ask.scope and getattr(pair, end).name == instance.name and step_id(scene, stage, pair) == name
    ]
    if not pairs:
        return None
    ids = tuple(sorted(pair.id for pair in pairs))
    of = ids if stage == "connect" else tuple(sorted({pair.listener.name for pair in pairs}))
    return Step(name, stage, instance, of, ids, "going back was asked for", reverse=True)


def _rounds(scene: Scene, steps: t.Sequence[tuple[str, Step]]) -> tuple[Round, ...]:
    rounds: list[Round] = []
    for phase in PHASES:
        mine = [step for name, step in steps if name == phase]
        if phase == "flip":
            rounds += _flips(scene, mine)
        else:
            rounds += _pack(scene, mine, phase)
    return tuple(rounds)


def _pack(scene: Scene, steps: t.Sequence[Step], phase: str) -> list[Round]:
    """Return rounds in which no two members of a component, and no two steps of an instance, meet."""
    packed: list[list[Step]] = []
    taken: list[set[str]] = []
    for step in sorted(steps, key=lambda step: (step.instance.name, step.id)):
        free = (at for at, components in enumerate(taken) if step.instance.component not in components)
        number = next(free, len(packed))
        if number == len(packed):
            packed.append([])
            taken.append(set())
        packed[number].append(step)
        taken[number].add(step.instance.component)
    return [
        Round(phase, tuple(row), interruption=max(scene.kinds[step.instance.name].interruption for step in row))
        for row in packed
    ]


def _flips_alone(scene: Scene, step: Step) -> bool:
    """Return whether the step moves a listener that can only flip."""
    return scene.shape(scene.model.pair(step.pairs[0])) == "flip"


def _flips(scene: Scene, steps: t.Sequence[Step]) -> list[Round]:
    """Return one round for each listener instance that flips: the server's step and all its clients'."""
    rounds = []
    for server in [step for step in steps if step.stage == "enforce"]:
        moved = set(server.pairs)
        clients = [step for step in steps if step.stage == "connect" and moved & set(step.pairs)]
        together = (server, *clients)
        rounds.append(
            Round(
                "flip",
                together,
                together=True,
                interruption=max(scene.kinds[step.instance.name].interruption for step in together),
            )
        )
    return rounds
