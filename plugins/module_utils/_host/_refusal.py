# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that complete a handshake and refuse its client behind it, in their protocol's words; private to this
collection.

A refusal is the handshake's, said later. A request that every such server understands tells.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import typing as t

from ._dial import Deadline

#: Seconds that a server may take for its answer; one that asks an application first has not refused.
_SECONDS: t.Final = 2.0
_LIMIT: t.Final = 4096

#: RFC 4511, 4.2: message 1, a bind of version 3, nobody, no password.
_BIND: t.Final = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"


class _Asked(t.NamedTuple):
    """What came back: all that the server said, and whether it was still silent in the end."""

    answer: bytes
    silent: bool


def _http(asked: _Asked) -> str | None:
    """nginx's http module checks what a client presented when it has a request (ngx_http_process_request), and answers
    ``400 No required SSL certificate was sent`` or ``400 The SSL certificate error``; codes 495 and 496 are its own
    names for these: https://nginx.org/en/docs/http/ngx_http_ssl_module.html#errors.
    """
    status, _unused, text = asked.answer.decode("latin-1").partition("\r\n")
    found = re.match(r"HTTP/1\.[01] (400|495|496)\b", status)
    says = re.search(r"[^<>]*certificate[^<>]*", text, re.IGNORECASE)
    return says.group().strip() if found and says else None


def _smtp(asked: _Asked) -> str | None:
    """Postfix checks once the handshake is done, and says ``421 4.7.1 ... Error: No client certificate presented`` or
    ``... not trusted`` before it is greeted: https://www.postfix.org/postconf.5.html#smtpd_tls_req_ccert. The first
    byte may have been read.
    """
    found = re.match(r"[45]?\d\d (.*certificate.*)", asked.answer.decode("latin-1"), re.IGNORECASE)
    return found.group(1).strip() if found else None


def _ldap(asked: _Asked) -> str | None:
    """slapd built with GnuTLS, as Debian has it, checks once the handshake is done, and closes without an alert where
    it does not like what it was shown (tlsg_session_accept in libraries/libldap/tls_g.c). One who is let in is
    answered, whatever comes of the bind.
    """
    return None if asked.answer or asked.silent else "it closes the connection after the handshake"


class _Protocol(t.NamedTuple):
    """How a protocol is asked, where its answer ends, and what of it is a refusal."""

    request: t.Callable[[str], bytes]
    is_whole: t.Callable[[bytes], bool]
    read: t.Callable[[_Asked], str | None]


def _get(host: str) -> bytes:
    name = "[%s]" % host if ":" in host else host
    return b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % name.encode()


_PROTOCOLS: t.Final[t.Mapping[str, _Protocol]] = {
    "http": _Protocol(_get, lambda answer: len(answer) >= _LIMIT, _http),
    "ldap": _Protocol(lambda _host: _BIND, bool, _ldap),
    "smtp": _Protocol(lambda _host: b"EHLO localhost\r\n", lambda answer: b"\n" in answer, _smtp),
}


def refusal(protocol: str, secure: ssl.SSLSocket, deadline: Deadline, *, name: str) -> str | None:
    """Return in which words a server refuses what this connection's client presented; None if it does not.

    Args:
        protocol: which it speaks; of one that is not known nobody can tell.
        secure: a connection whose handshake is done.
        deadline: when to give up.
        name: the host to ask for.
    """
    known = _PROTOCOLS.get(protocol)
    return known.read(_ask(known, secure, deadline, name)) if known else None


def _ask(protocol: _Protocol, secure: ssl.SSLSocket, deadline: Deadline, name: str) -> _Asked:
    answer = b""
    with contextlib.suppress(OSError, ValueError):
        within = Deadline(min(_SECONDS, deadline.left()))
        try:
            within.arm(secure)
            secure.sendall(protocol.request(name))
            while not protocol.is_whole(answer) and len(answer) < _LIMIT:
                within.arm(secure)
                part = secure.recv(_LIMIT)
                if not part:
                    break
                answer += part
        except (socket.timeout, BlockingIOError, ssl.SSLWantReadError):  # the latter two where no time is left
            return _Asked(answer, silent=True)
    return _Asked(answer, silent=False)
