# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twins for tests, and what the tests need of ansible.windows."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .plays import ROOT
from .twin import WindowsTwin

COLLECTION: t.Final = ROOT / "build/ansible_collections/ansible/windows"


@pytest.fixture(scope="session", autouse=True)
def _windows_collection() -> None:
    """Fail at once where the collection is missing that the twin acts out."""
    assert (COLLECTION / "MANIFEST.json").is_file(), "ansible.windows is missing: scripts/collections ansible.windows"


@pytest.fixture
def twin(tmp_path: Path) -> WindowsTwin:
    """One host with Windows Server 2019."""
    return WindowsTwin.made(tmp_path / "win1")
