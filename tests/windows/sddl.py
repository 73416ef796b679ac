# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security descriptors as text, as Windows writes and reads them (Microsoft: "Security Descriptor String Format")."""

from __future__ import annotations

import re
import typing as t

from . import Failed
from .acls import FILE_RIGHTS, Rule

#: Microsoft: "SID Strings".
_ALIASES: t.Final[t.Mapping[str, str]] = {
    "AU": "S-1-5-11",
    "BA": "S-1-5-32-544",
    "BU": "S-1-5-32-545",
    "CO": "S-1-3-0",
    "LS": "S-1-5-19",
    "NS": "S-1-5-20",
    "SY": "S-1-5-18",
    "WD": "S-1-1-0",
}
#: Microsoft: "ACE Strings"; the rights of files that have a word of their own.
_RIGHTS: t.Final[t.Mapping[str, int]] = {
    "FA": FILE_RIGHTS["fullcontrol"],
    "FR": 0x120089,
    "FW": 0x120116,
    "FX": 0x1200A0,
}
_FLAGS: t.Final = (("OI", "objects"), ("CI", "containers"), ("NP", "no_propagate"), ("IO", "inherit_only"))
_DACL: t.Final = re.compile(r"D:(P|AI|AR)*((?:\([^()]*\))*)\Z")
_ENTRY: t.Final = re.compile(r"\(([AD]);([A-Z]*);([A-Z]+|0x[0-9a-fA-F]+);;;([A-Z]{2}|S-1-[0-9-]+)\)")


def written(rules: t.Iterable[Rule], *, protected: bool) -> str:
    """Return a DACL as text."""
    return "D:%s%s" % ("PAI" if protected else "AI", "".join(map(_entry, rules)))


def _entry(rule: Rule) -> str:
    flags = "".join(word for word, name in _FLAGS if getattr(rule, name)) + ("ID" if rule.inherited else "")
    rights = next((word for word, mask in _RIGHTS.items() if mask == rule.mask), "0x%x" % rule.mask)
    kind = "A" if rule.kind == "allow" else "D"
    return "(%s;%s;%s;;;%s)" % (kind, flags, rights, alias(rule.sid))


def alias(sid: str) -> str:
    """Return the two letters of a SID, or the SID where it has none."""
    return next((word for word, known in _ALIASES.items() if known == sid), sid)


def read(text: str) -> tuple[list[Rule], bool]:
    """Return the rules of a DACL, and whether it inherits nothing.

    Raises:
        Failed: Windows would not take it.
    """
    found = _DACL.match(text)
    entries = _ENTRY.findall(text)
    if not found or "".join("(%s;%s;%s;;;%s)" % entry for entry in entries) != found[2]:
        raise Failed("The SDDL form of a security descriptor object is invalid.")
    return [_rule(*entry) for entry in entries], "P" in text[2 : text.find("(")].replace("PAI", "P")


def _rule(kind: str, flags: str, rights: str, sid: str) -> Rule:
    if rights not in _RIGHTS and not rights.startswith("0x"):
        raise Failed("The SDDL form of a security descriptor object is invalid.")
    mask = _RIGHTS[rights] if rights in _RIGHTS else int(rights, 16)
    words = {flags[start : start + 2] for start in range(0, len(flags), 2)}
    return Rule(
        _ALIASES.get(sid, sid),
        "allow" if kind == "A" else "deny",
        mask,
        containers="CI" in words,
        objects="OI" in words,
        inherit_only="IO" in words,
        no_propagate="NP" in words,
    )
