# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/task_molecule.md has its reader write and copy is whole, short, and names what is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml
from lab import molecule_page

VARIANTS = ("docker", "nspawn", "podman")
PAGE = molecule_page.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_page_lays_out_a_project_that_can_be_read(tmp_path: Path, variant: str) -> None:
    molecule_page.lay_out(tmp_path, variant)
    written = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    expected = {"inventory/tls_connections.yml", "molecule/default/molecule.yml", "molecule/default/tests/test_tls.py"}
    assert expected <= set(written)
    for name, text in written.items():
        assert (ast.parse if name.endswith(".py") else yaml.safe_load)(text), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_scenario_to_copy_has_at_most_forty_lines(variant: str) -> None:
    files = list((molecule_page.SCENARIOS / variant).glob("*.yml"))
    assert files
    assert sum(len(path.read_text().splitlines()) for path in files) <= 40


def test_the_page_tells_of_every_helper() -> None:
    tree = ast.parse((molecule_page.SCENARIOS / "connsec_testinfra.py").read_text(encoding="utf-8"))
    public = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    assert [name for name in public if "`%s(" % name not in PAGE] == []


def test_the_page_tells_of_every_scenario() -> None:
    scenarios = [path.parent.name for path in (molecule_page.ROOT / "extensions/molecule").glob("*/molecule.yml")]
    assert [name for name in scenarios if "| `%s` |" % name not in PAGE] == []
