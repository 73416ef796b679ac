# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_reg_stat, as ansible.windows 3.3.0 has it: what the registry holds, without a change."""

from __future__ import annotations

import typing as t

from ..disk import expanded
from ..machine import Machine
from ..model import Call, Model, Result
from ..registry import Value, normal

_TYPES: t.Final = {
    "none": "REG_NONE",
    "binary": "REG_BINARY",
    "dword": "REG_DWORD",
    "expandstring": "REG_EXPAND_SZ",
    "multistring": "REG_MULTI_SZ",
    "string": "REG_SZ",
    "qword": "REG_QWORD",
}


def act(call: Call, machine: Machine) -> Result:
    path, name = normal(call["path"]), call["name"]
    if not machine.registry.has(path):
        return {"changed": False, "exists": False}
    if name is not None:
        found = machine.registry.value(path, name)
        return {"changed": False, "exists": found is not None, **(_row(found, machine) if found else {})}
    rows = {each.name: _row(each, machine) for each in machine.registry.values(path)}
    return {"changed": False, "exists": True, "properties": rows, "sub_keys": machine.registry.children(path)}


def _row(found: Value, machine: Machine) -> Result:
    raw = ["0x%02x" % each for each in found.data] if found.kind in ("binary", "none") else found.data
    value = expanded(found.data, machine.environment) if found.kind == "expandstring" else found.data
    return {"type": _TYPES[found.kind], "value": value, "raw_value": raw}


MODEL: t.Final = Model(
    "win_reg_stat",
    source="74195d69b47c3379e1f1c737f023bf46dd2f24ac42b5e0606baf69edb015b347",
    act=act,
    shown=("path", "name"),
    predates_basic=True,
)
