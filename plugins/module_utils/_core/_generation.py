# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an instance needs another generation of material, and why; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._change import Change

Inputs = t.Mapping[str, t.Any]

#: What goes into a generation, in the words of a reason; compared in this order.
_INPUTS: t.Final = (
    ("certificate", "the certificate is another"),
    ("trust", "the CA list is another"),
    ("chain", "the chain is another"),
    ("formats", "the formats are others"),
    ("crl", "the revocation lists are others"),
    ("password", "the keystore password is another"),
)


@dataclass(frozen=True)
class Drift:
    """A file that is not as it was installed.

    Attributes:
        name: the file's name in its generation.
        seen: a sentence that says what it is instead.
        repairable: whether only mode or owner differ, so that nothing has to be written again.
    """

    name: str
    seen: str
    repairable: bool = False


@dataclass(frozen=True)
class Due:
    """What is due for one instance: a generation, or the repair of modes and owners in the current one."""

    change: Change
    repair: bool = False


def plan_generation(
    name: str, *, installed: t.Mapping[str, t.Any] | None, drift: t.Sequence[Drift], wanted: Inputs
) -> Due | None:
    """Return what takes an instance to the wanted material, if anything has to.

    What went in is compared, not bytes: PKCS#12 differs at each writing.

    Args:
        name: the instance, ``component@host``.
        installed: the manifest of its current generation; None if there is none.
        drift: the files that are not as they were installed.
        wanted: ``certificate``, ``chain``, ``trust``, ``formats`` and ``password``, as digests and names.
    """
    target = "material %s" % name
    if installed is None and not drift:
        return Due(Change(target, None, _shown(wanted), "no generation is installed"))
    found: Inputs = (installed or {}).get("inputs") or {}
    for file in drift:
        if not file.repairable:
            return Due(Change(target, _shown(found), _shown(wanted), file.seen))
    for key, reason in _INPUTS:
        if _comparable(found.get(key)) != _comparable(wanted.get(key)):
            return Due(Change(target, _shown(found), _shown(wanted), reason))
    if drift:
        seen = [file.seen for file in drift]
        return Due(Change(target, "\n".join(seen), "as it was installed", seen[0]), repair=True)
    return None


def why_useless(
    manifest: t.Mapping[str, t.Any],
    *,
    now: float,
    trusted: t.Collection[str] | None,
    roots: t.Collection[str] | None,
    revoked: t.Collection[str],
) -> str:
    """Return why peers would not accept an earlier generation, or it would accept whom it should not; empty if neither.

    Args:
        manifest: what was installed.
        now: seconds since 1970.
        trusted: fingerprints of the roots that the instance trusts now; None if nobody said.
        roots: fingerprints of all roots that anybody trusts; None if nobody said.
        revoked: serial numbers of what is revoked, and fingerprints of the authorities among it.
    """
    identity, inputs = manifest.get("identity") or {}, manifest.get("inputs") or {}
    expires = identity.get("chain_not_after") or identity.get("not_after")
    if expires is not None and float(expires) <= now:
        return "has expired"
    if identity.get("serial") in revoked or set(inputs.get("chain") or ()) & set(revoked):
        return "is revoked"
    if roots is not None and inputs.get("root") and inputs["root"] not in roots:
        return "was issued by an authority that is not in the store any more"
    if trusted is not None and not set(inputs.get("trust") or ()) <= set(trusted):
        return "trusts an authority that is not trusted any more"
    return ""


def _comparable(value: t.Any) -> t.Any:
    return sorted(value) if isinstance(value, (list, tuple)) else value


def _shown(inputs: Inputs) -> dict[str, t.Any]:
    """Return inputs as a diff may show them: the digest of a password is nobody's business."""
    return {key: inputs.get(key) for key, _unused in _INPUTS if key != "password"}
