# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What traffic.json says of messages, and what the list of sessions keeps."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from parts.inventory import Fleet, Instance, Pair
from parts.records import Row, SessionList, Tallies, read_tallies
from parts.traffic import account, overdue, table

SERVER: t.Final = Instance(
    "confserv", "cfg1", "127.77.0.11", "pem_service", {"default": {"port": 12020, "protocol": "configuration"}}
)
CLIENT: t.Final = Instance("router", "urs1", "127.77.0.31", "pem_service")
PAIR: t.Final = Pair(CLIENT, SERVER, "default", "persistent", "second_listener", 0.0)
FLEET: t.Final = Fleet((SERVER, CLIENT), (PAIR,))


def client(run: int = 1, **more: t.Any) -> Row:
    sums = {"sent": 10, "answered": 10, "lost": 0, "repeated": 0, "open": 0, "longest_gap_ms": 50}
    return {"run": run, "role": "client", "id": PAIR.id, "interval_ms": 50, **sums, **more}


def server(run: int = 1, **more: t.Any) -> Row:
    sums = {"received": 10, "repeated": 0, "late": 0, "resets": 0, "longest_gap_ms": 50}
    return {"run": run, "role": "server", "id": PAIR.id, "tls": False, "verified": False, **sums, **more}


def connection(*rows: Row, alive: bool = False) -> dict[str, t.Any]:
    (found,) = account(FLEET, rows, alive=alive)["connections"]
    return dict(found)


@pytest.mark.parametrize(
    ("rows", "alive", "expected"),
    [
        ([client(), server()], False, {"sent": 10, "answered": 10, "lost": 0, "longest_gap_ms": 0}),
        ([client(lost=2, answered=8), server()], False, {"lost": 2}),
        ([client(answered=9, open=1), server()], True, {"lost": 0, "under_way": 1}),
        ([client(answered=9, open=1), server()], False, {"lost": 1, "under_way": 0}),
        ([client(1, answered=9, open=1), client(2), server()], True, {"sent": 20, "lost": 1, "under_way": 0}),
        ([client(), server(1, repeated=1, late=2, resets=3)], False, {"repeated": 1, "late": 2, "resets": 3}),
        ([client(), server(1, late=1), server(2, late=1)], False, {"late": 2}),
        ([client(longest_gap_ms=90), server(1, longest_gap_ms=300)], False, {"longest_gap_ms": 250}),
        ([client(), server(1), server(2, tls=True, verified=True)], False, {"security": "mutual"}),
        ([], False, {"sent": 0, "answered": 0, "lost": 0, "security": "clear"}),
    ],
)
def test_messages_are_accounted_for_by_both_ends(rows: list[Row], alive: bool, expected: dict[str, t.Any]) -> None:
    found = connection(*rows, alive=alive)
    assert {name: found[name] for name in expected} == expected


def test_a_pair_has_every_documented_field_and_a_text_of_its_own() -> None:
    found = connection(client(), server())
    documented = {"id", "sent", "answered", "lost", "repeated", "late", "longest_gap_ms", "resets", "permissive"}
    assert documented <= set(found)
    assert found["id"] == "router@urs1->confserv.default@cfg1"
    assert found["canary"] == "CONNSEC-CANARY-router@urs1->confserv.default@cfg1"
    assert found["permissive"] is True


@pytest.mark.parametrize(
    ("gap", "announced", "expected"),
    [(0, 0, False), (999, 0, False), (1001, 0, True), (1900, 2, False), (2100, 2, True)],
)
def test_silence_is_overdue_from_what_was_announced_and_from_what_makes_a_client_send_again(
    gap: int, announced: float, expected: bool
) -> None:
    assert overdue({"longest_gap_ms": gap, "announced_ms": announced * 1000}) is expected


def test_rows_of_strangers_count_for_nobody() -> None:
    assert connection(client(), {**server(), "id": "stranger", "repeated": 7})["repeated"] == 0


def test_the_table_has_a_line_for_each_pair() -> None:
    assert [line.split()[0] for line in table(account(FLEET, [client()], alive=False)).splitlines()] == [
        "pair",
        PAIR.id,
    ]


def test_the_last_tally_of_a_row_counts_and_a_cut_off_line_does_not(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    tallies = Tallies(path, limit=300)
    for sent in range(5):
        tallies.write([client(sent=sent), server()])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"run": 1, "role": "cli')
    assert sorted(row.get("sent", -1) for row in read_tallies(path)) == [-1, 4]
    assert read_tallies(tmp_path / "nothing.jsonl") == []


def test_a_session_that_ended_stays_listed_with_its_end_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    for kept, expected in ((60.0, [False, True]), (-1.0, [True])):
        listed = SessionList(path, kept=kept)
        listed.opened(1, {"peer": "127.77.0.31:1", "tls": False, "verified": False, "listener": "default"})
        listed.opened(2, {"peer": "127.77.0.31:2", "tls": True, "verified": True, "listener": "default"})
        listed.ended(1)
        listed.ended(1)
        listed.write()
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["ended"] is None for row in rows] == expected
        assert set(rows[0]) == {"peer", "tls", "verified", "listener", "ended"}
