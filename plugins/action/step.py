# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry steps out: by the module on most hosts, by one that reads and obeys on Windows."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._core._errors import TlsError
from ..module_utils._module import diff_of
from ..plugin_utils._called import called
from ..plugin_utils._variables import plain

MODULE = "connsec.tls.step"


class ActionModule(ActionBase):  # type: ignore[misc]
    """The controller's half, which decides for Windows hosts alone."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Hand the steps to the module, or to what decides here."""
        super().run(tmp, task_vars)
        if not getattr(self._connection._shell, "_IS_WINDOWS", False):
            result: dict[str, t.Any] = self._execute_module(module_name=MODULE, task_vars=task_vars)
            return result
        spec = {"steps": {"type": "list", "elements": "dict", "required": True}, "look": {"type": "dict"}}
        _checked, arguments = self.validate_argument_spec(spec)
        try:
            return self._on_windows(plain(arguments), task_vars)
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from None

    def _on_windows(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        from ..plugin_utils._windows_look import look
        from ..plugin_utils._windows_step import carry_out

        def call(name: str, given: dict[str, t.Any]) -> dict[str, t.Any]:
            return called(self, name, given, task_vars)

        check = bool(self._task.check_mode)
        done = carry_out(arguments["steps"], lambda given: call("win_step", given), check=check)
        result: dict[str, t.Any] = {
            "changed": bool(done.changes),
            "reasons": {change.target: change.reason for change in done.changes},
            "failures": dict(done.failures),
            "diff": diff_of(done.changes),
        }
        if done.failures:
            result.update(failed=True, msg="; ".join(done.failures.values()))
        if arguments.get("look"):
            result["observation"] = look(
                arguments["look"],
                lambda given: call("win_observe", given)["state"],
                handshakes=lambda rows: call("win_handshake_info", {"endpoints": rows})["endpoints"],
            )
        return result
