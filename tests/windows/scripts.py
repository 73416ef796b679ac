# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts and modules that a test registered with a twin: which function acts out which text, by the text's digest.

A changed script is not the registered one any more, and is refused until somebody has looked at its function.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import typing as t
from pathlib import Path

from . import Refused
from .machine import Machine, replace


class Act(t.Protocol):
    """A function that acts a script out and returns keys for its module's result."""

    def __call__(self, machine: Machine, parameters: dict[str, t.Any], *, check: bool) -> dict[str, t.Any]: ...


def digest(text: str | bytes) -> str:
    """Return by what a script is known."""
    content = text.encode("utf-8") if isinstance(text, str) else text
    return hashlib.sha256(content.strip().replace(b"\r\n", b"\n")).hexdigest()


def register(folder: Path, text: str | bytes, act: str) -> None:
    """Have a text acted out by a function, named as `package.module:function`."""
    path = folder / "scripts.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    replace(path, json.dumps({**known, digest(text): act}))


def find(machine: Machine, text: str | bytes) -> Act:
    """Return the function that acts out a text.

    Raises:
        Refused: none is registered.
    """
    known = json.loads((machine.folder / "scripts.json").read_text(encoding="utf-8"))
    act = known.get(digest(text))
    if act is None:
        raise Refused(
            "the twin has no PowerShell, and no function is registered for this text (sha256 %s)" % digest(text)[:16]
        )
    module, _unused, name = act.partition(":")
    return t.cast(Act, getattr(importlib.import_module(module), name))
