# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes a line for each result of a run, with what became of its task, for tests to read."""

from __future__ import annotations

import json
import os
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: rows
type: aggregate
short_description: write a line for each result of a run
description: For tests. CONNSEC_ROWS names the file.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Host and result, with the key failed, skipped or unreachable where that is what became of the task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "rows"

    def _note(self, result: t.Any, **became: bool) -> None:
        row = {"host": result.host.get_name(), "result": {**result.result, **became}}
        with open(os.environ["CONNSEC_ROWS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str) + "\n")

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._note(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._note(result, failed=True)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._note(result, skipped=True)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._note(result, unreachable=True)
