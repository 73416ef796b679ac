# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_command and win_powershell: scripts that a test registered with the twin, and no others.

There is no PowerShell behind the twin. A test says which function acts a script out, by the script's exact text;
whether that function does what the script does is for the test to show, on a real host.
"""

from __future__ import annotations

import re
import typing as t

from .. import Failed, Refused
from ..machine import Machine
from ..model import Call, Model, Result
from ..scripts import find

#: By what win_powershell knows that a script runs in check mode (plugins/modules/win_powershell.ps1).
_WHAT_IF: t.Final = re.compile(r"\[CmdletBinding\([^)]*SupportsShouldProcess", re.IGNORECASE)


def _powershell(call: Call, machine: Machine) -> Result:
    script = call["script"]
    if (script is None) == (call["path"] is None):
        raise Failed("one of the following is required, and only one: path, script")
    if script is None:
        raise Refused("the twin acts out scripts by their text; it was asked to run %s" % call["path"])
    skipped = _skipped(call, machine)
    if skipped:
        return skipped
    if call.check and not _WHAT_IF.search(script):
        return {"changed": True, "msg": "skipped, running in check mode"}
    parameters = dict(call["parameters"] or {})
    for each in call["sensitive_parameters"] or ():
        parameters[each["name"]] = each["value"] if each["username"] is None else (each["username"], each["password"])
    result = find(machine, script)(machine, parameters, check=call.check)
    empty: Result = {word: [] for word in ("output", "error", "warning", "verbose", "debug", "information")}
    return {"changed": True, "host_out": "", "host_err": "", "result": {}, **empty, **result}


def _skipped(call: Call, machine: Machine) -> Result | None:
    creates, removes = call["creates"], call["removes"]
    for text in (creates, removes):
        if text and ("*" in text or "?" in text):
            raise Refused("the twin models creates and removes without wildcards; it was given %s" % text)
    if creates and machine.disk.exists(machine.path(creates)):
        return {"changed": False, "skipped": True, "msg": "skipped, since %s exists" % creates}
    if removes and not machine.disk.exists(machine.path(removes)):
        return {"changed": False, "skipped": True, "msg": "skipped, since %s does not exist" % removes}
    return None


def _command(call: Call, machine: Machine) -> Result:
    given = [call[word] for word in ("_raw_params", "cmd", "argv") if call[word] is not None]
    if len(given) != 1:
        raise Failed("one of the following is required, and only one: _raw_params, cmd, argv")
    line = " ".join(given[0]) if isinstance(given[0], list) else str(given[0]).strip()
    skipped = _skipped(call, machine)
    if skipped:
        return {"cmd": line, "rc": 0, **skipped}
    result = find(machine, line)(machine, {}, check=False)
    found: Result = {"changed": True, "cmd": line, "rc": 0, "stdout": "", "stderr": "", **result}
    if found["rc"] != 0:
        raise Failed("non-zero return code", **found)
    return found


POWERSHELL: t.Final = Model(
    "win_powershell",
    source="df593b2c20ec7c1020e6782f000a5765681daba38b00993357898696723c4823",
    act=_powershell,
    shown=("path", "error_action", "creates", "removes"),
    unmodelled=("arguments", "chdir", "depth", "error_action", "executable", "remote_src"),
)
COMMAND: t.Final = Model(
    "win_command",
    source="9655a1800659ff3f3625b5130ce54f5899f2053510c880e4bd5bbc2da2e7d455",
    act=_command,
    shown=("creates", "removes"),
    unmodelled=("chdir", "stdin", "output_encoding_override"),
    in_check_mode=False,
)
