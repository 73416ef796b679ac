# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an end has the identity that it presents in a pair, and presents that one; private to this collection."""

from __future__ import annotations

from ._entities import Instance, Pair
from ._evidence import Evidence, fails
from ._few import few
from ._manifest import file_in
from ._scene import Scene


def waits_to_present(scene: Scene, pair: Pair) -> Evidence | None:
    """Return what a presenter of the pair waits for: a signature, or a certificate of others that can be adopted.

    An earlier certificate goes on for its own names meanwhile.
    """
    presenters = [(pair.server, pair.dial), *([(pair.client, None)] if pair.mode == "mutual" else [])]
    for presenter, name in presenters:
        if not scene.ours(presenter):
            continue
        held = scene.held(pair, presenter)
        expected = "%s holds the planned key and certificate" % presenter.name
        if held and held.awaits and held.lacks_signature(name):
            return fails("presented", expected, held.awaits.seen, "signature", todo=held.awaits.todo)
        fault = _not_adopted(scene, presenter, scene.model.identity_in(pair, presenter), name) if scene.looked else ""
        if fault:
            return fails("presented", expected, "%s: %s" % (presenter.name, fault), "adopted")
    return None


def not_ready(scene: Scene) -> dict[str, Evidence]:
    """Return the identities that instances hold in reserve and could not present, each with why, by name.

    Nobody is shown them, so no pair tells of it before the day on which a listener is given one.
    """
    found: dict[str, Evidence] = {}
    for instance in scene.model.instances():
        if not scene.ours(instance) or instance.name not in scene.instances:
            continue
        for name in scene.model.components[instance.component].reserved:
            expected = "%s holds %s in reserve, key and certificate" % (instance.name, name)
            held = scene.wanted[instance.name].identities.get(name) if instance.name in scene.wanted else None
            fault = _not_adopted(scene, instance, name, None)
            if held and held.awaits and held.certificate is None:
                found.setdefault(
                    name, fails("presented", expected, held.awaits.seen, "signature", todo=held.awaits.todo)
                )
            elif fault:
                found.setdefault(name, fails("presented", expected, "%s: %s" % (instance.name, fault), "adopted"))
    return found


def _not_adopted(scene: Scene, presenter: Instance, identity: str, name: str | None) -> str:
    """Return why an identity that was there before us cannot be presented as this name; empty if it can, or is ours."""
    path = scene.model.adopted(identity).get("certificate")
    if path is None:
        return ""
    seen = scene.seen(presenter)
    found = seen.adopted.get(identity)
    if found is None:
        return seen.unreadable.get("adopted " + identity) or "nobody looked at %s" % path
    if not found["valid"]:
        return "the certificate %s is not valid by its host's clock" % path
    if name and name not in found["names"]:
        return "the certificate %s is for %s, and %s is dialled" % (path, few(found["names"]) or "no name", name)
    return ""


def misread_key(scene: Scene, instance: Instance, folder: str) -> str:
    """Return that the process runs as another account than the key belongs to, if it does; root reads every key."""
    seen = scene.seen(instance)
    key = file_in(folder, "key.pem")
    owner, user = (seen.files.get(key) or {}).get("owner"), seen.process.user
    if owner is None or user is None or user in (owner, "root"):
        return ""
    return "its process runs as %s, and its key belongs to %s" % (user, owner)


def serves_another(scene: Scene, pair: Pair) -> bool:
    """Return whether the listener presents another certificate than the one that is installed for it."""
    held, served = scene.held(pair, pair.server), scene.tls(pair).sha256
    return bool(held and held.certificate and served and served != held.certificate)
