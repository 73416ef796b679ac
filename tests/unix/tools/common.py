# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tools that both systems have by POSIX: ``ps`` with ``-o``, and ``ifconfig -a``."""

from __future__ import annotations

import typing as t

from .host import Host, Process, Usage, elapsed, processes

#: The names of POSIX for ``ps -o``, as far as they are modelled.
FIELDS: dict[str, t.Callable[[Process], str]] = {
    "pid": lambda one: str(one.pid),
    "ppid": lambda one: str(one.parent),
    "user": lambda one: one.user,
    "etime": lambda one: "-" if one.ended else elapsed(one.age),
    "args": lambda one: "<defunct>" if one.ended else one.arguments,
}
WIDTHS = {"pid": 8, "ppid": 8, "user": 8, "etime": 11, "args": 0}


def ps(host: Host, arguments: t.Sequence[str]) -> str:
    """List processes: -A or -e, -p LIST, -o NAME or -o NAME=."""
    fields, pids, everything = [], None, False
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if flag in ("-A", "-e"):
            everything = True
        elif flag == "-p" and rest:
            pids = {int(pid) for pid in rest.pop(0).replace(",", " ").split()}
        elif flag == "-o" and rest:
            fields.append(rest.pop(0))
        else:
            raise Usage("ps: illegal option -- %s" % flag.lstrip("-"))
    names = [field.partition("=")[0] for field in fields]
    strange = [name for name in names if name not in FIELDS]
    if strange or not fields:
        raise Usage("ps: unknown output format: -o %s" % ",".join(strange))
    rows = [one for one in processes().values() if everything or one.pid in (pids or ())]
    head = [] if all("=" in field for field in fields) else [[name.upper() for name in names]]
    table = [*head, *([FIELDS[name](one) for name in names] for one in sorted(rows))]
    lines = (" ".join(cell.rjust(WIDTHS[name]) for name, cell in zip(names, row, strict=True)) for row in table)
    return "".join(line + "\n" for line in lines)


def ifconfig(host: Host, arguments: t.Sequence[str]) -> str:
    """Show the interfaces: -a."""
    if list(arguments) != ["-a"]:
        raise Usage("usage: ifconfig -a")
    rows = ["lo0: flags=e08084b<UP,BROADCAST,LOOPBACK,RUNNING>\n\tinet 127.0.0.1 netmask 0xff000000"]
    for number, address in enumerate(host.addresses):
        rows.append("en%d: flags=5e080863<UP,BROADCAST,RUNNING>\n\tinet %s netmask 0xffffff00" % (number, address))
    return "\n".join(rows) + "\n"
