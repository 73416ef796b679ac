#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at endpoints from this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: handshake_info
short_description: Look at endpoints from this host, in the clear or over TLS
version_added: 0.1.0
description:
  - Connects to endpoints from the host it runs on, and tells for each whether it answers in the clear, over TLS, or not
    at all; which protocol version, cipher and certificate it uses; whether that is verified for the name that was
    dialled; and why not.
  - Needs nothing but Python's standard library on the host. Many endpoints are looked at at the same time.
  - A look never fails the task. What an endpoint does is an outcome, a class and one sentence.
  - Verification uses the given trust file alone, never the system's, and compares names with subjectAltName alone.
author: connsec.tls contributors (@connsec)
requirements:
  - Python 3.8 or newer on the host.
attributes:
  check_mode:
    description: Looks in check mode as otherwise, for it changes nothing.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
options:
  endpoints:
    description: The endpoints to look at.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: Name of the result. It is the address and the port if nothing else is said.
        type: str
      address:
        description: IP address or name to connect to.
        type: str
        required: true
      port:
        description: Port to connect to.
        type: int
        required: true
      name:
        description: The name that the certificate has to hold. It is O(endpoints[].address) if nothing else is said.
        type: str
      tls:
        description: Whether to look for TLS. If V(false), looks for an answer in the clear.
        type: bool
        default: true
      protocol:
        description:
          - How TLS begins. With V(tls) at the first byte; the others negotiate it on a port that also has plaintext.
        type: str
        choices: [tls, galera, ldap, mysql, postgresql, smtp]
        default: tls
      source:
        description: Local address to connect from.
        type: str
      trust:
        description: Path of a file on the host with the CA certificates to verify against, in PEM.
        type: path
      certificate:
        description: Path of a file on the host with the certificate to present, and its chain, in PEM.
        type: path
      key:
        description: Path of a file on the host with the private key of O(endpoints[].certificate), in PEM.
        type: path
      timeout:
        description: Seconds after which the look ends, whatever it is waiting for.
        type: float
        default: 5.0
      patience:
        description:
          - Seconds after which a listener that stays silent is held to be one that answers in the clear.
          - Give a slow TLS server more.
        type: float
        default: 0.3
      ciphers:
        description: List of ciphers for TLS 1.2, in OpenSSL's notation.
        type: str
      old_protocols:
        description: Whether to ask for versions before TLS 1.2, too.
        type: bool
        default: false
      demand:
        description: Whether to find out if a client without a certificate is refused.
        type: bool
        default: false
      user:
        description: As whom to introduce oneself in the clear, where O(endpoints[].protocol) begins with that.
        type: str
        default: postgres
      database:
        description: For which database to introduce oneself in the clear, where O(endpoints[].protocol) asks for that.
        type: str
        default: postgres
seealso:
  - module: connsec.tls.socket_info
  - module: connsec.tls.observe
"""

EXAMPLES = r"""
- name: See from the client what it dials
  connsec.tls.handshake_info:
    endpoints:
      - id: database
        address: db1.example.net
        port: 5432
        protocol: postgresql
        trust: /etc/connsec/router/current/trust.pem
        demand: true
  register: seen

- name: Stop unless it is verified
  ansible.builtin.assert:
    that: seen.endpoints.database.verified
    fail_msg: "{{ seen.endpoints.database.reason }}"
"""

RETURN = r"""
endpoints:
  description: What each endpoint did, by its O(endpoints[].id).
  returned: success
  type: dict
  contains:
    outcome:
      description:
        - V(tls), V(clear), V(refused), V(timeout), V(unreachable), V(reset), V(closed), V(alert) or V(error).
      type: str
    verified:
      description: Whether the certificate was accepted. V(null) where nothing was to be verified.
      type: bool
    security:
      description: V(clear), V(tls_unverified), V(verified) or V(mutual). V(null) where nothing was agreed on.
      type: str
    class:
      description:
        - What is wrong, as one word such as V(unknown_authority), V(name_mismatch), V(expired) or
          V(certificate_required). V(null) where nothing is wrong.
      type: str
    reason:
      description: What was seen, in one sentence.
      type: str
    protocol:
      description: The protocol version agreed on.
      type: str
    cipher:
      description: The cipher suite agreed on.
      type: str
    requested:
      description: Whether the server asked for a client certificate. V(unknown) where Python cannot tell.
      type: raw
    names:
      description: The DNS names and IP addresses in the certificate.
      type: list
      elements: str
    not_before:
      description: From when on the certificate is valid, in seconds since 1970.
      type: int
    not_after:
      description: Until when the certificate is valid, in seconds since 1970.
      type: int
    serial:
      description: Serial number of the certificate, in hexadecimal digits.
      type: str
    sha256:
      description: Fingerprint of the certificate.
      type: str
    issuer:
      description: Common name, else organization, of the certificate's issuer.
      type: str
    subject:
      description: Common name, else organization, of the certificate's subject.
      type: str
    chain:
      description: The certificates that were served, the server's first. V(unknown) where Python cannot tell.
      type: raw
    demanded:
      description: Whether a client without a certificate is refused. V(unknown) where that could not be found out.
      returned: with O(endpoints[].demand)
      type: raw
    old_protocols:
      description: For each version before TLS 1.2, V(accepted), V(refused) or V(unknown).
      returned: with O(endpoints[].old_protocols)
      type: dict
    alert:
      description: Name of the TLS alert that the server sent.
      returned: where it sent one that ended the handshake
      type: str
    address:
      description: The address that was reached. None if none was.
      type: str
    source_ports:
      description: The local ports of all connections that were made.
      type: list
      elements: int
    seconds:
      description: How long the look took.
      type: float
  sample:
    database: {outcome: tls, verified: true, security: verified, protocol: TLSv1.3}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._errors import TlsError
from ..module_utils._host._handshake import look
from ..module_utils._host._probe import parse_probe

ENDPOINT = {
    "id": {"type": "str"},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "name": {"type": "str"},
    "tls": {"type": "bool", "default": True},
    "protocol": {"type": "str", "default": "tls", "choices": ["tls", "galera", "ldap", "mysql", "postgresql", "smtp"]},
    "source": {"type": "str"},
    "trust": {"type": "path"},
    "certificate": {"type": "path"},
    "key": {"type": "path", "no_log": False},
    "timeout": {"type": "float", "default": 5.0},
    "patience": {"type": "float", "default": 0.3},
    "ciphers": {"type": "str"},
    "old_protocols": {"type": "bool", "default": False},
    "demand": {"type": "bool", "default": False},
    "user": {"type": "str", "default": "postgres"},
    "database": {"type": "str", "default": "postgres"},
}


def main() -> None:
    """Look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "endpoints": {"type": "list", "elements": "dict", "required": True, "no_log": False, "options": ENDPOINT}
        },
        supports_check_mode=True,
    )
    try:
        seen = look([parse_probe(endpoint) for endpoint in module.params["endpoints"]])
    except TlsError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, endpoints=seen)


if __name__ == "__main__":
    main()
