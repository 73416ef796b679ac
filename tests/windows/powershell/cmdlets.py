# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of PowerShell that our modules call."""

from __future__ import annotations

import typing as t

from .. import Failed, Refused
from ..machine import Machine
from . import iis
from .dotnet import item
from .processes import COMMANDS
from .running import COMMANDS as RUNNING
from .values import VOID, PsError, Value, text

Parameters = t.Mapping[str, Value]


def _join_path(_machine: Machine, given: Parameters) -> Value:
    """Join two parts, as it does for paths of drives: one backslash between them."""
    _only(given, "path", "childpath")
    return text(given["path"]).rstrip("\\") + "\\" + text(given["childpath"]).lstrip("\\")


def _get_item(machine: Machine, given: Parameters) -> Value:
    _only(given, "literalpath", "force")
    path = machine.path(text(given["literalpath"]))
    if not machine.disk.exists(path):
        kind = "System.Management.Automation.ItemNotFoundException"
        raise PsError(kind, "Cannot find path '%s' because it does not exist." % path)
    return item(machine, path)


def _import_module(machine: Machine, given: Parameters) -> Value:
    """Import a module of Windows: IIS brings IISAdministration, and that brings Microsoft.Web.Administration."""
    _only(given, "name", "erroraction")
    if given["name"] != "IISAdministration":
        raise Refused("the twin's PowerShell has no module %s" % text(given["name"]))
    if "iis" not in machine.state:
        message = "The specified module 'IISAdministration' was not loaded because no valid module file was found."
        raise PsError("System.IO.FileNotFoundException", message)
    return VOID


def _get_iis_server_manager(machine: Machine, given: Parameters) -> Value:
    _only(given)
    return iis.ServerManager.new(machine)


def _new_item(machine: Machine, given: Parameters) -> Value:
    _only(given, "itemtype", "path", "value")
    if given["itemtype"] != "Junction":
        raise Refused("the twin's New-Item makes junctions alone; it was asked for a %s" % given["itemtype"])
    path = machine.path(text(given["path"]))
    try:
        machine.disk.link(path, machine.path(text(given["value"])))
    except Failed as error:
        raise PsError("System.IO.IOException", str(error)) from error
    return item(machine, path)


def _only(given: Parameters, *known: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise Refused("the twin's PowerShell does not model the parameters %s" % ", ".join(unknown))


CMDLETS: t.Final[t.Mapping[str, t.Callable[[Machine, Parameters], Value]]] = {
    **COMMANDS,
    **RUNNING,
    "get-iisservermanager": _get_iis_server_manager,
    "get-item": _get_item,
    "import-module": _import_module,
    "join-path": _join_path,
    "new-item": _new_item,
}
