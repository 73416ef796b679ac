#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry a step out on its host, or take it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: step
short_description: Carry a step out on its host, or take it back
version_added: 0.1.0
description:
  - Part of the engine of this collection; it surrounds the entry points of kinds.
  - With O(state=begin) it notes the step on the host and keeps what the files hold, before the first edit.
  - With O(state=finish) it tests the configuration, reloads or restarts, waits, and takes the note away.
  - With O(state=reverse) it takes the step's own change out again, keeps what others edited since, or refuses.
author: connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Says what would be done and changes nothing.
    support: full
  diff_mode:
    description: Edits are shown by the modules that make them.
    support: none
options:
  state:
    description: Which part of the step to carry out.
    type: str
    choices: [begin, finish, reverse]
    required: true
  spec:
    description: The step, as the engine describes it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Note a step before a kind edits
  connsec.tls.step:
    state: begin
    spec: "{{ tls_step }}"
"""

RETURN = r"""
reasons:
  description: Why the step was due, by its logical name.
  returned: when it is finished or taken back
  type: dict
  sample: {"step permit-sql crm_db@db1": "/etc/db.ini [sql] tls_port is not set"}
observation:
  description: What M(connsec.tls.observe) would return afterwards, where the step asks for it.
  returned: when asked for
  type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._errors import TlsError
from ..module_utils._host._files import locked
from ..module_utils._host._step import Step


def carry_out(state: str, spec: t.Mapping[str, t.Any], *, check_mode: bool) -> t.Dict[str, t.Any]:
    """Do a part of the step and return the result for Ansible."""
    reasons = {} if state == "begin" else {str(spec["target"]): str(spec["reason"])}
    if check_mode:
        return {"changed": state != "begin", "reasons": reasons}
    step = Step(spec)
    with locked(str(spec["directory"])):
        if state == "begin":
            changed = step.begin()
        elif state == "finish":
            step.finish()
            changed = True
        else:
            changed = step.reverse()
    result: t.Dict[str, t.Any] = {"changed": changed, "reasons": reasons if changed else {}}
    if spec.get("look") and state != "begin":
        from ..module_utils._host._observe import observe

        result["observation"] = observe(spec["look"])
    return result


def main() -> None:
    """Read the options, carry the step out, and tell."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["begin", "finish", "reverse"], "required": True},
            "spec": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        result = carry_out(module.params["state"], module.params["spec"], check_mode=module.check_mode)
    except TlsError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
