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
    Where only modes or owners differ, they are put right in place.
  - Processes are not touched.
  - Keys come from the store on the controller. They travel inside the connection only, and therefore it needs
    pipelining. A key that was born on the host (M(connsec.tls.host_key)) is already there, and is taken from where it
    waits. C(docs/hosts.md) says what lies on a host, and how to go back by hand.
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
    description: The host's folder for instances. On Windows the default stands for C(C:\ProgramData\connsec).
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
        description:
          - Name of the identity in the store whose files lie at the top of a generation; not given for an instance
            that only verifies.
        type: str
      identities:
        description: Names of further identities; the files of each lie in a folder of its name.
        type: list
        elements: str
        default: []
      trust:
        description: The authorities that it trusts.
        type: list
        elements: str
        default: []
      formats:
        description:
          - What it reads. V(java) is a truststore that Java reads, V(pkcs12) a keystore, V(combined) one PEM file of
            certificate, chain and key, V(crl) the revocation lists of the authorities that it trusts.
          - V(store), on Windows alone, is the machine's certificate stores. The certificate goes into C(My) with a key
            that cannot be exported, the chain into C(CA), and the roots into C(Root).
        type: list
        elements: str
        choices: [pem, combined, pkcs12, java, crl, store]
        default: [pem]
      files:
        description: Set by the action plugin, the files of the generation.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the file; that of a further identity stands behind the name of its folder.
            type: str
            required: true
          content:
            description: Its content in base64; empty in check mode, where no key leaves the store.
            type: str
            required: true
          secret:
            description: Whether only the account may read it.
            type: bool
            default: false
      inputs:
        description: Set by the action plugin, digests of what went in.
        type: dict
        default: {}
      public:
        description: Set by the action plugin, what is public about the identities, by folder.
        type: dict
        default: {}
      born:
        description: Set by the action plugin, which keys of this host belong to the certificates, by folder.
        type: dict
        default: {}
      trusted:
        description: Set by the action plugin, fingerprints of the roots that are trusted now, for O(state=previous).
        type: list
        elements: str
      environment:
        description: Where its environment is set, as M(connsec.tls.tls_environment) takes it; kept for its removal.
        type: dict
      roots:
        description: Set by the action plugin, fingerprints of the roots that are in the store, for O(state=previous).
        type: list
        elements: str
      revoked:
        description:
          - Set by the action plugin, serial numbers and fingerprints of certificates that are revoked, for
            O(state=previous).
        type: list
        elements: str
  state:
    description:
      - V(present) installs what is wanted.
      - V(previous) goes back to the generation before, with one rename. It is refused if that one has expired, is
        revoked, was issued by an authority that is gone, trusts one that is not trusted any more, or is not complete.
        A second call goes no further back.
      - V(absent) removes all that lies in the folders of these instances, and the lines that give their processes an
        environment. It is refused while a process uses them, or a configuration that we edited names them.
      - Instances that could go back have, where others could not.
    type: str
    choices: [present, previous, absent]
    default: present
  trust_files:
    description: The files on the controller with the CA lists of authorities that are not ours, by authority.
    type: dict
  store:
    description:
      - The folders C(authorities), C(identities) and C(ledger) of the store on the controller.
      - Those that the variables C(tls_store) and its siblings name if it is not given, as for M(connsec.tls.pki).
    type: dict
  look:
    description: A request of M(connsec.tls.observe) that is answered afterwards, in the same round trip.
    type: dict
notes:
  - The passphrase comes from the variable C(tls_identities_passphrase), else from C(tls_store_passphrase).
  - On Windows hosts M(connsec.tls.win_material) is called, once to look and once more where something is due. The
    variable C(tls_windows_pfx) says in which form a PFX is made, V(aes256) or V(3des). C(docs/windows.md) has the rest.
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
failures:
  description: Why instances have not got what was asked for, by name; those of the same host that could have it have.
  returned: always
  type: dict
  sample: {}
thumbprints:
  description:
    - By folder of an instance, the thumbprints of its certificates, by the folder of each identity. That of the default
      identity has no folder. The fact C(tls_thumbprints) of the host holds the same.
  returned: on Windows
  type: dict
  sample: {"router": {"": "3E2F0C5D9A41B7E8C6D5F4A3B2C1D0E9F8A7B6C5"}}
observation:
  description: What M(connsec.tls.observe) returns.
  returned: when O(look) is given
  type: dict
"""

import base64
import binascii
import contextlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._change import Change
from ..module_utils._core._errors import TlsError
from ..module_utils._host._files import locked
from ..module_utils._host._generations import File, Material
from ..module_utils._module import finish

if t.TYPE_CHECKING:
    from ..module_utils._host._removal import Removal

FILE = {
    "name": {"type": "str", "required": True},
    "content": {"type": "str", "required": True, "no_log": True},
    "secret": {"type": "bool", "default": False, "no_log": False},
}
INSTANCE = {
    "name": {"type": "str", "required": True},
    "folder": {"type": "str", "required": True},
    "account": {"type": "str"},
    "identity": {"type": "str"},
    "identities": {"type": "list", "elements": "str", "default": []},
    "trust": {"type": "list", "elements": "str", "default": []},
    "formats": {
        "type": "list",
        "elements": "str",
        "choices": ["pem", "combined", "pkcs12", "java", "crl", "store"],
        "default": ["pem"],
    },
    "files": {"type": "list", "elements": "dict", "options": FILE, "default": []},
    "inputs": {"type": "dict", "default": {}},
    "public": {"type": "dict", "default": {}},
    "born": {"type": "dict", "default": {}},
    "trusted": {"type": "list", "elements": "str"},
    "environment": {"type": "dict"},
    "roots": {"type": "list", "elements": "str"},
    "revoked": {"type": "list", "elements": "str"},
}


class Instances:
    """The instances of this host, planned together and installed one by one."""

    def __init__(self, directory: str, rows: t.Sequence[t.Mapping[str, t.Any]], *, state: str) -> None:
        """Read and decide.

        Raises:
            TlsError: an instance, or its folder, is given twice.
        """
        self._directory = directory
        self._state = state
        self.failures: dict[str, str] = {}
        what = "removal" if state == "absent" else "material"
        self._rows = {"%s %s" % (what, row["name"]): row for row in rows}
        if len(self._rows) < len(rows) or len({row["folder"] for row in rows}) < len(rows):
            raise TlsError("an instance, or its folder, is given twice; give each instance once")
        self._places: dict[str, Material | Removal] = {}
        self.changes: list[Change] = []
        for target, row in self._rows.items():
            try:
                self._places[target] = self._place(directory, row)
                change = self._due(target)
            except TlsError as error:
                self.failures[row["name"]] = str(error)
            else:
                self.changes += [change] if change is not None else []

    def _place(self, directory: str, row: t.Mapping[str, t.Any]) -> Material | Removal:
        if self._state != "absent":
            return Material(directory, row)
        from ..module_utils._host._removal import Removal

        return Removal(directory, row)

    def _due(self, target: str) -> Change | None:
        place = self._places[target]
        return place.plan_back() if self._state == "previous" and isinstance(place, Material) else place.plan()

    def make(self, change: Change) -> None:
        """Carry one instance's change out, alone on this host; one that cannot be had does not keep the others."""
        row = self._rows[change.target]
        try:
            with locked(self._directory):
                if self._due(change.target) is None:
                    return  # somebody was faster
                place = self._places[change.target]
                if not isinstance(place, Material):
                    place.make()
                elif self._state == "previous":
                    place.go_back()
                else:
                    place.make([self._file(file) for file in row["files"]])
        except TlsError as error:
            self.failures[row["name"]] = str(error)

    def _file(self, file: t.Mapping[str, t.Any]) -> File:
        try:
            return File(file["name"], base64.b64decode(file["content"], validate=True), secret=file["secret"])
        except binascii.Error:
            raise TlsError("the content of %s is not base64" % file["name"]) from None

    def result(self, look: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
        """Return what is installed now, what failed, and what the host shows if that was asked for."""
        numbers = {}
        for place in self._places.values():
            with contextlib.suppress(TlsError):  # what is wrong there has failed already
                numbers[place.name] = place.generation
        found: dict[str, t.Any] = {"generations": numbers, "failures": self.failures}
        if self.failures:
            said = ("%s: %s" % row for row in sorted(self.failures.items()))
            found.update(failed=True, msg="; ".join(said))
        if look:
            from ..module_utils._host._observe import observe

            found["observation"] = observe(look)
        return found


def main() -> None:
    """Read, decide, install, look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/connsec"},
            "instances": {"type": "list", "elements": "dict", "required": True, "options": INSTANCE},
            "state": {"type": "str", "choices": ["present", "previous", "absent"], "default": "present"},
            "store": {"type": "dict"},
            "trust_files": {"type": "dict"},
            "look": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        instances = Instances(options["directory"], options["instances"], state=options["state"])
        finish(module, instances.changes, make=instances.make, facts=lambda: instances.result(options["look"]))
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
