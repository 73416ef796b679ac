# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of a run, rendered, and Ansible's values as plain data; private to this collection."""

from __future__ import annotations

import json
import typing as t

from ._operator import VARIABLES as OPERATOR_VARIABLES
from ._place import STORE_VARIABLES
from ._seal import VARIABLES as SEAL_VARIABLES


def plain(value: t.Any) -> t.Any:
    """Return a value of Ansible's as plain data: its strings carry tags that other libraries refuse."""
    return json.loads(json.dumps(value))


#: Variables of a run that users set; a task's variables hold them as they were written, templates and all.
RUN_VARIABLES: t.Final = (
    "tls_scope",
    "tls_until",
    "tls_take_back",
    "tls_keep_steps",
    "tls_left_hosts",
    "tls_revoke_removed",
    "tls_watch",
    "tls_soak",
    "tls_observe",
    "tls_report_directory",
    "tls_approved_plan",
    "tls_window",
    "tls_seal_ledger",
    *STORE_VARIABLES,
    *OPERATOR_VARIABLES,
    *SEAL_VARIABLES,
)


#: Those that let a run sign. What they hold goes no further than whether it is there.
_SIGNING: t.Final = ("tls_authorities_passphrase", "tls_store_passphrase")


def rendered(task_vars: t.Mapping[str, t.Any], template: t.Callable[[t.Any], t.Any]) -> dict[str, t.Any]:
    """Return a task's variables with those of a run rendered; hosts' own are rendered where they are read."""
    values = {name: plain(template(task_vars[name])) for name in RUN_VARIABLES if name in task_vars}
    can_sign = any(template(task_vars[name]) for name in _SIGNING if task_vars.get(name))
    return {**task_vars, **values, "tls_can_sign": can_sign}
