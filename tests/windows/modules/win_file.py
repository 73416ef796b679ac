# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_file, as ansible.windows 3.3.0 has it (plugins/modules/win_file.ps1), without links."""

from __future__ import annotations

import typing as t

from .. import Failed
from ..machine import Machine
from ..model import Call, Model, Result


def act(call: Call, machine: Machine) -> Result:
    path, state, disk = machine.path(call["path"]), call["state"], machine.disk
    if disk.exists(path):
        return {"changed": _there(call, machine, path)}
    if state == "absent":
        return {"changed": False}
    if state == "touch":
        if not call.check:
            disk.write(path, b"")
        return {"changed": True}
    if state != "directory":
        raise Failed("path %s will not be created" % path)
    if not call.check:
        disk.make_folder(path)
    return {"changed": True}


def _there(call: Call, machine: Machine, path: str) -> bool:
    state, disk = call["state"], machine.disk
    if state == "directory" and not disk.is_folder(path):
        raise Failed("path %s is not a directory" % path)
    if state == "file" and disk.is_folder(path):
        raise Failed("path %s is not a file" % path)
    if state not in ("absent", "touch"):
        return False
    if not call.check:
        (machine.remove if state == "absent" else disk.touch)(path)
    return True


MODEL: t.Final = Model(
    "win_file",
    source="76143fe94bcf8b3b187e06039a6778d3f5efdd2fded9d3ea2c9925aff2b0a7ab",
    act=act,
    shown=("path", "state"),
    internal=("_original_basename",),
    predates_basic=True,
)
