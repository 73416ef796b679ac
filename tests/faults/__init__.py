# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment in which a process dies at a place that a test names; ``sitecustomize.py`` says how."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def killing(at: str, *, count: Path | None = None, base: t.Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which a Python process dies, with whatever it starts looked at as well.

    Args:
        at: ``EFFECT NAME WHEN [TIMES]``, such as ``rename current before``.
        count: the file in which all processes together count; needed for TIMES.
        base: the environment to start from; this process's own if None.
    """
    found = dict(os.environ if base is None else base)
    found["CONNSEC_TEST_KILL"] = at
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(FOLDER), found.get("PYTHONPATH")]))
    if count is not None:
        found["CONNSEC_TEST_KILL_COUNT"] = str(count)
    return found
