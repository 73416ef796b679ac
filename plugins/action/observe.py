# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a host, with the identity of a stranger at hand where listeners have to refuse one."""

from __future__ import annotations

import json
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._core._errors import TlsError
from ..plugin_utils._called import called
from ..plugin_utils._stranger import strange_identity
from ..plugin_utils._variables import plain

MODULE = "connsec.tls.observe"
WINDOWS_MODULE = "win_observe"
WINDOWS_CLIENT = "win_handshake_info"


class ActionModule(ActionBase):  # type: ignore[misc]
    """The controller's half: hosts have no library that makes certificates."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Hand the request to the module."""
        super().run(tmp, task_vars)
        arguments = plain(dict(self._task.args))
        request = arguments.get("request") or {}
        try:
            request = json.loads(request) if isinstance(request, str) else request
            probes = list(request.get("probes") or ())
        except (ValueError, AttributeError) as error:
            raise AnsibleActionFail("request has to be a dictionary, as docs/looking.md describes it") from error
        if getattr(self._connection._shell, "_IS_WINDOWS", False):
            return self._observed_on_windows(request, task_vars)
        if any(probe.get("foreign") is True for probe in probes):
            arguments["stranger"] = strange_identity()
        before = time.time()
        result: dict[str, t.Any] = self._execute_module(
            module_name=MODULE, module_args={**arguments, "request": request}, task_vars=task_vars
        )
        return {**result, "asked_between": [before, time.time()]}  # the host's clock was read in between

    def _observed_on_windows(self, request: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        """Look at a Windows host, where a module shows what is there, and all is read here."""
        from ..plugin_utils._windows_look import look

        asked_between: list[float] = []

        def call(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
            asked_between.append(time.time())
            found = called(self, WINDOWS_MODULE, arguments, task_vars)
            asked_between.append(time.time())
            state: dict[str, t.Any] = found["state"]
            return state

        def handshakes(endpoints: list[dict[str, t.Any]]) -> dict[str, t.Any]:
            found: dict[str, t.Any] = called(self, WINDOWS_CLIENT, {"endpoints": endpoints}, task_vars)["endpoints"]
            return found

        try:
            seen = look(request, call, handshakes=handshakes)
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from None
        return {"changed": False, "observation": seen, "asked_between": asked_between}
