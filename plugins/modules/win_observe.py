# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of win_observe.ps1."""

from __future__ import annotations

DOCUMENTATION = r"""
module: win_observe
short_description: Show what gates look at on a Windows host
version_added: 0.1.0
description:
  - What M(connsec.tls.observe) calls on Windows hosts. Use that one; this one decides nothing, and its result holds
    whole files.
  - Shows material, notes of steps, files, services with their processes and variables, sockets and addresses.
author: connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Looks in check mode as otherwise, for it changes nothing.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
options:
  accounts:
    description: The accounts whose SIDs are asked for.
    type: list
    elements: str
    default: []
  directory:
    description: The host's folder for instances.
    type: str
    required: true
  files:
    description: Files whose content is shown, in base64; one of more than 4 MiB is not.
    type: list
    elements: str
    default: []
  samples:
    description: How often sockets are listed, a quarter of a second apart, at most twice. Not at all with V(0).
    type: int
    default: 0
  services:
    description: Services to show, by their names.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show a service, its process and its variables
  connsec.tls.win_observe:
    directory: C:\ProgramData\connsec
    services: [Confserv]
  no_log: true
"""

RETURN = r"""
state:
  description:
    - What is there. Of RV(state) of M(connsec.tls.win_material) all but C(sids) of others; besides C(clock) in
      milliseconds since 1970, C(notes) by folder, C(files), C(variables) of the machine, C(services), C(processes),
      C(samples) of sockets, C(endpoints) of UDP, and C(addresses).
  returned: always
  type: dict
  sample: {"build": 17763, "user": "S-1-5-21-1-2-3-500", "clock": 1790000000123, "instances": {}, "services": {}}
"""
