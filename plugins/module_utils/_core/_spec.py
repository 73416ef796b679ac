# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step in the words that its host needs: what to edit, test, apply and wait for; private to this collection."""

from __future__ import annotations

import typing as t

from ._entities import Pair
from ._kind import InstanceKind, Option
from ._plan import Step
from ._scene import Scene, clear_probe, option_id, tls_probe, unset

_FLIP_STAGES: t.Final = ("permit", "demand", "enforce")


def step_spec(scene: Scene, step: Step) -> dict[str, t.Any]:
    """Return the step as plain data: the ``tls_step`` of a kind's entry point, and what surrounds it.

    ``edits`` holds what the kind declares for this stage and the host's files do not hold yet, by file.
    """
    kind = scene.kinds[step.instance.name]
    pairs = [scene.model.pair(name) for name in step.pairs]
    return {
        "id": step.id,
        "stage": step.stage,
        "instance": step.instance.name,
        "component": step.instance.component,
        "host": step.instance.host,
        "target": step.target,
        "of": list(step.of),
        "pairs": list(step.pairs),
        "listeners": sorted({pair.listener.name for pair in pairs}) if step.stage != "connect" else [],
        "reason": step.reason,
        "reverse": step.reverse,
        "role": kind.role,
        "edits": [] if step.reverse or step.stage == "load" else _edits(scene, step, pairs),
        "paths": scene.paths(step.instance),
        "directory": scene.directories[step.instance.host],
        "folder": step.instance.component,
        "files": list(kind.files),
        "test": list(kind.test),
        "reload": dict(kind.reload),
        "restart": dict(kind.restart),
        "process": dict(kind.process),
        "apply": _apply(kind, step),
        "wait_for": _wait_for(scene, step, pairs),
        "interruption": kind.interruption,
    }


def _apply(kind: InstanceKind, step: Step) -> str:
    if step.apply == "restart" and kind.restart:
        return "restart"
    return kind.apply


def _edits(scene: Scene, step: Step, pairs: t.Sequence[Pair]) -> list[dict[str, t.Any]]:
    places: dict[str, Option] = {}
    for pair in pairs:
        flip = scene.shape(pair) == "flip" and step.stage == "enforce"
        stages = [s for s in _FLIP_STAGES if s != "demand" or pair.mode == "mutual"] if flip else [step.stage]
        for stage in stages:
            for option in unset(scene, stage, pair):
                places[option_id(option)] = option
    files: dict[tuple[str, str], list[Option]] = {}
    for option in places.values():
        files.setdefault((option.file, option.format), []).append(option)
    return [
        {"path": path, "format": form, "options": [_option(option) for option in options]}
        for (path, form), options in sorted(files.items())
    ]


def _option(option: Option) -> dict[str, t.Any]:
    row: dict[str, t.Any] = {"section": option.section, "key": option.key}
    if option.value is None:
        row["state"] = "absent"
    else:
        row["value"] = option.value
    return row


def _wait_for(scene: Scene, step: Step, pairs: t.Sequence[Pair]) -> list[dict[str, t.Any]]:
    """Return which ports have to be open, or closed, once the process has taken its configuration."""
    wanted: dict[tuple[str, int], bool] = {}
    for pair in pairs:
        if pair.server.name != step.instance.name:
            continue
        address, port, secure = scene.address(pair.server.host), pair.listener.port, pair.listener.secure_port
        if scene.shape(pair) != "second_listener":
            wanted[address, port] = True
            continue
        answered = {
            port: scene.probes.get(clear_probe(pair), {}).get("outcome") == "clear",
            secure: scene.probes.get(tls_probe(pair), {}).get("outcome") == "tls",
        }
        if step.stage == "permit" and not step.reverse:
            answered[secure] = True
        if step.stage == "enforce":
            answered[port] = step.reverse
        if step.stage == "permit" and step.reverse:
            answered[secure] = False
        for number, open_ in answered.items():
            if number is not None and (open_ or (number == port and step.stage == "enforce")):
                wanted[address, number] = open_
    return [{"address": address, "port": port, "open": open_} for (address, port), open_ in sorted(wanted.items())]
