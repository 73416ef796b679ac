# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing an entry of slapd's configuration while it is stopped for a moment; private to this collection.

slapd refuses to be without TLS once it had some (``config_tls_cleanup`` in servers/slapd/bconfig.c answers
unwillingToPerform where no context can be made), so that going back needs this. It is started again whatever happens.
"""

from __future__ import annotations

import re
import typing as t

from .._core._errors import TlsError
from ._process import user_of

_DEFAULT_FOLDER: t.Final = "/etc/ldap/slapd.d"

Run = t.Callable[[t.Sequence[str], bytes], bytes]


class NotAtRest(TlsError):
    """slapd cannot be stopped, changed and started again."""


class Daemon(t.NamedTuple):
    """A slapd that runs: its unit, its account, and the folder of its configuration."""

    unit: str
    account: str
    folder: str


def daemon_of(config: str) -> Daemon:
    """Return the slapd that an entry ``cn=config`` is of.

    Raises:
        NotAtRest: nobody can tell, or no service manager runs it.
    """
    found = re.search(r"^olcPidFile: (\S+)$", config, re.MULTILINE)
    if not found:
        raise NotAtRest("slapd has to be stopped for this, and cn=config does not say its pid file (olcPidFile)")
    try:
        with open(found.group(1), encoding="ascii") as file:
            pid = int(file.read())
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = [word.decode("utf-8", "surrogateescape") for word in file.read().split(b"\0")]
        with open("/proc/%d/cgroup" % pid, encoding="ascii", errors="replace") as file:
            unit = re.search(r"/([^/\n]+\.service)$", file.read(), re.MULTILINE)
        account = user_of(pid)
    except (OSError, ValueError) as error:
        raise NotAtRest("slapd has to be stopped for this, and its process cannot be looked at: %s" % error) from error
    if not unit or not account:
        raise NotAtRest("slapd has to be stopped for this, and no unit of systemd runs it")
    folder = words[words.index("-F") + 1] if "-F" in words[:-1] else _DEFAULT_FOLDER
    return Daemon(unit.group(1), account, folder)


def change_at_rest(daemon: Daemon, ldif: bytes, run: Run) -> None:
    """Stop slapd, change its configuration as its own account, and start it again."""
    run(["systemctl", "stop", "--", daemon.unit], b"")
    try:
        run(["runuser", "-u", daemon.account, "--", "slapmodify", "-F", daemon.folder, "-n", "0"], ldif)
    finally:
        run(["systemctl", "start", "--", daemon.unit], b"")
