# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`Ansible.Basic.AnsibleModule`, as far as our modules use it. The twin has checked the arguments already."""

from __future__ import annotations

import typing as t

from .. import Failed, Refused
from ..model import Call, Result
from .values import Net, Table, Value, plain, table, text


class Ended(Exception):
    """A module ended, with this result."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result


def options_in(spec: Table) -> dict[str, t.Any]:
    """Return a module's argument spec as its documentation would have it."""
    return {name: _option(row) for name, row in (spec.get("options") or Table()).rows()}


def _option(row: Table) -> dict[str, t.Any]:
    found = {key: plain(value) for key, value in row.rows() if key not in ("options", "no_log")}
    if row.has("options"):
        found["suboptions"] = options_in(row)
    return found


def _marked(options: Table, given: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """Yield the values of all options that a spec marks with no_log, those within others included."""
    for name, option in options.rows():
        value = given.get(name)
        if option.get("no_log") and value:
            yield text(value)
        if option.has("options"):
            for row in value if isinstance(value, list) else [value or {}]:
                yield from _marked(option.get("options"), row)


class AnsibleModule(Net):
    """The running module."""

    name = "Ansible.Basic.AnsibleModule"

    def __init__(self, call: Call, spec: Table) -> None:
        if not spec.get("supports_check_mode"):
            raise Refused("the twin's PowerShell runs modules that support check mode")
        call.hidden.update(_marked(spec.get("options") or Table(), dict(call.arguments)))
        self._call = call
        self._parameters = table(dict(call.arguments))
        self._result = Table({"changed": False})

    def p_params(self) -> Value:
        return self._parameters

    def p_result(self) -> Value:
        return self._result

    def p_checkmode(self) -> bool:
        return self._call.check

    def m_exitjson(self) -> t.NoReturn:
        raise Ended(plain(self._result))

    def m_failjson(self, message: Value, _record: Value = None) -> t.NoReturn:
        raise Failed(text(message), **plain(self._result))

    def m_warn(self, message: Value) -> None:
        self._call.warnings.append(text(message))
