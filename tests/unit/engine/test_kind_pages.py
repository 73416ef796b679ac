# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page of a kind shows is so: its examples are models and settings, and its defaults are those of the role."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.connsec.tls.plugins.module_utils._core._duties import Roles, check_duties
from ansible_collections.connsec.tls.plugins.module_utils._core._kind import Kind, parse_kind
from ansible_collections.connsec.tls.plugins.module_utils._core._kind_settings import settle
from ansible_collections.connsec.tls.plugins.module_utils._core._model import Document, Model, parse_model
from ansible_collections.connsec.tls.plugins.module_utils._core._option_formats import read
from ansible_collections.connsec.tls.plugins.module_utils._core._options import Setting, edit
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import Scene
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import steps_of

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted((ROOT / "docs").glob("kind_*.md"))
BLOCK = re.compile(r"^```(?:yaml)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return page.stem[len("kind_") :]


def kind_of(name: str) -> Kind:
    source = ROOT / "roles" / ("kind_%s" % name) / "vars" / "main.yml"
    declared = yaml.safe_load(source.read_text())["tls_kind"]
    return parse_kind(name, role="kind_%s" % name, source=str(source), declared=declared)


def blocks_of(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def model_of(page: Path) -> Model:
    (text,) = (block for block in blocks_of(page) if "plugin: connsec.tls.connections" in block)
    data = yaml.safe_load(text)
    hosts = {host: {"os": "linux"} for each in data["components"].values() for host in each.get("hosts", [])}
    return parse_model([Document("tls_connections.yml", {**data, "hosts": hosts})])


def settings_of(page: Path) -> list[dict[str, t.Any]]:
    found = [yaml.safe_load(block) for block in blocks_of(page) if "tls_settings:" in block]
    return [each["tls_settings"] for each in found]


def scenes_of(page: Path) -> t.Iterator[Scene]:
    model = model_of(page)
    for given in settings_of(page):
        ours = [each for name in model.components for each in model.instances_of(name) if model.managed(each)]
        kinds = {
            each.name: settle(
                kind_of(model.components[each.component].kind),
                given.get(each.component, {}),
                instance=each.name,
                where="tls_settings.%s" % each.component,
            )
            for each in ours
        }
        yield Scene(model, kinds, {}, {each.host: () for each in ours}, {each.host: "/etc/connsec" for each in ours})


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_examples_of_a_page_have_options_for_every_stage(page: Path) -> None:
    scenes = list(scenes_of(page))
    assert scenes
    for scene in scenes:
        assert [pair.blocked for pair in scene.model.pairs if pair.blocked] == []
        for pair in scene.model.pairs:
            for stage in (*steps_of(pair), "verify"):
                if scene.ours(pair.end_of(stage)):
                    assert scene.options(stage, pair), (stage, pair.id)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_settings_of_a_page_are_those_of_its_role_with_their_defaults(page: Path) -> None:
    table = page.read_text(encoding="utf-8").partition("## Settings")[2].partition("## Examples")[0]
    rows = [re.split(r" (?<!\\)\| ", row.strip("| ")) for row in table.splitlines() if row.startswith("| `")]
    told = {name: row[1] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    settings = kind_of(named(page)).settings
    assert sorted(told) == sorted(settings)
    shown = {name: cell.strip("`").replace("\\|", "|") for name, cell in told.items() if re.fullmatch("`[^`]*`", cell)}
    assert shown == {name: settings[name].default for name in shown}


def test_the_backend_that_the_page_of_haproxy_shows_is_moved() -> None:
    page = ROOT / "docs" / "kind_haproxy.md"
    (text,) = (block for block in blocks_of(page) if block.startswith("# /etc/haproxy"))
    (scene,) = scenes_of(page)
    for pair in scene.model.pairs:
        for stage in steps_of(pair):
            for option in scene.options(stage, pair) if pair.end_of(stage).component == "front" else ():
                text = edit(text, option.format, [Setting(option.section, option.key, option.value)])
    assert read(text, "haproxy", "frontend web", "bind *:80") is None
    assert "verify required" in (read(text, "haproxy", "frontend partners", "bind *:8443") or "")
    assert (read(text, "haproxy", "backend app", "server app2") or "").startswith("app2:8443 check weight 10 ")


#: What components of a kind may do, with nothing but its defaults.
OURS = {
    "apache": Roles(True, True),
    "galera": Roles(True, True, True),
    "haproxy": Roles(True, True, True),
    "mariadb": Roles(True),
    "nginx": Roles(True, True, True),
    "postgresql": Roles(True, dials=True),
    "rabbitmq": Roles(True, True),
    "rabbitmq_cluster": Roles(True, True, True),
    "redis": Roles(True, True, True),
}


@pytest.mark.parametrize("name", OURS)
def test_a_kind_of_a_server_needs_no_setting_and_writes_in_its_own_files_alone(name):
    kind = kind_of(name)
    made = settle(kind, {}, instance="a@h", where="tls_settings.a")
    assert not kind.needs_settings
    check_duties(made, OURS[name], instance="a@h", where="tls_settings.a")
    assert {row["file"] for rows in made.reads.values() for row in rows} <= set(made.files)
    assert not re.search(r"{\w+}", str([made.test, made.process, made.reload, made.restart, made.account, made.files]))
