#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Make the plan of a run and show it
version_added: 0.1.0
description:
  - Part of the engine behind the playbook C(connsec.tls.rollout) and its siblings; it does not run alone.
  - In phase V(model) it reads the model, the kinds and their settings, and says which hosts have to be looked at, and
    for what.
  - In phase V(decide) it turns what was seen into rounds of steps, shows them, and leaves them in facts of localhost.
  - It runs with C(run_once), delegated to localhost with C(delegate_facts).
options:
  phase:
    description: Which half of the work to do.
    type: str
    choices: [model, decide]
    required: true
  goal:
    description: What the run is for. Only V(rollout) and V(rollback) change hosts.
    type: str
    choices: [plan, rollout, verify, rollback, report]
    default: plan
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
- name: Show what a rollout would do
  ansible.builtin.import_playbook: connsec.tls.plan
"""

RETURN = r"""
plan:
  description: The plan for machines. Targets are logical names, each with the reason why it is due.
  returned: in phase V(decide)
  type: dict
  contains:
    pairs:
      description: Stage, goal, status, owner, and what is waited for, by pair.
      type: dict
      returned: always
    store:
      description: What is due in the store, with reasons.
      type: dict
      returned: always
    material:
      description: Instances whose material is due, with their hosts.
      type: dict
      returned: always
    environment:
      description: Instances whose environment is due, with their hosts.
      type: dict
      returned: always
    digest:
      description: SHA-256 of the plan file, which C(tls_approved_plan) takes; null where nothing is due.
      type: str
      returned: always
    file:
      description: Path of the plan file; null where none was written.
      type: str
      returned: always
    firewall:
      description:
        - The firewall sheet, C(line), C(flow), C(wave) and C(seen) of each new flow between hosts.
        - What a look saw there is C(seen).
      type: list
      elements: dict
      returned: always
    rounds:
      description: Steps that may run at the same time, round by round, with the interruption in seconds they cause.
      type: list
      elements: dict
      returned: always
"""
