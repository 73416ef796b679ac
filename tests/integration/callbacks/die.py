# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback by which ansible-playbook dies when a task is about to start, as a lost controller would."""

from __future__ import annotations

import os
import signal
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: die
type: aggregate
short_description: kill ansible-playbook where a test says so
description: CONNSEC_TEST_DIE has the name of a task and, after a #, the time at which it starts.
"""


class CallbackModule(CallbackBase):
    """Counts the times that a task starts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "die"

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        name, _unused, times = os.environ.get("CONNSEC_TEST_DIE", "").partition("#")
        self._name, self._left = name, int(times or 1)

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        if self._name and task.get_name().rpartition(" : ")[2] == self._name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
