# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a twin, and variables for one, without a playbook."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.connsec.tls.plugins.plugin_utils._windows_environment import Outcome, set_variables
from ansible_collections.connsec.tls.plugins.plugin_utils._windows_look import look
from ansible_collections.connsec.tls.plugins.plugin_utils._windows_step import Outcome as StepOutcome
from ansible_collections.connsec.tls.plugins.plugin_utils._windows_step import carry_out

from . import direct
from .twin import WindowsTwin


def observed(twin: WindowsTwin, *, check: bool = False, **request: t.Any) -> dict[str, t.Any]:
    """Return what a look at a twin sees."""

    def call(arguments: dict[str, t.Any]) -> t.Any:
        return direct.module(twin, "win_observe", arguments, check=check)["state"]

    def handshakes(endpoints: list[dict[str, t.Any]]) -> t.Any:
        return direct.module(twin, "win_handshake_info", {"endpoints": endpoints}, check=check)["endpoints"]

    return look(request, call, handshakes=handshakes)


def instance(twin: WindowsTwin, *, check: bool = False, **row: t.Any) -> dict[str, t.Any]:
    """Return what a look sees of one instance."""
    given = {"name": "confserv@win1", "folder": "confserv", **row}
    seen: dict[str, t.Any] = observed(twin, check=check, instances=[given])["instances"]["confserv@win1"]
    return seen


def variables(twin: WindowsTwin, *rows: dict[str, t.Any], check: bool = False) -> Outcome:
    """Give processes variables."""

    def call(*, services: list[str], orders: list[dict[str, t.Any]], check: bool) -> t.Any:
        return direct.module(twin, "win_variables", {"services": services, "orders": orders}, check=check)["state"]

    return set_variables(rows, functools.partial(call, check=check), check=check)


def steps(twin: WindowsTwin, *rows: dict[str, t.Any], check: bool = False) -> StepOutcome:
    """Carry steps out."""
    return carry_out(rows, lambda arguments: direct.module(twin, "win_step", arguments, check=check), check=check)
