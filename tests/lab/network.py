# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a lab: a bridge with an address on this machine, and a network namespace and a link for each host.

Nothing is forwarded and nothing translated: hosts reach each other and this machine, and nobody else reaches them.
"""

from __future__ import annotations

import ipaddress
import json
import typing as t
from pathlib import Path

from . import LabError
from .names import Host, Net
from .processes import run

_LINKS: t.Final = Path("/sys/class/net")


def bridge_commands(net: Net) -> list[str]:
    """Return what makes the bridge, for `ip -batch`."""
    return [
        "link add name %s type bridge" % net.bridge,
        "link set dev %s addrgenmode none" % net.bridge,
        "address add %s/24 dev %s" % (net.controller, net.bridge),
        "link set dev %s up" % net.bridge,
    ]


def link_commands(host: Host) -> list[str]:
    """Return what leads from the bridge into a host's namespace, for `ip -batch`."""
    return [
        "link add name %s type veth peer name eth0 netns %s" % (host.mark, host.namespace),
        "link set dev %s addrgenmode none" % host.mark,
        "link set dev %s master %s up" % (host.mark, host.net.bridge),
    ]


def inner_commands(host: Host) -> list[str]:
    """Return what gives a host its address, for `ip -batch` in its namespace."""
    return [
        "link set dev lo up",
        "link set dev eth0 addrgenmode none",
        "address add %s/24 dev eth0" % host.address,
        "link set dev eth0 up",
    ]


def check_free(net: Net) -> None:
    """Return if no network that this machine reaches already has the addresses of a lab.

    Raises:
        LabError: one has.
    """
    taken = taken_by(net, run(["ip", "-json", "-4", "route", "show", "table", "main"]))
    if taken is not None:
        raise LabError(
            "%s.0/24 is part of %s, which this machine reaches already; give another --net" % (net.prefix, taken)
        )


def taken_by(net: Net, routes: str) -> str | None:
    """Return the network that shares addresses with a lab's, among the routes that `ip -json` lists."""
    ours = ipaddress.IPv4Network(net.prefix + ".0/24")
    for route in json.loads(routes or "[]"):
        if route["dst"] != "default" and ipaddress.IPv4Network(route["dst"], strict=False).overlaps(ours):
            return "%s at %s" % (route["dst"], route.get("dev", "a gateway"))
    return None


def make(net: Net, hosts: t.Sequence[Host]) -> None:
    """Make the network of a lab, whose hosts have their folders.

    Raises:
        LabError: a part of it cannot be made.
    """
    for host in hosts:
        host.namespace.touch(mode=0o600)
        run(["unshare", "--net=%s" % host.namespace, "true"])
    commands = [*bridge_commands(net), *(each for host in hosts for each in link_commands(host))]
    _batch(["ip"], commands)
    for host in hosts:
        _batch(["nsenter", "--net=%s" % host.namespace, "ip"], inner_commands(host))


def _batch(program: t.Sequence[str], commands: t.Sequence[str]) -> None:
    run([*program, "-batch", "-"], given="".join(command + "\n" for command in commands))


def remove(net: Net) -> None:
    """Remove the links of a lab, by their names. Namespaces go with the folders of hosts."""
    for link in sorted((entry.name for entry in _LINKS.glob(net.mark + "*") if is_ours(net, entry.name)), reverse=True):
        run(["ip", "link", "delete", "dev", link])


def is_ours(net: Net, name: str) -> bool:
    """Return whether a link of this name is a lab's."""
    return name == net.bridge or name.startswith(net.mark + "-")


def connect(host: Host, *, on: bool) -> None:
    """Plug a host's cable in, or pull it.

    Raises:
        LabError: there is no such link.
    """
    run(["ip", "link", "set", "dev", host.mark, "up" if on else "down"])
