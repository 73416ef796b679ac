# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall sheet as a file that the network team opens, and as lines of the plan; private to this collection."""

from __future__ import annotations

import csv
import io
import os
import typing as t

from ..module_utils._core._flows import Flow
from ..module_utils._core._plan import Plan
from ..module_utils._core._scene import Scene
from ..module_utils._core._stages import rank
from ._folder import Batch, Folder

FILE: t.Final = "firewall.csv"
_COLUMNS: t.Final = (
    "line",
    "from_host",
    "from_addresses",
    "to_host",
    "to",
    "port",
    "transport",
    "connections",
    "wave",
    "seen",
)


def write_sheet(scene: Scene, directory: str) -> str:
    """Write the firewall sheet into the reports' folder and return its path; nothing is written where it has no line.

    Raises:
        StoreError: the folder cannot be written.
    """
    if not scene.flows:
        return ""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for flow in scene.flows:
        table.writerow(_row(scene, flow))
    folder = Folder(os.path.abspath(directory))
    folder.make()
    batch = Batch()
    batch.add(folder, FILE, text.getvalue().encode())
    batch.publish()
    return os.path.join(folder.path, FILE)


def _row(scene: Scene, flow: Flow) -> tuple[t.Any, ...]:
    return (
        flow.line,
        flow.source,
        " ".join(flow.source_addresses),
        flow.target,
        flow.dial,
        flow.port,
        flow.transport,
        " ".join(flow.connections),
        flow.wave,
        seen_of(scene, flow),
    )


def seen_of(scene: Scene, flow: Flow) -> str:
    """Return what the flow's first pair saw there: ``tls``, ``refused``, ``timeout``, ...; empty if nobody dialled."""
    return scene.tls(scene.model.pair(flow.pairs[0])).outcome


def needed_flows(scene: Scene, plan: Plan) -> list[Flow]:
    """Return the flows that this plan needs and that nobody has seen open yet."""
    due = {view.pair.id for view in plan.views if view.status == "due" and rank(view.goal) >= rank("permissive")}
    return [flow for flow in scene.flows if due & set(flow.pairs) and seen_of(scene, flow) != "tls"]
