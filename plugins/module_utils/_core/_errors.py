# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error that users read; private to this collection."""

from __future__ import annotations


class TlsError(Exception):
    """What went wrong, in one sentence for the user: what was given, where, and what would work."""
