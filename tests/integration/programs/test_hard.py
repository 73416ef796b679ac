# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs of the hard demo do besides: datagrams, standbys, a load balancer, and a PKI team with openssl."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import typing as t
from pathlib import Path

import pytest
from parts import processes
from parts.pki_team import Team, TeamError
from parts.settings import SettingsError, read_settings

from .bench import PORT, TLS_PORT, Bench, Running, over_tls, wait

HEAD: t.Final = "[component]\nname = a\nhost = h\naddress = 127.0.0.1\n" + "".join(
    "%s = %s\n" % (name, name) for name in ("log", "traffic", "pid_file", "sessions")
)
PEER: t.Final = "[peer.a.h]\nid = x\ncanary = x\naddress = 127.0.0.1\nport = 1\n"


def rows(component: Running, role: str) -> dict[str, dict[str, t.Any]]:
    return {row["id"]: row for row in component.tallies() if row["role"] == role}


def assert_nothing_lost(client: Running) -> None:
    client.stop()
    sums = {name: sum(row[name] for row in client.tallies()) for name in ("sent", "answered", "lost", "open")}
    assert sums["sent"] == sums["answered"] > 3, sums
    assert (sums["lost"], sums["open"]) == (0, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[listener.x]\nport = 1\ntransport = sctp\n", "transport is 'sctp'; it is one of tcp, udp"),
        ("[listener.x]\nport = 1\nprotocol = postgresql\ntransport = udp\n", "for protocol 'line' in the clear alone"),
        (PEER + "transport = udp\ntls = yes\ntrust = t\n", "for protocol 'line' in the clear alone"),
        ("[pool.x]\nports = 1 zwei\nmembers = a.h\n" + PEER, "ports has 'zwei'"),
        ("[pool.x]\nports = 1\nmembers = b.h\n" + PEER, "members has b.h, and there is no [peer.b.h]"),
        ("[pool.x]\nports = 1\n", "members is missing"),
        ("[pool.x]\nports = 1\nmembers = a.h\n[listener.y]\nport = 1\n" + PEER, "port 1 is given twice"),
    ],
)
def test_options_that_make_no_sense_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "options.ini").write_text(HEAD + text)
    with pytest.raises(SettingsError) as refused:
        read_settings(tmp_path / "options.ini")
    assert words in str(refused.value)


# ---------------------------------------------------------------- datagrams


def test_clients_go_from_datagrams_to_tls_without_losing_a_message(bench: Bench) -> None:
    server = bench.server(transport="udp")
    clients = bench.clients(server, transport="udp")
    assert {row["tls"] for row in rows(server, "server").values()} == {False}
    server.edit("listener.main", tls_port=TLS_PORT, **over_tls(server))
    server.reload()
    for client in clients:
        client.edit("peer.server", transport="tcp", port=TLS_PORT, tls="yes", trust=client.material.trust)
        client.reload()
    wait(lambda: {row["tls"] for row in rows(server, "server").values()} == {True})
    server.edit("listener.main", port=None)
    server.reload()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:  # nobody holds it any more
        door.bind((server.address, PORT))
    for client in clients:
        assert_nothing_lost(client)


def test_a_datagram_that_is_no_message_has_no_answer(bench: Bench) -> None:
    server = bench.server(transport="udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect((server.address, PORT))
        sock.send(b"\x00\xff nonsense")
        sock.send(b"somebody 7 0 canary\n")
        assert sock.recv(100) == b"ok 7\n"


# ---------------------------------------------------------------- standbys


def test_a_standby_refuses_everybody_until_it_takes_over(bench: Bench) -> None:
    server = bench.component("server", listener_main={"port": PORT})
    server.edit("component", role="role")
    role = server.folder / "role"
    role.write_text("standby\n")
    server.start()
    peer = {"id": "pair", "address": server.address, "port": PORT, "canary": "canary"}
    client = bench.component("client", peer_server=peer)
    client.start()
    wait(lambda: "Connect call failed" in client.log())
    role.write_text("active\n")
    server.reload()
    wait(lambda: rows(client, "client")["pair"]["answered"] > 3)
    assert_nothing_lost(client)

    role.write_text("standby\n")
    server.reload()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.address, PORT), 1)


# ---------------------------------------------------------------- a load balancer


class Balanced(t.NamedTuple):
    """A balancer in front of two members, and two clients of it."""

    balancer: Running
    members: list[Running]
    clients: list[Running]


@pytest.fixture
def balanced(bench: Bench) -> Balanced:
    members = [bench.component(name, listener_main={"port": PORT}) for name in ("first", "second")]
    for member in members:
        member.start()
    monitors = {
        "peer_server.%s" % member.folder.name: {
            **{"id": "monitor-" + member.folder.name, "canary": "canary", "mode": "message"},
            **{"address": member.address, "port": PORT},
        }
        for member in members
    }
    pool = {"ports": "%d %d" % (PORT, TLS_PORT), "members": "server.first server.second"}
    balancer = bench.component("balancer", pool_main=pool, **monitors)
    balancer.start()
    wait(lambda: len([row for row in rows(balancer, "client").values() if row["answered"]]) == 2)
    return Balanced(balancer, members, bench.clients(balancer))


def test_a_balancer_passes_everything_to_its_first_member_and_knows_both_by_their_monitors(balanced: Balanced) -> None:
    first, second = balanced.members
    assert set(rows(first, "server")) == {"persistent", "message", "monitor-first"}
    assert set(rows(second, "server")) == {"monitor-second"}
    peers = {row["client"]: row["peer"].partition(":")[0] for row in first.sessions()}
    assert peers["persistent"] == balanced.balancer.address


def test_a_member_that_is_killed_is_failed_over_and_comes_back_without_a_lost_message(balanced: Balanced) -> None:
    first, second = balanced.members
    os.kill(first.pid, signal.SIGKILL)
    wait(lambda: {"persistent", "message"} <= set(rows(second, "server")))
    processes.wait_ended(first.folder)
    first.start()
    wait(lambda: rows(first, "server")["monitor-first"]["received"] > 3)
    for client in (*balanced.clients, balanced.balancer):
        assert_nothing_lost(client)


def test_a_port_that_no_member_has_is_answered_with_a_reset(balanced: Balanced) -> None:
    with pytest.raises(ConnectionResetError):
        socket.create_connection((balanced.balancer.address, TLS_PORT), 2).recv(10)


# ---------------------------------------------------------------- the PKI team


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    made = Team(tmp_path_factory.mktemp("team"), "Example Bank")
    made.found()
    return made


def request(folder: Path, *more: str) -> Path:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(folder / "key.pem"))
    argv = ["openssl", "req", "-new", *key, "-subj", "/CN=web", "-out", str(folder / "request.pem"), *more]
    subprocess.run(argv, check=True, capture_output=True)
    return folder / "request.pem"


@pytest.mark.parametrize(
    ("usage", "purpose", "other"), [("serverAuth", "sslserver", "sslclient"), ("clientAuth", "sslclient", "sslserver")]
)
def test_the_team_signs_what_a_request_asks_for(
    team: Team, usage: str, purpose: str, other: str, tmp_path: Path
) -> None:
    asked = ("-addext", "subjectAltName=IP:127.0.0.9,DNS:web.example", "-addext", "extendedKeyUsage=" + usage)
    team.sign(request(tmp_path, *asked), tmp_path / "answer.pem")
    argv = ["openssl", "verify", "-x509_strict", "-CAfile", str(team.root), "-untrusted", str(team.issuing)]
    for name in (["-verify_ip", "127.0.0.9"], ["-verify_hostname", "web.example"]):
        done = subprocess.run([*argv, "-purpose", purpose, *name, str(tmp_path / "answer.pem")], check=False)
        assert done.returncode == 0
    done = subprocess.run([*argv, "-purpose", other, str(tmp_path / "answer.pem")], check=False, capture_output=True)
    assert done.returncode != 0


def test_the_team_refuses_what_is_no_request(team: Team, tmp_path: Path) -> None:
    (tmp_path / "request.pem").write_text("please")
    with pytest.raises(TeamError):
        team.sign(tmp_path / "request.pem", tmp_path / "answer.pem")
