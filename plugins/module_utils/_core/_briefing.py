# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a step's host is told of it; private to this collection."""

from __future__ import annotations

import typing as t

from ._dormant import is_asleep, may_rest
from ._entities import Instance
from ._kind import InstanceKind, Option
from ._scene import Scene, option_id, setting
from ._spec import State, StepSpec
from ._stages import steps_of
from ._steps import Step


def step_spec(scene: Scene, step: Step, *, own: bool = False) -> StepSpec:
    """Return the step as its host is told: the ``tls_step`` of a kind's entry point, and what surrounds it.

    ``edits`` holds what the kind declares for this stage and the host's files do not hold yet.

    Args:
        scene: what is known.
        step: the step.
        own: for a reverse, whether this run has begun the step.
    """
    kind = scene.kinds[step.instance.name]
    edits = () if step.reverse else _edits(scene, step)
    return StepSpec(
        state=_state(kind, step),
        id=step.id,
        stage=step.stage,
        target=step.target,
        reason=step.reason,
        instance=step.instance.name,
        component=step.instance.component,
        host=step.instance.host,
        directory=scene.directories[step.instance.host],
        folder=step.instance.component,
        of=list(step.of),
        pairs=list(step.pairs),
        listeners=[] if step.stage == "connect" else list(step.of),
        paths=_paths(scene, step),
        role=kind.role,
        edits=list(edits),
        files=list(kind.files),
        makes=dict(kind.makes),
        effects={path: dict(way) for path, way in kind.effects.items()},
        test=list(kind.test),
        apply=kind.how(step),
        reload=dict(kind.reload),
        restart=dict(kind.restart),
        workers=kind.workers,
        process=dict(kind.process),
        wait_for=_wait_for(scene, step),
        interruption=kind.cuts(step),
        own=own,
        may_rest=may_rest(scene, step.instance),
        ledger=dict(vars(scene.head)) if scene.head else {},
    )


def _paths(scene: Scene, step: Step) -> dict[str, str]:
    """Return where the material lies for a step: with the identity of its listener, or of its client."""
    if step.stage == "load" or not step.pairs:
        return scene.paths(step.instance)
    return scene.paths_in(scene.model.pair(step.pairs[0]), step.instance)


def _state(kind: InstanceKind, step: Step) -> State:
    if step.reverse:
        return "reverse"
    return "whole" if step.stage == "load" or kind.edits == "options" else "tasks"


def missing_options(scene: Scene, step: Step) -> list[Option]:
    """Return the options that a step has to write, each place once; a flip writes all stages of its server at once."""
    if step.stage == "load":
        return []
    places: dict[str, Option] = {}
    pairs = [scene.model.pair(name) for name in step.pairs]
    if step.stage != "connect":  # all pairs of a listener ask for the same there
        pairs = list({pair.listener.name: pair for pair in pairs}.values())
    for pair in pairs:
        flips = step.stage == "enforce" and scene.shape(pair) == "flip"
        for stage in [each for each in steps_of(pair) if each != "connect"] if flips else [step.stage]:
            for option in setting(scene, stage, pair).missing:
                places[option_id(option)] = option
    return list(places.values())


def _edits(scene: Scene, step: Step) -> list[dict[str, t.Any]]:
    """Return the options to write, by file."""
    files: dict[tuple[str, str], list[Option]] = {}
    for option in missing_options(scene, step):
        files.setdefault((option.file, option.format), []).append(option)
    return [
        {"path": path, "format": form, "options": [_row(option) for option in options]}
        for (path, form), options in sorted(files.items())
    ]


def _row(option: Option) -> dict[str, t.Any]:
    row: dict[str, t.Any] = {"section": option.section, "key": option.key}
    row.update({"state": "absent"} if option.value is None else {"value": option.value})
    row.update({name: value for name in ("separator", "like") if (value := getattr(option, name)) is not None})
    return row


def _wait_for(scene: Scene, step: Step) -> list[dict[str, t.Any]]:
    """Return which ports have to be open, or closed, once the process has taken its configuration.

    Those of listeners that the step is not about have to be as they were. A standby opens none before its failover; one
    that serves may hand over to another member when it is restarted, so its ports are waited for and not insisted on.
    """
    wanted: dict[tuple[str, int], tuple[bool, bool]] = {}
    for pair in scene.served(step.instance):
        if is_asleep(scene, pair):
            continue
        address, listener = scene.address(pair.server.host), pair.listener
        insist = pair.connection.dormant != "standby"
        moved = step.stage != "connect" and listener.name in step.of
        if scene.shape(pair) != "second_listener":
            wanted[address, listener.port] = True, insist
            continue
        answers = {"clear": scene.clear(pair).outcome == "clear", "tls": scene.tls(pair).is_tls}
        if moved and step.stage == "permit":
            answers["tls"] = not step.reverse
        if moved and step.stage == "enforce":
            answers["clear"] = step.reverse
        closed = {"clear": moved and step.stage == "enforce", "tls": False}
        for name, port in (("clear", listener.port), ("tls", listener.secure_port)):
            is_tcp = name == "tls" or not listener.is_udp  # of a UDP port the look that follows tells
            if is_tcp and port is not None and (answers[name] or closed[name]):
                wanted[address, port] = answers[name], insist
    return [
        {"address": address, "port": port, "open": open_, "insist": insist}
        for (address, port), (open_, insist) in sorted(wanted.items())
    ]


def reads_keystore_only(scene: Scene, instance: Instance, identity: str) -> bool:
    """Return whether nobody needs the key of an identity outside of a keystore: no option of its, no probe of ours."""
    formats = scene.kinds[instance.name].formats
    if "pkcs12" not in formats or "combined" in formats:
        return False
    pairs = scene.pairs_at(instance)
    if any(pair.client == instance and scene.model.presented_in(pair, instance) == identity for pair in pairs):
        return False  # a probe with the instance's own key reads it as PEM
    key = scene.paths(instance, identity)["key"]
    options = (
        option
        for pair in pairs
        for stage in steps_of(pair)
        if pair.end_of(stage) == instance
        for option in scene.options(stage, pair)
    )
    return not any(key in str(option.value) for option in options)
