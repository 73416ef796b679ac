# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of win_schannel.ps1."""

from __future__ import annotations

DOCUMENTATION = r"""
module: win_schannel
short_description: Show the policy of SChannel on a Windows host, and change it where asked
version_added: 0.1.0
description:
  - SChannel is the TLS of Windows. Its policy lies in the registry and holds for all programs of the host that use
    it, IIS, SQL Server, and those on .NET among them.
  - Without O(protocols), O(suites) and O(restore) it only shows the policy.
  - What it changes it tells as it was before. Given as O(restore), that puts everything back, values, their types, and
    keys that had to be made.
  - Programs that run keep what they began with. A host takes all of it over when it starts anew, so plan a restart.
  - A group policy of the domain may set the same values again.
author: connsec.tls contributors (@connsec)
requirements:
  - Windows PowerShell 5.1 on the host, Windows Server 2016 or newer.
attributes:
  check_mode:
    description: Tells what would change, and changes nothing.
    support: full
  diff_mode:
    description: RV(before) has what changed.
    support: none
  idempotent:
    description: Nothing changes where the policy is as asked.
    support: full
options:
  protocols:
    description: Versions to switch.
    type: list
    elements: dict
    default: []
    suboptions:
      version:
        description: Which version.
        type: str
        required: true
        choices: [SSL 2.0, SSL 3.0, TLS 1.0, TLS 1.1, TLS 1.2, TLS 1.3]
      side:
        description: For programs that connect, or for those that listen.
        type: str
        required: true
        choices: [client, server]
      state:
        description: Whether it is on for all programs, only for those that ask for it by name, or for none.
        type: str
        required: true
        choices: ['on', by_request, 'off']
  suites:
    description:
      - The cipher suites in their order, as Windows names them. It is the list of the group policy, which takes the
        place of the machine's own.
    type: list
    elements: str
  restore:
    description: RV(before) of an earlier run, to be put back.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: The key, below C(HKEY_LOCAL_MACHINE).
        type: str
        required: true
      name:
        description: The name of the value.
        type: str
        required: true
      kind:
        description: The type of the value. If none, the value is taken away.
        type: str
      data:
        description: The data of the value.
        type: raw
      made:
        description: The topmost key that was made for it. It is taken away unless something else lies in it.
        type: str
seealso:
  - module: connsec.tls.win_handshake_info
"""

EXAMPLES = r"""
- name: Turn old versions off for what listens
  connsec.tls.win_schannel:
    protocols:
      - {version: TLS 1.0, side: server, state: 'off'}
      - {version: TLS 1.1, side: server, state: 'off'}
  register: policy

- name: Put back what was there
  connsec.tls.win_schannel:
    restore: "{{ policy.before }}"
"""

RETURN = r"""
before:
  description: What changed, as it was before, the last change first. It is what O(restore) takes.
  returned: always
  type: list
  elements: dict
  sample: []
state:
  description:
    - The policy afterwards. C(build) of Windows, C(enabled) and C(disabled_by_default) of each version and side in
      C(protocols), C(Enabled) of ciphers and key exchanges in C(switches), and the suites in C(policy_suites), one
      text, and C(local_suites), a list. None where the registry has nothing.
  returned: always
  type: dict
  sample: {"build": 17763, "protocols": {}, "switches": {}, "policy_suites": null, "local_suites": null}
"""
