# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Windows client sees: the module's text on the twin's PowerShell, over .NET's own TLS, of real servers."""

from __future__ import annotations

import functools
import ipaddress
import selectors
import socket
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ansible_collections.connsec.tls.plugins.module_utils._host._handshake import look
from ansible_collections.connsec.tls.plugins.module_utils._host._probe import parse_probe
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from . import Failed, Refused
from .certificates import Opened
from .direct import MODULES, authority, module
from .documentation import assigned
from .endpoints import answering, openssl, written
from .machine import opened
from .material import Pair, issued
from .model import Call
from .plays import play
from .test_material import bare, spec_of
from .twin import SERVER_2019, SERVER_2022, WindowsTwin

TRUST: t.Final = "C:\\trust\\trust.pem"
NAME: t.Final = "db1.example.com"
Seen = dict[str, t.Any]


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def quick(name: str, issuer: Pair | None = None, **more: t.Any) -> Pair:
    """Return a certificate as others are, of one key that all of them share."""
    return issued(name, issuer, key=_key(), **more)


def under_a_leaf(issuing: Pair) -> list[Pair]:
    """Return a certificate whose issuer is none, with the chain that it is served with."""
    leaf = quick("leaf", issuing)
    return [quick("db1", leaf), leaf, issuing]


@dataclass(frozen=True)
class Client:
    """A Windows host that looks at one endpoint."""

    twin: WindowsTwin
    folder: Path

    def sees(self, port: int, **more: t.Any) -> Seen:
        """Return what the module tells of a port of this machine; it trusts the authority unless told otherwise."""
        probe = {"id": "it", "address": "127.0.0.1", "port": port, "name": NAME, "trust": TRUST, **more}
        found = module(self.twin, "win_handshake_info", {"endpoints": [probe]}, check=True)
        assert found["changed"] is False
        return t.cast(Seen, found["endpoints"]["it"])

    def has(self, pair: Pair) -> str:
        """Put a certificate with its key into the machine's store; return its thumbprint."""
        with opened(self.twin.folder) as machine:
            container = machine.stores.persist(pair.key, scope="machine", exportable=False)
            machine.stores.add("LocalMachine", "My", Opened(pair.certificate), container)
        return pair.thumbprint


@pytest.fixture(params=[SERVER_2019, SERVER_2022], ids=["2019", "2022"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """A client without TLS 1.3, and one with it."""
    return _client(tmp_path, request.param)


@pytest.fixture
def newer(tmp_path: Path) -> Client:
    """A client with TLS 1.3."""
    return _client(tmp_path, SERVER_2022)


def _client(folder: Path, build: int) -> Client:
    twin = WindowsTwin.made(folder / "win1", build=build)
    twin.write(TRUST, quick("other", authority=True).pem + authority()[0].pem)
    return Client(twin, folder)


def test_both_modules_take_the_same_options_and_tell_the_same_things() -> None:
    theirs, ours = (
        yaml.safe_load(assigned(MODULES / name, "DOCUMENTATION"))["options"]["endpoints"]["suboptions"]
        for name in ("handshake_info.py", "win_handshake_info.py")
    )
    assert set(ours) - set(theirs) == {"machine_trust", "thumbprint"}
    assert {name: row for name, row in bare(ours).items() if name in theirs} == bare(theirs)
    told = [
        yaml.safe_load(assigned(MODULES / name, "RETURN"))["endpoints"]["contains"]
        for name in ("handshake_info.py", "win_handshake_info.py")
    ]
    assert {key: row["type"] for key, row in told[0].items()} == {key: row["type"] for key, row in told[1].items()}


def test_the_module_documents_the_options_that_it_takes() -> None:
    documented = yaml.safe_load(assigned(MODULES / "win_handshake_info.py", "DOCUMENTATION"))["options"]
    assert spec_of(MODULES / "win_handshake_info.ps1") == bare(documented)


def test_what_is_told_of_a_verified_server_is_what_the_other_module_tells(client: Client, tmp_path: Path) -> None:
    root, issuing = authority()
    trust = tmp_path / "trust.pem"
    trust.write_bytes(root.pem)
    with openssl(tmp_path, quick("db1", issuing), issuing) as port:
        seen = client.sees(port)
        probe = {"id": "it", "address": "127.0.0.1", "port": port, "name": NAME, "trust": str(trust)}
        other = look([parse_probe(probe)])["it"]
    assert set(seen) == set(other)
    own = {"cipher", "seconds", "source_port", "source_ports", "protocol", "reason"}
    assert {key: seen[key] for key in set(seen) - own} == {key: other[key] for key in set(other) - own}
    assert seen["verified"] is True and seen["security"] == "verified" and seen["cipher"].startswith("Aes")
    assert seen["protocol"] == ("TLSv1.3" if client.twin.machine().build == SERVER_2022 else "TLSv1.2")
    assert seen["reason"] == "127.0.0.1:%d is verified as %s over %s" % (port, NAME, seen["protocol"])


class Case(t.NamedTuple):
    """A certificate that is served, and what is wrong with it."""

    served: t.Callable[[Pair, Pair], list[Pair]]
    wrong: str
    says: str


CASES: t.Final = {
    "another name": Case(
        lambda _r, i: [quick("db2", i), i], "name_mismatch", "db2.example.com, not for db1.example.com"
    ),
    "a name in the subject alone": Case(
        lambda _r, i: [quick(NAME, i, names=[x509.DNSName("x.example.com")]), i], "name_mismatch", "x.example.com"
    ),
    "a wildcard over two labels": Case(
        lambda _r, i: [quick("w", i, names=[x509.DNSName("*.com")]), i], "name_mismatch", "*.com"
    ),
    "expired": Case(lambda _r, i: [quick("db1", i, days=(-9, -1)), i], "expired", "expired"),
    "not valid yet": Case(lambda _r, i: [quick("db1", i, days=(1, 9)), i], "not_yet_valid", "not valid yet"),
    "another authority": Case(
        lambda _r, _i: [quick("db1", quick("stranger", authority=True))], "unknown_authority", "'stranger'"
    ),
    "signed by itself": Case(lambda _r, _i: [quick("db1")], "unknown_authority", "does not lead"),
    "the chain not served": Case(lambda _r, i: [quick("db1", i)], "unknown_authority", "'issuing'"),
    "for clients alone": Case(
        lambda _r, i: [quick("db1", i, usage=[ExtendedKeyUsageOID.CLIENT_AUTH]), i], "wrong_usage", "not accepted"
    ),
    "issued by a leaf": Case(lambda _r, i: under_a_leaf(i), "not_an_authority", "not accepted"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_what_cannot_be_accepted_is_told_by_its_class(newer: Client, tmp_path: Path, case: Case) -> None:
    with openssl(tmp_path, *case.served(*authority())) as port:
        seen = newer.sees(port)
    assert (seen["outcome"], seen["verified"], seen["security"]) == ("tls", False, "tls_unverified")
    assert seen["class"] == case.wrong and case.says in seen["reason"]


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        (x509.DNSName("*.example.com"), "DB1.example.com"),
        (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), "127.0.0.1"),
        (x509.IPAddress(ipaddress.ip_address("2001:db8::1")), "2001:DB8:0::1"),
        (x509.DNSName("db1.example.com"), "db1.example.com."),
    ],
    ids=["a wildcard", "an IP address", "one of version 6, written otherwise", "a dot at the end"],
)
def test_names_are_compared_as_rfc_9525_has_it(
    newer: Client, tmp_path: Path, served: x509.GeneralName, asked: str
) -> None:
    _root, issuing = authority()
    with openssl(tmp_path, quick("db1", issuing, names=[served]), issuing) as port:
        assert newer.sees(port, name=asked)["verified"] is True


def test_roots_of_the_machine_are_trusted_only_where_that_is_asked_for(newer: Client, tmp_path: Path) -> None:
    root, issuing = authority()
    with opened(newer.twin.folder) as machine:
        machine.stores.add("LocalMachine", "Root", Opened(root.certificate), None)
    newer.twin.write(TRUST, quick("other", authority=True).pem)
    with openssl(tmp_path, quick("db1", issuing), issuing) as port:
        assert newer.sees(port)["class"] == "unknown_authority"
        assert newer.sees(port, trust=None, machine_trust=True)["verified"] is True
        nothing = newer.sees(port, trust=None)
    assert (nothing["verified"], nothing["security"], nothing["class"]) == (None, "tls_unverified", None)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_certificate_is_presented_out_of_the_store(newer: Client, tmp_path: Path, version: str) -> None:
    root, issuing = authority()
    trusted, _key = written(tmp_path, "trusted", root)
    demands = [version, "-Verify", "3", "-verify_return_error", "-CAfile", trusted]
    ours, theirs = quick("router", root), quick("stranger", quick("else", authority=True))
    with openssl(tmp_path, quick("db1", issuing), issuing, more=demands) as port:
        mutual = newer.sees(port, thumbprint=newer.has(ours), demand=True)
        refused = newer.sees(port, thumbprint=newer.has(theirs))
        without = newer.sees(port, demand=True)
    assert (mutual["security"], mutual["verified"], mutual["requested"]) == ("mutual", True, True)
    assert mutual["demanded"] is True
    assert (refused["outcome"], refused["class"]) == ("alert", "certificate_refused")
    assert (without["outcome"], without["class"], without["demanded"]) == ("alert", "certificate_required", True)


def test_a_certificate_that_is_asked_for_and_not_demanded_is_told_as_that(newer: Client, tmp_path: Path) -> None:
    root, issuing = authority()
    trusted, _key = written(tmp_path, "trusted", root)
    with openssl(tmp_path, quick("db1", issuing), issuing, more=["-verify", "3", "-CAfile", trusted]) as port:
        seen = newer.sees(port, demand=True)
        missing = newer.sees(port, thumbprint="AB" * 20)
    assert (seen["requested"], seen["demanded"], seen["security"]) == (True, False, "verified")
    assert missing["class"] == "identity_unreadable" and "LocalMachine\\My" in missing["reason"]


def _says(words: bytes) -> t.Callable[[socket.socket], None]:
    def act(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(words)
        connection.recv(4096)

    return act


def _silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def _slow(connection: socket.socket) -> None:
    for byte in b"\x16\x03\x03\x40\x00" + bytes(400):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("act", "outcome", "wrong"),
    [
        (_says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "clear", "not_tls"),
        (_says(b"\x15\x03\x03\x00\x02\x02\x28"), "alert", "nothing_shared"),
        (_says(b"\x15\x03\x03\x00\x02\x02\x46"), "alert", "old_protocol"),
        (lambda connection: connection.recv(4096) and None, "closed", "closed_in_handshake"),
        (_silent, "timeout", "no_answer"),
        (_slow, "timeout", "no_answer"),
    ],
    ids=["plaintext", "nothing shared", "old versions", "closes", "silent", "a byte at a time"],
)
def test_who_speaks_no_tls_is_told_by_what_it_does(
    newer: Client, act: t.Callable[[socket.socket], None], outcome: str, wrong: str
) -> None:
    started = time.monotonic()
    with answering(act) as port:
        seen = newer.sees(port, timeout=1.5)
    assert (seen["outcome"], seen["class"], seen["verified"]) == (outcome, wrong, None)
    assert time.monotonic() - started < 6


def test_who_is_not_there_is_told_by_what_happened(newer: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert newer.sees(port)["class"] == "connection_refused"
    assert newer.sees(port, address="nobody.invalid")["class"] == "name_unresolved"
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _unused in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        seen = newer.sees(full.getsockname()[1], timeout=0.5)
        assert (seen["outcome"], seen["class"], seen["address"]) == ("timeout", "no_answer", None)
        for each in waiting:
            each.close()


def test_a_listener_in_the_clear_is_told_from_one_that_speaks_tls_alone(newer: Client, tmp_path: Path) -> None:
    with openssl(tmp_path, *authority()[::-1]) as port:
        assert newer.sees(port, tls=False)["class"] == "tls_only"
    for act in (_says(b"220 hello\r\n"), _silent):
        with answering(act) as port:
            seen = newer.sees(port, tls=False)
        assert (seen["outcome"], seen["security"], seen["class"]) == ("clear", "clear", None)
    with answering(lambda _connection: None) as port:
        assert newer.sees(port, tls=False)["class"] == "closed_at_once"


@pytest.mark.parametrize("protocol", ["postgresql", "smtp", "ldap"])
def test_tls_is_negotiated_on_a_port_that_has_both(newer: Client, tmp_path: Path, protocol: str) -> None:
    _root, issuing = authority()
    with openssl(tmp_path, quick("db1", issuing), issuing) as behind, answering(_before(protocol, behind)) as port:
        seen = newer.sees(port, protocol=protocol)
    assert (seen["verified"], seen["reason"]) == (True, "127.0.0.1:%d is verified as %s over TLSv1.3" % (port, NAME))


@pytest.mark.parametrize(
    ("protocol", "answers"),
    [
        ("postgresql", b"N"),
        ("smtp", b"220 mx\r\n"),
        ("ldap", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"),
    ],
)
def test_a_port_that_offers_no_tls_is_told_as_that(newer: Client, protocol: str, answers: bytes) -> None:
    def act(connection: socket.socket) -> None:
        if protocol != "smtp":
            connection.recv(64)
        connection.sendall(answers)
        connection.recv(64)
        connection.sendall(b"250 mx\r\n")
        connection.recv(64)

    with answering(act) as port:
        seen = newer.sees(port, protocol=protocol)
    assert (seen["outcome"], seen["class"], seen["security"]) == ("clear", "tls_not_offered", "clear")


def _before(protocol: str, behind: int) -> t.Callable[[socket.socket], None]:
    """Return a listener that negotiates as RFC 3207, RFC 4511 and PostgreSQL's documentation have it, and hands on."""

    def act(connection: socket.socket) -> None:
        if protocol == "postgresql":
            assert connection.recv(8) == b"\0\0\0\x08\x04\xd2\x16\x2f"
            connection.sendall(b"S")
        elif protocol == "ldap":
            assert b"1.3.6.1.4.1.1466.20037" in connection.recv(64)
            connection.sendall(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")
        else:
            connection.sendall(b"220-mx\r\n220 mx\r\n")
            assert connection.recv(64).startswith(b"EHLO ")
            connection.sendall(b"250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n")
            assert connection.recv(64) == b"STARTTLS\r\n"
            connection.sendall(b"220 go\r\n")
        _handed_on(connection, behind)

    return act


def _handed_on(connection: socket.socket, behind: int) -> None:
    with socket.create_connection(("127.0.0.1", behind)) as server, selectors.DefaultSelector() as waiting:
        waiting.register(connection, selectors.EVENT_READ, server)
        waiting.register(server, selectors.EVENT_READ, connection)
        while True:
            for key, _events in waiting.select():
                data = t.cast(socket.socket, key.fileobj).recv(65536)
                if not data:
                    return
                key.data.sendall(data)


def test_a_play_costs_one_round_trip_and_changes_nothing(newer: Client, tmp_path: Path) -> None:
    _root, issuing = authority()
    with openssl(tmp_path, quick("db1", issuing), issuing) as port:
        probe = {"id": "it", "address": "127.0.0.1", "port": port, "name": NAME, "trust": TRUST}
        run = play([newer.twin], [{"connsec.tls.win_handshake_info": {"endpoints": [probe]}}], "--check")
    assert run.code == 0 and run.changed == [False] and newer.twin.trips == 1, run.text
    assert run.results()[0]["endpoints"]["it"]["verified"] is True
    assert newer.twin.violations == [] and newer.twin.refusals == [] and newer.twin.log[0].effects == []


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"ciphers": "ECDHE+AESGCM"}, "SslStream takes no list of ciphers"),
        ({"certificate": "C:\\a.pem"}, "give the thumbprint of one in LocalMachine\\My"),
        ({"key": "C:\\a.key"}, "give the thumbprint of one in LocalMachine\\My"),
        ({"old_protocols": True}, "only where this host's policy does"),
        ({"protocol": "mysql"}, "does not negotiate TLS as mysql does"),
        ({"machine_trust": True}, "give trust or machine_trust, not both"),
        ({"port": 0}, "a number from 1 to 65535"),
        ({"timeout": 301}, "at most 300 seconds"),
    ],
)
def test_what_sslstream_cannot_do_is_refused_in_one_sentence(newer: Client, asked: Seen, says: str) -> None:
    with pytest.raises(Failed) as failed:
        newer.sees(**{"port": 1, **asked})
    assert says in str(failed.value) and "\n" not in str(failed.value)


def test_no_member_is_reached_that_net_framework_does_not_have(newer: Client) -> None:
    from . import powershell

    text = b"$a = [System.Security.Cryptography.X509Certificates.X509Chain]::new()\n$a.ChainPolicy.CustomTrustStore"
    with pytest.raises(Refused, match=r"reaches no customtruststore of \[.*X509ChainPolicy\]"):
        powershell.run(text, newer.twin.machine(), Call({}, {}, check=False, diff=False))
