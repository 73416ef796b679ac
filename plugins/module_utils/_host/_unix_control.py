# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of Solaris' SMF and AIX's SRC, reloaded and restarted; private to this collection.

Both hand a restart over and return: SMF to a restarter, SRC to a signal. So a service is ended first, waited for, and
started then; otherwise the old process would be taken for the new one.
"""

from __future__ import annotations

import time
import typing as t

from .._core._errors import TlsError
from ._system import SYSTEM
from ._unix import service

#: Seconds until a subsystem that was told to stop has to have stopped.
_STOP_SECONDS: t.Final = 60.0
_SVCADM: t.Final = "/usr/sbin/svcadm"

Run = t.Callable[..., str]


class ServiceRefused(TlsError):
    """A service did not do what its manager told it."""


def manage(name: str, what: str, *, run: Run) -> None:
    """Have a service reloaded or restarted.

    Args:
        name: the service instance (``svc:/application/router:default``), or the subsystem.
        what: ``reload`` or ``restart``.
        run: runs a program to its end, or raises what it says.

    Raises:
        TlsError: it could not be done.
    """
    ways = {
        ("solaris", "reload"): _refresh_instance,
        ("solaris", "restart"): _restart_instance,
        ("aix", "reload"): _refresh_subsystem,
        ("aix", "restart"): _restart_subsystem,
    }
    ways[SYSTEM, what](name, run)


def _refresh_instance(fmri: str, run: Run) -> None:
    run([_SVCADM, "refresh", fmri], what="the reload")


def _restart_instance(fmri: str, run: Run) -> None:
    """Restart a service instance with the environment that its configuration has now.

    What ``svccfg setenv`` writes is in force once it is in the running snapshot. It is put there while the instance is
    down, for a refresh of one that runs calls its refresh method as well. Both changes are temporary ones (``-t``), so
    that a boot finds the instance as its administrator set it.
    """
    if service(fmri)[1] == "maintenance":
        run([_SVCADM, "clear", fmri], what="forgetting earlier failures")
    run([_SVCADM, "disable", "-s", "-t", fmri], what="the stop")
    run(["/usr/sbin/svccfg", "-s", fmri, "refresh"], what="taking over its configuration")
    run([_SVCADM, "enable", "-s", "-t", fmri], what="the start")


def _refresh_subsystem(name: str, run: Run) -> None:
    """Have a subsystem read its configuration; one that its SRC reaches by signals cannot be told that way."""
    run(["/usr/bin/refresh", "-s", name], what="the reload")


def _restart_subsystem(name: str, run: Run) -> None:
    if service(name)[0]:
        run(["/usr/bin/stopsrc", "-s", name], what="the stop")
        until = time.monotonic() + _STOP_SECONDS
        while service(name)[0]:
            if time.monotonic() >= until:
                raise ServiceRefused("subsystem %s has not stopped after %g s" % (name, _STOP_SECONDS))
            time.sleep(0.1)
    run(["/usr/bin/startsrc", "-s", name], what="the start")
