# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Ansible and people reach the hosts of a lab: an inventory, and a configuration of ssh that knows their keys."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from .names import Host, Net

#: Seconds for which a connection stays open for the next task.
_PERSIST: t.Final = 300


def key(net: Net) -> Path:
    """The key that logs in on hosts of this lab, and nowhere else."""
    return net.state / "ssh" / "key"


def ssh_config(net: Net) -> Path:
    """The file for `ssh -F`."""
    return net.state / "ssh" / "config"


def known_hosts(net: Net) -> Path:
    """The keys of the hosts."""
    return net.state / "ssh" / "known_hosts"


def sockets(net: Net) -> Path:
    """Where connections that stay open have their sockets."""
    return net.state / "ssh" / "open"


def inventory(net: Net) -> Path:
    """The inventory file."""
    return net.state / "inventory" / "hosts.json"


def ssh_config_text(net: Net, hosts: t.Sequence[Host]) -> str:
    """Return the configuration of ssh."""
    alike = {
        "User": "root",
        "IdentityFile": key(net),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known_hosts(net),
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "PasswordAuthentication": "no",
        "ConnectTimeout": 5,
        "ServerAliveInterval": 5,
        "ServerAliveCountMax": 2,
        "LogLevel": "ERROR",
        "ControlMaster": "auto",
        "ControlPersist": _PERSIST,
        "ControlPath": sockets(net) / "%C",
    }
    rows = ["Host %s %s\n  HostName %s\n  HostKeyAlias %s\n" % (h.name, h.address, h.address, h.name) for h in hosts]
    return "\n".join(rows) + "\nHost *\n" + "".join("  %s %s\n" % row for row in alike.items())


def known_hosts_text(keys: t.Mapping[Host, str]) -> str:
    """Return the known hosts, from what each host has in its public key file."""
    return "".join("%s %s\n" % (host.name, " ".join(found.split()[:2])) for host, found in keys.items())


def inventory_text(net: Net, hosts: t.Sequence[Host]) -> str:
    """Return an inventory of all hosts, in JSON, which Ansible reads as YAML."""
    alike = {
        "ansible_connection": "ssh",
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_args": "-F %s" % ssh_config(net),
        "ansible_ssh_pipelining": True,
    }
    named = {host.name: {"ansible_host": host.address} for host in hosts}
    return json.dumps({"all": {"hosts": named, "vars": alike}}, indent=1) + "\n"
