# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module of ours that an action calls for what it shows; private to this collection."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase


def called(
    action: ActionBase, name: str, given: t.Mapping[str, t.Any], task_vars: dict[str, t.Any] | None
) -> dict[str, t.Any]:
    """Call a module on the action's host, and return its result.

    Args:
        action: whose host it is.
        name: the module, by its name within this collection.
        given: its options.
        task_vars: the variables of the task.

    Raises:
        AnsibleConnectionFailure: the host cannot be reached.
        AnsibleActionFail: the module fails.
    """
    found: dict[str, t.Any] = action._execute_module(
        module_name="connsec.tls." + name, module_args=dict(given), task_vars=task_vars
    )
    if found.get("unreachable"):
        raise AnsibleConnectionFailure(str(found.get("msg")))
    if found.get("failed"):
        raise AnsibleActionFail(str(found.get("msg")))
    return found
