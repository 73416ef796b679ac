# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the plan of a run and show it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.utils.display import Display

from ..module_utils._core._errors import TlsError
from ..plugin_utils._ask import ACTING, GOALS
from ..plugin_utils._firewall import seen_of
from ..plugin_utils._inventory_hosts import needs_rendering
from ..plugin_utils._memory import uncollected
from ..plugin_utils._planning import Decision, decide, prepare
from ..plugin_utils._variables import rendered
from ..plugin_utils._visible import visible
from ..plugin_utils._words import plan_lines

display = Display()

#: Runs that tell of their plan; a verification and a report have none.
SHOWN: t.Final = ("plan", *ACTING)


class ActionModule(ActionBase):  # type: ignore[misc]
    """``phase: model`` before the hosts are looked at, ``phase: decide`` after."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return facts of localhost for the plays that follow."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            {
                "phase": {"type": "str", "choices": ["model", "decide"], "required": True},
                "goal": {"type": "str", "choices": list(GOALS), "default": "plan"},
            }
        )
        with uncollected():
            return self._phase(options, task_vars or {})

    def _phase(self, options: t.Mapping[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        check_mode = bool(self._task.check_mode)
        variables = rendered(task_vars, self._templar.template)
        try:
            if options["phase"] == "model":
                strategy = str(self._task.get_play().strategy)
                goal = options["goal"]
                facts = prepare(variables, render=self._render, goal=goal, strategy=strategy, check_mode=check_mode)
                return {"changed": False, "ansible_facts": facts}
            decision = decide(variables, check_mode=check_mode)
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from error
        if decision.goal in SHOWN:
            for line in plan_lines(decision):
                display.display(visible(line))
        return {"changed": False, "ansible_facts": decision.facts, "plan": _shown(decision)}

    def _render(self, value: t.Any, variables: t.Mapping[str, t.Any]) -> t.Any:
        if not needs_rendering(value):  # mostly so, and thousands of hosts may be asked
            return value
        return Templar(loader=self._loader, variables=dict(variables)).template(value)


def _shown(decision: Decision) -> dict[str, t.Any]:
    """Return the plan for machines: pairs, store, material, environment and rounds, targets with reasons.

    Ansible copies and visits every value of a result several times, so what is told elsewhere is not told here.
    """
    plan = decision.plan
    return {
        "pairs": {
            view.pair.id: {
                "stage": view.stage,
                "goal": view.goal,
                "status": view.status,
                "waits": view.why.seen if view.why else None,
                "owner": decision.scene.model.components[view.pair.server.component].owner,
            }
            for view in plan.views
        },
        "reopened": dict(plan.reopened),
        "stuck": {step.target: hold.evidence.seen for step, hold in plan.stuck.items()},
        "removals": {each.name: each.held or each.reason for each in plan.removals},
        "forgetting": {instance.name: list(steps) for instance, steps in plan.forgetting.items()},
        "store": decision.store.due,
        "material": {name: host for host, names in plan.material.items() for name in names},
        "environment": {name: host for host, names in plan.environment.items() for name in names},
        "digest": decision.papers.digest or None,
        "file": decision.papers.file or None,
        "firewall": [
            {"line": flow.line, "flow": flow.words, "wave": flow.wave, "seen": seen_of(decision.scene, flow)}
            for flow in decision.scene.flows
        ],
        "rounds": [
            {
                "phase": this.phase,
                "together": this.together,
                "interruption": this.interruption,
                "steps": {step.target: step.reason for step in this.steps},
            }
            for this in plan.rounds
        ],
    }
