#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the environment variables of security libraries to processes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_environment
short_description: Give the environment variables of security libraries to processes
version_added: 0.1.0
description:
  - Sets variables such as C(SSL_CERT_FILE) where processes get them from. That is a drop-in of a systemd unit, an
    environment file, a script of login shells, or C(/etc/environment). On Solaris it may be a service instance of SMF,
    and on AIX a subsystem of SRC.
  - Its lines stand between two marks with the instance's name. Everything else in the file is kept as it is.
  - Variables that are lists, such as C(LD_LIBRARY_PATH) and C(JAVA_TOOL_OPTIONS), keep what others put there.
  - Never touches a process. Whether the running one has the variables is told in RV(running).
author: connsec.tls contributors (@connsec)
requirements:
  - Python 3.8 or newer on the host.
attributes:
  check_mode:
    description: Tells what it would do, with the same reasons, and changes nothing.
    support: full
  diff_mode:
    description: Shows our own lines of each file, and nothing of what others wrote.
    support: full
  idempotent:
    description: Changes nothing where everything is set.
    support: full
  action:
    description: An action plugin decides for Windows hosts, and has M(connsec.tls.win_variables) read and write.
    support: full
options:
  instances:
    description: The instances whose processes get variables, any number of them in one call.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the instance, such as V(router@urs1). It stands in the marks.
        type: str
        required: true
      target:
        description:
          - What gives the variables to the processes.
          - V(unit) is a drop-in of a systemd unit, V(file) an environment file, V(login) a script that login shells
            read, and V(system) is read for all sessions of the host.
          - V(smf) is a service instance of Solaris, V(src) a subsystem of AIX, which is started through a file then.
          - AIX has V(file), V(login), V(src) and V(system), Solaris V(file), V(login) and V(smf).
          - Windows has V(machine), the variables of all of it, and V(service), those of one service. Both lie in its
            registry.
        type: str
        choices: [unit, file, login, system, smf, src, machine, service]
        required: true
      path:
        description:
          - The file. Needed for V(file).
          - Otherwise C(/etc/systemd/system/<unit>.d/zz-connsec.conf), C(/etc/profile.d/connsec-<name>.sh) or
            C(/etc/environment) if nothing else is said; on AIX and Solaris C(/etc/profile) for V(login), and
            C(/etc/connsec-src/<unit>) for V(src).
        type: path
      unit:
        description:
          - Name of the systemd unit, for V(unit); of the service instance, such as C(svc:/application/x:default), for
            V(smf); of the subsystem, for V(src); of the service, for V(service).
        type: str
      unit_directory:
        description: Folder of the administrator's systemd units.
        type: path
        default: /etc/systemd/system
      variables:
        description: The variables with their values. For a list, our own entries of it.
        type: dict
        default: {}
      libraries:
        description:
          - Libraries whose variables are set to O(instances[].paths), in addition to O(instances[].variables).
          - Known are V(curl), V(java), V(loader), V(node), V(openssl), V(openssl_config), V(openssl_folder) and
            V(requests); on Solaris V(loader_32) and V(loader_64) as well. On Windows V(loader) is C(PATH).
        type: list
        elements: str
        default: []
      paths:
        description:
          - Where the files lie that O(instances[].libraries) read, with the keys V(trust), V(truststore),
            V(libraries), V(libraries_32), V(libraries_64), V(openssl_config) and V(trust_folder) as the libraries need
            them.
        type: dict
        default: {}
      system:
        description: Operating system, which decides how the loader's variable is called. The host's own by default.
        type: str
        choices: [linux, aix, solaris]
      process:
        description: How the running process is found, to tell whether it has the variables.
        type: dict
        default: {}
        suboptions:
          pid_file:
            description: Path of a file that begins with the number of the process.
            type: path
          service:
            description: Name of its systemd unit, its SMF service instance, or its SRC subsystem.
            type: str
      state:
        description: Whether the variables should be there. V(absent) takes our lines out.
        type: str
        choices: [present, absent]
        default: present
notes:
  - On Windows our notes about variables of ours lie in C(HKLM\SOFTWARE\connsec\environment), and go with the last one.
    Nobody sees there what a process was started with. It counts as having a variable in RV(running) if it was started
    after we last wrote there.
  - A variable in an C(EnvironmentFile=) of a unit wins over one in a drop-in, as systemd has it.
"""

EXAMPLES = r"""
- name: Let a service's OpenSSL trust our list, and a program find its libraries
  connsec.tls.tls_environment:
    instances:
      - name: router@urs1
        target: unit
        unit: router.service
        variables:
          SSL_CERT_FILE: /etc/connsec/router/current/trust.pem
          LD_LIBRARY_PATH: /opt/router/ssl/lib
        process: {service: router.service}
  register: environment_set

- name: Name the instances that have to be restarted for it
  ansible.builtin.debug:
    msg: "{{ environment_set.running | dict2items | rejectattr('value.missing', 'equalto', []) }}"
"""

RETURN = r"""
reasons:
  description: What was changed, and why.
  returned: success
  type: dict
  sample: {"environment router@urs1": "SSL_CERT_FILE is not set"}
paths:
  description: The file of each instance, or its service instance.
  returned: success
  type: dict
  sample: {"router@urs1": /etc/systemd/system/router.service.d/zz-connsec.conf}
running:
  description:
    - For each instance with a O(instances[].process), its processes, and the variables that the main one does not
      have as planned. It got its environment when it was started.
  returned: success
  type: dict
  sample: {"router@urs1": {pids: [4711], missing: [SSL_CERT_FILE], unreadable: null}}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._environment import library_variables
from ..module_utils._core._errors import TlsError
from ..module_utils._host._environments import Environments
from ..module_utils._host._system import SYSTEM
from ..module_utils._module import finish

TARGETS = ["unit", "file", "login", "system", "smf", "src", "machine", "service"]
INSTANCE = {
    "name": {"type": "str", "required": True},
    "target": {"type": "str", "required": True, "choices": TARGETS},
    "path": {"type": "path"},
    "unit": {"type": "str"},
    "unit_directory": {"type": "path", "default": "/etc/systemd/system"},
    "variables": {"type": "dict", "default": {}},
    "libraries": {"type": "list", "elements": "str", "default": []},
    "paths": {"type": "dict", "default": {}},
    "system": {"type": "str", "choices": ["linux", "aix", "solaris"]},
    "process": {
        "type": "dict",
        "default": {},
        "options": {"pid_file": {"type": "path"}, "service": {"type": "str"}},
        "mutually_exclusive": [("pid_file", "service")],
    },
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
}


def wanted(instance: dict) -> dict:
    """Return the variables that an instance should be given."""
    if instance["state"] == "absent":
        return {}
    given = {name: str(value) for name, value in instance["variables"].items()}
    return {**library_variables(instance["libraries"], instance["paths"], system=instance["system"] or SYSTEM), **given}


def main() -> None:
    """Read, decide, make, report."""
    module = AnsibleModule(
        argument_spec={"instances": {"type": "list", "elements": "dict", "required": True, "options": INSTANCE}},
        supports_check_mode=True,
    )
    try:
        environments = Environments([(row, wanted(row)) for row in module.params["instances"]])
        finish(
            module,
            environments.changes,
            make=environments.make,
            then=environments.settle,
            facts=lambda: {"paths": environments.paths, "running": environments.running()},
        )
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
