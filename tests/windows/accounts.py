# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts of a twin by name and by SID, as Windows and `Ansible.ModuleUtils.SID` resolve them."""

from __future__ import annotations

import hashlib
import re
import struct
import typing as t

SYSTEM: t.Final = "S-1-5-18"
ADMINISTRATORS: t.Final = "S-1-5-32-544"
USERS: t.Final = "S-1-5-32-545"
#: The account that Ansible connects as.
CONNECTING: t.Final = "Administrator"

#: Microsoft: "Well-known SIDs" (Windows Server documentation).
_WELL_KNOWN: t.Final[t.Mapping[str, str]] = {
    "Everyone": "S-1-1-0",
    "CREATOR OWNER": "S-1-3-0",
    "NT AUTHORITY\\Authenticated Users": "S-1-5-11",
    "NT AUTHORITY\\SYSTEM": SYSTEM,
    "NT AUTHORITY\\LOCAL SERVICE": "S-1-5-19",
    "NT AUTHORITY\\NETWORK SERVICE": "S-1-5-20",
    "BUILTIN\\Administrators": ADMINISTRATORS,
    "BUILTIN\\Users": USERS,
    "BUILTIN\\IIS_IUSRS": "S-1-5-32-568",
}
_OTHER_NAMES: t.Final[t.Mapping[str, str]] = {
    "localsystem": SYSTEM,
    "localservice": "S-1-5-19",
    "networkservice": "S-1-5-20",
    "nt authority\\localservice": "S-1-5-19",
    "nt authority\\networkservice": "S-1-5-20",
}
_SID: t.Final = re.compile(r"S-1-\d+(-\d+)+")


def service_sid(name: str, *, family: int = 80) -> str:
    """Return the SID of `NT SERVICE\\name` (Microsoft: MS-DTYP 2.4.2.4); in family 82 that of `IIS APPPOOL\\name`."""
    spelled = name.upper() if family == 80 else name.lower()
    digest = hashlib.sha1(spelled.encode("utf-16-le")).digest()
    return "S-1-5-%d-%s" % (family, "-".join(map(str, struct.unpack("<5I", digest))))


class Accounts:
    """Who is known on the host: well-known ones, local users, services, application pools."""

    def __init__(self, host: str, users: t.Sequence[str], services: t.Iterable[str], pools: t.Iterable[str]) -> None:
        self._sids = dict(_WELL_KNOWN)
        for number, user in enumerate((CONNECTING, *users)):
            identifier = 500 if user == CONNECTING else 1000 + number
            self._sids["%s\\%s" % (host, user)] = "S-1-5-21-1111111111-2222222222-3333333333-%d" % identifier
        for service in services:
            self._sids["NT SERVICE\\%s" % service] = service_sid(service)
        for pool in pools:
            self._sids["IIS APPPOOL\\%s" % pool] = service_sid(pool, family=82)
        self._host = host

    def sid(self, name: str) -> str | None:
        """Return the SID of an account, or nothing where there is none of that name."""
        if _SID.fullmatch(name):
            return name
        wanted = name.lower()
        if wanted.startswith(".\\"):
            wanted = self._host.lower() + wanted[1:]
        for known, sid in self._sids.items():
            short = known.rpartition("\\")[2].lower()
            if wanted in (known.lower(), short if not known.startswith(("NT SERVICE", "IIS APPPOOL")) else None):
                return sid
        return _OTHER_NAMES.get(wanted)

    def name(self, sid: str) -> str:
        """Return the name of an account, or its SID where nobody has it."""
        return next((name for name, known in self._sids.items() if known == sid), sid)
