# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA certificates that a system trusts: ours added to them, and taken out again; private to this collection.

All changes of a call are carried out as one, for one refresh makes them true. What the list of programs holds after it
is the evidence; where that is not what is wanted, the files go back to what they were.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import typing as t

from .._core._anchor import certificates_in, fingerprints_in, name_in, pem_of, target_of
from .._core._change import Change
from .._core._errors import TlsError
from .._core._system_trust import MODE, FoundFile, TrustStore, plan_system_trust, store_of
from ._anchors import Given
from ._files import locked, make_directory, remove, write_durable
from ._program import ProgramError, run
from ._reading import Found, read_regular, read_text
from ._system import IS_LINUX, SYSTEM

#: In the collection's folder, while a refresh is due: a killed run left files that the list does not know of.
UNFINISHED: t.Final = "system-trust.pending"
OS_RELEASE: t.Final = ("/etc/os-release", "/usr/lib/os-release")
#: Where systems keep what only root runs; the path of a login may not have it.
_ADMINISTRATOR: t.Final = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin")
_BUNDLE_LIMIT: t.Final = 16 << 20

#: A file of ours with what it holds, or None where it was not there.
_Kept = t.Dict[str, t.Optional[Found]]


def own_store() -> TrustStore:
    """Return the store of this system.

    Raises:
        TlsError: it is of no family that is known.
    """
    if not IS_LINUX:
        return store_of(None, system=SYSTEM)
    texts = (read_text(path) for path in OS_RELEASE)
    return store_of(next((text for text in texts if text is not None), None))


class SystemTrust:
    """The anchors of some names in a system's own trust, as they should be."""

    def __init__(self, store: TrustStore, given: Given, *, directory: str) -> None:
        """Read what is there, and decide.

        Args:
            store: where the system keeps its anchors.
            given: the names that this is about, with what is to be trusted of each.
            directory: the collection's folder on this host.

        Raises:
            TlsError: something of ours cannot be read, or is not ours any more.
        """
        self._store, self._given, self._directory = store, given, directory
        _program(store)  # that it is missing is said before anything is changed
        #: What the system trusts all the same after we removed it, with a file of others that has it.
        self.still_trusted: dict[str, str] = {}
        self._wanted = {anchor.stem + store.ending: anchor for anchor in given.anchors}
        self.changes = self._plan()

    def _plan(self) -> list[Change]:
        return plan_system_trust(
            self._store,
            self._given.anchors,
            names=self._given.names,
            found=self._found(),
            bundle=self._bundle(),
            unfinished=os.path.lexists(self._marker),
            elsewhere=self._elsewhere() if self._store.once else {},
        )

    def _elsewhere(self) -> dict[str, str]:
        """Return the other files among the anchors that hold what is wanted, by its fingerprint."""
        ours = {self._path(file) for file in self._ours()}
        rows = {anchor.sha256: self._other_source({anchor.sha256}, without=ours) for anchor in self._given.anchors}
        return {sha256: path for sha256, path in rows.items() if path is not None}

    @property
    def _marker(self) -> str:
        return os.path.join(self._directory, UNFINISHED)

    def _path(self, file: str) -> str:
        return os.path.join(self._store.anchors, file)

    def _found(self) -> dict[str, FoundFile]:
        """Return our files among the anchors."""
        return {file: self._seen(file, read_regular(self._path(file))) for file in self._ours()}

    def _ours(self) -> list[str]:
        """Return the files of the folder that have a name of ours, of the names that this is about."""
        ending = self._store.ending
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            entries = sorted(os.listdir(self._store.anchors))
            return [
                entry
                for entry in entries
                if entry.endswith(ending) and name_in(entry[: -len(ending)]) in self._given.names
            ]
        return []

    def _seen(self, file: str, found: Found | None) -> FoundFile:
        der = None if found is None else _only_certificate(found.data)
        if found is None or der is None:
            return FoundFile(None, False, {"bytes": 0 if found is None else len(found.data)})
        sha256 = hashlib.sha256(der).hexdigest()
        as_written = found.data == pem_of(der).encode() and found.mode == MODE
        wanted = self._wanted.get(file)
        shown = dict(wanted.shown) if wanted is not None and wanted.sha256 == sha256 else {"sha256": sha256}
        if found.mode != MODE:
            shown["mode"] = "%04o" % found.mode
        return FoundFile(sha256, as_written, shown)

    def _bundle(self) -> set[str]:
        return fingerprints_in(read_text(self._store.bundle, limit=_BUNDLE_LIMIT) or "")

    # carried out as one

    def settle(self) -> None:
        """Write and remove files, refresh, and see that the list is as wanted; else put everything back.

        Raises:
            TlsError: it did not come about; the sentence says what stands now.
        """
        with locked(self._directory):
            was_unfinished = os.path.lexists(self._marker)
            kept = {file: read_regular(self._path(file)) for file in {*self._wanted, *self._ours()}}
            gone = {file: found for file, found in kept.items() if file not in self._wanted and found is not None}
            write_durable(self._marker, b"a refresh is due\n", mode=0o600)
            try:
                self._write(gone)
                self._refresh(removed=bool(gone) or was_unfinished)
                self._prove(gone)
            except TlsError as error:
                raise TlsError("%s; %s" % (error, self._put_back(kept))) from error
            remove(self._marker)

    def _write(self, gone: t.Iterable[str]) -> None:
        make_directory(self._store.anchors)
        for file, anchor in self._wanted.items():
            write_durable(self._path(file), anchor.pem.encode(), mode=MODE)
        for file in gone:
            remove(self._path(file))

    def _refresh(self, *, removed: bool) -> None:
        argv = self._store.refresh_removed if removed else self._store.refresh
        before = os.umask(0o022)  # what it makes is for everybody
        try:
            run([_program(self._store), *argv[1:]], what="the refresh of the system's trust")
        finally:
            os.umask(before)

    def _prove(self, gone: t.Mapping[str, Found]) -> None:
        """See that the list that programs read holds what is wanted, and what went by the word of others alone.

        Raises:
            ProgramError: it does not.
        """
        bundle, said = self._bundle(), "%s ended well, and %s %s %s all the same"
        command = " ".join(self._store.refresh)
        for anchor in self._wanted.values():
            if anchor.sha256 not in bundle:
                raise ProgramError(said % (command, self._store.bundle, "lacks", anchor.target))
        for file, found in sorted(gone.items()):
            left = fingerprints_in(found.data.decode("ascii", "replace")) & bundle
            if not left or left <= {anchor.sha256 for anchor in self._wanted.values()}:
                continue
            target = target_of(file[: -len(self._store.ending)])
            other = self._other_source(left)
            if other is None:
                raise ProgramError(said % (command, self._store.bundle, "still holds", target))
            self.still_trusted[target] = other

    def _other_source(self, sha256: set[str], *, without: t.Collection[str] = ()) -> str | None:
        """Return another file from which a certificate comes into the list."""
        for top in (self._store.anchors, *self._store.others):
            for folder, _folders, names in os.walk(top):
                for name in sorted(names):
                    path = os.path.join(folder, name)
                    if path in without:
                        continue
                    with contextlib.suppress(TlsError):
                        if sha256 <= fingerprints_in(read_text(path, limit=_BUNDLE_LIMIT) or ""):
                            return path
        return None

    def _put_back(self, kept: _Kept) -> str:
        """Restore the files that were there; return what became of that."""
        try:
            for file, found in sorted(kept.items()):
                if found is None:
                    remove(self._path(file))
                else:
                    write_durable(self._path(file), found.data, mode=found.mode, owner=found.owner)
            self._refresh(removed=True)
        except TlsError as error:
            return "and what was there is not back as a whole: %s" % error
        remove(self._marker)
        return "what was there is back"


def _only_certificate(data: bytes) -> bytes | None:
    """Return the one certificate in a file, in DER; None if something else stands there."""
    try:
        found = certificates_in(data.decode("ascii"), "it")
    except (TlsError, UnicodeDecodeError):
        return None
    return found[0] if len(found) == 1 else None


def _program(store: TrustStore) -> str:
    """Return where the command of a store lies.

    Raises:
        ProgramError: the system has none.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_ADMINISTRATOR])
    found = shutil.which(store.refresh[0], path=path)
    if found is None:
        raise ProgramError("this system has no %s; install %s" % (store.refresh[0], store.package))
    return found
