# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of this host, and the ports that looks use; private to this collection."""

from __future__ import annotations

import functools
import socket
import typing as t

from ._system import IS_LINUX

#: Looks use ports of their own only where there are this many.
_PROBE_PORTS_LEAST: t.Final = 1024


def own_addresses() -> list[str]:
    """Return the IP addresses that this host's interfaces have, without those that every host has.

    Sources: ``/proc/net/fib_trie`` names an IPv4 address before the line that calls it ``/32 host LOCAL``,
    ``/proc/net/if_inet6`` has an IPv6 address in each line, and in its fourth field the scope (00 is global).
    """
    if not IS_LINUX:
        from ._unix import own_addresses as shown

        return shown()
    found: set[str] = set()
    address = ""
    for line in _lines("/proc/net/fib_trie"):
        words = line.split()
        if words[:1] == ["|--"]:
            address = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and not address.startswith("127."):
            found.add(address)
    for line in _lines("/proc/net/if_inet6"):
        words = line.split()
        if len(words) > 3 and words[3] == "00":
            found.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[0])))
    return sorted(found)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


@functools.lru_cache(maxsize=1)
def probe_ports() -> range:
    """Return the local ports that looks use: above those that Linux gives to programs, so that ours are known as ours.

    A connection's end may stand in the socket table for a minute, where a later look would take it for a component's.
    Empty where the system gives out those ports itself, or does not say which it gives.
    """
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            highest = int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return range(0)
    return range(highest + 1, 65536) if highest < 65536 - _PROBE_PORTS_LEAST else range(0)
