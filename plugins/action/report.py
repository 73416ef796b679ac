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
from ..plugin_utils._ask import ACTING
from ..plugin_utils._keeping import read_before, record, write
from ..plugin_utils._outcome import Outcome, trouble
from ..plugin_utils._rounds import Standing, stand, words_of
from ..plugin_utils._variables import rendered
from ..plugin_utils._visible import visible
from ..plugin_utils._words import outcome_lines

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """The last task of every playbook: it alone fails a run in which pairs failed."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the report; fail where a pair failed, without it, for Ansible would print all of it."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = rendered(task_vars or {}, self._templar.template)
        try:
            standing, _unused = stand(variables, check_mode=bool(self._task.check_mode))
            report = self._report(standing, variables)
            _run.release(standing.fleet.paths, pid=os.getppid())
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from error
        for line in outcome_lines(report):
            display.display(visible(line))
        failed = [found for found in report["findings"] if found["status"] == "failed"]
        if failed:
            pairs = sum(1 for found in failed if found["pair"])
            count = (pairs, len(report["connections"]))
            said = "%d of %d pairs failed" % count if pairs else failed[0]["seen"]
            return {**result, "failed": True, "msg": "%s; see the lines above" % said}
        return {**result, "changed": False, "report": report, "ansible_facts": {"tls_result": report}}

    def _report(self, standing: Standing, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return the report once it is recorded and written; what cannot be is a finding of it."""
        now = time.time()
        directory = variables.get("tls_report_directory")
        ended = Outcome(standing, now=now, before=read_before(str(directory)) if directory else None)
        faults = []
        made = variables["hostvars"]["localhost"].get("tls_made") or {}
        if made.get("failed"):
            faults.append(trouble("the store", words_of(made.get("msg")), expected="what is missing is made"))
        report = ended.report(faults)
        keep: list[tuple[str, t.Callable[[], None]]] = []
        if standing.plan["goal"] in ACTING:
            keep.append(("the ledger", lambda: record(standing, report, now=now)))
        if directory and not self._task.check_mode:
            keep.append(("the report", lambda: write({**report, "ledger": ended.head()}, str(directory))))
        for what, act in keep:
            try:
                act()
            except TlsError as error:
                faults.append(trouble(what, error, expected="it can be written"))
                report = ended.report(faults)
        return {**report, "ledger": ended.head()}
