# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of an endpoint; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._core._errors import TlsError

#: Seconds after which a listener that stays silent in the clear is held to be clear, unless a probe is more patient.
PATIENCE: t.Final = 0.3

Version = t.Literal["TLSv1.2", "TLSv1.3"]
#: The versions that a look speaks.
VERSIONS: t.Final[tuple[Version, ...]] = ("TLSv1.2", "TLSv1.3")


@dataclass(frozen=True)
class Login:
    """As whom a look introduces itself, where the protocol begins with that; a PostgreSQL perhaps to copy another."""

    user: str = "postgres"
    database: str = "postgres"
    replication: bool = False


NOBODY: t.Final = Login()


class ProbeRefused(TlsError):
    """A probe cannot be made as asked."""


@dataclass(frozen=True)
class Probe:
    """An endpoint to look at, and how.

    Attributes:
        id: name of the result.
        address: address or name to connect to.
        port: port to connect to.
        name: the name that the certificate has to hold.
        tls: whether to look for TLS, or else for an answer in the clear.
        protocol: how TLS is negotiated; one of ``NEGOTIATIONS``, and anything else for TLS from the first byte.
        source: local address to connect from.
        prefer_source: local address to connect from, where this host has it.
        trust: file of the CA certificates to verify against; None to look without verifying.
        pinned: whether a chain may end at any certificate of that file, and not only at a root.
        certificate: file of the certificate to present.
        key: file of its private key.
        foreign: certificate and key as text, of an authority that the endpoint should not trust, to try as well.
        timeout: seconds for the look, and again for the further looks that it leads to.
        ciphers: OpenSSL's list of ciphers for TLS 1.2.
        protocols: the versions that the client knows, of TLS 1.2 and 1.3; empty for both.
        old_protocols: also ask whether versions before TLS 1.2 are accepted.
        demand: also ask whether a client without a certificate is refused.
        answers: ``http``, ``ldap`` or ``smtp`` for an endpoint that may refuse a client in it, after the handshake.
        login: as whom a look introduces itself, where the protocol begins with that.
        patience: seconds after which a listener that stays silent in the clear is held to be clear.
    """

    id: str
    address: str
    port: int
    name: str
    tls: bool = True
    protocol: str = "tls"
    source: str | None = None
    prefer_source: str | None = None
    trust: str | None = None
    pinned: bool = False
    certificate: str | None = None
    key: str | None = None
    foreign: tuple[str, str] | None = None
    timeout: float = 5.0
    ciphers: str | None = None
    protocols: tuple[str, ...] = ()
    old_protocols: bool = False
    demand: bool = False
    answers: str | None = None
    login: Login = NOBODY
    patience: float = PATIENCE

    @property
    def place(self) -> str:
        """The endpoint, for messages."""
        return ("[%s]:%d" if ":" in self.address else "%s:%d") % (self.address, self.port)


def parse_probe(request: t.Mapping[str, t.Any]) -> Probe:
    """Return the probe that a request describes.

    Raises:
        ProbeRefused: a field is missing or of the wrong type.
    """
    address, port = request.get("address"), request.get("port")
    if not isinstance(address, str) or not address or not address.isprintable() or len(address) > 255:
        raise ProbeRefused("probe %r: address is %r; it is an IP address or a DNS name" % (request.get("id"), address))
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise ProbeRefused("probe %r: port is %r; it is a number from 1 to 65535" % (request.get("id"), port))
    timeout = float(request.get("timeout") or 5.0)
    if not 0 < timeout <= 300:
        raise ProbeRefused("probe %r: timeout is %r; it is at most 300 seconds" % (request.get("id"), timeout))
    foreign, patience = request.get("foreign"), request.get("patience")
    return Probe(
        id=str(request.get("id") or "%s:%d" % (address, port)),
        address=address,
        port=port,
        name=str(request.get("name") or address),
        tls=bool(request.get("tls", True)),
        protocol=str(request.get("protocol") or "tls"),
        source=request.get("source") or None,
        prefer_source=request.get("prefer_source") or None,
        trust=request.get("trust") or None,
        pinned=bool(request.get("pinned")),
        certificate=request.get("certificate") or None,
        key=request.get("key") or None,
        foreign=(foreign["certificate"], foreign["key"]) if foreign else None,
        timeout=timeout,
        ciphers=request.get("ciphers") or None,
        protocols=_versions(request),
        old_protocols=bool(request.get("old_protocols")),
        demand=bool(request.get("demand")),
        answers=request.get("answers") or None,
        login=_login(request),
        patience=min(float(patience), timeout) if patience else PATIENCE,
    )


def _login(request: t.Mapping[str, t.Any]) -> Login:
    user, database = (str(request.get(name) or "postgres") for name in ("user", "database"))
    return Login(user=user, database=database, replication=bool(request.get("replication")))


def _versions(request: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    wrong = sorted(set(request.get("protocols") or ()) - set(VERSIONS))
    if wrong:
        raise ProbeRefused("probe %r: protocols has %r; it has %s" % (request.get("id"), wrong[0], ", ".join(VERSIONS)))
    return tuple(sorted(request.get("protocols") or ()))
