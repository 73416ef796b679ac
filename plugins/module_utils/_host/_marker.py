# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marker of steps that are under way on an instance; private to this collection.

It stands from before a step's first edit until the process has taken the change, so whoever finds one knows that a step
was cut off or that its reload is due. Several steps of an instance may be under way: each has its own entry, and the
file goes away with the last one.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from .._core._spec import StepSpec
from ._files import remove, write_durable
from ._installed import PENDING, Json, read_json

Phase = t.Literal["editing", "reloading", "reversing"]


class Marker:
    """The entry of one step."""

    def __init__(self, base: str, spec: StepSpec) -> None:
        """Take in the instance's folder and the step."""
        self._path = os.path.join(base, PENDING)
        self._spec = spec

    def entry(self) -> Json:
        """Return it: ``step``, ``phase``, ``at``, ``ran`` and ``to``; empty if the step is not noted.

        Raises:
            FilesError: the file is damaged.
        """
        found = (read_json(self._path) or {}).get(self._spec.id)
        return found if isinstance(found, dict) else {}

    def stands(self, phase: Phase | None = None) -> bool:
        """Return whether the step is noted, and in this phase if one is given."""
        entry = self.entry()
        return bool(entry) and phase in (None, entry["phase"])

    def note(self, phase: Phase, **more: t.Any) -> None:
        """Note how far the step has come; nothing is written where that is noted already.

        Args:
            phase: how far.
            more: ``ran``, whether the process ran when it was given the step; ``to``, what a reverse puts back.
        """
        if more or not self.stands(phase):
            spec = self._spec
            step = {"id": spec.id, "stage": spec.stage, "of": list(spec.of), "pairs": list(spec.pairs)}
            entry = {"step": step, "phase": phase, "at": now(), "ran": self.entry().get("ran"), **more}
            write_json(self._path, {**(read_json(self._path) or {}), spec.id: entry})

    def clear(self) -> None:
        """Take the entry away: the step is done, or taken back."""
        entries = read_json(self._path) or {}
        if entries.pop(self._spec.id, None) is None:
            return
        if entries:
            write_json(self._path, entries)
        else:
            remove(self._path)


def write_json(path: str, value: Json) -> None:
    """Write a file of ours that nobody else has to read."""
    write_durable(path, (json.dumps(value, sort_keys=True) + "\n").encode(), mode=0o600)


def now() -> float:
    """Return the moment, in seconds since 1970."""
    return round(time.time(), 3)
