# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collector of clear listeners' peers has left on a host; private to this collection.

Reading it is apart from installing it: every look carries what reads, and its size is what a look costs.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from ._reading import read_regular

FOLDER: t.Final = "soak.d"
#: What the collector is told, and what it writes; the program stands alone on its host, and has these names as well.
CONFIGURATION: t.Final = "collect.json"
COLLECTED: t.Final = "collected.json"

Json = t.Dict[str, t.Any]


def collected(directory: str) -> Json:
    """Return what was collected on this host: ``at``, the ``configured`` listeners, and the ``listeners`` by id."""
    folder = os.path.join(directory, FOLDER)
    found = {name: _read(os.path.join(folder, name)) for name in (CONFIGURATION, COLLECTED)}
    return {
        "at": round(time.time(), 3),
        "configured": found[CONFIGURATION].get("listeners") or [],
        "listeners": found[COLLECTED].get("listeners") or {},
    }


def _read(path: str) -> Json:
    seen = read_regular(path)
    try:
        value = json.loads(seen.data) if seen is not None else {}
    except ValueError:
        value = {}
    return value if isinstance(value, dict) else {}
