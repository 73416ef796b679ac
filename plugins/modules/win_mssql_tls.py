# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of win_mssql_tls.ps1."""

from __future__ import annotations

DOCUMENTATION = r"""
module: win_mssql_tls
short_description: Show and set by which certificate SQL Server serves, and whether it forces encryption
version_added: 0.1.0
description:
  - Shows the TLS settings of all instances of SQL Server on a host, and sets those that are asked for.
  - SQL Server reads them when it starts. Nothing is restarted here; RV(restart) names the services that have to be. A
    failover cluster's are restarted by its own means, and its settings are made on every node.
  - SQL Server passes over a certificate that does not fit. It wants an RSA key for key exchange, extendedKeyUsage with
    server authentication, and its name, the virtual one of a cluster, as common name, or from 2019 on in
    subjectAltName. The account of its service reads the key.
  - What it changes it tells as it was before. Given as O(instances), that puts everything back.
author: connsec.tls contributors (@connsec)
requirements:
  - Windows PowerShell 5.1 and SQL Server 2016 or newer on the host.
attributes:
  check_mode:
    description: Tells what would change, and changes nothing.
    support: full
  diff_mode:
    description: RV(before) has what changed.
    support: none
  idempotent:
    description: Nothing changes where the settings are as asked.
    support: full
options:
  instances:
    description: Instances to set.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the instance, V(MSSQLSERVER) for the default one.
        type: str
        required: true
      thumbprint:
        description:
          - Thumbprint of the certificate, which lies in C(LocalMachine\My) with its key. Empty for one that SQL Server
            makes.
          - As it was if nothing is said.
        type: str
      force_encryption:
        description: Whether clients are refused that do not encrypt. As it was if nothing is said.
        type: bool
      absent:
        description: Settings to take out of the registry, where there were none before.
        type: list
        elements: str
        default: []
        choices: [force_encryption, thumbprint]
seealso:
  - module: connsec.tls.win_material
"""

EXAMPLES = r"""
- name: Serve with our certificate, and take plaintext too
  connsec.tls.win_mssql_tls:
    instances:
      - {name: MSSQLSERVER, thumbprint: "{{ tls_thumbprints.mssql[''] }}", force_encryption: false}
  register: served

- name: Restart what has to be
  ansible.windows.win_service:
    name: "{{ item }}"
    state: restarted
  loop: "{{ served.restart }}"
"""

RETURN = r"""
before:
  description: What changed, as it was before, the last change first. It is what O(instances) takes.
  returned: always
  type: list
  elements: dict
  sample: []
instances:
  description:
    - What is there afterwards, by the instance's name. C(id) in the registry, C(thumbprint), C(force_encryption) as a
      number, the virtual name of its C(cluster), its C(service) and the C(account) of that. None where there is
      nothing.
  returned: always
  type: dict
  sample: {"MSSQLSERVER": {"id": "MSSQL16.MSSQLSERVER", "thumbprint": "", "force_encryption": 0, "cluster": null,
    "service": "MSSQLSERVER", "account": "NT Service\\MSSQLSERVER"}}
restart:
  description: The services that read their settings anew only by a restart.
  returned: always
  type: list
  elements: str
  sample: [MSSQLSERVER]
"""
