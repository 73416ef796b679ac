# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step on its host, as the engine describes it; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field

from ._errors import TlsError

Json = t.Mapping[str, t.Any]

#: What is asked of a host at once; ``tasks`` where the entry point of a kind's role comes in between.
State = t.Literal["begin", "finish", "whole", "reverse", "forget", "tasks"]
STATES: t.Final = ("begin", "finish", "whole", "reverse", "forget")


class SpecRefused(TlsError):
    """A step is not described as a step is."""


@dataclass(frozen=True)
class StepSpec:
    """A step on its host.

    Attributes:
        state: which part of it is asked for.
        id, stage, target, reason, of, pairs: as of the step.
        instance, component, host: whose it is.
        directory, folder: the host's folder of ours, and the instance's in it.
        listeners: for a kind's entry point, the listeners that it is about.
        paths: where the instance finds its material.
        role: the kind's role.
        edits: options to set, by file: ``path``, ``format`` and ``options``.
        files: the files that the kind may edit.
        makes: the modes of those that are made where they are missing.
        effects: what other programs that read one of those are told once it has changed, instead of the process.
        test: the configuration test, as arguments.
        apply: ``reload`` or ``restart``.
        reload, restart: how that is done.
        workers: ``replaced`` where a reload starts other processes below the main one, else ``kept``.
        process: how its process is found.
        wait_for: ports that are to be open or closed once the process has taken its configuration; a standby's are not
            insisted on.
        interruption: seconds that it may take on top of what is usual.
        own: for a reverse, whether the run that takes the step back has begun it as well.
        may_rest: whether its process need not run: it reads what is new when somebody starts it.
        ledger: where the ledger's history ended when this was handed out; the host keeps it with what it loaded.
    """

    state: State
    id: str
    stage: str
    target: str
    reason: str
    instance: str
    component: str
    host: str
    directory: str
    folder: str
    of: t.Sequence[str] = ()
    pairs: t.Sequence[str] = ()
    listeners: t.Sequence[str] = ()
    paths: t.Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    edits: t.Sequence[Json] = ()
    files: t.Sequence[str] = ()
    makes: t.Mapping[str, str] = field(default_factory=dict)
    effects: t.Mapping[str, Json] = field(default_factory=dict)
    test: t.Sequence[str] = ()
    apply: str = "reload"
    reload: Json = field(default_factory=dict)
    restart: Json = field(default_factory=dict)
    workers: str = "kept"
    process: Json = field(default_factory=dict)
    wait_for: t.Sequence[Json] = ()
    interruption: float = 0.0
    own: bool = False
    may_rest: bool = False
    ledger: Json = field(default_factory=dict)

    def to_json(self) -> dict[str, t.Any]:
        """Return it as plain data."""
        return dataclasses.asdict(self)

    @staticmethod
    def parse(data: Json) -> StepSpec:
        """Return the step that was written as ``data``.

        Raises:
            SpecRefused: something that every step has is missing, or there is something that no step has.
        """
        fields, nothing = dataclasses.fields(StepSpec), dataclasses.MISSING
        needed = [each.name for each in fields if each.default is nothing and each.default_factory is nothing]
        missing = [name for name in needed if data.get(name) is None]
        unknown = sorted(set(data) - {each.name for each in fields})
        if missing or unknown:
            what = "has no %s" % missing[0] if missing else "knows no %r" % unknown[0]
            raise SpecRefused("a step %s; every step has %s" % (what, ", ".join(needed)))
        if data["state"] not in STATES:
            raise SpecRefused("a step's state is %r; it is one of %s" % (data["state"], ", ".join(STATES)))
        return StepSpec(**data)
