# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind has to declare, so that gates have something to look at; private to this collection.

What is missing is said before anything runs. Otherwise a gate would find nothing to look at in the middle of a run.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._kind import InstanceKind, KindError


@dataclass(frozen=True)
class Roles:
    """What an instance does in the enumerated connections: serves, demands certificates, dials.

    ``shows`` is of one whose own sockets are all that shows something: the sessions of a client that is not ours, or
    whether a UDP port is open.
    """

    serves: bool = False
    demands: bool = False
    dials: bool = False
    shows: bool = False


@dataclass(frozen=True)
class Duty:
    """Something that has to be declared.

    Attributes:
        name: of the declaration.
        applies: when it has to be there.
        kept: whether it is.
        why: what it is for.
    """

    name: str
    applies: t.Callable[[InstanceKind, Roles], bool]
    kept: t.Callable[[InstanceKind], bool]
    why: str


def _reads(stage: str) -> t.Callable[[InstanceKind], bool]:
    return lambda kind: bool(kind.reads.get(stage))


#: One row a duty.
DUTIES: t.Final = (
    Duty("permit", lambda kind, roles: roles.serves, _reads("permit"), "the options by which it also speaks TLS"),
    Duty("demand", lambda kind, roles: roles.demands, _reads("demand"), "the options by which it demands certificates"),
    Duty("enforce", lambda kind, roles: roles.serves, _reads("enforce"), "the options by which it refuses plaintext"),
    Duty("connect", lambda kind, roles: roles.dials, _reads("connect"), "the options by which it uses TLS"),
    Duty("verify", lambda kind, roles: roles.dials, _reads("verify"), "the option that shows that it verifies"),
    Duty(
        "process",
        lambda kind, roles: roles.dials or (roles.shows and kind.shape == "second_listener"),
        lambda kind: bool(kind.process),
        "the file or service by which its process is found, for its sockets show what is used",
    ),
    Duty(
        "sessions",
        lambda kind, roles: roles.serves and kind.shape != "second_listener",
        lambda kind: bool(kind.sessions),
        "what lists its sessions, for on one port sockets cannot show TLS",
    ),
    Duty(
        "reload",
        lambda kind, roles: kind.apply == "reload",
        lambda kind: bool(kind.reload),
        "how it takes a new configuration (or apply: restart, and restart)",
    ),
    Duty(
        "restart",
        lambda kind, roles: kind.apply == "restart" or bool(kind.environment or kind.restarts),
        lambda kind: bool(kind.restart),
        "how it is started anew",
    ),
)


def check_duties(kind: InstanceKind, roles: Roles, *, instance: str, where: str) -> None:
    """Refuse a kind whose declarations do not suffice for what an instance does.

    Args:
        kind: the kind, settings put in.
        roles: what the instance does.
        instance: its name.
        where: the variable that holds its settings.

    Raises:
        KindError: the first duty that is not kept, and what it is for.
    """
    for duty in DUTIES:
        if duty.applies(kind, roles) and not duty.kept(kind):
            raise KindError("%s: %s needs %s, %s" % (where, instance, duty.name, duty.why))
