# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan costs where a fleet is large: 5,000 hosts and 15,000 pairs, from the ledger alone, and twice as many.

Both sizes are measured in turns, and the least of each counts. Memory is that of the largest process of the run.
"""

from __future__ import annotations

from pathlib import Path

import commands
import fleets


def figures(work: Path, *, hosts: int = 5000, repeats: int = 2) -> dict[str, float]:
    """Return `plan_5000_seconds`, `plan_5000_mib` and `plan_10000_vs_5000`."""
    one, two = (fleets.large_fleet(work / str(size), hosts=size) for size in (hosts, 2 * hosts))
    runs = [(_plan(one), _plan(two)) for _unused in range(repeats)]
    seconds, double = (min(run.seconds for run in column) for column in zip(*runs, strict=True))
    return {
        "plan_5000_seconds": seconds,
        "plan_5000_mib": max(run.mib for run, _unused in runs),
        "plan_10000_seconds": double,
        "plan_10000_vs_5000": double / seconds,
    }


def _plan(folder: Path) -> commands.Timed:
    return commands.playbook(folder, "plan", "-e", "tls_observe=false", log="plan")
