#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a Java truststore beside the JVM's own: its list, and CA certificates of ours."""

from __future__ import annotations

DOCUMENTATION = r"""
module: java_trust
short_description: Keep a Java truststore with the JVM's own list and CA certificates of ours
version_added: 0.1.0
description:
  - Makes a copy of the list that a JVM trusts by itself, and adds CA certificates to it. The JVM's own file is not
    touched - an update would undo it, and every program of the host would be concerned.
  - A program uses it when it is started with C(-Djavax.net.ssl.trustStore=<path>), as M(connsec.tls.tls_environment)
    does it for the library V(java).
  - It is made by the JVM's own C(keytool), in the format of the JVM's own list. Programs need no password to read it,
    where they need none for that one.
  - It is made anew when the certificates are others, when an update has changed the JVM's list, and when the file is
    not as it was made. What went in stands beside it in a file that ends with C(.json).
author: connsec.tls contributors (@connsec)
requirements:
  - Python 3.8 or newer, and a Java runtime on the host.
attributes:
  check_mode:
    description: Tells what it would do, with the same reasons, and changes nothing.
    support: full
  diff_mode:
    description: Shows whose certificates come and go, and the digest of the JVM's list.
    support: full
  idempotent:
    description: Compares what went in; the bytes that keytool writes differ at each writing.
    support: full
options:
  path:
    description: Where the truststore lies.
    type: path
    default: /etc/connsec/java.d/cacerts
  certificates:
    description: What is trusted beside the JVM's own list.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it goes by - lower-case letters, digits, C(_) and C(-). It stands in the alias.
        type: str
        required: true
      pem:
        description: One or several CA certificates as PEM, as M(connsec.tls.system_trust) takes them.
        type: str
        required: true
  java_home:
    description: The folder of the JVM. That of the C(keytool) which the host finds if it is not given.
    type: path
  password_file:
    description:
      - A file on the host with the password of the JVM's own list, where somebody changed it. The truststore has the
        same.
    type: path
  state:
    description: Whether it should be there. V(absent) removes it, and refuses a file that we did not make.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description: The collection's folder on the host, for its lock.
    type: path
    default: /etc/connsec
seealso:
  - module: connsec.tls.system_trust
  - module: connsec.tls.tls_environment
"""

EXAMPLES = r"""
- name: A truststore with our authority in it
  connsec.tls.java_trust:
    certificates:
      - name: connsec
        pem: "{{ issued.roots.connsec }}"
  register: truststore

- name: Have a service use it
  connsec.tls.tls_environment:
    instances:
      - name: desk@app1
        target: unit
        unit: desk.service
        libraries: [java]
        paths: {truststore: "{{ truststore.path }}"}
"""

RETURN = r"""
reasons:
  description: What was done, and why.
  returned: success
  type: dict
  sample: {"truststore /etc/connsec/java.d/cacerts": "the JVM's own list is another"}
path:
  description: Where the truststore lies.
  returned: success
  type: str
  sample: /etc/connsec/java.d/cacerts
cacerts:
  description: The JVM's own list that it was made of.
  returned: when O(state=present)
  type: str
  sample: /etc/ssl/certs/java/cacerts
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._errors import TlsError
from ..module_utils._host._anchors import read_given
from ..module_utils._host._java_trust import JavaTrust, MadeTrust, find_jvm
from ..module_utils._module import finish

SPEC = {
    "path": {"type": "path", "default": "/etc/connsec/java.d/cacerts"},
    "certificates": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"name": {"type": "str", "required": True}, "pem": {"type": "str", "required": True}},
    },
    "java_home": {"type": "path"},
    "password_file": {"type": "path", "no_log": False},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "directory": {"type": "path", "default": "/etc/connsec"},
}


def keep(module: AnsibleModule, options: t.Mapping[str, t.Any]) -> t.NoReturn:
    """Have it there."""
    given = read_given(options["certificates"], state="present")
    jvm = find_jvm(options["java_home"])
    trust = MadeTrust(
        options["path"],
        jvm,
        given.anchors,
        directory=options["directory"],
        password_file=options["password_file"],
    )
    for sentence in given.warnings:
        module.warn(sentence)
    facts = {"path": trust.path, "cacerts": jvm.cacerts}
    finish(module, trust.changes(), make=lambda change: trust.make(), facts=lambda: facts)


def take_away(module: AnsibleModule, options: t.Mapping[str, t.Any]) -> t.NoReturn:
    """Have it gone."""
    trust = JavaTrust(options["path"], directory=options["directory"])
    finish(module, trust.removal(), make=lambda change: trust.remove(), facts=lambda: {"path": trust.path})


def main() -> None:
    """Read, decide, make, report."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        (keep if module.params["state"] == "present" else take_away)(module, module.params)
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
