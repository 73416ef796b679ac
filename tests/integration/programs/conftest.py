# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for the tests of the demo fleet: its programs on the path, authorities, a bench to run components."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CHECKOUT / "tests" / "fleet"))

from .authority import Authority  # noqa: E402
from .bench import Bench  # noqa: E402


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority("ours", tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority("foreign", tmp_path_factory.mktemp("foreign"))


@pytest.fixture
def bench(tmp_path: Path, authority: Authority) -> t.Iterator[Bench]:
    made = Bench(tmp_path, authority)
    yield made
    made.end()
