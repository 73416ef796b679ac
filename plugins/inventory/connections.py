# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The enumerated connections of a fleet as an inventory source."""

from __future__ import annotations

DOCUMENTATION = r"""
name: connections
short_description: Enumerate the connections of a fleet, and group its hosts by what they are
version_added: 0.1.0
author:
  - connsec.tls contributors (@connsec)
description:
  - Reads the components, listeners and connections of a fleet from a file whose name ends with C(tls_connections.yml),
    expands them to pairs of instances, and puts the hosts of both ends into groups.
  - A connection is categorized in four respects, which become the groups C(tls_relation_internal) and
    C(tls_relation_third_party), C(tls_protocol_X), C(tls_os_linux) (C(aix), C(solaris), C(windows)) and
    C(tls_kind_X). Hosts that present or check certificates are in C(tls_presenters) and C(tls_receivers), those of
    wave N in C(tls_wave_N). The group C(tls_none) is always there and always empty.
  - Hosts come from other sources. Ansible reads the files of an inventory folder in alphabetical order, so that the
    hosts of C(hosts.yml) are known when this file is read. What C(group_vars) say of them is not known by then and is
    checked later.
  - A mistake in the file does not stop Ansible from reading its inventory, which would only warn. It becomes the
    variable C(tls_model_error), and every playbook of this collection stops with it.
  - The fields of all entries are described in the collection's C(docs/model.md).
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices: [connsec.tls.connections]
  model:
    description:
      - Further files with the same entries, as names or patterns beside this file. Large fleets are read much faster
        from them, for Ansible itself parses this file as well.
      - They should not lie inside an inventory folder, where Ansible would take each of them for an inventory.
    type: list
    elements: str
  hosts:
    description: Operating system and addresses of hosts.
    type: dict
  components:
    description: Programs that listen or connect, with their hosts and listeners.
    type: dict
  connections:
    description: Which component connects to which listener.
    type: list
    elements: dict
  identities:
    description: Named keys and certificates, where an instance's own is not what is wanted.
    type: dict
  authorities:
    description: The certification authorities of the fleet; C(connsec) is made if there is none.
    type: dict
"""

EXAMPLES = r"""
# inventory/prod/tls_connections.yml
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
  - {client: router, server: crm_db.sql, dial: crm.example.net, wave: 2}

# The same for a large fleet: a small file for Ansible, and the model in files beside the inventory folder
# plugin: connsec.tls.connections
# model: [../fleet/*.yml]
"""

import os
import typing as t

from ansible.plugins.inventory import BaseInventoryPlugin

from ..module_utils._core._category import groups
from ..module_utils._core._errors import TlsError
from ..plugin_utils._inventory_hosts import VARIABLES, declared_hosts
from ..plugin_utils._memory import uncollected
from ..plugin_utils._model_source import NAMES, LoadedModel, load, source_name


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]
    """Reads tls_connections.yml."""

    NAME = "connsec.tls.connections"

    def verify_file(self, path: str) -> bool:
        """Return whether the file is named like one of ours."""
        return bool(super().verify_file(path)) and path.endswith(NAMES)

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        """Put the groups and variables of a model into the inventory; a mistake becomes a variable."""
        super().parse(inventory, loader, path, cache)
        with uncollected():
            self._parse(inventory, loader, path)

    def _parse(self, inventory: t.Any, loader: t.Any, path: str) -> None:
        inventory.add_group("tls_none")
        path = os.path.abspath(path)
        earlier = inventory.groups["all"].vars.get("tls_model_path")
        try:
            if earlier not in (None, path):
                raise TlsError(
                    "%s: %s enumerates connections already; let one file name the other's entries (model: [...])"
                    % (source_name(path), source_name(str(earlier)))
                )
            inventory.set_variable("all", "tls_model_path", path)
            inventory.set_variable("all", "tls_inventory_directory", os.path.dirname(path))
            loaded = load(
                path,
                inventory_hosts=list(inventory.hosts),
                declared=declared_hosts(_variables(inventory)),
                read_vaulted=loader.get_text_file_contents,
            )
        except TlsError as error:
            inventory.set_variable("all", "tls_model_error", str(error))
            self.display.warning("The enumerated connections cannot be used:\n%s" % error, formatted=True)
            return
        self._warn_of_files_inside(loaded)
        _add_groups(inventory, groups(loaded.model))
        for system in {host.os for host in loaded.model.hosts.values()}:
            if "tls_os_" + system in inventory.groups:
                inventory.set_variable("tls_os_" + system, "tls_os", system)

    def _warn_of_files_inside(self, loaded: LoadedModel) -> None:
        """Warn of model files that Ansible will take for inventories of their own."""
        from ansible import context

        folders = [
            os.path.abspath(str(each)) for each in context.CLIARGS.get("inventory") or () if os.path.isdir(str(each))
        ]
        for name in loaded.files[1:]:
            if any(name.startswith(folder + os.sep) for folder in folders):
                self.display.warning(
                    "%s lies inside the inventory folder, so Ansible reads it as an inventory as well, slowly and with"
                    " warnings; keep the model's files beside that folder (model: [../fleet/*.yml])" % source_name(name)
                )
                return


def _add_groups(inventory: t.Any, wanted: t.Mapping[str, t.Sequence[str]]) -> None:
    for name, hosts in wanted.items():
        inventory.add_group(name)
        for host in hosts:
            inventory.add_child(name, host)


def _variables(inventory: t.Any) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """Yield each host with the variables that sources read so far give to it and its groups."""
    from ansible.inventory.helpers import sort_groups

    common = _of(inventory.groups["all"].vars)
    telling = any(_of(group.vars) for name, group in inventory.groups.items() if name != "all")
    for name, host in inventory.hosts.items():
        found = dict(common)
        if telling:
            for group in sort_groups(host.get_groups()):
                found.update(_of(group.vars))
        found.update(_of(host.vars))
        yield name, found


def _of(variables: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {name: variables[name] for name in VARIABLES & variables.keys()}
