#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry a step out on its host, or take it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: step
short_description: Carry steps out on their host, or take them back
version_added: 0.1.0
description:
  - Part of the engine of this collection. Does all steps that a host has in a round, in one round trip.
  - A step is noted on the host before its first edit, and what the files held is kept. Once they are edited, the
    configuration is tested, the process reloads or restarts, and the note is taken away when it is up.
  - A step that fails keeps no other one back. It is named in RV(failures), and the task fails.
  - C(docs/hosts.md) says what it leaves on the host, and how to go back by hand.
author: connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Says what would be done and changes nothing.
    support: full
  idempotent:
    description: Finishing, and doing the whole, reload each time; the others change nothing that is done.
    support: partial
  diff_mode:
    description: Shows the options that a step sets; other edits are shown by the modules that make them.
    support: partial
options:
  steps:
    description:
      - The steps, as the engine describes them, each with its C(state).
      - C(whole) does a step whose kind only sets options, from the first note to the last.
      - Where a kind edits in an entry point of its own, C(begin) and C(finish) surround that.
      - C(reverse) takes the step's own change out again, keeps what others edited since, or refuses.
      - C(forget) removes what was kept of the files, for the step will not be taken back any more.
    type: list
    elements: dict
    required: true
  look:
    description: A request of M(connsec.tls.observe) that is answered afterwards, in the same round trip.
    type: dict
"""

EXAMPLES = r"""
- name: Note a step before a kind edits
  connsec.tls.step:
    steps: ["{{ tls_step | combine({'state': 'begin'}) }}"]
"""

RETURN = r"""
reasons:
  description: Why each step was due, and each option, by its logical name.
  returned: always
  type: dict
  sample: {"step permit-sql crm_db@db1": "/etc/db.ini [sql] tls_port is not set"}
failures:
  description: What the steps that failed say, by their logical names.
  returned: always
  type: dict
  sample: {"step permit-sql crm_db@db1": "the configuration test (/usr/sbin/db) ended with 1: no such file"}
observation:
  description: What M(connsec.tls.observe) returns.
  returned: when O(look) is given
  type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._change import Change
from ..module_utils._core._errors import TlsError
from ..module_utils._core._spec import StepSpec
from ..module_utils._host._step import State, Step
from ..module_utils._host._way_back import Ahead
from ..module_utils._module import finish, hide_secrets


class Steps:
    """The steps that a host was given: planned together, done one by one."""

    def __init__(self, specs: t.Sequence[StepSpec]) -> None:
        """Read and decide.

        Raises:
            TlsError: a step is given twice.
        """
        self._states: dict[str, State] = {spec.target: t.cast("State", spec.state) for spec in specs}
        self._steps = {spec.target: Step(spec) for spec in specs}
        if len(self._steps) < len(specs):
            raise TlsError("a step is given twice; give each step once")
        self.failures: dict[str, str] = {}
        self._ahead = Ahead()
        self.changes: list[Change] = [change for target in self._steps for change in self._planned(target)]

    def _planned(self, target: str) -> list[Change]:
        try:
            return self._steps[target].plan(self._states[target], ahead=self._ahead)
        except TlsError as error:
            self.failures[target] = str(error)
            return []

    def make(self, change: Change) -> None:
        """Do the step that a change stands for; the options that it sets are changes of their own, and part of it."""
        if change.target in self._steps:
            try:
                self._steps[change.target].carry_out(self._states[change.target])
            except TlsError as error:
                self.failures[change.target] = str(error)

    def result(self, look: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
        """Return what failed, and what the host shows now if that was asked for."""
        found: dict[str, t.Any] = {"failures": self.failures}
        if self.failures:
            found.update(failed=True, msg="; ".join(self.failures.values()))
        if look:
            from ..module_utils._host._observe import observe

            # nothing settles after a step that failed
            found["observation"] = observe({**look, "settle": []} if self.failures else look)
        return found


def main() -> None:
    """Read the options, carry the steps out, look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "steps": {"type": "list", "elements": "dict", "required": True},
            "look": {"type": "dict"},
        },
        supports_check_mode=True,
        no_log=True,  # this keeps the values of options out of the host's system log, and nothing out of the result
    )
    try:
        specs = [StepSpec.parse(row) for row in module.params["steps"]]
        hide_secrets(module, [option for spec in specs for edit in spec.edits for option in edit["options"]])
        steps = Steps(specs)
        finish(module, steps.changes, make=steps.make, facts=lambda: steps.result(module.params["look"]))
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
