# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access rules of files, folders and private keys: what is set, what is inherited, and who may read in the end.

Inherited rules are worked out when they are asked for, where Windows copies them down at each change; for rules that
are set through the modelled modules both come to the same.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, replace

from . import Failed
from .accounts import ADMINISTRATORS, SYSTEM, USERS

#: .NET: System.Security.AccessControl.FileSystemRights.
FILE_RIGHTS: t.Final[t.Mapping[str, int]] = {
    "readdata": 0x1,
    "listdirectory": 0x1,
    "writedata": 0x2,
    "createfiles": 0x2,
    "appenddata": 0x4,
    "createdirectories": 0x4,
    "readextendedattributes": 0x8,
    "writeextendedattributes": 0x10,
    "executefile": 0x20,
    "traverse": 0x20,
    "deletesubdirectoriesandfiles": 0x40,
    "readattributes": 0x80,
    "writeattributes": 0x100,
    "write": 0x116,
    "delete": 0x10000,
    "readpermissions": 0x20000,
    "read": 0x20089,
    "readandexecute": 0x200A9,
    "modify": 0x301BF,
    "changepermissions": 0x40000,
    "takeownership": 0x80000,
    "synchronize": 0x100000,
    "fullcontrol": 0x1F01FF,
}
#: win_acl's own table for private keys (ansible.windows 3.3.0, `_CertACLHelper.cs`, CertAccessRights), unsigned.
KEY_RIGHTS: t.Final[t.Mapping[str, int]] = {"read": 0x80120089, "fullcontrol": 0xD01F01FF}
_READ_DATA: t.Final = 0x1
_SYNCHRONIZE: t.Final = 0x100000

Kind = t.Literal["allow", "deny"]


@dataclass(frozen=True)
class Rule:
    """One entry of an access control list."""

    sid: str
    kind: Kind
    mask: int
    containers: bool = False
    objects: bool = False
    inherit_only: bool = False
    no_propagate: bool = False
    inherited: bool = False

    def for_child(self, *, folder: bool) -> Rule | None:
        """Return what something in this folder inherits of the rule, or nothing."""
        if not folder:
            return replace(self, **_LEAF) if self.objects else None
        if self.no_propagate:
            return replace(self, **_LEAF) if self.containers else None
        if self.containers:
            return replace(self, inherit_only=False, inherited=True)
        return replace(self, inherit_only=True, inherited=True) if self.objects else None


_LEAF: t.Final[dict[str, t.Any]] = {
    "containers": False,
    "objects": False,
    "inherit_only": False,
    "no_propagate": False,
    "inherited": True,
}


def mask_of(words: str, table: t.Mapping[str, int]) -> int:
    """Return the bits of rights with commas between them.

    Raises:
        Failed: .NET knows no such right.
    """
    mask = 0
    for word in words.split(","):
        if word.strip().lower() not in table:
            raise Failed('Cannot convert value "%s" to a right: unable to match the identifier name' % words)
        mask |= table[word.strip().lower()]
    return mask


def file_rule(rule: Rule) -> Rule:
    """Return the rule as .NET's FileSystemAccessRule makes it: allowing includes Synchronize, denying leaves it out."""
    if rule.kind == "allow":
        return replace(rule, mask=rule.mask | _SYNCHRONIZE)
    full = rule.mask == FILE_RIGHTS["fullcontrol"]
    return rule if full else replace(rule, mask=rule.mask & ~_SYNCHRONIZE)


def added(rules: t.Sequence[Rule], rule: Rule) -> list[Rule]:
    """Return the rules with one more; it is joined with the one that differs in its rights alone, as .NET does."""
    kept = list(rules)
    for number, known in enumerate(kept):
        if replace(known, mask=rule.mask) == rule:
            kept[number] = replace(known, mask=known.mask | rule.mask)
            return kept
    return [*kept, rule]


def removed(rules: t.Sequence[Rule], rule: Rule) -> list[Rule]:
    """Return the rules without the rights of one."""
    kept = []
    for known in rules:
        left = known.mask & ~rule.mask if replace(known, mask=rule.mask) == rule else known.mask
        if left:
            kept.append(replace(known, mask=left))
    return kept


def readers(rules: t.Iterable[Rule]) -> set[str]:
    """Return the SIDs that may read, by name; what follows from a group's membership is not worked out."""
    allowed = {rule.sid for rule in rules if rule.kind == "allow" and not rule.inherit_only and rule.mask & _READ_DATA}
    return allowed - {
        rule.sid for rule in rules if rule.kind == "deny" and not rule.inherit_only and rule.mask & _READ_DATA
    }


def _both(sid: str, rights: str) -> Rule:
    return file_rule(Rule(sid, "allow", FILE_RIGHTS[rights], containers=True, objects=True))


#: What a drive has, and what folders of Windows have that cut their inheritance: the defaults of Server 2019, as known
#: and read on no host.
DRIVE: t.Final = (_both(SYSTEM, "fullcontrol"), _both(ADMINISTRATORS, "fullcontrol"), _both(USERS, "readandexecute"))
PROGRAM_DATA: t.Final = (*DRIVE, file_rule(Rule(USERS, "allow", FILE_RIGHTS["write"], containers=True)))
PROFILE: t.Final = (_both(SYSTEM, "fullcontrol"), _both(ADMINISTRATORS, "fullcontrol"))
KEY: t.Final = (
    Rule(SYSTEM, "allow", KEY_RIGHTS["fullcontrol"]),
    Rule(ADMINISTRATORS, "allow", KEY_RIGHTS["fullcontrol"]),
)


def stored(rules: t.Iterable[Rule]) -> list[dict[str, t.Any]]:
    """Return rules for JSON."""
    return [{name: value for name, value in asdict(rule).items() if value is not False} for rule in rules]


def loaded(rows: t.Iterable[dict[str, t.Any]]) -> list[Rule]:
    """Return rules out of JSON."""
    return [Rule(**row) for row in rows]
