# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of win_variables.ps1."""

from __future__ import annotations

DOCUMENTATION = r"""
module: win_variables
short_description: Show the variables of a Windows host and its services, and write what was decided
version_added: 0.1.0
description:
  - What M(connsec.tls.tls_environment) calls on Windows hosts. Use that one; this one decides nothing.
  - Shows variables of the machine and of services as the registry has them, our notes about them, and services with
    their processes. Carries out orders one after the other. No process is touched.
author: connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Shows what is there and carries nothing out.
    support: full
  diff_mode:
    description: M(connsec.tls.tls_environment) shows what would change.
    support: none
  idempotent:
    description: Orders are carried out each time. M(connsec.tls.tls_environment) gives none where nothing is due.
    support: none
options:
  orders:
    description: What to do, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      action:
        description:
          - V(machine) sets a variable of the machine, in the kind that it has, or takes it out without
            O(orders[].value).
          - V(service) sets all variables of a service, or takes them out without O(orders[].lines).
          - V(note) notes what is ours, or takes the note away without O(orders[].note).
        type: str
        required: true
        choices: [machine, note, service]
      lines:
        description: All variables of a service, a line each.
        type: list
        elements: str
      name:
        description: A variable.
        type: str
      note:
        description: The instance, our part of a value, and what was there before, if it was anything.
        type: list
        elements: str
      service:
        description: A service. Empty for notes about the machine's variables.
        type: str
      value:
        description: The value of a variable of the machine.
        type: str
  services:
    description: Services to show, by their names.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show the variables of a service
  connsec.tls.win_variables:
    services: [Confserv]
"""

RETURN = r"""
state:
  description: What is there afterwards, C(variables) of the machine, C(services) by name, and C(processes).
  returned: always
  type: dict
  sample: {"variables": {"notes": {"changed": null, "rows": {}}, "rows": {}}, "services": {}, "processes": []}
"""
