# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points at which a test may kill a whole run, ansible-playbook and all; private to this collection."""

from __future__ import annotations

import os
import signal
import typing as t

#: Where a run may be killed on the controller, in the order of a run; ``_host/_fault.py`` has the points on hosts.
POINTS: t.Final = (
    "plan.model.after",
    "plan.decide.after",
    "round.installed.before",
    "round.open.before",
    "round.choose.after",
    "round.judge.before",
    "round.judge.after",
    "round.reversed.after",
    "report.before",
    "report.after",
)


def run_point(name: str) -> None:
    """Do nothing; or kill ansible-playbook and this worker of it, where the variable CONNSEC_RUN_FAULT names this point.

    ``name#3`` kills at the third time that the run comes by; a file beside the variable's own counts the times.
    """
    asked, _, times = os.environ.get("CONNSEC_RUN_FAULT", "").partition("#")
    if asked != name or _passed(int(times or 1)):
        return
    parent = os.getppid()
    os.kill(parent, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _passed(times: int) -> bool:
    """Return whether this is a time before the one that was asked for; workers share a file to count."""
    counter = os.environ.get("CONNSEC_RUN_FAULT_COUNT")
    if not counter or times == 1:
        return times != 1
    with open(counter, "ab+") as file:
        file.write(b".")
        return file.tell() < times
