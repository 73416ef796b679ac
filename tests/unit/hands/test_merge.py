# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our change is taken out and everybody else's stays; where both touch a line, the difference is shown, masked."""

from __future__ import annotations

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._masked import MASK, is_secret, masked, masked_value
from ansible_collections.connsec.tls.plugins.module_utils._core._merge import Conflict, undo
from hypothesis import given, settings
from hypothesis import strategies as st

MERGED = [
    # before our step, after it, what is found, what is left without our change
    ("a\n", "b\n", "b\n", "a\n"),
    ("a\n", "a\nours\n", "a\nours\n", "a\n"),
    ("a\n", "a\nours\n", "a\n", "a\n"),
    ("a\n", "a\n", "theirs\n", "theirs\n"),
    ("a\nb\n", "a\nours\nb\n", "theirs\na\nours\nb\n", "theirs\na\nb\n"),
    ("a\nb\n", "a\nours\nb\n", "a\nours\ntheirs\nb\n", "a\ntheirs\nb\n"),
    ("a\nb\n", "a\nours\nb\n", "a\ntheirs\nours\nb\n", "a\ntheirs\nb\n"),
    ("a\nb\n", "a\nours\nb\n", "a\nours\nb\ntheirs\n", "a\nb\ntheirs\n"),
    ("a\nb\nc\n", "a\nours\nc\n", "ours\nc\n", "b\nc\n"),
    ("a\nold\nb\n", "a\nours\nb\n", "a\nold\nb\n", "a\nold\nb\n"),
    ("a\nold\nb\n", "a\nb\n", "theirs\na\nb\n", "theirs\na\nold\nb\n"),
    ("a\nold\nb\n", "a\nb\n", "a\nold\nb\n", "a\nold\nb\n"),
    ("", "ours\n", "ours\n", ""),
    ("", "ours\n", "ours\ntheirs\n", "theirs\n"),
    ("a\r\n", "a\r\nours\r\n", "theirs\r\na\r\nours\r\n", "theirs\r\na\r\n"),
    ("caf\udce9\n", "caf\udce9\nours\n", "caf\udce9\nours\ntheirs \u2028\n", "caf\udce9\ntheirs \u2028\n"),
    # a last line without an end is not glued to one that comes behind it
    ("a", "a\nours", "a\nours", "a"),
    ("a", "a\nours", "theirs\na\nours", "theirs\na"),
    ("a\nold", "a\nours\n", "a\nours\ntheirs\n", "a\nold\ntheirs\n"),
    ("a\r\nold", "a\r\nours\r\n", "a\r\nours\r\ntheirs\r\n", "a\r\nold\r\ntheirs\r\n"),
    ("a\nold\n", "a\n", "a", "a\nold\n"),
]


@pytest.mark.parametrize(("before", "after", "current", "left"), MERGED)
def test_our_change_is_taken_out_and_every_other_edit_stays(before, after, current, left) -> None:
    assert undo(before, after, current) == left
    assert undo(before, after, current, ours_wins=True) == left


CONFLICTS = [
    # before, after, found, what the sentence says, what ours_wins makes of it
    ("a\nold\n", "a\nours\n", "a\ntheirs\n", "line 2 was changed again since: -ours; \\+theirs$", "a\nold\n"),
    ("a\n", "a\nours\n", "a\ntheirs\n", "line 2 was changed again since: -ours; \\+theirs$", "a\n"),
    ("a\nold\nb\n", "a\nb\n", "a\ntheirs\nb\n", r"line 2 was changed again since: \+theirs", "a\nold\nb\n"),
    ("old\nb\n", "ours\nb\n", "b\n", "line 1 was changed again since: -ours$", "old\nb\n"),
    ("1\n2\n3\n", "1\nours\n3\n", "x\ny\nz\n", r"line 1 .*: -1; -ours; -3; \+x; \+y; \+z", "1\n2\n3\n"),
    ("a\npassword = x\n", "a\npassword = y\n", "a\npassword = z\n", r"-password = \*{8}; \+password = \*{8}$", None),
    ("a\ntrust = x\n", "a\ntrust = y\n", "a\ntrust = z\r\n", r"-trust = y; \+trust = z$", None),
    ("".join("%d\n" % n for n in range(9)), "ours\n" * 9, "x\n", r"(-ours; ){5}\+x$", None),
]


@pytest.mark.parametrize(("before", "after", "current", "says", "won"), CONFLICTS)
def test_where_both_touched_a_line_the_difference_is_shown_and_ours_can_win(before, after, current, says, won) -> None:
    with pytest.raises(Conflict, match=says) as raised:
        undo(before, after, current)
    assert "password = z" not in str(raised.value)
    assert undo(before, after, current, ours_wins=True) == (before if won is None else won)


def test_what_they_edited_elsewhere_stays_where_ours_wins() -> None:
    after, current = "1\nours\n3\n4\n", "1\ntheirs\n3\nmore\n4\n"
    assert undo("1\n2\n3\n4\n", after, current, ours_wins=True) == "1\n2\n3\nmore\n4\n"


def texts(words: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(words), max_size=8).map(lambda lines: "".join(line + "\n" for line in lines))


TEXTS = texts("abcd")


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_taking_nothing_out_keeps_all_and_taking_out_twice_is_taking_out_once(before, after, current) -> None:
    assert undo(before, after, after) == before
    assert undo(before, after, before) == before
    assert undo(after, after, current) == current


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, texts("xy"), texts("uv"))
def test_edits_in_other_parts_never_conflict(before, after, above, below) -> None:
    around = above + "<\n%s>\n" + below
    theirs = "theirs\n" + around + "theirs\n"
    assert undo(around % before, around % after, theirs % after) == theirs % before


LINES = [
    ("password = hunter2", "password = ********"),
    ("  db.password=hunter2", "  db.password=********"),
    ("requirepass hunter2", "requirepass ********"),
    ("sql_pwd: hunter2", "sql_pwd: ********"),
    ("keystorePassword=hunter2", "keystorePassword=********"),
    ("api-key = hunter2", "api-key = ********"),
    ('"client_secret": "hunter2",', '"client_secret": ********'),
    ("#password = hunter2", "#password = ********"),
    ("; token: hunter2", "; token: ********"),
    ("url = jdbc:x?user=u&password=hunter2", "url = jdbc:x?user=u&password=********"),
    ("primary_conninfo = 'host=a password=hunter2'", "primary_conninfo = 'host=a password=********"),
    ("<password>hunter2</password>", "<password>********"),
    ('<Connector keystorePass="hunter2" x="y"/>', "<Connector keystorePass=********"),
    ('<property name="password" value="hunter2"/>', '<property name="password" value=********'),
    ("my password = hunter2", "my password = ********"),
    ("cannot open the token that it needs", "cannot open the token that it needs"),
    ("password_file = /etc/password", "password_file = /etc/password"),
    ("ssl_key = /etc/key.pem", "ssl_key = /etc/key.pem"),
    ("listen 2021", "listen 2021"),
    ("password", "password"),
    ("", ""),
]


@pytest.mark.parametrize(("line", "shown"), LINES)
def test_a_line_is_shown_without_its_secret(line, shown) -> None:
    assert masked(line) == shown


NAMES = [
    ("password", True),
    ("Passphrase", True),
    ("keystore.password", True),
    ("requirepass", True),
    ("passwd", True),
    ("pass_phrase", True),
    ("passphrase_1", True),
    ("auth_token", True),
    ("credential", True),
    ("apiKey", True),
    ("password_file", False),
    ("proxy_pass", False),
    ("proxy_pass_word", True),
    ("token.path", False),
    ("key", False),
    ("ssl_key", False),
    ("compass_heading", False),
]


@pytest.mark.parametrize(("name", "secret"), NAMES)
def test_a_secret_is_told_by_its_name_and_the_name_of_a_file_is_none(name, secret) -> None:
    assert is_secret(name) is secret


VALUES = [
    ("password", "geheim", MASK),
    ("olcSyncrepl", "rid=1 provider=ldap://ds credentials=geheim", "rid=1 provider=ldap://ds credentials=" + MASK),
    ("primary_conninfo", "'user=copier password=geheim host=db1'", "'user=copier password=" + MASK),
    ("primary_conninfo", "'user=copier passfile=/var/lib/pass'", "'user=copier passfile=/var/lib/pass'"),
    ("port", "389", "389"),
]


@pytest.mark.parametrize(("name", "value", "shown"), VALUES)
def test_secrets_that_a_value_names_itself_are_not_shown(name, value, shown):
    assert masked_value(name, value) == shown
