# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventories of the fleets, and copies of them that are bound to another place."""

from __future__ import annotations

import importlib.util
import shutil
import stat
import typing as t
from pathlib import Path

import pytest
import yaml
from parts import processes
from parts.inventory import Fleet, bind_inventory, read_fleet

from .bench import FLEET


def _load(path: Path) -> t.Any:
    """Return a program as a module; this folder has its name already."""
    spec = importlib.util.spec_from_file_location("fleet_program", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


program: t.Final = _load(FLEET / "fleet.py")


@pytest.fixture(params=sorted(program.INVENTORIES))
def inventory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(program.INVENTORIES[request.param], tmp_path / "inventory"))


def bind(inventory: Path, **more: t.Any) -> Fleet:
    places = {"root": inventory.parent, "programs": program.PROGRAMS, "net": None, "java": True, **more}
    bind_inventory(inventory, **places)
    return read_fleet(inventory)


def test_the_demo_has_what_it_promises() -> None:
    fleet = read_fleet(program.INVENTORIES["demo"])
    model = yaml.safe_load((program.INVENTORIES["demo"] / "tls_connections.yml").read_text())
    listeners = [(each, name, spec) for each in fleet.instances for name, spec in each.listeners.items()]
    assert len({each.host for each in fleet.instances}) >= 8
    assert len({each.component for each in fleet.instances}) >= 10
    assert len(fleet.pairs) >= 16
    assert {connection["wave"] for connection in model["connections"]} == {1, 2, 3}
    assert {spec.get("mode", "simple") for _unused, _unused, spec in listeners} == {"simple", "mutual"}
    assert {pair.shape for pair in fleet.pairs} == {"second_listener", "same_port", "flip"}
    assert [each.host for each in fleet.instances if each.component == "confserv"] == ["cfg1", "cfg2"]
    assert {each.component for each in fleet.java} == {"report_engine"}
    assert abs(sum(pair.mode == "message" for pair in fleet.pairs) - len(fleet.pairs) / 2) <= 1


def test_the_small_fleet_is_three_hosts_and_four_pairs() -> None:
    fleet = read_fleet(program.INVENTORIES["small"])
    assert (len({each.host for each in fleet.instances}), len(fleet.pairs)) == (3, 4)


def test_the_hard_demo_has_what_it_promises() -> None:
    fleet = read_fleet(program.INVENTORIES["demo-hard"])
    model = yaml.safe_load((program.INVENTORIES["demo-hard"] / "tls_connections.yml").read_text())
    listeners = [spec for each in fleet.instances for spec in each.listeners.values()]
    links = [pair for pair in fleet.pairs if pair.client.component == pair.server.component]
    assert len({each.host for each in fleet.instances if each.managed}) <= 10
    assert not fleet.java
    assert {each.component for each in fleet.instances if not each.managed} == {"balancer", "partner"}
    assert {pair.dial for pair in fleet.pairs if pair.through} == {fleet.instance("balancer@balancer").address}
    assert {pair.server.component for pair in fleet.pairs if pair.dormant} == {"queue_standby"}
    assert len(links) == 6
    assert {spec.get("transport", "tcp") for spec in listeners} == {"tcp", "udp"}
    assert {each.component for each in fleet.instances if each.on_tls} == {"directory"}
    assert {each["issuer"] for each in model["identities"].values()} == {"requested", "installed"}
    assert [each["until"] for each in model["connections"] if not each.get("secure", True)]


def test_a_client_ends_before_what_its_connection_goes_through() -> None:
    levels = read_fleet(program.INVENTORIES["demo-hard"]).clients_first()
    level = {each.name: number for number, several in enumerate(levels) for each in several}
    assert level["router@app1"] < level["balancer@balancer"] < level["confserv@cfg1"]


def test_every_component_has_its_settings(inventory: Path) -> None:
    settings = yaml.safe_load((inventory / "group_vars" / "all.yml").read_text())["tls_settings"]
    fleet = read_fleet(inventory)
    assert set(settings) == {each.component for each in fleet.instances if each.managed}
    clients = {pair.client.component for pair in fleet.pairs if pair.client.managed}
    servers = {pair.server.component for pair in fleet.pairs}
    assert {name for name in settings if settings[name].get("verify")} == clients
    assert {name for name in settings if settings[name].get("enforce")} == servers


def test_a_copy_gets_other_addresses_and_its_own_place(inventory: Path) -> None:
    fleet = bind(inventory, net="127.99.7")
    assert all(each.address.startswith("127.99.7.") for each in fleet.instances)
    variables = yaml.safe_load((inventory / "group_vars" / "all.yml").read_text())
    assert variables["fleet_root"] == str(inventory.parent)
    assert variables["fleet_programs"] == str(program.PROGRAMS)


def test_what_was_edited_in_a_copy_stays_when_it_is_bound_again(inventory: Path) -> None:
    bind(inventory)
    file = inventory / "tls_connections.yml"
    file.write_text(file.read_text() + "# mine\n")
    before = {path: path.read_bytes() for path in inventory.rglob("*") if path.is_file()}
    bind(inventory)
    assert {path: path.read_bytes() for path in inventory.rglob("*") if path.is_file()} == before


def test_without_a_jdk_the_java_component_and_its_connections_are_left_out(inventory: Path) -> None:
    whole = read_fleet(inventory)
    fleet = bind(inventory, java=False)
    assert not fleet.java
    assert {p.id for p in fleet.pairs} == {p.id for p in whole.pairs if not (p.client.is_java or p.server.is_java)}


@pytest.mark.parametrize("arguments", [["up", "--root", "R", "--fleet", "small"], ["--root", "R", "up"]])
def test_a_fleet_comes_up_is_counted_and_goes_down(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "fleet"
    monkeypatch.setenv("CONNSEC_FLEET_NET", "127.98.%d" % (3 + len(arguments)))
    arguments = [str(root) if word == "R" else word for word in arguments]
    if "--fleet" not in arguments:
        arguments += ["--inventory", str(program.INVENTORIES["small"])]
    try:
        assert program.main(arguments) == 0
        assert program.main(["status", "--root", str(root)]) == 0
        assert stat.S_IMODE((root / "passphrase").stat().st_mode) == 0o600
        pid = processes.running(root / "hosts" / "app1" / "router")
        assert program.main(["restart", "router@app1", "--root", str(root)]) == 0
        assert processes.running(root / "hosts" / "app1" / "router") not in (None, pid)
    finally:
        assert program.main(["down", "--root", str(root), "--fleet", "small"]) == 0
    assert program.main(["traffic", "--root", str(root)]) == 0
    rows = yaml.safe_load((root / "traffic.json").read_text())["connections"]
    assert len(rows) == 4
    assert all(row["answered"] and not row["lost"] for row in rows)
    assert not list(root.glob("hosts/*/*/" + processes.PROCESS))


def test_a_process_that_is_not_ours_is_never_signalled(tmp_path: Path) -> None:
    (tmp_path / processes.PROCESS).write_text('{"pid": 1, "started": "another boot 1"}')
    assert processes.running(tmp_path) is None
    processes.ask_to_end(tmp_path)


def test_the_environment_file_is_read_as_sh_has_it(tmp_path: Path) -> None:
    (tmp_path / "environment").write_text("# comment\nA=1\nB=\"two words\"\nC='x=y'\n\n")
    assert processes.read_environment(tmp_path / "environment") == {"A": "1", "B": "two words", "C": "x=y"}
