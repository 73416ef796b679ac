# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module of ansible.windows as the twin acts it out: what a model consists of, and what it is handed."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .machine import Machine

Result = dict[str, t.Any]


@dataclass(frozen=True)
class Call:
    """A module's checked arguments, and in which modes it was called; ``hidden`` are values marked with no_log."""

    arguments: t.Mapping[str, t.Any]
    internal: t.Mapping[str, t.Any]
    check: bool
    diff: bool
    warnings: list[str] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> t.Any:
        return self.arguments[name]


@dataclass(frozen=True)
class Model:
    """How one module is acted out.

    ``source`` is the SHA-256 of the .ps1 that the model was written from: another is refused until it was read.
    ``shown`` are the options whose values the log may hold; ``secret`` those that the real module marks with no_log.
    ``combined`` are options that take several of their documented choices with commas between them.
    ``internal`` are arguments that Ansible's own action plugin adds, and nobody documents.
    ``unmodelled`` are documented options that the twin refuses where they have another value than their default.
    ``predates_basic`` modules return no `invocation`, for they are not made with `Ansible.Basic`.
    ``in_check_mode`` says whether the real module runs in check mode at all; one that does not is skipped there.
    """

    name: str
    source: str
    act: t.Callable[[Call, Machine], Result]
    shown: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    combined: tuple[str, ...] = ()
    internal: tuple[str, ...] = ()
    unmodelled: tuple[str, ...] = ()
    predates_basic: bool = False
    in_check_mode: bool = True
