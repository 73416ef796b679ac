# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo fleet's programs are made of; standard library only, except for `inventory`, which reads YAML."""

from __future__ import annotations


class FleetError(Exception):
    """Something that was asked for cannot be done; one sentence says why."""
