# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes every result of a run into the file that CONNSEC_RECORD names, for tests to read."""

from __future__ import annotations

import json
import os
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: aggregate
short_description: write every result of a run into a file
description: For tests.
"""


class CallbackModule(CallbackBase):
    """Plays, tasks and results, in the shape of the json callback that ansible-core once had."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._plays: list[dict[str, t.Any]] = []

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self._plays.append({"name": play.get_name(), "tasks": []})

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self._plays[-1]["tasks"].append({"name": task.get_name(), "hosts": {}})

    def _note(self, result: t.Any, **kwargs: t.Any) -> None:
        found = dict(result.result)
        self._plays[-1]["tasks"][-1]["hosts"][result.host.get_name()] = json.loads(json.dumps(found, default=str))

    v2_runner_on_ok = _note
    v2_runner_on_failed = _note
    v2_runner_on_unreachable = _note

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        target = os.environ.get("CONNSEC_RECORD")
        if not target:
            return
        rows = {host: stats.summarize(host) for host in sorted(stats.processed)}
        with open(target, "w", encoding="utf-8") as file:
            json.dump({"plays": self._plays, "stats": rows}, file)
