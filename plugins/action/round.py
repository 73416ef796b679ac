# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open, judge and close the rounds of a run."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._core._errors import TlsError
from ..plugin_utils import _rounds
from ..plugin_utils._fault import run_point
from ..plugin_utils._relay import recall
from ..plugin_utils._words import round_lines

display = Display()

PHASES: t.Final = ("installed", "open", "choose", "judge", "reversed")


class ActionModule(ActionBase):  # type: ignore[misc]
    """Each phase takes in what the tasks before it saw and says what the tasks after it do."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return facts of localhost for the tasks that follow."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            {
                "phase": {"type": "str", "choices": list(PHASES), "required": True},
                "number": {"type": "int", "default": 0},
            }
        )
        try:
            facts = self._phase(options["phase"], options["number"], task_vars or {})
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from error
        return {"changed": False, "ansible_facts": facts}

    def _phase(self, phase: str, number: int, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        run_point("round.%s.before" % phase)
        standing = _rounds.stand(task_vars, check_mode=bool(self._task.check_mode))
        if phase == "installed":
            return _rounds.installed(standing, task_vars).facts()
        this = _rounds.open_round(standing, number) if phase == "open" else recall(task_vars, "tls_round")
        if phase == "choose":
            standing, this = _rounds.after_watch(standing, task_vars, this)
        elif phase == "judge":
            standing, this = _rounds.judge_round(standing, task_vars, this)
        elif phase == "reversed":
            standing = _rounds.after_reverse(standing, task_vars, this)
        for line in round_lines(standing, this, phase=phase):
            display.display(line)
        run_point("round.%s.after" % phase)
        return standing.facts(tls_round=this)
