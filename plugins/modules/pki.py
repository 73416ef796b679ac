#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin connsec.tls.pki."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pki
short_description: Issue authorities, certificates and revocation lists in one batch on the controller
version_added: 0.1.0
author:
  - connsec.tls contributors (@connsec)
description:
  - Looks at the store on the controller, decides which authorities, identities and revocation lists are missing, due
    for renewal or different from what is wanted, and makes all of them in one transaction, each with its reason.
  - An identity is issued anew, with a new key, when two thirds of its life have passed (and up to a fiftieth of its
    life later, always the same for one name), when its names, usages, key type, authority or common name change, and
    when a shorter life is planned than it has.
  - Private keys are encrypted at rest and never returned. The passphrase is a variable, not an option, so that it can
    come from Ansible Vault and never stands in a task - V(tls_store_passphrase), or one each in
    V(tls_authorities_passphrase) and V(tls_identities_passphrase). Where nothing has to be signed, none is needed; and
    without that of the authorities, what an existing one would sign is postponed.
  - The intent of every certificate is in the store's journal before the first signature, so that a run that is killed
    at any moment leaves a store in which every file is complete, and the next run says what was not finished.
  - It is refused while another run holds the store. In check mode it is not.
  - It runs on the controller and needs no connection; use it with C(run_once).
requirements:
  - cryptography >= 46.0.7 on the controller
options:
  authorities:
    description:
      - The authorities that are wanted, each a root and an issuing authority below it.
      - Without any, and without O(trust_files), there is one of the name V(connsec).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the authority - lower-case letters, digits, C(.), C(_) and C(-).
        type: str
        required: true
      organization:
        description: The organization in the names of its certificates; left out where it is empty.
        type: str
        default: ''
      root_days:
        description: Life of the root, in days.
        type: int
        default: 3652
      issuing_days:
        description:
          - Life of the issuing authority, in days.
          - A new one is made after three years, or after two thirds of a shorter life.
        type: int
        default: 1826
      key_type:
        description: Type of both keys. RSA is for fleets with receivers that know nothing else.
        type: str
        choices: [ec-p384, rsa-4096]
        default: ec-p384
  identities:
    description: The identities that are wanted, each a key and a certificate chain.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the identity - C(component@host) for that of an instance, or a word.
        type: str
        required: true
      authority:
        description: The authority that issues it. Without one, the only one of O(authorities).
        type: str
      names:
        description:
          - Every DNS name and IP address that it is dialled by; they become its subjectAltName.
          - International names become A-labels.
        type: list
        elements: str
        required: true
      usages:
        description: What it presents the certificate as.
        type: list
        elements: str
        choices: [client, server]
        default: [client, server]
      key_type:
        description: Type of its key.
        type: str
        choices: [ec-p256, ec-p384, rsa-2048, rsa-3072, rsa-4096]
        default: ec-p256
      days:
        description: Life of the certificate, in days; at most 199 without O(identities[].days_reason).
        type: int
        default: 90
      days_reason:
        description: Why the certificate may live longer than 199 days.
        type: str
        default: ''
      formats:
        description:
          - What its readers read; V(store) is the certificate stores of Windows. It is not a reason to issue, because
            every format is made from the same key and certificate when a host is given them.
        type: list
        elements: str
        choices: [combined, crl, java, pem, pkcs12, store]
        default: [pem]
      issuer:
        description:
          - Who signs it - an authority of ours, or others who are asked to.
          - A request for V(requested) goes to the folder of requests; its answer is taken from there when it equals
            what is wanted. C(docs/pki.md) says more.
        type: str
        choices: [own, requested]
        default: own
      common_name:
        description: Whether an old reader needs one of the names, of at most 64 characters, as common name too.
        type: bool
        default: false
      key_at:
        description:
          - Where its key is made and stays. For V(host) the certificate is made of a request that the host sends
            (O(requests)), and the store never has the key.
        type: str
        choices: [controller, host]
        default: controller
  held:
    description:
      - By identity with O(identities[].key_at=host), the SHA-256 of the public keys that its host has, where somebody
        looked. A certificate, or an open request, whose key is not among them is followed by another.
    type: dict
    default: {}
  requests:
    description:
      - By identity with O(identities[].key_at=host), what M(connsec.tls.host_key) returned of it in C(keys), or a
        certificate request as PEM.
      - Only the key is taken from a request, and only if it is signed with that key. Names and usages are those of
        O(identities); a request that goes on to others has to ask for exactly these. Without a request a certificate is
        postponed; one that is refused is told of in RV(refused).
    type: dict
    default: {}
  generations_seen:
    description:
      - The hosts that were seen to hold generations of ours. With any, an empty store is refused instead of filled - it
        was lost, and new authorities would not be trusted by anybody.
      - A root that the store once held is never made anew, with or without this.
    type: list
    elements: str
    default: []
  revoke:
    description:
      - Certificates that are to stand on their issuer's list until they end.
      - One that no authority of the store has issued, or an authority that O(authorities) does not name, is refused.
      - A rollout fills it with what it removes from hosts, where V(tls_revoke_removed) is true.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the identity, for the reason.
        type: str
        required: true
      serial:
        description: Serial number of the certificate, as the result of this task and a host's manifest have it.
        type: str
        required: true
      issuer:
        description: SHA-256 fingerprint of the certificate that issued it.
        type: str
        required: true
      not_after:
        description: When it ends, in seconds since 1970.
        type: int
        required: true
  store:
    description: Where the store lies; each folder comes from its variable if it is not given.
    type: dict
    default: {}
    suboptions:
      path:
        description:
          - The folder that holds the other three. The variable is V(tls_store); the default lies beside the inventory's
            folder and has its name with C(-store) after it.
        type: path
      authorities:
        description: The folder of the authorities; the variable is V(tls_store_authorities).
        type: path
      identities:
        description: The folder of the identities; the variable is V(tls_store_identities).
        type: path
      ledger:
        description: The folder of the ledger; the variable is V(tls_store_ledger).
        type: path
      requests:
        description: The folder of requests for others to sign; the variable is V(tls_store_requests).
        type: path
  trust_files:
    description:
      - The files on the controller with the CA lists of authorities that are not ours, by authority.
      - What they sign is wanted with O(identities[].issuer=requested).
    type: dict
    default: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what it would do without making so much as a lock file.
    support: full
  diff_mode:
    description: Shows what changes, without serial numbers and secrets.
    support: full
  idempotent:
    description: A second run changes nothing until something is due.
    support: full
"""

EXAMPLES = r"""
- name: Issue one certificate in a play of your own
  connsec.tls.pki:
    identities:
      - name: web@{{ inventory_hostname }}
        names: ["{{ inventory_hostname }}", "192.0.2.10"]
        usages: [server]
  vars:
    tls_store: "{{ playbook_dir }}/../web-store"
    tls_store_passphrase: "{{ vault_web_store_passphrase }}"
  run_once: true
  register: issued

- name: Issue with an authority of your own making for receivers that know RSA only
  connsec.tls.pki:
    authorities:
      - name: legacy
        organization: Example
        key_type: rsa-4096
    identities:
      - name: gateway@gw1
        names: [gw1.example.net]
        key_type: rsa-3072
        common_name: true
  run_once: true
"""

RETURN = r"""
reasons:
  description: What was done, or would be in check mode, and why.
  type: dict
  returned: success
  sample:
    authority connsec root: no certificate yet
    identity confserv@cfg1: 'names differ: +10.0.0.7'
postponed:
  description:
    - What is due and waits for a run that has the passphrase of the authorities, and why it is due. What cannot be used
      as wanted meanwhile is in RV(awaited), too.
    - So are certificates of keys that are born on hosts which have sent no request.
  type: dict
  returned: success
  sample: {}
identities:
  description:
    - What is public about each wanted identity that has a certificate. Times are seconds since 1970.
    - C(chain_not_after) is the first end of its certificate, its issuer's and the root's.
  type: dict
  returned: success
  sample:
    confserv@cfg1:
      name: confserv@cfg1
      authority: connsec
      names: [10.0.0.7, cfg1.example.net]
      usages: [client, server]
      key_type: ec-p256
      common_name: ''
      serial: 4bbcd26321f8179812fb4c69ec4f8c76f073f4f6
      issuer: CN=connsec issuing 1 7f7d43
      not_before: 1795504602
      not_after: 1803280601
      sha256: c8c4768d439c8ba4675566ae51e2ba40daae24c294c78a00710d902dacbeb1ef
      spki_sha256: 825a06cdfcc97d7ee0da0cb92ef274c503ebe73058d58c436704e553aab6cd75
      key_at: controller
      chain_not_after: 1803280601
      chain_sha256: [c6a350715b6cdba4159f3f518eb71cd79c38c845db3d39069d7c65305d2c54b0]
refused:
  description: By identity, why its certificate request was refused.
  type: dict
  returned: success
  sample: {}
not_issued:
  description: The wanted identities that have no certificate; in check mode, those that would get their first one.
  type: list
  elements: str
  returned: success
  sample: []
awaited:
  description: The identities that wait for others to sign - what for and since when, and who must do what.
  type: dict
  returned: success
  sample: {}
authorities:
  description: What is public about each authority of the store - its root, and its issuing authorities.
  type: dict
  returned: success
trust:
  description: The SHA-256 fingerprints of each authority's roots.
  type: dict
  returned: success
roots:
  description: Each authority's roots as PEM, to hand to receivers.
  type: dict
  returned: success
issuing:
  description: Each authority's issuing authorities as PEM, from the oldest to the newest.
  type: dict
  returned: success
crls:
  description: The revocation lists of each authority's root and issuing authorities as PEM, to publish somewhere.
  type: dict
  returned: success
unfinished:
  description: What a run that was killed had announced in the journal and never published, one sentence each.
  type: list
  elements: str
  returned: success
  sample: []
"""
