# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What waits while a CA list of others cannot be read, and what stays as it is; private to this collection.

What is planned for others comes from all pairs, also those that are blocked for now: a certificate keeps the names that
they dial. What is installed keeps the list that was read before: a generation without it would end what it verifies.
"""

from __future__ import annotations

import typing as t

from ._entities import Instance, Model, Pair
from ._scene import Scene
from ._wanting import Wishes

#: By authority, the sentence that says what is wrong with the file of its list.
Unread = t.Mapping[str, str]


def pairs_without_list(model: Model, wishes: Wishes, unread: Unread) -> dict[str, str]:
    """Return the pairs that need one of these lists, each with why it cannot be had.

    One end verifies by it what the other presents, or presents itself what only this list tells to be right, be it in
    another pair: an instance gets all of its material or none.
    """
    found = {}
    for pair in model.pairs if unread else ():
        needed = [wishes.issuer_of(pair, presenter) for presenter in _presenters(pair)]
        needed += [name for end in pair.ends if model.managed(end) for name in wishes.asked_by(end)]
        why = next((unread[name] for name in needed if name in unread), None)
        if why is not None and not pair.blocked:
            found[pair.id] = why
    return found


def _presenters(pair: Pair) -> tuple[Instance, ...]:
    return (pair.server, pair.client) if pair.mode == "mutual" else (pair.server,)


def instances_that_stay(
    scene: Scene, wishes: Wishes, instances: t.Iterable[Instance], unread: Unread
) -> dict[str, str]:
    """Return the instances whose material has to stay, each with why: it has a list that cannot be read now."""
    found = {}
    for instance in instances:
        needed = [name for name in wishes.needed_by(instance) if name in unread]
        inputs = scene.seen(instance).inputs or {}
        more = set(inputs.get("trust") or ()) - set(scene.wanted[instance.name].trust or ())
        if needed and more:
            said = "%s; %s has it from before, and nothing of its material is replaced without it"
            found[instance.name] = said % (unread[needed[0]], instance.name)
    return found
