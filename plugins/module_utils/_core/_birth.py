# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an instance's host has to make a key, and which program makes it; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._change import Change
from ._errors import TlsError
from ._material import USAGES
from ._names import endpoint_name


class BirthRefused(TlsError):
    """A host cannot make the key that is asked for."""


@dataclass(frozen=True)
class KeyKind:
    """How the programs of a host are told which key to make."""

    openssl: tuple[str, ...]
    keytool: tuple[str, ...]


def _curve(name: str, bits: int) -> KeyKind:
    # a curve is named, not written out: many programs read no other
    options = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + name, "-pkeyopt", "ec_param_enc:named_curve")
    return KeyKind(options, ("-keyalg", "EC", "-keysize", str(bits)))


def _rsa(bits: int) -> KeyKind:
    return KeyKind(
        ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:%d" % bits), ("-keyalg", "RSA", "-keysize", str(bits))
    )


#: Every key type of an identity, by the name that the model has for it.
KEY_KINDS: t.Final[t.Mapping[str, KeyKind]] = {
    "ec-p256": _curve("P-256", 256),
    "ec-p384": _curve("P-384", 384),
    "rsa-2048": _rsa(2048),
    "rsa-3072": _rsa(3072),
    "rsa-4096": _rsa(4096),
}


@dataclass(frozen=True)
class Terms:
    """What a request asks others to sign; one for us says whose key it is, and asks for nothing.

    Attributes:
        names: DNS names and IP addresses, in the order of the plan.
        usages: ``server``, ``client``, or both.
        common_name: one of the names, where an old reader needs it; empty for none.
    """

    names: tuple[str, ...] = ()
    usages: tuple[str, ...] = ()
    common_name: str = ""

    @staticmethod
    def of(data: t.Mapping[str, t.Any]) -> Terms:
        """Return the terms that an option or a record holds."""
        names, usages = (tuple(str(each) for each in data.get(name) or ()) for name in ("names", "usages"))
        return Terms(names, usages, str(data.get("common_name") or ""))


@dataclass(frozen=True)
class PendingKey:
    """A key on a host that waits for its certificate.

    Attributes:
        identity: whose it is.
        key_type: one of ``KEY_KINDS``.
        spki_sha256: the digest of its public half, by which everybody knows it.
        request: the certificate request that was made with it, as PEM.
        spoilt: what is wrong with its files; empty if nothing is.
        terms: what the request asks for.
    """

    identity: str
    key_type: str
    spki_sha256: str
    request: str
    spoilt: str = ""
    terms: Terms = Terms()


@dataclass(frozen=True)
class WantedKey:
    """A key that is asked for.

    Attributes:
        instance: who presents the identity.
        identity: its name.
        key_type: one of ``KEY_KINDS``.
        certified: the digest of the key that the identity's present certificate has; empty if it has none.
        terms: what its request has to ask for, where others sign.
    """

    instance: str
    identity: str
    key_type: str
    certified: str = ""
    terms: Terms = Terms()

    def __post_init__(self) -> None:
        where = "%s: names" % self.instance
        for name in self.terms.names:  # they become lines of a program's settings
            endpoint_name(name, where)
        strange = [usage for usage in self.terms.usages if usage not in USAGES]
        if strange or bool(self.terms.names) != bool(self.terms.usages):
            raise BirthRefused(
                "%s: a request for others has names, and usages of %s" % (self.instance, ", ".join(USAGES))
            )
        if self.terms.common_name and self.terms.common_name not in self.terms.names:
            raise BirthRefused("%s: common name %r is none of its names" % (self.instance, self.terms.common_name))
        if self.key_type not in KEY_KINDS:
            raise BirthRefused(
                "%s: key type is %r; a host makes %s" % (self.instance, self.key_type, ", ".join(sorted(KEY_KINDS)))
            )


def plan_birth(wanted: WantedKey, *, pending: PendingKey | None) -> Change | None:
    """Return the birth of a key, if the one that waits for a certificate is not the one that is asked for.

    A run that was killed leaves its key waiting, and the next run goes on with it. Where others are asked for something
    else than before, it is only the request that is made anew.
    """
    reason = _why_born(wanted, pending)
    if reason is None and pending is not None and pending.terms != wanted.terms:
        reason = "the request of the key that waits asks for something else than planned"
    if reason is None:
        return None
    before = pending and {"identity": pending.identity, "key_type": pending.key_type}
    after = {"identity": wanted.identity, "key_type": wanted.key_type}
    return Change("key %s" % wanted.identity, before, after, reason)


def keeps_its_key(wanted: WantedKey, *, pending: PendingKey | None) -> bool:
    """Return whether the key that waits is the one that is asked for, whatever its request says."""
    return _why_born(wanted, pending) is None


def _why_born(wanted: WantedKey, pending: PendingKey | None) -> str | None:
    if pending is None:
        return "no key waits for a certificate"
    if pending.spoilt:
        return "the key that waits is spoilt: %s" % pending.spoilt
    if pending.identity != wanted.identity:
        return "the key that waits is that of %s" % pending.identity
    if pending.key_type != wanted.key_type:
        return "the key that waits is %s, planned %s" % (pending.key_type, wanted.key_type)
    if pending.spki_sha256 == wanted.certified:
        return "the key that waits had its certificate, and each certificate has a key of its own"
    return None
