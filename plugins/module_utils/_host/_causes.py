# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a process did not take its configuration: what its system denies it, and its own last words; private.

Service managers say that a job failed and where to read on. Who runs a rollout over many hosts needs the reason itself:
a sandbox of the unit that hides our folder, a port below 1024, a record of SELinux or AppArmor, what was logged.
"""

from __future__ import annotations

import os
import re
import subprocess
import typing as t

from .._core._masked import masked
from ._process import ProcessUnknown, pids_of
from ._system import IS_LINUX, SYSTEM

AUDIT_LOG: t.Final = "/var/log/audit/audit.log"
#: Below this port a process needs a capability (ip(7)).
_UNPRIVILEGED: t.Final = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_NET_BIND_SERVICE: t.Final = 10  # capabilities(7)
_SECONDS: t.Final = 10
#: Of a log the last part, and of what is found there the last lines.
_TAIL: t.Final = 1 << 18
_LINES: t.Final = 3
#: systemd.exec(5): settings that hide files from a process.
_HIDING: t.Final = ("InaccessiblePaths", "TemporaryFileSystem", "ProtectHome", "RootDirectory", "RootImage")
_SHOWN: t.Final = (*_HIDING, "SocketBindDeny", "SocketBindAllow", "CapabilityBoundingSet")
_HOMES: t.Final = ("/home", "/root", "/run/user")
#: Words in which programs tell of trouble.
_TROUBLE: t.Final = re.compile(
    r"(?i)\b(error|emerg|alert|crit|fatal|fail\w*|cannot|could not|unable|denied|refus\w*|invalid|no such|permi\w+)\b"
)
_AUDITED: t.Final = re.compile(r"audit\((\d+\.\d+):\d+\)")
_DENIED: t.Final = re.compile(r'avc:\s+denied|apparmor="DENIED"')
_RULE: t.Final = re.compile(r"(?:ipv[46]:)?(?:tcp:?)?(?:(\d+)(?:-(\d+))?)?$")

Properties = t.Mapping[str, t.Sequence[str]]


def causes(
    process: t.Mapping[str, t.Any], *, ports: t.Sequence[int], paths: t.Sequence[str], since: float
) -> list[str]:
    """Return what explains that a process does not do as it was told, as sentences; none if nothing is found.

    Args:
        process: ``{}``, ``{pid_file: path}`` or ``{service: unit}``.
        ports: those that it has to open and has not.
        paths: files of ours that it has to read.
        since: when it was told.
    """
    unit = str(process.get("service") or "")
    if not IS_LINUX:
        words = _service_log(unit) if unit else ""
        return ["it says: " + words] if words else []
    shown = _properties(unit) if unit else {}
    try:
        pids = pids_of(process)
    except ProcessUnknown:
        pids = []
    found = [*_hidden(unit, shown, pids, paths), *_bound(unit, shown, pids, ports)]
    found += _denied(pids, ports, paths, since)
    words = _last_words(unit, since) if unit else ""
    return [*found, *(["it says: " + words] if words else [])]


def _properties(unit: str) -> dict[str, list[str]]:
    """Return what a unit may not do, as its manager has it; a name may stand several times."""
    found: dict[str, list[str]] = {}
    argv = ["systemctl", "show", *("--property=" + name for name in _SHOWN), "--", unit]
    for line in _said(argv).splitlines():
        name, _unused, value = line.partition("=")
        if value:
            found.setdefault(name, []).append(value)
    return found


# Files


def _hidden(unit: str, shown: Properties, pids: t.Sequence[int], paths: t.Sequence[str]) -> list[str]:
    """Return that a process does not see files, or would not if it ran, as a sentence; it is enough to name one."""
    root = "/proc/%d/root" % pids[0] if pids else ""
    if root and not os.path.isdir(root + "/"):
        return []  # it has ended, or this account may not look at it
    for path in paths:
        real = os.path.realpath(path)
        setting = next((each for each in _settings(shown) if _covers(*each, path=real)), None)
        because = " for its unit has %s=%s" % setting if setting else ""
        if not pids and setting:
            return ["%s is not seen by %s,%s" % (path, unit, because)]
        if pids and os.path.isfile(real) and not os.path.isfile(root + real):
            comma = "," if because else ""
            return ["%s is not seen by process %d%s%s" % (path, pids[0], comma, because)]
    return []


def _settings(shown: Properties) -> t.Iterator[tuple[str, str]]:
    return ((name, value) for name in _HIDING for value in shown.get(name, ()))


def _covers(name: str, value: str, *, path: str) -> bool:
    if name == "ProtectHome":
        places = list(_HOMES) if value in ("yes", "tmpfs") else []
    elif name in ("RootDirectory", "RootImage"):
        return True
    else:
        places = [each.lstrip("-+").partition(":")[0] for each in value.split()]
    return any(path == place or path.startswith(place.rstrip("/") + "/") for place in places)


# Ports


def _bound(unit: str, shown: Properties, pids: t.Sequence[int], ports: t.Sequence[int]) -> list[str]:
    """Return which ports a process may not listen on, each with the reason."""
    found = []
    for port in ports:
        rules = shown.get("SocketBindDeny", ())
        if any(_is_meant(each, port) for each in rules) and not any(
            _is_meant(each, port) for each in shown.get("SocketBindAllow", ())
        ):
            found.append("port %d is denied to %s, which has SocketBindDeny=%s" % (port, unit, " ".join(rules)))
        elif port < _first_unprivileged() and not _may_bind(shown, pids):
            who = "process %d" % pids[0] if pids else unit
            found.append("port %d is below %d, and %s has no CAP_NET_BIND_SERVICE" % (port, _first_unprivileged(), who))
    return found


def _is_meant(rule: str, port: int) -> bool:
    """Return whether a rule of a unit is about a TCP port; systemd writes them as ipv4:tcp8443, tcp80 or any."""
    match = _RULE.match(rule)
    if match is None:
        return rule == "any"
    first, last = match.groups()
    return first is None or int(first) <= port <= int(last or first)


def _first_unprivileged() -> int:
    try:
        with open(_UNPRIVILEGED, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _may_bind(shown: Properties, pids: t.Sequence[int]) -> bool:
    """Return whether a process has the capability, or could have it if it ran; true where nobody can tell."""
    if not pids:
        allowed = shown.get("CapabilityBoundingSet")
        return allowed is None or "cap_net_bind_service" in allowed[0].split()
    try:
        with open("/proc/%d/status" % pids[0], encoding="utf-8", errors="replace") as file:
            match = re.search(r"^CapEff:\s*([0-9a-f]+)$", file.read(), re.M)
    except OSError:
        return True
    return match is None or bool(int(match.group(1), 16) >> _NET_BIND_SERVICE & 1)


# Records


def _denied(pids: t.Sequence[int], ports: t.Sequence[int], paths: t.Sequence[str], since: float) -> list[str]:
    """Return what SELinux or AppArmor denied since then and has to do with it, as the kernel recorded it."""
    found = []
    for line in [*_tail(AUDIT_LOG), *_journal(since, "_TRANSPORT=audit", "+", "_TRANSPORT=kernel")]:
        record = _DENIED.search(line)
        at = _AUDITED.search(line)
        if record is None or (at is not None and float(at.group(1)) < since):
            continue
        said = line[record.start() :].strip()
        if _concerns(said, pids, ports, paths) and said not in found:
            found.append(said)
    return ["the system denied it: " + masked(each) for each in found[-_LINES:]]


def _concerns(record: str, pids: t.Sequence[int], ports: t.Sequence[int], paths: t.Sequence[str]) -> bool:
    """Return whether a record names the process, a port or a file; SELinux has no more of a path than one part."""
    fields = dict(re.findall(r'(\w+)="?([^"\s]*)"?', record))
    if fields.get("pid") in {str(pid) for pid in pids} or fields.get("src") in {str(port) for port in ports}:
        return True
    real = [os.path.realpath(path) for path in paths]
    return fields.get("name") in {*real, *(part for path in real for part in path.split("/")[2:])}


def _tail(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _last_words(unit: str, since: float) -> str:
    """Return the last lines of trouble that a unit's own processes have written to the journal since then."""
    name = unit if "." in unit else unit + ".service"
    lines = [line.strip() for line in _journal(since, "_SYSTEMD_UNIT=" + name) if line.strip()]
    # a service manager may try again, and the first words of the next try are the last ones
    telling = [line for line in lines if _TROUBLE.search(line)] or lines
    return " / ".join(masked(line) for line in dict.fromkeys(telling[-_LINES:]))


def _service_log(fmri: str) -> str:
    """Return the last lines of trouble in the log of a service instance of Solaris; AIX's SRC keeps none."""
    path = _said(["/usr/bin/svcs", "-L", fmri]).strip() if SYSTEM == "solaris" else ""
    lines = [line.strip() for line in (_tail(path) if path else ()) if line.strip()]
    telling = [line for line in lines if _TROUBLE.search(line)] or lines
    return " / ".join(masked(line) for line in dict.fromkeys(telling[-_LINES:]))


def _journal(since: float, *matches: str) -> list[str]:
    argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=200", "--since=@%.3f" % since, *matches]
    return _said(argv).splitlines()


def _said(argv: t.Sequence[str]) -> str:
    """Return what a program says; nothing if it cannot, for it is asked on top of what is known already."""
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
