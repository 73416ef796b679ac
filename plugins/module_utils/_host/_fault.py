# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points at which a test may kill the process, to see what the next run makes of it; private to this collection."""

from __future__ import annotations

import os
import signal


def point(name: str) -> None:
    """Do nothing; or die at once, without any clean-up, where the variable CONNSEC_FAULT names this point."""
    if os.environ.get("CONNSEC_FAULT") in (name, name + ":kill"):
        os.kill(os.getpid(), signal.SIGKILL)
