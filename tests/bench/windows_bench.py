# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many round trips a Windows host costs, counted on a twin (docs/windows_twin.md): its time would say nothing."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

from commands import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from windows.plays import play
from windows.twin import WindowsTwin

#: How many services the host has, each with a certificate in stores and one in files.
_SERVICES: t.Final = 6


def figures(work: Path) -> dict[str, float]:
    """Return `windows_first_trips` and `windows_nothing_due_trips`, of material for all services of one host."""
    twin = WindowsTwin.made(work / "win1")
    names = ["service%d" % number for number in range(_SERVICES)]
    rows = [{"name": name, "names": [name + ".example.com"], "formats": ["store", "java", "pkcs12"]} for name in names]
    given = {"tls_material": rows, "tls_store": str(work / "store"), "tls_store_passphrase": "a passphrase of a bench"}
    task = {"ansible.builtin.include_role": {"name": "connsec.tls.material"}, "vars": given}
    seen = []
    for _turn in range(2):
        run = play([twin], [task])
        if run.code != 0:
            raise RuntimeError(run.text)
        seen.append(float(twin.trips))
    return {"windows_first_trips": seen[0], "windows_nothing_due_trips": seen[1] - seen[0]}
