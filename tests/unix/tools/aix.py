# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools of AIX 7: ps, netstat, and those of its System Resource Controller (SRC) and of the ODM.

Sources: the AIX commands reference, ``ps``, ``netstat``, ``lssrc``, ``startsrc``, ``stopsrc``, ``refresh``, ``chssys``,
``odmget``. SRC starts a subsystem with the environment of ``srcmstr``, which has that of the boot.
"""

from __future__ import annotations

import re
import shlex
import signal
import typing as t

from . import common, trust
from .host import Failed, Host, Usage, end, environment_of, lives, processes, sockets, udp_sockets


def ps(host: Host, arguments: t.Sequence[str]) -> str:
    """List processes; without a dash, as BSD has it: e for the environment, ww for lines of any width.

    With a and x, all processes, else the one that is named.
    """
    if not arguments or arguments[0].startswith("-"):
        return common.ps(host, arguments)
    letters, pids = arguments[0], [int(pid) for pid in arguments[1:]]
    if set(letters) - set("axew") or letters.count("w") != 2 or len(pids) != ("ax" not in letters):
        raise Usage("ps: Not a recognized flag: %s" % letters)
    shown = [one for one in sorted(processes().values()) if not one.ended and (not pids or one.pid in pids)]
    lines = ["     PID    TTY STAT  TIME COMMAND"]
    for one in shown:
        try:
            variables = " ".join(environment_of(one.pid)) if "e" in letters else ""
        except OSError:
            variables = ""
        words = "%s %s" % (one.arguments, variables)
        lines.append("%8d      - A     0:00 %s" % (one.pid, words.replace("\n", " ")))
    return "\n".join(lines) + "\n"


def netstat(host: Host, arguments: t.Sequence[str]) -> str:
    """List sockets: -an. Nothing says whose they are."""
    if list(arguments) != ["-an"]:
        raise Usage("Usage: netstat [-Aan]")
    lines = [
        "Active Internet connections (including servers)",
        "Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)",
    ]
    for one in sockets():
        if one.local[0] in (*host.addresses, "0.0.0.0"):
            lines.append("tcp4       0      0  %-22s %-22s %s" % (_end(one.local), _end(one.peer), one.state))
    for one in udp_sockets():
        if one.local[0] in (*host.addresses, "0.0.0.0"):
            lines.append("udp4       0      0  %-22s %-22s" % (_end(one.local), _end(one.peer)))
    lines += ["", "Active UNIX domain sockets", "SADR/PCB         Type   Recv-Q Send-Q Inode  Conn Refs Nextref Addr"]
    return "\n".join(lines) + "\n"


def _end(end_: tuple[str, int]) -> str:
    address, port = end_
    return "%s.%s" % ("*" if address == "0.0.0.0" else address, port or "*")


# The System Resource Controller


def lssrc(host: Host, arguments: t.Sequence[str]) -> str:
    """Show the status of a subsystem: -s NAME. One that was changed while it ran has two entries."""
    (name,) = _flags(arguments, {"-s": True})
    with host.state() as state:
        one = _subsystem(state, name)
        text = "Subsystem         Group            PID          Status \n"
        if lives(one.get("pid")):
            status = "stopping" if one.get("stopping") else "active"
            text += " %-16s %-16s %-12s %s\n" % (name, one["group"], one["pid"], status)
            if one.get("started as") == [one["path"], one["cmdargs"]]:
                return text
        return text + " %-16s %-16s %-12s %s\n" % (name, one["group"], "", "inoperative")


def odmget(host: Host, arguments: t.Sequence[str]) -> str:
    """Show the definition of a subsystem: -q subsysname=NAME SRCsubsys."""
    if len(arguments) != 3 or arguments[0] != "-q" or arguments[2] != "SRCsubsys":
        raise Usage("odmget: [-q criteria] ObjectClass")
    match = re.fullmatch(r"subsysname='?([\w.-]+)'?", arguments[1])
    if match is None:
        raise Usage("odmget: the criteria %r is not modelled" % arguments[1])
    with host.state() as state:
        one = state.get("subsystems", {}).get(match.group(1))
    if one is None:
        return ""
    fields = {"subsysname": match.group(1), "synonym": "", "cmdargs": one["cmdargs"], "path": one["path"]}
    lines = ['\t%s = "%s"' % (key, re.sub(r'(["\\])', r"\\\1", value)) for key, value in fields.items()]
    return "\nSRCsubsys:\n" + "\n".join(lines) + '\n\tuid = 0\n\taction = 2\n\tgrpname = "%s"\n' % one["group"]


def chssys(host: Host, arguments: t.Sequence[str]) -> str:
    """Change the definition of a subsystem: -s NAME, -p PATH, -a ARGUMENTS. What runs is left alone."""
    name, path, words = _flags(arguments, {"-s": True, "-p": False, "-a": False})
    with host.state() as state:
        one = _subsystem(state, name)
        if path is not None and not path.startswith("/"):
            raise Failed("0513-016 The subsystem's path must be a full one.")
        one.update(path=path or one["path"], cmdargs=one["cmdargs"] if words is None else words)
    return "0513-077 Subsystem has been changed.\n"


def startsrc(host: Host, arguments: t.Sequence[str]) -> str:
    """Start a subsystem: -s NAME, -e VARIABLES. Words are taken apart as a shell does it."""
    name, variables = _flags(arguments, {"-s": True, "-e": False})
    with host.state() as state:
        one = _subsystem(state, name)
        if lives(one.get("pid")):
            raise Failed("0513-029 The %s Subsystem is already active." % name)
        environment = {**state["boot"], **dict(word.partition("=")[::2] for word in shlex.split(variables or ""))}
        argv = [host.program(one["path"]), *shlex.split(one["cmdargs"])]
        one.update(pid=host.spawn(argv, environment, host.folder / (name + ".log")), stopping=False)
        one["started as"] = [one["path"], one["cmdargs"]]
        return "0513-059 The %s Subsystem has been started. Subsystem PID is %d.\n" % (name, one["pid"])


def stopsrc(host: Host, arguments: t.Sequence[str]) -> str:
    """Ask a subsystem to stop, and return: -s NAME."""
    (name,) = _flags(arguments, {"-s": True})
    with host.state() as state:
        one = _subsystem(state, name)
        if not lives(one.get("pid")):
            raise Failed("0513-004 The Subsystem or Group, %s, is currently inoperative." % name)
        one["stopping"] = True
        end(one["pid"], signal.SIGTERM)
    return "0513-044 The %s Subsystem was requested to stop.\n" % name


def refresh(host: Host, arguments: t.Sequence[str]) -> str:
    """Have a subsystem read its configuration; all of this twin's are reached by signals, which cannot say that."""
    (name,) = _flags(arguments, {"-s": True})
    with host.state() as state:
        _subsystem(state, name)
    raise Failed("0513-005 The Subsystem, %s, only supports signal communication." % name)


def _subsystem(state: dict[str, t.Any], name: str) -> dict[str, t.Any]:
    found = state.get("subsystems", {}).get(name)
    if found is None:
        raise Failed("0513-085 The %s Subsystem is not on file." % name)
    return t.cast("dict[str, t.Any]", found)


def _flags(arguments: t.Sequence[str], known: t.Mapping[str, bool]) -> list[t.Any]:
    """Return the values of flags in the order of ``known``, which says of each whether it has to be there."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) % 2 or set(given) - set(known) or {flag for flag, must in known.items() if must} - set(given):
        raise Usage("0513-047 Usage: %s" % " ".join(known))
    return [given.get(flag) for flag in known]


TOOLS = {
    "/usr/bin/ps": ps,
    "/usr/bin/netstat": netstat,
    "/usr/sbin/ifconfig": common.ifconfig,
    "/opt/freeware/bin/update-ca-bundles": trust.update_ca_bundles,
    **{"/usr/bin/" + each.__name__: each for each in (lssrc, odmget, chssys, startsrc, stopsrc, refresh)},
}
