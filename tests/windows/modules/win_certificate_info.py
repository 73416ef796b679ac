# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_certificate_info, as ansible.windows 3.3.0 has it: what a store holds, without a change."""

from __future__ import annotations

import base64
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from ..certificates import thumbprint
from ..machine import Machine
from ..model import Call, Model, Result


def act(call: Call, machine: Machine) -> Result:
    place = machine.store(call["store_location"], call["store_name"])
    wanted = call["thumbprint"]
    found = [each for each in machine.stores.thumbprints(*place) if wanted is None or each == str(wanted).upper()]
    rows = []
    for each in found:
        certificate = machine.stores.certificate(*place, each)
        if certificate is not None:
            rows.append(_row(certificate, has_key=machine.stores.container(*place, each) is not None))
    return {"changed": False, "exists": bool(rows), "certificates": rows}


def _row(certificate: x509.Certificate, *, has_key: bool) -> Result:
    """Return those keys of the documented result that do not hang on how Windows words an extension."""
    row: Result = {
        "thumbprint": thumbprint(certificate),
        "serial_number": "%X" % certificate.serial_number,
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "issued_to": _common_name(certificate.subject),
        "issued_by": _common_name(certificate.issuer),
        "valid_from": certificate.not_valid_before_utc.timestamp(),
        "valid_to": certificate.not_valid_after_utc.timestamp(),
        "valid_from_iso8601": certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "valid_to_iso8601": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "has_private_key": has_key,
        "raw": base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode(),
    }
    row["dns_names"] = [row["issued_to"], *_dns_names(certificate)]
    return row


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


MODEL: t.Final = Model(
    "win_certificate_info",
    source="45d49459bd5d08804fa75594193e2caa088d34b414f6e0d839012b5630eec127",
    act=act,
    shown=("thumbprint", "store_name", "store_location"),
)
