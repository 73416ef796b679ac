# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for the tests of host hands."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host import _program

from .bench import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Bench]:
    """Return a component that runs, and is not suspected of dying a moment after a reload."""
    monkeypatch.setattr(_program, "_MOMENT", 0.01)
    made = Bench(tmp_path)
    made.start()
    yield made
    made.end()


@pytest.fixture
def still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Bench]:
    """Return a component that does not run, so that its steps have nothing to test, to reload and to wait for."""
    monkeypatch.setattr(_program, "_MOMENT", 0)
    made = Bench(tmp_path)
    made.usual = {"test": [], "reload": {}, "process": {}, "wait_for": []}
    yield made
    made.end()
