# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what on a Windows host: descriptors as text, read, compared and made; private to this collection."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ._errors import TlsError

SYSTEM: t.Final = "S-1-5-18"
ADMINISTRATORS: t.Final = "S-1-5-32-544"
#: Who else may own the folder of ours: TrustedInstaller, which owns what Windows itself made.
_INSTALLER: t.Final = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
#: "SID Strings" in Microsoft's documentation, as far as hosts answer with them for files; others are spelled out.
_SIDS: t.Final[t.Mapping[str, str]] = {
    "AU": "S-1-5-11",
    "BA": ADMINISTRATORS,
    "BG": "S-1-5-32-546",
    "BU": "S-1-5-32-545",
    "CG": "S-1-3-1",
    "CO": "S-1-3-0",
    "IU": "S-1-5-4",
    "LS": "S-1-5-19",
    "NS": "S-1-5-20",
    "NU": "S-1-5-2",
    "OW": "S-1-3-4",
    "PU": "S-1-5-32-547",
    "SU": "S-1-5-6",
    "SY": SYSTEM,
    "WD": "S-1-1-0",
}
_FULL: t.Final = 0x1F01FF
_READ: t.Final = 0x120089
_READ_AND_EXECUTE: t.Final = 0x1200A9
#: "ACE Strings" there: the words that stand for rights on files, and the generic ones.
_WORDS: t.Final[t.Mapping[str, int]] = {
    "FA": _FULL,
    "FR": _READ,
    "FW": 0x120116,
    "FX": 0x1200A0,
    "GA": 0x10000000,
    "GX": 0x20000000,
    "GW": 0x40000000,
    "GR": 0x80000000,
    "RC": 0x20000,
    "SD": 0x10000,
    "WD": 0x40000,
    "WO": 0x80000,
}
#: What a generic right comes to for files ("File Security and Access Rights"); providers write them on their keys.
_GENERIC: t.Final = ((0x10000000, _FULL), (0x20000000, 0x1200A0), (0x40000000, 0x120116), (0x80000000, _READ))
_OWNER: t.Final = re.compile(r"O:([A-Z]{2}|S-[0-9-]+)")
_DACL: t.Final = re.compile(r"D:([A-Z]*)((?:\([^()]*\))*)")
_ENTRY: t.Final = re.compile(r"\(([^;()]*);([A-Z]*);([^;()]*);[^;()]*;[^;()]*;([^;()]*)\)")
_WORD: t.Final = re.compile(r"0x[0-9a-fA-F]+|[A-Z]{2}")


@dataclass(frozen=True)
class Grant:
    """What one account may do: ``kind`` as the text has it (``A`` allows), and whether folders hand it down."""

    kind: str
    sid: str
    mask: int
    handed_down: bool = False


@dataclass(frozen=True)
class Rights:
    """Who may do what.

    Attributes:
        grants: all of it, whether inherited or its own; what is there for children alone is left out.
        protected: whether nothing is inherited.
        owner: the SID of its owner; empty where nobody asked.
    """

    grants: frozenset[Grant]
    protected: bool
    owner: str = ""

    @property
    def accounts(self) -> set[str]:
        """The SIDs that it names."""
        return {grant.sid for grant in self.grants}


def read_rights(text: str) -> Rights:
    """Return what a descriptor says.

    Raises:
        TlsError: it cannot be understood, so nobody knows who may do what.
    """
    found, owner = _DACL.search(text), _OWNER.search(text)
    rows = _ENTRY.findall(found.group(2)) if found else []
    if not found or len(rows) != found.group(2).count("("):
        raise TlsError("the access rules %r cannot be understood; set them anew" % text)
    grants = frozenset(_grant(*row) for row in rows if "IO" not in _pairs(row[1]))
    return Rights(grants, "P" in found.group(1).replace("AI", ""), _sid(owner.group(1)) if owner else "")


def _grant(kind: str, flags: str, rights: str, sid: str) -> Grant:
    mask = 0
    for word in _WORD.findall(rights):
        mask |= int(word, 16) if word.startswith("0x") else _WORDS.get(word, 0)
    for generic, rest in _GENERIC:
        if mask & generic:
            mask |= rest
    return Grant(kind, _sid(sid), mask & _FULL, bool(_pairs(flags) & {"OI", "CI"}))


def _pairs(flags: str) -> set[str]:
    return {flags[start : start + 2] for start in range(0, len(flags), 2)}


def _sid(word: str) -> str:
    return _SIDS.get(word, word)


def rights_of_folder(account: str | None) -> str:
    """Return the rights on an instance's folder, which all that lies in it inherits; ``account`` is a SID."""
    return _text("OICI", account, _READ_AND_EXECUTE)


def rights_of_file(account: str | None) -> str:
    """Return the rights on a file of an instance."""
    return _text("", account, _READ_AND_EXECUTE)


def rights_of_key(account: str | None) -> str:
    """Return the rights on a private key."""
    return _text("", account, _READ)


def _text(flags: str, account: str | None, mask: int) -> str:
    """Return a DACL that inherits nothing: the system and administrators have all rights, and one account some."""
    entries = ["(A;%s;FA;;;SY)(A;%s;FA;;;BA)" % (flags, flags)]
    if account not in (None, SYSTEM, ADMINISTRATORS):
        entries.append("(A;%s;0x%x;;;%s)" % (flags, mask, account))
    return "D:P%s" % "".join(entries)


def differs(found: str, planned: str) -> set[str] | None:
    """Return the accounts whose rights are not as planned, nobody's where only inheritance differs; None if all are."""
    now, then = read_rights(found), read_rights(planned)
    if now.grants == then.grants and (now.protected or not any(grant.handed_down for grant in then.grants)):
        return None
    return {grant.sid for grant in now.grants ^ then.grants}


def owned_safely(rights: str, user: str) -> bool:
    """Return whether a folder belongs to whom the whole host belongs to, or to the account that we work as."""
    return read_rights(rights).owner in (SYSTEM, ADMINISTRATORS, _INSTALLER, user)
