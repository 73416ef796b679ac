# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask for TLS, or for an answer in the clear, in the protocols that do both on one port; private to this collection.

A protocol is a row of :data:`NEGOTIATIONS`: how a client asks for TLS before the handshake, and how a client that
does not ask is answered. A protocol without a row speaks TLS from the first byte.
"""

from __future__ import annotations

import socket
import struct
import typing as t
from dataclasses import dataclass

from ._dial import Deadline, LookFailed, receive
from ._probe import Login

#: What a server that never ends its line or packet may send before the look ends.
_ANSWER_LIMIT: t.Final = 64 * 1024

_LDAP_START_TLS: t.Final = b"1.3.6.1.4.1.1466.20037"
_LDAP_CONFIDENTIALITY_REQUIRED: t.Final = 13  # RFC 4511, 4.1.9
#: RFC 4511, 4.5.1: of the root entry alone, whatever it is, no attributes.
_LDAP_SEARCH: t.Final = (
    b"\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\x87\x0bobjectClass\x30\x05\x04\x031.1"
)
_MYSQL_SSL: t.Final = 0x0800
_MYSQL_CAPABILITIES: t.Final = 0x0001 | 0x0200 | 0x8000 | 0x00080000  # long password, 4.1, secure connection, plugins
#: MySQL (https://dev.mysql.com/worklog/task/?id=7709) and MariaDB look at the transport once a password is right, so
#: who has none is refused for that. MariaDB 10.11 does not even say so then: it denies access, as for a wrong one.
_MYSQL_SECURE_TRANSPORT_REQUIRED: t.Final = 3159

#: How long a member of a Galera cluster may take to begin in the clear; a busy host takes longer than its 0.75 s.
_GALERA_SECONDS: t.Final = 3.0

#: SQLSTATE and function with which PostgreSQL says that no line of pg_hba.conf lets this client in. The function is
#: its own name for the place (https://www.postgresql.org/docs/current/protocol-error-fields.html), which no locale
#: translates. Others end with the same SQLSTATE: ``auth_failed``, as of ident, and ``InitializeSessionUserId``, of an
#: account that is not there; proxies name no function.
_POSTGRES_NOT_LET_IN: t.Final = (("28000", "ClientAuthentication"), ("28000", ""))


@dataclass(frozen=True)
class Negotiation:
    """What a protocol does on a port that has both.

    Attributes:
        ask: asks for TLS; returns when the handshake may begin, raises LookFailed if TLS is not offered.
        clear: speaks in the clear; returns the answer in half a sentence, raises LookFailed if that is refused.
        refusal: speaks over TLS with a server that only then looks at what its client presented; returns in which words
            it lets the client not begin a session, None if it does.
    """

    ask: t.Callable[[socket.socket, Deadline, str], None]
    clear: t.Callable[[socket.socket, Deadline, str, Login], str]
    refusal: t.Callable[[socket.socket, Deadline, str, Login], str | None] | None = None


def _not_offered(place: str, why: str) -> LookFailed:
    return LookFailed("clear", "tls_not_offered", "%s answers, but does not offer TLS: %s" % (place, why))


def _plaintext_refused(place: str, why: str) -> LookFailed:
    return LookFailed("refused", "plaintext_refused", "%s refuses plaintext: %s" % (place, why))


def _complete(data: bytes, size: int, place: str) -> bytes:
    if len(data) < size:
        raise LookFailed("closed", "closed_at_once", "%s closes the connection without an answer" % place)
    return data


def _shown(data: bytes) -> str:
    return "%r" % data[:60].decode("utf-8", "replace")


def _postgresql_ask(sock: socket.socket, deadline: Deadline, place: str) -> None:
    sock.sendall(struct.pack("!II", 8, 80877103))
    answer = _complete(receive(sock, 1, deadline), 1, place)
    if answer == b"N":
        raise _not_offered(place, "its ssl is off")
    if answer != b"S":
        raise _not_offered(place, "it does not answer as PostgreSQL does")


def _postgresql_begin(sock: socket.socket, deadline: Deadline, place: str, login: Login) -> dict[bytes, str] | None:
    """Begin a session, and return the fields of the error that answers; None if there is none.

    Which lines of pg_hba.conf apply depends on user and database, so say whose it is.
    """
    words = ["user", login.user, "database", login.database, "application_name", "connsec"]
    words += ["replication", "true"] if login.replication else []
    body = struct.pack("!I", 196608) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
    sock.sendall(struct.pack("!I", len(body) + 4) + body)
    head = _complete(receive(sock, 5, deadline), 1, place)
    if head[:1] != b"E" or len(head) < 5:
        return None
    size = min(max(int.from_bytes(head[1:5], "big") - 4, 0), _ANSWER_LIMIT)
    return {part[:1]: part[1:].decode("utf-8", "replace") for part in receive(sock, size, deadline).split(b"\0")}


def _postgresql_clear(sock: socket.socket, deadline: Deadline, place: str, login: Login) -> str:
    error = _postgresql_begin(sock, deadline, place, login)
    if error is None:
        return "lets %s begin a session in the clear" % login.user
    if _lets_nobody_in(error):
        raise _plaintext_refused(place, error.get(b"M", ""))
    return "answers in the clear: %s" % (error.get(b"M") or error.get(b"C", ""))


def _postgresql_refusal(sock: socket.socket, deadline: Deadline, place: str, login: Login) -> str | None:
    """Source: https://www.postgresql.org/docs/current/ssl-tcp.html#SSL-CLIENT-CERTIFICATES: ``clientcert`` is of a line
    of pg_hba.conf, so the handshake of a client without a certificate goes well.
    """
    error = _postgresql_begin(sock, deadline, place, login)
    return error.get(b"M", "") if error is not None and _lets_nobody_in(error) else None


def _lets_nobody_in(error: t.Mapping[bytes, str]) -> bool:
    return (error.get(b"C", ""), error.get(b"R", "")) in _POSTGRES_NOT_LET_IN


def _line(sock: socket.socket, deadline: Deadline, place: str) -> str:
    """Return the last line of an answer of SMTP, whose earlier ones have a hyphen after the number."""
    data = b""
    while len(data) < _ANSWER_LIMIT:
        part = receive(sock, 1, deadline)
        data += _complete(part, 1, place)
        if part == b"\n":
            last = data[data[:-1].rfind(b"\n") + 1 :]
            if last[3:4] != b"-":
                return data.decode("latin-1")
    raise LookFailed("error", "not_understood", "%s sends a line without end" % place)


def _smtp_greeting(sock: socket.socket, deadline: Deadline, place: str) -> str:
    _line(sock, deadline, place)
    sock.sendall(b"EHLO localhost\r\n")
    return _line(sock, deadline, place)


def _smtp_ask(sock: socket.socket, deadline: Deadline, place: str) -> None:
    offers = _smtp_greeting(sock, deadline, place)
    if "STARTTLS" not in offers.upper():
        raise _not_offered(place, "STARTTLS is not among what it can do")
    sock.sendall(b"STARTTLS\r\n")
    answer = _line(sock, deadline, place)
    if not answer.startswith("220"):
        raise _not_offered(place, answer.strip())


def _smtp_clear(sock: socket.socket, deadline: Deadline, place: str, login: Login) -> str:
    _smtp_greeting(sock, deadline, place)
    sock.sendall(b"MAIL FROM:<>\r\n")
    answer = _line(sock, deadline, place)
    if answer.startswith("530"):  # RFC 3207, 4: "Must issue a STARTTLS command first"
        raise _plaintext_refused(place, answer.strip())
    return "takes mail in the clear"


def _ldap_message(operation: bytes, number: int = 1) -> bytes:
    body = b"\x02\x01" + bytes([number]) + operation
    return b"\x30" + bytes([len(body)]) + body


def _ldap_answer(sock: socket.socket, deadline: Deadline, place: str) -> bytes:
    """Return the operation that the next answer holds."""
    head = _complete(receive(sock, 2, deadline), 2, place)
    size = head[1]
    if size & 0x80:
        size = int.from_bytes(_complete(receive(sock, size & 0x7F, deadline), 1, place), "big")
    return receive(sock, min(size, _ANSWER_LIMIT), deadline)[3:]


def _ldap_result(sock: socket.socket, deadline: Deadline, place: str) -> int:
    """Return the result code of the answer: an ENUMERATED, the first field of the operation."""
    body = _ldap_answer(sock, deadline, place)
    at = body.find(b"\x0a\x01")
    if at < 0 or at + 2 >= len(body):
        raise LookFailed("error", "not_understood", "%s does not answer as LDAP does: %s" % (place, _shown(body)))
    return body[at + 2]


def _ldap_ask(sock: socket.socket, deadline: Deadline, place: str) -> None:
    name = b"\x80" + bytes([len(_LDAP_START_TLS)]) + _LDAP_START_TLS
    sock.sendall(_ldap_message(b"\x77" + bytes([len(name)]) + name))
    code = _ldap_result(sock, deadline, place)
    if code:
        raise _not_offered(place, "it answers StartTLS with result %d" % code)


def _ldap_clear(sock: socket.socket, deadline: Deadline, place: str, login: Login) -> str:
    """Bind as nobody, and search. OpenLDAP takes such a bind also where it asks for TLS, and refuses what follows."""
    bind = b"\x02\x01\x03\x04\x00\x80\x00"  # version 3, nobody, no password
    sock.sendall(_ldap_message(b"\x60" + bytes([len(bind)]) + bind))
    code = _ldap_result(sock, deadline, place)
    if code == _LDAP_CONFIDENTIALITY_REQUIRED:
        raise _plaintext_refused(place, "it answers confidentialityRequired")
    if code:
        return "answers a bind in the clear"
    sock.sendall(_ldap_message(b"\x63" + bytes([len(_LDAP_SEARCH)]) + _LDAP_SEARCH, number=2))
    answer = _ldap_answer(sock, deadline, place)
    if answer[:1] == b"\x65" and answer[2:5] == b"\x0a\x01" + bytes([_LDAP_CONFIDENTIALITY_REQUIRED]):
        raise _plaintext_refused(place, "it answers a search with confidentialityRequired")
    return "answers a search in the clear" if answer else "answers a bind in the clear"


def _mysql_packet(sock: socket.socket, deadline: Deadline, place: str) -> bytes:
    head = _complete(receive(sock, 4, deadline), 4, place)
    return receive(sock, min(int.from_bytes(head[:3], "little"), _ANSWER_LIMIT), deadline)


def _mysql_greeting(sock: socket.socket, deadline: Deadline, place: str) -> int:
    """Return the capabilities that the server's greeting offers."""
    greeting = _mysql_packet(sock, deadline, place)
    if greeting[:1] == b"\xff":
        raise LookFailed("error", "not_understood", "%s sends an error: %s" % (place, _shown(greeting[3:])))
    version_end = greeting.find(b"\0", 1)
    low = greeting[version_end + 14 : version_end + 16]
    if greeting[:1] != b"\x0a" or version_end < 0 or len(low) < 2:
        raise LookFailed("error", "not_understood", "%s does not greet as MySQL does: %s" % (place, _shown(greeting)))
    return int.from_bytes(low, "little")


def _mysql_login(flags: int, tail: bytes) -> bytes:
    body = struct.pack("<IIB23x", flags, 1 << 24, 45) + tail
    return struct.pack("<I", len(body))[:3] + b"\x01" + body


def _mysql_ask(sock: socket.socket, deadline: Deadline, place: str) -> None:
    if not _mysql_greeting(sock, deadline, place) & _MYSQL_SSL:
        raise _not_offered(place, "its greeting does not offer it")
    sock.sendall(_mysql_login(_MYSQL_CAPABILITIES | _MYSQL_SSL, b""))


def _mysql_clear(sock: socket.socket, deadline: Deadline, place: str, login: Login) -> str:
    _mysql_greeting(sock, deadline, place)
    sock.sendall(_mysql_login(_MYSQL_CAPABILITIES, login.user.encode() + b"\0\0mysql_native_password\0"))
    answer = _mysql_packet(sock, deadline, place)
    if answer[:1] != b"\xff":
        return "answers a login in the clear"
    says = answer[9:].decode("utf-8", "replace")
    if int.from_bytes(answer[1:3], "little") == _MYSQL_SECURE_TRANSPORT_REQUIRED:
        raise _plaintext_refused(place, says)
    raise LookFailed("clear", "login_refused", "%s answers a login in the clear: %s" % (place, says))


def _galera_ask(_sock: socket.socket, _deadline: Deadline, _place: str) -> None:
    """Say nothing: who begins with a ClientHello is answered over TLS."""


def _galera_clear(sock: socket.socket, deadline: Deadline, place: str, _login: Login) -> str:
    """Listen: a member that speaks in the clear begins to (gcomm's handshake), a dynamic one after 0.75 s.

    One that speaks TLS alone says nothing, and does not close either, whatever it is told in the clear.
    """
    deadline.arm(sock, most=_GALERA_SECONDS)
    try:
        said = sock.recv(64)
    except socket.timeout:
        raise _plaintext_refused(place, "it stays silent, where a member that speaks in the clear begins") from None
    except OSError:
        said = b""
    if not said:
        raise LookFailed("closed", "closed_at_once", "%s closes the connection at once" % place)
    return "begins to speak in the clear"


NEGOTIATIONS: t.Final[t.Mapping[str, Negotiation]] = {
    "galera": Negotiation(_galera_ask, _galera_clear),
    "ldap": Negotiation(_ldap_ask, _ldap_clear),
    "mysql": Negotiation(_mysql_ask, _mysql_clear),
    "postgresql": Negotiation(_postgresql_ask, _postgresql_clear, _postgresql_refusal),
    "smtp": Negotiation(_smtp_ask, _smtp_clear),
}
