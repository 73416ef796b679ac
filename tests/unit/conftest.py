# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the tests import the collection from this checkout, and picks what Python 3.8, the floor of targets, runs.

Ansible finds a collection as `ansible_collections/<namespace>/<name>` only, so build/ holds a link of that name to the
checkout. A Python below the controllers' floor stands for a target: it runs the tests of core and host hands, which are
those that import nothing of Ansible's and nothing of the controller's.
"""

from __future__ import annotations

import ast
import functools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
IS_TARGET = sys.version_info < (3, 11)
COLLECTION = "ansible_collections.connsec.tls"
ON_TARGETS = (COLLECTION + ".plugins.module_utils._core.", COLLECTION + ".plugins.module_utils._host.")


def link_collection() -> None:
    """Make build/ansible_collections/connsec/tls lead to this checkout, whichever of several processes comes first."""
    link = BUILD / "ansible_collections" / "connsec" / "tls"
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(Path("..", "..", ".."), target_is_directory=True)
    except FileExistsError:
        if link.resolve() != ROOT:
            raise SystemExit("%s leads elsewhere; remove it and run again" % link) from None


link_collection()
sys.path.insert(0, str(BUILD))


@functools.lru_cache(maxsize=None)
def imported(path: Path) -> frozenset[str]:
    """Return the dotted names that a test file imports, itself or through files of tests beside it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {"%s.%s" % (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            beside = path.parents[node.level - 1].joinpath(*(node.module or "").split(".")).with_suffix(".py")
            names |= imported(beside) if beside.is_file() else set()
    return frozenset(names)


def runs_on_targets(path: Path) -> bool:
    """Return whether a test file is about core or host hands, and needs nothing that only a controller has."""
    names = imported(path)
    ours = {name for name in names if name.startswith(COLLECTION + ".")}
    foreign = {name.split(".")[0] for name in names} & {"ansible", "idna", "yaml"}
    return bool(ours) and not foreign and all(name.startswith(ON_TARGETS) for name in ours)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave the controller's tests out where this Python stands for a target, and folders of nothing else unopened."""
    if not IS_TARGET:
        return None
    if collection_path.is_dir():
        tests = list(collection_path.rglob("test_*.py"))
        return (bool(tests) and not any(map(runs_on_targets, tests))) or None
    return (collection_path.name.startswith("test_") and not runs_on_targets(collection_path)) or None


def pytest_report_header() -> str | None:
    """Say which part of the tests runs."""
    if IS_TARGET:
        return "a target's Python: the tests of core and host hands only"
    return None
