# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin and the enumerate playbook, run by the real Ansible."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible.inventory.manager")

import ansible_collections.connsec.tls.plugins.module_utils._core._names as anchor

COLLECTION = Path(anchor.__file__).parents[3]
EXAMPLE = COLLECTION.resolve() / "inventory" / "example"

HOSTS = """
all:
  hosts:
    cfg1:
    cfg2: {tls_addresses: [cfg2.example.net]}
    urs1: {ansible_connection: local}
  children:
    old:
      hosts: {db1: }
      vars: {tls_os: aix}
"""
FLEET = """
plugin: connsec.tls.connections
components:
  confserv:
    kind: pem_service
    hosts: [cfg1, cfg2]
    listeners:
      default: {port: 2020, secure_port: 2021, protocol: configuration, mode: mutual}
  crm_db:
    kind: pem_service
    hosts: [db1]
    listeners:
      sql: {port: 5432, protocol: postgresql}
  router:
    kind: pem_service
    hosts: [urs1]
connections:
  - {client: router, server: confserv.default, wave: 1}
  - {client: router, server: crm_db.sql, dial: b\u00fccher.example, wave: 2}
"""


@pytest.fixture
def inventory(tmp_path):
    """Return a folder with an inventory of four hosts and two connections."""
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "tls_connections.yml").write_text(FLEET, encoding="utf-8")
    return folder


def run(program, *arguments, cwd):
    """Run a program of Ansible and return what it did."""
    beside = Path(sys.executable).parent / program
    executable = str(beside) if beside.exists() else shutil.which(program)
    if executable is None:
        pytest.skip("%s is not installed" % program)
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION.parents[2]),
        "ANSIBLE_LOCAL_TEMP": str(cwd),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "COLUMNS": "400",
    }
    environment.pop("ANSIBLE_FORCE_COLOR", None)
    return subprocess.run(
        [executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )


def listed(folder):
    done = run("ansible-inventory", "-i", str(folder), "--list", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    # a value that no template may come from is listed as {"__ansible_unsafe": value}
    found = json.loads(done.stdout, object_hook=lambda value: value.get("__ansible_unsafe", value))
    return found, done.stderr


def enumerate_(folder, *arguments):
    return run("ansible-playbook", "-i", str(folder), "connsec.tls.enumerate", *arguments, cwd=folder.parent)


def test_the_inventory_is_the_enumeration(inventory):
    found, warnings = listed(inventory)
    assert warnings == ""
    assert "tls_none" in found["all"]["children"]
    assert {name: sorted(group["hosts"]) for name, group in found.items() if name.startswith("tls_")} == {
        "tls_kind_pem_service": ["cfg1", "cfg2", "db1", "urs1"],
        "tls_os_aix": ["db1"],
        "tls_os_linux": ["cfg1", "cfg2", "urs1"],
        "tls_presenters": ["cfg1", "cfg2", "db1", "urs1"],
        "tls_protocol_configuration": ["cfg1", "cfg2", "urs1"],
        "tls_protocol_postgresql": ["db1", "urs1"],
        "tls_receivers": ["cfg1", "cfg2", "urs1"],
        "tls_relation_internal": ["cfg1", "cfg2", "db1", "urs1"],
        "tls_wave_1": ["cfg1", "cfg2", "urs1"],
        "tls_wave_2": ["db1", "urs1"],
    }
    variables = found["_meta"]["hostvars"]
    assert {name: variables[name]["tls_os"] for name in variables} == {
        "cfg1": "linux",
        "cfg2": "linux",
        "db1": "aix",
        "urs1": "linux",
    }
    assert variables["urs1"]["tls_model_path"] == str(inventory / "tls_connections.yml")
    assert variables["urs1"]["tls_inventory_directory"] == str(inventory)
    assert "tls_model_error" not in variables["urs1"]


def test_the_playbook_shows_every_pair_with_its_reasons(inventory):
    done = enumerate_(inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "router@urs1->confserv.default@cfg2" in done.stdout
    assert "xn--bcher-kva.example" in done.stdout
    assert "urs1 (connection local, nothing declared) and db1 (declared)" in done.stdout
    assert "3 pairs in 2 waves (wave 1: 2, wave 2: 1)" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--check"], ["--syntax-check"], ["--list-tasks"], ["--limit", "cfg1,localhost"], ["--tags", "x"]]
)
def test_the_playbook_takes_the_usual_switches(inventory, arguments):
    done = enumerate_(inventory, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mistake_is_a_variable_that_stops_the_playbook(inventory):
    (inventory / "tls_connections.yml").write_text(FLEET.replace("server: crm_db.sql", "server: crm_db.sqll"))
    told = "connections[1].server: there is no listener 'crm_db.sqll'; did you mean 'crm_db.sql'?"
    found, warnings = listed(inventory)
    assert told in found["_meta"]["hostvars"]["cfg1"]["tls_model_error"]
    assert told in warnings
    done = enumerate_(inventory)
    assert done.returncode == 2
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_host_that_is_misspelt_is_told_with_the_nearest(inventory):
    (inventory / "tls_connections.yml").write_text(FLEET.replace("hosts: [urs1]", "hosts: [ursl]"))
    found, _unused = listed(inventory)
    assert (
        "components.router.hosts[0]: there is no host 'ursl'" in found["_meta"]["hostvars"]["cfg1"]["tls_model_error"]
    )


def test_an_inline_variable_that_says_otherwise_is_told_with_both_places(inventory):
    with (inventory / "tls_connections.yml").open("a") as file:
        file.write("hosts:\n  db1: {os: linux}\n")
    found, _unused = listed(inventory)
    error = found["_meta"]["hostvars"]["cfg1"]["tls_model_error"]
    assert "hosts.db1.os: it is linux here and aix in " in error


def test_group_vars_that_say_otherwise_are_told_with_both_places(inventory):
    (inventory / "group_vars").mkdir()
    (inventory / "group_vars" / "all.yml").write_text("tls_os: solaris\n")
    done = enumerate_(inventory)
    assert done.returncode == 2
    output = " ".join((done.stdout + done.stderr).split())
    assert "host cfg1: tls_os in " in output
    assert "is solaris, and" in output


def test_group_vars_that_say_the_same_are_no_difference(inventory):
    (inventory / "group_vars").mkdir()
    (inventory / "group_vars" / "old.yml").write_text("tls_os: aix\n")
    assert enumerate_(inventory).returncode == 0


def test_a_file_that_is_no_yaml_stops_the_playbook(inventory):
    (inventory / "tls_connections.yml").write_text("plugin: [")
    done = enumerate_(inventory)
    assert done.returncode == 2
    assert "no connections were enumerated" in done.stdout + done.stderr


def test_an_inventory_without_connections_stops_the_playbook(inventory):
    (inventory / "tls_connections.yml").unlink()
    done = enumerate_(inventory)
    assert done.returncode == 2
    assert "no connections were enumerated" in done.stdout + done.stderr


def test_two_files_that_enumerate_are_one_too_many(inventory):
    shutil.copy(inventory / "tls_connections.yml", inventory / "z_tls_connections.yml")
    done = enumerate_(inventory)
    assert done.returncode == 2
    assert "enumerates connections already" in done.stdout + done.stderr


def test_model_files_inside_the_inventory_folder_bring_a_warning(inventory):
    (inventory / "fleet").mkdir()
    (inventory / "tls_connections.yml").rename(inventory / "fleet" / "a.yml")
    (inventory / "tls_connections.yml").write_text("plugin: connsec.tls.connections\nmodel: [fleet/*.yml]\n")
    _unused, warnings = listed(inventory)
    assert "lies inside the inventory folder" in " ".join(warnings.split())


def test_model_files_beside_the_inventory_folder_are_read(inventory):
    fleet = inventory.parent / "fleet"
    fleet.mkdir()
    (fleet / "a.yml").write_text(FLEET, encoding="utf-8")
    (inventory / "tls_connections.yml").write_text("plugin: connsec.tls.connections\nmodel: [../fleet/*.yml]\n")
    found, warnings = listed(inventory)
    assert warnings == ""
    assert "tls_wave_2" in found


def test_the_example_fleet_is_enumerated_without_a_mistake():
    done = enumerate_(EXAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    assert "reporting@rep1->events.broker@kafka3" in done.stdout
