# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Components that go through every stage of a connection and back lose nothing, and do not hide what goes wrong."""

from __future__ import annotations

import socket
import ssl
import time
import typing as t

import pytest
from parts import postgresql

from .authority import Authority
from .bench import PORT, TLS_PORT, Bench, Running, over_tls, wait

#: What a gap may be on a machine that has other tests to run; by itself it is below 0.1 s.
LONGEST_GAP_MS: t.Final = 1500


def security_of(server: Running) -> dict[str, str]:
    """Return how the server sees each client's messages."""
    rows = [row for row in server.tallies() if row["role"] == "server"]
    return {row["id"]: "mutual" if row["verified"] else "tls" if row["tls"] else "clear" for row in rows}


def wait_for_security(server: Running, expected: str) -> None:
    wait(lambda: set(security_of(server).values()) == {expected})


def connect(client: Running, *, port: int, present: bool = True, **more: t.Any) -> None:
    """Do what the stage `connect` does to a client."""
    own = {"certificate": client.material.certificate, "key": client.material.key} if present else {}
    client.edit("peer.server", port=port, tls="yes", verify="yes", trust=client.material.trust, **own, **more)
    client.reload()


def assert_nothing_lost(server: Running, clients: t.Sequence[Running]) -> None:
    for client in clients:
        client.stop()
        sent = sum(row["sent"] for row in client.tallies())
        answered = sum(row["answered"] for row in client.tallies())
        assert sent == answered > 3
        assert all(row["lost"] == row["open"] == 0 for row in client.tallies())
        assert all(row["longest_gap_ms"] < LONGEST_GAP_MS for row in client.tallies())
    server.stop()
    received = [row for row in server.tallies() if row["role"] == "server"]
    assert {row["id"] for row in received} == {"persistent", "message"}
    assert all(row["resets"] == 0 for row in received)


def refuses_plaintext(server: Running, port: int = PORT) -> bool:
    try:
        with socket.create_connection((server.address, port), 1) as sock:
            sock.sendall(b"somebody 1 0 canary\n")
            return not sock.recv(100).startswith(b"ok")
    except OSError:
        return True


def test_a_second_listener_goes_through_every_stage_and_back_without_losing_a_message(bench: Bench) -> None:
    server = bench.server()
    clients = bench.clients(server)
    server.edit("listener.main", tls_port=TLS_PORT, verify_client="request", **over_tls(server))
    server.reload()
    for client in clients:
        connect(client, port=TLS_PORT)
    wait_for_security(server, "mutual")
    server.edit("listener.main", verify_client="require")
    server.reload()
    server.edit("listener.main", port=None)
    server.reload()
    assert refuses_plaintext(server)
    wait(lambda: all(row["tls"] and row["verified"] for row in server.sessions()))

    server.edit("listener.main", port=PORT)
    server.reload()
    for client in clients:
        client.edit("peer.server", tls="no", port=PORT)
        client.reload()
    wait_for_security(server, "clear")
    server.edit("listener.main", tls_port=None, verify_client=None)
    server.reload()
    assert_nothing_lost(server, clients)


def test_one_port_with_negotiation_goes_through_every_stage_without_losing_a_message(bench: Bench) -> None:
    server = bench.server(protocol="postgresql", tls="off")
    clients = bench.clients(server, protocol="postgresql")
    server.edit("listener.main", tls="permit", **over_tls(server))
    server.reload()
    for client in clients:
        connect(client, port=PORT, present=False)
    wait_for_security(server, "tls")
    server.edit("listener.main", tls="only")
    server.reload()
    with socket.create_connection((server.address, PORT), 2) as sock:
        sock.sendall(postgresql.startup("stranger"))
        answer = sock.recv(1000)
    assert answer.startswith(b"E")
    assert b"C28000\0" in answer
    assert_nothing_lost(server, clients)


@pytest.mark.parametrize(
    ("tls", "answer"), [("off", postgresql.NO), ("permit", postgresql.YES), ("only", postgresql.YES)]
)
def test_a_request_for_tls_is_answered_as_postgresql_does(bench: Bench, tls: str, answer: bytes) -> None:
    server = bench.component("server", listener_main={"port": PORT, "protocol": "postgresql", "tls": tls})
    server.edit("listener.main", **over_tls(server))
    server.start()
    with socket.create_connection((server.address, PORT), 2) as sock:
        sock.sendall(postgresql.SSL_REQUEST)
        assert sock.recv(10) == answer
        if answer == postgresql.NO:  # then a client may go on in the clear
            sock.sendall(postgresql.startup("somebody"))
            assert sock.recv(100) == postgresql.LET_IN


def test_a_flip_interrupts_and_still_loses_nothing(bench: Bench) -> None:
    server = bench.server()
    clients = bench.clients(server)
    server.edit("listener.main", tls="only", verify_client="require", **over_tls(server))
    server.reload()
    for client in clients:
        connect(client, port=PORT)
    wait_for_security(server, "mutual")
    assert refuses_plaintext(server)
    server.edit("listener.main", tls="off")
    server.reload()
    for client in clients:
        client.edit("peer.server", tls="no")
        client.reload()
    wait_for_security(server, "clear")
    for client in clients:
        client.stop()
    rows = [row for client in clients for row in client.tallies()]
    assert [row["lost"] + row["open"] for row in rows] == [0, 0]


def test_options_that_cannot_be_used_leave_a_server_as_it_was(bench: Bench) -> None:
    server = bench.server()
    clients = bench.clients(server)
    taken = socket.create_server((server.address, TLS_PORT))
    for values, complaint in (
        ({"tls_port": TLS_PORT}, "certificate or key is missing"),
        ({"certificate": "/nowhere.pem", "key": "/nowhere.pem"}, "cannot be used"),
        (over_tls(server), "%s:%d cannot be opened" % (server.address, TLS_PORT)),
        ({"tls": "sometimes"}, "it is one of off, permit, only"),
    ):
        server.edit("listener.main", **values)
        server.reload()
        assert complaint in server.log().rpartition("kept what was")[2]
    taken.close()
    assert_nothing_lost(server, clients)


def test_a_client_that_trusts_another_authority_stays_in_the_clear_and_loses_nothing(
    bench: Bench, foreign: Authority
) -> None:
    server = bench.server()
    clients = bench.clients(server)
    server.edit("listener.main", tls_port=TLS_PORT, **over_tls(server))
    server.reload()
    for client in clients:
        connect(client, port=TLS_PORT, foreign_trust=foreign.trust)
        wait(lambda client=client: "failing" in client.log() and "certificate verify failed" in client.log())
    time.sleep(0.3)
    assert set(security_of(server).values()) == {"clear"}
    for client in clients:
        client.edit("peer.server", foreign_trust=None)
        client.reload()
    wait_for_security(server, "tls")
    assert_nothing_lost(server, clients)


def test_a_client_without_a_certificate_is_told_that_one_is_demanded(bench: Bench) -> None:
    server = bench.server()
    server.edit("listener.main", tls_port=TLS_PORT, verify_client="require", **over_tls(server))
    server.reload()
    context = ssl.create_default_context(cafile=str(server.material.trust))
    with socket.create_connection((server.address, TLS_PORT), 2) as sock:
        secure = context.wrap_socket(sock, server_hostname=server.address)
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            secure.recv(10)


def test_a_client_that_loses_its_server_sends_again_and_loses_nothing(bench: Bench) -> None:
    server = bench.server()
    clients = bench.clients(server)
    server.restart()
    wait(lambda: len({row["run"] for row in server.tallies()}) == 2)
    wait(lambda: {row["client"] for row in server.sessions()} >= {"persistent"})
    for client in clients:
        client.stop()
        assert [row["lost"] + row["open"] for row in client.tallies()] == [0]


def test_a_listener_that_is_broken_is_noticed_and_what_was_not_answered_is_lost(bench: Bench) -> None:
    server = bench.server()
    clients = bench.clients(server, patience=0.4)
    server.edit("listener.main", broken="yes")
    server.reload()
    wait(lambda: "lost message" in clients[1].log())
    clients[1].stop()
    assert clients[1].tallies()[0]["lost"] > 0


def test_an_address_that_is_cut_off_gets_no_answer_at_the_secure_port_and_others_do(bench: Bench) -> None:
    server = bench.server()
    network = server.address.rpartition(".")[0]
    away, other = network + ".200", network + ".201"

    def reached(source: str, port: int) -> bool:
        try:
            socket.create_connection((server.address, port), 0.5, source_address=(source, 0)).close()
        except TimeoutError:
            return False
        return True

    for cut, found in ((away, [True, False, True]), (other, [True, True, False]), (None, [True, True, True])):
        server.edit("listener.main", tls_port=TLS_PORT, cut_off=cut, **over_tls(server))
        server.reload()
        assert [reached(away, PORT), reached(away, TLS_PORT), reached(other, TLS_PORT)] == found


def test_sessions_are_listed_with_what_protects_them(bench: Bench) -> None:
    server = bench.server()
    clients = bench.clients(server)
    wait(lambda: [row["client"] for row in server.sessions()][:1] == ["persistent"])
    row = next(row for row in server.sessions() if row["client"] == "persistent")
    assert (row["tls"], row["verified"], row["listener"]) == (False, False, "main")
    assert row["peer"].rpartition(":")[0] == clients[0].address


def test_a_connection_that_says_nothing_is_no_session(bench: Bench) -> None:
    server = bench.server()
    with socket.create_connection((server.address, PORT), 2) as sock:
        sock.sendall(b"\r\n")
        assert sock.recv(100).startswith(b"error")
    server.stop()
    assert server.sessions() == []
