# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what a run reached, keep it, and end the run as it deserves."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._core._errors import TlsError
from ..plugin_utils import _run
from ..plugin_utils._fault import run_point
from ..plugin_utils._outcome import outcome, record, write
from ..plugin_utils._rounds import stand
from ..plugin_utils._words import outcome_lines

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """The last task of every playbook: it alone fails a run in which pairs failed."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the report; fail where a pair failed."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        run_point("report.before")
        try:
            standing = stand(variables, check_mode=bool(self._task.check_mode))
            goal = str(standing.plan["goal"])
            report = outcome(standing, goal=goal, now=time.time())
            if goal in ("rollout", "rollback"):
                record(standing, report)
            directory = variables.get("tls_report_directory")
            if directory and not self._task.check_mode:
                write(report, str(directory))
            _run.release(standing.fleet.paths, pid=os.getppid())
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from error
        run_point("report.after")
        lines = outcome_lines(report)
        for line in lines:
            display.display(line)
        failed = [row["id"] for row in report["connections"] if row["status"] == "failed"]
        if failed:
            count = (len(failed), len(report["connections"]))
            return {**result, "failed": True, "msg": "%d of %d pairs failed; see the lines above" % count}
        return {**result, "changed": False, "report": report, "ansible_facts": {"tls_result": report}}
