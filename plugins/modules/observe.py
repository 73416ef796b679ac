#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a host for many gates in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: observe
short_description: Look at a host for many gates in one call
version_added: 0.1.0
description:
  - Looks at installed material, settings, processes, sockets, sessions and endpoints of a host, and changes nothing.
  - The engine of this collection builds the request and judges what is seen. For endpoints or sockets in plays of
    your own M(connsec.tls.handshake_info) and M(connsec.tls.socket_info) are easier to use.
author: connsec.tls contributors (@connsec)
requirements:
  - Python 3.8 or newer on the host. Sockets and processes are seen on Linux.
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
  action:
    description: An action plugin makes the identity of a stranger where a probe asks for one.
    support: full
options:
  request:
    description:
      - What to look at, with the keys C(directory), C(instances), C(probes), C(watch), C(settle) and C(token), each of
        them optional.
      - C(docs/looking.md) describes them.
    type: dict
    required: true
  stranger:
    description:
      - Set by the action plugin, an identity of an authority that nobody trusts.
      - It is presented where a probe has C(foreign=true), and has to be refused.
    type: dict
    suboptions:
      certificate:
        description: The certificate as PEM.
        type: str
        required: true
      key:
        description: Its private key as PEM.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: See which generation an instance has, and whether it listens over TLS
  connsec.tls.observe:
    request:
      directory: /etc/connsec
      instances:
        - name: router@urs1
          folder: router
          process: {pid_file: /run/router.pid}
      probes:
        - id: router
          address: 192.0.2.7
          port: 2021
          name: router.example.net
          trust: /etc/connsec/router/current/trust.pem
  register: seen
"""

RETURN = r"""
observation:
  description:
    - What is seen, with the keys RV(ignore:clock), RV(ignore:instances), RV(ignore:probes), RV(ignore:watch),
      RV(ignore:settled), RV(ignore:source_ports) and RV(ignore:token), as C(docs/looking.md) describes them.
  returned: success
  type: dict
  sample:
    clock: 1790000000.5
    instances: {}
    probes:
      router: {outcome: tls, verified: true, security: verified, protocol: TLSv1.3}
    source_ports: [40112]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._errors import TlsError
from ..module_utils._host._observe import observe

STRANGER = {
    "certificate": {"type": "str", "required": True},
    "key": {"type": "str", "required": True, "no_log": True},
}


def main() -> None:
    """Look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "request": {"type": "dict", "required": True},
            "stranger": {"type": "dict", "options": STRANGER},
        },
        supports_check_mode=True,
    )
    try:
        seen = observe(module.params["request"], stranger=module.params["stranger"])
        module.exit_json(changed=False, observation=seen)
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
