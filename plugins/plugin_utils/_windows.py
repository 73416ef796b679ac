# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Material of a Windows host: looked at, decided here, installed in one more round trip; private to this collection."""

from __future__ import annotations

import base64
import secrets
import time
import typing as t
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, load_pem_private_key, pkcs12

from ..module_utils._core._change import Change
from ..module_utils._core._errors import TlsError
from ..module_utils._core._manifest import file_in, identities_in
from ..module_utils._core._windows_host import READS_AES, Entry, Host, read_host
from ..module_utils._core._windows_material import Order, Pfx, Place, Wanted, account_asked, needed_by_others
from ._pki import PrivateKey

Json = dict[str, t.Any]
State = t.Literal["present", "previous", "absent"]

FORMS: t.Final = ("auto", "aes256", "3des")
#: A PFX is read once, out of memory, with a password of its own that nobody else learns.
_PASSWORD_BYTES: t.Final = 24
_ROUNDS: t.Final = 2048


class Call(t.Protocol):
    """Calls ``win_material`` on the host: one round trip."""

    def __call__(self, *, accounts: list[str], orders: list[Order]) -> Json: ...


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    Attributes:
        directory: the host's folder for instances.
        state: as the module has it.
        rows: of the instances, as for other systems, with ``formats``.
        check: whether nothing is to be changed.
        form: of PFX files, one of ``FORMS``.
    """

    directory: str
    state: State
    rows: t.Sequence[Json]
    check: bool
    form: str = "auto"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise TlsError("tls_windows_pfx is %r; it is one of %s" % (self.form, ", ".join(FORMS)))


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        changes: what was due.
        result: keys for the action's result.
    """

    changes: t.Sequence[Change]
    result: Json


class StoreContent:
    """What an instance's certificates need in a machine's stores, out of its files."""

    def __init__(self, row: Json) -> None:
        """Read the certificates.

        Args:
            row: of the instance, with ``files`` and ``inputs``.
        """
        self._name = str(row["name"])
        self._files = {str(file["name"]): base64.b64decode(file["content"]) for file in row.get("files") or ()}
        self._chains = {folder: self._certificates(folder, "fullchain.pem") for folder in identities_in(row["inputs"])}
        self._entries: dict[Entry, x509.Certificate] = {}
        for chain in self._chains.values():
            self._entries[Entry("My", _thumbprint(chain[0]))] = chain[0]
            self._entries.update({Entry("CA", _thumbprint(each)): each for each in chain[1:]})
        for each in self._certificates("", "trust.pem"):
            self._entries[Entry("Root" if each.subject == each.issuer else "CA", _thumbprint(each))] = each

    def _certificates(self, folder: str, name: str) -> list[x509.Certificate]:
        data = self._files.get(file_in(folder, name), b"")
        return x509.load_pem_x509_certificates(data) if data else []

    @property
    def entries(self) -> frozenset[Entry]:
        """All of it, by store and thumbprint."""
        return frozenset(self._entries)

    @property
    def leaves(self) -> dict[str, str]:
        """The thumbprint of each identity's certificate, by folder."""
        return {folder: _thumbprint(chain[0]) for folder, chain in self._chains.items()}

    def files(self, formats: t.Collection[str]) -> dict[str, bytes]:
        """Return the files that are read; no key lies in one unless its format is asked for."""
        unread = () if "pem" in formats else ("key.pem",)
        return {name: data for name, data in self._files.items() if name.rpartition("/")[2] not in unread}

    def certificate(self, entry: Entry) -> str:
        """Return a certificate, DER in base64."""
        return base64.b64encode(self._entries[entry].public_bytes(Encoding.DER)).decode()

    def pfx(self, folder: str, *, old: bool) -> Pfx:
        """Return key and chain of an identity, in the form of AES-256 and SHA-256, or in the old one."""
        chain, password = self._chains[folder], secrets.token_urlsafe(_PASSWORD_BYTES)
        key = t.cast(PrivateKey, load_pem_private_key(self._files[file_in(folder, "key.pem")], None))
        algorithm, digest = (
            (pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC, hashes.SHA1())
            if old
            else (pkcs12.PBES.PBESv2SHA256AndAES256CBC, hashes.SHA256())
        )
        builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(_ROUNDS).key_cert_algorithm(algorithm)
        data = pkcs12.serialize_key_and_certificates(
            self._name.encode(), key, chain[0], chain[1:], builder.hmac_hash(digest).build(password.encode())
        )
        above = tuple(_thumbprint(each) for each in chain[1:])
        return Pfx(_thumbprint(chain[0]), base64.b64encode(data).decode(), password, above)


class _Formed:
    """The content of stores in the form that a host reads, and whether a PFX was made of it."""

    def __init__(self, content: StoreContent, *, old: bool) -> None:
        self._content = content
        self._old = old
        self.made = False

    def pfx(self, folder: str) -> Pfx:
        self.made = True
        return self._content.pfx(folder, old=self._old)

    def certificate(self, entry: Entry) -> str:
        return self._content.certificate(entry)


def _thumbprint(certificate: x509.Certificate) -> str:
    """Return by what Windows knows a certificate; it is a name there, and no proof of anything."""
    return certificate.fingerprint(hashes.SHA1()).hex().upper()


def install(asked: Asked, call: Call) -> Outcome:
    """Look, decide, install, and tell: one round trip where nothing is due, and one more where something is.

    Raises:
        TlsError: the host's folder cannot be used.
    """
    accounts = sorted({account_asked(row.get("account")) or "" for row in asked.rows} - {""})
    first = call(accounts=accounts, orders=[])
    host = read_host(first["state"], asked.directory)
    plan = _Planned(asked, host)
    if plan.changes and not asked.check:
        last = call(accounts=accounts, orders=plan.orders())
        plan.failures.update(last["failures"])
        host = read_host(last["state"], asked.directory)
    return Outcome(plan.changes, _result(asked, host, plan))


class _Planned:
    """What is due for the instances of one host, and what keeps some of them back."""

    def __init__(self, asked: Asked, host: Host) -> None:
        self._asked = asked
        self._host = host
        self._now = time.time()
        self._due: list[tuple[Place, Wanted, StoreContent | None]] = []
        self._old = asked.form == "3des" or (asked.form == "auto" and host.build < READS_AES)
        self.old_form_made = False
        self.failures: dict[str, str] = {}
        self.changes: list[Change] = []
        for row in asked.rows:
            try:
                self._plan(row)
            except TlsError as error:
                self.failures[str(row["name"])] = str(error)

    def _plan(self, row: Json) -> None:
        content = StoreContent(row) if row.get("files") else None
        wanted = _wanted(row, content)
        place = Place(wanted, self._host, self._asked.directory)
        if self._asked.state == "previous":
            change = place.plan_back(
                now=self._now, trusted=row.get("trusted"), roots=row.get("roots"), revoked=row.get("revoked") or ()
            )
        else:
            change = place.plan_removal() if self._asked.state == "absent" else place.plan()
        if change is not None:
            self.changes.append(change)
            self._due.append((place, wanted, content))

    def orders(self) -> list[Order]:
        """Return the orders for all that is due."""
        found: list[Order] = []
        absent = self._asked.state == "absent"
        leaving = {wanted.folder for _place, wanted, _content in self._due} if absent else set()
        coming = [] if absent else [wanted for _place, wanted, _content in self._due]
        for place, wanted, content in self._due:
            kept = needed_by_others(self._host, wanted.folder, leaving=leaving, wanted=coming)
            if self._asked.state == "previous":
                found += place.orders_back()
            elif self._asked.state == "absent":
                found += place.orders_for_removal(kept=kept)
            elif content is not None:
                formed = _Formed(content, old=self._old)
                found += place.orders(formed, kept=kept, now=self._now)
                self.old_form_made |= formed.made and self._old
        return found

    def warnings(self) -> list[str]:
        """Return a line where PFX files were made in the old form, which says why."""
        if not self.old_form_made:
            return []
        why = (
            "tls_windows_pfx asks for it"
            if self._asked.form == "3des"
            else "its Windows, build %d, is older than Server 2019 and reads no other" % self._host.build
        )
        return [
            "a PFX was made with 3DES and SHA-1 for this host, for %s; it was sent in memory and never lay in a file"
            % why
        ]


def _wanted(row: Json, content: StoreContent | None) -> Wanted:
    formats = tuple(row.get("formats") or ("pem",))
    if row.get("born"):
        raise TlsError(
            "keys that are born on their host are not built for Windows; let key_at of the identity be controller"
        )
    if row.get("environment"):
        raise TlsError(
            "environments of processes are not built for Windows; set them with ansible.windows.win_environment"
        )
    in_stores = content is not None and "store" in formats
    return Wanted(
        name=str(row["name"]),
        folder=str(row["folder"]),
        account=row.get("account"),
        inputs={**row["inputs"], "formats": sorted(formats)} if "inputs" in row else {},
        public=row.get("public") or {},
        files=content.files(formats) if content is not None else {},
        stores=content.entries if content is not None and in_stores else frozenset(),
        leaves=content.leaves if content is not None else {},
    )


def _result(asked: Asked, host: Host, plan: _Planned) -> Json:
    """Return what is installed now, and what failed."""
    generations, thumbprints = {}, {}
    for row in asked.rows:
        seen = host.instances.get(str(row["folder"]))
        if seen is not None and seen.installed is not None:
            generations[str(row["name"])] = seen.current
            thumbprints[str(row["folder"])] = (seen.installed.manifest or {}).get("thumbprints") or {}
    found: Json = {
        "changed": bool(plan.changes),
        "reasons": {change.target: change.reason for change in plan.changes},
        "generations": generations,
        "failures": plan.failures,
        "thumbprints": thumbprints,
        "warnings": plan.warnings(),
    }
    if plan.failures:
        found.update(failed=True, msg="; ".join("%s: %s" % row for row in sorted(plan.failures.items())))
    return found
