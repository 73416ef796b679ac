#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install key, certificate, chain and CA list of instances, each as one generation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: material
short_description: Install key, certificate, chain and CA list of instances
version_added: 0.1.0
description:
  - Installs the material of all instances of a host in one round trip. Each instance has a folder with fixed names
    below O(directory), and a new generation is taken with one rename; the one before stays for going back.
  - What went in is compared with what is wanted, and every file with its digest, owner and mode, so drift is found.
  - Processes are not touched.
  - Keys come from the store on the controller. They travel inside the connection only, which therefore needs pipelining.
author: connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Says what would be installed and changes nothing.
    support: full
  diff_mode:
    description: Shows digests and names, never content.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
  action:
    description: An action plugin takes the material out of the store.
    support: full
options:
  directory:
    description: The host's folder for instances.
    type: path
    default: /etc/connsec
  instances:
    description: The instances of this host.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the instance, C(component@host).
        type: str
        required: true
      folder:
        description: Its folder below O(directory).
        type: str
        required: true
      account:
        description: The account that its key belongs to; the account that Ansible works as if it is not given.
        type: str
      identity:
        description: Name of the identity in the store; not given for an instance that only verifies.
        type: str
      trust:
        description: The authorities that it trusts.
        type: list
        elements: str
        default: []
      formats:
        description: What it reads.
        type: list
        elements: str
        choices: [pem, pkcs12, java]
        default: [pem]
  state:
    description: V(present) installs what is wanted; V(previous) goes back to the generation before.
    type: str
    choices: [present, previous]
    default: present
  store:
    description: The folders C(authorities), C(identities) and C(ledger) of the store on the controller.
    type: dict
  look:
    description: A request of M(connsec.tls.observe) that is answered afterwards, in the same round trip.
    type: dict
"""

EXAMPLES = r"""
- name: Install the material of a router, without any rollout
  connsec.tls.material:
    instances:
      - name: router@urs1
        folder: router
        account: router
        identity: router@urs1
        trust: [connsec]
"""

RETURN = r"""
generations:
  description: The number of the current generation of each instance.
  returned: always
  type: dict
  sample: {"router@urs1": "000002"}
reasons:
  description: Why an instance's material was installed.
  returned: always
  type: dict
  sample: {"material router@urs1": "the certificate is another"}
observation:
  description: What M(connsec.tls.observe) returns.
  returned: when O(look) is given, except in check mode
  type: dict
"""

import base64
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._change import Change
from ..module_utils._core._errors import TlsError
from ..module_utils._core._generation import plan_generation
from ..module_utils._host._files import locked
from ..module_utils._host._generations import Material
from ..module_utils._module import diff_of

FILE = {
    "name": {"type": "str", "required": True},
    "content": {"type": "str", "required": True, "no_log": True},
    "secret": {"type": "bool", "default": False, "no_log": False},
}
INSTANCE = {
    "name": {"type": "str", "required": True},
    "folder": {"type": "str", "required": True},
    "account": {"type": "str"},
    "inputs": {"type": "dict", "default": {}},
    "public": {"type": "dict"},
    "trusted": {"type": "list", "elements": "str"},
    "files": {"type": "list", "elements": "dict", "options": FILE, "default": []},
}


def decide(places: t.Mapping[str, Material], rows: t.Sequence[t.Mapping[str, t.Any]], state: str) -> t.List[Change]:
    """Return a change for each instance whose material is not as it is wanted."""
    changes = []
    for row in rows:
        found = places[row["name"]].found()
        if state == "previous":
            changes.append(Change("material %s" % row["name"], found["generation"], found["previous"], "going back"))
            continue
        change = plan_generation(row["name"], installed=found["manifest"], drift=found["drift"], wanted=row["inputs"])
        if change is not None:
            changes.append(change)
    return changes


def make(
    places: t.Mapping[str, Material], rows: t.Sequence[t.Mapping[str, t.Any]], changes: t.Sequence[Change], state: str
) -> None:
    """Install, or go back to, a generation of each instance that changes."""
    due = {change.target for change in changes}
    for row in rows:
        if "material %s" % row["name"] not in due:
            continue
        place = places[row["name"]]
        if state == "previous":
            place.back()
        else:
            place.install([(f["name"], base64.b64decode(f["content"]), f["secret"]) for f in row["files"]])


def main() -> None:
    """Read, decide, install, look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/connsec"},
            "instances": {"type": "list", "elements": "dict", "required": True, "options": INSTANCE},
            "state": {"type": "str", "choices": ["present", "previous"], "default": "present"},
            "look": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    directory, rows, state = (module.params[name] for name in ("directory", "instances", "state"))
    places = {row["name"]: Material(directory, row) for row in rows}
    try:
        changes = decide(places, rows, state)
        if changes and not module.check_mode:
            with locked(directory):
                make(places, rows, decide(places, rows, state), state)
        result: t.Dict[str, t.Any] = {
            "generations": {name: place.found()["generation"] for name, place in places.items()}
        }
        if module.params["look"] and not module.check_mode:
            from ..module_utils._host._observe import observe

            result["observation"] = observe(module.params["look"])
    except TlsError as error:
        module.fail_json(msg=str(error))
    reasons = {change.target: change.reason for change in changes}
    module.exit_json(changed=bool(changes), reasons=reasons, diff=diff_of(changes), **result)


if __name__ == "__main__":
    main()
