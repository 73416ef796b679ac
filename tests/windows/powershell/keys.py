# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, stores and private keys as .NET Framework has them."""

from __future__ import annotations

import functools
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from .. import Failed, Refused
from ..certificates import Opened, opened
from ..machine import Machine
from . import clr
from .values import Net, PsError, Value, text, words

STORAGE_FLAGS: t.Final = ("MachineKeySet", "UserKeySet", "PersistKeySet", "Exportable", "EphemeralKeySet")
_CRYPTOGRAPHIC: t.Final = "System.Security.Cryptography.CryptographicException"
_LOCATION: t.Final = "LocalMachine"


class Certificate(Net):
    name = "System.Security.Cryptography.X509Certificates.X509Certificate2"

    def __init__(self, machine: Machine, found: Opened, container: str | None) -> None:
        self.machine = machine
        self.found = found
        self.container = container

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Certificate:
        (data,) = arguments
        if isinstance(data, cls):
            return data
        (found,) = _opened(machine, data, None)
        return cls(machine, found, None)

    @classmethod
    def of(cls, real: t.Any) -> Certificate:
        """Return what .NET itself handed out; it belongs to no host."""
        data = bytes(real.RawData)
        return cls(t.cast(Machine, None), Opened(x509.load_der_x509_certificate(data)), None)

    @functools.cached_property
    def real(self) -> t.Any:
        """The same certificate for .NET itself, with its key where it has one."""
        kind = clr.ClrType(self.name).real
        if self.container is None:
            return kind(clr.to_net(self.found.certificate.public_bytes(serialization.Encoding.DER)))
        key = self.machine.stores.key(self.container)
        data = pkcs12.serialize_key_and_certificates(
            None, key, self.found.certificate, None, serialization.NoEncryption()
        )
        return kind(clr.to_net(data), "")

    def __getattr__(self, name: str) -> t.Any:
        """Leave what is not modelled to .NET itself."""
        if name.startswith(("p_", "m_")):
            return getattr(clr.Clr(self.real), name)
        raise AttributeError(name)

    def p_thumbprint(self) -> str:
        return self.found.thumbprint

    def m_getcerthash(self) -> bytes:
        return bytes.fromhex(self.found.thumbprint)

    def p_hasprivatekey(self) -> bool:
        return self.container is not None


clr.MODELLED[Certificate.name] = Certificate.of


def _opened(machine: Machine, data: bytes, password: str | None) -> list[Opened]:
    try:
        return opened(data, password, build=machine.build)
    except Failed as error:
        raise PsError(_CRYPTOGRAPHIC, str(error)) from error


class Collection(Net):
    name = "System.Security.Cryptography.X509Certificates.X509Certificate2Collection"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._items: list[Value] = []

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Collection:
        return cls(machine, *arguments)

    def items(self) -> list[Value]:
        return self._items

    def m_import(self, data: bytes, password: Value, flags: Value) -> None:
        """Keys of a PFX go into containers that stay, exportable only where that is asked for."""
        asked = words(flags, STORAGE_FLAGS, of="X509KeyStorageFlags")
        if not {"machinekeyset", "persistkeyset"} <= asked:
            raise Refused("the twin's Import keeps keys of the machine, with MachineKeySet and PersistKeySet")
        for found in _opened(self._machine, data, text(password)):
            container = None
            if found.key is not None:
                stores = self._machine.stores
                container = stores.persist(found.key, scope="machine", exportable="exportable" in asked)
            self._items.append(Certificate(self._machine, found, container))


class Store(Net):
    name = "System.Security.Cryptography.X509Certificates.X509Store"

    def __init__(self, machine: Machine, store: str) -> None:
        self._machine = machine
        self._store = store
        self._mode = ""

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Store:
        store, location = arguments
        if location != _LOCATION or not machine.stores.has(_LOCATION, text(store)):
            raise Refused(
                "the twin's X509Store opens stores of the machine that are there; it was asked for %s" % store
            )
        return cls(machine, text(store))

    def m_open(self, mode: Value) -> None:
        (self._mode,) = words(mode, ("ReadOnly", "ReadWrite"), of="OpenFlags")

    def m_close(self) -> None:
        self._mode = ""

    def p_certificates(self) -> list[Value]:
        if not self._mode:
            return []  # .NET: a store that is not open has none
        stores = self._machine.stores
        rows = []
        for each in stores.thumbprints(_LOCATION, self._store):
            certificate = stores.certificate(_LOCATION, self._store, each)
            if certificate is not None:
                container = stores.container(_LOCATION, self._store, each)
                rows.append(Certificate(self._machine, Opened(certificate), container))
        return rows

    def m_add(self, certificate: Certificate) -> None:
        self._writable()
        self._machine.stores.add(_LOCATION, self._store, certificate.found, certificate.container)

    def m_remove(self, certificate: Certificate) -> None:
        self._writable()
        self._machine.stores.remove(_LOCATION, self._store, certificate.found.thumbprint)

    def _writable(self) -> None:
        if self._mode != "readwrite":
            raise PsError(_CRYPTOGRAPHIC, "Access is denied.")


class CngKey(Net):
    """A key of a storage provider."""

    name = "System.Security.Cryptography.CngKey"

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate

    def p_uniquename(self) -> str:
        return self._certificate.container or ""

    def m_delete(self) -> None:
        self._certificate.machine.stores.drop(self._certificate.container or "")


class Cng(Net):
    """RSA or ECDSA with a storage provider behind it."""

    name = "System.Security.Cryptography.RSACng"

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate

    def p_key(self) -> CngKey:
        return CngKey(self._certificate)

    def m_dispose(self) -> None:
        """The key stays."""


class Csp(Net):
    """RSA with one of the older providers behind it."""

    name = "System.Security.Cryptography.RSACryptoServiceProvider"

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate
        self._persist = True

    def p_cspkeycontainerinfo(self) -> Csp:
        return self

    def p_uniquekeycontainername(self) -> str:
        return self._certificate.container or ""

    def set_persistkeyincsp(self, value: bool) -> None:
        self._persist = value

    def m_clear(self) -> None:
        if not self._persist:
            self._certificate.machine.stores.drop(self._certificate.container or "")

    def m_dispose(self) -> None:
        self.m_clear()


class RsaExtensions(Net):
    name = "System.Security.Cryptography.X509Certificates.RSACertificateExtensions"

    @staticmethod
    def s_getrsaprivatekey(_machine: Machine, certificate: Certificate) -> Value:
        stores = certificate.machine.stores
        container = certificate.container
        if container is None or not isinstance(stores.key(container), rsa.RSAPrivateKey):
            return None
        return Csp(certificate) if stores.provider(container) == "csp" else Cng(certificate)


class EcdsaExtensions(Net):
    name = "System.Security.Cryptography.X509Certificates.ECDsaCertificateExtensions"

    @staticmethod
    def s_getecdsaprivatekey(_machine: Machine, certificate: Certificate) -> Value:
        stores = certificate.machine.stores
        container = certificate.container
        if container is None or not isinstance(stores.key(container), ec.EllipticCurvePrivateKey):
            return None
        return Cng(certificate)


TYPES: t.Final[tuple[type[Net], ...]] = (
    Certificate,
    Cng,
    CngKey,
    Collection,
    Csp,
    EcdsaExtensions,
    RsaExtensions,
    Store,
)
