# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests for others to sign: made, kept with their key, shown, and closed; private to this collection.

The identities' folder keeps ``<name>.requested``: what was asked for, and the key, encrypted as every key is, unless it
was born on its host. What the PKI team needs lies beside the store, readable, and without anything secret::

    requests/<name>/request.pem     the request (PKCS#10)
    requests/<name>/answer.pem      where its answer belongs
"""

from __future__ import annotations

import contextlib
import json
import os
import typing as t
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from ..module_utils._core._material import WantedIdentity, common_name_of
from ..module_utils._core._names import identity_name
from ..module_utils._core._requesting import OpenRequest, RequestPlaces
from . import _pki
from ._answers import LARGEST_ANSWER, ReadAnswer, read_answer
from ._csr import Request
from ._folder import Batch, Folder, StoreError
from ._secrets import Secret
from ._trust_list import TrustList

SUFFIX = ".requested"
REQUEST, ANSWER = "request.pem", "answer.pem"


@dataclass(frozen=True, repr=False)
class KeptRequest:
    """A request that is open, as the store keeps it.

    Attributes:
        open: what it asks for.
        csr: itself.
        key: its encrypted key; None where that was born on its host, and nobody else has it.
    """

    open: OpenRequest
    csr: bytes
    key: bytes | None


def places_of(folder: str, name: str) -> RequestPlaces:
    """Return where a request and its answer lie."""
    own = os.path.join(folder, identity_name(name, "identities"))
    return RequestPlaces(os.path.join(own, REQUEST), os.path.join(own, ANSWER))


def read_request(identity_folder: Folder, name: str) -> KeptRequest | None:
    """Return the open request of an identity, or None where there is none."""
    text = identity_folder.read(name + SUFFIX)
    if text is None:
        return None
    try:
        content = json.loads(text)
        asked = content["asked"]
        opened = OpenRequest(
            names=tuple(asked["names"]),
            usages=tuple(asked["usages"]),
            key_type=str(asked["key_type"]),
            common_name=str(asked["common_name"]),
            spki_sha256=str(asked["spki_sha256"]),
            made_at=int(asked["made_at"]),
            key_at=str(asked.get("key_at", "controller")),
        )
        key = None if opened.key_at == "host" else content["key"].encode()
        return KeptRequest(opened, content["request"].encode(), key)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            "%s is damaged; restore it from a backup, or remove it: a new request with a new key is then made"
            % os.path.join(identity_folder.path, name + SUFFIX)
        ) from error


def look_for_answer(requests: str, name: str, kept: KeptRequest, trust: TrustList) -> ReadAnswer | None:
    """Return what lies where the answer to a request belongs, or None where nothing does."""
    path = places_of(requests, name).answer
    with contextlib.closing(Folder(os.path.dirname(path))) as folder:
        data = folder.read(ANSWER, limit=LARGEST_ANSWER)
    return read_answer(data, spki_sha256=kept.open.spki_sha256, trust=trust) if data else None


def is_shown_at(requests: str, name: str, kept: KeptRequest) -> bool:
    """Return whether a request lies where others find it."""
    with contextlib.closing(Folder(os.path.dirname(places_of(requests, name).request))) as folder:
        return folder.read(REQUEST) == kept.csr


def make_request(wanted: WantedIdentity, key: _pki.PrivateKey, *, secret: Secret, now: int) -> KeptRequest:
    """Return a new request for an identity."""
    common_name = common_name_of(wanted)
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(subject))
        .add_extension(_pki.subject_alternative_name(wanted.names), critical=not common_name)
        .add_extension(_pki.key_usage_of(key.public_key()), critical=True)
        .add_extension(_pki.extended_key_usage(wanted.usages), critical=False)
        .sign(key, hashes.SHA256())
    )
    spki_sha256 = _pki.sha256(_pki.public_bytes(key))
    opened = OpenRequest(wanted.names, wanted.usages, wanted.key_type, common_name, spki_sha256, now)
    sealed = _pki.encrypted_pem(key, secret.key_password(spki_sha256))
    return KeptRequest(opened, csr.public_bytes(serialization.Encoding.PEM), sealed)


def request_of_host(wanted: WantedIdentity, request: Request, *, now: int) -> KeptRequest:
    """Return the request that a host made for an identity whose key is born there; it was read and checked."""
    common_name = common_name_of(wanted)
    opened = OpenRequest(
        wanted.names, wanted.usages, wanted.key_type, common_name, request.spki_sha256, now, key_at="host"
    )
    return KeptRequest(opened, request.pem.encode(), None)


def key_of(kept: KeptRequest, *, secret: Secret, where: str) -> _pki.PrivateKey:
    """Return the key of a request that is open, which the store has."""
    try:
        key = serialization.load_pem_private_key(kept.key or b"", secret.key_password(kept.open.spki_sha256))
    except (ValueError, TypeError) as error:
        raise StoreError("%s holds a key that cannot be read; restore the file from a backup" % where) from error
    return t.cast("_pki.PrivateKey", key)


def keep(kept: KeptRequest, name: str, identity_folder: Folder, batch: Batch) -> None:
    """Have a request kept with its key when the batch is published."""
    key = kept.key.decode() if kept.key else None
    content = {"version": 1, "asked": vars(kept.open), "request": kept.csr.decode(), "key": key}
    batch.add(identity_folder, name + SUFFIX, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def show(kept: KeptRequest, name: str, requests: str) -> None:
    """Put a request where the PKI team finds it; nothing is written where it lies there already."""
    with contextlib.closing(Folder(os.path.dirname(places_of(requests, name).request))) as folder:
        folder.make()
        if folder.read(REQUEST) != kept.csr:
            folder.publish(folder.write_temporary(kept.csr, mode=0o644), REQUEST)
            folder.sync()


def close(name: str, identity_folder: Folder, requests: str) -> None:
    """Remove a request that was answered, and its answer, which the store has by now."""
    with contextlib.closing(Folder(os.path.dirname(places_of(requests, name).request))) as folder:
        if folder.exists():
            folder.remove(ANSWER)
            folder.remove(REQUEST)
    identity_folder.remove(name + SUFFIX)
