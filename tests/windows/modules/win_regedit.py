# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_regedit, as ansible.windows 3.3.0 has it (plugins/modules/win_regedit.ps1), without hives of files.

What callers have to live with: strings are compared with regard to case (`-cne`), but the lines of a multistring
without it (Compare-Object), so a service's `Environment` that changes in case alone stays as it was.
"""

from __future__ import annotations

import re
import typing as t

from .. import Failed
from ..machine import Machine
from ..model import Call, Model, Result
from ..registry import Kind, Value, normal

_BITS: t.Final = {"dword": 32, "qword": 64}


def act(call: Call, machine: Machine) -> Result:
    path, name, kind = normal(call["path"]), call["name"] or "", t.cast(Kind, call["type"])
    if call["name"] is None and kind != "string":
        call.warnings.append(
            "the data type when name is not specified can only be 'string', the type has automatically been converted"
        )
        kind = "string"
    result: Result = {"changed": False, "data_changed": False, "data_type_changed": False}
    if call["state"] == "absent":
        result["changed"] = _absent(call, machine, path, name)
    else:
        _present(call, machine, path, name, kind, result)
    return result


def _absent(call: Call, machine: Machine, path: str, name: str) -> bool:
    registry = machine.registry
    if not registry.has(path):
        return False
    if call["delete_key"] and not name:
        if not call.check:
            registry.remove(path)
        return True
    if registry.value(path, name) is None:
        return False
    if not call.check:
        registry.unset(path, name)
    return True


def _present(call: Call, machine: Machine, path: str, name: str, kind: Kind, result: Result) -> None:
    registry, data = machine.registry, _data(call["data"], kind, named=bool(name))
    if not registry.has(path):
        result["changed"] = True
        if call.check:
            return
        registry.make(path)
    if data is None:
        return
    known = registry.value(path, name)
    if known is not None:
        result["data_type_changed"] = known.kind != kind
        result["data_changed"] = _differs(known.data, data)
        if not (result["data_type_changed"] or result["data_changed"]):
            return
    result["changed"] = True
    if not call.check:
        registry.set(path, Value(name, kind, data))


def _differs(known: t.Any, data: t.Any) -> bool:
    if isinstance(known, list) and isinstance(data, list):
        return [str(each).lower() for each in known] != [str(each).lower() for each in data]
    return bool(known != data)


def _data(given: t.Any, kind: Kind, *, named: bool) -> t.Any:
    """Return data as the registry keeps it."""
    if kind in ("binary", "none"):
        return _bytes(given)
    if kind in _BITS:
        return _number(given, kind)
    if kind == "multistring":
        rows = given if isinstance(given, list) else [] if given is None else [given]
        return [str(each) for each in rows]
    if given is None:
        return "" if named else None
    return str(given)


def _bytes(given: t.Any) -> list[int]:
    if isinstance(given, list):
        return [int(each) for each in given]
    if isinstance(given, int):
        if given > 255:
            raise Failed(
                "cannot convert binary data '%s' to byte array, please specify this value as a yaml byte array" % given
            )
        return [given]
    digits = re.sub(r"[^a-f0-9,:]", "", re.sub(r"^hex:", "", str(given or "").lower())).replace(",", ":")
    pairs = digits.split(":") if ":" in digits else re.findall("..", digits)
    return [int(pair, 16) for pair in pairs if pair]


def _number(given: t.Any, kind: str) -> int:
    try:
        number = int(str(given or 0), 0)
    except ValueError as error:
        raise Failed("data '%s' is no number, which %s takes" % (given, kind)) from error
    if number >= 1 << _BITS[kind]:
        raise Failed("data cannot be larger than 0x%s when type is %s" % ("f" * (_BITS[kind] // 4), kind))
    return number


MODEL: t.Final = Model(
    "win_regedit",
    source="35f45de36423a5246441a60f1db49118804df61962d8f69ca2a68bbb7e14c6d4",
    act=act,
    shown=("path", "name", "type", "state", "delete_key"),
    unmodelled=("hive",),
)
