# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""slurp on Windows, as ansible.windows 3.3.0 has it."""

from __future__ import annotations

import base64
import typing as t

from .. import Failed
from ..machine import Machine
from ..model import Call, Model, Result


def act(call: Call, machine: Machine) -> Result:
    path = machine.path(call["src"])
    if machine.disk.is_folder(path):
        raise Failed("Path %s is a directory" % path)
    if not machine.disk.is_file(path):
        raise Failed("Path %s is not found" % path)
    return {"changed": False, "content": base64.b64encode(machine.disk.read(path)).decode(), "encoding": "base64"}


MODEL: t.Final = Model(
    "slurp",
    source="2d473bb0c83cbe52f1714e92f756e0bb5a3aa907288f459c98c4ca6881c8b8e5",
    act=act,
    shown=("src",),
    predates_basic=True,
)
