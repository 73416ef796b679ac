# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set bindings of IIS, once it is known that IIS can have them."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._core._iis import BindingRefused, read_binding
from ..plugin_utils._variables import plain

MODULE = "connsec.tls.win_iis_binding"


class ActionModule(ActionBase):  # type: ignore[misc]
    """The controller's half: it decides what can be had, and the host obeys."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Check the bindings, and hand them to the module."""
        super().run(tmp, task_vars)
        arguments = plain(dict(self._task.args))
        rows = arguments.get("bindings") or []
        try:
            rows = [{**row, "thumbprint": read_binding(row).thumbprint} for row in rows]
        except BindingRefused as error:
            raise AnsibleActionFail(str(error)) from error
        except (AttributeError, KeyError, TypeError, ValueError):
            rows = arguments["bindings"]  # not as documented: the module says what is wrong
        result: dict[str, t.Any] = self._execute_module(
            module_name=MODULE, module_args={**arguments, "bindings": rows}, task_vars=task_vars
        )
        return result
