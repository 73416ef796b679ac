# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can run a lab at all, and why not."""

from __future__ import annotations

import os
import shutil
import sys
import typing as t

from . import LabError, Unfit
from .processes import SYSTEM_PATH, run

#: Program: the Debian package that has it.
PROGRAMS: t.Final = {
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}
#: What making a base tree needs besides.
BUILDING: t.Final = {"apt-get": "apt", "debootstrap": "debootstrap"}

_TRIAL: t.Final = ("unshare", "--mount", "--net", "--pid", "--fork", "true")


def check(*, building: bool = False) -> None:
    """Return if the lab can run here, or its base tree be made.

    Raises:
        Unfit: it cannot, and why.
    """
    names = {**PROGRAMS, **(BUILDING if building else {})}
    path = "%s:%s" % (os.environ.get("PATH", ""), SYSTEM_PATH)
    missing = sorted({package for name, package in names.items() if shutil.which(name, path=path) is None})
    reason = why_not(sys.platform, os.geteuid(), missing)
    if reason is None:
        try:
            run(_TRIAL)
        except LabError as error:
            reason = "this machine lets nobody make namespaces (%s)" % error
    if reason is not None:
        raise Unfit("the lab cannot run here: %s" % reason)


def why_not(platform: str, user: int, missing: t.Sequence[str]) -> str | None:
    """Return why a machine cannot run a lab, from its system, who calls, and the packages that are missing."""
    if platform != "linux":
        return "it needs Linux, and this is %s" % platform
    if user != 0:
        return "it makes namespaces and mounts, which takes root"
    if missing:
        return "install %s (scripts/lab-packages does)" % " ".join(missing)
    return None
