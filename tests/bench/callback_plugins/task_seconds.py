# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes how long each task took, as JSON lines, into the file that TASK_SECONDS names."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_seconds
type: aggregate
short_description: write how long each task took
description: For benchmarks.
"""


class CallbackModule(CallbackBase):
    """From the start of a task, with its templating and its worker, to its result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_seconds"

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """Note when a task starts."""
        self._began = time.perf_counter()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """Write how long it took."""
        seconds = time.perf_counter() - self._began
        with open(os.environ["TASK_SECONDS"], "a", encoding="utf-8") as file:
            file.write(json.dumps({"task": result.task.get_name(), "seconds": seconds}) + "\n")
