#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Say what a run reached
version_added: 0.1.0
description:
  - The last task of every playbook of this collection; it does not run alone.
  - Prints every pair with its stage and status, and for each that is not done the gate, what was expected, what was
    seen, and what to do. Fails if a pair failed, and only then.
  - Writes C(report.json) and C(report.html) into the folder that the variable C(tls_report_directory) names, if it is
    set.
options: {}
author:
  - connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Can run in check mode and say what would be done, without changing anything.
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
- name: Keep the report where people look for it
  ansible.builtin.import_playbook: connsec.tls.report
  vars:
    tls_report_directory: /srv/reports/tls
"""

RETURN = r"""
report:
  description: The report, version 1, as C(docs/report.md) describes it. It is the fact C(tls_result) as well.
  returned: when nothing failed
  type: dict
"""
