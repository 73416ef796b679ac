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
from ..plugin_utils._relay import told
from ..plugin_utils._variables import rendered
from ..plugin_utils._visible import visible
from ..plugin_utils._words import round_lines

display = Display()

#: What a phase does with the round at hand, once its tasks have looked.
PHASES: t.Final = {"watched": _rounds.after_watch, "judge": _rounds.judge_round, "reversed": _rounds.after_reverse}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Each phase takes in what the tasks before it saw and says what the tasks after it do."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return facts of localhost for the tasks that follow."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            {"phase": {"type": "str", "choices": ["born", "open", *PHASES], "required": True}}
        )
        try:
            facts = self._phase(options["phase"], rendered(task_vars or {}, self._templar.template))
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from error
        return {"changed": False, "ansible_facts": facts}

    def _phase(self, phase: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        before, at_hand = _rounds.stand(task_vars, check_mode=bool(self._task.check_mode))
        if phase == "born":
            after, asked = _rounds.born(before, task_vars)
            return {**after.facts(), "tls_requests": told(asked)}
        if at_hand is None:
            after, opened = _rounds.open_round(_rounds.installed(before, task_vars), 0, watched={})
        else:
            after, opened = PHASES[phase](before, task_vars, at_hand)
        judged = at_hand if phase == "judge" else None
        for line in round_lines(before, after, judged=judged, opened=opened):
            display.display(visible(line))
        return after.facts(opened)
