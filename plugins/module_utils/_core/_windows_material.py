# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is due on a Windows host, and the orders that bring it about; private to this collection."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import typing as t
from dataclasses import dataclass, field

from ._change import Change
from ._errors import TlsError
from ._generation import Due, plan_generation, why_useless
from ._manifest import MANIFEST, Drift
from ._sddl import differs, rights_of_file, rights_of_folder, rights_of_key
from ._windows_host import STORES, Entry, Generation, Host, Instance, Json

Order = t.Dict[str, t.Any]

#: How many of the latest generations stay, as on other systems.
KEPT: t.Final = 3
#: What the service manager calls these accounts, and what everything else does.
_ACCOUNTS: t.Final[t.Mapping[str, str]] = {
    "localsystem": "NT AUTHORITY\\SYSTEM",
    "localservice": "NT AUTHORITY\\LOCAL SERVICE",
    "networkservice": "NT AUTHORITY\\NETWORK SERVICE",
}
_NAME: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")


@dataclass(frozen=True, repr=False)
class Pfx:
    """A key with its chain, in memory alone."""

    thumbprint: str
    content: str
    password: str
    chain: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Wanted:
    """What one instance of a Windows host is to hold.

    Attributes:
        name, folder, account: as everywhere.
        inputs, public: as its manifest has them.
        files: content by path in a generation.
        stores: what its certificates need in stores; nothing where its format is not ``store``.
        leaves: the thumbprint of each identity, by folder.
    """

    name: str
    folder: str
    account: str | None = None
    inputs: Json = field(default_factory=dict)
    public: Json = field(default_factory=dict)
    files: t.Mapping[str, bytes] = field(default_factory=dict)
    stores: frozenset[Entry] = frozenset()
    leaves: t.Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.folder):
            raise TlsError("%s: folder is %r; it is a single name such as %s" % (self.name, self.folder, "router"))


class Secrets(t.Protocol):
    """What makes the content of stores once it is needed, in the form that this host's Windows reads."""

    def pfx(self, folder: str) -> Pfx:
        """Return key and chain of an identity."""

    def certificate(self, entry: Entry) -> str:
        """Return a certificate of a chain or a root, DER in base64."""


def account_asked(account: str | None) -> str | None:
    """Return an account by the name under which Windows looks accounts up."""
    return _ACCOUNTS.get(account.lower(), account) if account else None


def needed_by_others(
    host: Host, folder: str, *, leaving: t.Collection[str], wanted: t.Iterable[Wanted]
) -> frozenset[Entry]:
    """Return what instances of a host other than the one of this folder need in stores.

    Args:
        host: what was seen; what is there is needed, unless its folder is among ``leaving``.
        folder: the one that is left out.
        leaving: the folders that go in this run.
        wanted: what instances are to hold after it.
    """
    there = [row for name, row in host.instances.items() if name != folder and name not in leaving]
    found = frozenset().union(*(each.named for row in there for each in row.generations.values()))
    return found.union(*(each.stores for each in wanted if each.folder != folder))


class Place:
    """One instance's folder on a Windows host: what is due there, and the orders for it."""

    def __init__(self, wanted: Wanted, host: Host, directory: str) -> None:
        """Take in what is wanted, and what was seen."""
        self._wanted = wanted
        self._host = host
        self._directory = directory
        self._base = "%s\\%s" % (directory, wanted.folder)
        self._seen = host.instances.get(wanted.folder)
        self._account = account_asked(wanted.account)
        self._sid = host.sids.get(self._account) if self._account else None
        self._due: Due | None = None

    # Decide

    def plan(self) -> Change | None:
        """Return why another generation, or a repair of the current one, is due; None if nothing is.

        Raises:
            TlsError: the host does not know the account.
        """
        if self._account and self._sid is None:
            raise TlsError(
                "this host knows no account %s; name one that is there, such as NT SERVICE\\<service>" % self._account
            )
        seen, drift = self._seen, self.drift()
        manifest = seen.installed.manifest if seen is not None and seen.installed is not None else None
        self._due = plan_generation(self._wanted.name, installed=manifest, drift=drift, wanted=self._wanted.inputs)
        return self._due.change if self._due else None

    def plan_back(
        self,
        *,
        now: float,
        trusted: t.Collection[str] | None,
        roots: t.Collection[str] | None,
        revoked: t.Collection[str],
    ) -> Change | None:
        """Return the way back to the generation before; None if it was gone already.

        Raises:
            TlsError: there is none, or it is not one that peers would accept.
        """
        name, seen = self._wanted.name, self._seen
        if seen is None or seen.current is None or seen.previous is None:
            raise TlsError("%s has no earlier generation to go back to" % name)
        if seen.current == seen.previous:
            return None
        generation = seen.generations.get(seen.previous)
        if generation is None or generation.manifest is None:
            raise TlsError("generation %s of %s is not complete any more" % (seen.previous, name))
        spoilt = next((row for row in self._drift_in(generation) if not row.repairable), None)
        if spoilt is not None:
            raise TlsError("generation %s of %s is not as it was: %s" % (seen.previous, name, spoilt.seen))
        why = why_useless(generation.manifest, now=now, trusted=trusted, roots=roots, revoked=revoked)
        if why:
            raise TlsError("generation %s of %s %s; install anew instead" % (seen.previous, name, why))
        return Change("material %s" % name, seen.current, seen.previous, "going back was asked for")

    def plan_removal(self) -> Change | None:
        """Return that its folder goes; None if there is none."""
        if self._seen is None:
            return None
        return Change("removal %s" % self._wanted.name, self._base, None, "nobody names it any more")

    def drift(self) -> list[Drift]:
        """Return what is not as it was installed, or as it is planned to be used."""
        return list(self._drift(self._seen)) if self._seen is not None and self._seen.current is not None else []

    def _drift(self, seen: Instance) -> t.Iterator[Drift]:
        generation = seen.installed
        if generation is None or generation.manifest is None:
            yield Drift(MANIFEST, "%s is missing or damaged" % MANIFEST)
            return
        yield from self._drift_in(generation)
        if differs(seen.rights, rights_of_folder(self._sid)) is not None:
            yield Drift("", "the access rules of %s are not as planned" % self._base, repairable=True)

    def _drift_in(self, generation: Generation) -> t.Iterator[Drift]:
        """Yield what of a generation is not as it was installed, or as it is planned to be used."""
        manifest = generation.manifest or {}
        for name, row in sorted((manifest.get("files") or {}).items()):
            found = generation.files.get(name)
            if found is None:
                yield Drift(name, "%s is missing" % name)
            elif found["sha256"] != row["sha256"]:
                yield Drift(name, "%s differs from what was installed" % name)
            elif differs(found["rights"], rights_of_file(self._sid)) is not None:
                yield Drift(name, "the access rules of %s are not as planned" % name, repairable=True)
        for entry in sorted(generation.named):
            if entry.thumbprint not in self._host.stores[entry.store]:
                yield Drift(_shown(entry), "certificate %s is missing" % _shown(entry))
            elif not self._host.has(entry):
                yield Drift(_shown(entry), "the private key of %s is missing" % _shown(entry))
            elif self._key_differs(entry):
                yield Drift(
                    _shown(entry), "who may use the key of %s is not as planned" % _shown(entry), repairable=True
                )

    def _key_differs(self, entry: Entry) -> bool:
        rights = self._host.stores[entry.store][entry.thumbprint]
        return entry.store == "My" and rights is not None and differs(rights, rights_of_key(self._sid)) is not None

    # Make

    def orders(self, secrets: Secrets, *, kept: frozenset[Entry], now: float) -> list[Order]:
        """Return what does what ``plan`` said; ``kept`` is what others need in stores."""
        if self._due is None:
            return []
        return self._repair() if self._due.repair else self._install(secrets, kept=kept, now=now)

    def orders_back(self) -> list[Order]:
        """Return what takes the generation before."""
        previous = self._seen.previous if self._seen is not None else None
        return [self._link("current", previous)] if previous is not None else []

    def orders_for_removal(self, *, kept: frozenset[Entry]) -> list[Order]:
        """Return what takes all of it away; the folder, which says what is ours, comes last."""
        if self._seen is None:
            return []
        gone = frozenset().union(*(each.ours for each in self._seen.generations.values()))
        return [*self._forget(gone - kept), self._order("remove", path=self._base)]

    def _order(self, action: str, **given: t.Any) -> Order:
        return {"instance": self._wanted.name, "action": action, **given}

    def _repair(self) -> list[Order]:
        """Return what gives folder, files and keys of the current generation their access rules again."""
        seen = self._seen
        generation = seen.installed if seen is not None else None
        if seen is None or generation is None:
            return []
        orders = [self._order("folder", path=self._base, rights=rights_of_folder(self._sid))]
        for name, row in sorted(generation.files.items()):
            if differs(row["rights"], rights_of_file(self._sid)) is not None:
                path = "%s\\generations\\%s\\%s" % (self._base, seen.current, name.replace("/", "\\"))
                orders.append(self._order("rights", path=path, rights=rights_of_file(self._sid)))
        return orders + [self._key(entry) for entry in sorted(generation.named) if self._key_differs(entry)]

    def _key(self, entry: Entry) -> Order:
        return self._order("key", thumbprint=entry.thumbprint, rights=rights_of_key(self._sid))

    def _install(self, secrets: Secrets, *, kept: frozenset[Entry], now: float) -> list[Order]:
        number = self._next()
        folder = "%s\\generations\\%s" % (self._base, number)
        ours = frozenset(
            entry for entry in self._wanted.stores if not self._host.has(entry) or entry in self._host.ours
        )
        manifest = self._manifest(number, now=now)
        return [
            *self._folders(folder),
            self._file(folder, STORES, _json([[each.store, each.thumbprint] for each in sorted(ours)])),
            *(self._file(folder, name, data) for name, data in sorted(self._wanted.files.items())),
            *self._fill_stores(secrets),
            self._file(folder, MANIFEST, _json(manifest)),
            *self._take(number),
            *self._prune(kept | ours),
        ]

    def _folders(self, folder: str) -> list[Order]:
        found = []
        if self._host.rights is None or differs(self._host.rights, rights_of_folder(None)) is not None:
            found.append(self._order("folder", path=self._directory, rights=rights_of_folder(None)))
        found.append(self._order("folder", path=self._base, rights=rights_of_folder(self._sid)))
        beside = {name.rpartition("/")[0] for name in self._wanted.files} - {""}
        below = [self._base + "\\generations", folder, *("%s\\%s" % (folder, name) for name in sorted(beside))]
        return found + [self._order("folder", path=path) for path in below]

    def _file(self, folder: str, name: str, data: bytes) -> Order:
        path = "%s\\%s" % (folder, name.replace("/", "\\"))
        return self._order("file", path=path, content=base64.b64encode(data).decode())

    def _fill_stores(self, secrets: Secrets) -> t.Iterator[Order]:
        """Yield what brings certificates into stores: keys with their chains, then what is still missing."""
        missing = {entry for entry in self._wanted.stores if not self._host.has(entry)}
        for folder, thumbprint in sorted(self._wanted.leaves.items()):
            entry = Entry("My", thumbprint)
            if entry in missing:
                pfx = secrets.pfx(folder)
                missing -= {entry, *(Entry("CA", each) for each in pfx.chain)}
                rights = rights_of_key(self._sid)
                yield self._order("pfx", content=pfx.content, password=pfx.password, rights=rights)
            elif entry in self._wanted.stores and self._key_differs(entry):
                yield self._key(entry)
        for entry in sorted(missing):
            yield self._order("certificate", store=entry.store, content=secrets.certificate(entry))

    def _manifest(self, number: str, *, now: float) -> Json:
        wanted = self._wanted
        owner = account_asked(wanted.account) or ""
        files = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "owner": owner} for name, data in wanted.files.items()
        }
        return {
            "version": 1,
            "instance": wanted.name,
            "generation": number,
            "inputs": wanted.inputs,
            "identities": wanted.public,
            "files": files,
            "stores": [[each.store, each.thumbprint] for each in sorted(wanted.stores)],
            "thumbprints": dict(wanted.leaves),
            "installed_at": round(now, 3),
        }

    def _take(self, number: str) -> list[Order]:
        """Return what takes a generation. ``previous`` comes first, so that it is never later than ``current``."""
        seen = self._seen
        before = seen.current if seen is not None else None
        orders = [self._link("previous", before)] if seen is not None and before not in (None, seen.previous) else []
        return [*orders, self._link("current", number)]

    def _link(self, name: str, number: str | None) -> Order:
        target = "%s\\generations\\%s" % (self._base, number)
        return self._order("link", path="%s\\%s" % (self._base, name), target=target)

    def _prune(self, needed: frozenset[Entry]) -> list[Order]:
        """Return what takes away old generations, those that a killed run left, and what only they need in stores."""
        seen = self._seen.generations if self._seen is not None else {}
        whole = sorted((each for each, row in seen.items() if row.manifest is not None), key=int)
        stays = {*whole[-(KEPT - 1) :], self._seen.current if self._seen is not None else None}
        gone = sorted(set(seen) - stays)
        named = frozenset().union(*(row.named | row.ours for each, row in seen.items() if each in stays))
        ours = frozenset().union(*(seen[each].ours for each in gone))
        removals = [self._order("remove", path="%s\\generations\\%s" % (self._base, each)) for each in gone]
        return [*self._forget(ours - named - needed - self._wanted.stores), *removals]

    def _forget(self, entries: t.Iterable[Entry]) -> list[Order]:
        found = sorted(each for each in entries if each.thumbprint in self._host.stores[each.store])
        return [self._order("forget", store=each.store, thumbprint=each.thumbprint) for each in found]

    def _next(self) -> str:
        """Return a number that no generation had."""
        seen = self._seen
        had = [*seen.generations, seen.current or "0", seen.previous or "0"] if seen is not None else []
        return "%06d" % (max(map(int, had), default=0) + 1)


def _shown(entry: Entry) -> str:
    return "LocalMachine\\%s\\%s" % (entry.store, entry.thumbprint)


def _json(value: t.Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()
