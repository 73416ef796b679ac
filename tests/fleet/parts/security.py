# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS as Mozilla's intermediate profile (6.0) has it; its groups come from openssl.cnf, through OPENSSL_CONF."""

from __future__ import annotations

import ssl
import typing as t

from .settings import Listener, Peer, SettingsError

#: For TLS 1.2; those of TLS 1.3 are OpenSSL's own three, which are Mozilla's too.
CIPHERS: t.Final = ":".join(
    "ECDHE-%s-%s" % (key, suite)
    for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)

#: In place of a CA file: what OpenSSL trusts by itself, which SSL_CERT_FILE can say.
SYSTEM_TRUST: t.Final = "system"

_CLIENT_VERIFICATION: t.Final[t.Mapping[str, ssl.VerifyMode]] = {
    "no": ssl.CERT_NONE,
    "request": ssl.CERT_OPTIONAL,
    "require": ssl.CERT_REQUIRED,
}


def server_context(listener: Listener) -> ssl.SSLContext:
    """Return what a listener presents and demands.

    Raises:
        SettingsError: a file of it cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    if listener.minimum_protocol == "TLSv1.3":
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if listener.ciphers:
        context.set_ciphers(listener.ciphers)
    _present(context, listener.certificate, listener.key, where="listener.%s" % listener.name)
    if listener.verify_client != "no":
        _trust(context, listener.trust, where="listener.%s" % listener.name)
    context.verify_mode = _CLIENT_VERIFICATION[listener.verify_client]
    return context


def client_context(peer: Peer) -> ssl.SSLContext:
    """Return what a client presents and verifies.

    Raises:
        SettingsError: a file of it cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if peer.certificate:
        _present(context, peer.certificate, peer.key, where="peer.%s" % peer.name)
    if peer.verify:
        _trust(context, peer.trust, where="peer.%s" % peer.name)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def _present(context: ssl.SSLContext, certificate: str | None, key: str | None, *, where: str) -> None:
    try:
        context.load_cert_chain(certificate or "", key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError("[%s]: %s and %s cannot be used: %s" % (where, certificate, key, error)) from error


def _trust(context: ssl.SSLContext, trust: str | None, *, where: str) -> None:
    try:
        if trust == SYSTEM_TRUST:
            context.set_default_verify_paths()
        else:
            context.load_verify_locations(cafile=trust or "")
    except (OSError, ssl.SSLError) as error:
        raise SettingsError("[%s]: the CA list %s cannot be used: %s" % (where, trust, error)) from error


def _no_password() -> str:
    """Refuse a key that asks for a password, where OpenSSL would ask at a terminal."""
    raise SettingsError("a private key is encrypted, and there is nobody to ask for its password")
