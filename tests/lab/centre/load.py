# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load on servers that people run, with the clients that people have: load.py OPTIONS.INI, on a host of the lab.

Each section `peer.<server>.<host>` of the options is a server that is asked once an interval, anew each time, by its
`client`: curl, psql, mariadb, redis-cli, ldapsearch, amqp-publish, SMTP, SIP, a line. `tls = yes` has it speak TLS
and verify the name that it dials against `trust`, and present `certificate` and `key` where they are given.

A message that is not answered is asked again for as long as `patience` says, and then it is lost. SIGHUP has the
options read again; what was counted goes on. Nothing but the standard library is needed, and the clients.
"""

from __future__ import annotations

import configparser
import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
import typing as t

#: Seconds that one attempt may take, and after which one that failed is repeated.
ATTEMPT: t.Final = 5.0
PAUSE: t.Final = 0.2
#: An answer that takes longer, in seconds, is late.
LATE: t.Final = 1.0

Peer = t.Mapping[str, str]


class NotAnswered(Exception):
    """An attempt failed; what the client said."""


# ---------------------------------------------------------------- clients


def url(peer: Peer, clear: str, secure: str) -> str:
    """Return a URL of a server, in the scheme that fits."""
    return "%s://%s:%s" % (secure if on_tls(peer) else clear, peer["name"], peer["port"])


def on_tls(peer: Peer) -> bool:
    """Return whether a server is to be asked over TLS."""
    return peer.get("tls", "no") == "yes"


def files(peer: Peer, trust: str, certificate: str, key: str) -> list[str]:
    """Return the options that name a client's files, where it is on TLS and has them."""
    rows = ((trust, "trust"), (certificate, "certificate"), (key, "key")) if on_tls(peer) else ()
    return [word for option, name in rows if name in peer for word in (option, peer[name])]


def curl(peer: Peer) -> list[str]:
    """https://curl.se/docs/manpage.html: it verifies chain and name unless it is told not to."""
    return [
        *("curl", "--silent", "--show-error", "--fail", "--max-time", "%g" % ATTEMPT, "--output", "/dev/null"),
        *files(peer, "--cacert", "--cert", "--key"),
        url(peer, "http", "https") + "/",
    ]


def psql(peer: Peer) -> list[str]:
    """https://www.postgresql.org/docs/15/libpq-connect.html: verify-full verifies chain and name."""
    words = {"host": peer["name"], "port": peer["port"], "user": peer["user"], "dbname": peer["database"]}
    words["connect_timeout"] = "3"
    words["sslmode"] = "verify-full" if on_tls(peer) else "disable"
    for word, name in (("sslrootcert", "trust"), ("sslcert", "certificate"), ("sslkey", "key")):
        if on_tls(peer) and name in peer:
            words[word] = peer[name]
    return ["psql", "--no-psqlrc", "-qAt", "-c", "select 1", " ".join("%s=%s" % row for row in words.items())]


def mariadb(peer: Peer) -> list[str]:
    """https://mariadb.com/kb/en/mariadb-command-line-client/: it verifies where it is told to."""
    verify = ["--ssl", "--ssl-verify-server-cert"] if on_tls(peer) else ["--skip-ssl"]
    return [
        *("mariadb", "--no-defaults", "--protocol=tcp", "--connect-timeout=3", "--batch", "--execute=select 1"),
        *("--host=" + peer["name"], "--port=" + peer["port"], "--user=" + peer["user"]),
        *verify,
        *("%s=%s" % row for row in _pairs(files(peer, "--ssl-ca", "--ssl-cert", "--ssl-key"))),
    ]


def redis(peer: Peer) -> list[str]:
    """https://redis.io/docs/latest/operate/oss_and_stack/management/security/encryption/"""
    secure = ["--tls", "--sni", peer["name"], *files(peer, "--cacert", "--cert", "--key")] if on_tls(peer) else []
    return ["redis-cli", "-h", peer["name"], "-p", peer["port"], "-e", *secure, "incr", "load"]


def ldap(peer: Peer) -> list[str]:
    """ldapsearch(1), ldap.conf(5): -ZZ insists on StartTLS; the files stand in the environment."""
    start = ["-ZZ"] if on_tls(peer) else []
    where = ["-H", "ldap://%s:%s" % (peer["name"], peer["port"]), "-b", peer["base"], "-s", "base"]
    return ["ldapsearch", "-x", "-LLL", "-o", "nettimeout=3", *start, *where, "dn"]


def amqp(peer: Peer) -> list[str]:
    """amqp-publish(1)"""
    where = url(peer, "amqp", "amqps").replace("://", "://%s@" % peer["user"])
    return [
        *("amqp-publish", "--url", where, *files(peer, "--cacert", "--cert", "--key")),
        *("--routing-key", "load", "--body", "a message"),
    ]


COMMANDS: t.Final[t.Mapping[str, t.Callable[[Peer], list[str]]]] = {
    "amqp": amqp,
    "curl": curl,
    "ldap": ldap,
    "mariadb": mariadb,
    "psql": psql,
    "redis": redis,
}


def run_command(peer: Peer) -> None:
    """Ask once, with a client that is a program."""
    environment = dict(os.environ)
    names = (("LDAPTLS_CACERT", "trust"), ("LDAPTLS_CERT", "certificate"), ("LDAPTLS_KEY", "key"))
    environment.update({variable: peer[name] for variable, name in names if name in peer})
    environment["LDAPTLS_REQCERT"] = "demand"
    argv = COMMANDS[peer["client"]](peer)
    try:
        done = subprocess.run(argv, capture_output=True, env=environment, timeout=ATTEMPT, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotAnswered("%s takes more than %g s" % (argv[0], ATTEMPT)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise NotAnswered("%s ends with %d: %s" % (argv[0], done.returncode, said[-1] if said else "it said nothing"))


def context_of(peer: Peer) -> ssl.SSLContext:
    """Return how a client of the standard library speaks TLS: chain and name are verified."""
    context = ssl.create_default_context(cafile=peer["trust"])
    if "certificate" in peer:
        context.load_cert_chain(peer["certificate"], peer["key"])
    return context


def smtp(peer: Peer) -> None:
    """Hand a message over, and take it back before it is sent: RFC 3207 for STARTTLS."""
    with smtplib.SMTP(peer["name"], int(peer["port"]), timeout=ATTEMPT) as session:
        if on_tls(peer):
            session.starttls(context=context_of(peer))
        session.ehlo_or_helo_if_needed()
        code, words = session.mail("load@lab.test")
        if code != 250:
            raise NotAnswered("it answers MAIL with %d %s" % (code, words.decode("utf-8", "replace")))
        session.rset()


def sip(peer: Peer) -> None:
    """Ask for OPTIONS: RFC 3261, 11."""
    name, port, secure = peer["name"], int(peer["port"]), on_tls(peer)
    with socket.create_connection((name, port), timeout=ATTEMPT) as plain:
        sock = context_of(peer).wrap_socket(plain, server_hostname=name) if secure else plain
        kind, number, own = "TLS" if secure else "TCP", "%x" % time.time_ns(), sock.getsockname()[0]
        lines = (
            "OPTIONS sip:%s:%d;transport=%s SIP/2.0" % (name, port, kind.lower()),
            "Via: SIP/2.0/%s %s;branch=z9hG4bK%s" % (kind, own, number),
            "From: <sip:load@%s>;tag=%s" % (own, number),
            "To: <sip:%s>" % name,
            "Call-ID: %s@%s" % (number, own),
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 5",
            "Content-Length: 0",
        )
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = sock.recv(4096)
        if not answer.startswith(b"SIP/2.0 "):
            raise NotAnswered("it answers %r" % answer[:40])
        sock.close()


def line(peer: Peer) -> None:
    """Have a line repeated."""
    name, secure = peer["name"], on_tls(peer)
    with socket.create_connection((name, int(peer["port"])), timeout=ATTEMPT) as plain:
        sock = context_of(peer).wrap_socket(plain, server_hostname=name) if secure else plain
        sock.sendall(b"a line\n")
        answer = sock.recv(100)
        if answer != b"a line\n":
            raise NotAnswered("it answers %r" % answer)
        sock.close()


SPOKEN: t.Final[t.Mapping[str, t.Callable[[Peer], None]]] = {
    "line": line,
    "sip": sip,
    "smtp": smtp,
    **dict.fromkeys(COMMANDS, run_command),
}


def _pairs(words: t.Sequence[str]) -> t.Iterator[tuple[str, str]]:
    return ((words[at], words[at + 1]) for at in range(0, len(words), 2))


# ---------------------------------------------------------------- load


class Asking:
    """One server that is asked, and how it has answered so far."""

    def __init__(self, section: str, load: Load) -> None:
        self.section = section
        self.load = load
        self.tally: dict[str, t.Any] = dict.fromkeys(
            ("sent", "answered", "lost", "resent", "late", "longest_gap_ms"), 0
        )
        self._last = time.monotonic()

    def forever(self) -> None:
        """Ask once an interval."""
        while not self.load.ended.is_set():
            begun = time.monotonic()
            self.ask()
            self.load.ended.wait(max(0.0, begun + self.load.interval - time.monotonic()))

    def ask(self) -> None:
        """Ask until there is an answer, or the message is lost."""
        tally, begun = self.tally, time.monotonic()
        tally["sent"] += 1
        while True:
            peer = self.load.peers()[self.section]
            tally.update(id=peer["id"], tls=on_tls(peer))
            try:
                SPOKEN[peer["client"]](peer)
            except (NotAnswered, OSError, smtplib.SMTPException) as error:
                tally["said"] = str(error)
            else:
                self._answered(begun)
                return
            if time.monotonic() - begun > float(peer["patience"]) or self.load.ended.is_set():
                tally["lost"] += not self.load.ended.is_set()
                return
            tally["resent"] += 1
            time.sleep(PAUSE)

    def _answered(self, begun: float) -> None:
        now = time.monotonic()
        gap = int((now - self._last - self.load.interval) * 1000)
        self._last = now
        self.tally["answered"] += 1
        self.tally["late"] += now - begun > LATE
        self.tally["longest_gap_ms"] = max(self.tally["longest_gap_ms"], gap)


class Load:
    """Everything that is asked from this host."""

    def __init__(self, options: str) -> None:
        self.options = options
        self.ended = threading.Event()
        self.again = False
        self.woken = threading.Event()
        self._peers: dict[str, dict[str, str]] = {}
        self.read()
        self.asked = [Asking(section, self) for section in self._peers]

    def read(self) -> None:
        """Take in the options."""
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        with open(self.options) as file:
            parser.read_file(file)
        self.interval = parser.getfloat("component", "interval")
        found = {name: dict(parser[name]) for name in parser.sections() if name.startswith("peer.")}
        for name, peer in found.items():
            if peer.get("client") not in SPOKEN:
                raise SystemExit("%s: [%s] client is one of %s" % (self.options, name, ", ".join(sorted(SPOKEN))))
        self._peers = found

    def peers(self) -> t.Mapping[str, Peer]:
        """Return the options of each server, as they were read last."""
        return self._peers

    def run(self, folder: str) -> None:
        """Ask until somebody ends it, and write what was counted every second."""
        for asked in self.asked:
            threading.Thread(target=asked.forever, daemon=True).start()
        while not self.ended.is_set():
            self.woken.wait(1.0)
            self.woken.clear()
            if self.again:
                self.again = False
                self.read()
            temporary = os.path.join(folder, "tally.new")
            with open(temporary, "w") as file:
                json.dump([asked.tally for asked in self.asked], file)
            os.replace(temporary, os.path.join(folder, "tally.json"))


def main(arguments: t.Sequence[str]) -> int:
    """Run until SIGTERM; with --check, read the options and end."""
    load = Load(arguments[-1])
    if "--check" in arguments:
        return 0

    def told(number: int, _frame: t.Any) -> None:
        if number == signal.SIGHUP:
            load.again = True
        else:
            load.ended.set()
        load.woken.set()

    signal.signal(signal.SIGHUP, told)
    signal.signal(signal.SIGTERM, told)
    load.run(os.path.dirname(os.path.abspath(arguments[-1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
