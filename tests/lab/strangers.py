# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a server serves, judged by openssl's client: a component, one without a certificate, and one of a foreign CA.

A handshake that succeeds says little: over TLS 1.3, and of web servers, the refusal comes behind it. So something is
asked, and who hears the answer is served.
"""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

from unit.look.servers import Authority, Issued

from .driver import Lab

Who = t.Literal["itself", "nobody", "foreign"]
STRANGERS: t.Final[tuple[Who, ...]] = ("nobody", "foreign")

#: By protocol: what is asked, `{host}` and `{port}` being what is dialled, and what is in the answer.
#: Kamailio takes a request for its own by both.
ASKING: t.Final[t.Mapping[str, tuple[str, str]]] = {
    "http": ("HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n", " 200 "),
    "redis": ("PING\r\n", "+PONG"),
    "sip": (
        "OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/TLS desk;branch=z9hG4bK1;rport\r\n"
        "From: <sip:a@lab.test>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: 1@lab.test\r\nCSeq: 1 OPTIONS\r\n"
        "Max-Forwards: 5\r\nContent-Length: 0\r\n\r\n",
        "SIP/2.0 200",
    ),
}


class Callers:
    """Those who call: a component with its own certificate, and strangers. All of them verify the server."""

    def __init__(self, lab: Lab, host: str, component: str, work: Path) -> None:
        """Fetch the CA list of a component, and its certificate and key where it has some."""
        work.mkdir()
        self._folder = work
        for name in ("trust", "fullchain", "key"):
            path = "/etc/connsec/%s/current/%s.pem" % (component, name)
            (work / name).write_text(lab.ssh(host, "cat %s 2>/dev/null || true" % path))
        self._foreign: Issued = Authority("foreign", work).issue("stranger", "localhost")

    def served(self, who: Who, address: str, port: int, *, name: str, protocol: str) -> bool:
        """Return whether somebody hears the answer."""
        own, key = str(self._folder / "fullchain"), str(self._folder / "key")
        identity: dict[Who, list[str]] = {
            "nobody": [],
            "itself": ["-cert", own, "-cert_chain", own, "-key", key],
            "foreign": ["-cert", self._foreign.certificate_file, "-key", self._foreign.key_file],
        }
        argv = ["timeout", "2", "openssl", "s_client", "-connect", "%s:%d" % (address, port), "-servername", name]
        argv += ["-CAfile", str(self._folder / "trust"), "-verify_return_error", "-verify_hostname", name, "-quiet"]
        words, wanted = ASKING[protocol]
        done = subprocess.run(
            [*argv, *identity[who]],
            input=words.format(host=name, port=port).encode(),
            capture_output=True,
            timeout=30,
            check=False,
        )
        return wanted in done.stdout.decode("utf-8", "replace")
