# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show every enumerated pair with its categories."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._core._errors import TlsError
from ..plugin_utils._enumeration import lines, rows
from ..plugin_utils._model_source import check_against_hostvars, model_from_vars
from ..plugin_utils._visible import visible

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """Reads the model, checks it against the variables of hosts, and shows it; looks at no host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return one row a pair."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        self.validate_argument_spec({})
        variables = task_vars or {}
        try:
            loaded = model_from_vars(variables, read_vaulted=self._loader.get_text_file_contents)
            check_against_hostvars(loaded.model, variables.get("hostvars", {}))
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from error
        table = rows(loaded.model)
        for line in lines(table):
            display.display(visible(line))
        result.update(changed=False, rows=table)
        return result
