#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: round
short_description: Open, judge and close the rounds of a run
version_added: 0.1.0
description:
  - Part of the engine behind the playbook C(connsec.tls.rollout) and its siblings; it does not run alone.
  - Each phase takes in what the tasks before it saw, and says what the tasks after it do, in facts of localhost.
  - A gate looks; it never believes a task.
options:
  phase:
    description: Which part of a round is at hand.
    type: str
    choices: [installed, open, watched, judge, reversed]
    required: true
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
- name: Walk one wave, round by round
  ansible.builtin.import_playbook: connsec.tls.rollout
  vars:
    tls_scope: 1
    tls_until: switched
"""

RETURN = r"""
ansible_facts:
  description: Facts of localhost for the tasks that follow.
  returned: always
  type: dict
  contains:
    tls_round:
      description: The round at hand.
      type: dict
      returned: always
    tls_run:
      description: What the run knows, as JSON text.
      type: str
      returned: always
"""
