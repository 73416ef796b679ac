# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of win_iis_binding.ps1."""

from __future__ import annotations

DOCUMENTATION = r"""
module: win_iis_binding
short_description: Show the bindings of IIS, and bind certificates by their thumbprints
version_added: 0.1.0
description:
  - Shows the bindings of all sites of IIS, and sets those that are asked for, in one commit or none of them.
  - A binding that is there with another certificate gets the new one in its place, so the site is never without it. The
    old certificate may leave its store after that.
  - A binding in the clear is taken away by a row with O(bindings[].protocol=http) and O(bindings[].state=absent). A
    site's last binding stays.
  - Sites that share an address and a port without SNI share the certificate in HTTP.sys. A change that would give them
    different ones is refused.
  - What it changes it tells as it was before. Given as O(bindings), that puts everything back.
author: connsec.tls contributors (@connsec)
requirements:
  - IIS 10 with its module IISAdministration, which Windows Server 2016 and newer have.
attributes:
  check_mode:
    description: Tells what would change, and commits nothing.
    support: full
  diff_mode:
    description: RV(before) has what changed.
    support: none
  idempotent:
    description: Nothing changes where the bindings are as asked.
    support: full
options:
  bindings:
    description: Bindings to set, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      site:
        description: The site's name.
        type: str
        required: true
      protocol:
        description: Whether the binding is over TLS.
        type: str
        default: https
        choices: [http, https]
      ip:
        description: The address that it listens on, V(*) for all. One of IPv6 stands in brackets.
        type: str
        default: '*'
      port:
        description: The port.
        type: int
        required: true
      host:
        description: The name that is asked for. Empty for any.
        type: str
        default: ''
      state:
        description: Whether the binding is there.
        type: str
        default: present
        choices: [absent, present]
      thumbprint:
        description: Thumbprint of the certificate, which lies in O(bindings[].store) with its key.
        type: str
      store:
        description: The store of the machine that the certificate is in.
        type: str
        default: My
        choices: [My, WebHosting]
      ssl_flags:
        description:
          - Sum of V(1) for SNI, V(4) for no HTTP/2, V(8) for no OCSP stapling, V(16) for no QUIC, V(32) for no TLS 1.3
            and V(64) for no versions before TLS 1.2.
          - Without SNI, all that share an address and a port share the certificate.
        type: int
        default: 0
seealso:
  - module: connsec.tls.win_material
"""

EXAMPLES = r"""
- name: Serve the shop over TLS beside the clear binding
  connsec.tls.win_iis_binding:
    bindings:
      - {site: shop, port: 443, host: shop.example.net, ssl_flags: 1, thumbprint: "{{ tls_thumbprints.shop[''] }}"}
  register: bound

- name: Take the clear binding away
  connsec.tls.win_iis_binding:
    bindings:
      - {site: shop, protocol: http, port: 80, host: shop.example.net, state: absent}

- name: Put back what was there before the first of these
  connsec.tls.win_iis_binding:
    bindings: "{{ bound.before }}"
"""

RETURN = r"""
before:
  description: What changed, as it was before, the last change first. It is what O(bindings) takes.
  returned: always
  type: list
  elements: dict
  sample: []
sites:
  description: The bindings of each site afterwards, as O(bindings) has them. In check mode those that are there.
  returned: always
  type: dict
  sample: {"shop": [{"site": "shop", "protocol": "http", "ip": "*", "port": 80, "host": "", "state": "present",
    "thumbprint": null, "store": "My", "ssl_flags": 0}]}
"""
