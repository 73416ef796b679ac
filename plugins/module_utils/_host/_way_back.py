# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What files hold once steps are taken back, and which steps cannot be; private to this collection."""

from __future__ import annotations

import os
import typing as t

from .._core._errors import TlsError
from .._core._merge import Conflict
from ._installed import PENDING, Json, read_json
from ._kept import described
from ._reading import Found, read_regular
from ._snapshot import Snapshot, Touched, step_folder


class StepRefused(TlsError):
    """A step cannot be done, or not be taken back."""


class Ahead:
    """What is there once some steps are taken back, without any of it being done.

    Attributes:
        held: what files hold then, by path; others are read.
        gone: folders of the snapshots that are gone then.
    """

    def __init__(self) -> None:
        """Begin with what is there."""
        self.held: dict[str, Found | None] = {}
        self.gone: set[str] = set()

    def go_on(self, snapshot: Snapshot, ways: t.Mapping[str, Found | None]) -> None:
        """Take a step for taken back."""
        self.held.update(ways)
        self.gone.add(snapshot.folder)


def ways_back(
    snapshot: Snapshot, name: str, *, put_back: Json, ours: bool = False, ahead: Ahead | None = None
) -> dict[str, Found | None]:
    """Return what each file that differs has to hold without a step; None for one that goes away.

    Args:
        snapshot: of the step.
        name: the step's id.
        put_back: what an earlier reverse of it was about to put back.
        ours: whether this very run has begun the step.
        ahead: what is there once other steps are taken back, which go before it.

    Raises:
        StepRefused: somebody changed the same lines since.
        FilesError: a file or the snapshot cannot be read.
    """
    ways = {}
    then = ahead or Ahead()
    for path in snapshot.paths():
        if is_put_back(path, put_back):
            continue
        current = then.held[path] if path in then.held else read_regular(path)
        try:
            way = snapshot.way_back(path, current, ours=ours, gone=then.gone)
        except (Conflict, Touched) as error:
            raise StepRefused(
                "%s cannot be taken back, for %s is not as it left it: %s" % (name, path, error)
            ) from error
        if way.differs:
            ways[path] = way.wanted
    return ways


def is_put_back(path: str, put_back: Json) -> bool:
    """Return whether a reverse that did not come to its end has put a file back, and nobody has edited it since."""
    found = read_regular(path) if path in put_back else None
    return path in put_back and put_back[path] == (None if found is None else described(found))


def refusals(directory: str, folder: str, phases: t.Iterable[t.Collection[str]]) -> dict[str, str]:
    """Return which steps of an instance could not be taken back, each with why; nothing is written.

    They are tried one after another, each on what the ones before would leave.

    Args:
        directory: the host's folder of ours.
        folder: the instance's in it.
        phases: ids of steps by phase, in the order in which phases go back; within one the latest step goes first. One
            that the host does not keep is passed over.
    """
    base = os.path.join(directory, folder)
    ahead = Ahead()
    refused = {}
    for name in (each for phase in phases for each in _latest_first(base, phase)):
        try:
            snapshot = Snapshot(step_folder(base, name))
            noted = (read_json(os.path.join(base, PENDING)) or {}).get(name) or {}
            ahead.go_on(snapshot, ways_back(snapshot, name, put_back=noted.get("to") or {}, ahead=ahead))
        except TlsError as error:
            refused[name] = str(error)
    return refused


def _latest_first(base: str, names: t.Iterable[str]) -> list[str]:
    """Return the ids of steps, the one that was done last first."""

    def moment(name: str) -> float:
        try:
            return float(Snapshot(step_folder(base, name)).at() or 0)
        except TlsError:
            return 0.0  # what is wrong with it is said when it is tried

    return sorted(names, key=moment, reverse=True)
