# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS contexts for looking, and what one handshake shows; private to this collection.

A look trusts the given trust file and nothing else: never the system's store. It notes the handshake's messages as
OpenSSL hands them out, and so knows the chain that was served and whether a client certificate was asked for, also
when the handshake failed.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import tempfile
import threading
import typing as t
from dataclasses import dataclass, field

from ._dial import Deadline, LookFailed

#: Handshake messages (RFC 8446, 4) that a look notes.
_NEW_SESSION_TICKET: t.Final = 4
_CERTIFICATE: t.Final = 11
_CERTIFICATE_REQUEST: t.Final = 13
_ALERT_RECORD: t.Final = 21
_HANDSHAKE_RECORD: t.Final = 22

#: RFC 8446, 6: the alerts that a failed handshake ends with.
ALERTS: t.Final[t.Mapping[int, str]] = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 40: "handshake_failure", 42: "bad_certificate",
    43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
    70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback",
    90: "user_canceled", 109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 115: "unknown_psk_identity", 116: "certificate_required",
    120: "no_application_protocol",
}  # fmt: skip

#: A server that refuses a TLS 1.3 client's certificate says so after the client has finished: wait this long for it.
_SETTLE_SECONDS: t.Final = 0.3

#: X509_V_FLAG_PARTIAL_CHAIN of OpenSSL, which Python names from 3.10 on.
_PARTIAL_CHAIN: t.Final = 0x80000

Maximum = t.Literal["TLSv1.2", "TLSv1.3"]


@dataclass(frozen=True)
class Stance:
    """How a look takes part in a handshake.

    Attributes:
        trust: file of the CA certificates that it accepts; None to accept anything.
        pinned: whether any certificate of that file may end a chain, and not only a self-signed one.
        certificate: file of the certificate that it presents if asked, with its chain; None to present none.
        key: file of the certificate's private key; None if it lies in the same file.
        ciphers: OpenSSL's list of ciphers for TLS 1.2; None for OpenSSL's default.
        minimum, maximum: lowest and highest protocol version to offer.
    """

    trust: str | None = None
    pinned: bool = False
    certificate: str | None = None
    key: str | None = None
    ciphers: str | None = None
    minimum: str = "TLSv1.2"
    maximum: str = "TLSv1.3"


@dataclass
class Entry:
    """What one handshake showed. All of it may be missing, for handshakes end anywhere.

    Attributes:
        error: why it failed; None if it was completed, and nothing objected afterwards.
        protocol: the version agreed on.
        cipher: the suite agreed on.
        requested: whether the server asked for a certificate; None where this Python cannot tell.
        alert: the alert that the server sent.
        served: the chain that the server sent, as DER; None where this Python cannot tell.
        leaf: the server's certificate, as DER.
    """

    error: Exception | None = None
    protocol: str | None = None
    cipher: str | None = None
    requested: bool | None = None
    alert: str | None = None
    served: tuple[bytes, ...] | None = None
    leaf: bytes | None = None


@dataclass
class _Notes:
    """The messages of one handshake, as they come in."""

    seen: set[int] = field(default_factory=set)
    certificate: bytes = b""
    alert: int | None = None


class Contexts:
    """The TLS contexts of a batch of looks: one for each stance, made when first asked for."""

    def __init__(self) -> None:
        self._made: dict[Stance, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def of(self, stance: Stance) -> ssl.SSLContext:
        """Return the context of a stance.

        Raises:
            LookFailed: a file of it cannot be used.
        """
        with self._lock:
            if stance not in self._made:
                self._made[stance] = make_context(stance)
            return self._made[stance]


def make_context(stance: Stance) -> ssl.SSLContext:
    """Return a context that verifies against the stance's trust alone, by subjectAltName.

    Raises:
        LookFailed: a file of the stance cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if stance.minimum == "TLSv1.3" else ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if stance.maximum == "TLSv1.2" else ssl.TLSVersion.TLSv1_3
    context.hostname_checks_common_name = False
    if stance.trust is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _load("trust_unreadable", "the CA list %s" % stance.trust, lambda: context.load_verify_locations(stance.trust))
        if stance.pinned:
            context.verify_flags |= _PARTIAL_CHAIN
    if stance.certificate is not None:
        certificate = stance.certificate
        what = "the certificate %s with the key %s" % (certificate, stance.key or certificate)
        # Without a password callback OpenSSL would ask on the terminal for an encrypted key's.
        _load("identity_unreadable", what, lambda: context.load_cert_chain(certificate, stance.key, lambda: ""))
    if stance.ciphers is not None:
        ciphers = stance.ciphers
        _load("bad_ciphers", "the list of ciphers %r" % ciphers, lambda: context.set_ciphers(ciphers))
    if can_note(context):
        context._msg_callback = _note  # type: ignore[attr-defined]
    return context


def can_note(context: ssl.SSLContext) -> bool:
    """Return whether this Python hands out the messages of a handshake; CPython does, from 3.8 on."""
    return hasattr(context, "_msg_callback")


def _load(kind: str, what: str, load: t.Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        says = getattr(error, "strerror", None) or error
        reason = getattr(error, "reason", None)
        raise LookFailed("error", kind, "%s cannot be used: %s" % (what, _words(reason) if reason else says)) from error


def _note(conn: ssl.SSLSocket, direction: str, version: int, content_type: int, message: int, data: bytes) -> None:
    """Note what the other end sent; OpenSSL calls this for each message."""
    if direction != "read":
        return
    notes = conn.__dict__.setdefault("_connsec_notes", _Notes())
    if content_type == _ALERT_RECORD:
        notes.alert = int(message)
    elif content_type == _HANDSHAKE_RECORD:
        notes.seen.add(int(message))
        if message == _CERTIFICATE and not notes.certificate:
            notes.certificate = bytes(data)


def shake_hands(
    context: ssl.SSLContext, sock: socket.socket, deadline: Deadline, *, name: str
) -> tuple[Entry, ssl.SSLSocket | None]:
    """Do one handshake over a connected socket; return what it showed, and the TLS socket for saying goodbye.

    Args:
        context: from :class:`Contexts`.
        sock: connected, and ready for a ClientHello. It belongs to the returned socket, or is closed.
        deadline: when to give up.
        name: the name to verify, and to ask the server for.
    """
    try:
        secure = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    except (ValueError, OSError) as error:  # UnicodeError is a ValueError
        sock.close()
        if isinstance(error, ValueError):
            raise LookFailed("error", "bad_name", "%r is no name that a certificate can hold" % name) from error
        return Entry(error=error), None
    failed: Exception | None = None
    try:
        deadline.arm(secure)
        secure.do_handshake()
        _settle(secure, deadline)
    except (OSError, ValueError) as error:
        failed = error
    return _entry(secure, failed), secure


def _settle(secure: ssl.SSLSocket, deadline: Deadline) -> None:
    """Wait until a TLS 1.3 server that asked for a certificate has accepted what it got, or has objected.

    A ticket for a new session shows acceptance. Servers that send none are given a moment to object, and so are all
    where this Python cannot tell whether they asked.
    """
    notes = secure.__dict__.get("_connsec_notes")
    asked = notes is None or _CERTIFICATE_REQUEST in notes.seen
    if secure.version() != "TLSv1.3" or not asked:
        return
    moment = Deadline(min(_SETTLE_SECONDS, deadline.left()))
    secure.setblocking(False)
    poll = select.poll()
    poll.register(secure, select.POLLIN)
    while True:
        try:
            secure.recv(1)
            return
        except ssl.SSLWantReadError:
            if moment.passed() or (notes is not None and _NEW_SESSION_TICKET in notes.seen):
                return
            poll.poll(moment.left() * 1000)


def _entry(secure: ssl.SSLSocket, error: Exception | None) -> Entry:
    notes: _Notes | None = secure.__dict__.get("_connsec_notes")
    cipher = secure.cipher()
    entry = Entry(error=error, protocol=secure.version(), cipher=cipher[0] if cipher else None)
    if error is None or entry.protocol is not None:
        with contextlib.suppress(ValueError):  # the handshake was not completed
            entry.leaf = secure.getpeercert(True)
    if notes is not None:
        entry.requested = _CERTIFICATE_REQUEST in notes.seen
        entry.alert = None if not notes.alert else ALERTS.get(notes.alert, "alert %d" % notes.alert)
        entry.served = _chain(notes.certificate)
        if entry.served:
            entry.leaf = entry.served[0]
    elif hasattr(secure, "get_unverified_chain") and error is None:
        entry.served = tuple(secure.get_unverified_chain())
    if entry.alert is None and error is not None:
        found = re.match(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)", getattr(error, "reason", None) or "")
        entry.alert = found.group(1).lower() if found else None
    return entry


def _chain(message: bytes) -> tuple[bytes, ...] | None:
    """Return the certificates of a Certificate message: RFC 5246, 7.4.2, or RFC 8446, 4.4.2, which adds extensions."""
    if len(message) < 8:
        return None
    newer = message[4] == 0 and int.from_bytes(message[5:8], "big") == len(message) - 8
    at, found = (8 if newer else 7), []
    while at + 3 <= len(message):
        end = at + 3 + int.from_bytes(message[at : at + 3], "big")
        found.append(message[at + 3 : end])
        at = end + (2 + int.from_bytes(message[end : end + 2], "big") if newer else 0)
    return tuple(found) or None


def part(secure: ssl.SSLSocket) -> socket.socket:
    """Say goodbye in TLS and return the socket underneath, still to be hung up."""
    with contextlib.suppress(OSError, ValueError):  # the goodbye is sent; the other end's is not waited for here
        secure.setblocking(False)
        secure.unwrap()
    return secure


class BorrowedIdentity:
    """An identity given as text, kept in a file for the moment in which OpenSSL reads it.

    The file is memory without a name where the system has that, else a file of mode 0600 that is deleted at once.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._text = (key.rstrip("\n") + "\n" + certificate).encode()
        self.path = ""
        self._descriptor = -1
        self._named = False

    def __enter__(self) -> str:
        if hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create("connsec")
            self.path = "/proc/self/fd/%d" % self._descriptor
        else:
            self._descriptor, self.path = tempfile.mkstemp(prefix="connsec-")
            self._named = True
        os.write(self._descriptor, self._text)
        return self.path

    def __exit__(self, *_unused: object) -> None:
        os.close(self._descriptor)
        if self._named:
            os.unlink(self.path)


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
