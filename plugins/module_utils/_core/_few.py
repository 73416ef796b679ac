# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list as a sentence holds it: the first few names, and how many there are besides; private to this collection."""

from __future__ import annotations

import typing as t

SHOWN: t.Final = 5


def few(names: t.Iterable[str]) -> str:
    """Return names in order as ``a, b and 3 more``."""
    ordered = sorted(set(names))
    left = len(ordered) - SHOWN
    return ", ".join(ordered[:SHOWN]) + (" and %d more" % left if left > 0 else "")
