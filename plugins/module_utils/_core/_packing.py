# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps packed into rounds: what may run at the same time, and in which order; private to this collection."""

from __future__ import annotations

import typing as t

from ._entities import Instance
from ._scene import Scene
from ._steps import Round, Step

_Turn = t.Callable[[Scene, t.Sequence[Step]], t.List[Step]]

#: Phases of a run in order. ``flip`` is a phase of its own, for its rounds are judged and taken back as one.
PHASES: t.Final = ("load", "permit", "connect", "flip", "demand", "enforce")
#: Going back, listeners are opened before clients leave TLS, and clients leave it before servers end it.
PHASES_BACK: t.Final = ("flip", "enforce", "demand", "connect", "permit")


def pack(scene: Scene, steps: t.Sequence[Step], *, back: bool = False) -> tuple[Round, ...]:
    """Return the rounds of some steps.

    Going back, an instance's latest step of a phase goes first: it came on what those before it had left.
    """
    turned = _latest_first if back else _as_given
    flips, others = _flips(scene, turned(scene, steps), turned)
    others = turned(scene, sorted(others, key=lambda step: (step.instance.name, step.id)))
    rounds: list[Round] = []
    for phase in PHASES_BACK if back else PHASES:
        rounds += flips if phase == "flip" else _apart(scene, [step for step in others if step.stage == phase], phase)
    return tuple(rounds)


def _latest_first(scene: Scene, steps: t.Sequence[Step]) -> list[Step]:
    """Return the steps, those of each instance so that the one which was done last comes first."""

    def age(step: Step) -> float:
        return -scene.seen(step.instance).kept_since.get(step.id, 0.0)

    left: dict[Instance, list[Step]] = {}
    for step in sorted(steps, key=age):
        left.setdefault(step.instance, []).append(step)
    return [left[step.instance].pop(0) for step in steps]


def _as_given(scene: Scene, steps: t.Sequence[Step]) -> list[Step]:
    return list(steps)


def _apart(scene: Scene, steps: t.Sequence[Step], phase: str) -> list[Round]:
    """Return rounds in which no two members of a component, and no two steps of an instance, meet.

    Nor do those of two components that share a process on some host, as a cluster's links do with its other listeners.
    """
    packed: list[list[Step]] = []
    taken: list[set[str]] = []
    moved: list[dict[str, str]] = []
    servers = _servers(scene)
    for step in steps:
        component, host = step.instance.component, step.instance.host
        server = servers.get(component, component)
        free = (
            at
            for at, components in enumerate(taken)
            if component not in components and moved[at].get(server, host) == host
        )
        number = next(free, len(packed))
        if number == len(packed):
            packed.append([])
            taken.append(set())
            moved.append({})
        packed[number].append(step)
        taken[number].add(component)
        moved[number][server] = host
    return [_round(scene, phase, row) for row in packed]


def _servers(scene: Scene) -> dict[str, str]:
    """Return one name for all components that share a process with each other, by component."""
    named: dict[str, str] = {}
    seen: dict[tuple[str, str], str] = {}
    for name in sorted(scene.kinds):
        instance, process = Instance.parse(name), scene.kinds[name].process
        own = named.setdefault(instance.component, instance.component)
        other = named[seen.setdefault((instance.host, repr(sorted(process.items()))), instance.component)]
        if process and other != own:
            named = {each: other if server == own else server for each, server in named.items()}
    return named


def _flips(scene: Scene, steps: t.Sequence[Step], turned: _Turn) -> tuple[list[Round], list[Step]]:
    """Return a round for each listener that flips, its server's step and its clients', and the steps that are left.

    Members of a cluster dial each other, so all of them are in one round.
    """
    servers = [step for step in steps if step.stage == "enforce" and _can_only_flip(scene, step)]
    rounds = []
    left = [step for step in steps if step not in servers]
    for unit in _units(scene, servers):
        moved = {name for server in unit for name in server.pairs}
        clients = [step for step in left if step.stage == "connect" and moved & set(step.pairs)]
        left = [step for step in left if step not in clients]
        rounds.append(_round(scene, "flip", turned(scene, [*unit, *clients]), together=True))
    return rounds, left


def _units(scene: Scene, servers: t.Sequence[Step]) -> list[list[Step]]:
    """Return the servers' steps that move at one moment: each alone, and those of a cluster's listener together."""
    units: dict[tuple[str, ...], list[Step]] = {}
    for step in servers:
        linked = any(scene.model.pair(name).link for name in step.pairs)
        key = (step.instance.component, step.id) if linked else (step.instance.name, step.id)
        units.setdefault(key, []).append(step)
    return list(units.values())


def _can_only_flip(scene: Scene, step: Step) -> bool:
    return scene.shape(scene.model.pair(step.pairs[0])) == "flip"


def _round(scene: Scene, phase: str, steps: t.Sequence[Step], *, together: bool = False) -> Round:
    interruption = max(scene.kinds[step.instance.name].cuts(step) for step in steps)
    return Round(phase, tuple(steps), together, interruption)
