# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it means that a handshake failed; private to this collection.

Most looks see none fail, so this is apart from what looks: what is not loaded costs nothing.
"""

from __future__ import annotations

import socket
import ssl
import time
import typing as t

from ._dial import LookFailed, Outcome, failure
from ._probe import Probe
from ._tls import Entry

#: X509_V_ERR numbers of OpenSSL's verification -> class.
VERIFY_CLASSES: t.Final[t.Mapping[int, str]] = {
    2: "unknown_authority",
    9: "not_yet_valid",
    10: "expired",
    18: "unknown_authority",
    19: "unknown_authority",
    20: "unknown_authority",
    21: "unknown_authority",
    23: "revoked",
    24: "not_an_authority",
    26: "wrong_usage",
    62: "name_mismatch",
    64: "name_mismatch",
    66: "weak",
    67: "weak",
    68: "weak",
}

#: Alerts with which a server refuses the certificate that it was shown.
_CERTIFICATE_ALERTS: t.Final = frozenset(
    (
        "access_denied",
        "bad_certificate",
        "certificate_expired",
        "certificate_revoked",
        "certificate_unknown",
        "decrypt_error",
        "handshake_failure",
        "unknown_ca",
        "unsupported_certificate",
    )
)

#: Reasons of OpenSSL for a handshake that ended without an alert -> (outcome, class, the sentence's end).
_LIBRARY_REASONS: t.Final[t.Mapping[str, tuple[Outcome, str, str]]] = {
    "WRONG_VERSION_NUMBER": ("clear", "not_tls", "does not speak TLS"),
    "HTTP_REQUEST": ("clear", "not_tls", "does not speak TLS"),
    "PACKET_LENGTH_TOO_LONG": ("clear", "not_tls", "does not speak TLS"),
    "UNKNOWN_PROTOCOL": ("clear", "not_tls", "does not speak TLS"),
    "RECORD_LAYER_FAILURE": ("clear", "not_tls", "does not speak TLS"),
    "UNSUPPORTED_PROTOCOL": ("error", "old_protocol", "offers nothing newer than TLS 1.1"),
    "UNEXPECTED_EOF_WHILE_READING": ("closed", "closed_in_handshake", "closes the connection during the handshake"),
}


def verify_reason(probe: Probe, kind: str, error: ssl.SSLCertVerificationError, seen: t.Mapping[str, t.Any]) -> str:
    """Return one sentence that names what was served and why it was not accepted."""
    served = ", ".join(seen.get("names") or ()) or "no name at all"
    says = {
        "unknown_authority": "presents a certificate of %r, to which %s does not lead"
        % (seen.get("issuer") or "an unnamed authority", probe.trust),
        "name_mismatch": "presents a certificate for %s, not for %s" % (served, probe.name),
        "expired": "presents a chain that expired: its certificate is valid until %s" % _date(seen.get("not_after")),
        "not_yet_valid": "presents a chain that is not valid yet: its certificate is from %s"
        % _date(seen.get("not_before")),
    }.get(kind, "presents a certificate that is not accepted")
    return "%s %s (%s)" % (probe.place, says, error.verify_message)


def _date(seconds: t.Any) -> str:
    if not isinstance(seconds, int):
        return "an unknown time"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "second %d" % seconds


def is_about_certificates(entry: Entry) -> bool:
    """Return whether the server's alert may be about the certificate that it asked for."""
    return entry.alert == "certificate_required" or entry.alert in _CERTIFICATE_ALERTS


def handshake_failure(place: str, entry: Entry, *, presents: bool) -> LookFailed:
    """Return what it means that a handshake failed for another reason than our verification."""
    error = entry.error
    if isinstance(error, socket.timeout):
        return LookFailed("timeout", "no_answer", "%s accepts the connection and does not answer a handshake" % place)
    if entry.alert is not None:
        return _alert_failure(place, entry, presents=presents)
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLEOFError) or (isinstance(error, ssl.SSLError) and "EOF" in str(error)):
        reason = "UNEXPECTED_EOF_WHILE_READING"
    if reason in _LIBRARY_REASONS:
        outcome, kind, says = _LIBRARY_REASONS[reason]
        return LookFailed(outcome, kind, "%s %s" % (place, says))
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return failure(error, place)
    words = reason.lower().replace("_", " ") or str(error)
    return LookFailed("error", "handshake_failed", "the handshake with %s fails: %s" % (place, words))


def _alert_failure(place: str, entry: Entry, *, presents: bool) -> LookFailed:
    alert = entry.alert or ""
    asked = entry.requested is not False and is_about_certificates(entry)
    if asked and not presents:
        kind, says = "certificate_required", "demands a client certificate"
    elif asked:
        kind, says = "certificate_refused", "refuses our certificate"
    elif alert == "protocol_version":
        kind, says = "old_protocol", "accepts neither TLS 1.2 nor TLS 1.3"
    elif alert == "handshake_failure":
        kind, says = "nothing_shared", "shares no cipher, group or signature with us"
    else:
        kind, says = alert, "ends the handshake"
    return LookFailed("alert", kind, "%s %s (alert %s)" % (place, says, alert), alert=alert)
