# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe makes of the answers of databases to who begins a session, as the real ones give them."""

from __future__ import annotations

import socket
import ssl
import struct
import typing as t

import pytest

from .servers import Handler, Pki
from .test_handshake import probe

Answers = t.Callable[[t.Mapping[str, str], bool], bytes]

#: PostgreSQL 15's, word for word.
LET_IN = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"
REJECTS = ("28000", 'pg_hba.conf rejects connection for host "10.0.0.9", no encryption', "ClientAuthentication")
NO_ENTRY = ("28000", 'no pg_hba.conf entry for host "10.0.0.9", user "postgres"', "ClientAuthentication")
NO_CERTIFICATE = ("28000", "connection requires a valid client certificate", "ClientAuthentication")
NO_IDENT = ("28000", 'Ident authentication failed for user "postgres"', "auth_failed")
NO_ROLE = ("28000", 'role "postgres" does not exist', "InitializeSessionUserId")
NO_DATABASE = ("3D000", 'database "postgres" does not exist', "InitPostgres")
OF_A_PROXY = ("28000", "TLS required", "")


def error(code: str, message: str, routine: str) -> bytes:
    """Return an ErrorResponse of PostgreSQL's."""
    fields = {"S": "FATAL", "C": code, "M": message, **({"R": routine} if routine else {})}
    body = b"".join(name.encode() + value.encode() + b"\0" for name, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


def postgresql(answers: Answers, context: ssl.SSLContext | None = None) -> Handler:
    """Negotiate as PostgreSQL does, and answer who begins a session; ``answers`` is told the words and whether a
    certificate was presented.
    """

    def session(connection: socket.socket, presented: bool) -> None:
        head = connection.recv(8)
        if len(head) == 8:
            words = connection.recv(int.from_bytes(head[:4], "big") - 8).decode().split("\0")
            connection.sendall(answers(dict(zip(words[::2], words[1::2])), presented))
            connection.recv(1)

    def handle(connection: socket.socket) -> None:
        if connection.recv(8, socket.MSG_PEEK)[4:] != struct.pack("!I", 80877103):
            session(connection, False)
            return
        connection.recv(8)
        connection.sendall(b"S")
        assert context is not None
        with context.wrap_socket(connection, server_side=True) as secure:
            session(secure, bool(secure.getpeercert()))

    return handle


IN_THE_CLEAR = [
    (LET_IN, "clear", None),
    (error(*REJECTS), "refused", "plaintext_refused"),
    (error(*NO_ENTRY), "refused", "plaintext_refused"),
    (error(*OF_A_PROXY), "refused", "plaintext_refused"),
    (error(*NO_IDENT), "clear", None),
    (error(*NO_ROLE), "clear", None),
    (error(*NO_DATABASE), "clear", None),
]


@pytest.mark.parametrize(("answer", "outcome", "kind"), IN_THE_CLEAR)
def test_postgresql_refuses_plaintext_where_no_line_lets_in_and_not_where_a_login_fails(serve, answer, outcome, kind):
    seen = probe(serve(postgresql(lambda _words, _presented: answer)), tls=False, protocol="postgresql")
    assert (seen["outcome"], seen["class"]) == (outcome, kind), seen


def test_a_session_is_begun_as_somebody(serve):
    told: list[t.Mapping[str, str]] = []
    server = serve(postgresql(lambda words, _presented: told.append(words) or LET_IN))
    probe(server, tls=False, protocol="postgresql", user="crm", database="orders")
    probe(server, tls=False, protocol="postgresql", user="copier", replication=True)
    assert [(each["user"], each["database"], each.get("replication")) for each in told] == [
        ("crm", "orders", None),
        ("copier", "postgres", "true"),
    ]


DEMANDS = [
    # what it says without a certificate, what it says with one, demanded, and what is told of it
    (error(*NO_CERTIFICATE), LET_IN, True, "accepted our certificate"),
    (LET_IN, LET_IN, False, "accepted our certificate"),
    (error(*NO_IDENT), LET_IN, False, "accepted our certificate"),
    (error(*NO_ENTRY), error(*NO_ENTRY), "unknown", "nobody is let in as crm: no pg_hba.conf entry"),
]


@pytest.mark.parametrize(("without", "presented", "demanded", "told"), DEMANDS)
def test_postgresql_demands_a_certificate_behind_the_handshake(
    serve, pki: Pki, without, presented, demanded, told
) -> None:
    context = pki.context(clients=ssl.CERT_OPTIONAL)
    server = serve(postgresql(lambda _words, presents: presented if presents else without, context))
    asked = {"protocol": "postgresql", "trust": pki.trust, "demand": True, "user": "crm"}
    seen = probe(server, **asked, certificate=pki.client.certificate_file, key=pki.client.key_file)
    assert (seen["security"], seen["demanded"]) == ("mutual", demanded), seen
    assert told in seen["reason"]
    if demanded is True:
        bare = probe(server, **asked)
        assert (bare["class"], bare["demanded"]) == ("certificate_required", True), bare


def mysql(answer: bytes) -> Handler:
    """Greet as MariaDB does, and answer a login."""
    greeting = b"\x0a5.5.5-10.11\0" + b"\x05\0\0\0" + b"saltsalt\0" + b"\xfe\xf7-\x02\0\xff\x81\x15" + b"\0" * 20

    def handle(connection: socket.socket) -> None:
        connection.sendall(struct.pack("<I", len(greeting))[:3] + b"\0" + greeting)
        connection.recv(4096)
        connection.sendall(struct.pack("<I", len(answer))[:3] + b"\x02" + answer)
        connection.recv(1)

    return handle


#: MariaDB looks at the transport once the password is right, and then says no more than that access is denied.
LOGINS = [
    (b"\0\0\0\x02\0\0\0", "clear", None),
    (b"\xff\x15\x04#28000Access denied for user 'app'@'h' (using password: NO)", "clear", "login_refused"),
    (b"\xff\x57\x0c#HY000Connections using insecure transport are prohibited", "refused", "plaintext_refused"),
    (b"\xfemysql_native_password\0salt", "clear", None),
]


@pytest.mark.parametrize(("answer", "outcome", "kind"), LOGINS)
def test_mysql_that_refuses_a_login_may_refuse_plaintext(serve, answer, outcome, kind) -> None:
    seen = probe(serve(mysql(answer)), tls=False, protocol="mysql")
    assert (seen["outcome"], seen["class"]) == (outcome, kind), seen


def begins_after(seconds: float, words: bytes) -> Handler:
    """Begin to speak after some seconds, as a member of a Galera cluster does in the clear, or stay silent."""

    def handle(connection: socket.socket) -> None:
        connection.settimeout(seconds)
        try:
            connection.recv(64)
        except socket.timeout:
            connection.sendall(words)
            connection.settimeout(10)
            connection.recv(64)

    return handle


@pytest.mark.parametrize(
    ("seconds", "words", "outcome", "kind"),
    [
        (0.75, b"$\0\0\x02", "clear", ""),
        (10.0, b"", "refused", "plaintext_refused"),
    ],
    ids=["dynamic", "TLS alone"],
)
def test_a_member_of_galera_begins_to_speak_unless_it_speaks_tls_alone(serve, seconds, words, outcome, kind) -> None:
    seen = probe(serve(begins_after(seconds, words)), protocol="galera", tls=False)
    assert (seen["outcome"], seen.get("class") or "") == (outcome, kind)
