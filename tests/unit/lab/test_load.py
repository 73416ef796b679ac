# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's load program counts what was answered and what was lost, and says why."""

from __future__ import annotations

import socket
import socketserver
import threading
import typing as t
from pathlib import Path

import pytest
from lab.programs.load import Asking, Load, main

OPTIONS: t.Final = """\
[component]
name = desk
interval = 0.01
[peer.server.host]
id = desk@here->server.main@host
name = 127.0.0.1
tls = no
patience = %s
"""


def load_of(folder: Path, *rows: str, patience: str = "0") -> Load:
    """Return the load of an option file with these further rows of its one server."""
    file = folder / "options.ini"
    file.write_text(OPTIONS % patience + "\n".join(rows) + "\n")
    return Load(str(file))


def asked(load: Load) -> dict[str, t.Any]:
    """Return what was counted once the server was asked."""
    (asking,) = load.asked
    asking.ask()
    return asking.tally


class Repeat(socketserver.StreamRequestHandler):
    """Repeats lines, of which one connection may have five."""

    def handle(self) -> None:
        for _unused in range(5):
            self.wfile.write(self.rfile.readline())


@pytest.fixture
def repeating() -> t.Iterator[int]:
    """The port of a server that repeats lines."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Repeat) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def closed() -> t.Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def stub(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Put a program in the place of a client."""
    path = folder / "bin" / name
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", "%s:/usr/bin:/bin" % path.parent)


def test_a_message_that_comes_back_is_answered(tmp_path: Path, repeating: int) -> None:
    tally = asked(load_of(tmp_path, "client = line", "port = %d" % repeating))
    assert (tally["sent"], tally["answered"], tally["lost"], tally["tls"]) == (1, 1, 0, False)


@pytest.mark.parametrize(("wanted", "answered", "lost"), [(5, 5, 0), (6, 5, 1)])
def test_the_messages_of_a_session_share_a_connection(
    tmp_path: Path, repeating: int, wanted: int, answered: int, lost: int
) -> None:
    tally = asked(load_of(tmp_path, "client = line", "requests = %d" % wanted, "port = %d" % repeating))
    assert (tally["sent"], tally["answered"], tally["lost"]) == (wanted, answered, lost)
    assert ("it answers b''" in tally.get("said", "")) is bool(lost)


def test_a_message_that_nobody_takes_is_lost_with_the_reason(tmp_path: Path, closed: int) -> None:
    tally = asked(load_of(tmp_path, "client = line", "port = %d" % closed))
    assert (tally["sent"], tally["answered"], tally["lost"], tally["resent"]) == (1, 0, 1, 0)
    assert "Connection refused" in tally["said"]


def test_patience_asks_again_before_a_message_is_lost(tmp_path: Path, closed: int) -> None:
    tally = asked(load_of(tmp_path, "client = line", "port = %d" % closed, patience="0.3"))
    assert (tally["sent"], tally["lost"]) == (1, 1)
    assert tally["resent"] >= 1


@pytest.mark.parametrize(
    ("client", "program", "script", "answered", "lost"),
    [
        ("psql", "psql", "echo 1; echo; echo 1; echo it was ended >&2; exit 2", 2, 1),
        ("redis", "redis-cli", "echo 1; echo it was ended >&2; echo 3", 2, 28),
        ("curl", "curl", "yes 200 | head -n 29; echo 503; echo it was ended >&2", 29, 1),
    ],
)
def test_a_session_that_breaks_counts_what_was_answered_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str, program: str, script: str, answered: int, lost: int
) -> None:
    stub(tmp_path, monkeypatch, program, script)
    rows = ("requests = 30", "port = 1", "user = u", "database = d", "ask = incr asked")
    tally = asked(load_of(tmp_path, "client = " + client, *rows))
    assert (tally["sent"], tally["answered"], tally["lost"]) == (answered + lost, answered, lost)
    assert "it was ended" in tally["said"]


def test_a_password_reaches_a_client_by_its_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, monkeypatch, "redis-cli", 'echo "$@" >&2; test "$REDISCLI_AUTH" = secret && echo 1; exit 1')
    tally = asked(load_of(tmp_path, "client = redis", "port = 1", "ask = incr asked", "password = secret"))
    assert tally["answered"] == 1
    tally = asked(load_of(tmp_path, "client = redis", "port = 1", "ask = incr asked", "password = other"))
    assert "incr asked" in tally["said"] and "other" not in tally["said"]


def test_options_that_are_read_again_count_for_the_next_message(tmp_path: Path, repeating: int, closed: int) -> None:
    load = load_of(tmp_path, "client = line", "port = %d" % closed)
    assert asked(load)["lost"] == 1
    load_of(tmp_path, "client = line", "port = %d" % repeating)
    load.read()
    assert asked(load)["answered"] == 1


def test_a_client_that_nobody_knows_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    load_of(tmp_path, "client = line", "port = 1")
    file = tmp_path / "options.ini"
    assert main(["--check", str(file)]) == 0
    file.write_text(file.read_text().replace("client = line", "client = gopher"))
    with pytest.raises(SystemExit, match=r"client is one of amqp, curl, ldap, line, mariadb, psql, redis, sip, smtp"):
        main(["--check", str(file)])


def test_a_load_asks_all_the_while_and_writes_what_it_counted(tmp_path: Path, repeating: int) -> None:
    load = load_of(tmp_path, "client = line", "port = %d" % repeating)
    thread = threading.Thread(target=load.run, args=(str(tmp_path),))
    thread.start()
    (asking,) = load.asked
    _wait_for(asking, 3)
    load.ended.set()
    load.woken.set()
    thread.join(10)
    assert '"answered": ' in (tmp_path / "tally.json").read_text()


def _wait_for(asking: Asking, answers: int) -> None:
    for _each in range(1000):
        if asking.tally["answered"] >= answers:
            return
        threading.Event().wait(0.01)
    raise AssertionError(asking.tally)
