# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base tree under all hosts: made once, kept in the user's cache by the digest of its recipe, never changed after.

A tree is made in a folder beside and takes its name when it is complete. What an interrupted build left goes with the
next one. Builders wait for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import LabError, apt, mounts, nspawn, recipe
from .processes import dies_with_us, end, environment, open_to_all

#: Seconds in which one command of a build has to be done.
_PATIENCE: t.Final = 1800.0

#: What hosts in the making are called; packages write the name into what they make.
_HOSTNAME: t.Final = "tree"

_POLICY: t.Final = "usr/sbin/policy-rc.d"
#: What a tree does not keep: packages that were fetched, from where, logs, and what has to differ between hosts.
_FORGOTTEN: t.Final = (
    "etc/apt/apt.conf.d/zz-machine",
    "etc/apt/auth.conf*",
    "etc/apt/sources.list.d/*",
    "etc/machine-id",
    "etc/ssh/ssh_host_*",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*.log",
    "var/log/apt/*",
)

Say = t.Callable[[str], None]


@dataclass(frozen=True)
class Tree:
    """A base tree: the folder that has the root, and beside it what is in there and what it took."""

    folder: Path

    @property
    def root(self) -> Path:
        """The root of hosts, which is only read."""
        return self.folder / "root"

    @property
    def packages(self) -> Path:
        """The packages with their versions, one a line."""
        return self.folder / "packages.txt"

    @property
    def machine(self) -> str:
        """The name under which nspawn works on it: trees in other caches have others."""
        return "cslab-" + hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:8]

    @property
    def figures(self) -> dict[str, float]:
        """What it took: `seconds`, and `bytes` on the disk."""
        return dict(json.loads((self.folder / "build.json").read_text(encoding="ascii")))


def cache() -> Path:
    """Return where trees are kept, outside of every checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "connsec-tls" / "lab"


def find() -> Tree | None:
    """Return the tree of this recipe, if it has been made."""
    tree = Tree(cache() / recipe.digest())
    return tree if os.path.isdir(tree.folder) else None  # false too where others may not look


def build(say: Say) -> Tree:
    """Return the tree of this recipe; make it if it is not there, which takes minutes, and `say` how far it is.

    Raises:
        LabError: a package cannot be fetched or installed.
    """
    cache().mkdir(parents=True, exist_ok=True)
    with open_to_all(), _lock(cache() / "lock", say) as lock:
        _sweep(cache())
        tree = find()
        if tree:
            return tree
        making = Tree(cache() / (recipe.digest() + ".making"))
        began = time.monotonic()
        _Build(making, say, lock).make()
        nspawn.forget(making.machine, making.root)
        figures = {"seconds": round(time.monotonic() - began, 1), "bytes": size_of(making.root)}
        (making.folder / "build.json").write_text(json.dumps(figures) + "\n", encoding="ascii")
        made = Tree(cache() / recipe.digest())
        making.folder.rename(made.folder)
        return made


@contextlib.contextmanager
def _lock(path: Path, say: Say) -> t.Iterator[int]:
    """Hold the lock of builders. Commands of a build inherit it: it is free when the last of them is gone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build to end")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what an interrupted build left: whoever holds the lock knows that none of its processes is left."""
    for left in folder.glob("*.making"):
        machine = Tree(left).machine
        end(nspawn.members(machine))
        nspawn.forget(machine, left / "root")
        mounts.remove_folder(left)


def size_of(folder: Path) -> int:
    """Return the bytes that a folder takes on the disk."""
    done = subprocess.run(["du", "-s", "-B1", str(folder)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


class _Build:
    """One build of a tree."""

    def __init__(self, tree: Tree, say: Say, lock: int) -> None:
        self._tree = tree
        self._say = say
        self._lock = lock
        self._apt = tree.folder / "apt"
        self._sources = apt.read_sources(recipe.SUITE)
        self._options = apt.read_options()

    def make(self) -> None:
        """Make everything of it."""
        self._tree.folder.mkdir()
        self._apt.mkdir()
        (self._apt / "sources.list").write_text(apt.sources_list(self._sources), encoding="utf-8")
        (self._apt / "machine.conf").write_text(self._options, encoding="utf-8")
        self._say("base system: Debian %s, %d packages and what they need" % (recipe.SUITE, len(recipe.BASE)))
        self._bootstrap()
        self._say("servers and clients: %d packages and what they need" % len(recipe.SERVERS + recipe.CLIENTS))
        self._install()
        self._say("nothing starts by itself but %s" % ", ".join(recipe.STARTED))
        self._settle()
        shutil.rmtree(self._apt)

    def _bootstrap(self) -> None:
        argv = [
            "debootstrap", "--variant=minbase", "--include=" + ",".join(recipe.BASE), "--keyring=" + apt.KEYRING,
            recipe.SUITE, str(self._tree.root), self._sources[0].uri,
        ]  # fmt: skip
        self._do(dies_with_us(argv))
        for name, text in recipe.FILES.items():
            path = self._tree.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")
        policy = self._tree.root / _POLICY
        policy.write_text(
            "#!/bin/sh\n# No package starts a service while the tree is made.\nexit 101\n", encoding="ascii"
        )
        policy.chmod(0o755)
        (self._tree.root / "etc/apt/sources.list").unlink(missing_ok=True)

    def _install(self) -> None:
        self._inside("debconf-set-selections", given="\n".join(recipe.ANSWERS) + "\n")
        self._inside("apt-get", "-q", "update")
        self._inside("apt-get", "-q", "-y", "--with-new-pkgs", "upgrade")
        self._inside("apt-get", "-q", "-y", "--no-install-recommends", "install", *recipe.SERVERS, *recipe.CLIENTS)
        for command in recipe.COMMANDS:
            self._inside(*command)
        versions = self._inside("dpkg-query", "--show", "--showformat", "${Package} ${Version}\n")
        self._tree.packages.write_text(versions, encoding="utf-8")

    def _settle(self) -> None:
        """Disable what would start, and forget what has to differ between hosts."""
        root = self._tree.root
        self._do(["systemctl", "--root", str(root), "preset-all"])
        self._do(["systemctl", "--root", str(root), "mask", *recipe.MASKED])
        for link in root.glob("etc/rc?.d/S*"):  # what has an init script only is started by these
            link.unlink()
        for pattern in _FORGOTTEN:
            for path in root.glob(pattern):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in (_POLICY, "etc/resolv.conf", "etc/hostname"):
            (root / name).unlink(missing_ok=True)

    def _inside(self, *argv: str, given: str = "") -> str:
        """Run a command in the tree, with this machine's network; inside nspawn, for a JRE's set-up needs /proc."""
        bound = [path for path in apt.LOGINS if path.exists()]
        options = [
            "--pipe", "--machine=" + self._tree.machine, "--hostname=" + _HOSTNAME,
            "--resolv-conf=replace-host", "--directory=" + str(self._tree.root),
            "--bind-ro=%s:/etc/apt/sources.list.d/machine.list" % (self._apt / "sources.list"),
            "--bind-ro=%s:/etc/apt/apt.conf.d/zz-machine" % (self._apt / "machine.conf"),
            *("--bind-ro=%s" % path for path in bound),
            "--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=LC_ALL=C.UTF-8",
            *("--setenv=" + name for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ),
        ]  # fmt: skip
        return self._do(dies_with_us(nspawn.command(self._tree.machine, *options, *argv)), given=given)

    def _do(self, argv: t.Sequence[str], *, given: str = "") -> str:
        """Run a command of the build, which inherits the lock, and return what it wrote.

        Raises:
            LabError: it failed.
        """
        variables = environment(**{**apt.proxies(self._options), "DEBIAN_FRONTEND": "noninteractive"})
        try:
            done = subprocess.run(
                argv, input=given, capture_output=True, text=True, env=variables, timeout=_PATIENCE,
                pass_fds=(self._lock,), check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError("the base tree cannot be made: %s" % error) from error
        if done.returncode:
            words = (done.stdout + done.stderr).strip()[-2000:]
            raise LabError("the base tree cannot be made, %s failed:\n%s" % (" ".join(argv[:20]), words))
        return done.stdout
