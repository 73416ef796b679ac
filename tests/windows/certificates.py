# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate stores of a twin and the private keys behind them. PFX files are really opened, with their password.

A private key lies in a container of its own, as Windows keeps it: importing a PFX makes one, and it stays when the
certificate leaves its store, or never enters it.
"""

from __future__ import annotations

import base64
import re
import secrets
import typing as t
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from . import Failed, Refused
from .acls import KEY, Rule, loaded, stored

WRONG_PASSWORD: t.Final = "The specified network password is not correct."
NO_CERTIFICATE: t.Final = "Cannot find the requested object."
NOT_EXPORTABLE: t.Final = "Key not valid for use in specified state."
#: The first build (Windows 10 1709) that reads PFX files of AES and SHA-256; of servers 2019 (17763) was the first.
_READS_AES: t.Final = 16299
#: What older ones do not read, as DER has it: PBES2 (RFC 8018), and SHA-256 (RFC 5754) in the MAC.
_NEWER: t.Final = (bytes.fromhex("06092a864886f70d01050d"), bytes.fromhex("0609608648016503040201"))
#: The beginning of a PFX (RFC 7292): a sequence with version 3.
_PFX: t.Final = re.compile(rb"\x30(?:[\x00-\x7f]|[\x81-\x84].{1,4})\x02\x01\x03", re.DOTALL)
_PEM: t.Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)

#: What Windows has in each location without anybody's doing (.NET: StoreName).
STORES: t.Final = (
    "AddressBook",
    "AuthRoot",
    "CA",
    "Disallowed",
    "My",
    "Root",
    "Trust",
    "TrustedPeople",
    "TrustedPublisher",
)

#: Where the keys of a machine lie, by the sort of their provider (Microsoft: "Key Storage and Retrieval").
KEY_FOLDERS: t.Final[t.Mapping[str, str]] = {
    "csp": "C:\\ProgramData\\Microsoft\\Crypto\\RSA\\MachineKeys",
    "cng": "C:\\ProgramData\\Microsoft\\Crypto\\Keys",
}

Scope = t.Literal["machine", "user"]
Key = pkcs12.PKCS12PrivateKeyTypes


@dataclass(frozen=True)
class Opened:
    """A certificate out of a file, with its key where the file has it."""

    certificate: x509.Certificate
    key: Key | None = None

    @property
    def thumbprint(self) -> str:
        return thumbprint(self.certificate)


def thumbprint(certificate: x509.Certificate) -> str:
    """Return what Windows calls a certificate by."""
    return certificate.fingerprint(hashes.SHA1()).hex().upper()


def opened(content: bytes, password: str | None, *, build: int) -> list[Opened]:
    """Return what .NET Framework's X509Certificate2Collection.Import finds in a file.

    Of a PEM file it takes the first block alone, and that has to be a certificate, not its key (dotnet/runtime issue
    112258, which says so of .NET Framework too). Of PKCS#7 and PFX files it takes all.

    Raises:
        Failed: it finds none, in the words of Windows.
    """
    if _PFX.match(content[:16]):
        return _opened_pfx(content, password, build=build)
    block = _PEM.search(content)
    try:
        if block is not None and block[1] == b"PKCS7":
            return [Opened(each) for each in pkcs7.load_pem_pkcs7_certificates(block[0])]
        if block is not None and block[1] != b"CERTIFICATE":
            raise Failed(NO_CERTIFICATE)
        if block is not None:
            return [Opened(x509.load_pem_x509_certificate(block[0]))]
        if b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" in content[:24]:
            return [Opened(each) for each in pkcs7.load_der_pkcs7_certificates(content)]
        return [Opened(x509.load_der_x509_certificate(content))]
    except ValueError as error:
        raise Failed(NO_CERTIFICATE) from error


def _opened_pfx(content: bytes, password: str | None, *, build: int) -> list[Opened]:
    if build < _READS_AES and any(oid in content for oid in _NEWER):
        raise Failed(WRONG_PASSWORD)
    try:
        found = pkcs12.load_pkcs12(content, None if password is None else password.encode("utf-8"))
    except ValueError as error:
        raise Failed(WRONG_PASSWORD) from error
    own = [Opened(found.cert.certificate, t.cast("Key | None", found.key))] if found.cert else []
    return own + [Opened(each.certificate) for each in found.additional_certs]


class Stores:
    """Certificates by location, store and thumbprint, and key containers; both come from the twin's state."""

    def __init__(
        self,
        rows: dict[str, dict[str, dict[str, t.Any]]],
        containers: dict[str, dict[str, t.Any]],
        keys: Path,
        *,
        provider: str,
        effect: t.Callable[[str], None],
    ) -> None:
        self._rows = rows
        self._containers = containers
        self._keys = keys
        self._provider = provider
        self._effect = effect

    def has(self, location: str, store: str) -> bool:
        return self._spelled(location, store) is not None

    def _spelled(self, location: str, store: str) -> str | None:
        return next((name for name in self._rows.get(location, ()) if name.lower() == store.lower()), None)

    def register(self, location: str, store: str) -> None:
        """Make a store that is not there."""
        self._effect("made store %s\\%s" % (location, store))
        self._rows.setdefault(location, {})[store] = {}

    def _store(self, location: str, store: str) -> dict[str, t.Any]:
        return self._rows[location][self._spelled(location, store) or store]

    def thumbprints(self, location: str, store: str) -> list[str]:
        return sorted(self._store(location, store))

    def certificate(self, location: str, store: str, wanted: str) -> x509.Certificate | None:
        row = self._store(location, store).get(wanted.upper()) if self.has(location, store) else None
        return None if row is None else x509.load_der_x509_certificate(base64.b64decode(row["certificate"]))

    def container(self, location: str, store: str, wanted: str) -> str | None:
        """Return the key container behind a certificate, or nothing where it has no key."""
        row = self._store(location, store).get(wanted.upper()) if self.has(location, store) else None
        found = None if row is None else t.cast("str | None", row["container"])
        return found if found in self._containers else None

    def add(self, location: str, store: str, found: Opened, container: str | None) -> None:
        """Put a certificate into a store."""
        if (location, store.lower()) == ("CurrentUser", "root"):
            raise Refused(
                "Windows asks its user in a dialog before CurrentUser\\Root takes a certificate; the twin has none"
            )
        self._effect("added certificate %s to %s\\%s" % (found.thumbprint, location, store))
        content = base64.b64encode(found.certificate.public_bytes(serialization.Encoding.DER)).decode()
        self._store(location, store)[found.thumbprint] = {"certificate": content, "container": container}

    def remove(self, location: str, store: str, wanted: str) -> None:
        """Take a certificate out of a store; its key container stays."""
        self._effect("removed certificate %s from %s\\%s" % (wanted.upper(), location, store))
        del self._store(location, store)[wanted.upper()]

    def persist(self, key: Key, *, scope: Scope, exportable: bool) -> str:
        """Keep a private key in a container of its own, and return its name."""
        name = secrets.token_hex(16)
        self._effect("made key container %s of the %s" % (name, scope))
        content = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._keys / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        provider = self._provider if isinstance(key, rsa.RSAPrivateKey) else "cng"
        row = {"scope": scope, "exportable": exportable, "rules": stored(KEY), "provider": provider}
        self._containers[name] = row
        return name

    def drop(self, container: str) -> None:
        """Delete a private key; the certificate that leads to it stays where it is."""
        self._effect("deleted key container %s" % container)
        (self._keys / container).unlink()
        del self._containers[container]

    def key(self, container: str) -> Key:
        """Return a private key, for exports and for tests that use it as the host would."""
        found = serialization.load_der_private_key(
            (self._keys / container).read_bytes(), None, unsafe_skip_rsa_key_validation=True
        )
        return t.cast(Key, found)

    def exportable(self, container: str) -> bool:
        return bool(self._containers[container]["exportable"])

    def scope(self, container: str) -> Scope:
        return t.cast(Scope, self._containers[container]["scope"])

    def provider(self, container: str) -> str:
        """Return the sort of provider that has a key: `csp`, one of the older ones for RSA, or `cng`."""
        return str(self._containers[container]["provider"])

    def folder(self, container: str) -> str:
        """Return the folder that the key's file lies in."""
        return KEY_FOLDERS[self.provider(container)]

    def containers(self) -> list[str]:
        return sorted(self._containers)

    def orphans(self) -> list[str]:
        """Return the containers that no certificate of any store leads to."""
        used = {
            row["container"] for stores in self._rows.values() for store in stores.values() for row in store.values()
        }
        return [name for name in self.containers() if name not in used]

    def rules(self, container: str) -> list[Rule]:
        return loaded(self._containers[container]["rules"])

    def set_rules(self, container: str, rules: t.Iterable[Rule]) -> None:
        self._effect("changed who may use key container %s" % container)
        self._containers[container]["rules"] = stored(rules)
