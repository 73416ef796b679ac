# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the store lies, and where it must not; private to this collection."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from dataclasses import dataclass

from ._folder import StoreError

#: Files that would lie in a folder of the store, and one that no pattern names: whoever ignores *.json publishes keys.
PROBES: t.Final = ("root.pem", "journal.jsonl", "secret.json", "a-name-that-no-pattern-lists")


STORE_VARIABLES: t.Final = (
    "tls_store",
    "tls_store_authorities",
    "tls_store_identities",
    "tls_store_ledger",
    "tls_store_requests",
)


@dataclass(frozen=True)
class StorePaths:
    """The three folders of the store, each of which can lie elsewhere and have other keepers.

    Attributes:
        requests: where requests for others to sign lie, and their answers; by default beside the identities.
    """

    authorities: str
    identities: str
    ledger: str
    requests: str = ""

    def __post_init__(self) -> None:
        if not self.requests:
            object.__setattr__(self, "requests", os.path.join(os.path.dirname(self.identities), "requests"))


def store_paths(variables: t.Mapping[str, t.Any], *, inventory_directory: str | None) -> StorePaths:
    """Return where the store lies, from the variables that a user sets.

    Args:
        variables: those of ``STORE_VARIABLES`` that are set; relative paths begin at the inventory's folder.
        inventory_directory: the folder of the inventory, or None where there is none.
    """

    def place(name: str) -> str | None:
        value = variables.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or "\0" in value or "\n" in value:
            raise StoreError("%s is %r; it is the path of a folder" % (name, value))
        path = os.path.expanduser(value)
        if not os.path.isabs(path) and inventory_directory is None:
            raise StoreError(
                "%s is %r, and there is no inventory folder to begin at; give an absolute path" % (name, value)
            )
        return os.path.abspath(os.path.join(inventory_directory or "/", path))

    store = place("tls_store")
    if store is None and inventory_directory is not None:
        directory = os.path.abspath(inventory_directory)
        store = os.path.join(os.path.dirname(directory), os.path.basename(directory) + "-store")

    def part(name: str) -> str:
        path = place("tls_store_" + name) or (store and os.path.join(store, name))
        if not path:
            raise StoreError(
                "tls_store is not set, and there is no inventory folder to put the store beside; set it to a path"
            )
        return path

    paths = StorePaths(part("authorities"), part("identities"), part("ledger"), place("tls_store_requests") or "")
    if len({os.path.realpath(path) for path in vars(paths).values()}) != len(vars(paths)):
        raise StoreError(
            "the store's authorities, identities and ledger must be three folders, and requests another one; "
            "%s is given twice" % paths.authorities
        )
    return paths


def refuse_bad_place(paths: StorePaths, *, inventory_directory: str | None) -> None:
    """Raise an error where a store folder lies in the inventory, or where git would take it up."""
    for path in dict.fromkeys(vars(paths).values()):
        if inventory_directory is not None and _is_within(path, inventory_directory):
            raise StoreError(
                "the store %s lies inside the inventory folder %s, where Ansible would read it as inventory; "
                "set tls_store to a folder beside it" % (path, inventory_directory)
            )
    trees: dict[str, list[str]] = {}
    for path in dict.fromkeys(vars(paths).values()):
        tree = _work_tree_of(path)
        if tree is not None:
            trees.setdefault(tree, []).append(path)
    for tree, inside in trees.items():
        for path in inside:
            _refuse_unless_ignored(path, tree=tree)


def _is_within(path: str, folder: str) -> bool:
    real, outer = os.path.realpath(path), os.path.realpath(folder)
    return real == outer or real.startswith(outer.rstrip(os.sep) + os.sep)


def _work_tree_of(path: str) -> str | None:
    """Return the nearest folder above a path that has a ``.git`` (a folder, or a file in a linked work tree)."""
    folder = os.path.realpath(path)
    while True:
        if os.path.lexists(os.path.join(folder, ".git")):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def _refuse_unless_ignored(path: str, *, tree: str) -> None:
    git = shutil.which("git")
    ignored, remark = (
        _asked(git, path, tree=tree)
        if git
        else (_reads_as_ignored(path, tree=tree), ", as far as can be told without git")
    )
    if not ignored:
        raise StoreError(
            "the store %s lies in the git work tree %s, which does not ignore it%s; "
            "add it to .gitignore, or set tls_store to a folder elsewhere" % (path, tree, remark)
        )


def _asked(git: str, path: str, *, tree: str) -> tuple[bool, str]:
    """Ask git whether it ignores everything that would lie in the folder, which need not be there yet."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    probes = [os.path.join(os.path.realpath(path), name) for name in PROBES]
    argv = [git, "-C", tree, "check-ignore", "--", *probes]
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, " (git could not be asked: %s)" % error
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    ignored = done.stdout.splitlines()  # git names those that it ignores, and is content with one
    return len(ignored) == len(probes), " (git says: %s)" % said[0] if said else ""


def _reads_as_ignored(path: str, *, tree: str) -> bool:
    """Tell whether a .gitignore names one of the folders on the way to a path, word for word; patterns are git's."""
    way = os.path.relpath(os.path.realpath(path), tree).split(os.sep)
    for depth in range(len(way)):
        try:
            with open(os.path.join(tree, *way[:depth], ".gitignore"), encoding="utf-8") as file:
                lines = {line.strip().strip("/") for line in file}
        except (OSError, UnicodeDecodeError):
            continue
        rest = way[depth:]
        if any("/".join(rest[: length + 1]) in lines or rest[length] in lines for length in range(len(rest))):
            return True
    return False
