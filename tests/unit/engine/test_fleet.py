# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run reads of hosts' variables: a host's own components, whatever else stands in them; and its next wave."""

from __future__ import annotations

import os

import pytest
from ansible.errors import AnsibleUndefinedVariable
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Host
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.plugin_utils._ask import next_wave
from ansible_collections.connsec.tls.plugins.plugin_utils._fleet import known_hosts

from .scenes import MODEL, ask_for, at_stage, scene_of

INVENTORY = """
all:
  vars:
    folder: /srv/{{ inventory_hostname }}
    tls_directory: "{{ folder }}/connsec"
    tls_settings:
      router: {config: "{{ folder }}/router.ini"}
      desk: {config: "{{ nobody_defines_this }}"}
  hosts:
    app1:
    app2: {tls_settings: "{{ {'router': {'config': folder ~ '/other.ini'}} }}"}
    app3: {tls_settings: "{{ folder }}"}
    app4: {tls_os: windows}
"""


def facts(tmp_path, host, components):
    return facts_of_all(tmp_path, {host: components})[host]


def facts_of_all(tmp_path, components, inventory=INVENTORY):
    (tmp_path / "hosts.yml").write_text(inventory)
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(tmp_path / "hosts.yml")])
    hostvars = HostVars(inventory, VariableManager(loader=loader, inventory=inventory), loader)

    def render(value, variables):
        return Templar(loader=loader, variables=dict(variables)).template(value)

    return known_hosts({host: Host(host) for host in components}, components, hostvars, render)


def test_a_host_is_asked_for_its_own_components_alone(tmp_path):
    found = facts(tmp_path, "app1", ["router"])
    assert found.directory == "/srv/app1/connsec"
    assert found.settings == {"router": {"config": "/srv/app1/router.ini"}}


def test_settings_may_be_one_template(tmp_path):
    assert facts(tmp_path, "app2", ["router"]).settings == {"router": {"config": "/srv/app2/other.ini"}}


def test_settings_of_another_sort_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(TlsError, match="tls_settings of host app3 is '/srv/app3'; it is a dict"):
        facts(tmp_path, "app3", ["router"])


def test_a_host_that_is_not_in_the_inventory_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(TlsError, match="host app9 of the model is not in the inventory"):
        facts(tmp_path, "app9", [])


def test_variables_that_contradict_the_model_are_named_with_both_places(tmp_path):
    with pytest.raises(TlsError, match=r"host app4: tls_os in .*hosts.yml:.* is windows, and .* says linux"):
        facts(tmp_path, "app4", [])


@pytest.fixture
def two_processes(monkeypatch):
    """Two processors, and no other thread of the tests about, which would forbid a fork."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr("threading.active_count", lambda: 1)


MANY = INVENTORY + "".join("    h%02d:\n" % number for number in range(20))


def test_many_hosts_are_read_by_several_processes_and_each_has_its_own_settings(tmp_path, two_processes, monkeypatch):
    forks = []
    fork = os.fork
    monkeypatch.setattr("os.fork", lambda: forks.append(os.getpid()) or fork())
    found = facts_of_all(tmp_path, {"h%02d" % number: ["router"] for number in range(20)}, MANY)
    assert len(forks) == 1
    assert {name: each.settings["router"]["config"] for name, each in found.items()} == {
        "h%02d" % number: "/srv/h%02d/router.ini" % number for number in range(20)
    }


@pytest.mark.parametrize("number", [0, 1], ids=["of this process", "of another process"])
def test_a_mistake_in_the_variables_of_one_of_many_hosts_is_said_as_by_ansible(tmp_path, two_processes, number):
    components = {"h%02d" % each: ["desk" if each == number else "router"] for each in range(20)}
    with pytest.raises(AnsibleUndefinedVariable, match="nobody_defines_this"):
        facts_of_all(tmp_path, components, MANY)


def test_a_pair_that_waits_for_an_owner_makes_no_wave_unfinished():
    partner = {"kind": "desktop", "managed": False, "addresses": ["192.0.2.0/28"]}
    connections = [{"client": "partner", "server": "store.sql"}, {**MODEL["connections"][0], "wave": 2}]
    components = {**MODEL["components"], "partner": partner}
    scene = scene_of({**MODEL, "components": components, "connections": connections})
    waits = next(pair for pair in scene.model.pairs if pair.client.component == "partner")
    ask = ask_for(scene, "switched")
    assert next_wave(scene, ask) == {waits.id}, "what is due at our end comes first"
    assert next_wave(at_stage(scene, "switched", waits), ask) == {pair.id for pair in scene.model.pairs}
