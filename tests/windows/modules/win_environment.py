# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_environment, as ansible.windows 3.3.0 has it (plugins/modules/win_environment.ps1).

What callers have to live with: it compares values without regard to case (`$before_value -ne $Value`), so a path that
changes in case alone stays as it was; and what it writes is REG_SZ, also where REG_EXPAND_SZ was before (.NET
Framework, Environment.SetEnvironmentVariable).
"""

from __future__ import annotations

import typing as t

from .. import Failed
from ..disk import expanded
from ..machine import Machine
from ..model import Call, Model, Result
from ..registry import MACHINE_ENVIRONMENT, USER_ENVIRONMENT, Value

_KEYS: t.Final = {"machine": MACHINE_ENVIRONMENT, "user": USER_ENVIRONMENT}


def act(call: Call, machine: Machine) -> Result:
    rows = _wanted(call)
    level, state = call["level"], call["state"]
    result: Result = {"changed": False, "values": {}, "env_values": {}}
    diff: Result = {"before": {level: {}}, "after": {level: {}}}
    for name, value in rows.items():
        if state == "absent" and value:
            call.warnings.append("When removing environment variable '%s' it should not have a value set" % name)
        elif state == "present" and not value:
            raise Failed(
                "When state=present, value must be defined and not an empty string, "
                "if you wish to remove the envvar, set state=absent"
            )
        row = _change(call, machine, name, value, state or ("present" if value else "absent"))
        result["values"][name] = result["env_values"][name] = row
        result["changed"] = result["changed"] or row["changed"]
        result["before_value"], result["value"] = row["before"], row["after"]
        for side in ("before", "after"):
            if row[side]:
                diff[side][level][name] = row[side]
    return {**result, "diff": diff}


def _wanted(call: Call) -> dict[str, str]:
    variables, name = call["variables"], call["name"]
    if variables is not None and any(call[other] is not None for other in ("name", "value", "state")):
        raise Failed("parameters are mutually exclusive: variables, name, value, state")
    if variables is None and name is None:
        raise Failed("one of the following is required: name, variables")
    if variables is not None:
        return {str(each): "" if value is None else str(value) for each, value in variables.items()}
    return {name: call["value"] or ""}


def _change(call: Call, machine: Machine, name: str, value: str, state: str) -> Result:
    before = _before(call, machine, name)
    differs = (before or "").lower() != value.lower() if state == "present" else before is not None
    key = _KEYS.get(call["level"])
    if differs and not call.check and key is not None:
        if state == "present":
            machine.registry.set(key, Value(name, "string", value))
        else:
            machine.registry.unset(key, name)
    return {"changed": differs, "before": before, "after": value}


def _before(call: Call, machine: Machine, name: str) -> str | None:
    """Return the value as .NET reads it, with what it refers to put in."""
    key = _KEYS.get(call["level"])
    if key is None:
        return {each.upper(): value for each, value in machine.environment.items()}.get(name.upper())
    found = machine.registry.value(key, name)
    if found is None:
        return None
    return expanded(str(found.data), machine.environment) if found.kind == "expandstring" else str(found.data)


MODEL: t.Final = Model(
    "win_environment",
    source="8b371bd825cc642afda839a28ee2fb924c02b71a87f6c1eece9afdf69f70d192",
    act=act,
    shown=("name", "level", "state"),
)
