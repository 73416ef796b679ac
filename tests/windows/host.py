# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A twin as Ansible meets it: one round trip is read, acted out, logged and answered.

The log has a line for each round trip, with the names of the arguments that were given and the values of those that a
model says can be shown; a password, a key or a file's content is in none of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import Failed, Refused, Unreachable, documentation, payload, powershell, scripts
from .disk import joined
from .machine import SCRATCH, Machine, opened
from .model import Call, Model, Result
from .modules import MODELS

_HIDDEN: t.Final = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"

#: Modules of ours are run by their text.
_OURS: t.Final = "connsec.tls."

Kind = t.Literal["module", "script", "removal", "put", "fetch"]
Outcome = t.Literal["ok", "changed", "skipped", "failed", "refused"]
Answer = tuple[int, bytes, bytes]


@dataclass
class Trip:
    """One round trip, as the log has it."""

    kind: Kind
    what: str
    arguments: dict[str, t.Any] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    check: bool = False
    check_run: bool = False
    outcome: Outcome = "ok"
    refused: str | None = None
    effects: list[str] = field(default_factory=list)

    @property
    def lasting(self) -> list[str]:
        """The effects that stay when the task is over: all but those in Ansible's own temporary folders."""
        return [each for each in self.effects if SCRATCH.lower() not in each.lower()]

    @property
    def violations(self) -> list[str]:
        """What check mode does not allow, with who broke it: the module that was told, or a caller that did not."""
        if self.check:
            return ["module %s was told of check mode, and it %s" % (self.what, each) for each in self.lasting]
        if self.check_run:
            return ["caller of %s did not tell of check mode, and it %s" % (self.what, each) for each in self.lasting]
        return []


def read_log(folder: Path) -> list[Trip]:
    """Return all round trips so far."""
    path = folder / "log.jsonl"
    return [Trip(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


class Host:
    """The host behind a connection. ``check_run`` says whether the run, or the task alone, is one in check mode."""

    def __init__(self, folder: Path, *, check_run: bool) -> None:
        self._folder = folder
        self._check_run = check_run

    def execute(self, command: str, data: bytes | None) -> Answer:
        """Act out what was sent to PowerShell.

        Raises:
            Unreachable: a test has the host not answer.
        """
        trip = Trip("script", "PowerShell", check_run=self._check_run)
        with opened(self._folder) as machine:
            self._reach(machine)
            try:
                return self._act(machine, payload.read(command, data), trip)
            except Refused as error:
                trip.outcome, trip.refused = "refused", str(error)
                return _failed("windows_twin: %s" % error)
            except Failed as error:
                trip.outcome = "failed"
                return _failed(str(error), **error.result)
            finally:
                self._note(machine, trip)

    def put(self, content: bytes, path: str) -> None:
        """Take a file from the controller.

        Raises:
            Failed: Windows would not write it.
            Unreachable: a test has the host not answer.
        """
        trip = Trip("put", "put_file", {"path": path}, check_run=self._check_run)
        with opened(self._folder) as machine:
            self._reach(machine)
            try:
                machine.disk.write(machine.path(path), content)
                trip.outcome = "changed"
            except Failed:
                trip.outcome = "failed"
                raise
            finally:
                self._note(machine, trip)

    def fetch(self, path: str) -> bytes:
        """Hand a file to the controller.

        Raises:
            Failed: there is none.
            Unreachable: a test has the host not answer.
        """
        trip = Trip("fetch", "fetch_file", {"path": path}, check_run=self._check_run)
        with opened(self._folder) as machine:
            self._reach(machine)
            self._note(machine, trip)
            if not machine.disk.is_file(machine.path(path)):
                raise Failed("%s does not exist" % path)
            return machine.disk.read(machine.path(path))

    def _reach(self, machine: Machine) -> None:
        last = machine.faults.get("lost_after")
        if last is not None and len(read_log(self._folder)) >= last:
            raise Unreachable("%s does not answer" % machine.name)

    def _note(self, machine: Machine, trip: Trip) -> None:
        trip.effects = list(machine.effects)
        line = json.dumps(asdict(trip), sort_keys=True) + "\n"
        with open(os.open(self._folder / "log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
            file.write(line)

    def _act(self, machine: Machine, sent: payload.Sent, trip: Trip) -> Answer:
        if isinstance(sent, payload.ModuleSent):
            trip.kind, trip.what, trip.check = "module", sent.name, sent.check
            return _module(machine, sent, trip)
        if isinstance(sent, payload.RemovalSent):
            trip.kind, trip.what, trip.arguments = "removal", "Remove-Item", {"path": sent.path}
            path = machine.path(sent.path)
            if not machine.disk.exists(path):
                trip.outcome = "failed"
                return 1, b"", ("Cannot find path '%s' because it does not exist." % path).encode()
            machine.remove(path)
            return 0, b"", b""
        trip.what, trip.given = sent.name, sorted(sent.parameters)
        return _own_script(machine, sent, trip)


def _own_script(machine: Machine, sent: payload.ScriptSent, trip: Trip) -> Answer:
    """Act out one of Ansible's own scripts (ansible-core 2.19, `executor/powershell/powershell_*.ps1`)."""
    if sent.name == "powershell_mkdtemp.ps1":
        path = joined(machine.path(sent.parameters["Directory"]), sent.parameters["Name"])
        try:
            machine.disk.make_folder(path)
        except Failed as error:
            trip.outcome = "failed"
            return 1, b"", str(error).encode()
        return 0, path.encode(), b""
    if sent.name == "powershell_expand_user.ps1":
        given = str(sent.parameters["Path"])
        home = machine.environment["USERPROFILE"]
        return 0, (home + given[1:] if given == "~" or given.startswith("~\\") else given).encode(), b""
    raise Refused("the twin does not know Ansible's own script %s" % sent.name)


def _module(machine: Machine, sent: payload.ModuleSent, trip: Trip) -> Answer:
    trip.given = sorted(sent.arguments)
    if sent.environment:
        raise Refused(
            "the twin models modules without `environment`; this task sets %s" % ", ".join(sorted(sent.environment))
        )
    model = _model(machine, sent)
    internal = {name: value for name, value in sent.arguments.items() if name in model.internal}
    given = {name: value for name, value in sent.arguments.items() if name not in model.internal}
    options = documentation.options_of(sent.path)
    arguments = documentation.checked(sent.name, given, options, combined=model.combined)
    trip.arguments = {name: arguments[name] for name in model.shown if arguments.get(name) is not None}
    _refuse_unmodelled(model, arguments, options)
    call = Call(arguments, internal, check=sent.check, diff=sent.diff)
    result = _acted(machine, model, call)
    trip.outcome = "skipped" if result.get("skipped") else "changed" if result.get("changed") else "ok"
    if call.warnings:
        result["warnings"] = call.warnings
    if not sent.diff:
        result.pop("diff", None)
    if not model.predates_basic:
        result["invocation"] = {
            "module_args": {
                name: _HIDDEN if name in model.secret and value is not None else _shown(value, call.hidden)
                for name, value in arguments.items()
            }
        }
    return 0, json.dumps(result).encode(), b""


def _shown(value: t.Any, hidden: t.Collection[str]) -> t.Any:
    """Return arguments as `Ansible.Basic` shows them, without the values that a module marks with no_log."""
    if isinstance(value, dict):
        return {name: _shown(each, hidden) for name, each in value.items()}
    if isinstance(value, list):
        return [_shown(each, hidden) for each in value]
    return _HIDDEN if isinstance(value, str) and value in hidden else value


def _acted(machine: Machine, model: Model, call: Call) -> Result:
    if call.check and not model.in_check_mode:
        message = "remote module (%s) does not support check mode" % model.name
        return {"changed": False, "skipped": True, "msg": message}
    return model.act(call, machine)


def _model(machine: Machine, sent: payload.ModuleSent) -> Model:
    """Return how a module is acted out: by a model, or by what a test registered for exactly this module.

    Raises:
        Refused: by nothing, or by a model that was written from another version of it.
    """
    model = MODELS.get(sent.name)
    digest = hashlib.sha256(sent.content).hexdigest()
    if sent.name.startswith(_OURS):
        return Model(
            sent.name, source=digest, act=lambda call, host: powershell.run(sent.content, host, call, sent.utilities)
        )
    if model is not None:
        if model.source != digest:
            raise Refused(
                "the twin models another %s than the one that was sent; read what changed in it, then its model"
                % sent.name
            )
        return model
    try:
        act = scripts.find(machine, sent.content)
    except Refused as error:
        raise Refused("the twin does not model %s" % sent.name) from error
    return Model(sent.name, source=digest, act=lambda call, host: act(host, dict(call.arguments), check=call.check))


def _refuse_unmodelled(model: Model, arguments: t.Mapping[str, t.Any], options: documentation.Options) -> None:
    for name in model.unmodelled:
        if arguments.get(name) not in (None, options[name].get("default")):
            raise Refused("the twin does not model %s of %s" % (name, model.name))


def _failed(message: str, **result: t.Any) -> Answer:
    content = {"changed": False, **result, "failed": True, "msg": message}
    return 1, json.dumps(content).encode(), message.encode()
