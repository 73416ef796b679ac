# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rollouts cost against a ping of the same twenty local hosts, whose components run all the while.

A host is local, so its round trip costs what Ansible's own work costs and nothing else. Pings and rollouts take turns,
each turn on a new fleet. A ratio is that of the least of each, for noise only ever adds, and among the pings only those
count that came right before such a rollout: the least of more tries would be less. Runs that change nothing can be
repeated, and are. Clear listeners are watched for 0.3 s, since waiting longer is a wish of the user and no work.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import commands
import fleets

#: How often a run that changes nothing is repeated on each fleet.
_AGAIN: t.Final = 3
#: How far the two rollouts go, and what the first and the second run of each are called.
_PRESENTED: t.Final = ("presented", "first", "second")
_ENFORCED: t.Final = ("enforced", "full", "nothing_due")


def figures(work: Path, *, repeats: int = 3) -> dict[str, float]:
    """Return `first_vs_ping` and `second_vs_ping`, `full_vs_ping` and `nothing_due_vs_ping`."""
    runs: dict[str, list[float]] = {}
    pings: dict[str, list[float]] = {}
    for turn in range(repeats):
        for until, first, second in (_PRESENTED, _ENFORCED):
            folder = fleets.local_fleet(work / ("%s%d" % (until, turn)))
            with fleets.running(folder):
                for name in (first, *[second] * _AGAIN):
                    pings.setdefault(name, []).append(commands.ping(folder).seconds)
                    runs.setdefault(name, []).append(_rollout(folder, until, log=name).seconds)
    return {
        "ping_seconds": min(min(each) for each in pings.values()),
        **{name + "_seconds": min(each) for name, each in runs.items()},
        **{name + "_vs_ping": min(each) / min(pings[name]) for name, each in runs.items()},
    }


def _rollout(folder: Path, until: str, *, log: str) -> commands.Timed:
    return commands.playbook(folder, "rollout", "-e", "tls_until=" + until, "-e", "tls_scope=all", log=log)
