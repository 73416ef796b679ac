# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: every pair's stage, evidence and history on the controller; private to this collection.

The fleet is the truth: the ledger only adds what cannot be seen, when something was reached and what was seen then. A
look that finds nothing new writes nothing.
"""

from __future__ import annotations

import datetime
import json
import typing as t
from dataclasses import dataclass, replace

from ..module_utils._core import _chain
from ..module_utils._core._chain import Chain, Entry, Head
from ..module_utils._core._stages import furthest
from . import _history
from ._folder import Batch, Folder, StoreError
from ._history import History
from ._operator import Operator
from ._seal import Seal, SealKeys
from ._secrets import Secret, checked_passphrase, refuse_short

VERSION = 2
#: Of a ledger that is sealed: a release that knows nothing of seals does not write to it.
SEALED_VERSION = 3
_CURRENT = "connections.json"
_LARGEST = 1 << 28
#: What a line has in it that may be an entry of that kind.
_MISSED: t.Final = b'"%s"' % _chain.MISSED.encode()

#: What is recorded, by pair.
Rows = t.Mapping[str, t.Mapping[str, t.Any]]


class Fault(t.NamedTuple):
    """What is wrong with a ledger, and what to do."""

    seen: str
    todo: str


_NO_PASSPHRASE: t.Final = Fault(
    "it is sealed, and tls_ledger_passphrase is not set", "set it, best from Ansible Vault: no run writes without it"
)
UNCHECKED: t.Final = Fault(
    "it is sealed, and tls_ledger_passphrase is not set, so its seal is not checked",
    "run it with tls_ledger_passphrase",
)
_WRONG: t.Final = Fault(
    "tls_ledger_passphrase is not the one that %s is sealed with" % _CURRENT,
    "give that one; to change it, give that one in tls_ledger_former_passphrase; if it is that one, somebody else made"
    " the seal",
)
_NO_SEAL: t.Final = Fault(
    "%s carries no seal, and tls_ledger_passphrase is set" % _CURRENT,
    "if it never had one, run connsec.tls.rollout with -e tls_seal_ledger=true; else find out who took it away",
)


@dataclass(frozen=True)
class _Present:
    """What ``connections.json`` says.

    Attributes:
        pairs: where every pair stands.
        head: where the history's chain ended when it was written; None where nothing was counted.
        told: up to which entry of the history the pairs tell of it.
        seal: the ledger's seal, where it has one.
    """

    pairs: dict[str, dict[str, t.Any]]
    head: Head | None = None
    told: int = 0
    seal: Seal | None = None

    @property
    def sealed_content(self) -> dict[str, t.Any]:
        """What the seal covers."""
        return {"pairs": self.pairs, "history": vars(self.head or Head()), "told": self.told}

    def to_json(self) -> dict[str, t.Any]:
        """Return it as it is written."""
        if self.seal is None:
            return {"version": VERSION, "pairs": self.pairs, "history": vars(self.head or Head())}
        return {"version": SEALED_VERSION, **self.sealed_content, "seal": self.seal.to_json()}

    @staticmethod
    def from_json(found: t.Mapping[str, t.Any]) -> _Present:
        """Return what was written as ``found``.

        Raises:
            KeyError, TypeError, ValueError: it is none of ours.
        """
        pairs = dict(found["pairs"])
        if found["version"] == 1:
            return _Present(pairs)
        head = Head(**found["history"])
        if found["version"] == VERSION:
            return _Present(pairs, head, head.entries)
        return _Present(pairs, head, int(found["told"]), Seal.from_json(found["seal"]))


class Ledger:
    """The ledger in its folder; reading makes nothing.

    ``connections.json`` says where every pair stands, ``history.jsonl`` how it got there. The former also holds the
    head of the latter's chain, and where the ledger has a passphrase, the seal. So one rename changes all of it: a run
    that is killed between the two files leaves entries that carry their own seals after a head that is sealed as well.

    One of version 1 is read as it is, and taken over when something new is recorded.
    """

    def __init__(self, path: str, keys: SealKeys = SealKeys()) -> None:  # noqa: B008 (frozen)
        self._folder = Folder(path, guarded=True)
        self._history = History(self._folder)
        self._keys = keys

    def pairs(self) -> dict[str, dict[str, t.Any]]:
        """Return what is recorded, by pair: ``stage``, ``status``, ``evidence``, ``since``.

        Raises:
            StoreError: the file is not what we wrote.
        """
        return self._read().pairs

    def _read(self) -> _Present:
        data = self._folder.read(_CURRENT, limit=_LARGEST)
        if data is None:
            return _Present({})
        try:
            found = json.loads(data)
            if found["version"] not in (1, VERSION, SEALED_VERSION):
                raise StoreError(
                    "the ledger %s is of version %r and this release reads versions 1 to %d; use the release that"
                    " wrote it" % (self._folder.path, found["version"], SEALED_VERSION)
                )
            return _Present.from_json(found)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                "the ledger file %s/%s is damaged; move it away, and the stages are seen again by looking"
                % (self._folder.path, _CURRENT)
            ) from error

    # ---------------------------------------------------------------- writing

    def ready(self, *, operator: Operator, now: float) -> None:
        """Have the ledger as a run needs it that writes to it: with its seal checked, or made, or made anew.

        An empty ledger is sealed from its first entry on. One that was written without a seal is sealed only where
        somebody says so: it cannot be told from one whose seal was taken away.

        Raises:
            StoreError: the seal cannot be checked, or does not hold.
        """
        if self._keys.passphrase is None and self._read().seal is None:
            return
        self._folder.make()
        with self._folder.locked():
            present = self._read()
            secret, anew = self._key(present), present.seal is None
            if secret is None and present.seal is not None and self._keys.former is not None:
                secret, anew = present.seal.opened(self._passphrase(self._keys.former)), True
            adopting = self._keys.adopt or self._is_empty(present)
            self._refuse(
                self._locked_out(present, secret)
                or self._changed(present, secret)
                or (None if adopting else self._unsealed(present))
            )
            if anew:
                self._seal(present, secret, at=_iso(now), by=_by(operator))

    def _seal(self, present: _Present, former: Secret | None, *, at: str, by: Entry) -> None:
        """Seal the ledger from its next entry on, in one step, and say so in that entry."""
        passphrase = self._passphrase(self._keys.passphrase)
        refuse_short(passphrase, store="ledger")
        if present.seal is not None and former is not None:
            old = present.seal.sealing(former)
            head = self._history.append([], at=at, by=by, after=present.head, sealing=old)
        else:
            head = self._history.append([], at=at, by=by, old=bool(present.pairs) and present.head is None)
        told = head.entries if present.head is None else present.told
        seal, secret = Seal.new(passphrase, first=head.entries + 1)
        present = replace(present, head=head, told=told, seal=seal)
        self._publish(present, secret)
        head = self._history.append([], at=at, by=by, after=head, sealing=seal.sealing(secret))
        self._publish(replace(present, head=head), secret)

    def begin(self, run: Entry, *, operator: Operator, now: float) -> Head:
        """Record that a run begins to change hosts, before it does: its goal and the digest of its plan.

        Returns:
            Where the history ends now; hosts are told of it.
        """
        return self._note({"event": _chain.BEGUN, **run}, operator=operator, now=now)

    def miss(self, heads: t.Iterable[Head], *, operator: Operator, now: float) -> None:
        """Record that somebody was told of these heads, and that the history has them not; they are told of no more."""
        self._note(_chain.missed(heads), operator=operator, now=now)

    def _note(self, entry: Entry, *, operator: Operator, now: float) -> Head:
        """Record something that is of no pair, and return where the history ends now."""
        self._folder.make()
        with self._folder.locked():
            present = self._read()
            secret = self._writing(present)
            head = self._append(present, secret, [entry], operator=operator, now=now)
            if secret is not None:
                self._publish(replace(present, head=head), secret)
        return head

    def has_begun(self, plan: str) -> bool:
        """Return whether a run began to carry out the plan of this digest."""
        return any(each.get("event") == _chain.BEGUN and each.get("plan") == plan for each in self._history.entries())

    def record_stages(self, seen: Rows, *, operator: Operator, now: float, back: bool = False) -> list[str]:
        """Record, in the middle of a run, pairs whose stage moved; their status stays until the run's end."""
        before = self.pairs()
        moved = {name: row for name, row in seen.items() if before.get(name, {}).get("stage") != row["stage"]}
        return self.record(moved, operator=operator, now=now, back=back)

    def record(self, seen: Rows, *, operator: Operator, now: float, back: bool = False) -> list[str]:
        """Record what was seen of pairs and return the ids of those that are new or moved.

        Args:
            seen: per pair ``stage``, ``status``, ``evidence``, ``exercised`` of dormant ones seen over TLS, and
                ``observation``, which the history alone keeps.
            operator: who ran it.
            now: seconds since 1970.
            back: whether somebody asked for going back, so that what was reached before is no longer to be held.
        """
        before = self.pairs()
        moved = [name for name in sorted(seen) if _differs(before.get(name), seen[name])]
        if not moved:
            return []
        self._folder.make()
        with self._folder.locked():
            present = self._read()
            pairs, at = present.pairs, _iso(now)
            entries = [_entry(name, pairs.get(name), seen[name]) for name in moved]
            secret = self._writing(present)
            head = self._append(present, secret, entries, operator=operator, now=now)
            pairs.update({name: _row(pairs.get(name), seen[name], at=at, back=back) for name in moved})
            self._publish(replace(present, pairs=pairs, head=head, told=head.entries), secret)
        return moved

    def _writing(self, present: _Present) -> Secret | None:
        """Return the key of the seal, once what is to be written over fits it; None for a ledger without one.

        Raises:
            StoreError: it does not, or the run has no key for it.
        """
        secret = self._key(present)
        none = _NO_SEAL if present.seal is None and self._keys.passphrase is not None else None
        self._refuse(none or self._locked_out(present, secret) or self._unfit(present, secret))
        return secret

    def _refuse(self, fault: Fault | None) -> None:
        if fault is not None:
            raise StoreError("the ledger %s: %s; %s" % (self._folder.path, fault.seen, fault.todo))

    def _append(
        self, present: _Present, secret: Secret | None, entries: list[Entry], *, operator: Operator, now: float
    ) -> Head:
        at, by = _iso(now), _by(operator)
        if present.seal is None or secret is None:
            return self._history.append(entries, at=at, by=by, old=bool(present.pairs) and present.head is None)
        return self._history.append(entries, at=at, by=by, after=present.head, sealing=present.seal.sealing(secret))

    def _publish(self, present: _Present, secret: Secret | None) -> None:
        if present.seal is not None and secret is not None:
            present = replace(present, seal=present.seal.over(present.sealed_content, secret))
        batch = Batch()
        text = json.dumps(present.to_json(), sort_keys=True, indent=1) + "\n"
        batch.add(self._folder, _CURRENT, text.encode())
        batch.publish()

    # ---------------------------------------------------------------- checking

    def head(self) -> Head | None:
        """Return where the history's chain ended when a pair was recorded last; None where nothing is counted yet."""
        return self._read().head

    def lacking(self, told: t.Iterable[Head]) -> dict[Head, str]:
        """Return, of these heads that somebody saw or was told of, those that the history has not, each with words.

        An older copy of the whole folder fits its own seal, and shows by nothing else. An empty one is told of apart,
        and what was found missing once is recorded, and known.
        """
        wanted: dict[int, list[Head]] = {}
        for head in told:
            wanted.setdefault(head.entries, []).append(head)
        found: dict[Head, str] = {}
        known: set[Head | None] = set()
        count = 0
        for count, line in enumerate(self._history.lines() if wanted else (), start=1):
            if not wanted and not found:
                break  # all of them are there
            if _MISSED in line:
                known.update(map(Head.parse, (_chain.parse(line) or {}).get("missed") or ()))
            for head in wanted.pop(count, ()):
                if _chain.digest(line) != head.last:
                    found[head] = "entry %d of %s is another than it was" % (count, _history.FILE)
        said = "%s ends after entry %d, and had %d: it was cut off, or an older copy was put in its place"
        for number, heads in wanted.items() if count else ():
            found.update(dict.fromkeys(heads, said % (_history.FILE, count, number)))
        return {head: words for head, words in found.items() if head.entries and head not in known}

    @property
    def has_passphrase(self) -> bool:
        """Whether this run was given the ledger's passphrase."""
        return self._keys.passphrase is not None

    @property
    def is_unchecked(self) -> bool:
        """Whether the ledger is sealed, and this run has no passphrase to check it with."""
        return self._keys.passphrase is None and self._read().seal is not None

    def fault(self) -> Fault | None:
        """Return what is wrong with the first entry that is not as it was written, or with the seal; None if all holds.

        The seal is checked where the run has the passphrase.
        """
        present = self._read()
        secret = self._key(present)
        wrong = None if self._keys.passphrase is None else self._locked_out(present, secret)
        return wrong or self._changed(present, secret) or self._unsealed(present)

    def doubt(self) -> str:
        """Return why the seal does not show that the ledger is right; empty where it does, or where none is wanted."""
        if self.is_unchecked:
            return UNCHECKED.seen
        fault = None if self._keys.passphrase is None else self.fault()
        return fault.seen if fault else ""

    def _changed(self, present: _Present, secret: Secret | None) -> Fault | None:
        """Return what was changed by somebody else, as far as it shows."""
        stages: dict[str, t.Any] = {}
        chain = Chain(present.head, sealing=present.seal.sealing(secret) if present.seal and secret else None)
        for line in self._history.lines():
            entry = chain.add(line) or {}
            if entry.get("event") == _chain.TAKEN_OVER:  # pairs of version 1 may have nothing that tells of them
                stages = {name: row.get("stage") for name, row in present.pairs.items()} | stages
            if "pair" in entry and (present.head is None or chain.head.entries <= present.told):
                stages[entry["pair"]] = entry.get("to")  # what a killed run wrote last is not in the pairs yet
        seen = ""
        if stages and not present.pairs:
            seen = "%s is not there, and the history has entries" % _CURRENT
        elif chain.end():
            seen = "%s: %s" % (_history.FILE, chain.end())
        elif present.seal is None and chain.carries_seal:
            said = "%s carries no seal, and %s does from entry %d on: it was taken away"
            seen = said % (_CURRENT, _history.FILE, chain.carries_seal)
        elif present.head and secret is None:
            seen = _contradiction(present.pairs, stages)
        return self._tampered(seen) if seen else self._unfit(present, secret)

    def _unfit(self, present: _Present, secret: Secret | None) -> Fault | None:
        """Return that the seal does not cover what stands beside it; who has no key cannot tell."""
        if present.seal is None or secret is None or present.seal.fits(present.sealed_content, secret):
            return None
        said = "%s does not fit its seal: it, or its count of %d entries in %s, was edited without the passphrase"
        return self._tampered(said % (_CURRENT, present.head.entries if present.head else 0, _history.FILE))

    def _tampered(self, seen: str) -> Fault:
        todo = "find out who edited %s; keep it, and move it away, for the stages are seen again by looking"
        return Fault(seen, todo % self._folder.path)

    def _locked_out(self, present: _Present, secret: Secret | None) -> Fault | None:
        """Return that the run has no key for the seal that is there."""
        if present.seal is None or secret is not None:
            return None
        return _NO_PASSPHRASE if self._keys.passphrase is None else _WRONG

    def _unsealed(self, present: _Present) -> Fault | None:
        """Return that there is no seal where the run has a passphrase for one, and there are entries."""
        wanted = self._keys.passphrase is not None and present.seal is None
        return _NO_SEAL if wanted and not self._is_empty(present) else None

    def _is_empty(self, present: _Present) -> bool:
        return not present.pairs and present.seal is None and self._history.is_empty

    def _key(self, present: _Present) -> Secret | None:
        """Return the key of the seal; None where there is none, or the run does not have its passphrase."""
        if present.seal is None or self._keys.passphrase is None:
            return None
        return present.seal.opened(self._passphrase(self._keys.passphrase))

    def _passphrase(self, text: str | None) -> bytes:
        return checked_passphrase(text, store="ledger", folder=self._folder)


def _contradiction(pairs: Rows, stages: t.Mapping[str, t.Any]) -> str:
    """Return the first pair of which the history says something else."""
    for name, row in sorted(pairs.items()):
        if stages.get(name) != row.get("stage"):
            said = stages.get(name) or "nothing"
            return "%s says %s of %s, and the history says %s" % (_CURRENT, row.get("stage"), name, said)
    return ""


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _by(operator: Operator) -> Entry:
    return {"operator": operator.to_json(), "change": operator.change or None}


def moment_of(text: str) -> float:
    """Return a moment of the ledger in seconds since 1970.

    What cannot be read is at the end of time, so that nothing is old by it.
    """
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return float("inf")


def _entry(name: str, old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any]) -> Entry:
    """Return what the history says of a pair."""
    return {
        "event": _chain.MOVED,
        "pair": name,
        "from": (old or {}).get("stage"),
        "to": new["stage"],
        "status": new["status"],
        "evidence": new.get("evidence"),
        "observation": new.get("observation"),
    }


def _row(old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any], *, at: str, back: bool) -> dict[str, t.Any]:
    """Return what the ledger has of a pair from now on.

    ``since`` tells when it came to its stage; ``highest`` how far it ever got, and ``exercised`` when a dormant one was
    first seen over TLS, unless somebody went back.
    """
    since = old["since"] if old and old.get("stage") == new["stage"] else at
    highest = new["stage"] if back or old is None else furthest([str(old.get("highest", "plain")), new["stage"]])
    exercised = None if back else (old or {}).get("exercised") or (at if new.get("exercised") else None)
    kept = {field: value for field, value in new.items() if field not in ("observation", "exercised")}
    row = {**kept, "since": since, "highest": highest, **({"exercised": exercised} if exercised else {})}
    return {**row, "waits_since": waits_since(old, new, at=at)}


def waits_since(old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any], *, at: str) -> str | None:
    """Return since when a pair waits for what it waits for now; None if it does not wait."""
    if new["status"] != "waiting":
        return None
    same = old is not None and _essence(old) == _essence(new)
    return (old or {}).get("waits_since") or at if same else at


def _differs(old: t.Mapping[str, t.Any] | None, new: t.Mapping[str, t.Any]) -> bool:
    return old is None or _essence(old) != _essence(new) or bool(new.get("exercised") and not old.get("exercised"))


def _essence(row: t.Mapping[str, t.Any]) -> tuple[t.Any, ...]:
    """Return what is news if it changes: what was seen word for word (ports, sessions) is not."""
    against = [(item["gate"], item["expected"]) for item in row.get("evidence") or () if not item["holds"]]
    return row.get("stage"), row.get("status"), against
