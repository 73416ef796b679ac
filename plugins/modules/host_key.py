#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the private keys of instances born on their host, and ask for their certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_key
short_description: Have private keys born on the host that uses them
version_added: 0.1.0
description:
  - Makes the private key of an identity that has C(key_at=host) on the host itself, with the host's own C(openssl), or
    its C(keytool) where only a keystore is read, and returns a certificate request. The key never leaves the host.
  - The key waits in the folder C(pending-key-<identity>) of its instance until M(connsec.tls.material) installs its
    certificate. One that waits already is asked for again, so a run that was stopped goes on with it.
  - The engine of this collection asks for a key where a certificate is due.
author: connsec.tls contributors (@connsec)
requirements:
  - C(openssl) 1.0.2 or newer on the host; or C(keytool) of Java 8 or newer for instances that read only a keystore.
attributes:
  check_mode:
    description: Says which keys would be born and makes none.
    support: full
  diff_mode:
    description: Shows whose keys are born, never a key.
    support: full
  idempotent:
    description: A key that waits for its certificate is not made again.
    support: full
options:
  directory:
    description: The host's folder for instances.
    type: path
    default: /etc/connsec
  instances:
    description: The instances of this host whose certificates are due; once for each of their identities.
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
        description: The account that the key belongs to; the account that Ansible works as if it is not given.
        type: str
      identity:
        description: Name of the identity.
        type: str
        required: true
      key_type:
        description: The planned type of its key.
        type: str
        choices: [ec-p256, ec-p384, rsa-2048, rsa-3072, rsa-4096]
        default: ec-p256
      certified:
        description: The SHA-256 of the public key that has a certificate already, for which a new one is to follow.
        type: str
        default: ""
      keystore_only:
        description: Whether nobody reads the key as PEM, so that C(keytool) does where there is no C(openssl).
        type: bool
        default: false
      names:
        description:
          - The DNS names and IP addresses that its request asks for, where others sign the certificate.
          - Without any the request only proves whose key it is.
        type: list
        elements: str
        default: []
      usages:
        description: What its request asks for the certificate to be used for.
        type: list
        elements: str
        choices: [client, server]
        default: []
      common_name:
        description: The one of O(instances[].names) that its request has as common name; none if it is empty.
        type: str
        default: ""
  token:
    description: Returned as it is.
    type: str
"""

EXAMPLES = r"""
- name: Have the key of a router born where it is used
  connsec.tls.host_key:
    instances:
      - name: router@urs1
        folder: router
        account: router
        identity: router@urs1
  register: born
"""

RETURN = r"""
keys:
  description:
    - Of each identity, the request as PEM, the SHA-256 of its public key (RV(ignore:spki_sha256)), and those of all
      keys that its instance holds (RV(ignore:held)).
  returned: always
  type: dict
  sample: {}
reasons:
  description: Why a key was born.
  returned: always
  type: dict
  sample: {"key router@urs1": "no key waits for a certificate"}
failures:
  description: Why identities have no key, by name; those of the same host that could have one have.
  returned: always
  type: dict
  sample: {}
token:
  description: What was given as O(token).
  returned: always
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._birth import KEY_KINDS
from ..module_utils._core._change import Change
from ..module_utils._core._errors import TlsError
from ..module_utils._core._material import USAGES
from ..module_utils._host._births import Birth
from ..module_utils._host._born import held_keys
from ..module_utils._host._files import locked
from ..module_utils._module import finish

INSTANCE = {
    "name": {"type": "str", "required": True},
    "folder": {"type": "str", "required": True},
    "account": {"type": "str"},
    "identity": {"type": "str", "required": True},
    "key_type": {"type": "str", "choices": list(KEY_KINDS), "default": "ec-p256", "no_log": False},
    "certified": {"type": "str", "default": ""},
    "keystore_only": {"type": "bool", "default": False, "no_log": False},
    "names": {"type": "list", "elements": "str", "default": []},
    "usages": {"type": "list", "elements": "str", "choices": list(USAGES), "default": []},
    "common_name": {"type": "str", "default": ""},
}


class Births:
    """The keys of this host's instances, planned together and made one by one."""

    def __init__(self, directory: str, rows: t.Sequence[t.Mapping[str, t.Any]], token: str | None) -> None:
        """Read and decide."""
        self._directory = directory
        self._token = token
        self._births: dict[str, tuple[str, Birth]] = {}
        self.failures: dict[str, str] = {}
        self.changes: list[Change] = []
        for row in rows:
            try:
                birth = Birth(directory, row)
                change = birth.plan()
            except TlsError as error:
                self.failures[row["identity"]] = str(error)
            else:
                self._births["key %s" % row["identity"]] = row["identity"], birth
                self.changes += [change] if change is not None else []

    def make(self, change: Change) -> None:
        """Have one key born, alone on this host; one that cannot be made does not keep the others."""
        identity, birth = self._births[change.target]
        try:
            with locked(self._directory):
                if birth.plan() is not None:
                    birth.make()
        except TlsError as error:
            self.failures[identity] = str(error)

    def result(self) -> dict[str, t.Any]:
        """Return what waits for a certificate now, and what failed."""
        keys = {}
        for identity, birth in self._births.values():
            waiting = birth.request()
            if identity not in self.failures and waiting is not None:
                about = {"spki_sha256": waiting.spki_sha256, "request": waiting.request}
                keys[identity] = {**about, "held": held_keys(birth.base)}
        found: dict[str, t.Any] = {"keys": keys, "failures": self.failures, "token": self._token}
        if self.failures:
            said = ("%s: %s" % row for row in sorted(self.failures.items()))
            found.update(failed=True, msg="; ".join(said))
        return found


def main() -> None:
    """Read, decide, make, and tell."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/connsec"},
            "instances": {"type": "list", "elements": "dict", "required": True, "options": INSTANCE},
            "token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        births = Births(options["directory"], options["instances"], options["token"])
        finish(module, births.changes, make=births.make, facts=births.result)
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
