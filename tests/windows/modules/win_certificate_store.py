# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_certificate_store, as ansible.windows 3.3.0 has it (plugins/modules/win_certificate_store.ps1).

Faults of the real module that are acted out, because callers have to live with them:

- `exported` removes the file at `path` before it asks for check mode (function New-CertFile, `Remove-Item
  -LiteralPath $path`), and before it knows whether the export succeeds.
- Every read of a PFX keeps its private key in a new container (function Get-CertFile, flag PersistKeySet; Microsoft:
  Private key lifetime on Windows), also in check mode, also where the certificate is in the store already, and also
  for `absent`.
- All certificates of a file go into the one store that is named, a PFX's chain with its leaf.
- A certificate that is there with its key is never imported again: key_exportable and key_storage of the first time
  stay."""

from __future__ import annotations

import base64
import typing as t
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from .. import Failed
from ..certificates import NOT_EXPORTABLE, STORES, Opened, Scope, opened
from ..machine import Machine
from ..model import Call, Model, Result


@dataclass(frozen=True)
class _Held:
    """A certificate of a file, and the container that reading it made."""

    found: Opened
    container: str | None


def act(call: Call, machine: Machine) -> Result:
    _require(call)
    result: Result = {"changed": False, "thumbprints": []}
    location, changed = _location(call, machine)
    result["changed"] = changed
    place = machine.store(location, call["store_name"])
    _STATES[call["state"]](call, machine, place, result)
    return result


def _require(call: Call) -> None:
    state, path, thumb = call["state"], call["path"], call["thumbprint"]
    if state == "absent" and path is None and thumb is None:
        raise Failed("state is absent but any of the following are missing: path, thumbprint")
    missing = [name for name in _NEEDED.get(state, ()) if call[name] is None]
    if missing:
        raise Failed("state is %s but all of the following are missing: %s" % (state, ", ".join(missing)))


_NEEDED: t.Final = {"present": ("path",), "exported": ("path", "thumbprint")}


def _location(call: Call, machine: Machine) -> tuple[str, bool]:
    """Return the location, and whether stores of a service had to be made for it."""
    name = str(call["store_location"])
    if call["store_type"] == "system":
        if name not in ("CurrentUser", "LocalMachine"):
            raise Failed(
                "value of store_location must be one of: CurrentUser, LocalMachine. Got no match for: %s" % name
            )
        return name, False
    service = machine.services.find(name)
    if service is None:
        raise Failed("value of store_location '%s' is not a valid windows service" % name)
    location = "Service:%s" % service
    missing = [store for store in STORES if not machine.stores.has(location, store)]
    for store in missing if not call.check else ():
        machine.stores.register(location, store)
    return location, bool(missing)


def _read(call: Call, machine: Machine) -> list[_Held]:
    """Read the file at `path`, as function Get-CertFile does: keys stay in containers, whatever becomes of them."""
    path = machine.path(call["path"])
    if not machine.disk.is_file(path):
        raise Failed("File at '%s' either does not exist or is not a file" % path)
    try:
        found = opened(machine.disk.read(path), call["password"], build=machine.build)
    except Failed as error:
        raise Failed("Failed to load cert from file: %s" % error) from error
    scope: Scope = "machine" if call["key_storage"] == "machine" else "user"
    return [_Held(each, _persisted(each, machine, scope=scope, exportable=call["key_exportable"])) for each in found]


def _persisted(found: Opened, machine: Machine, *, scope: Scope, exportable: bool) -> str | None:
    return None if found.key is None else machine.stores.persist(found.key, scope=scope, exportable=exportable)


def _present(call: Call, machine: Machine, place: tuple[str, str], result: Result) -> None:
    for held in _read(call, machine):
        thumb = held.found.thumbprint
        result["thumbprints"].append(thumb)
        there = machine.stores.certificate(*place, thumb) is not None
        without_key = there and machine.stores.container(*place, thumb) is None
        if not there or (held.container is not None and without_key):
            if not call.check:
                machine.stores.add(*place, held.found, held.container)
            result["changed"] = True


def _absent(call: Call, machine: Machine, place: tuple[str, str], result: Result) -> None:
    if call["path"] is not None:
        wanted = [held.found.thumbprint for held in _read(call, machine)]
    else:
        wanted = [str(call["thumbprint"])]
    for thumb in wanted:
        result["thumbprints"].append(thumb)
        if machine.stores.certificate(*place, thumb) is not None:
            if not call.check:
                machine.stores.remove(*place, thumb)
            result["changed"] = True


def _exported(call: Call, machine: Machine, place: tuple[str, str], result: Result) -> None:
    path, thumb = machine.path(call["path"]), str(call["thumbprint"])
    result["thumbprints"].append(thumb)
    if machine.disk.is_folder(path):
        raise Failed("Cannot export cert to path '%s' as it is a directory" % path)
    of_type = machine.disk.is_file(path) and _type_of(machine.disk.read(path), call, machine) == call["file_type"]
    if of_type and thumb.upper() in [held.found.thumbprint for held in _read(call, machine)]:
        return
    certificate = machine.stores.certificate(*place, thumb)
    if certificate is None:
        raise Failed("Found 0 certs when only expecting 1")
    if machine.disk.exists(path):
        machine.remove(path)  # the fault: check mode is asked for below
    result["changed"] = True
    container = machine.stores.container(*place, thumb)
    content = _encoded(
        call, machine, Opened(certificate, None if container is None else machine.stores.key(container)), container
    )
    if call["file_type"] == "pkcs12":
        result["key_exported"] = False
        if container is not None:
            result["key_exportable"] = machine.stores.exportable(container)
    if not call.check:
        try:
            machine.disk.write(path, content)
        except Failed as error:
            raise Failed("Failed to write cert to file due to IO Exception: %s" % error) from error


def _type_of(content: bytes, call: Call, machine: Machine) -> str:
    """Return what function Get-CertFileType calls a file."""
    try:
        found = opened(content, call["password"], build=machine.build)
    except Failed:
        return "pkcs12"
    if content.startswith(b"-----BEGIN CERTIFICATE-----"):
        return "pem"
    if content.startswith(b"-----BEGIN PKCS7-----"):
        return "pkcs7-ascii"
    if len(found) > 1:
        return "pkcs7-binary"
    return "pkcs12" if found[0].key is not None or str(call["path"]).endswith((".pfx", ".p12")) else "der"


def _encoded(call: Call, machine: Machine, found: Opened, container: str | None) -> bytes:
    if call["file_type"] == "pkcs12":
        if container is not None and not machine.stores.exportable(container):
            raise Failed("Failed to export certificate as bytes: %s" % NOT_EXPORTABLE)
        password = call["password"]
        protection = (
            serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        )
        return pkcs12.serialize_key_and_certificates(None, found.key, found.certificate, None, protection)
    content = found.certificate.public_bytes(serialization.Encoding.DER)
    if call["file_type"] == "der":
        return content
    text = base64.b64encode(content).decode()
    lines = [text[start : start + 76] for start in range(0, len(text), 76)]
    return "\r\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"]).encode()


_STATES: t.Final = {"present": _present, "absent": _absent, "exported": _exported}

MODEL: t.Final = Model(
    "win_certificate_store",
    source="b9e7e208c9d82a20fb31e886a1b2468087ddba70a679f1bcaa9bbfcc11e6aabc",
    act=act,
    shown=(
        "state",
        "path",
        "thumbprint",
        "store_name",
        "store_location",
        "store_type",
        "key_exportable",
        "key_storage",
        "file_type",
    ),
    secret=("password",),
)
