# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind that docs/task_kind.md writes is short, is one, and has all that its fleet needs; the lab runs it."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.connsec.tls.plugins.module_utils._core._kind import Kind, parse_kind
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import steps_of

from . import test_kind_pages
from .test_kind_pages import ROOT, blocks_of, scenes_of

PAGE = ROOT / "docs" / "task_kind.md"


def text_of_the_kind() -> str:
    (found,) = (block for block in blocks_of(PAGE) if block.startswith("# roles/kind_mosquitto/vars/main.yml"))
    return found


def kind_of(name: str) -> Kind:
    """Return the page's kind, and others from their roles."""
    if name != "mosquitto":
        return OURS(name)
    declared = yaml.safe_load(text_of_the_kind())["tls_kind"]
    return parse_kind(name, role="kind_mosquitto", source=str(PAGE), declared=declared)


OURS = test_kind_pages.kind_of


def test_the_kind_of_the_page_is_short() -> None:
    assert len(text_of_the_kind().splitlines()) <= 40


def test_the_fleet_of_the_page_has_options_for_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_kind_pages, "kind_of", kind_of)
    (scene,) = scenes_of(PAGE)
    assert [pair.blocked for pair in scene.model.pairs if pair.blocked] == []
    assert {pair.client.component for pair in scene.model.pairs} == {"branch", "board"}
    for pair in scene.model.pairs:
        for stage in (*steps_of(pair), "verify"):
            assert scene.options(stage, pair), (stage, pair.id)
            assert {option.file for option in scene.options(stage, pair)} <= set(
                scene.kinds[pair.end_of(stage).name].files
            )
