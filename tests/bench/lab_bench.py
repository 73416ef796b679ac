# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout with nothing due costs on the lab's contact centre, against a ping of the same hosts.

Hosts are reached over SSH with pipelining and shared connections, and every component runs and is under load. Pings and
rollouts take turns, and the least of each counts. It takes root, and the base tree that `make lab-base` makes.
"""

from __future__ import annotations

import os
import re
import sys
import typing as t
from pathlib import Path

import commands

sys.path.insert(0, str(commands.ROOT / "tests"))

from lab import LabError, Unfit, base, driver, fitness
from lab.centre.centre import Centre, wanted
from lab.names import Net

#: Networks beside those of the tests.
_NET: t.Final = Net("10.79.%d" % (os.getpid() % 250))
_EVERYTHING: t.Final = ("-e", "tls_until=enforced", "-e", "tls_scope=all")


def figures(work: Path, *, repeats: int = 5) -> dict[str, float]:
    """Return `lab_nothing_due_vs_ping`, and what it comes from.

    Raises:
        commands.LeftOut: this machine cannot run the lab, or has no base tree.
    """
    try:
        fitness.check()
    except Unfit as error:
        raise commands.LeftOut(str(error)) from error
    if base.find() is None:
        raise commands.LeftOut("the base tree of the lab is not made; `make lab-base` makes it")
    try:
        with driver.lab(_NET, wanted()) as lab:
            return _measured(Centre(lab, work / "centre"), repeats)
    except LabError as error:
        raise SystemExit("the lab: %s" % error) from error


def _measured(centre: Centre, repeats: int) -> dict[str, float]:
    centre.begin()
    if centre.playbook("rollout", *_EVERYTHING).code:  # on a busy machine a pair may stay back
        centre.playbook("rollout", *_EVERYTHING).must_end(0)
    pings, runs = [], []
    for _turn in range(repeats):
        pings.append(commands.ping(centre.root).seconds)
        runs.append(commands.playbook(centre.root, "rollout", *_EVERYTHING, log="nothing_due").seconds)
    if set(re.findall(r"changed=(\d+)", (centre.root / "nothing_due.log").read_text())) != {"0"}:
        raise SystemExit("something was due in %s" % (centre.root / "nothing_due.log"))
    return {
        "lab_ping_seconds": min(pings),
        "lab_nothing_due_seconds": min(runs),
        "lab_nothing_due_vs_ping": min(runs) / min(pings),
    }
