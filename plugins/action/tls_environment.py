# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give variables to processes: by the module on most hosts, by one that reads and obeys on Windows."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._core._errors import TlsError
from ..module_utils._module import diff_of
from ..plugin_utils._called import called
from ..plugin_utils._variables import plain
from ..plugin_utils._windows_environment import set_variables

if t.TYPE_CHECKING:
    from ..module_utils._core._windows_variables import Order

MODULE = "connsec.tls.tls_environment"
WINDOWS_MODULE = "win_variables"
_PROCESS: t.Final = {"pid_file": {"type": "str"}, "service": {"type": "str"}}
_INSTANCE: t.Final = {
    "name": {"type": "str", "required": True},
    "target": {"type": "str", "required": True, "choices": ["machine", "service"]},
    "path": {"type": "str"},
    "unit": {"type": "str"},
    "variables": {"type": "dict", "default": {}},
    "libraries": {"type": "list", "elements": "str", "default": []},
    "paths": {"type": "dict", "default": {}},
    "process": {"type": "dict", "default": {}, "options": _PROCESS},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The controller's half, which decides for Windows hosts alone."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Hand the instances to the module, or to what decides here."""
        super().run(tmp, task_vars)
        if not getattr(self._connection._shell, "_IS_WINDOWS", False):
            result: dict[str, t.Any] = self._execute_module(module_name=MODULE, task_vars=task_vars)
            return result
        spec = {"instances": {"type": "list", "elements": "dict", "required": True, "options": _INSTANCE}}
        _checked, arguments = self.validate_argument_spec(spec)

        def call(*, services: list[str], orders: list[Order]) -> dict[str, t.Any]:
            given = {"services": services, "orders": orders}
            state: dict[str, t.Any] = called(self, WINDOWS_MODULE, given, task_vars)["state"]
            return state

        try:
            done = set_variables(plain(arguments["instances"]), call, check=bool(self._task.check_mode))
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from None
        return {**done.result, "diff": diff_of(done.changes)}
