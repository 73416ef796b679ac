# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What variables say of a host's system and addresses, and where they say it; private to this collection."""

from __future__ import annotations

import json
import typing as t

from ..module_utils._core._entities import Host
from ..module_utils._core._fields import HOST
from ..module_utils._core._model import ModelError
from ..module_utils._core._reader import Reader
from ._idna import to_a_label

#: The variables that are looked at.
VARIABLES: t.Final = frozenset({"tls_os", "tls_addresses", "ansible_connection", "ansible_shell_type"})

#: Connection and shell types that are only used with one system.
SYSTEM_BY_CONNECTION: t.Final = {"winrm": "windows", "psrp": "windows"}
SYSTEM_BY_SHELL: t.Final = {"powershell": "windows", "cmd": "windows"}
#: ``ansible_system`` of the setup module -> ours.
SYSTEM_BY_FACT: t.Final = {"Linux": "linux", "AIX": "aix", "SunOS": "solaris", "Win32NT": "windows"}


def declared_hosts(hosts: t.Iterable[tuple[str, t.Mapping[str, t.Any]]]) -> dict[str, Host]:
    """Return what variables declare of each host (name, variables).

    Raises:
        ModelError: some of it is no system or no address.
    """
    reader = Reader(a_label=to_a_label)
    found = {name: _declared(reader, name, variables) for name, variables in hosts}
    if reader.mistakes:
        raise ModelError(reader.mistakes)
    return found


def _declared(reader: Reader, name: str, variables: t.Mapping[str, t.Any]) -> Host:
    source = (
        place_of(variables.get("tls_os")) or place_of(variables.get("tls_addresses")) or "the variables of %s" % name
    )
    values = {
        field: _plain(variables[variable])
        for field, variable in (("os", "tls_os"), ("addresses", "tls_addresses"))
        if variables.get(variable) is not None and not needs_rendering(variables[variable])
    }
    read = {
        field: reader.value(HOST[field].check, value, "%s: tls_%s of %s" % (source, field, name), HOST[field].default)
        for field, value in values.items()
    }
    system, reason = read.get("os"), "declared"
    if not system:
        system, reason = _by_connection(variables)
    return Host(name=name, os=system, os_reason=reason, addresses=read.get("addresses", ()), source=source)


def _by_connection(variables: t.Mapping[str, t.Any]) -> tuple[str, str]:
    connection = str(variables.get("ansible_connection") or "").rpartition(".")[2]
    shell = str(variables.get("ansible_shell_type") or "")
    if connection in SYSTEM_BY_CONNECTION:
        return SYSTEM_BY_CONNECTION[connection], "connection %s" % connection
    if shell in SYSTEM_BY_SHELL:
        return SYSTEM_BY_SHELL[shell], "shell %s" % shell
    return "linux", "connection %s, nothing declared" % (connection or "ssh")


def declarations(
    variables: t.Mapping[str, t.Any], render: t.Callable[[t.Any, t.Mapping[str, t.Any]], t.Any]
) -> dict[str, t.Any]:
    """Return what a host's variables, as they were written, declare of it: rendered, and what its facts say."""
    written = {name: variables[name] for name in ("tls_os", "tls_addresses") if variables.get(name) is not None}
    facts = {name: variables[name] for name in ("ansible_system", "ansible_facts") if name in variables}
    return {**facts, **(render(written, variables) if written else {})}


def differences(host: Host, variables: t.Mapping[str, t.Any]) -> list[str]:
    """Return where a host's variables or facts say otherwise than the model."""
    here = host.source or "the model (%s)" % host.os_reason
    advice = "; correct one, or declare it under hosts in tls_connections.yml"
    found = []
    reader = Reader(a_label=to_a_label)
    for field, variable in (("os", "tls_os"), ("addresses", "tls_addresses")):
        value, ours = variables.get(variable), getattr(host, field)
        if value is None:
            continue
        there = place_of(value) or "its variables"
        where = "host %s: %s in %s" % (host.name, variable, there)
        theirs = reader.value(HOST[field].check, _plain(value), where, ours)
        if theirs != ours and not (field == "addresses" and set(theirs) == set(ours)):
            found.append(
                "%s is %s, and %s says %s%s" % (where, _shown(theirs), here, _shown(ours) or "nothing", advice)
            )
    fact = SYSTEM_BY_FACT.get(
        str(variables.get("ansible_system") or (variables.get("ansible_facts") or {}).get("system"))
    )
    if fact and fact != host.os:
        found.append("host %s: its facts say %s, and %s says %s%s" % (host.name, fact, here, host.os, advice))
    return reader.mistakes + found


def _shown(value: str | t.Sequence[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def needs_rendering(value: t.Any) -> bool:
    """Return whether Ansible has something to do before a variable as it was written is plain data: Jinja, a vault."""
    if isinstance(value, str):
        return any(mark in value for mark in ("{{", "{%", "{#"))
    if isinstance(value, dict):
        return any(needs_rendering(part) for part in value.values())
    if isinstance(value, (list, tuple)):
        return any(needs_rendering(part) for part in value)
    return not (value is None or isinstance(value, (bool, int, float)))


def _plain(value: t.Any) -> t.Any:
    """Return a value without Ansible's tags."""
    return json.loads(json.dumps(value, default=str))


def place_of(value: t.Any) -> str | None:
    """Return the file and line that a value came from, where this Ansible can tell."""
    try:
        from ansible._internal._datatag._tags import Origin
    except ImportError:
        return None
    origin = Origin.get_tag(value)
    if origin is None or not origin.path:
        return None
    return "%s:%d" % (origin.path, origin.line_num) if origin.line_num else str(origin.path)
