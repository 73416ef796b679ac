# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access rules of Windows as text: what counts as planned, and what does not."""

from __future__ import annotations

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._sddl import (
    differs,
    owned_safely,
    read_rights,
    rights_of_file,
    rights_of_folder,
    rights_of_key,
)

SERVICE = "S-1-5-80-3495861103-1693236509-3612561600-2687397741-2592908324"
USERS = "S-1-5-32-545"


@pytest.mark.parametrize(
    ("found", "planned"),
    [
        ("O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;%s)" % SERVICE, rights_of_folder(SERVICE)),
        ("D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)", rights_of_folder(None)),
        ("D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;%s)" % SERVICE, rights_of_file(SERVICE)),
        # Providers write generic rights on their keys, and a hexadecimal mask for those together
        ("D:PAI(A;;0xd01f01ff;;;SY)(A;;0xd01f01ff;;;BA)(A;;0x80120089;;;%s)" % SERVICE, rights_of_key(SERVICE)),
        ("D:PAI(A;;GAFA;;;SY)(A;;GA;;;S-1-5-32-544)(A;;GR;;;NS)", rights_of_key("S-1-5-20")),
        # What is there for children alone says nothing of the folder itself
        ("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICIIO;FA;;;CO)", rights_of_folder(None)),
    ],
)
def test_rights_that_come_to_the_same_do_not_differ(found: str, planned: str) -> None:
    assert differs(found, planned) is None


@pytest.mark.parametrize(
    ("found", "planned", "accounts"),
    [
        ("D:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;BU)", rights_of_key(None), {USERS}),
        ("D:PAI(A;;FA;;;SY)(A;;FA;;;BA)", rights_of_key(SERVICE), {SERVICE}),
        ("D:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;%s)" % SERVICE, rights_of_key(SERVICE), {SERVICE}),
        ("D:PAI(D;;FR;;;SY)(A;;FA;;;BA)", rights_of_key(None), {"S-1-5-18"}),
        ("D:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)", rights_of_folder(None), set()),
        ("D:P", rights_of_key(None), {"S-1-5-18", "S-1-5-32-544"}),
    ],
)
def test_whoever_has_more_or_less_than_planned_is_named(found: str, planned: str, accounts: set[str]) -> None:
    assert differs(found, planned) == accounts


@pytest.mark.parametrize("account", [None, "S-1-5-18", "S-1-5-32-544"])
def test_the_system_and_administrators_are_not_named_twice(account: str | None) -> None:
    assert rights_of_key(account) == "D:P(A;;FA;;;SY)(A;;FA;;;BA)"


@pytest.mark.parametrize("text", ["", "O:BA", "D:P(A;;FA;;SY)"])
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(TlsError, match="cannot be understood"):
        read_rights(text)


@pytest.mark.parametrize(
    ("rights", "safe"),
    [
        ("O:BAG:S-1-5-21-1-2-3-513D:P", True),
        ("O:SYD:P", True),
        ("O:S-1-5-21-1-2-3-500D:P", True),
        ("O:S-1-5-21-1-2-3-1001D:P", False),
        ("O:BUD:P", False),
    ],
)
def test_a_folder_belongs_to_administrators_or_to_whom_we_work_as(rights: str, safe: bool) -> None:
    assert owned_safely(rights, "S-1-5-21-1-2-3-500") is safe
