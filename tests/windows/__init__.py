# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A twin of a Windows host for tests: it takes what Ansible sends to PowerShell and acts it out on a modelled Windows.

The ways in are `twin.WindowsTwin` for tests and `connection_plugins/windows_twin.py` for Ansible. What is modelled,
and what is not, stands in docs/windows_twin.md.
"""

from __future__ import annotations

import typing as t


class Refused(Exception):
    """The twin was asked for what it does not model. It says so, and acts nothing out."""


class Failed(Exception):
    """The real module would fail here, with this message and these further keys in its result."""

    def __init__(self, message: str, **result: t.Any) -> None:
        super().__init__(message)
        self.result = result


class Unreachable(Exception):
    """The host does not answer."""
