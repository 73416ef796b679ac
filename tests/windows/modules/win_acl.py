# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_acl, as ansible.windows 3.3.0 has it (plugins/modules/win_acl.ps1), for files, folders and private keys.

What callers have to live with: it does not run in check mode (Parse-Args without supports_check_mode), and it takes a
rule for present only where one has exactly these rights and flags and is not inherited. Read for an account that has
Modify is a change, each time anew.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .. import Failed, Refused
from ..acls import FILE_RIGHTS, KEY_RIGHTS, Kind, Rule, added, file_rule, mask_of, removed
from ..machine import Machine
from ..model import Call, Model, Result


def act(call: Call, machine: Machine) -> Result:
    path = str(call["path"])
    if path.upper().startswith(("HKLM:", "HKCU:", "HKCR:", "HKU:", "HKCC:")):
        raise Refused(
            "the twin models access rules of files, folders and Cert: paths; it was given the registry key %s" % path
        )
    if path.lower().startswith("cert:"):
        return _key(call, machine, path)
    return _file(call, machine, machine.path(path))


def _account(call: Call, machine: Machine) -> str:
    sid = machine.accounts.sid(str(call["user"]))
    if sid is None:
        raise Failed("account_name %s is not a valid account, cannot get SID" % call["user"])
    return sid


def _file(call: Call, machine: Machine, path: str) -> Result:
    if not machine.disk.exists(path):
        raise Failed("%s file or directory does not exist on the host" % path)
    words = ""
    if machine.disk.is_folder(path):
        words = str(call["inherit"] or "ContainerInherit, ObjectInherit").lower()
    kind: Kind = call["type"]
    rule = Rule(
        _account(call, machine),
        kind,
        _mask(call, path, FILE_RIGHTS),
        containers="containerinherit" in words,
        objects="objectinherit" in words,
        inherit_only=call["propagation"] == "InheritOnly",
        no_propagate=call["propagation"] == "NoPropagateInherit",
    )
    changed, message = _change(
        call, file_rule(rule), machine.explicit_rules(path), lambda rules: machine.set_rules(path, rules)
    )
    return {"changed": changed, **message}


def _key(call: Call, machine: Machine, path: str) -> Result:
    location, store, thumb = machine.key_path(path)
    if machine.stores.certificate(location, store, thumb) is None:
        raise Failed("%s file or directory does not exist on the host" % path)
    container = machine.stores.container(location, store, thumb)
    sid, kind = _account(call, machine), t.cast(Kind, call["type"])
    mask = _mask(call, path, KEY_RIGHTS)
    if container is None:
        raise Failed(_attempt(call, path, "Cannot find the certificate and private key for decryption."))
    changed, message = _change(
        call,
        Rule(sid, kind, mask),
        machine.stores.rules(container),
        lambda rules: machine.stores.set_rules(container, rules),
    )
    return {"changed": changed, **message}


def _mask(call: Call, path: str, table: t.Mapping[str, int]) -> int:
    try:
        return mask_of(str(call["rights"]), table)
    except Failed as error:
        raise Failed(_attempt(call, path, str(error))) from error


def _attempt(call: Call, path: str, why: str) -> str:
    return "an error occurred when attempting to %s %s permission(s) on %s for %s - %s" % (
        call["state"],
        call["rights"],
        path,
        call["user"],
        why,
    )


def _change(
    call: Call, rule: Rule, rules: list[Rule], write: t.Callable[[list[Rule]], None]
) -> tuple[bool, dict[str, str]]:
    there = rule in [replace(each, inherited=False) for each in rules if not each.inherited]
    if call["state"] == "present" and not there:
        write(added(rules, rule))
        return True, {}
    if call["state"] == "absent" and there:
        write(removed(rules, rule))
        return True, {}
    return False, {"msg": "the specified rule already exists" if there else "the specified rule does not exist"}


MODEL: t.Final = Model(
    "win_acl",
    source="f114d99c4fe03205963b3b9d6d1c932d6fd2fc9f2a5861dbdcc46fecd5eff852",
    act=act,
    shown=("path", "user", "state", "type", "rights", "inherit", "propagation"),
    combined=("inherit",),
    in_check_mode=False,
    predates_basic=True,
)
