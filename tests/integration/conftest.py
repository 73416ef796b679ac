# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets for the integration tests: fresh ones, and ones that are enforced already."""

from __future__ import annotations

import itertools
import os
import shutil
import typing as t
from pathlib import Path

import pytest

from .harness import ENFORCE, Fleet

#: Workers of pytest-xdist have networks of their own.
_WORKER: t.Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_nets = itertools.count(100 + _WORKER * 50)


@pytest.fixture
def fleet(tmp_path: Path) -> t.Iterator[Fleet]:
    """A small fleet that talks in the clear."""
    found = Fleet(tmp_path / "fleet", net="127.%d.0" % next(_nets))
    found.up()
    yield found
    found.down()


@pytest.fixture(scope="session")
def _enforced_tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a fleet after its rollout, and a copy of it from which tests restore it."""
    folder = tmp_path_factory.mktemp("enforced")
    found = Fleet(folder / "fleet", net="127.%d.0" % (90 + _WORKER))
    found.up()
    run = found.playbook("rollout", *ENFORCE)
    found.down()
    assert run.code == 0, run.text[-4000:]
    shutil.copytree(found.root, folder / "copy", symlinks=True)
    return found.root, folder / "copy"


@pytest.fixture
def enforced(_enforced_tree: tuple[Path, Path]) -> t.Iterator[Fleet]:
    """A small fleet whose pairs are all enforced; restored from a copy, for a rollout takes longer."""
    root, copy = _enforced_tree
    shutil.rmtree(root)
    shutil.copytree(copy, root, symlinks=True)
    found = Fleet(root, net="127.%d.0" % (90 + _WORKER))
    found.up()
    yield found
    found.down()
