# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities and identities, as they are wanted and as the store has them; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._errors import TlsError
from ._manifest import FILES
from ._names import NameRefused, authority_name, endpoint_name, identity_name

Usage = str  # one of USAGES; a plain str, because it comes from users' files
USAGES = ("client", "server")
FORMATS = ("combined", "crl", "java", "pem", "pkcs12", "store")
KEY_PLACES = ("controller", "host")
ISSUERS = ("own", "requested")
IDENTITY_KEY_TYPES = ("ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096")
AUTHORITY_KEY_TYPES = ("ec-p384", "rsa-4096")

DAY = 86400
LONGEST_DAYS = 199  # CA/Browser Forum BR 6.3.2: at most 200 days from 2026-03-15, 199 recommended
_IDENTITY = "identity "
NOT_ISSUED_YET = "not issued yet"
"""Stands for a fingerprint in check mode, where a certificate would be issued and is not."""


class MaterialRefused(TlsError):
    """An authority or identity is described in a way that cannot be issued."""


def _refuse_unless_one_of(value: str, allowed: t.Sequence[str], *, where: str) -> None:
    if value not in allowed:
        raise MaterialRefused("%s is %r; it is one of %s" % (where, value, ", ".join(allowed)))


def _refuse_unless_within(value: int, least: int, most: int, *, where: str, hint: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise MaterialRefused("%s is %r; it is a number of days from %d to %d%s" % (where, value, least, most, hint))


@dataclass(frozen=True)
class WantedAuthority:
    """An authority as planned: a root and the issuing authority under it.

    Attributes:
        name: its name in the model, ``connsec`` if none is declared.
        organization: what its certificates carry as organizationName; empty for none.
        root_days, issuing_days: the lives of its two certificates.
        key_type: of both keys; RSA for fleets with receivers that know nothing else.
    """

    name: str = "connsec"
    organization: str = ""
    root_days: int = 3652
    issuing_days: int = 1826
    key_type: str = "ec-p384"

    def __post_init__(self) -> None:
        where = "authority %s" % (self.name,)
        authority_name(self.name, "authorities")
        # X.520 allows an organizationName of 64 characters
        if len(self.organization) > 64 or not self.organization.isprintable():
            raise MaterialRefused("%s: organization is printable text of at most 64 characters" % where)
        _refuse_unless_one_of(self.key_type, AUTHORITY_KEY_TYPES, where=where + ": key_type")
        _refuse_unless_within(self.root_days, 2, 9132, where=where + ": root_days")
        _refuse_unless_within(self.issuing_days, 1, self.root_days, where=where + ": issuing_days")


@dataclass(frozen=True)
class WantedIdentity:
    """A key and certificate as planned; names, usages and formats are sorted and without doubles from birth.

    Attributes:
        name: ``component@host``, or the name of a declared identity.
        authority: who issues it.
        issuer: whether that is an authority of ours (``own``), or others are asked to sign (``requested``).
        names: every DNS name (A-labels) and IP address it is dialled by; they become its subjectAltName.
        usages: ``server``, ``client``, or both.
        key_type: of its key.
        days: its life; the certificate ends one second before.
        formats: what its readers read; PEM is always made.
        common_name: whether an old reader needs one of the names as common name too.
        days_reason: why it may live longer than 199 days.
        key_at: where its key is made and stays: ``controller``, in the store, or ``host``.
    """

    name: str
    authority: str = "connsec"
    names: tuple[str, ...] = ()
    usages: tuple[Usage, ...] = USAGES
    key_type: str = "ec-p256"
    days: int = 90
    formats: tuple[str, ...] = ("pem",)
    common_name: bool = False
    days_reason: str = ""
    key_at: str = "controller"
    issuer: str = "own"

    def __post_init__(self) -> None:
        where = "identity %s" % (self.name,)
        identity_name(self.name, "identities")
        names = tuple(sorted({endpoint_name(name, where + ": names") for name in self.names}))
        if not names:
            raise MaterialRefused(
                "%s has no names; give it every DNS name and IP address that it is dialled by" % where
            )
        if not self.usages:
            raise MaterialRefused("%s has no usages; it is for server, for client, or for both" % where)
        _refuse_unless_one_of(self.issuer, ISSUERS, where=where + ": issuer")
        for usage in self.usages:
            _refuse_unless_one_of(usage, USAGES, where=where + ": usages")
        for each in self.formats:
            _refuse_unless_one_of(each, FORMATS, where=where + ": formats")
        _refuse_unless_one_of(self.key_type, IDENTITY_KEY_TYPES, where=where + ": key_type")
        _refuse_unless_one_of(self.key_at, KEY_PLACES, where=where + ": key_at")
        most, hint = (LONGEST_DAYS, ", or more with a days_reason") if not self.days_reason else (3652, "")
        _refuse_unless_within(self.days, 1, most, where=where + ": days", hint=hint)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "usages", tuple(sorted(set(self.usages))))
        object.__setattr__(self, "formats", tuple(sorted({"pem", *self.formats})))


@dataclass(frozen=True)
class IdentityInfo:
    """What is public about an identity in the store; times are seconds since 1970, digests hexadecimal SHA-256.

    ``chain_not_after`` is the first moment at which anything of it ends: its certificate, its issuer's, or the root's.
    """

    name: str
    authority: str
    sha256: str
    serial: str
    not_before: int
    not_after: int
    names: tuple[str, ...]
    usages: tuple[Usage, ...]
    key_type: str
    spki_sha256: str
    issuer: str
    chain_sha256: tuple[str, ...]
    chain_not_after: int
    common_name: str
    key_at: str = "controller"

    def to_json(self) -> dict[str, t.Any]:
        """Return it as plain data for results, facts and reports."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}


@dataclass(frozen=True)
class CrlInfo:
    """The revocation list of a certificate authority, as found in the store."""

    number: int
    this_update: int
    next_update: int
    serials: tuple[str, ...] = ()


@dataclass(frozen=True)
class Revocation:
    """A certificate that stands on its issuer's list until it ends.

    Attributes:
        name: of the identity.
        serial: of its certificate.
        issuer: fingerprint of the certificate above it.
        not_after: when it ends.
        at: when it was revoked; 0 for now.
    """

    name: str
    serial: str
    issuer: str
    not_after: int
    at: int = 0


@dataclass(frozen=True)
class CaInfo:
    """One certificate authority, a root or an issuing one, as found in the store."""

    number: int
    sha256: str
    serial: str
    subject: str
    not_before: int
    not_after: int
    key_type: str
    spki_sha256: str
    crl: CrlInfo | None


@dataclass(frozen=True)
class AuthorityInfo:
    """An authority as found in the store: its root, and its issuing authorities from the oldest to the newest."""

    name: str
    root: CaInfo | None = None
    issuing: tuple[CaInfo, ...] = ()

    def to_json(self) -> dict[str, t.Any]:
        """Return it as plain data for results and reports."""

        def plain(ca: CaInfo) -> dict[str, t.Any]:
            return {**vars(ca), "crl": vars(ca.crl) if ca.crl else None}

        return {
            "name": self.name,
            "root": plain(self.root) if self.root else None,
            "issuing": [plain(ca) for ca in self.issuing],
        }


def identity_target(name: str) -> str:
    """Return the logical name of an identity in changes."""
    return _IDENTITY + name


def identity_of(target: str) -> str | None:
    """Return the name of the identity that a change is about, or None where it is about an authority."""
    return target[len(_IDENTITY) :] if target.startswith(_IDENTITY) else None


def by_folder(default: str | None, further: t.Iterable[str]) -> dict[str, str]:
    """Return the names of identities by the folders of a generation that their files lie in.

    Args:
        default: the one whose files lie at the top, if there is one.
        further: those whose files lie in a folder of their name.

    Raises:
        NameRefused: a name cannot become a folder there.
    """
    found = {"": default} if default else {}
    for name in further:
        if identity_name(name, "identities").lower() in FILES:
            raise NameRefused("identities: %r is called like a file of every generation; rename it" % name)
        found[name] = name
    return found


def authority_target(name: str, part: str) -> str:
    """Return the logical name of a part of an authority in changes: ``root``, ``issuing``, ``root CRL``, ..."""
    return "authority %s %s" % (name, part)


def is_list_of(target: str, name: str) -> bool:
    """Return whether a change is about a revocation list of an authority."""
    return target.startswith(authority_target(name, "")) and target.endswith(" CRL")


def common_name_of(wanted: WantedIdentity) -> str:
    """Return the common name to issue, if one is asked for: a name of at most 64 characters, a DNS name first."""
    if not wanted.common_name:
        return ""
    fitting = [name for name in wanted.names if len(name) <= 64]
    return min(fitting, key=lambda name: (_is_address(name), fitting.index(name)), default="")


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()
