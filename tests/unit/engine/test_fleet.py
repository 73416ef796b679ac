# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run reads of hosts' variables: a host's own components, whatever else stands in them; and its next wave."""

from __future__ import annotations

import pytest
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
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(tmp_path / "hosts.yml")])
    hostvars = HostVars(inventory, VariableManager(loader=loader, inventory=inventory), loader)

    def render(value, variables):
        return Templar(loader=loader, variables=dict(variables)).template(value)

    return known_hosts({host: Host(host)}, {host: components}, hostvars, render)[host]


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


def test_a_pair_that_waits_for_an_owner_makes_no_wave_unfinished():
    partner = {"kind": "desktop", "managed": False, "addresses": ["192.0.2.0/28"]}
    connections = [{"client": "partner", "server": "store.sql"}, {**MODEL["connections"][0], "wave": 2}]
    components = {**MODEL["components"], "partner": partner}
    scene = scene_of({**MODEL, "components": components, "connections": connections})
    waits = next(pair for pair in scene.model.pairs if pair.client.component == "partner")
    ask = ask_for(scene, "switched")
    assert next_wave(scene, ask) == {waits.id}, "what is due at our end comes first"
    assert next_wave(at_stage(scene, "switched", waits), ask) == {pair.id for pair in scene.model.pairs}
