# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts hold of instances that the model does not name any more, and what leaves; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass

from ._entities import Instance, Model
from ._evidence import Evidence, fails
from ._material import Revocation

Json = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Removal:
    """An instance that leaves its host.

    Attributes:
        name: of the instance.
        host, folder: where its material lies.
        reason: why it leaves.
        parts: what goes away, in words.
        held: why it does not now; empty if it does.
        certificates: those that it holds, and that nobody presents any more once it is gone.
        revoked: whether they are revoked.
    """

    name: str
    host: str
    folder: str
    reason: str
    parts: tuple[str, ...] = ()
    held: str = ""
    certificates: tuple[Revocation, ...] = ()
    revoked: bool = False

    def to_json(self) -> dict[str, t.Any]:
        """Return it as plain data, without the certificates: they are a matter of the plan alone."""
        return {name: value for name, value in vars(self).items() if name != "certificates"}

    @property
    def evidence(self) -> Evidence:
        """Return that it stays for now."""
        todo = (
            "stop what uses it, or take it back by hand (docs/hosts.md), and run again; or name its connections in the"
            " model again and run connsec.tls.rollback first"
        )
        return fails("presented", "nothing uses %s, so that it is removed" % self.name, self.held, "held", todo=todo)


def plan_removals(
    model: Model,
    leftovers: t.Mapping[str, t.Mapping[str, Json]],
    *,
    roots: t.Collection[str],
    hosts: t.Collection[str] | None = None,
) -> tuple[Removal, ...]:
    """Return what leaves the hosts, in order.

    What another store issued is somebody else's: two fleets may share a host and a folder.

    Args:
        model: the model.
        leftovers: by host and folder, what hosts show.
        roots: fingerprints of the store's roots.
        hosts: those that may be changed; None means all.
    """
    named = {end.name for pair in model.pairs for end in pair.ends}
    presented = {model.presented_in(pair, end) for pair in model.pairs for end in pair.ends}
    presented |= {
        name for pair in model.pairs for end in pair.ends for name in model.components[end.component].reserved
    }
    found = []
    for host, folders in sorted(leftovers.items()):
        for folder, row in sorted(folders.items()):
            instance = Instance(folder.lstrip(".").partition("gone-")[2] or folder, host)
            if row.get("half"):
                found.append(_held(Removal(instance.name, host, folder, "an earlier removal was cut off"), hosts))
            elif row["instance"] == instance.name and instance.name not in named and _is_ours(row, roots):
                found.append(_held(_removal(model, instance, folder, row, presented), hosts))
    return tuple(found)


def _is_ours(row: Json, roots: t.Collection[str]) -> bool:
    return bool({*(row.get("trust") or ()), *(each.get("root") for each in row.get("identities") or ())} & set(roots))


def _removal(model: Model, instance: Instance, folder: str, row: Json, presented: t.Collection[str | None]) -> Removal:
    component = model.components.get(instance.component)
    if component is None:
        reason = "%s is not in the model" % instance.component
    elif instance.host not in component.hosts:
        reason = "%s is not on %s any more" % (instance.component, instance.host)
    else:
        reason = "no connection of the model names it"
    steps, parts = row.get("steps") or (), ["material"]
    parts += ["environment"] if row.get("environment") else []
    parts += ["what %d steps kept" % len(steps) if len(steps) > 1 else "what a step kept"] if steps else []
    return Removal(
        name=instance.name,
        host=instance.host,
        folder=folder,
        reason=reason,
        parts=tuple(parts),
        held=next(iter(row.get("used") or ()), ""),
        certificates=tuple(
            Revocation(str(each["name"]), str(each["serial"]), str(each["issuer"]), int(each["not_after"] or 0))
            for each in row.get("identities") or ()
            if each["serial"] and each["name"] not in presented  # one that is shared stays good for the others
        ),
    )


def _held(removal: Removal, hosts: t.Collection[str] | None) -> Removal:
    if removal.held or hosts is None or removal.host in hosts:
        return removal
    return dataclasses.replace(removal, held="--limit leaves %s out" % removal.host)


# Revoking


def revocable(removals: t.Iterable[Removal], *, issuers: t.Collection[str], can_sign: bool) -> tuple[Removal, ...]:
    """Return the removals of a run that revokes: without a signature nothing that we issued leaves its host.

    Args:
        removals: what leaves.
        issuers: fingerprints of our issuing authorities; what others issued is theirs to revoke.
        can_sign: whether the run has their passphrase.
    """
    why = "its certificate is to be revoked, and tls_authorities_passphrase is not set"
    found = []
    for each in removals:
        ours = tuple(certificate for certificate in each.certificates if certificate.issuer in issuers)
        if ours and not each.held:
            parts = (*each.parts, "the validity of its certificate%s" % ("s" if len(ours) > 1 else ""))
            held = "" if can_sign else why
            each = dataclasses.replace(each, certificates=ours, parts=parts, revoked=can_sign, held=held)
        found.append(each)
    return tuple(found)


def revocations(removals: t.Iterable[Removal], *, now: int) -> list[Revocation]:
    """Return the certificates to revoke: those that leave and have not ended."""
    leaving = (certificate for each in removals if each.revoked for certificate in each.certificates)
    return list(dict.fromkeys(certificate for certificate in leaving if certificate.not_after >= now))
