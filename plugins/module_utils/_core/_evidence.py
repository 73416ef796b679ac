# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gate expected and what it saw, and what may be done about it; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Fault = t.Literal[
    "",
    "adopted",
    "blocked",
    "clear",
    "clock",
    "drift",
    "environment",
    "failed",
    "handshake",
    "held",
    "leftover",
    "material",
    "network",
    "no_session",
    "pending",
    "protocol",
    "remembered",
    "setting",
    "signature",
    "silent",
    "stale",
    "stranger",
    "theirs",
    "unexercised",
    "unreachable",
    "unseen",
    "unverified",
    "window",
]


@dataclass(frozen=True)
class Rule:
    """What follows from a fault.

    Attributes:
        todo: what somebody should do, where the gate knows nothing better.
        waits: whether it waits for somebody, instead of telling that a step was wrong.
        by_step: whether a step of the gate's own stage may mend it.
        hopeless: whether nothing is planned for a pair that shows it.
    """

    todo: str
    waits: bool = False
    by_step: bool = False
    hopeless: bool = False


#: One row a fault.
RULES: t.Final[t.Mapping[str, Rule]] = {
    "": Rule(""),
    "adopted": Rule("see to the certificate that is there, or have another issuer in identities", waits=True),
    "blocked": Rule("see docs/model.md, or decide anew", waits=True, hopeless=True),
    "clear": Rule("see what listens on the clear port", by_step=True),
    "clock": Rule("set its clock, by NTP for instance, and run again", hopeless=True),
    "drift": Rule("run connsec.tls.rollout to mend it"),
    "environment": Rule("restart it, or see who sets the variable after us"),
    "failed": Rule("mend what it says, and run again"),
    "handshake": Rule("see the server's log", by_step=True),
    "held": Rule("see to the other one first, and run again"),
    "leftover": Rule("end the clear session, or restart the client; then run again", waits=True),
    "material": Rule("run connsec.tls.rollout"),
    "network": Rule("have the new flow allowed, and run again", waits=True),
    "no_session": Rule("see which CA list the client reads, and its log", by_step=True),
    "pending": Rule("run connsec.tls.rollout", by_step=True),
    "protocol": Rule("take the old version from the server's protocols", by_step=True),
    "remembered": Rule("run connsec.tls.rollout, which looks", waits=True, by_step=True),
    "setting": Rule("run connsec.tls.rollout", by_step=True),
    "signature": Rule("have the request signed and bring the answer", waits=True),
    "silent": Rule("start the server, or correct its port", hopeless=True),
    "stale": Rule("reload it"),
    "stranger": Rule("move it to TLS, enumerate it, or end its session; then run again", waits=True),
    "theirs": Rule("ask its owner, and run again", waits=True),
    "unexercised": Rule("let it connect, and run again", waits=True),
    "unreachable": Rule("mend what it says, and run again", hopeless=True),
    "unseen": Rule("make it visible to Ansible on that host", hopeless=False),
    "unverified": Rule("make the client verify its servers"),
    "window": Rule("run again when the window is open", waits=True),
}


@dataclass(frozen=True)
class Evidence:
    """What one gate expected and what it saw.

    Attributes:
        gate: the stage that this gate guards, or ``reach`` where nobody could look.
        holds: whether the stage holds.
        expected: what had to be seen.
        seen: what was seen.
        fault: what is wrong, for rules; empty where it holds.
        todo: what somebody should do about it; empty where it holds.
        security: ``clear``, ``tls_unverified``, ``verified`` or ``mutual``; empty where the gate says nothing about it.
        live: whether it was seen on live traffic; a probe or a setting read back leaves it ``unexercised``.
    """

    gate: str
    holds: bool
    expected: str
    seen: str
    fault: Fault = ""
    todo: str = ""
    security: str = ""
    live: bool = False

    @property
    def rule(self) -> Rule:
        """What follows from its fault."""
        return RULES[self.fault]


def holds(gate: str, expected: str, seen: str, *, security: str = "", live: bool = False) -> Evidence:
    """Return that a gate holds."""
    return Evidence(gate, True, expected, seen, security=security, live=live)


def fails(gate: str, expected: str, seen: str, fault: Fault, *, todo: str = "", security: str = "") -> Evidence:
    """Return that a gate does not hold; what to do comes from the fault's rule where the gate knows nothing better."""
    return Evidence(gate, False, expected, seen, fault, todo or RULES[fault].todo, security)
