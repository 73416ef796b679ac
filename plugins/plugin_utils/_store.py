# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of authorities and identities: look at it, fill it, take material out of it; private to this collection.

Layout (folders 0700, files 0600)::

    authorities/secret.json                         the master key, under the passphrase
    authorities/journal.jsonl                       what was about to be signed, and was
    authorities/<name>/root.pem                     certificate and encrypted key, one file each
    authorities/<name>/issuing-000001.pem
    authorities/<name>/{root,issuing-000001}.crl.pem
    identities/secret.json
    identities/<name>.pem                           certificate, issuing certificate, encrypted key

A key and its certificate share a file, so no reader ever sees one without the other.
"""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import dataclass, field
from itertools import pairwise

from cryptography import x509

from ..module_utils._core._change import Change
from ..module_utils._core._material import (
    NOT_ISSUED_YET,
    AuthorityInfo,
    IdentityInfo,
    WantedAuthority,
    WantedIdentity,
    notes_on_authority,
    plan_authority,
    plan_identity,
)
from . import _pki
from ._folder import Folder, StoreError
from ._formats import keystore, truststore
from ._found import Authority, Ca, Found, identity_file, look, published_serials, read_authorities, read_identity
from ._place import StorePaths, refuse_bad_place, store_paths
from ._secrets import FILE as SECRET_FILE
from ._secrets import Passphrases, open_secret
from ._transaction import Transaction, open_secrets

__all__ = [
    "NOT_ISSUED_YET",
    "MaterialFiles",
    "NotIssued",
    "Passphrases",
    "StoreError",
    "StorePaths",
    "StoreView",
    "carry_out",
    "inspect",
    "material",
    "preflight",
    "refuse_bad_place",
    "store_paths",
]


class NotIssued(StoreError):
    """An identity has no certificate in the store yet."""


@dataclass(frozen=True)
class StoreView:
    """What the store holds of what is wanted, and what is due.

    Attributes:
        changes: what is due, with its reason; after ``carry_out``, what was done.
        postponed: revocation lists that are due and wait for a run that has the authorities' passphrase.
        identities: the wanted identities that have a certificate.
        authorities: every authority of the store.
        trust: by authority, the fingerprints of its roots.
        roots: by authority, its roots as PEM.
        empty: whether the store holds nothing.
        unfinished: what a killed run announced and never published, one sentence each.
        notes: what somebody should know.
    """

    changes: tuple[Change, ...] = ()
    postponed: tuple[Change, ...] = ()
    identities: t.Mapping[str, IdentityInfo] = field(default_factory=dict)
    authorities: t.Mapping[str, AuthorityInfo] = field(default_factory=dict)
    trust: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    roots: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    empty: bool = True
    unfinished: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def due(self) -> dict[str, str]:
        """Return the reasons of all changes by target."""
        return {change.target: change.reason for change in self.changes}


@dataclass(frozen=True, repr=False)
class MaterialFiles:
    """What one instance's host must hold.

    Attributes:
        files: content by file name.
        secret: the names of those that only the component's account may read.
        inputs: what went in, for comparison with a host's manifest; PKCS#12 bytes differ at each writing.
        identity: what is public about the identity; None for an instance that only verifies.
    """

    files: t.Mapping[str, bytes]
    secret: frozenset[str]
    inputs: t.Mapping[str, t.Any]
    identity: IdentityInfo | None


def inspect(
    paths: StorePaths,
    authorities: t.Sequence[WantedAuthority],
    identities: t.Sequence[WantedIdentity],
    *,
    now: int,
) -> StoreView:
    """Return what the store holds and what is due. Needs no passphrase, takes no lock, changes nothing."""
    _refuse_doubles(authorities, identities)
    with _folders(paths) as (authority_folder, identity_folder):
        found = look(authority_folder, identity_folder, [wanted.name for wanted in identities])
    return _view(found, authorities, identities, now=now)


def _refuse_doubles(authorities: t.Sequence[WantedAuthority], identities: t.Sequence[WantedIdentity]) -> None:
    for what, names in (("authority", [a.name for a in authorities]), ("identity", [i.name for i in identities])):
        double = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        if double is not None:
            raise StoreError("%s %s is given twice; give each name once" % (what, double))
    files: dict[str, str] = {}
    for wanted in identities:
        other = files.setdefault(identity_file(wanted.name).lower(), wanted.name)
        if other != wanted.name:
            raise StoreError("identities %s and %s differ in case only; rename one" % (other, wanted.name))
    known = {wanted.name for wanted in authorities}
    for wanted in identities:
        if wanted.authority not in known:
            raise StoreError(
                "identity %s names authority %s; the authorities are %s"
                % (wanted.name, wanted.authority, ", ".join(sorted(known)) or "not given")
            )


@contextlib.contextmanager
def _folders(paths: StorePaths) -> t.Iterator[tuple[Folder, Folder]]:
    with contextlib.closing(Folder(paths.authorities)) as one, contextlib.closing(Folder(paths.identities)) as other:
        yield one, other


def _view(
    found: Found,
    authorities: t.Sequence[WantedAuthority],
    identities: t.Sequence[WantedIdentity],
    *,
    now: int,
) -> StoreView:
    changes: list[Change] = []
    notes: list[str] = []
    for authority in sorted(authorities, key=lambda each: each.name):
        info = found.authorities.get(authority.name, Authority()).info(authority.name)
        changes += plan_authority(authority, found=info, now=now)
        notes += notes_on_authority(authority, found=info, now=now)
    for identity in sorted(identities, key=lambda each: each.name):
        change = plan_identity(identity, found=found.identities.get(identity.name), now=now)
        if change is not None:
            changes.append(change)
    roots = {name: [authority.root] for name, authority in sorted(found.authorities.items()) if authority.root}
    return StoreView(
        changes=tuple(changes),
        identities=found.identities,
        authorities={name: authority.info(name) for name, authority in sorted(found.authorities.items())},
        trust={name: tuple(ca.info.sha256 for ca in several) for name, several in roots.items()},
        roots={
            name: tuple(_pki.certificate_pem(ca.certificate).decode() for ca in several)
            for name, several in roots.items()
        },
        empty=not found.authorities and not found.holds_identities,
        unfinished=_unfinished(found),
        notes=tuple(notes),
    )


def _unfinished(found: Found) -> tuple[str, ...]:
    published = published_serials(found)
    return tuple(
        "a run that was stopped had announced %s (serial %s) and never published it" % (intent.target, serial)
        for serial, intent in sorted(found.journal.open.items(), key=lambda item: item[1].target)
        if serial not in published
    )


# Decide


def preflight(
    paths: StorePaths, view: StoreView, *, passphrases: Passphrases, generations_seen: t.Sequence[str] = ()
) -> StoreView:
    """Return the view with what this run can do; raise an error where it cannot start. Changes nothing.

    A run whose identities are all valid needs no authority's passphrase: lists that are due wait for one that has it.
    """
    if passphrases.authorities is None and all(change.target.endswith(" CRL") for change in view.changes):
        notes = (
            "%s is due: %s, and tls_authorities_passphrase is not set" % (c.target, c.reason) for c in view.changes
        )
        return _with(view, changes=(), postponed=view.changes, notes=view.notes + tuple(notes))
    if view.changes:
        _refuse_refill(paths, view, generations_seen)
        with _folders(paths) as folders:
            open_secrets(folders, view.changes, passphrases, make=False)
    return view


def _with(view: StoreView, **values: t.Any) -> StoreView:
    return StoreView(**{**vars(view), **values})


def _refuse_refill(paths: StorePaths, view: StoreView, generations_seen: t.Sequence[str]) -> None:
    """An empty store beside hosts that hold our generations is a lost store; filling it would replace every root."""
    if not generations_seen:
        return
    lost = None
    if not view.authorities and any(change.target.startswith("authority ") for change in view.changes):
        lost = paths.authorities
    elif not view.identities and any(change.target.startswith("identity ") for change in view.changes):
        with contextlib.closing(Folder(paths.identities)) as folder:
            lost = None if any(name.endswith(".pem") for name in folder.names()) else paths.identities
    if lost is not None:
        hosts = sorted(set(generations_seen))
        shown = ", ".join(hosts[:5]) + (" and %d more" % (len(hosts) - 5) if len(hosts) > 5 else "")
        raise StoreError(
            "the store %s is empty, while %s hold generations that came from it; restore it from a backup or correct "
            "tls_store, because filling it anew would replace the authorities that they trust" % (lost, shown)
        )


# Make


def carry_out(
    paths: StorePaths,
    authorities: t.Sequence[WantedAuthority],
    identities: t.Sequence[WantedIdentity],
    *,
    now: int,
    passphrases: Passphrases,
    generations_seen: t.Sequence[str] = (),
    workers: int | None = None,
) -> StoreView:
    """Do what is due, in one transaction, and return the new view with the changes that were made.

    The order is the safety: intents on the disk, then signatures, then all files on the disk under temporary names,
    then their names, authorities before identities, then the journal's last word.

    Args:
        paths: of the store.
        authorities, identities: what is wanted.
        now: seconds since 1970.
        passphrases: what the user gave.
        generations_seen: the hosts that show generations of ours.
        workers: how many processes sign; by default one for each processor.
    """
    given = {"passphrases": passphrases, "generations_seen": generations_seen}
    view = preflight(paths, inspect(paths, authorities, identities, now=now), **given)  # type: ignore[arg-type]
    if not view.changes:
        return view
    with _folders(paths) as (authority_folder, identity_folder):
        authority_folder.make()
        identity_folder.make()
        with authority_folder.locked(), identity_folder.locked():
            found = look(authority_folder, identity_folder, [wanted.name for wanted in identities])
            view = preflight(paths, _view(found, authorities, identities, now=now), **given)  # type: ignore[arg-type]
            if not view.changes:
                return view
            opened = open_secrets((authority_folder, identity_folder), view.changes, passphrases, make=True)
            transaction = Transaction(authority_folder, identity_folder, found, opened, now=now, workers=workers)
            try:
                issued = transaction.run(authorities, identities, view.due)
            finally:
                transaction.close()
            after = look(authority_folder, identity_folder, ())
    done = {**found.identities, **issued}
    new = _view(Found(after.authorities, done, after.journal, after.holds_identities), authorities, identities, now=now)
    return _with(new, changes=view.changes, unfinished=view.unfinished)


# Take out


def material(
    paths: StorePaths,
    identity: str | None,
    *,
    trust: t.Sequence[str],
    formats: t.Sequence[str] = ("pem",),
    passphrase: str | None,
    instance: str = "",
) -> MaterialFiles:
    """Return the files that an instance's host must hold, checked: key, chain and trust belong together.

    Args:
        paths: of the store.
        identity: its name; None for an instance that only verifies.
        trust: the authorities whose certificates the instance accepts.
        formats: ``pem``, ``pkcs12`` (a keystore), ``java`` (a truststore that Java reads).
        passphrase: that of the identities; an instance that only verifies needs it for the format ``java`` alone.
        instance: name of the instance, after which the password of its truststore is made if it has no identity.

    Raises:
        NotIssued: the identity, or an authority, has no certificate yet.
    """
    if identity is None:
        return _trust_alone(paths, trust, formats=formats, passphrase=passphrase, instance=instance)
    with _folders(paths) as (authority_folder, identity_folder):
        authorities = read_authorities(authority_folder)
        issuers = {ca.info.sha256: name for name, authority in authorities.items() for ca in authority.issuing}
        info = read_identity(identity_folder, identity, issuers=issuers, known_pem={})
        text = identity_folder.read(identity_file(identity))
        if info is None or text is None:
            raise NotIssued(
                "identity %s has no certificate in %s yet; run connsec.tls.pki first" % (identity, paths.identities)
            )
        secret = open_secret(identity_folder, store="identities", passphrase=passphrase)
    if secret is None:
        raise StoreError("%s has identities but no %s; restore it from a backup" % (paths.identities, SECRET_FILE))
    roots = _roots_of(authorities, trust, paths=paths)
    where = os.path.join(paths.identities, identity_file(identity))
    bundle = _pki.parse_bundle(text, where=where, least=2)
    chain = [_pki.load_certificate(pem, where=where) for pem in bundle.certificates]
    for certificate, issuer in pairwise(chain):
        _pki.refuse_unless_issued_by(certificate, issuer, where=where)
    key = _pki.load_key(bundle, password=secret.key_password(info.spki_sha256), where=where)
    password = secret.keystore_password(identity)
    files = _pem_files(key, chain, roots)
    files.update(_keystore_files(identity, key, chain, roots, formats=formats, password=password))
    inputs = {
        "certificate": info.sha256,
        "chain": list(info.chain_sha256),
        "formats": sorted({"pem", *formats}),
        "password": secret.digest(password) if "keystore.password" in files else None,
        "trust": sorted(ca.info.sha256 for held in roots.values() for ca in _roots_in(held)),
    }
    return MaterialFiles(files, SECRET_FILES & set(files), inputs, info)


def _trust_alone(
    paths: StorePaths, trust: t.Sequence[str], *, formats: t.Sequence[str], passphrase: str | None, instance: str
) -> MaterialFiles:
    """Return the files of an instance that verifies others and presents nothing."""
    with _folders(paths) as (authority_folder, identity_folder):
        authorities = read_authorities(authority_folder)
        missing = sorted(name for name in trust if name not in authorities)
        if missing:
            raise NotIssued(
                "authority %s has no certificate in %s yet; run connsec.tls.pki first" % (missing[0], paths.authorities)
            )
        roots = _roots_of(authorities, trust, paths=paths)
        files = _trust_files(roots)
        password = ""
        if "java" in formats:
            secret = open_secret(identity_folder, store="identities", passphrase=passphrase)
            if secret is None:
                raise NotIssued("%s has no identities yet; run connsec.tls.pki first" % paths.identities)
            password = secret.keystore_password(instance)
            cas = {name: [ca.certificate for ca in _roots_in(held)] for name, held in roots.items()}
            files["truststore.p12"] = truststore(cas, password=password)
            files["keystore.password"] = password.encode()
    inputs = {
        "certificate": None,
        "chain": [],
        "formats": sorted({"pem", *formats}),
        "password": secret.digest(password) if password else None,
        "trust": sorted(ca.info.sha256 for held in roots.values() for ca in _roots_in(held)),
    }
    return MaterialFiles(files, SECRET_FILES & set(files), inputs, None)


SECRET_FILES = frozenset({"key.pem", "keystore.p12", "keystore.password"})


def _pem_files(
    key: _pki.PrivateKey, chain: t.Sequence[x509.Certificate], trusted: t.Mapping[str, Authority]
) -> dict[str, bytes]:
    pems = [_pki.certificate_pem(certificate) for certificate in chain]
    return {
        "certificate.pem": pems[0],
        "chain.pem": b"".join(pems[1:]),
        "fullchain.pem": b"".join(pems),
        "key.pem": _pki.plain_pem(key),
        **_trust_files(trusted),
    }


def _trust_files(trusted: t.Mapping[str, Authority]) -> dict[str, bytes]:
    cas = [ca for held in trusted.values() for ca in (*_roots_in(held), *held.issuing)]
    roots = [ca for held in trusted.values() for ca in _roots_in(held)]
    return {
        "crl.pem": b"".join(ca.crl for ca in cas if ca.crl),
        "trust.pem": b"".join(sorted(_pki.certificate_pem(ca.certificate) for ca in roots)),
    }


def _keystore_files(
    identity: str,
    key: _pki.PrivateKey,
    chain: t.Sequence[x509.Certificate],
    trusted: t.Mapping[str, Authority],
    *,
    formats: t.Sequence[str],
    password: str,
) -> dict[str, bytes]:
    files = {}
    if "pkcs12" in formats:
        files["keystore.p12"] = keystore(identity, key=key, certificate=chain[0], chain=chain[1:], password=password)
    if "java" in formats:
        roots = {name: [ca.certificate for ca in _roots_in(held)] for name, held in trusted.items()}
        files["truststore.p12"] = truststore(roots, password=password)
    if files:
        files["keystore.password"] = password.encode()
    return files


def _roots_in(authority: Authority) -> tuple[Ca, ...]:
    return (authority.root,) if authority.root else ()


def _roots_of(
    authorities: t.Mapping[str, Authority], trust: t.Sequence[str], *, paths: StorePaths
) -> dict[str, Authority]:
    """Return the authorities that an instance trusts, by name."""
    for name in trust:
        if name not in authorities or authorities[name].root is None:
            raise StoreError(
                "authority %s is not in the store %s; it holds %s"
                % (name, paths.authorities, ", ".join(sorted(authorities)) or "none")
            )
    return {name: authorities[name] for name in sorted(set(trust))}
