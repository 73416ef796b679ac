# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of win_handshake_info.ps1."""

from __future__ import annotations

DOCUMENTATION = r"""
module: win_handshake_info
short_description: Look at endpoints from a Windows host, in the clear or over TLS
version_added: 0.1.0
description:
  - Connects to endpoints from the host it runs on, and tells for each whether it answers in the clear, over TLS, or not
    at all; which protocol version, cipher and certificate it uses; whether that is verified for the name that was
    dialled; and why not.
  - It sees what the programs of that host see, for it uses their TLS, SslStream of .NET on Windows' SChannel. What
    Windows' policy forbids is not offered.
  - Options and results are those of M(connsec.tls.handshake_info). An option that SslStream cannot follow is refused
    with one sentence.
  - Endpoints are looked at one after the other.
  - A look never fails the task. What an endpoint does is an outcome, a class and one sentence.
  - Verification uses the given CAs alone, and compares names with subjectAltName alone. Windows builds the chain, and
    it has to come to a root that is among them. Where authorities signed each other crosswise, Windows may take
    another way than was served, to a root that is not.
  - Whether a certificate is revoked is not asked.
author: connsec.tls contributors (@connsec)
requirements:
  - Windows PowerShell 5.1 with .NET Framework 4.7.2 or newer on the host.
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
          - V(galera) and V(mysql) are refused. In the clear none of them is spoken, but empty lines.
        type: str
        choices: [tls, galera, ldap, mysql, postgresql, smtp]
        default: tls
      source:
        description: Local address to connect from.
        type: str
      trust:
        description: Path of a file on the host with the CA certificates to verify against, in PEM.
        type: path
      machine_trust:
        description:
          - Verify against the roots of the machine, the store C(LocalMachine\Root), in place of O(endpoints[].trust).
        type: bool
        default: false
      thumbprint:
        description: Thumbprint of the certificate to present. It lies in C(LocalMachine\My) with its key.
        type: str
      certificate:
        description: Refused, for Windows presents certificates out of a store. Use O(endpoints[].thumbprint).
        type: path
      key:
        description: Refused, as O(endpoints[].certificate) is.
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
        description: Refused, for Windows' policy decides on ciphers.
        type: str
      old_protocols:
        description: If V(true), refused, for SslStream offers old versions only where Windows' policy does.
        type: bool
        default: false
      demand:
        description: Whether to find out if a client without a certificate is refused.
        type: bool
        default: false
      user:
        description: Of no use here; it is taken so that the same endpoints can be given to both modules.
        type: str
        default: postgres
      database:
        description: Of no use here; it is taken so that the same endpoints can be given to both modules.
        type: str
        default: postgres
seealso:
  - module: connsec.tls.handshake_info
"""

EXAMPLES = r"""
- name: See from the Windows client what it dials
  connsec.tls.win_handshake_info:
    endpoints:
      - id: database
        address: db1.example.net
        port: 5432
        protocol: postgresql
        trust: C:\ProgramData\connsec\router\current\trust.pem
        thumbprint: "{{ tls_thumbprints.router[''] }}"
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
      description: Cipher and hash agreed on, as .NET names them.
      type: str
    requested:
      description: Whether the server asked for a client certificate.
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
      description: Common name of the certificate's issuer, or what Windows shows where it has none.
      type: str
    subject:
      description: Common name of the certificate's subject, or what Windows shows where it has none.
      type: str
    chain:
      description: The certificates that were served, the server's first. V(unknown) where none came.
      type: raw
    demanded:
      description: Whether a client without a certificate is refused. V(unknown) where that could not be found out.
      returned: with O(endpoints[].demand)
      type: raw
    old_protocols:
      description: Not returned, for O(endpoints[].old_protocols) is refused.
      returned: never
      type: dict
    alert:
      description: Name of the TLS alert that the server sent.
      returned: where it sent one in answer to the first message
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
