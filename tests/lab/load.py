# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that asks its servers all the while, on a host of the lab.

Its name is the argument: `app` reads /etc/app.ini, and counts what it asked, and what was lost, in /run/app.json. The
option file has a section for each server: protocol, address, port; and once it uses TLS `tls`, `trust`, perhaps
`certificate` and `key`. It verifies chain and name. It reads them anew for each request.
"""

from __future__ import annotations

import configparser
import json
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import typing as t
from urllib.request import HTTPSHandler, build_opener

SECONDS: t.Final = 5.0

Options = t.Mapping[str, str]


def context_of(options: Options) -> ssl.SSLContext | None:
    """Return how the client uses TLS; None if it does not."""
    if options.get("tls") != "yes":
        return None
    context = ssl.create_default_context(cafile=options["trust"])
    if "certificate" in options:
        context.load_cert_chain(options["certificate"], options["key"])
    return context


def connected(options: Options) -> socket.socket:
    """Return a connection, over TLS from its first byte where that is used."""
    sock = socket.create_connection((options["address"], int(options["port"])), SECONDS)
    context = context_of(options)
    return context.wrap_socket(sock, server_hostname=options["address"]) if context else sock


def ask_echo(options: Options) -> None:
    """Send a line and have it back."""
    with connected(options) as sock:
        sock.sendall(b"hello\n")
        answer = sock.recv(64)
        assert answer == b"hello\n", answer


def ask_http(options: Options) -> None:
    """Ask for a page."""
    context = context_of(options)
    opener = build_opener(*([HTTPSHandler(context=context)] if context else []))
    url = "%s://%s:%s%s" % ("https" if context else "http", options["address"], options["port"], options["path"])
    with opener.open(url, timeout=SECONDS) as answer:
        answer.read()


def ask_smtp(options: Options) -> None:
    """Hand in a mail."""
    with smtplib.SMTP(options["address"], int(options["port"]), "app.lab.test", SECONDS) as session:
        context = context_of(options)
        if context:
            session.starttls(context=context)
        session.sendmail("app@lab.test", [options["to"]], "Subject: hello\n\nhello\n")


def ask_ldap(options: Options) -> None:
    """Search, with the client that people have."""
    variables = {"LDAPTLS_REQCERT": "demand"}
    if options.get("tls") == "yes":
        variables.update(LDAPTLS_CACERT=options["trust"])
    if "certificate" in options:
        variables.update(LDAPTLS_CERT=options["certificate"], LDAPTLS_KEY=options["key"])
    how = ["-ZZ"] if options.get("tls") == "yes" else []
    url = "ldap://%s:%s" % (options["address"], options["port"])
    command = ["ldapsearch", "-x", *how, "-LLL", "-H", url, "-b", options["base"], "-s", "base", "dn"]
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0 and options["base"] in done.stdout, done.stderr


def ask_sip(options: Options) -> None:
    """Send OPTIONS over TCP, and read the answer's first line."""
    with connected(options) as sock:
        own = "%s:%d" % sock.getsockname()[:2]
        via = "TLS" if options.get("tls") == "yes" else "TCP"
        lines = (
            "OPTIONS sip:%s:%s;transport=%s SIP/2.0" % (options["address"], options["port"], via.lower()),
            "Via: SIP/2.0/%s %s;branch=z9hG4bK%d;rport" % (via, own, time.monotonic_ns()),
            "From: <sip:app@lab.test>;tag=%d" % time.monotonic_ns(),
            "To: <sip:%s>" % options["address"],
            "Call-ID: %d@lab.test" % time.monotonic_ns(),
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 5",
            "Content-Length: 0",
            "",
            "",
        )
        sock.sendall("\r\n".join(lines).encode())
        answer = sock.recv(4096)
        assert answer.startswith(b"SIP/2.0 200"), answer[:60]


ASKING: t.Final = {"echo": ask_echo, "http": ask_http, "ldap": ask_ldap, "sip": ask_sip, "smtp": ask_smtp}


def main(name: str) -> None:
    """Ask each server in turn, for ever."""
    counts: dict[str, dict[str, t.Any]] = {}
    while True:
        options = configparser.ConfigParser(interpolation=None)
        options.read("/etc/%s.ini" % name)
        for server in options.sections():
            row = counts.setdefault(server, {"asked": 0, "lost": 0, "why": ""})
            row["asked"] += 1
            try:
                ASKING[options[server]["protocol"]](options[server])
            except Exception as error:  # whatever it is, the request is lost
                row["lost"] += 1
                row["why"] = row["why"] or "%s: %s" % (type(error).__name__, error)
        with open("/run/%s.new" % name, "w") as file:
            json.dump(counts, file)
        os.rename("/run/%s.new" % name, "/run/%s.json" % name)
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
