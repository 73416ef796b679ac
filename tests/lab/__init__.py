# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: hosts with a systemd of their own on one Linux machine, booted in seconds and removed without a trace.

`docs/lab.md` tells how it is used; `lab.driver` has what tests and playbooks call.
"""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot do what was asked; the text says why, and what would work."""


class Unfit(LabError):
    """This machine cannot run the lab at all: another system, not root, or something is missing."""
