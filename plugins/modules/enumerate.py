#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: enumerate
short_description: Show every enumerated pair with its four categories
version_added: 0.1.0
description:
  - Prints one row for each pair of a client instance and a listener of a server instance, with its relation, payload
    protocol, operating systems and implementation, and the reason of each.
  - Reads what the inventory plugin P(connsec.tls.connections#inventory) enumerated, and looks at no host.
  - Fails with every mistake of the model, and where variables that the inventory plugin could not see (C(group_vars),
    C(host_vars), extra variables, facts) say something else of a host's system or addresses.
author:
  - connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Can run in check mode, for it never changes anything.
    support: full
  diff_mode:
    description: Returns details on what has changed when in diff mode.
    support: none
  action:
    description: This module has an action plugin, which does its work on the controller.
    support: full
  run_once:
    description: Is run once for all hosts, delegated to localhost.
    support: full
"""

EXAMPLES = r"""
# ansible-playbook -i inventory/prod connsec.tls.enumerate shows the same as a table
- name: Use what is enumerated in a play of your own
  connsec.tls.enumerate:
  run_once: true
  delegate_to: localhost
  register: enumerated
"""

RETURN = r"""
rows:
  description: One entry a pair, sorted by id.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Name of the pair.
      type: str
      returned: always
      sample: router@urs1->confserv.default@cfg1
    client:
      description: The instance that connects.
      type: str
      returned: always
    server:
      description: The instance that listens.
      type: str
      returned: always
    listener:
      description: Name of its listener.
      type: str
      returned: always
    connection:
      description: Number of the entry that it comes from.
      type: int
      returned: always
    wave:
      description: Wave that advances it.
      type: int
      returned: always
    mode:
      description: V(simple) if the server presents a certificate, V(mutual) if both ends do.
      type: str
      returned: always
    dial:
      description: What the client dials, and verifies as a name of the certificate.
      type: str
      returned: always
    blocked:
      description: Why nothing may be done to it yet; null if it may go on.
      type: str
      returned: always
    category:
      description:
        - Its relation, protocol, operating_systems and implementation, and their reasons.
        - Of operating_systems and implementation the client's comes first.
      type: dict
      returned: always
"""
