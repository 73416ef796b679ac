# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_stat, as ansible.windows 3.3.0 has it, without shares and times of creation and access.

There are no links on the twin, so that following them is the same as not.
"""

from __future__ import annotations

import ntpath
import typing as t

from ..machine import Machine
from ..model import Call, Model, Result


def act(call: Call, machine: Machine) -> Result:
    path, disk = machine.path(call["path"]), machine.disk
    if not disk.exists(path):
        return {"changed": False, "stat": {"exists": False}}
    folder, spelled = disk.is_folder(path), disk.spelled(path)
    stat: Result = {
        "exists": True,
        "attributes": "Directory" if folder else "Archive",
        "isarchive": not folder,
        "isdir": folder,
        "isreg": not folder,
        "ishidden": False,
        "isjunction": False,
        "islnk": False,
        "isreadonly": False,
        "path": spelled,
        "filename": ntpath.basename(spelled),
        "lastwritetime": disk.modified(path),
        "owner": machine.owner(path),
    }
    if not folder:
        stat["extension"] = ntpath.splitext(spelled)[1]
    if call["get_checksum"] and not folder:
        stat["checksum"] = disk.digest(path, call["checksum_algorithm"])
    if call["get_size"]:
        stat["size"] = sum(disk.size(each) for each in disk.below(path)) if folder else disk.size(path)
    return {"changed": False, "stat": stat}


MODEL: t.Final = Model(
    "win_stat",
    source="1e8dbab932e6319e0393ce2fb74dee9434e427d55929c6bbc8b2d6047c41efb1",
    act=act,
    shown=("path", "get_checksum", "get_size", "checksum_algorithm"),
)
