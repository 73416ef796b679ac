# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts have keys born, and ask for what, before the store makes what is due; private to this collection."""

from __future__ import annotations

import typing as t

from ..module_utils._core._briefing import reads_keystore_only
from ..module_utils._core._entities import Instance
from ..module_utils._core._material import identity_target
from ..module_utils._core._plan import Plan
from ..module_utils._core._requesting import terms_asked
from ..module_utils._core._scene import Scene
from ._fleet import Fleet
from ._relay import Json
from ._store import StoreView


def births_of(
    fleet: Fleet, view: StoreView, scene: Scene, plan: Plan, asking: t.Sequence[Instance]
) -> dict[str, list[Json]]:
    """Return, per host, the keys that have to be there before the store can make what is due, or ask others for it.

    Args:
        fleet, view, scene, plan: what there is, and what is due.
        asking: those that may ask others; they wait for an answer long before anything is installed on their hosts.
    """
    installing = [Instance.parse(name) for names in plan.material.values() for name in names]
    instances = list(dict.fromkeys([*installing, *(each for each in asking if each.host not in scene.lost)]))
    wanted = {each.name: each for each in fleet.wishes.identities(instances) if each.key_at == "host"}
    signing, requesting = view.acts("sign") if fleet.can_sign else {}, view.acts("ask")
    births: dict[str, list[Json]] = {}
    for instance in instances:
        for identity in fleet.wishes.presented_by(instance):
            target = identity_target(identity)
            if identity in wanted and (target in requesting or (target in signing and instance in installing)):
                found, planned = view.identities.get(identity), wanted[identity]
                row = {
                    "name": instance.name,
                    "folder": instance.component,
                    "account": scene.kinds[instance.name].account,
                    "identity": identity,
                    "key_type": planned.key_type,
                    "certified": found.spki_sha256 if found else "",
                    "keystore_only": reads_keystore_only(scene, instance, identity),
                    **(terms_asked(planned) if target in requesting else {}),
                }
                births.setdefault(instance.host, []).append(row)
    return births
