# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change is a value with its reason; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """The way from what was found to what is wanted, and why it is taken.

    Attributes:
        target: logical name of what changes ("identity router@urs1"), never a serial number or a secret.
        before: what was found, as a user may see it in a diff; None if nothing was there.
        after: what is wanted, as a user may see it in a diff; None if it goes away.
        reason: half a sentence that completes "because ...".
    """

    target: str
    before: t.Any
    after: t.Any
    reason: str
