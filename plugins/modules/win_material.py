# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of win_material.ps1."""

from __future__ import annotations

DOCUMENTATION = r"""
module: win_material
short_description: Show the material of a Windows host, and carry out what was decided about it
version_added: 0.1.0
description:
  - What M(connsec.tls.material) calls on Windows hosts. Use that one; this one decides nothing.
  - Shows what lies in the folders of instances and in the stores C(My), C(CA) and C(Root) of the machine, and carries
    out orders one after the other. Where one of an instance fails, its others are left out.
  - Nothing is written through a file that stays. A PFX is imported out of memory.
author: connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Shows what is there and carries nothing out.
    support: full
  diff_mode:
    description: M(connsec.tls.material) shows what would change.
    support: none
  idempotent:
    description: Orders are carried out each time. M(connsec.tls.material) gives none where nothing is due.
    support: none
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
  orders:
    description: What to do, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      instance:
        description: For which instance.
        type: str
        required: true
      action:
        description:
          - V(folder) makes a folder, with O(orders[].rights) if they are given, or sets them.
          - V(file) writes a new file. V(rights) sets the rights on one.
          - V(pfx) imports a key and its chain. V(certificate) puts a certificate into O(orders[].store).
          - V(key) sets the rights on the private key of the certificate O(orders[].thumbprint).
          - V(link) makes a junction anew.
          - V(forget) takes the certificate O(orders[].thumbprint) out of O(orders[].store), and its private key away.
          - V(remove) removes a folder with all that lies in it, or a file.
        type: str
        required: true
        choices: [folder, file, rights, pfx, certificate, key, link, forget, remove]
      path:
        description: The folder or file, which lies in O(directory).
        type: str
      rights:
        description: Who may do what, as a DACL in SDDL.
        type: str
      content:
        description: Content in base64.
        type: str
      password:
        description: The password of a PFX.
        type: str
      store:
        description: The store of the machine.
        type: str
        choices: [My, CA, Root]
      thumbprint:
        description: By what Windows knows a certificate.
        type: str
      target:
        description: Where a junction leads.
        type: str
"""

EXAMPLES = r"""
- name: Show the material of a host
  connsec.tls.win_material:
    directory: C:\ProgramData\connsec
    accounts: [NT SERVICE\Confserv]
"""

RETURN = r"""
failures:
  description: Why orders of an instance could not be carried out, by instance.
  returned: always
  type: dict
  sample: {}
state:
  description:
    - What is there afterwards. C(build) of Windows, C(user) that Ansible works as, C(sids) by account, C(rights) and
      C(link) of O(directory), C(instances) by folder, and the thumbprints in C(stores).
  returned: always
  type: dict
  sample: {"build": 17763, "user": "S-1-5-21-1-2-3-500", "sids": {}, "rights": null, "link": false, "instances": {},
    "stores": {"My": {}, "CA": {}, "Root": {}}}
"""
