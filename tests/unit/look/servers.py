# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, and servers on loopback that behave and misbehave, for the tests of looking."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import struct
import threading
import typing as t
import warnings
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Handler = t.Callable[[socket.socket], None]
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, in memory and as files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    certificate_file: str
    key_file: str

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return Path(self.certificate_file).read_text()

    @property
    def key_pem(self) -> str:
        return Path(self.key_file).read_text()


class Authority:
    """A CA that issues into a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.root = self._sign(name, (), subject=name, key=None, days=(-1, 30), authority=True)

    def issue(self, file: str, *names: str, days: tuple[float, float] = (-1, 30)) -> Issued:
        """Issue a certificate for ``names``, valid from and until so many days from now."""
        return self._sign(file, names, subject="", key=self.root.key, days=days, authority=False)

    def _sign(
        self,
        file: str,
        names: t.Sequence[str],
        *,
        subject: str,
        key: ec.EllipticCurvePrivateKey | None,
        days: tuple[float, float],
        authority: bool,
    ) -> Issued:
        own = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        common = [x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(common))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * DAY)
            .not_valid_after(now + days[1] * DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(name) for name in names]), critical=True
            )
        if not authority:
            usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(usages, critical=False).add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key((key or own).public_key()), critical=False
            )
        certificate = builder.sign(key or own, hashes.SHA256())
        paths = self.folder / (file + ".pem"), self.folder / (file + ".key")
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Issued(certificate, own, str(paths[0]), str(paths[1]))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True)
class Pki:
    """Two authorities: ours, and one that nobody should trust."""

    ours: Authority
    foreign: Authority
    server: Issued
    client: Issued
    stranger: Issued

    @property
    def trust(self) -> str:
        return self.ours.root.certificate_file

    def context(self, served: Issued | None = None, **options: t.Any) -> ssl.SSLContext:
        """Return a server's context; options: minimum, maximum, clients (a verify mode), tickets."""
        served = served or self.server
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(served.certificate_file, served.key_file)
        context.load_verify_locations(self.trust)
        context.verify_mode = options.get("clients", ssl.CERT_NONE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if options.get("maximum", ssl.TLSVersion.TLSv1_3) < ssl.TLSVersion.TLSv1_2 or options.get("weak"):
                context.set_ciphers("DEFAULT@SECLEVEL=0")
            context.minimum_version = options.get("minimum", ssl.TLSVersion.TLSv1_2)
            context.maximum_version = options.get("maximum", ssl.TLSVersion.TLSv1_3)
        context.num_tickets = options.get("tickets", 2)
        return context


@dataclass(frozen=True)
class Listening:
    """A server that listens: its address, and the errors of its connections."""

    address: str
    port: int
    log: list[str]


def accept(listener: socket.socket, handler: Handler, log: list[str]) -> None:
    def work(connection: socket.socket) -> None:
        try:
            connection.settimeout(10)
            handler(connection)
            log.append("ok")
        except OSError as error:
            log.append(repr(error))
        finally:
            connection.close()

    while True:
        try:
            connection, _unused = listener.accept()
        except OSError:
            return
        threading.Thread(target=work, args=(connection,), daemon=True).start()


def over_tls(context: ssl.SSLContext) -> Handler:
    """Shake hands, answer one line, and end as one should."""

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            while secure.recv(1024):
                secure.sendall(b"pong\n")
            secure.unwrap()

    return handle


def refusing_in_http(context: ssl.SSLContext, answer: bytes) -> Handler:
    """Let everybody in over TLS, and answer in HTTP who presents no certificate of ours."""

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1024)
            secure.sendall(b"HTTP/1.1 200 OK\r\n\r\n" if secure.getpeercert() else answer)
            secure.unwrap()

    return handle


def in_the_clear(connection: socket.socket) -> None:
    """Answer each line."""
    while True:
        data = connection.recv(1024)
        if not data:
            return
        if data.strip():
            connection.sendall(b"pong\n")


def silent(connection: socket.socket) -> None:
    """Take everything and say nothing."""
    while connection.recv(1024):
        pass


def resetting(connection: socket.socket) -> None:
    """Reset the connection once something came."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closing(connection: socket.socket) -> None:
    """Close once something came, without a word."""
    connection.recv(4096)


def closed_at_once(connection: socket.socket) -> None:
    """Close before anything came."""
