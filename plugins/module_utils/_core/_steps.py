# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step and a round: what a plan consists of; private to this collection."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ._entities import Instance


@dataclass(frozen=True)
class Step:
    """One piece of work on one instance.

    Attributes:
        id: its name on the host, the same in every run that plans it.
        stage: ``load`` (no edit), ``permit``, ``connect``, ``demand`` or ``enforce``.
        instance: the instance that it works on.
        of: the listeners, or for ``connect`` the pairs, that it moves and that its reverse undoes.
        pairs: the pairs that its gate judges.
        reason: why it is due.
        apply: ``restart``, or ``kind`` for what the kind does after an edit.
        reverse: whether this step undoes what a step of this id did.
    """

    id: str
    stage: str
    instance: Instance
    of: tuple[str, ...]
    pairs: tuple[str, ...]
    reason: str
    apply: str = "kind"
    reverse: bool = False

    @property
    def target(self) -> str:
        """Return the step's logical name."""
        return "%s %s %s" % ("undo" if self.reverse else "step", self.id, self.instance.name)

    def reversed(self) -> Step:
        """Return the step that undoes this one."""
        return dataclasses.replace(self, reverse=True)


@dataclass(frozen=True)
class Round:
    """Steps of different instances that may run at the same time.

    Attributes:
        phase: what they are about: ``load``, ``permit``, ``connect``, ``flip``, ``demand`` or ``enforce``.
        steps: the steps.
        together: whether they are judged and taken back as one.
        interruption: seconds for which clients may be cut off.
    """

    phase: str
    steps: tuple[Step, ...]
    together: bool = False
    interruption: float = 0.0
