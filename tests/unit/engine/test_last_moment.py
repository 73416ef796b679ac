# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sockets stand at the end of a look, where a wait before that end has seen them as well."""

from __future__ import annotations

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import parse_instance

ENDS = {"local": "10.0.0.2:50000", "peer": "10.0.0.1:6379"}
OPEN, ENDED = {**ENDS, "state": "ESTABLISHED"}, {**ENDS, "state": "TIME_WAIT"}
NOTED = {**OPEN, "now": True, "new": True, "lasted": 0.0, "ago": 0.1}

#: What the last moment shows, what the wait had noted; whether it stands, whether it is more than a moment's, and
#: whether it is known to have been dialled meanwhile.
CASES = {
    "it stands and was noted": ([OPEN], [NOTED], (True, True, True)),
    "it ended behind the wait": ([ENDED], [NOTED], (False, False, True)),
    "it is gone": ([], [NOTED], (False, False, True)),
    "it was gone a moment later": ([{**OPEN, "brief": True}], [NOTED], (True, False, True)),
    "nobody waited": ([OPEN], [], (True, True, False)),
    "the wait had seen it gone": ([], [{**NOTED, "now": False}], (False, False, True)),
}


@pytest.mark.parametrize(("last", "noted", "expected"), CASES.values(), ids=CASES)
def test_the_last_moment_says_whether_a_connection_stands_and_the_wait_before_it_whether_it_was_dialled(
    last, noted, expected
):
    sockets = parse_instance({"sockets": last, "recent": noted}).sockets
    assert len(sockets) == 1
    stands, holds = any(each.is_open for each in sockets), any(each.is_open and not each.brief for each in sockets)
    assert (stands, holds, any(each.new for each in sockets)) == expected
