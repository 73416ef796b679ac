# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that are born on a host and never leave it, kept until their certificate comes; private to this collection.

::

    pending-key-<identity>/{key.pem, or keystore.p12 and keystore.password}    0400, the account's
    pending-key-<identity>/key.json                 whose it is, its public half's digest, its request

The folder is made whole under another name and taken by one rename. A generation gets a copy of the key, and only then
the folder goes: killed at any moment, the next run finds the key here or in a generation.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import typing as t

from .._core._birth import BirthRefused, PendingKey, Terms, WantedKey, keeps_its_key, plan_birth
from .._core._change import Change
from .._core._names import identity_name
from ._born import COMBINED, KEY, KEYSTORE, PASSWORD, RECORD, kept, record_of, waiting_in
from ._der import key_of_request
from ._files import give, make_directory, make_own, owner_of_account, sync_folder, write_new
from ._installed import linked
from ._keygen import (
    answer_keystore,
    make_key,
    make_key_in_keystore,
    make_keystore,
    make_request,
    make_request_of_keystore,
    new_password,
    password_of,
    program,
    request_der,
)
from ._reading import FilesError, Owner, read_regular, refusal

_KNOWN: t.Final = ("identity", "key_type", "spki_sha256", "request")
_NEW: t.Final = ".pending-key.connsec-new"
_ANSWERING: t.Final = ".keystore.connsec-new"
_PEM_END: t.Final = b"-----END CERTIFICATE-----\n"


def pending_key(base: str, identity: str) -> PendingKey | None:
    """Return the key of an identity that waits in an instance's folder for its certificate; None if none does."""
    folder = waiting_in(base, identity)
    if not os.path.lexists(folder):
        return None
    record, why = record_of(folder)
    whose, key_type, spki, request = (str(record.get(name) or "") for name in _KNOWN)
    return PendingKey(whose, key_type, spki, request, why, Terms.of(record.get("terms") or {}))


# Birth


class Birth:
    """The key of one identity of an instance, to be made where it is to be used."""

    def __init__(self, directory: str, asked: t.Mapping[str, t.Any]) -> None:
        """Take in what is asked for.

        Args:
            directory: the host's folder of ours.
            asked: ``name``, ``folder``, ``account``, ``identity``, ``key_type``, ``certified`` and ``keystore_only``;
                and ``names``, ``usages`` and ``common_name`` where others sign.

        Raises:
            BirthRefused: there is no such key type, or nobody can sign what is asked for.
            NameRefused: it asks for something that is no name.
            FilesError: the account is not there.
            NameRefused: the identity's name cannot become a folder.
        """
        identity = identity_name(str(asked["identity"]), "identity")
        certified = str(asked.get("certified") or "")
        self._wanted = WantedKey(str(asked["name"]), identity, str(asked["key_type"]), certified, Terms.of(asked))
        self._keystore_only = bool(asked.get("keystore_only"))
        self._owner: Owner = owner_of_account(asked.get("account"))
        self.base = os.path.join(directory, str(asked["folder"]))

    def plan(self) -> Change | None:
        """Return why a key has to be born, or asked for anew; None if one waits for its certificate already."""
        return plan_birth(self._wanted, pending=self.request())

    def request(self) -> PendingKey | None:
        """Return the key that waits, with its request."""
        return pending_key(self.base, self._wanted.identity)

    def make(self) -> None:
        """Make key and request, or a new request for the key that waits, and take them by one rename.

        Raises:
            TlsError: they cannot be made; nothing half-made is left.
        """
        make_own(self.base)
        new = os.path.join(self.base, _NEW)
        shutil.rmtree(new, ignore_errors=True)
        make_directory(new, mode=0o700)
        try:
            request = self._born(new)
            self._record(new, request)
            self._take(new)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _born(self, folder: str) -> str:
        """Make the key, with the program that this host has, unless one waits that stays; and return its request."""
        wanted = self._wanted
        openssl, keytool = program("openssl"), program("keytool")
        stays = self._copied(folder) if keeps_its_key(wanted, pending=self.request()) else ()
        if openssl and KEYSTORE not in stays:
            key = os.path.join(folder, KEY)
            if not stays:
                make_key(openssl, wanted.key_type, key)
            return make_request(openssl, key, wanted, folder=folder)
        if keytool and (KEYSTORE in stays or (self._keystore_only and not stays)):
            if not stays:
                password = password_of(os.path.join(self.base, "current")) or new_password()
                write_new(os.path.join(folder, PASSWORD), password.encode(), mode=0o400)
                make_key_in_keystore(keytool, wanted.key_type, wanted.identity, folder=folder)
            return make_request_of_keystore(keytool, wanted, folder=folder)
        raise BirthRefused(
            "the key of %s is to be born on this host, which has no openssl%s; install it, or let the key be made with"
            " key_at: controller" % (wanted.instance, "" if self._keystore_only else " (it reads more than a keystore)")
        )

    def _copied(self, folder: str) -> tuple[str, ...]:
        """Copy the files of the key that waits, and return their names; the rename takes them all at once."""
        names = []
        for name in (KEY, KEYSTORE, PASSWORD):
            found = read_regular(os.path.join(waiting_in(self.base, self._wanted.identity), name))
            if found is not None:
                write_new(os.path.join(folder, name), found.data, mode=0o400)
                names.append(name)
        return tuple(names)

    def _record(self, folder: str, request: str) -> None:
        """Write down whose key it is, and give its files to their account."""
        names = [name for name in (KEY, KEYSTORE, PASSWORD) if os.path.exists(os.path.join(folder, name))]
        record = {
            "version": 1,
            "instance": self._wanted.instance,
            "identity": self._wanted.identity,
            "key_type": self._wanted.key_type,
            "spki_sha256": hashlib.sha256(key_of_request(request_der(request))).hexdigest(),
            "request": request,
            "terms": vars(self._wanted.terms),
            "files": {name: self._given(os.path.join(folder, name)) for name in names},
            "born_at": round(time.time(), 3),
        }
        write_new(
            os.path.join(folder, RECORD), (json.dumps(record, sort_keys=True, indent=1) + "\n").encode(), mode=0o600
        )

    def _given(self, path: str) -> str:
        """Give a file to its account, and return its digest once the disk has it."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                give(file, self._owner)
                os.fchmod(file, 0o400)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise refusal(path, error, "given to its account") from error
        found = read_regular(path)
        return hashlib.sha256(found.data).hexdigest() if found else ""

    def _take(self, new: str) -> None:
        waiting = waiting_in(self.base, self._wanted.identity)
        sync_folder(new)
        shutil.rmtree(waiting, ignore_errors=True)
        try:
            os.rename(new, waiting)
        except OSError as error:
            raise refusal(waiting, error, "taken") from error
        sync_folder(self.base)


# Use


def own_files(base: str, place: str, asked: t.Mapping[str, t.Any], certificates: bytes) -> dict[str, bytes]:
    """Return the secret files of an identity whose key was born here: the key, and what is read that holds it.

    Args:
        base: the instance's folder.
        place: the identity's folder in a generation.
        asked: ``spki_sha256`` of the key, ``identity``, and whether a ``keystore`` or a ``combined`` file is read.
        certificates: its certificate and those above it, as PEM.

    Raises:
        TlsError: the key is not there any more, or a keystore cannot be made of it.
    """
    folder = _folder_of_key(base, asked)
    if folder is None:
        raise FilesError(
            "the key of %s is not on this host any more; run again: a new one is born and gets a certificate"
            % asked["identity"]
        )
    password = password_of(folder) or _current_password(base, place) or new_password()
    secret = {PASSWORD: password.encode()} if asked.get("keystore") else {}
    key = read_regular(os.path.join(folder, KEY))
    if key is None:
        return {**secret, KEYSTORE: _answered(base, folder, asked, certificates)}
    if asked.get("keystore"):
        openssl = _needed("openssl", asked)
        path, alias = os.path.join(folder, KEY), str(asked["identity"])
        secret[KEYSTORE] = make_keystore(openssl, path, certificates, alias=alias, password=password)
    if asked.get("combined"):
        # httpd takes a key for that of the certificate before it
        own, end, chain = certificates.partition(_PEM_END)
        secret[COMBINED] = own + end + key.data + chain
    return {KEY: key.data, **secret}


def _folder_of_key(base: str, asked: t.Mapping[str, t.Any]) -> str | None:
    identity, digest = str(asked["identity"]), str(asked["spki_sha256"])
    waiting = pending_key(base, identity)
    if waiting is not None and not waiting.spoilt and waiting.spki_sha256 == digest:
        return waiting_in(base, identity)
    return next((folder for found, folder in kept(base) if found == digest), None)


def _current_password(base: str, place: str) -> str | None:
    """Return the password that programs know already: it stays the same from one generation to the next."""
    return password_of(os.path.join(base, "generations", linked(base, "current") or "", place))


def _answered(base: str, folder: str, asked: t.Mapping[str, t.Any], certificates: bytes) -> bytes:
    """Return the keystore in which keytool made the key, with its certificates put in; the one that waits stays."""
    place = os.path.join(base, _ANSWERING)
    shutil.rmtree(place, ignore_errors=True)
    make_directory(place, mode=0o700)
    try:
        for name in (KEYSTORE, PASSWORD):
            found = read_regular(os.path.join(folder, name))
            if found is not None:
                write_new(os.path.join(place, name), found.data, mode=0o400)
        return answer_keystore(_needed("keytool", asked), certificates, alias=str(asked["identity"]), folder=place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _needed(name: str, asked: t.Mapping[str, t.Any]) -> str:
    found = program(name)
    if found is None:
        raise BirthRefused("the key of %s was made by %s, which this host has not any more" % (asked["identity"], name))
    return found


def forget_pending(base: str, asked: t.Mapping[str, t.Any]) -> None:
    """Let the key that waited go, once a generation has it."""
    identity = str(asked["identity"])
    waiting = pending_key(base, identity)
    if waiting is not None and waiting.spki_sha256 == str(asked["spki_sha256"]):
        with contextlib.suppress(OSError):
            shutil.rmtree(waiting_in(base, identity))
            sync_folder(base)
