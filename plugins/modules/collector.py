#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the program that collects who uses clear listeners between two runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: collector
short_description: Install what collects the peers of clear listeners between runs
version_added: 0.1.0
description:
  - Puts a small program and the listeners that it watches into a folder of the host. A timer of yours starts it every
    minute; it needs Python's standard library only.
  - What it has collected is read by the next rollout, see docs/task_soak.md.
author: connsec.tls contributors (@connsec)
requirements:
  - Linux, AIX or Solaris, and Python 3.8 or newer on the host.
attributes:
  check_mode:
    description: Tells what it would write.
    support: full
  diff_mode:
    description: Shows the listeners.
    support: full
  idempotent:
    description: Writes nothing that is there already.
    support: full
options:
  directory:
    description: The collection's folder on the host; the program goes to C(soak.d) in it.
    type: path
    default: /etc/connsec
  listeners:
    description: The clear listeners to watch.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: Name of the listener.
        type: str
        required: true
      addresses:
        description: Addresses that clients dial. Every address of the host if there are none.
        type: list
        elements: str
        default: []
      port:
        description: Its port.
        type: int
        required: true
      looks:
        description:
          - By address, the first port from which our own looks from there are made; such connections do not count.
            Needed on systems that do not tell it by themselves, AIX and Solaris.
        type: dict
        default: {}
seealso:
  - module: connsec.tls.socket_info
"""

EXAMPLES = r"""
- name: Collect who uses the clear port
  connsec.tls.collector:
    listeners:
      - {id: confserv.default@cfg1, addresses: [192.0.2.7], port: 2020}
"""

RETURN = r"""
reasons:
  description: What was written, and why.
  returned: success
  type: dict
  sample: {"soak.d/collect.json": "its listeners are others"}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._errors import TlsError
from ..module_utils._host._soak import Collector
from ..module_utils._module import finish

SPEC = {
    "directory": {"type": "path", "default": "/etc/connsec"},
    "listeners": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "id": {"type": "str", "required": True},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "port": {"type": "int", "required": True},
            "looks": {"type": "dict", "default": {}},
        },
    },
}


def main() -> None:
    """Read, decide, make, report."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        collector = Collector(module.params["directory"], module.params["listeners"])
        finish(module, collector.changes(), make=collector.make)
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
