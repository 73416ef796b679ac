# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tools of AIX and Solaris are asked, and how their answers are read; private to this collection.

Tools are named by their whole paths, for GNU's or UCB's may come first in somebody's path. Only options that the
vendors document are used, and docs/aix_solaris.md says where each answer is described. What cannot be read is refused
with a sentence and never guessed.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import typing as t
from dataclasses import dataclass

from ._errors import TlsError

End = t.Tuple[str, int]


class ToolUnread(TlsError):
    """A tool's answer is not as its vendor documents it."""


#: What is asked of each system, by the question; ``{pid}`` and ``{service}`` are put in.
TOOLS: t.Final[t.Mapping[str, t.Mapping[str, tuple[str, ...]]]] = {
    "aix": {
        "addresses": ("/usr/sbin/ifconfig", "-a"),
        "environment": ("/usr/bin/ps", "eww", "{pid}"),
        #: All processes, those without a terminal (x) and those with one (a), in the form of BSD.
        "everything": ("/usr/bin/ps", "axeww"),
        "processes": (
            *("/usr/bin/ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "user=", "-o", "etime=", "-o", "args="),
        ),
        "service": ("/usr/bin/lssrc", "-s", "{service}"),
        "sockets": ("/usr/bin/netstat", "-an"),
        "udp": ("/usr/bin/netstat", "-an"),
    },
    "solaris": {
        "addresses": ("/usr/sbin/ifconfig", "-a"),
        "environment": ("/usr/bin/pargs", "-e", "{pid}"),
        #: Processes follow, any number of them.
        "everything": ("/usr/bin/pargs", "-ae"),
        "processes": (
            *("/usr/bin/ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "user=", "-o", "etime=", "-o", "args="),
        ),
        "service": ("/usr/bin/svcs", "-H", "-p", "{service}"),
        "sockets": ("/usr/bin/netstat", "-anu", "-P", "tcp"),
        #: ``-u`` came with Solaris 11.2.
        "sockets without owners": ("/usr/bin/netstat", "-an", "-P", "tcp"),
        "udp": ("/usr/bin/netstat", "-anu", "-P", "udp"),
        "udp without owners": ("/usr/bin/netstat", "-an", "-P", "udp"),
    },
}

#: Words of both systems for a socket's state, where they differ from those that gates know.
_STATES: t.Final[t.Mapping[str, str]] = {
    "CLOSED": "CLOSE",
    "FIN_WAIT_1": "FIN_WAIT1",
    "FIN_WAIT_2": "FIN_WAIT2",
    "SYN_RCVD": "SYN_RECV",
    "SYN_RECEIVED": "SYN_RECV",
}
_KNOWN_STATES: t.Final = frozenset(
    (
        *_STATES,
        *("BOUND", "CLOSE_WAIT", "CLOSING", "ESTABLISHED", "IDLE", "LAST_ACK", "LISTEN", "SYN_SENT", "TIME_WAIT"),
    )
)
#: States of a socket that is no connection, and none that anybody waits on.
_NO_SOCKET: t.Final = frozenset({"BOUND", "CLOSED", "IDLE"})


@dataclass(frozen=True)
class Process:
    """A process as ``ps`` shows it; ``age`` is in whole seconds, None where it is not shown."""

    pid: int
    parent: int
    user: str
    age: int | None
    arguments: str


@dataclass(frozen=True)
class Socket:
    """A TCP socket as ``netstat`` shows it; ``pid`` is None where the system does not say whose it is."""

    local: End
    peer: End
    state: str
    pid: int | None = None


# Processes

_PROCESS: t.Final = re.compile(r"\s*(\d+)\s+(\d+)\s+(\S+)\s+(-|(?:\d+-)?(?:\d+:)?\d+:\d+)\s+(.*)")


def parse_processes(text: str) -> dict[int, Process]:
    """Return the processes that ``ps -o pid= -o ppid= -o user= -o etime= -o args=`` lists, without those that ended."""
    found = {}
    for line in text.splitlines():
        match = _PROCESS.fullmatch(line)
        if match and "<defunct>" not in match.group(5):
            pid, parent, user, age, arguments = match.groups()
            found[int(pid)] = Process(int(pid), int(parent), user, _seconds(age), arguments.strip())
    return found


def _seconds(text: str) -> int | None:
    """Return an elapsed time, ``[[dd-]hh:]mm:ss``, in seconds."""
    if text == "-":
        return None
    days, _unused, rest = text.rpartition("-")
    total = 0
    for part in rest.split(":"):
        total = total * 60 + int(part)
    return total + 86400 * int(days or 0)


def family(processes: t.Mapping[int, Process], pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop(0)
        children = sorted(each.pid for each in processes.values() if each.parent == parent and each.pid != parent)
        found += children
        waiting += children
    return found


# Environments

_ASSIGNED: t.Final = re.compile(r"(?:(?<=\s)|^)([A-Za-z_][A-Za-z0-9_]*)=")
_ENTRY: t.Final = re.compile(r"envp\[\d+\]: ([^=]+)=(.*)")


def parse_ps_environment(text: str, names: t.Iterable[str]) -> dict[str, str | None]:
    """Return variables out of what ``ps eww`` of AIX says: arguments and environment on one line, blanks between.

    A value ends where the next assignment begins, so one that holds a blank and an assignment cannot be told.

    Raises:
        ToolUnread: no environment is shown: the process is another account's, or gone.
    """
    line = " ".join(text.splitlines()[1:])
    found: dict[str, str | None] = {}
    matches = list(_ASSIGNED.finditer(line))
    if not matches:
        raise ToolUnread("ps shows no environment of it: only its account and root may look")
    for match, after in zip(matches, [*matches[1:], None]):
        found[match.group(1)] = line[match.end() : after.start() if after else None].rstrip()
    return {name: found.get(name) for name in names}


def parse_pargs(text: str, names: t.Iterable[str]) -> dict[str, str | None]:
    """Return variables out of what ``pargs -e`` of Solaris says: a line each."""
    matches = (_ENTRY.fullmatch(line) for line in text.splitlines())
    found = {match.group(1): match.group(2) for match in matches if match}
    return {name: found.get(name) for name in names}


_LISTED: t.Final = re.compile(r"\s*(\d+)\s+\S+\s+[A-Z]\S*\s+(?:\d+:)?\d+:\d+\s")


def named_in_ps(text: str, words: str) -> list[int]:
    """Return the processes of which ``ps axeww`` of AIX shows these words, in arguments or environment.

    A line that does not begin as one does goes on with the process before: ``ww`` wraps as often as it has to.
    """
    found: dict[int, str] = {}
    pid = 0
    for line in text.splitlines():
        head = _LISTED.match(line)
        pid = int(head.group(1)) if head else pid
        found[pid] = found.get(pid, "") + line
    return sorted(pid for pid, shown in found.items() if pid and words in shown)


_BLOCK: t.Final = re.compile(r"(\d+):\t")


def named_in_pargs(text: str, words: str) -> list[int]:
    """Return the processes of which ``pargs -ae`` of Solaris shows these words: a head line each, and what follows."""
    found, pid = set(), 0
    for line in text.splitlines():
        head = _BLOCK.match(line)
        pid = int(head.group(1)) if head else pid
        if words in line:
            found.add(pid)
    return sorted(found)


# Services


def parse_lssrc(text: str, subsystem: str) -> tuple[list[int], str]:
    """Return the processes of a subsystem, and its status, as ``lssrc -s`` shows them; it may have several.

    Raises:
        ToolUnread: there is no such subsystem.
    """
    rows = [line.split() for line in text.splitlines() if line.split()[:1] == [subsystem]]
    if not rows:
        raise ToolUnread("lssrc knows no subsystem %r" % subsystem)
    pids = [int(word) for words in rows for word in words[1:] if word.isdigit()]
    return pids, rows[0][-1]


_MEMBER: t.Final = re.compile(r"\s+\S+\s+(\d+)\s+\S.*")


def parse_svcs(text: str, fmri: str) -> tuple[list[int], str]:
    """Return the processes of a service instance, and its state, as ``svcs -H -p`` shows them.

    Raises:
        ToolUnread: there is no such instance.
    """
    lines = text.splitlines()
    heads = [line.split() for line in lines if line.strip() and not line[0].isspace()]
    if not heads:
        raise ToolUnread("svcs knows no service instance %r" % fmri)
    if len(heads) > 1:
        raise ToolUnread("%r is several service instances; name one: %s" % (fmri, ", ".join(h[-1] for h in heads)))
    matches = (_MEMBER.fullmatch(line) for line in lines)
    return [int(match.group(1)) for match in matches if match], heads[0][0].rstrip("*")


# Sockets


def parse_netstat_aix(text: str) -> list[Socket]:
    """Return the TCP sockets that ``netstat -an`` of AIX lists; it does not say whose they are.

    Raises:
        ToolUnread: a line is not as documented.
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in ("tcp", "tcp4", "tcp6") and len(words) >= 5:
            state = words[5] if len(words) > 5 else "CLOSED"
            found += _socket(words[3], words[4], state, None, is_wide=words[0] == "tcp6", line=line)
    return found


def parse_netstat_solaris(text: str) -> list[Socket]:
    """Return the TCP sockets that ``netstat -an -P tcp`` of Solaris lists, with their processes where ``-u`` was given.

    Raises:
        ToolUnread: a line is not as documented.
    """
    found, is_wide = [], False
    for line in text.splitlines():
        words = line.split()
        if line.startswith("TCP:"):
            is_wide = "IPv6" in line
        at = next((place for place, word in enumerate(words) if place >= 2 and word in _KNOWN_STATES), None)
        if at is None:
            continue
        owned = at >= 9 and words[3].isdigit()  # two ends, user, pid, command, four sizes
        found += _socket(words[0], words[1], words[at], int(words[3]) if owned else None, is_wide=is_wide, line=line)
    return found


def parse_udp_aix(text: str) -> list[tuple[int, int | None]]:
    """Return the ports of the UDP sockets that ``netstat -an`` of AIX lists, which does not say whose they are.

    Raises:
        ToolUnread: a line is not as documented.
    """
    rows = ((line, line.split()) for line in text.splitlines())
    rows = ((line, words) for line, words in rows if words and words[0] in ("udp", "udp4", "udp6"))
    found = [_end(words[3] if len(words) > 3 else "", is_wide=False, line=line) for line, words in rows]
    return [(port, None) for _unused, port in found if port]


#: What ``netstat -P udp`` of Solaris says of a socket; one that is unbound has no port.
_UDP_STATES: t.Final = frozenset({"Connected", "Idle", "Unbound"})


def parse_udp_solaris(text: str) -> list[tuple[int, int | None]]:
    """Return the ports of the UDP sockets that ``netstat -an -P udp`` of Solaris lists, each with its process.

    A socket without another end has nothing in that column. Its process is None without ``-u``, and where none has it.

    Raises:
        ToolUnread: a line is not as documented.
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        at = next((place for place, word in enumerate(words) if place and word in _UDP_STATES), None)
        if at is None or words[at] == "Unbound":
            continue
        owner = next((each for each in zip(words[1:at], words[2:at], words[3:at]) if each[1].isdigit()), None)
        port = _end(words[0], is_wide=False, line=line)[1]
        if port:
            found.append((port, int(owner[1]) if owner else None))
    return found


def _socket(local: str, peer: str, state: str, pid: int | None, *, is_wide: bool, line: str) -> list[Socket]:
    if state in _NO_SOCKET:
        return []
    if state not in _KNOWN_STATES:
        raise ToolUnread("netstat says what cannot be read: %s" % line.strip())
    ends = [_end(text, is_wide=is_wide, line=line) for text in (local, peer)]
    return [Socket(ends[0], ends[1], _STATES.get(state, state), pid)]


def _end(text: str, *, is_wide: bool, line: str) -> End:
    """Return an end, ``10.0.0.1.22`` or ``*.22``: the port follows the last dot."""
    host, _unused, port = text.rpartition(".")
    host = host.partition("%")[0]
    if not host and text == "*":  # older systems show a listener's other end so
        host, port = "*", "*"
    if host == "*":
        return ("::" if is_wide else "0.0.0.0"), 0 if port == "*" else _port(port, line)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ToolUnread("netstat says what cannot be read: %s" % line.strip()) from None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address), 0 if port == "*" else _port(port, line)


def _port(text: str, line: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise ToolUnread("netstat says what cannot be read: %s" % line.strip())
    return int(text)


def parse_ifconfig(text: str) -> list[str]:
    """Return the addresses that ``ifconfig -a`` shows, without those that every host has."""
    found = set()
    for match in re.finditer(r"\binet6?\s+([0-9A-Fa-f.:]+)", text):
        try:
            address = ipaddress.ip_address(match.group(1))
        except ValueError:
            continue
        if not (address.is_loopback or address.is_link_local or address.is_unspecified):
            found.add(str(address))
    return sorted(found)


# Words of a repository


def parse_words(text: str) -> list[str]:
    """Return the values of a property as ``svcprop`` shows them: blanks between, what a shell would read is escaped."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ToolUnread("svcprop says what cannot be read: %s" % text.strip()[:100]) from error


def parse_stanza(text: str) -> dict[str, str]:
    """Return the fields of the first stanza that ``odmget`` shows: ``name = "value"`` or ``name = number``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r'\s+(\w+) = (?:"(.*)"|(-?\w+))\s*', line)
        if match:
            name, quoted, bare = match.groups()
            found.setdefault(name, bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    return found
