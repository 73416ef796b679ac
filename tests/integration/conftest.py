# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets for the integration tests: in the clear, switched, and enforced. The latter two are restored from a copy."""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

import pytest

from .harness import ENFORCE, SWITCH, Fleet

#: Every worker of every session has a network of its own, a fleet each at a time; nobody meets what another one left.
_NET: t.Final = "127.%d.%d" % (90 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), os.getpid() % 250)


class States:
    """Fleets as a rollout leaves them, made once and restored from a copy, for a rollout takes longer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def restored(self, name: str, arguments: t.Sequence[str]) -> Fleet:
        """Return a fleet in this state, up and under traffic."""
        fleet = Fleet(self._folder / name / "fleet", net=_NET)
        copy = self._folder / name / "copy"
        if not copy.exists():
            fleet.up()
            try:
                fleet.playbook("rollout", *arguments).must_end(0)
            finally:
                fleet.down()
            shutil.copytree(fleet.root, copy, symlinks=True)
        shutil.rmtree(fleet.root)
        shutil.copytree(copy, fleet.root, symlinks=True)
        fleet.up()
        return fleet


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    """What was made already."""
    return States(tmp_path_factory.mktemp("states"))


@pytest.fixture
def net() -> str:
    """The network of this worker's fleets."""
    return _NET


@pytest.fixture
def clear(tmp_path: Path) -> t.Iterator[Fleet]:
    """A small fleet that talks in the clear."""
    found = Fleet(tmp_path / "fleet", net=_NET)
    found.up()
    try:
        yield found
    finally:
        found.down()


@pytest.fixture
def switched(states: States) -> t.Iterator[Fleet]:
    """A small fleet whose clients use TLS, while its clear listeners are still open."""
    found = states.restored("switched", SWITCH)
    yield found
    found.down()


@pytest.fixture
def enforced(states: States) -> t.Iterator[Fleet]:
    """A small fleet whose pairs are all enforced."""
    found = states.restored("enforced", ENFORCE)
    yield found
    found.down()
