#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See the sockets of processes and the peers of listeners on this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: socket_info
short_description: See the sockets of processes and the peers of listeners
version_added: 0.1.0
description:
  - Tells which TCP sockets a process and its children have, and who is connected to listeners of this host.
  - With O(seconds) it watches. Connections that come and go between two samples are told by the kernel, so that nobody
    is missed.
author: connsec.tls contributors (@connsec)
requirements:
  - Linux, and Python 3.8 or newer on the host.
  - Processes of other accounts are seen by root only.
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
  process:
    description: The process whose sockets are wanted, by one of the two ways to find it.
    type: dict
    suboptions:
      pid_file:
        description: Path of a file that begins with the number of the process.
        type: path
      service:
        description: Name of its systemd unit.
        type: str
  listeners:
    description: The listeners whose peers are wanted.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Name of the result. It is the address and the port if nothing else is said.
        type: str
      address:
        description: The address that clients dial. Every address of the host if nothing else is said.
        type: str
      port:
        description: Port of the listener.
        type: int
        required: true
  seconds:
    description: For how long to watch. With V(0) the sockets of this moment are told.
    type: float
    default: 0
  interval:
    description: Seconds between two samples.
    type: float
    default: 0.05
seealso:
  - module: connsec.tls.handshake_info
  - module: connsec.tls.observe
"""

EXAMPLES = r"""
- name: See who still talks to the clear port
  connsec.tls.socket_info:
    listeners:
      - {id: clear, address: 192.0.2.7, port: 2020}
    seconds: 5
  register: seen

- name: Name them
  ansible.builtin.debug:
    msg: "{{ seen.peers.clear.peers | map(attribute='address') | unique }}"

- name: See the sockets of a service
  connsec.tls.socket_info:
    process: {service: router.service}
"""

RETURN = r"""
sockets:
  description:
    - The sockets of the process and its children, and those in TIME_WAIT at their addresses, which nobody owns.
  returned: success
  type: list
  elements: dict
  sample: [{local: "192.0.2.8:40000", peer: "192.0.2.7:2021", state: ESTABLISHED, owned: true}]
pids:
  description: The process and its children.
  returned: success
  type: list
  elements: int
peers:
  description:
    - The peers of each listener, by its O(listeners[].id). A peer is new if the first sample does not have it.
  returned: success
  type: dict
  sample:
    clear:
      peers: [{address: 192.0.2.8, port: 40000, state: ESTABLISHED, new: false, samples: 100}]
      listening: true
      coverage: {samples: 100, seconds: 5.0, events: true}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._errors import TlsError
from ..module_utils._host._process import pids_of
from ..module_utils._host._sockets import own_sockets, shown
from ..module_utils._host._watching import Watched, watch

SPEC = {
    "process": {
        "type": "dict",
        "options": {"pid_file": {"type": "path"}, "service": {"type": "str"}},
        "mutually_exclusive": [("pid_file", "service")],
    },
    "listeners": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "id": {"type": "str"},
            "address": {"type": "str"},
            "port": {"type": "int", "required": True},
        },
    },
    "seconds": {"type": "float", "default": 0},
    "interval": {"type": "float", "default": 0.05},
}


def main() -> None:
    """Look, and tell."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    process = {key: value for key, value in (module.params["process"] or {}).items() if value}
    listeners = [
        Watched(
            row["id"] or shown((row["address"] or "*", row["port"])),
            (row["address"],) if row["address"] else (),
            row["port"],
        )
        for row in module.params["listeners"]
    ]
    try:
        peers = watch(listeners, seconds=module.params["seconds"], interval=max(module.params["interval"], 0.001))
        pids = pids_of(process)
        sockets = [row.to_json() for row in own_sockets(pids)]
    except TlsError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, sockets=sockets, pids=pids, peers=peers if listeners else {})


if __name__ == "__main__":
    main()
