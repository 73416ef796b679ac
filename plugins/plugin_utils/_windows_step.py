# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on a Windows host: looked at, decided here, carried out in one more round trip; private to this collection."""

from __future__ import annotations

import base64
import json
import subprocess
import typing as t
from dataclasses import dataclass, replace

from ..module_utils._core._change import Change
from ..module_utils._core._errors import TlsError
from ..module_utils._core._masked import masked
from ..module_utils._core._sddl import owned_safely
from ..module_utils._core._spec import StepSpec
from ..module_utils._core._windows_host import windows_directory
from ..module_utils._core._windows_step import Kept, Order, Seen, Step, StepRefused, refuse_unbuilt, text_of

Json = dict[str, t.Any]
Asked = t.Mapping[str, t.Any]
#: Calls ``win_step`` with these arguments, which is one round trip, and returns its result.
Call = t.Callable[[Json], Asked]

_ELSEWHERE: t.Final = "/etc/connsec"


@dataclass(frozen=True)
class Outcome:
    """What came of it: what was due, and why steps failed, by what they are called."""

    changes: t.Sequence[Change]
    failures: t.Mapping[str, str]


def carry_out(rows: t.Sequence[Asked], call: Call, *, check: bool) -> Outcome:
    """Look, decide, have steps done, and tell: one round trip to look, and one to do steps of different instances.

    Steps of one instance are done one after another, each on what the ones before have left.

    Args:
        rows: steps as the engine describes them.
        call: calls the module.
        check: whether nothing is to be changed.

    Raises:
        TlsError: a step is not described as one is, or the host's folder is not safe.
    """
    specs = [_spec(row) for row in rows]
    if len({spec.target for spec in specs}) < len(specs):
        raise TlsError("a step is given twice; give each step once")
    failures: dict[str, str] = {}
    changes: list[Change] = []
    if specs:
        _Host(specs, call, check=check).run(changes, failures)
    return Outcome(changes, failures)


def _spec(row: Asked) -> StepSpec:
    spec = StepSpec.parse(row)
    return replace(spec, directory=windows_directory(spec.directory, default=_ELSEWHERE))


class _Host:
    """The steps of one host, in waves: each has one step of an instance at most."""

    def __init__(self, specs: t.Sequence[StepSpec], call: Call, *, check: bool) -> None:
        self._call, self._check = call, check
        self._specs = specs
        self._waves: list[list[StepSpec]] = []
        for spec in specs:
            free = (wave for wave in self._waves if spec.folder not in {each.folder for each in wave})
            wave = next(free, None)
            if wave is None:
                self._waves.append([spec])
            else:
                wave.append(spec)

    def run(self, changes: list[Change], failures: dict[str, str]) -> None:
        state = self._asked([])["state"]
        for wave in self._waves:
            orders: list[Order] = []
            for spec in wave:
                try:
                    step = Step(spec, _seen(spec, state), command_line=subprocess.list2cmdline)
                    due = step.plan()
                    changes += due
                    orders += step.orders() if due else []
                except TlsError as error:
                    failures[spec.target] = str(error)
            if orders and not self._check:
                found = self._asked(orders)
                failures.update({str(name): _said(str(why)) for name, why in found["failures"].items()})
                state = found["state"]

    def _asked(self, orders: list[Order]) -> Asked:
        specs = self._specs
        return self._call(
            {
                "directory": specs[0].directory,
                "files": sorted({path for spec in specs for path in spec.files}),
                "folders": sorted({spec.folder for spec in specs}),
                "services": sorted({str(spec.process.get("service") or "") for spec in specs} - {""}),
                "orders": orders,
            }
        )


def _said(why: str) -> str:
    """Return why a step failed, with the end of what its program said, in one line and without secrets."""
    return " / ".join(masked(line.strip()) for line in why.splitlines()[-5:] if line.strip())


def _seen(spec: StepSpec, state: Asked) -> Seen:
    """Return what the host showed of a step's instance.

    Raises:
        TlsError: it cannot be used as it is.
    """
    refuse_unbuilt(spec)
    if state["link"] or (state["rights"] is not None and not owned_safely(state["rights"], state["user"])):
        raise StepRefused("%s is a link, or belongs to no administrator; remove it" % spec.directory)
    service = state["services"].get(spec.process.get("service"))
    if service is None:
        raise StepRefused("there is no service %s" % spec.process.get("service"))
    notes = state["notes"][spec.folder]
    base = "%s\\%s" % (spec.directory, spec.folder)
    kept = {}
    if spec.id in notes["steps"]:
        row = notes["steps"][spec.id]
        names = ("before", "intended", "after")
        found = {name: _noted("%s\\steps\\%s\\%s.json" % (base, spec.id, name), row[name]) for name in names}
        kept[spec.id] = Kept(**found, there=True)
    return Seen(
        clock=state["clock"] / 1000,
        files={path: _text(path, state["files"][path]) for path in spec.files},
        pending=_noted(base + "\\pending.json", notes["pending"]) or {},
        kept=kept,
        generation=notes["current"].rpartition("\\")[2] if notes["current"] else None,
        runs=bool(service["process"]),
        has_top=state["rights"] is not None,
        has_base=bool(notes["exists"]),
    )


def _text(path: str, row: Asked) -> str | None:
    if row["error"] is not None:
        raise StepRefused("%s cannot be read: %s" % (path, row["error"]))
    return None if row["content"] is None else text_of(base64.b64decode(row["content"]))


def _noted(path: str, text: str | None) -> Json | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise StepRefused("%s is damaged; remove it, and the next run makes it anew" % path)
    return value
