# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible sends to PowerShell, read: one module with its arguments, one of its own small scripts, or one command.

Ansible starts PowerShell with a script, `bootstrap_wrapper.ps1`, and pipes two JSON documents into it, parted by a
line of four NUL characters: the exec wrapper, and its manifest of scripts and actions. The last action is what is
wanted, and the ones before it wrap it (become, async, coverage). ansible-core 2.19:
`executor/powershell/module_manifest.py`, `_get_bootstrap_input`.
"""

from __future__ import annotations

import base64
import json
import ntpath
import re
import typing as t
from dataclasses import dataclass, field

from . import Refused

#: How the shell plugin starts PowerShell (`plugins/shell/powershell.py`, `_encode_script`).
_START: t.Final = "PowerShell -NoProfile -NonInteractive -ExecutionPolicy Unrestricted -EncodedCommand "
_PART: t.Final = "\n\0\0\0\0\n"
#: Ansible's word for arguments that are its own and no module's.
_OURS: t.Final = "_ansible_"
_COLLECTED: t.Final = re.compile(r"ansible_collections\.(\w+\.\w+)\.plugins\.modules\.(\w+)")
#: The command by which the shell plugin removes a file (`ShellModule.remove`).
_REMOVE: t.Final = re.compile(r"Remove-Item '((?:[^']|'')*)' -Force( -Recurse)?;")

Arguments = dict[str, t.Any]


@dataclass(frozen=True)
class ModuleSent:
    """A module, with what the task gave it."""

    name: str
    content: bytes = field(repr=False)
    path: str
    arguments: Arguments = field(repr=False)
    check: bool
    diff: bool
    no_log: bool
    environment: Arguments
    become: str | None
    utilities: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ScriptSent:
    """One of Ansible's own scripts, which make a temporary folder or find a home."""

    name: str
    parameters: Arguments


@dataclass(frozen=True)
class RemovalSent:
    """The command that takes a temporary folder away."""

    path: str
    recurse: bool


Sent = ModuleSent | ScriptSent | RemovalSent


def read(command: str, data: bytes | None) -> Sent:
    """Return what Ansible wants.

    Raises:
        Refused: it is something that the twin does not know.
    """
    if not command.startswith(_START):
        raise Refused(
            "the twin runs what Ansible's PowerShell shell sends; it was sent a command that begins with %s"
            % _word(command)
        )
    script = base64.b64decode(command[len(_START) :]).decode("utf-16-le")
    if data:
        return _manifest(data)
    for line in script.splitlines():
        found = _REMOVE.fullmatch(line.strip())
        if found:
            return RemovalSent(found[1].replace("''", "'"), recurse=bool(found[2]))
    raise Refused("the twin has no PowerShell; it was sent a script that begins with %s" % _word(script))


def _word(text: str) -> str:
    """Return the first word; what follows may hold a secret."""
    return (text.split() or ["nothing"])[0]


def _manifest(data: bytes) -> Sent:
    wrapper, parted, manifest = data.decode("utf-8").partition(_PART)
    if not parted or json.loads(wrapper).get("name") != "exec_wrapper":
        raise Refused("the twin runs PowerShell modules as ansible-core 2.19 wraps them; it was sent something else")
    content = json.loads(manifest.partition(_PART)[0])
    *wrapping, wanted = content["actions"]
    become = _become(wrapping)
    if wanted["name"] != "module_wrapper.ps1":
        return ScriptSent(wanted["name"], wanted["params"])
    return _module(content["scripts"], wanted["params"], become)


def _become(wrapping: t.Iterable[Arguments]) -> str | None:
    user = None
    for action in wrapping:
        if action["name"] != "become_wrapper.ps1":
            raise Refused(
                "the twin models tasks that wait for their module; this one is wrapped in %s" % action["name"]
            )
        user = str(action["params"].get("BecomeUser"))
        if user.upper() not in ("SYSTEM", "NT AUTHORITY\\SYSTEM"):
            raise Refused("the twin models become_user SYSTEM and no other; it was asked for %s" % user)
    return user


def _module(scripts: dict[str, Arguments], parameters: Arguments, become: str | None) -> ModuleSent:
    script = scripts[parameters["Script"]]
    given = next((each["Value"] for each in parameters.get("Variables", ()) if each["Name"] == "complex_args"), None)
    if given is None:
        raise Refused("the twin models modules; it was sent the script %s" % parameters["Script"])
    return ModuleSent(
        name=_name(parameters["Script"]),
        content=base64.b64decode(script["script"]),
        path=script["path"],
        arguments={name: value for name, value in given.items() if not name.startswith(_OURS)},
        check=bool(given.get("_ansible_check_mode")),
        diff=bool(given.get("_ansible_diff")),
        no_log=bool(given.get("_ansible_no_log")),
        environment=parameters.get("Environment") or {},
        become=become,
        utilities=tuple(_utilities(scripts, parameters)),
    )


def _utilities(scripts: dict[str, Arguments], parameters: Arguments) -> t.Iterator[bytes]:
    """Yield the texts of the module utilities that come along, without Ansible's own, which load C#."""
    for name in parameters.get("PowerShellModules") or ():
        if not name.startswith("Ansible.ModuleUtils."):
            yield base64.b64decode(scripts[name]["script"])


def _name(script: str) -> str:
    stem = ntpath.splitext(script)[0]
    found = _COLLECTED.fullmatch(stem)
    return "%s.%s" % (found[1], found[2]) if found else stem
