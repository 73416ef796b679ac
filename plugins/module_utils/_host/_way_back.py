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
from ._reading import Found, read_regular
from ._snapshot import Snapshot, Touched, described, step_folder

#: What files are taken to hold, by path; others are read.
Held = t.Mapping[str, t.Optional[Found]]


class StepRefused(TlsError):
    """A step cannot be done, or not be taken back."""


def ways_back(
    snapshot: Snapshot, name: str, *, put_back: Json, ours: bool = False, held: Held | None = None
) -> dict[str, Found | None]:
    """Return what each file that differs has to hold without a step; None for one that goes away.

    Args:
        snapshot: of the step.
        name: the step's id.
        put_back: what an earlier reverse of it was about to put back.
        ours: whether this very run has begun the step.
        held: what files hold once other steps are taken back.

    Raises:
        StepRefused: somebody changed the same lines since.
        FilesError: a file or the snapshot cannot be read.
    """
    ways = {}
    for path in snapshot.paths():
        if is_put_back(path, put_back):
            continue
        current = held[path] if held and path in held else read_regular(path)
        try:
            way = snapshot.way_back(path, current, ours=ours)
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


def refusals(directory: str, folder: str, names: t.Iterable[str]) -> dict[str, str]:
    """Return which steps of an instance could not be taken back, each with why; nothing is written.

    They are tried one after another, each on what the ones before would leave.

    Args:
        directory: the host's folder of ours.
        folder: the instance's in it.
        names: ids of steps in the order in which they go back; one that the host does not keep is passed over.
    """
    base = os.path.join(directory, folder)
    held: dict[str, Found | None] = {}
    refused = {}
    for name in names:
        try:
            snapshot = Snapshot(step_folder(base, name))
            noted = (read_json(os.path.join(base, PENDING)) or {}).get(name) or {}
            held.update(ways_back(snapshot, name, put_back=noted.get("to") or {}, held=held))
        except TlsError as error:
            refused[name] = str(error)
    return refused
