# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a pair, or a whole step, from going on; private to this collection."""

from __future__ import annotations

from dataclasses import dataclass

from ._entities import Pair
from ._evidence import Evidence, Fault, fails


@dataclass(frozen=True)
class Hold:
    """Why a pair does not go on: what its gate refuted, or what it waits for.

    Attributes:
        evidence: what was expected and seen.
        waiting: whether that is nobody's fault.
        of: the pair that this is about; empty if it is about all pairs of the step.
    """

    evidence: Evidence
    waiting: bool
    of: str = ""

    def for_pair(self, pair: Pair) -> Hold:
        """Return what this means for a pair of the same step: one that is not at fault waits for the one that is."""
        if self.of in ("", pair.id):
            return self
        expected = "what moves together with %s goes on" % pair.id
        seen = "%s does not: %s" % (self.of, self.evidence.seen)
        return waiting(self.evidence.gate, expected, seen, todo=self.evidence.todo)


def refuted(evidence: Evidence, *, of: str = "") -> Hold:
    """Return that a gate does not hold; whether that waits follows from its fault."""
    return Hold(evidence, evidence.rule.waits, of)


def waiting(gate: str, expected: str, seen: str, *, todo: str = "", of: str = "", fault: Fault = "held") -> Hold:
    """Return that somebody or something else has to come first."""
    return Hold(fails(gate, expected, seen, fault, todo=todo), True, of)
