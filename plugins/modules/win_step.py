# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of win_step.ps1."""

from __future__ import annotations

DOCUMENTATION = r"""
module: win_step
short_description: Show what steps need of a Windows host, and carry out what was decided
version_added: 0.1.0
description:
  - What M(connsec.tls.step) calls on Windows hosts. Use that one; this one decides nothing, and its result holds whole
    files.
  - Carries out orders one after the other. Where one of a step fails, its others are left out.
author: connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Shows what is there and carries nothing out.
    support: full
  diff_mode:
    description: M(connsec.tls.step) shows what would change.
    support: none
  idempotent:
    description: Orders are carried out each time. M(connsec.tls.step) gives none where nothing is due.
    support: none
options:
  directory:
    description: The host's folder for instances.
    type: str
    required: true
  files:
    description: Files whose content is shown, in base64; one of more than 4 MiB is not.
    type: list
    elements: str
    default: []
  folders:
    description: Folders of instances whose notes are shown.
    type: list
    elements: str
    default: []
  orders:
    description: What to do, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      step:
        description: For which step.
        type: str
        required: true
      action:
        description:
          - V(edit) writes a file, and V(erase) removes one, if it is still what was read.
          - V(write) writes a note of ours, V(folder) makes a folder with O(orders[].rights) or sets them, and V(remove)
            removes either; all of them in O(directory).
          - V(run) runs a program to its end. V(restart) restarts a service, and those that need it.
          - V(wait) waits until a service runs and ports are as they should, and writes what it has loaded then.
        type: str
        required: true
        choices: [edit, erase, folder, remove, restart, run, wait, write]
      arguments:
        description: The arguments of a program, as one line.
        type: str
      content:
        description: Content in base64.
        type: str
      expected:
        description: SHA-256 of what a file holds; empty where there is none.
        type: str
      milliseconds:
        description: How long a program may run, or is waited.
        type: int
      path:
        description: The file, folder or program.
        type: str
      ports:
        description: Ports that are to be open or closed.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description: Its address.
            type: str
            required: true
          insist:
            description: Whether waiting fails for it.
            type: bool
            default: true
          open:
            description: Whether it is to be open.
            type: bool
            required: true
          port:
            description: Its number.
            type: int
            required: true
      rights:
        description: Who may do what, as a DACL in SDDL.
        type: str
      service:
        description: The service, by its name.
        type: str
  services:
    description: Services to show, by their names.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what steps left for an instance
  connsec.tls.win_step:
    directory: C:\ProgramData\connsec
    folders: [confserv]
  no_log: true
"""

RETURN = r"""
failures:
  description: Why orders of a step could not be carried out, by step.
  returned: always
  type: dict
  sample: {}
state:
  description:
    - What is there afterwards. C(clock) in milliseconds since 1970, C(files), C(notes) by folder, C(services), and
      C(rights) and C(link) of O(directory).
  returned: always
  type: dict
  sample: {"clock": 1790000000123, "files": {}, "notes": {}, "services": {}, "rights": null, "link": false}
"""
