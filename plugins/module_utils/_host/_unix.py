# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes and sockets of AIX and Solaris, by their own tools; private to this collection."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
import typing as t

from .._core._unix import (
    TOOLS,
    Process,
    Socket,
    ToolUnread,
    family,
    named_in_pargs,
    named_in_ps,
    parse_ifconfig,
    parse_lssrc,
    parse_netstat_aix,
    parse_netstat_solaris,
    parse_pargs,
    parse_processes,
    parse_ps_environment,
    parse_svcs,
    parse_udp_aix,
    parse_udp_solaris,
)
from ._system import SYSTEM

_SECONDS: t.Final = 30
#: How many processes a tool is asked about in one call.
_AT_ONCE: t.Final = 200


def said(argv: t.Sequence[str], *, of_some: bool = False) -> str:
    """Return what a tool says, in the language that its documentation has.

    Args:
        argv: the tool and its arguments.
        of_some: whether it may fail for some of what it is asked about, and say the rest.

    Raises:
        ToolUnread: it is not there, fails or does not end.
    """
    environment = {"LC_ALL": "C", "PATH": "/usr/bin:/usr/sbin", "ODMDIR": "/etc/objrepos"}
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolUnread("%s cannot be asked: %s" % (argv[0], getattr(error, "strerror", None) or error)) from error
    if done.returncode != 0 and not (of_some and done.stdout):
        words = (done.stderr or done.stdout).decode("utf-8", "replace").split("\n")[0].strip()
        raise ToolUnread("%s fails: %s" % (" ".join(argv[:3]), words or "it ended with %d" % done.returncode))
    return done.stdout.decode("utf-8", "replace")


def ask(question: str, **words: t.Any) -> str:
    """Return the answer of this system's tool to a question of the table."""
    return said([part.format(**words) for part in TOOLS[SYSTEM][question]])


# Processes


def processes() -> dict[int, Process]:
    """Return the processes of this host that have not ended."""
    return parse_processes(ask("processes"))


def service(name: str) -> tuple[list[int], str]:
    """Return the processes of a service in the order of their numbers, and its state."""
    pids, state = (parse_lssrc if SYSTEM == "aix" else parse_svcs)(ask("service", service=name), name)
    return sorted(pids), state


def members(name: str) -> list[int]:
    """Return the processes of a service, the main one first: the one whose parent is none of them."""
    pids, _unused = service(name)
    if not pids:
        return []
    there = processes()
    found = [pid for pid in pids if pid in there]
    tops = [pid for pid in found if there[pid].parent not in found]
    first = min(tops or found, key=lambda pid: (-(there[pid].age or 0), pid), default=None)
    below = [] if first is None or SYSTEM == "solaris" else family(there, first)
    return [] if first is None else [first, *(pid for pid in dict.fromkeys([*found, *below]) if pid != first)]


def uid_of(pid: int) -> int | None:
    """Return the account, by number, that a process runs as; None if it is gone, or nobody knows its name."""
    found = processes().get(pid)
    if found is None:
        return None
    try:
        return int(found.user) if found.user.isdigit() else pwd.getpwnam(found.user).pw_uid
    except KeyError:
        return None


def started_at(pid: int) -> float | None:
    """Return the moment after which a process was started; ``ps`` counts whole seconds, so it may be one more."""
    now = time.time()  # before it is asked, which takes a while
    found = processes().get(pid)
    return None if found is None or found.age is None else round(now - found.age - 1, 2)


def variables_of(pid: int, names: t.Collection[str]) -> dict[str, str | None]:
    """Return what these variables were when a process was started.

    Raises:
        ToolUnread: they are not shown.
    """
    text = ask("environment", pid=pid)
    return parse_ps_environment(text, names) if SYSTEM == "aix" else parse_pargs(text, names)


def naming(words: str) -> list[int]:
    """Return the processes that have these words in their arguments or their environment, as far as we may look.

    Those above this process are left out: they look, or install. Some may have ended while they were asked about.

    Raises:
        ToolUnread: none of them are shown.
    """
    there = processes()
    if SYSTEM == "aix":
        found = named_in_ps(ask("everything"), words)
    else:
        pids, found = sorted(there), []
        for at in range(0, len(pids), _AT_ONCE):
            argv = [*TOOLS[SYSTEM]["everything"], *map(str, pids[at : at + _AT_ONCE])]
            found += named_in_pargs(said(argv, of_some=True), words)
    ours, pid = set(), os.getpid()
    while pid in there and pid not in ours:
        ours.add(pid)
        pid = there[pid].parent
    return [pid for pid in found if pid in there and pid not in ours]


# Sockets


def sockets() -> list[Socket]:
    """Return the TCP sockets of this host, each with its process where the system says whose it is.

    Raises:
        ToolUnread: netstat cannot be asked, or read.
    """
    if SYSTEM == "aix":
        return parse_netstat_aix(ask("sockets"))
    try:
        text = ask("sockets")
    except ToolUnread:
        text = ask("sockets without owners")
    return parse_netstat_solaris(text)


def udp_ports(pids: t.Collection[int]) -> set[int]:
    """Return the ports on which these processes have a UDP socket, and those of sockets that may be anybody's.

    Raises:
        ToolUnread: netstat cannot be asked, or read.
    """
    if SYSTEM == "aix":
        rows = parse_udp_aix(ask("udp"))
    else:
        try:
            text = ask("udp")
        except ToolUnread:
            text = ask("udp without owners")
        rows = parse_udp_solaris(text)
    return {port for port, pid in rows if pid is None or pid in pids}


def own_addresses() -> list[str]:
    """Return the addresses of this host's interfaces; none where they cannot be had."""
    try:
        return parse_ifconfig(ask("addresses"))
    except ToolUnread:
        return []
