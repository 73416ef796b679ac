# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can run a lab at all, and why not."""

from __future__ import annotations

import os
import shutil
import sys
import typing as t
from pathlib import Path

from . import LabError, Unfit, apt, nspawn, recipe
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

#: What the hosts of a lab are made with, tried where it leaves nothing.
_NAMESPACES: t.Final = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/lower /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
ip link add trial-bridge type bridge
ip link add trial-host type veth peer name trial-link
"""
_UNSHARE: t.Final = ("unshare", "--mount", "--net", "--pid", "--fork", "sh", "-euc", _NAMESPACES)
#: It runs a program of this machine's own, so that nothing of ours is tried.
_NSPAWN: t.Final = ("--directory=/", "--volatile=yes", "--pipe", "true")


def check(*, building: bool = False) -> None:
    """Return if the lab can run here, or its base tree be made.

    Raises:
        Unfit: it cannot, and why.
    """
    names = {**PROGRAMS, **(BUILDING if building else {})}
    path = "%s:%s" % (os.environ.get("PATH", ""), SYSTEM_PATH)
    missing = sorted({package for name, package in names.items() if shutil.which(name, path=path) is None})
    reason = why_not(sys.platform, os.geteuid(), missing) or _lacks(building=building)
    if reason is not None:
        raise Unfit("the lab cannot run here: %s" % reason)


def _lacks(*, building: bool) -> str | None:
    """Return what this machine does not let us do, or have, as it turns out when that is tried."""
    try:
        run(_UNSHARE)
    except LabError as error:
        return "this machine lets nobody make namespaces with mounts and links (%s)" % _last_words(error)
    try:
        _spawn("cslab-trial-%d" % os.getpid())
    except LabError as error:
        return "this machine lets nobody run systemd-nspawn (%s)" % _last_words(error)
    try:
        if building:
            apt.reach(apt.read_sources(recipe.SUITE)[0])
    except LabError as error:
        return str(error)
    return None


def _last_words(error: LabError) -> str:
    """Return the end of what a command said, without the command."""
    return str(error).splitlines()[-1].strip().removeprefix("failed: ")


def _spawn(name: str) -> None:
    """Run a program in a machine of nspawn.

    Raises:
        LabError: that does not come about.
    """
    try:
        run(nspawn.command(name, "--machine=" + name, *_NSPAWN))
    finally:
        nspawn.forget(name, Path("/"))


def why_not(platform: str, user: int, missing: t.Sequence[str]) -> str | None:
    """Return why a machine cannot run a lab, from its system, who calls, and the packages that are missing."""
    if platform != "linux":
        return "it needs Linux, and this is %s" % platform
    if user != 0:
        return "it makes namespaces and mounts, which takes root"
    if missing:
        return "install %s (scripts/lab-packages does)" % " ".join(missing)
    return None
