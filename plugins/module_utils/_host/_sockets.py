# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets of this host as Linux lists them, and as ``netstat`` does elsewhere; private to this collection."""

from __future__ import annotations

import functools
import os
import socket
import struct
import typing as t
from dataclasses import dataclass

from .._core._errors import TlsError
from ._network import probe_ports
from ._system import IS_LINUX

#: include/net/tcp_states.h
STATES: t.Final[t.Mapping[str, str]] = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
    "0C": "NEW_SYN_RECV",
}

WILDCARDS: t.Final = ("0.0.0.0", "::")

End = t.Tuple[str, int]


class SocketsUnknown(TlsError):
    """This system does not list its sockets in a way that is known here."""


@dataclass(frozen=True)
class Row:
    """One TCP socket.

    Attributes:
        local: address and port of this end.
        peer: address and port of the other end; 0.0.0.0 and 0 for a listener.
        state: name of its state.
        inode: what ``/proc/<pid>/fd`` shows of it, elsewhere its process; 0 once no process has it any more, or where
            the system does not say whose it is.
    """

    local: End
    peer: End
    state: str
    inode: int

    def to_json(self) -> dict[str, t.Any]:
        """Return the row as observation shows it."""
        return {"local": shown(self.local), "peer": shown(self.peer), "state": self.state, "owned": self.inode != 0}


def shown(end: End) -> str:
    """Return an address and a port as one text."""
    return ("[%s]:%d" if ":" in end[0] else "%s:%d") % end


def net_folder(pid: int | None) -> str:
    """Return where the system lists the sockets of a process's network namespace."""
    folder = "/proc/%d/net" % pid if pid else "/proc/net"
    return folder if os.path.isdir(folder) else "/proc/net"


def tcp_rows(ports: t.Collection[int] | None = None, *, folder: str = "/proc/net") -> list[Row]:
    """Return the TCP sockets, or those with one of ``ports`` at either end.

    Raises:
        SocketsUnknown: this system does not list them.
    """
    if not IS_LINUX:
        return _by_netstat(ports)
    wanted = None if ports is None else frozenset(b"%04X" % port for port in ports)
    rows: list[Row] = []
    read = 0
    for name in ("tcp", "tcp6"):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue  # without IPv6 there is no tcp6
        read += 1
        for line in lines:
            fields = line.split(None, 10)
            if len(fields) > 9 and (wanted is None or fields[1][-4:] in wanted or fields[2][-4:] in wanted):
                state = fields[3].decode()
                rows.append(Row(_end(fields[1]), _end(fields[2]), STATES.get(state, state), int(fields[9])))
    if not read:
        raise SocketsUnknown("%s lists no TCP sockets; sockets can be looked at on Linux only" % folder)
    return rows


def _by_netstat(ports: t.Collection[int] | None) -> list[Row]:
    """Return the same on AIX and Solaris."""
    from .._core._unix import ToolUnread
    from ._unix import sockets

    try:
        rows = [Row(each.local, each.peer, each.state, each.pid or 0) for each in sockets()]
    except ToolUnread as error:
        raise SocketsUnknown(str(error)) from error
    return [row for row in rows if ports is None or {row.local[1], row.peer[1]} & set(ports)]


@functools.lru_cache(maxsize=4096)
def _address(digits: bytes) -> str:
    """Return an address; the kernel writes it as words in the order of this machine."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack("=%dI" % len(words), *words)
    if len(packed) == 16 and packed.startswith(b"\0" * 10 + b"\xff\xff"):
        packed = packed[12:]  # an IPv4 peer of an IPv6 socket
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _end(text: bytes) -> End:
    return _address(text[:-5]), int(text[-4:], 16)


def inodes(pids: t.Iterable[int]) -> set[int]:
    """Return the inodes of the sockets that these processes have; a process that is gone has none.

    Raises:
        SocketsUnknown: this account may not look at them.
    """
    if not IS_LINUX:
        return set(pids)
    found: set[int] = set()
    for pid in pids:
        folder = "/proc/%d/fd" % pid
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise SocketsUnknown("the sockets of process %d may be seen by its account and root only" % pid) from error
        for name in names:
            try:
                target = os.readlink("%s/%s" % (folder, name))
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    return found


def own_sockets(pids: t.Sequence[int], *, addresses: t.Collection[str] = ()) -> list[Row]:
    """Return the sockets of these processes, and what is left of sockets at these addresses.

    A socket in TIME_WAIT belongs to no process any more, so it is counted to those that use its address, unless its
    port is one of our looks'. A system that does not say whose its sockets are, such as AIX, shows all of them, owned
    by nobody: such a one speaks against everybody who may have it, and for nobody.

    Args:
        pids: the processes; the sockets are those of the first one's network namespace.
        addresses: addresses of the processes' host, beside those that their sockets have.
    """
    if not pids:
        return []
    mine = inodes(pids)
    rows = tcp_rows(folder=net_folder(pids[0]))
    owned = [row for row in rows if row.inode in mine and row.inode]
    if not IS_LINUX and not any(row.inode for row in rows):
        return [row for row in rows if row.state != "LISTEN"]
    local = {*addresses, *(row.local[0] for row in owned)} - set(WILDCARDS)
    ended = [row for row in rows if row.state == "TIME_WAIT" and row.local[0] in local]
    return owned + [row for row in ended if row.local[1] not in probe_ports()]


def udp_ports(pids: t.Sequence[int]) -> set[int]:
    """Return the ports on which these processes have a UDP socket.

    Where the system does not say whose a socket is, as on AIX, it counts as theirs: a port is taken for closed only
    where nobody has it open.

    Raises:
        SocketsUnknown: they are not listed, or this account may not look at them.
    """
    if not IS_LINUX:
        return _udp_by_netstat(pids)
    mine, found, read = inodes(pids), set(), 0
    for name in ("udp", "udp6"):
        try:
            with open(os.path.join(net_folder(pids[0]), name), "rb") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue  # without IPv6 there is no udp6
        read += 1
        found |= {_end(line.split()[1])[1] for line in lines if int(line.split()[9]) in mine}
    if not read:
        raise SocketsUnknown("%s lists no UDP sockets; sockets can be looked at on Linux only" % net_folder(pids[0]))
    return found


def _udp_by_netstat(pids: t.Sequence[int]) -> set[int]:
    """Return the same on AIX and Solaris."""
    from .._core._unix import ToolUnread
    from ._unix import udp_ports as shown

    try:
        return shown(pids)
    except ToolUnread as error:
        raise SocketsUnknown(str(error)) from error
