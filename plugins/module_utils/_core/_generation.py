# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an instance needs another generation of material, and why; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._change import Change

Inputs = t.Mapping[str, t.Any]

MANIFEST: t.Final = "manifest.json"
LISTS: t.Final = "crl.pem"
#: The files that each identity of a generation has: the default one at the top, others in folders of their names.
FILES_OF_IDENTITY: t.Final = (
    "certificate.pem",
    "chain.pem",
    "fullchain.pem",
    "key.pem",
    "combined.pem",
    "keystore.p12",
    "keystore.password",
)
#: All files of a generation; none of them can be the name of an identity.
FILES: t.Final = (*FILES_OF_IDENTITY, "trust.pem", "truststore.p12", LISTS, MANIFEST)

#: What goes into a generation, in the words of a reason, and whether each identity has one; compared in this order.
_INPUTS: t.Final = (
    ("certificate", "the certificate%s is another", True),
    ("trust", "the CA list is another", False),
    ("chain", "the chain%s is another", True),
    ("formats", "the formats are others", False),
    ("crl", "the revocation lists are others", False),
    ("password", "the keystore password%s is another", True),
)


def file_in(folder: str, name: str) -> str:
    """Return the path of an identity's file in its generation; the default identity has no folder."""
    return "%s/%s" % (folder, name) if folder else name


def of_folder(folder: str) -> str:
    """Return how a sentence says whose certificate it is about; the default identity's is simply the certificate."""
    return " of %s" % folder if folder else ""


@dataclass(frozen=True)
class Drift:
    """A file that is not as it was installed.

    Attributes:
        name: the file's path in its generation.
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
        wanted: ``trust``, ``formats`` and ``crl``, and in ``identities``, by folder, ``certificate``, ``chain`` and
            ``password``, as digests and names.
    """
    target = "material %s" % name
    if installed is None and not drift:
        return Due(Change(target, None, _shown(wanted), "no generation is installed"))
    found: Inputs = (installed or {}).get("inputs") or {}
    for file in drift:
        if not file.repairable:
            return Due(Change(target, _shown(found), _shown(wanted), file.seen))
    differs = next(_differences(found, wanted), None)
    if differs:
        return Due(Change(target, _shown(found), _shown(wanted), differs))
    if drift:
        seen = [file.seen for file in drift]
        return Due(Change(target, "\n".join(seen), "as it was installed", seen[0]), repair=True)
    return None


def _differences(found: Inputs, wanted: Inputs) -> t.Iterator[str]:
    """Yield what differs, the weightiest first."""
    before, after = identities_in(found), identities_in(wanted)
    for key, reason, is_of_identity in _INPUTS:
        if not is_of_identity:
            if _comparable(found.get(key)) != _comparable(wanted.get(key)):
                yield reason
            continue
        for folder in sorted(after):  # one that nobody asks for any more is no reason: something may still name it
            if _comparable(before.get(folder, {}).get(key)) != _comparable(after.get(folder, {}).get(key)):
                yield reason % of_folder(folder)


def identities_in(inputs: Inputs) -> t.Mapping[str, Inputs]:
    """Return what went in of each identity, by folder."""
    found: t.Mapping[str, Inputs] = inputs.get("identities") or {}
    return found


def roots_in(inputs: Inputs) -> set[str]:
    """Return the fingerprints of the roots that a generation names: those that it trusts, and of its identities."""
    above = {str(row["root"]) for row in identities_in(inputs).values() if row.get("root")}
    return above | {str(root) for root in inputs.get("trust") or ()}


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
    inputs = manifest.get("inputs") or {}
    for folder, identity in sorted((manifest.get("identities") or {}).items()):
        why = _why_refused(identity, identities_in(inputs).get(folder, {}), now=now, roots=roots, revoked=revoked)
        if why:
            return why
    if trusted is not None and not set(inputs.get("trust") or ()) <= set(trusted):
        return "trusts an authority that is not trusted any more"
    return ""


def _why_refused(
    identity: t.Mapping[str, t.Any],
    inputs: Inputs,
    *,
    now: float,
    roots: t.Collection[str] | None,
    revoked: t.Collection[str],
) -> str:
    """Return why peers would not accept one identity of an earlier generation; empty if they would."""
    expires = identity.get("chain_not_after") or identity.get("not_after")
    if expires is not None and float(expires) <= now:
        return "has expired"
    if identity.get("serial") in revoked or set(inputs.get("chain") or ()) & set(revoked):
        return "is revoked"
    if roots is not None and inputs.get("root") and inputs["root"] not in roots:
        return "was issued by an authority that is not in the store any more"
    return ""


def _comparable(value: t.Any) -> t.Any:
    return sorted(value) if isinstance(value, (list, tuple)) else value


def _shown(inputs: Inputs) -> dict[str, t.Any]:
    """Return inputs as a diff may show them: the digest of a password is nobody's business."""
    rows = {
        folder: {key: row.get(key) for key in ("certificate", "chain")} for folder, row in identities_in(inputs).items()
    }
    return {"identities": rows, **{key: inputs.get(key) for key in ("trust", "formats", "crl")}}
