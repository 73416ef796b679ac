# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_service, as ansible.windows 3.3.0 has it (plugins/modules/win_service.ps1): start mode, state, account,
dependencies.

Passwords are compared with nothing and kept nowhere; one is a change where update_password says always, or with a new
account.
"""

from __future__ import annotations

import typing as t

from .. import Failed
from ..accounts import SYSTEM
from ..machine import Machine
from ..model import Call, Model, Result


def act(call: Call, machine: Machine) -> Result:
    name = machine.services.find(call["name"])
    if call["state"] == "absent":
        return {"changed": _absent(call, machine, name), "exists": False}
    changed = False
    if name is None:
        if not _asked(call):
            return {"changed": False, "exists": False}
        if call["path"] is None:
            raise Failed("Service '%s' is not installed, need to set 'path' to create a new service" % call["name"])
        name, changed = str(call["name"]), True
        if call.check:
            return {
                "changed": True,
                "exists": True,
                "name": name,
                "state": "stopped",
                "start_mode": call["start_mode"] or "auto",
            }
        machine.services.make(name, call["path"])
    for change in (_account, _dependencies, _texts, _start_mode, _state):
        changed = change(call, machine, name) or changed
    return {"changed": changed, "exists": True, **_report(call, machine, name)}


def _asked(call: Call) -> bool:
    """Return whether more was asked than whether the service is there."""
    words = ("description", "display_name", "dependencies", "path", "start_mode", "state", "username", "password")
    return any(call[word] is not None for word in words)


def _absent(call: Call, machine: Machine, name: str | None) -> bool:
    if name is None:
        return False
    if not call.check:
        machine.services.stop(name, force=call["force_dependent_services"])
        machine.services.remove(name)
    return True


def _account(call: Call, machine: Machine, name: str) -> bool:
    wanted, accounts = call["username"], machine.accounts
    if call["password"] is not None and wanted is None:
        raise Failed("missing parameter(s) required by 'password': username")
    if wanted is None:
        return False
    sid = accounts.sid(wanted)
    if sid is None:
        raise Failed("Some or all identity references could not be translated: %s" % wanted)
    if sid != accounts.sid(machine.services.setting(name, "ObjectName") or ""):
        if not call.check:
            machine.services.set(name, "ObjectName", "LocalSystem" if sid == SYSTEM else accounts.name(sid))
        return True
    return call["update_password"] == "always" and bool(call["password"])


def _dependencies(call: Call, machine: Machine, name: str) -> bool:
    given = call["dependencies"]
    if given is None:
        return False
    known = machine.services.needs(name)
    wanted = {
        "add": known + [each for each in given if each not in known],
        "remove": [each for each in known if each not in given],
        "set": list(given),
    }[call["dependency_action"]]
    if set(wanted) == set(known):
        return False
    if not call.check:
        machine.services.set_needs(name, wanted)
    return True


def _texts(call: Call, machine: Machine, name: str) -> bool:
    changed = False
    for option, value in (("description", "Description"), ("display_name", "DisplayName"), ("path", "ImagePath")):
        wanted = call[option]
        if wanted is None or wanted == (machine.services.setting(name, value) or ""):
            continue
        if option == "display_name" and not wanted:
            continue
        changed = True
        if not call.check:
            machine.services.set(name, value, wanted)
    return changed


def _start_mode(call: Call, machine: Machine, name: str) -> bool:
    wanted = call["start_mode"]
    if wanted is None or wanted == machine.services.start_mode(name):
        return False
    if not call.check:
        machine.services.set_start_mode(name, wanted)
    return True


def _state(call: Call, machine: Machine, name: str) -> bool:
    wanted, services, force = call["state"], machine.services, call["force_dependent_services"]
    if wanted is None or (wanted, services.state(name)) in (("started", "running"), ("stopped", "stopped")):
        return False
    if wanted == "paused":
        raise Failed("failed to pause service %s: The service does not support pausing" % name)
    if not call.check:
        if wanted == "started":
            services.start(name)
        elif wanted == "stopped":
            services.stop(name, force=force)
        else:
            services.restart(name, force=force)
    return True


def _report(call: Call, machine: Machine, name: str) -> Result:
    """Return the documented result; in check mode with what would be, as the real module does."""
    services = machine.services
    state, wanted = services.state(name), str(call["state"]) if call.check else ""
    account = services.setting(name, "ObjectName")
    return {
        "name": name,
        "display_name": services.setting(name, "DisplayName"),
        "description": services.setting(name, "Description"),
        "path": services.setting(name, "ImagePath"),
        "dependencies": services.needs(name),
        "depended_by": services.needed_by(name),
        "desktop_interact": False,
        "can_pause_and_continue": False,
        "start_mode": (call.check and call["start_mode"]) or services.start_mode(name),
        "state": {"started": "running", "restarted": "running", "stopped": "stopped"}.get(wanted, state),
        "username": "LocalSystem" if machine.accounts.sid(account or "") == SYSTEM else account,
    }


MODEL: t.Final = Model(
    "win_service",
    source="c3ced490db2aff60414038c987c1ff0e3a8cecca0a471dc66946432d9af1cc00",
    act=act,
    shown=(
        "name",
        "state",
        "start_mode",
        "username",
        "path",
        "display_name",
        "description",
        "dependencies",
        "dependency_action",
        "force_dependent_services",
        "update_password",
    ),
    secret=("password",),
    unmodelled=(
        "desktop_interact",
        "error_control",
        "failure_actions",
        "failure_actions_on_non_crash_failure",
        "failure_command",
        "failure_reboot_msg",
        "failure_reset_period_sec",
        "load_order_group",
        "pre_shutdown_timeout_ms",
        "required_privileges",
        "service_type",
        "sid_info",
    ),
)
