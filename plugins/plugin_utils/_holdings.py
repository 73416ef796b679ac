# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one instance's host must hold, taken out of the store and verified; private to this collection."""

from __future__ import annotations

import datetime
import os
import time
import typing as t
from dataclasses import dataclass
from itertools import pairwise

from cryptography import x509

from ..module_utils._core._few import few
from ..module_utils._core._manifest import file_in
from ..module_utils._core._material import IdentityInfo
from . import _pki
from ._folder import Folder, StoreError
from ._formats import keystore, truststore
from ._found import Authority, Ca, IdentityReader, identity_file, list_name, opened, read_authorities, read_bundle
from ._place import StorePaths
from ._secrets import FILE as SECRET_FILE
from ._secrets import open_secret
from ._trust_list import TrustList, read_trust_lists

SECRET_FILES = frozenset({"key.pem", "combined.pem", "keystore.p12", "keystore.password"})


class NotIssued(StoreError):
    """What an instance is to hold is not made yet, or has expired."""


@dataclass(frozen=True, repr=False)
class PresentedSecret:
    """What only the account of an instance may know.

    Attributes:
        key: its private key.
        password: of the instance's keystore.
        password_digest: a fingerprint of that, which may be seen.
    """

    key: _pki.PrivateKey
    password: str
    password_digest: str


@dataclass(frozen=True, repr=False)
class Presented:
    """What an instance presents.

    Attributes:
        info: what is public about its identity.
        chain: its certificate and those above it, without the root.
        root: the root above them, ours or one of another's CA list.
        secret: what nobody else may know; None where the key was born on the host, which makes the rest of it too.
    """

    info: IdentityInfo
    chain: tuple[x509.Certificate, ...]
    root: x509.Certificate
    secret: PresentedSecret | None


@dataclass(frozen=True, repr=False)
class Holding:
    """What an instance is to hold at a moment.

    Attributes:
        presented: by folder, what it presents; nothing for an instance that only verifies.
        trusted: the certificates that it accepts, by authority: our root, or another's CA list.
        listed: those of ours and the authorities below them that have not ended, whose revocation lists count; by name.
        now: the moment, in seconds since 1970.
    """

    presented: t.Mapping[str, Presented]
    trusted: t.Mapping[str, tuple[x509.Certificate, ...]]
    listed: t.Mapping[str, Ca]
    now: int


@dataclass(frozen=True, repr=False)
class MaterialFiles:
    """What one instance's host must hold.

    Attributes:
        files: content by path in a generation.
        secret: the paths of those that only the component's account may read.
        inputs: what went in, for comparison with a host's manifest; PKCS#12 bytes differ at each writing.
        identities: what is public about each identity, by folder.
        born: by folder, what the host is told of a key that was born there: ``identity``, ``spki_sha256``, and whether
            a ``keystore`` of it is read, or a ``combined`` file. All others are among the files.
    """

    files: t.Mapping[str, bytes]
    secret: frozenset[str]
    inputs: t.Mapping[str, t.Any]
    identities: t.Mapping[str, IdentityInfo]
    born: t.Mapping[str, t.Mapping[str, t.Any]]


def material(
    paths: StorePaths,
    identities: t.Mapping[str, str],
    *,
    trust: t.Sequence[str],
    formats: t.Sequence[str] = ("pem",),
    passphrase: str | None,
    instance: str = "",
    now: int | None = None,
    trust_files: t.Mapping[str, str] | None = None,
) -> MaterialFiles:
    """Return the files that an instance's host must hold, checked: key, chain, root and trust belong together.

    Args:
        paths: of the store.
        identities: their names, by the folders of a generation; none for an instance that only verifies.
        trust: the authorities whose certificates the instance accepts.
        formats: ``pem``, ``combined`` (certificate, chain and key in one file), ``pkcs12`` (a keystore), ``java`` (a
            truststore that Java reads), ``crl`` (revocation lists), ``store`` (a Windows host's stores).
        passphrase: that of the identities; an instance that only verifies, or has a key of its own, needs none.
        instance: name of the instance, after which the password of its keystores is made; by default the identity's.
        now: seconds since 1970; by default the controller's clock.
        trust_files: the CA lists of authorities that are not ours, by name.

    Raises:
        NotIssued: an identity, an authority or a list is not made yet, or has expired.
    """
    moment = int(time.time()) if now is None else now
    holding = read_holding(
        paths,
        identities,
        trust=trust,
        passphrase=passphrase,
        instance=instance,
        now=moment,
        lists=read_trust_lists(trust_files or {}),
    )
    files = files_of(holding, formats)
    secret = frozenset(path for path in files if path.rpartition("/")[2] in SECRET_FILES)
    infos = {folder: it.info for folder, it in holding.presented.items()}
    return MaterialFiles(files, secret, inputs_of(holding, formats), infos, _born(holding, formats))


def _born(holding: Holding, formats: t.Collection[str]) -> dict[str, dict[str, t.Any]]:
    return {
        folder: {
            "identity": it.info.name,
            "spki_sha256": it.info.spki_sha256,
            "keystore": "pkcs12" in formats,
            **({"combined": True} if "combined" in formats else {}),
        }
        for folder, it in holding.presented.items()
        if it.secret is None
    }


# Read


def read_holding(
    paths: StorePaths,
    identities: t.Mapping[str, str],
    *,
    trust: t.Sequence[str],
    passphrase: str | None,
    instance: str,
    now: int,
    lists: t.Mapping[str, TrustList],
) -> Holding:
    """Return what an instance is to hold; the arguments are those of ``material``, with the CA lists read."""
    with opened(paths) as (authority_folder, identity_folder):
        authorities = read_authorities(authority_folder)
        trusted = {
            name: lists[name].certificates if name in lists else (_root_of(name, authorities, paths=paths).certificate,)
            for name in sorted(set(trust))
        }
        presented = {}
        reader = IdentityReader(identity_folder, authorities, lists)
        for folder, identity in sorted(identities.items()):
            usable = _usable(identity, reader.read(identity), now=now, paths=paths)
            root = reader.root_above(identity)
            if root is None or usable.authority not in lists:
                ours = _root_of(usable.authority, authorities, paths=paths)
                above = ours.certificate, ours.where
            else:
                above = root, lists[usable.authority].where
            given: dict[str, t.Any] = {"passphrase": passphrase, "instance": instance or identity}
            presented[folder] = _presented(identity_folder, usable, above, **given)
    own = [name for name in trusted if name not in lists]
    return Holding(presented, trusted, _listed(own, authorities, now=now), now)


def _root_of(name: str, authorities: t.Mapping[str, Authority], *, paths: StorePaths) -> Ca:
    root = authorities.get(name, Authority()).root
    if root is None:
        raise NotIssued(
            "the root of authority %s is not in the store %s, which holds %s; run connsec.tls.pki first"
            % (name, paths.authorities, few(each for each in authorities if authorities[each].root) or "none")
        )
    return root


def _usable(name: str, info: IdentityInfo | None, *, now: int, paths: StorePaths) -> IdentityInfo:
    if info is None:
        why = "has no certificate in %s yet" % paths.identities
    elif not info.authority:
        why = "has a certificate whose issuer is not in %s" % paths.authorities
    elif now > info.chain_not_after:
        end = datetime.datetime.fromtimestamp(info.chain_not_after, datetime.UTC).isoformat()
        why = "has no valid certificate: its own, or one above it, ended at %s" % end
    else:
        return info
    raise NotIssued("identity %s %s; run connsec.tls.pki first" % (name, why))


def _presented(
    folder: Folder,
    info: IdentityInfo,
    root: tuple[x509.Certificate, str],
    *,
    passphrase: str | None,
    instance: str,
) -> Presented:
    where = os.path.join(folder.path, identity_file(info.name))
    bundle = read_bundle(folder, info.name)
    if bundle is None:
        raise _gone(where)
    chain = tuple(_pki.load_certificate(pem, where=where) for pem in bundle.certificates)
    for certificate, issuer in pairwise(chain):
        _pki.refuse_unless_issued_by(certificate, issuer, where=where)
    _pki.refuse_unless_issued_by(chain[-1], root[0], where=root[1])
    if bundle.key is None:
        return Presented(info, chain, root[0], None)
    secret = open_secret(folder, store="identities", passphrase=passphrase)
    if secret is None:
        raise _gone(os.path.join(folder.path, SECRET_FILE))
    key = _pki.load_key(bundle, password=secret.key_password(info.spki_sha256), where=where)
    password = secret.keystore_password(instance)
    return Presented(info, chain, root[0], PresentedSecret(key, password, secret.digest(password)))


def _gone(where: str) -> StoreError:
    return StoreError("%s is gone; restore it from a backup: without it no key of the store can be read" % where)


def _listed(roots: t.Iterable[str], authorities: t.Mapping[str, Authority], *, now: int) -> dict[str, Ca]:
    return {"%s/%s" % (name, ca.part): ca for name in roots for ca in authorities[name].living(now)}


# Make


def files_of(holding: Holding, formats: t.Iterable[str]) -> dict[str, bytes]:
    """Return the files of a holding in the formats that its readers read; PEM always."""
    files: dict[str, bytes] = {}
    for name in sorted({"pem", *formats}):
        if name not in _MAKERS:
            raise StoreError("%r is not a format; there are %s" % (name, ", ".join(sorted(_MAKERS))))
        files.update(_MAKERS[name](holding))
    return files


def _pem_files(holding: Holding) -> dict[str, bytes]:
    accepted = {_pki.certificate_pem(each) for several in holding.trusted.values() for each in several}
    files = {"trust.pem": b"".join(sorted(accepted))}
    for folder, it in holding.presented.items():
        pems = [_pki.certificate_pem(certificate) for certificate in it.chain]
        made = {"certificate.pem": pems[0], "chain.pem": b"".join(pems[1:]), "fullchain.pem": b"".join(pems)}
        if it.secret is not None:
            made["key.pem"] = _pki.plain_pem(it.secret.key)
        files.update({file_in(folder, name): data for name, data in made.items()})
    return files


def _combined_files(holding: Holding) -> dict[str, bytes]:
    """Return one file each of certificate, key and chain, for programs that read them from one."""
    files = {}
    for folder, it in holding.presented.items():
        if it.secret is not None:
            certificate, *chain = map(_pki.certificate_pem, it.chain)
            # httpd takes a key for that of the certificate before it
            files[file_in(folder, "combined.pem")] = b"".join([certificate, _pki.plain_pem(it.secret.key), *chain])
    return files


def _keystore_files(holding: Holding) -> dict[str, bytes]:
    files = {}
    for folder, it in holding.presented.items():
        if it.secret is not None:
            key, password = it.secret.key, it.secret.password
            made = keystore(it.info.name, key=key, certificate=it.chain[0], chain=it.chain[1:], password=password)
            files[file_in(folder, "keystore.p12")] = made
            files[file_in(folder, "keystore.password")] = password.encode()
    return files


def _truststore_files(holding: Holding) -> dict[str, bytes]:
    return {"truststore.p12": truststore(holding.trusted)} if holding.trusted else {}


def _list_files(holding: Holding) -> dict[str, bytes]:
    return {"crl.pem": b"".join(_current_list(name, ca, now=holding.now) for name, ca in holding.listed.items())}


def _current_list(name: str, ca: Ca, *, now: int) -> bytes:
    if ca.crl is None or ca.info.crl is None or now > ca.info.crl.next_update:
        raise NotIssued("%s has no revocation list that is current; run connsec.tls.pki first" % name)
    return ca.crl


_MAKERS: t.Mapping[str, t.Callable[[Holding], dict[str, bytes]]] = {
    "combined": _combined_files,
    "crl": _list_files,
    "java": _truststore_files,
    "pem": _pem_files,
    "pkcs12": _keystore_files,
    "store": lambda _holding: {},  # certificates of a Windows host's stores lie in no file
}


def inputs_of(holding: Holding, formats: t.Collection[str]) -> dict[str, t.Any]:
    """Return what goes into a generation, as digests and names."""
    lists = sorted(list_name(name.partition("/")[0], ca) for name, ca in holding.listed.items())
    return {
        "identities": {folder: _inputs_of_identity(it, formats) for folder, it in holding.presented.items()},
        "crl": lists if "crl" in formats else None,
        "formats": sorted({"pem", *formats}),
        "trust": sorted({_pki.der_sha256(each) for several in holding.trusted.values() for each in several}),
    }


def _inputs_of_identity(it: Presented, formats: t.Collection[str]) -> dict[str, t.Any]:
    return {
        "certificate": it.info.sha256,
        "chain": list(it.info.chain_sha256),
        "password": it.secret.password_digest if it.secret and "pkcs12" in formats else None,
        **({"key": it.info.spki_sha256} if it.secret is None else {}),
        "root": _pki.der_sha256(it.root),
    }
