# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools of Solaris 11: ps, pargs, netstat, and those of its Service Management Facility (SMF).

Sources: Oracle's manual pages ``ps(1)``, ``pargs(1)``, ``netstat(8)``, ``svcs(1)``, ``svcprop(1)``, ``svcadm(8)``,
``svccfg(8)``, ``smf(7)`` and ``smf_method(7)``. A service has its configuration and its running snapshot: what is set
in the first counts at the next start only if a refresh has taken it over into the second.
"""

from __future__ import annotations

import copy
import re
import subprocess
import typing as t
import zlib
from pathlib import Path

from . import common, trust
from .host import (
    Failed,
    Host,
    Usage,
    arguments_of,
    end,
    environment_of,
    lives,
    owners,
    processes,
    sockets,
    udp_sockets,
    wait_for,
)

Group = dict[str, tuple[str, list[str]]]

ps = common.ps


def pargs(host: Host, arguments: t.Sequence[str]) -> str:
    """Show environments of processes, and their arguments: -e PID, -ae PID...; it goes on where one is gone."""
    if len(arguments) < 2 or arguments[0] not in ("-e", "-ae"):
        raise Usage("usage:  pargs [-aceFx] { pid | core } ...")
    there, text, failed = processes(), "", ""
    for pid in map(int, arguments[1:]):
        try:
            one, rows = there[pid], environment_of(pid)
            if one.ended:
                raise KeyError(pid)
        except (KeyError, OSError):
            failed += "pargs: cannot examine %d: no such process, or permission denied\n" % pid
            continue
        words = arguments_of(pid) if "a" in arguments[0] else []
        lines = [
            *("argv[%d]: %s" % row for row in enumerate(words)),
            *("envp[%d]: %s" % row for row in enumerate(rows)),
        ]
        text += "%d:\t%s\n%s\n" % (pid, one.arguments[:80], "".join(line + "\n" for line in lines))
    if failed:
        raise Failed(failed.rstrip(), text)
    return text


def netstat(host: Host, arguments: t.Sequence[str]) -> str:
    """List sockets: -an -P tcp or udp, with -u those who have them."""
    if arguments[1:2] != ["-P"] or arguments[2:] not in (["tcp"], ["udp"]) or arguments[0] not in ("-an", "-anu"):
        raise Usage("usage: netstat [-anuvR] [-f address_family] [-P protocol]")
    told = "u" in arguments[0]
    if arguments[2] == "udp":
        return _udp(host, told=told)
    head = "   Local Address        Remote Address    "
    head += " User      Pid       Command      " if told else ""
    lines = ["", "TCP: IPv4", head + " Swind  Send-Q  Rwind  Recv-Q    State", "-" * 20 + " " + "-" * 20]
    pids, names = (owners() if told else {}), processes()
    for one in sockets():
        if one.local[0] in (*host.addresses, "0.0.0.0"):
            row = "%-20s %-20s " % (_end(one.local), _end(one.peer))
            owner = names.get(pids.get(one.inode, 0))
            if told and owner is not None:
                row += "%-8s %8d %-14s " % (owner.user, owner.pid, Path(owner.arguments.split()[0]).name[:14])
            lines.append(row + "%6d %6d %6d %6d %s" % (128000, 0, 128000, 0, one.state))
    return "\n".join(lines) + "\n"


def _udp(host: Host, *, told: bool) -> str:
    """List UDP sockets; one that is connected nowhere has nothing as its other end."""
    lines = [
        "",
        "UDP: IPv4",
        "   Local Address        Remote Address   %s State" % (" User Pid Command" if told else ""),
    ]
    lines.append("-" * 20 + " " + "-" * 20)
    pids, names = (owners() if told else {}), processes()
    for one in udp_sockets():
        if one.local[0] in (*host.addresses, "0.0.0.0"):
            peer = _end(one.peer) if one.peer[1] else ""
            row = "%-20s %-20s " % (_end(one.local), peer)
            owner = names.get(pids.get(one.inode, 0))
            if told and owner is not None:
                row += "%-8s %8d %-14s " % (owner.user, owner.pid, Path(owner.arguments.split()[0]).name[:14])
            lines.append(row + ("Connected" if peer else "Idle"))
    return "\n".join(lines) + "\n"


def _end(end_: tuple[str, int]) -> str:
    address, port = end_
    return "%s.%s" % ("*" if address == "0.0.0.0" else address, port or "*")


# svcs, svcadm


def svcs(host: Host, arguments: t.Sequence[str]) -> str:
    """Show the state of an instance: -H -p FMRI with its processes; its log's path: -L FMRI."""
    if list(arguments[:2]) == ["-H", "-p"] and len(arguments) == 3:
        with host.state() as state:
            one = _instance(state, arguments[2], "svcs: Pattern '%s' doesn't match any instances")
            _settle(one)
            text = "%-14s %8s %s\n" % (one["state"], "Nov_30", arguments[2])
            for pid in _members(host, arguments[2]):
                text += "               %8s %8d %s\n" % ("Nov_30", pid, "python3")
            return text
    if len(arguments) == 2 and arguments[0] == "-L":
        return "%s\n" % _log(host, arguments[1])
    raise Usage("Usage: svcs [-aHpv?] [-o col[,col]]... [FMRI | pattern]...")


def _log(host: Host, fmri: str) -> Path:
    return host.folder / (fmri.removeprefix("svc:/").replace("/", "-") + ".log")


def _zone(host: Host) -> str:
    """Return the zone that a twin is: several may run at once on this machine, with services of the same name."""
    return "twin-%08x" % zlib.crc32(str(host.folder).encode())


def _members(host: Host, fmri: str) -> list[int]:
    """Return the processes of an instance's contract; methods are given its name, and their children inherit it."""
    marks = {"SMF_FMRI=" + fmri, "SMF_METHOD=start", "SMF_ZONENAME=" + _zone(host)}
    found = []
    for one in processes().values():
        try:
            rows = [] if one.ended else environment_of(one.pid)
        except OSError:
            continue
        if marks <= set(rows):
            found.append(one.pid)
    return sorted(found)


def _settle(one: dict[str, t.Any]) -> None:
    """Do what the restarter does to a service whose process has ended: here it gives up at once."""
    if one["state"] == "online" and not _is_transient(one) and not lives(one.get("pid")):
        one["state"] = "maintenance"


def _is_transient(one: dict[str, t.Any]) -> bool:
    """Return whether a service has no process of its own, once its start method has ended."""
    return bool(one["running"].get("startd", {}).get("duration", [None, []])[1] == ["transient"])


def svcadm(host: Host, arguments: t.Sequence[str]) -> str:
    """Have an instance enabled, disabled, refreshed or cleared; -s waits, -t is until the next boot."""
    verb, flags, fmri = arguments[0], list(arguments[1:-1]), arguments[-1]
    allowed = {"enable": {"-s", "-t"}, "disable": {"-s", "-t"}, "refresh": {"-s"}, "clear": set()}
    if verb not in allowed or set(flags) - allowed[verb]:
        raise Usage("Usage: svcadm [-v] [cmd [args ... ]]")
    with host.state() as state:
        one = _instance(state, fmri, "svcadm: Pattern '%s' doesn't match any instances")
        _settle(one)
        if verb == "clear":
            if one["state"] != "maintenance":
                raise Failed('svcadm: Instance "%s" is not in a maintenance or degraded state.' % fmri)
            one["state"] = "offline"
            _start(host, fmri, one)
        elif verb == "refresh":
            _refresh(one)
            if one["state"] == "online":
                _method(host, fmri, one, "refresh", wait="-s" in flags)
        elif verb == "disable":
            _stop(one, wait="-s" in flags)
        elif one["state"] != "online":
            if one["state"] == "maintenance":
                raise Failed('svcadm: Instance "%s" is in maintenance state.' % fmri)
            _start(host, fmri, one)
        if "-t" not in flags and verb in ("enable", "disable"):
            one["enabled"] = verb == "enable"
    return ""


def _refresh(one: dict[str, t.Any]) -> None:
    one["running"] = copy.deepcopy(one["current"])


def _stop(one: dict[str, t.Any], *, wait: bool) -> None:
    if lives(one.get("pid")):
        end(one["pid"])
        if wait and not wait_for(lambda: not lives(one["pid"])):
            raise Failed("svcadm: the stop method timed out")
    one.update(state="disabled", pid=None)


def _start(host: Host, fmri: str, one: dict[str, t.Any]) -> None:
    """Run the start method with the environment of the running snapshot; one with a child is its own process."""
    method = one["running"]["start"]
    own = (method.get("environment") or one["running"].get("method_context", {}).get("environment") or [None, []])[1]
    environment = {
        "PATH": "/usr/sbin:/usr/bin", "SMF_FMRI": fmri, "SMF_METHOD": "start",
        "SMF_RESTARTER": "svc:/system/svc/restarter:default", "SMF_ZONENAME": _zone(host),
        **dict(row.partition("=")[::2] for row in own),
    }  # fmt: skip
    pid = host.spawn(["/bin/sh", "-c", "exec " + method["exec"][1][0]], environment, _log(host, fmri))
    one.update(pid=pid, state="online")


def _method(host: Host, fmri: str, one: dict[str, t.Any], name: str, *, wait: bool) -> None:
    """Run a method; svcadm returns before it has ended, unless it waits for that. One that fails is maintained."""
    method = one["running"].get(name)
    if method is None:
        return
    command = method["exec"][1][0]
    if command.startswith("/"):
        argv = [host.program(command.split()[0]), *command.split()[1:]]
        with _log(host, fmri).open("a") as log:
            if not wait:
                later = 'sleep 1; exec "$@"'
                subprocess.Popen(["/bin/sh", "-c", later, "sh", *argv], stdout=log, stderr=log, start_new_session=True)
            elif subprocess.run(argv, stdout=log, stderr=log, check=False).returncode:
                one["state"] = "maintenance"
        return
    match = re.fullmatch(r":kill -(\w+)", command)
    if match is None:
        raise Usage("this twin's methods are :kill -SIGNAL, not %r" % command)
    import signal

    end(one["pid"], getattr(signal, "SIG" + match.group(1)))


# svcprop, svccfg


def svcprop(host: Host, arguments: t.Sequence[str]) -> str:
    """Show a property, or those of a group: -p NAME FMRI as the instance runs, with -c as it is configured."""
    rest = list(arguments)
    view = "current" if rest[:1] == ["-c"] else "running"
    rest = rest[1:] if view == "current" else rest
    if len(rest) != 3 or rest[0] != "-p":
        raise Usage("Usage: svcprop [-afqtv] [-C | -c | -s snapshot] [-p [name]]... [FMRI | pattern]...")
    with host.state() as state:
        one = _instance(state, rest[2], "svcprop: Pattern '%s' doesn't match any entities")
    if rest[1] == "general/enabled":
        return "%s\n" % str(one["enabled"]).lower()
    group, _unused, name = rest[1].partition("/")
    properties = one[view].get(group)
    if properties is None or (name and name not in properties):
        kind = "property" if name else "property group"
        raise Failed("svcprop: Couldn't find %s `%s' for instance `%s'." % (kind, rest[1], rest[2]))
    if name:
        return "%s\n" % " ".join(map(_escaped, properties[name][1]))
    rows = (
        "%s/%s %s %s" % (group, key, form, " ".join(map(_escaped, each))) for key, (form, each) in properties.items()
    )
    return "".join(row + "\n" for row in rows)


def _escaped(value: str) -> str:
    """Return a value as a shell would read it."""
    return re.sub(r"([ \t\n;&()|^<>\\\"'`])", r"\\\1", value) if value else '""'


def svccfg(host: Host, arguments: t.Sequence[str]) -> str:
    """Change a configuration: -s FMRI and one command. Its words are put together again, and read by svccfg's rules."""
    if len(arguments) < 3 or arguments[0] != "-s":
        raise Usage("Usage:\tsvccfg [-v] [-s FMRI] [subcommand [args]...]")
    fmri = arguments[1]
    words = _lexed(" ".join(arguments[2:]))
    with host.state() as state:
        one = _instance(state, fmri, "svccfg: Pattern '%s' doesn't match any instances or services")
        found = _COMMANDS.get(words[0])
        if found is None:
            raise Usage("svccfg: Unknown command %r." % words[0])
        return found(one, words[1:])


def _lexed(text: str) -> list[str]:
    """Take a line apart: blanks part words, double quotes hold them together, a backslash there takes what follows."""
    words = []
    for match in re.finditer(r'"((?:[^"\\]|\\.)*)"|([()=])|([^\s"()=]+(?:=[^\s"()]*)?)', text):
        quoted, mark, bare = match.groups()
        words.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else mark or bare)
    return words


def _environment_of(one: dict[str, t.Any], words: list[str]) -> tuple[Group, list[str]]:
    """Return the property group that setenv and unsetenv are about, and what follows its flags."""
    group = "start"
    if words[:1] == ["-m"]:
        group, words = words[1], words[2:]
    elif words[:1] in (["-i"], ["-s"]):
        group, words = "method_context", words[1:]
    if group not in one["current"]:
        raise Failed("svccfg: Couldn't find property group")
    return one["current"][group], words


def _setenv(one: dict[str, t.Any], words: list[str]) -> str:
    group, rest = _environment_of(one, words)
    if len(rest) != 2:
        raise Usage("setenv [-i | -s] [-m method_name] envvar value")
    rows = [row for row in group.get("environment", ("astring", []))[1] if row.partition("=")[0] != rest[0]]
    group["environment"] = ("astring", [*rows, "%s=%s" % tuple(rest)])
    return ""


def _unsetenv(one: dict[str, t.Any], words: list[str]) -> str:
    group, rest = _environment_of(one, words)
    if len(rest) != 1:
        raise Usage("unsetenv [-i | -s] [-m method_name] envvar")
    rows = [row for row in group.get("environment", ("astring", []))[1] if row.partition("=")[0] != rest[0]]
    if rows:
        group["environment"] = ("astring", rows)
    else:
        group.pop("environment", None)
    return ""


def _listpg(one: dict[str, t.Any], words: list[str]) -> str:
    return "".join("%s  application\n" % name for name in one["current"] if not words or name in words)


def _addpg(one: dict[str, t.Any], words: list[str]) -> str:
    if words[0] in one["current"]:
        raise Failed('svccfg: Property group "%s" already exists.' % words[0])
    one["current"][words[0]] = {}
    return ""


def _listprop(one: dict[str, t.Any], words: list[str]) -> str:
    group, _unused, name = words[0].partition("/")
    found = one["current"].get(group, {}).get(name)
    return "" if found is None else "%s  %s  %s\n" % (words[0], found[0], " ".join('"%s"' % v for v in found[1]))


def _setprop(one: dict[str, t.Any], words: list[str]) -> str:
    place, equals, form, *values = words
    group, _unused, name = place.partition("/")
    if equals != "=" or not form.endswith(":") or group not in one["current"]:
        raise Failed("svccfg: Syntax error.")
    several = values[:1] == ["("] and values[-1:] == [")"]
    one["current"][group][name] = (form[:-1], values[1:-1] if several else values)
    return ""


def _delprop(one: dict[str, t.Any], words: list[str]) -> str:
    group, _unused, name = words[0].partition("/")
    if one["current"].get(group, {}).pop(name, None) is None:
        raise Failed("svccfg: No such property.")
    return ""


def _take_over(one: dict[str, t.Any], words: list[str]) -> str:
    """Take the configuration over into the running snapshot; the restarter is told, and runs a refresh method."""
    _refresh(one)
    return ""


_COMMANDS: dict[str, t.Callable[[dict[str, t.Any], list[str]], str]] = {
    "addpg": _addpg,
    "delprop": _delprop,
    "listpg": _listpg,
    "listprop": _listprop,
    "refresh": _take_over,
    "setenv": _setenv,
    "setprop": _setprop,
    "unsetenv": _unsetenv,
}


def _instance(state: dict[str, t.Any], fmri: str, refusal: str) -> dict[str, t.Any]:
    found = state.get("services", {}).get(fmri)
    if found is None:
        raise Failed(refusal % fmri)
    return t.cast("dict[str, t.Any]", found)


TOOLS = {
    "/lib/svc/method/ca-certificates": trust.ca_certificates,
    "/usr/sbin/ifconfig": common.ifconfig,
    **{"/usr/bin/" + each.__name__: each for each in (ps, pargs, netstat, svcs, svcprop)},
    **{"/usr/sbin/" + each.__name__: each for each in (svcadm, svccfg)},
}
