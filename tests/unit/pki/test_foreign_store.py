# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a store is the one that the fleet's material came from, as a table; runs on a target's Python too."""

from __future__ import annotations

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._few import few
from ansible_collections.connsec.tls.plugins.module_utils._core._lost_store import StoreLost, refuse_foreign_store

STORE = "/srv/store/authorities"
PAIR = "router@urs1->confserv.default@cfg1"


@pytest.mark.parametrize(
    ("roots", "installed", "remembered", "says"),
    [
        ([], {}, [], None),
        (["aa"], {}, [], None),
        (["aa"], {}, [PAIR], None),
        (["aa"], {"router@urs1": ["aa"]}, [PAIR], None),
        (["aa", "bb"], {"router@urs1": ["aa"], "x@h": ["bb", "cc"]}, [], None),
        (["aa"], {"router@urs1": ["aa"], "x@h": ["cc"]}, [], None),
        (["aa"], {"router@urs1": []}, [], None),
        ([], {"router@urs1": []}, [], "is empty, while generations are installed for router@urs1;"),
        ([], {"router@urs1": ["aa"]}, [PAIR], "is empty, while generations are installed for router@urs1;"),
        ([], {}, [PAIR], "is empty, while the ledger has %s at trusted or further" % PAIR),
        (["zz"], {"router@urs1": ["aa"], "x@h": []}, [], "is another one: none of its roots is known to router@urs1;"),
        (["zz"], {"a@h%d" % n: ["aa"] for n in range(9)}, [], "known to a@h0, a@h1, a@h2, a@h3, a@h4 and 4 more;"),
    ],
)
def test_a_store_that_is_empty_or_another_one_is_refused(
    roots: list[str], installed: dict[str, list[str]], remembered: list[str], says: str | None
) -> None:
    if says is None:
        refuse_foreign_store(STORE, roots=roots, installed=installed, remembered=remembered)
        return
    with pytest.raises(StoreLost) as raised:
        refuse_foreign_store(STORE, roots=roots, installed=installed, remembered=remembered)
    assert says in str(raised.value)
    assert str(raised.value).startswith("the store %s is " % STORE)
    assert "set tls_store to the one that their material came from" in str(raised.value)


def test_a_list_in_a_sentence_is_short_and_in_order() -> None:
    assert few([]) == ""
    assert few(["b", "a", "b"]) == "a, b"
    assert few("hgfedcba") == "a, b, c, d, e and 3 more"
