# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How everything of a lab is called, from its network alone: what a crash leaves is found again by these names."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import LabError

NET: t.Final = "10.77.0"

#: Where labs live: the names of their networks belong to the machine, and so does this folder, whoever calls.
STATES: t.Final = Path("/var/lib/connsec-tls-lab")

#: The domain of the hosts; RFC 2606 keeps `.test` for such uses.
DOMAIN: t.Final = "lab.test"

#: Hosts are numbered from here, so that a network has room for addresses that move between hosts.
FIRST: t.Final = 11
LAST: t.Final = 199

_HOST: t.Final = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?\Z")
_SIZE: t.Final = re.compile(r"([1-9][0-9]{0,5})([kmg])\Z")
_UNITS: t.Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True)
class Wanted:
    """A host that was asked for. `size` limits what can be written on it, in bytes; None is as much as the disk has."""

    name: str
    size: int | None = None


@dataclass(frozen=True)
class Net:
    """The network of a lab, such as 10.77.0: 254 addresses that only this machine knows."""

    prefix: str = NET

    def __post_init__(self) -> None:
        """Refuse whatever is not the first three numbers of a private network.

        Raises:
            LabError: it is something else.
        """
        try:
            found = ipaddress.IPv4Network(self.prefix + ".0/24")
        except ValueError as error:
            raise LabError("%r is not a network; give three numbers such as %s" % (self.prefix, NET)) from error
        if not found.is_private or found.is_loopback or found.is_link_local:
            raise LabError("%s.0/24 is not private; give a network such as %s" % (self.prefix, NET))

    @property
    def mark(self) -> str:
        """What begins every name of this lab's: links have at most 15 characters, so numbers are written in hex."""
        return "cslab" + "".join("%02x" % int(part) for part in self.prefix.split("."))

    @property
    def bridge(self) -> str:
        """The bridge, whose address is the machine's in this network."""
        return self.mark

    @property
    def controller(self) -> str:
        """The machine's address."""
        return self.prefix + ".1"

    @property
    def state(self) -> Path:
        """The folder of this lab."""
        return STATES / self.prefix

    def host(self, name: str, number: int, size: int | None = None) -> Host:
        """Return a host of this lab's."""
        return Host(self, name, number, size)


@dataclass(frozen=True)
class Host:
    """A host of a lab: its name, the last part of its address, and how many bytes may be written on it."""

    net: Net
    name: str
    number: int
    size: int | None = None

    @property
    def address(self) -> str:
        """Where it is reached."""
        return "%s.%d" % (self.net.prefix, self.number)

    @property
    def mark(self) -> str:
        """What it is called on this machine: the link that leads to it, its nspawn machine, its control group."""
        return "%s-%d" % (self.net.mark, self.number)

    @property
    def namespace(self) -> Path:
        """Its network namespace; the machine's own folder for these is left alone."""
        return self.folder / "net"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.net.state / "hosts" / self.name

    @property
    def layer(self) -> Path:
        """Where what is written on it goes."""
        return self.folder / "layer"

    @property
    def root(self) -> Path:
        """Its root, while it is mounted."""
        return self.folder / "root"


def parse_hosts(text: str) -> tuple[Wanted, ...]:
    """Return the hosts of a list such as `web1,db1=64m`, where a size limits what can be written on a host.

    Raises:
        LabError: a name or a size is none, or a name occurs twice.
    """
    found = []
    for entry in text.split(","):
        name, limited, size = entry.strip().partition("=")
        found.append(Wanted(name, parse_size(size) if limited else None))
    return tuple(found)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as 64m.

    Raises:
        LabError: it is none.
    """
    found = _SIZE.match(text.lower())
    if not found:
        raise LabError("%r is not a size; give a number with k, m or g, such as 64m" % text)
    return int(found[1]) * _UNITS[found[2]]


def number_hosts(net: Net, wanted: t.Sequence[Wanted]) -> tuple[Host, ...]:
    """Return hosts with their addresses, in the order in which they were asked for.

    Raises:
        LabError: a name is none or occurs twice, or there are too many.
    """
    names = [each.name for each in wanted]
    for name in names:
        if not _HOST.match(name):
            raise LabError("%r is not a host name of the lab: small letters, digits and hyphens, at most 32" % name)
        if names.count(name) > 1:
            raise LabError("host %s is named twice" % name)
    if not 1 <= len(names) <= LAST - FIRST + 1:
        raise LabError("a lab has 1 to %d hosts, not %d" % (LAST - FIRST + 1, len(names)))
    return tuple(net.host(each.name, number, each.size) for number, each in enumerate(wanted, FIRST))


def hosts_file(hosts: t.Sequence[Host], own: Host) -> str:
    """Return the /etc/hosts of a host, in which it finds all the others."""
    known = [(each.address, "%s.%s" % (each.name, DOMAIN), each.name) for each in hosts]
    rows = [
        ("127.0.0.1", "localhost"),
        ("::1", "localhost"),
        (own.net.controller, "controller." + DOMAIN, "controller"),
    ]
    return "".join("\t".join(row) + "\n" for row in (*rows, *known))
