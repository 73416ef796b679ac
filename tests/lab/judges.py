# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that we did not write, on the host of a client: what openssl and a raw socket make of a listener."""

from __future__ import annotations

import json
import re
import shlex
import typing as t

from .driver import Lab

#: Who dials: the client with its certificate, somebody without one, or with one of a CA that nobody here knows.
Who = t.Literal["itself", "nobody", "stranger"]
STRANGERS: t.Final[tuple[Who, ...]] = ("nobody", "stranger")
_CURRENT: t.Final = "/etc/connsec/%s/current/"
_STRANGER: t.Final = "/root/stranger.%s"
_MAKE_STRANGER: t.Final = (
    "test -e /root/stranger.pem || openssl req -x509 -newkey rsa:2048 -nodes -keyout /root/stranger.key"
    " -out /root/stranger.pem -days 2 -subj /CN=stranger 2>/dev/null"
)
_OPTIONS: t.Final = (
    "OPTIONS sip:{name} SIP/2.0\r\nVia: SIP/2.0/TCP lab;branch=z9hG4bK1;rport\r\nFrom: <sip:a@lab.test>;tag=1\r\n"
    "To: <sip:{name}>\r\nCall-ID: 1@lab.test\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 5\r\nContent-Length: 0\r\n\r\n"
)
#: With which words a session begins, by protocol.
_BEGINNINGS: t.Final[t.Mapping[str, str]] = {
    "amqp": "AMQP\x00\x00\x09\x01",
    "http": "GET / HTTP/1.0\r\nHost: {name}\r\n\r\n",
    # a search of the root entry (RFC 4511, 4.5.1)
    "ldap": "0*\x02\x01\x01c%\x04\x00\n\x01\x00\n\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00"
    "\x87\x0bobjectClass0\x05\x04\x031.1",
    "lines": "hello\n",
    "postgresql": "\x00\x00\x00\x21\x00\x03\x00\x00user\x00load\x00database\x00load\x00\x00",
    "redis": "PING\r\n",
    "sip": _OPTIONS,
    "smtp": "EHLO lab\r\nMAIL FROM:<>\r\nQUIT\r\n",
}
#: What is in the answer to them, of a server that serves.
_ANSWERS: t.Final[t.Mapping[str, str]] = {"http": " 200 ", "lines": "hello\n", "redis": "+PONG", "sip": "SIP/2.0 200"}
#: Sends words as JSON to an address and a port, and writes what comes back, or why nothing does.
_RAW: t.Final = """\
import json, socket, sys
address, port, seconds, words = json.load(sys.stdin)
data = b""
try:
    with socket.create_connection((address, port), seconds) as sock:
        sock.sendall(words.encode("latin-1"))
        while part := sock.recv(4096):
            data += part
except OSError as error:
    data += str(error).encode()
print(data.decode("latin-1"))
"""


def begin(protocol: str, name: str = "lab") -> str:
    """Return the words with which a session with a server of this name begins."""
    return _BEGINNINGS[protocol].format(name=name)


class Judge:
    """Looks at listeners from the host of a client, whose CA list it trusts."""

    def __init__(self, lab: Lab, host: str, client: str) -> None:
        self.lab = lab
        self.host = host
        self._folder = _CURRENT % client
        lab.ssh(host, _MAKE_STRANGER)

    def in_the_clear(self, address: str, port: int, protocol: str, *, seconds: float = 1.0) -> str:
        """Return what a port says to somebody who begins a session without TLS, or why there is none."""
        given = json.dumps([address, port, seconds, begin(protocol, address)])
        return self.lab.ssh(self.host, "python3 -c %s" % shlex.quote(_RAW), given=given)

    def answer(self, where: str, words: str, *arguments: str, who: Who = "nobody") -> str:
        """Return what openssl says of `host:port`, and what comes back to some words within a moment."""
        return self._s_client(where, "-ign_eof", *arguments, who=who, words=words, seconds=1.5)

    def is_served(self, where: str, protocol: str, *, who: Who) -> bool:
        """Return whether somebody hears the answer of `host:port`.

        A handshake that succeeds says little: over TLS 1.3, and of web servers, the refusal comes behind it.
        """
        said = self._s_client(where, "-ign_eof", who=who, words=begin(protocol, where), seconds=3.0)
        return _ANSWERS[protocol] in said

    def refusal(self, where: str, *arguments: str, who: Who = "nobody") -> str:
        """Return what openssl says where the server is not verified, or ends the session within a second.

        Over TLS 1.3 a client learns behind the handshake that it is refused.
        """
        said = self._s_client(where, "-ign_eof", *arguments, who=who, seconds=1.0)
        lasted = said.endswith("ended with 124\n")
        return "" if lasted and "Verification: OK" in said else said

    def must_be_on_tls(self, where: str, *arguments: str, who: Who = "nobody") -> None:
        """Fail unless openssl verifies a listener, and agrees with it on no version before TLS 1.2."""
        said = self._s_client(where, *arguments, who=who)
        assert "Verification: OK" in said and "Protocol version: TLSv1.3" in said, said
        assert "Verification: OK" in self._s_client(where, *arguments, "-tls1_2", who=who)
        assert "CONNECTION ESTABLISHED" not in self._s_client(where, *arguments, "-tls1_1", who=who)

    def _s_client(self, where: str, *arguments: str, who: Who, words: str = "", seconds: float = 10.0) -> str:
        """Return what openssl's client says, and how it ended."""
        name, folder = where.partition(":")[0], self._folder
        verify = "-verify_ip" if re.fullmatch(r"[\d.]+", name) else "-verify_hostname"
        shown = {
            "itself": [
                "-cert",
                folder + "certificate.pem",
                "-cert_chain",
                folder + "chain.pem",
                "-key",
                folder + "key.pem",
            ],
            "nobody": [],
            "stranger": ["-cert", _STRANGER % "pem", "-key", _STRANGER % "key"],
        }[who]
        command = ["timeout", "%g" % seconds, "openssl", "s_client", "-connect", where, "-brief"]
        command += ["-CAfile", folder + "trust.pem", verify, name, "-verify_return_error", *shown, *arguments]
        return self.lab.ssh(self.host, "%s 2>&1; echo ended with $?" % shlex.join(command), given=words)
