# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect who uses clear listeners, between two runs: a program of its own, with nothing but the standard library.

It lies in a folder with ``collect.json``, which names the listeners, and keeps what it saw in ``collected.json``: peers
by address, each with its first and last time and a count, and the intervals in which it watched. A timer starts it
every minute; two of it never watch at once. On AIX and Solaris ``netstat`` is asked; what it says in another form than
its vendor documents ends the watch, which then was none.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
import typing as t

VERSION: t.Final = 1
CONFIGURATION: t.Final = "collect.json"
COLLECTED: t.Final = "collected.json"
#: Intervals with less than this between them count as one: a timer needs its moment to start the next one.
GAP: t.Final = 90.0
#: What is older than this many seconds is forgotten, and so are addresses above a number: nobody fills the disk.
KEPT: t.Final = 400 * 86400
MOST_PEERS: t.Final = 10_000
MOST_INTERVALS: t.Final = 10_000

_LISTENS: t.Final = b"0A"
_TIME_WAIT: t.Final = b"06"
_WILDCARDS: t.Final = ("0.0.0.0", "::")

#: How netstat is asked where the kernel has no such list, and at which place of a line its ends begin.
_NETSTAT: t.Final[t.Mapping[str, tuple[tuple[str, ...], int]]] = {
    "AIX": (("/usr/bin/netstat", "-an"), 3),
    "SunOS": (("/usr/bin/netstat", "-an", "-P", "tcp"), 0),
}
_SYSTEM: t.Final = os.uname().sysname
#: The states of a TCP socket in netstat(8) of Solaris and netstat of AIX; the last four are of no connection.
_STATES: t.Final = (
    *("CLOSE_WAIT", "CLOSING", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "LAST_ACK", "SYN_RCVD", "SYN_RECEIVED"),
    *("SYN_SENT", "TIME_WAIT", "BOUND", "CLOSED", "IDLE", "LISTEN"),
)
_NETSTAT_SECONDS: t.Final = 30

Json = t.Dict[str, t.Any]
End = t.Tuple[str, int]


def address_of(digits: bytes) -> str:
    """Return an address of ``/proc/net/tcp``, whose words are in the order of this machine."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack("=%dI" % len(words), *words)
    if len(packed) == 16 and packed.startswith(b"\0" * 10 + b"\xff\xff"):
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def connections(ports: t.Collection[int], *, ended: bool = False) -> list[tuple[End, End]]:
    """Return the connections whose own end is on one of these ports, as (own end, peer).

    One that has ended stays listed for another minute; where ``ended`` is set only those are returned.
    """
    if _SYSTEM in _NETSTAT:
        rows = from_netstat(_said_by_netstat(), _SYSTEM)
        return [(own, peer) for own, peer, state in rows if own[1] in ports and (not ended or state == "TIME_WAIT")]
    wanted = frozenset(b"%04X" % port for port in ports)
    found = []
    for name in ("tcp", "tcp6"):
        try:
            with open("/proc/net/" + name, "rb") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split(None, 4)
            if len(fields) < 4 or fields[1][-4:] not in wanted or fields[3] == _LISTENS:
                continue
            if not ended or fields[3] == _TIME_WAIT:
                own, peer = ((address_of(end[:-5]), int(end[-4:], 16)) for end in fields[1:3])
                found.append((own, peer))
    return found


def _said_by_netstat() -> str:
    """Return what netstat says, in the language that its documentation has."""
    argv = _NETSTAT[_SYSTEM][0]
    words = {"LC_ALL": "C", "PATH": "/usr/bin:/usr/sbin"}
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, env=words, timeout=_NETSTAT_SECONDS, check=True
    )
    return done.stdout.decode("ascii", "replace")


def from_netstat(text: str, system: str) -> list[tuple[End, End, str]]:
    """Return the connections that netstat lists, as (own end, peer, state), without listeners.

    Raises:
        ValueError: a line is not as its vendor documents it.
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        if system == "AIX" and words[:1] not in (["tcp"], ["tcp4"], ["tcp6"]):
            continue
        words = words[_NETSTAT[system][1] :]
        state = next((word for word in words[2:] if word in _STATES), None)
        if state is None and (system == "SunOS" or len(words) < 3):
            continue  # a heading; AIX shows no state of a socket that is closed
        if state is None:
            raise ValueError("netstat says what cannot be read: %s" % line.strip())
        if state not in _STATES[-4:]:
            found.append((_end(words[0]), _end(words[1]), state))
    return found


def _end(text: str) -> End:
    """Return an end, ``10.0.0.1.22``: the port follows the last dot."""
    address, _dot, port = text.rpartition(".")
    address = address.partition("%")[0]
    if address.lower().startswith("::ffff:") and "." in address:
        address = address[7:]
    socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)  # or it is none
    return address, int(port)


def first_probe_port() -> int:
    """Return the first port that our own looks are made from: above those that Linux gives to programs."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            return int(file.read().split()[1]) + 1
    except (OSError, ValueError, IndexError):
        return 65536


def peers_of(listener: t.Mapping[str, t.Any], rows: t.Iterable[tuple[End, End]], ours: int) -> set[End]:
    """Return who is connected to a listener, without our own looks.

    Args:
        listener: what is told of it; ``looks`` has, by address, from which port on looks from there are made.
        rows: the connections of this host.
        ours: the same for addresses that are not told.
    """
    addresses, looks = set(listener.get("addresses") or ()), listener.get("looks") or {}
    return {
        peer
        for own, peer in rows
        if own[1] == listener["port"] and (not addresses or own[0] in addresses) and peer[1] < looks.get(peer[0], ours)
    }


def add(seen: Json, address: str, now: float) -> None:
    """Count a connection of an address."""
    peer = seen["peers"].setdefault(address, {"first": now, "last": now, "count": 0})
    peer["last"] = now
    peer["count"] += 1


def goes_on(seen: Json, begun: float) -> bool:
    """Return whether a watch that begins then follows the last one without a gap."""
    intervals = seen["intervals"]
    return bool(intervals) and 0 <= begun - intervals[-1][1] <= GAP


def watched(seen: Json, begun: float, ended: float) -> None:
    """Note an interval in which a listener was watched; one that follows the last without a gap lengthens it."""
    if goes_on(seen, begun):
        seen["intervals"][-1][1] = ended
    else:
        seen["intervals"].append([begun, ended])


def trimmed(seen: Json, now: float) -> Json:
    """Return what is kept of a listener: nothing too old, and not more than somebody can read."""
    peers = sorted(seen["peers"].items(), key=lambda row: -row[1]["last"])[:MOST_PEERS]
    return {
        "peers": {address: row for address, row in peers if row["last"] > now - KEPT},
        "intervals": [row for row in seen["intervals"] if row[1] > now - KEPT][-MOST_INTERVALS:],
    }


def read(path: str) -> Json:
    """Return a JSON file; nothing where there is none, or none that can be read."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def collect(folder: str, *, seconds: float, interval: float) -> Json:
    """Watch the listeners for some seconds and return all that was collected so far; it is on the disk then.

    What had ended before a watch that follows none was used while nobody watched, and does not count.
    """
    listeners = read(os.path.join(folder, CONFIGURATION)).get("listeners") or []
    path = os.path.join(folder, COLLECTED)
    before = read(path).get("listeners") or {}
    found: Json = {each["id"]: before.get(each["id"]) or {"peers": {}, "intervals": []} for each in listeners}
    ports, ours = {each["port"] for each in listeners}, first_probe_port()
    begun = time.time()
    over = connections(ports, ended=True)
    known: dict[str, set[End]] = {
        each["id"]: set() if goes_on(found[each["id"]], begun) else peers_of(each, over, ours) for each in listeners
    }
    until = time.monotonic() + seconds
    while True:
        rows = connections(ports)
        for each in listeners:
            peers = peers_of(each, rows, ours)
            for address, _port in peers - known[each["id"]]:
                add(found[each["id"]], address, time.time())
            known[each["id"]] = peers
        if time.monotonic() >= until:
            break
        time.sleep(min(interval, max(0.0, until - time.monotonic())))
    now = time.time()
    for each in listeners:
        watched(found[each["id"]], begun, now)
    result = {"version": VERSION, "listeners": {name: trimmed(seen, now) for name, seen in found.items()}}
    write(path, result)
    return result


def write(path: str, value: Json) -> None:
    """Write a file whole or not at all."""
    temporary = "%s.%d" % (path, os.getpid())
    with open(temporary, "w") as file:
        json.dump(value, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Collect once, unless another one does."""
    parser = argparse.ArgumentParser(description="Collect who uses the clear listeners that collect.json names.")
    parser.add_argument("--seconds", type=float, default=55.0, help="for how long to watch (55)")
    often = 2.0 if _SYSTEM in _NETSTAT else 0.5  # there each sample starts a program
    parser.add_argument("--interval", type=float, default=often, help="seconds between two samples (%s)" % often)
    asked = parser.parse_args(arguments)
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "collect.lock"), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0  # the one before is not through
        try:
            collect(folder, seconds=asked.seconds, interval=asked.interval)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            sys.stderr.write("nothing was watched: %s\n" % error)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
