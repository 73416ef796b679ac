#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add CA certificates to the operating system's own trust, and take them out again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: system_trust
short_description: Add CA certificates to the operating system's own trust
version_added: 0.1.0
description:
  - Adds CA certificates to those that the operating system trusts, so that every program which asks the system accepts
    what they sign - curl, package managers, most languages' libraries.
  - Of each name that is given, the system trusts exactly the certificates that are given with it. When they become
    others, as with a new root, those of before go.
  - Each lies in a file of its own, named C(connsec-<name>-<fingerprint>), where administrators of this family of
    systems keep theirs. Nothing else is ever removed.
  - After the system's own command has made its list anew, the list is read. Where it is not as wanted, the files go
    back to what they were, and the task fails.
  - Programs that run read the list when they start, or at a reload of theirs. Processes are not touched.
author: connsec.tls contributors (@connsec)
requirements:
  - Python 3.8 or newer on the host.
  - The system's command for it, which C(ca-certificates) has in every family; on AIX that of the AIX Toolbox.
attributes:
  check_mode:
    description: Tells what it would do, with the same reasons, and changes nothing.
    support: full
  diff_mode:
    description: Shows whose certificates come and go.
    support: full
  idempotent:
    description: Changes nothing where the files are as written and the list holds them.
    support: full
options:
  certificates:
    description: What is to be trusted, any number of certificates in one call.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it goes by - lower-case letters, digits, C(_) and C(-). It stands in the name of the files.
        type: str
        required: true
      pem:
        description:
          - One or several CA certificates as PEM. Anything else in it is refused, and so is a certificate of nobody who
            may sign.
          - Needed for O(state=present), and not looked at otherwise.
        type: str
  state:
    description: Whether they should be trusted. V(absent) removes all of our files that have these names.
    type: str
    choices: [present, absent]
    default: present
  store:
    description:
      - Where the system keeps its trust, for one that is of no family that is known.
      - Those of Debian, Red Hat, SUSE and Alpine are, with whatever says in C(/etc/os-release) that it is like them,
        and so are AIX and Solaris.
    type: dict
    suboptions:
      anchors:
        description: The folder with one file a certificate.
        type: path
        required: true
      ending:
        description: How the names of its files have to end.
        type: str
        default: .crt
      refresh:
        description: The command that makes the list anew, as an argument list.
        type: list
        elements: str
        required: true
      refresh_removed:
        description: The same after a file was removed. O(store.refresh) if it is not given.
        type: list
        elements: str
      bundle:
        description: The list, as PEM, that this command makes.
        type: path
        required: true
  directory:
    description: The collection's folder on the host, for its lock and the note that a refresh is due.
    type: path
    default: /etc/connsec
notes:
  - On Debian, V(update-ca-certificates --fresh) removes the links in C(/etc/ssl/certs) and makes them again, which is
    how one whose file is gone goes away. For a moment a program that looks in that folder finds nothing; the list has
    no such moment.
  - On Solaris no certificate may lie there twice, so one that another file has is refused.
seealso:
  - module: connsec.tls.java_trust
"""

EXAMPLES = r"""
- name: Have the system trust our own authority, and a partner's
  connsec.tls.system_trust:
    certificates:
      - name: connsec
        pem: "{{ issued.roots.connsec }}"
      - name: partner
        pem: "{{ lookup('ansible.builtin.file', 'partner-root.pem') }}"

- name: Have it trust the partner's no more
  connsec.tls.system_trust:
    certificates: [{name: partner}]
    state: absent

- name: The same on a system of another family
  connsec.tls.system_trust:
    certificates:
      - {name: connsec, pem: "{{ issued.roots.connsec }}"}
    store:
      anchors: /etc/ca-certificates/trust-source/anchors
      refresh: [trust, extract-compat]
      bundle: /etc/ca-certificates/extracted/tls-ca-bundle.pem
"""

RETURN = r"""
reasons:
  description: What was changed, and why.
  returned: success
  type: dict
  sample: {"anchor connsec c6a350715b6cdba4": "the system does not trust it"}
family:
  description: The family of the system; V(given) where O(store) said how it is done.
  returned: success
  type: str
  sample: debian
bundle:
  description: The list that programs read.
  returned: success
  type: str
  sample: /etc/ssl/certs/ca-certificates.crt
anchors:
  description: The SHA-256 fingerprints that were given, by name.
  returned: success
  type: dict
  sample: {"connsec": ["c6a350715b6cdba4159f3f518eb71cd79c38c845db3d39069d7c65305d2c54b0"]}
still_trusted:
  description: What the system trusts though we removed it, with the file of others that brings it.
  returned: success
  type: dict
  sample: {}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._errors import TlsError
from ..module_utils._core._system_trust import TrustStore
from ..module_utils._host._anchors import Given, read_given
from ..module_utils._host._system_trust import SystemTrust, own_store
from ..module_utils._module import finish

CERTIFICATE = {"name": {"type": "str", "required": True}, "pem": {"type": "str"}}
STORE = {
    "anchors": {"type": "path", "required": True},
    "ending": {"type": "str", "default": ".crt"},
    "refresh": {"type": "list", "elements": "str", "required": True},
    "refresh_removed": {"type": "list", "elements": "str"},
    "bundle": {"type": "path", "required": True},
}
SPEC = {
    "certificates": {"type": "list", "elements": "dict", "required": True, "options": CERTIFICATE},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "store": {"type": "dict", "options": STORE},
    "directory": {"type": "path", "default": "/etc/connsec"},
}


def store_of(given: t.Mapping[str, t.Any] | None) -> TrustStore:
    """Return where this system keeps its trust."""
    if given is None:
        return own_store()
    refresh = tuple(given["refresh"])
    if not refresh:
        raise TlsError("store.refresh is empty; give the command that makes the list anew")
    removed = tuple(given["refresh_removed"] or refresh)
    return TrustStore("given", given["anchors"], given["ending"], refresh, removed, given["bundle"])


def told(module: AnsibleModule, store: TrustStore, given: Given, trust: SystemTrust) -> dict[str, t.Any]:
    """Return what the result says beside the changes, and warn of what the user should know."""
    for sentence in given.warnings:
        module.warn(sentence)
    for row in sorted(trust.still_trusted.items()):
        module.warn("%s is still trusted, for %s has it" % row)
    anchors: dict[str, list[str]] = {name: [] for name in given.names}
    for anchor in given.anchors:
        anchors[anchor.name].append(anchor.sha256)
    return {
        "family": store.family,
        "bundle": store.bundle,
        "anchors": anchors,
        "still_trusted": trust.still_trusted,
    }


def main() -> None:
    """Read, decide, make, report."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    options = module.params
    try:
        given = read_given(options["certificates"], state=options["state"])
        store = store_of(options["store"])
        trust = SystemTrust(store, given, directory=options["directory"])
        finish(
            module,
            trust.changes,
            make=lambda change: None,  # one refresh makes all of them true
            then=trust.settle,
            facts=lambda: told(module, store, given, trust),
        )
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
