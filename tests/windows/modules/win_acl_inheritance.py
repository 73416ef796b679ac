# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_acl_inheritance, as ansible.windows 3.3.0 has it, for files and folders."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .. import Failed, Refused
from ..machine import Machine
from ..model import Call, Model, Result


def act(call: Call, machine: Machine) -> Result:
    text = str(call["path"])
    if text.upper().startswith("HK"):
        raise Refused("the twin models inheritance of files and folders; it was given the registry key %s" % text)
    path = machine.path(text)
    if not machine.disk.exists(path):
        raise Failed("%s does not exist" % path)
    cut = machine.protected(path)
    wanted = call["state"] == "absent"
    changed = cut != wanted
    if changed and not call.check:
        own = machine.explicit_rules(path)
        if wanted and call["reorganize"]:
            own += [replace(rule, inherited=False) for rule in machine.inherited_rules(path)]
        elif not wanted and call["reorganize"]:
            inherited = [replace(rule, inherited=False) for rule in machine.inherited_rules(path)]
            own = [rule for rule in own if rule not in inherited]
        machine.set_rules(path, own, protected=wanted)
    words = {True: "absent", False: "present"}
    return {"changed": changed, "diff": {"before": {"state": words[cut]}, "after": {"state": words[wanted]}}}


MODEL: t.Final = Model(
    "win_acl_inheritance",
    source="31175db3422bf4be3cf51a55f1cbc6accf8133bec4359f1c16186ccc69f5ebc0",
    act=act,
    shown=("path", "state", "reorganize"),
)
