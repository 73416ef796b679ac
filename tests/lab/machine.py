# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as a machine: its root over the base tree, what makes it one of its own, and its systemd."""

from __future__ import annotations

import contextlib
import os
import subprocess
import typing as t
import uuid
from pathlib import Path

from . import LabError, mounts, nspawn
from .names import Host, hosts_file
from .processes import Process, end, environment, find, run

#: What a filesystem below has to be for a layer to lie on it; elsewhere, as in containers, layers lie in memory.
_NO_LAYER: t.Final = ("overlay", "nfs", "nfs4", "fuse.sshfs", "9p", "virtiofs")
_IN_MEMORY: t.Final = 2 << 30

#: Seconds in which a host that is asked to stop does so; then it is killed.
STOPPING: t.Final = 30.0

CONSOLE: t.Final = "console.log"


def prepare(host: Host, hosts: t.Sequence[Host], tree: Path, *, login: str) -> None:
    """Mount a host's root and write what is its own: name, identity, keys, neighbours, and whose key logs in.

    Raises:
        LabError: the root cannot be mounted.
    """
    for folder in (host.root, host.layer):
        folder.mkdir()
    size = layer_size(host.size, mounts.kind_of(host.folder))
    if size is not None:
        run(["mount", "-t", "tmpfs", "-o", "size=%d,mode=0755" % size, host.mark, str(host.layer)])
    for name in ("upper", "work"):
        (host.layer / name).mkdir(mode=0o755)
    run(mount_command(host, tree))
    etc = host.root / "etc"
    (etc / "hostname").write_text(host.name + "\n", encoding="ascii")
    (etc / "hosts").write_text(hosts_file(hosts, host), encoding="ascii")
    (etc / "machine-id").write_text(uuid.uuid4().hex + "\n", encoding="ascii")
    (etc / "resolv.conf").write_text("# Nobody resolves names here; /etc/hosts knows all.\n", encoding="ascii")
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(etc / "ssh/ssh_host_ed25519_key")])
    ssh = host.root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(login, encoding="ascii")


def layer_size(size: int | None, kind: str) -> int | None:
    """Return the bytes of memory that a host's layer gets; None if it lies on the disk."""
    if size is None and kind in _NO_LAYER:
        return _IN_MEMORY
    return size


def mount_command(host: Host, tree: Path) -> list[str]:
    """Return what mounts a host's root."""
    layers = "lowerdir=%s,upperdir=%s,workdir=%s" % (tree, host.layer / "upper", host.layer / "work")
    return ["mount", "-t", "overlay", host.mark, "-o", layers, str(host.root)]


def boot_options(host: Host) -> list[str]:
    """Return the options with which nspawn boots a host."""
    return [
        "--link-journal=no",
        "--resolv-conf=off",
        "--console=read-only",
        "--network-namespace-path=%s" % host.namespace,
        "--machine=%s" % host.mark,
        "--hostname=%s" % host.name,
        "--directory=%s" % host.root,
        "--boot",
    ]


def boot(host: Host) -> None:
    """Start a host's systemd and return at once.

    Raises:
        LabError: the program is missing.
    """
    argv = nspawn.command(host.mark, *boot_options(host))
    try:
        with (host.folder / CONSOLE).open("ab") as console:
            subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=environment(), cwd="/",
                start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise LabError("host %s does not boot: %s" % (host.name, error)) from error


def supervisors(host: Host) -> list[Process]:
    """Return the nspawn process of a host, found by its command line: nobody else's has the host's root in it."""
    return find(lambda words: "--directory=%s" % host.root in words)


def stop(hosts: t.Sequence[Host], *, gently: bool) -> None:
    """Stop hosts: shut them down, or take them away as a power cut does.

    Raises:
        LabError: a process of theirs does not end.
    """
    end([each for host in hosts for each in supervisors(host)], gently=STOPPING if gently else 0.0)
    end([each for host in hosts for each in nspawn.members(host.mark)])
    for host in hosts:
        nspawn.forget(host.mark, host.root)


def last_words(host: Host) -> str:
    """Return the end of what a host wrote to its console."""
    with contextlib.suppress(OSError):
        return (host.folder / CONSOLE).read_text(encoding="utf-8", errors="replace").strip()[-800:]
    return ""


def host_key(host: Host) -> str:
    """Return the public key by which a host is known."""
    return (host.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="ascii").strip()


def remove_files(folder: Path) -> None:
    """Remove the files of a lab's hosts, with their mounts."""
    if os.path.lexists(folder):
        mounts.remove_folder(folder)
