# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load on servers that people run, with the clients that people have: load.py OPTIONS.INI, on a host of the lab.

Each section `peer.<server>.<host>` of the options is a server that is asked once an interval by its `client`: curl,
psql, mariadb, redis-cli, ldapsearch, amqp-publish, SMTP, SIP, a line. It dials anew each time, and asks once, or with
`requests` so often in one session. `tls = yes` has it speak TLS and verify the name that it dials against `trust`, and
present `certificate` and `key` where they are given. A client that has options of its own is told their `file`, or the
`service` in them, and the rest stands there.

A message that is not answered is asked again for as long as `patience` says, and then it is lost; without patience it
is lost at once. SIGHUP has the options read again; what was counted goes on, and lies in `tally.json` beside them.
Nothing but the standard library is needed, and the clients.
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
from dataclasses import dataclass

#: Seconds that one message may take (and one more each further one of a session), after which one that failed is
#: repeated, and between two of a session.
ATTEMPT: t.Final = 5.0
AGAIN: t.Final = 0.2
PAUSE: t.Final = 0.05
#: An answer that takes longer, in seconds, is late.
LATE: t.Final = 1.0
#: How often what was counted is written, in seconds.
WRITTEN: t.Final = 0.5

Peer = t.Mapping[str, str]


class NotAnswered(Exception):
    """An attempt failed: what the client said, how many messages were answered before, and how many were not."""

    def __init__(self, said: str, *, answered: int = 0, lost: int = 1) -> None:
        super().__init__(said)
        self.answered = answered
        self.lost = lost


def why(error: Exception) -> str:
    """Return what is said of an error."""
    return str(error) if isinstance(error, NotAnswered) else "%s: %s" % (type(error).__name__, error)


# ---------------------------------------------------------------- options


def on_tls(peer: Peer) -> bool:
    """Return whether a server is to be asked over TLS."""
    return peer.get("tls", "no") == "yes"


def requests(peer: Peer) -> int:
    """Return how many messages a session has."""
    return int(peer.get("requests", "1"))


def url(peer: Peer, clear: str, secure: str) -> str:
    """Return a URL of a server, in the scheme that fits."""
    return "%s://%s:%s" % (secure if on_tls(peer) else clear, peer["name"], peer["port"])


def files(peer: Peer, trust: str, certificate: str, key: str) -> list[str]:
    """Return the options that name a client's files, where it is on TLS and has them."""
    rows = ((trust, "trust"), (certificate, "certificate"), (key, "key")) if on_tls(peer) else ()
    return [word for option, name in rows if name in peer for word in (option, peer[name])]


# ---------------------------------------------------------------- clients that are programs


def curl(peer: Peer) -> list[str]:
    """https://curl.se/docs/manpage.html: it verifies unless it is told not to, and keeps its connection."""
    several = requests(peer) > 1
    return [
        *("curl", "--silent", "--show-error", "--max-time", "%g" % ATTEMPT),
        *("--output", "/dev/null", "--write-out", "%{http_code}\\n"),
        *files(peer, "--cacert", "--cert", "--key"),
        *(("--rate", "%d/s" % (1 / PAUSE)) if several else ()),
        url(peer, "http", "https") + ("/?[1-%d]" % requests(peer) if several else "/"),
    ]


def psql(peer: Peer) -> list[str]:
    """https://www.postgresql.org/docs/15/libpq-connect.html: verify-full verifies chain and name."""
    if "service" in peer:
        words = {"service": peer["service"]}
    else:
        words = {"host": peer["name"], "port": peer["port"], "user": peer["user"], "dbname": peer["database"]}
        words.update(connect_timeout="3", sslmode="verify-full" if on_tls(peer) else "disable")
        rows = files(peer, "sslrootcert", "sslcert", "sslkey")
        words.update(zip(rows[::2], rows[1::2], strict=True))
    asked = ["-c", peer.get("ask", "select 1"), "-c", "select pg_sleep(%g)" % PAUSE]
    return ["psql", "-XAtq", *asked * requests(peer), " ".join("%s=%s" % row for row in words.items())]


def mariadb(peer: Peer) -> list[str]:
    """https://mariadb.com/kb/en/mariadb-command-line-client/: it verifies where it is told to."""
    asked = "%s; do sleep(%g); " % (peer.get("ask", "select 1"), PAUSE) * requests(peer)
    if "file" in peer:
        return ["mariadb", "--defaults-file=" + peer["file"], "-nNBe", asked]
    return [
        *("mariadb", "--no-defaults", "--protocol=tcp", "--connect-timeout=3", "-nNBe", asked),
        *("--host=" + peer["name"], "--port=" + peer["port"], "--user=" + peer["user"]),
        *(("--ssl", "--ssl-verify-server-cert") if on_tls(peer) else ("--skip-ssl",)),
        *files(peer, "--ssl-ca", "--ssl-cert", "--ssl-key"),
    ]


def redis(peer: Peer) -> list[str]:
    """https://redis.io/docs/latest/operate/oss_and_stack/management/security/encryption/"""
    secure = ["--tls", "--sni", peer["name"], *files(peer, "--cacert", "--cert", "--key")] if on_tls(peer) else []
    often = ["-r", str(requests(peer)), "-i", "%g" % PAUSE]
    return ["redis-cli", "-e", "-h", peer["name"], "-p", peer["port"], *secure, *often, *peer["ask"].split()]


def ldap(peer: Peer) -> list[str]:
    """ldapsearch(1), ldap.conf(5): -ZZ insists on StartTLS; the files stand in the environment."""
    start = ["-ZZ"] if on_tls(peer) else []
    where = ["-H", "ldap://%s:%s" % (peer["name"], peer["port"]), "-b", peer["base"], "-s", "base"]
    return ["ldapsearch", "-x", "-LLL", "-o", "nettimeout=3", *start, *where, "dn"]


_AMQP: t.Final = """\
url=$1 queue=$2 count=$3 pause=$4; shift 4
# what follows -- is a command for each message; options behind it would be taken for those of amqp-consume
timeout 10 amqp-consume --url "$url" "$@" -q "$queue" -c $count -A -- cat & consumer=$!
messages() { for each in $(seq $count); do echo $each; sleep $pause; done; }
messages | amqp-publish --url "$url" "$@" -r "$queue" -l || kill $consumer
wait $consumer
"""


def amqp(peer: Peer) -> list[str]:
    """amqp-publish(1), amqp-consume(1): messages to a queue, and those that come back from it."""
    where = url(peer, "amqp", "amqps").replace("://", "://%s@" % peer["login"])
    often = (peer["queue"], str(requests(peer)), "%g" % PAUSE)
    return ["bash", "-c", _AMQP, "amqp", where, *often, *files(peer, "--cacert", "--cert", "--key")]


@dataclass(frozen=True)
class Program:
    """A client that is a program.

    Attributes:
        command: what is run.
        answers: whether a line of what it writes is an answer to a message.
        goes_on: whether it goes on with the next message after one that was lost; others end with it.
    """

    command: t.Callable[[Peer], list[str]]
    answers: t.Callable[[str], bool]
    goes_on: bool = False


PROGRAMS: t.Final[t.Mapping[str, Program]] = {
    "amqp": Program(amqp, str.isdigit),
    "curl": Program(curl, "200".__eq__, goes_on=True),
    "ldap": Program(ldap, lambda line: line.startswith("dn: ")),
    "mariadb": Program(mariadb, "1".__eq__),
    "psql": Program(psql, "1".__eq__),
    "redis": Program(redis, str.isdigit, goes_on=True),
}
#: In which variables programs look for their passwords, and ldapsearch for its files.
_PASSWORDS: t.Final = ("MYSQL_PWD", "PGPASSWORD", "REDISCLI_AUTH")
_LDAP: t.Final = (("LDAPTLS_CACERT", "trust"), ("LDAPTLS_CERT", "certificate"), ("LDAPTLS_KEY", "key"))


def environment(peer: Peer) -> dict[str, str]:
    """Return the environment of a client."""
    found = {**os.environ, "LDAPTLS_REQCERT": "demand"}
    found.update({variable: peer[name] for variable, name in _LDAP if name in peer})
    found.update(dict.fromkeys(_PASSWORDS, peer["password"]) if "password" in peer else {})
    return found


def run(peer: Peer) -> None:
    """Have a session with a client that is a program."""
    program, wanted = PROGRAMS[peer["client"]], requests(peer)
    argv, seconds = program.command(peer), ATTEMPT + wanted - 1
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, env=environment(peer), timeout=seconds, errors="replace", check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotAnswered("%s takes more than %g s" % (argv[0], seconds)) from error
    answered = sum(map(program.answers, done.stdout.splitlines()))
    if answered < wanted:
        said = (done.stderr or done.stdout).strip()[-300:] or "nothing"
        lost = wanted - answered if program.goes_on else 1
        raise NotAnswered("%s ends with %d: %s" % (argv[0], done.returncode, said), answered=answered, lost=lost)


# ---------------------------------------------------------------- clients of the standard library


def context_of(peer: Peer) -> ssl.SSLContext:
    """Return how a client of the standard library speaks TLS: chain and name are verified."""
    context = ssl.create_default_context(cafile=peer["trust"])
    if "certificate" in peer:
        context.load_cert_chain(peer["certificate"], peer["key"])
    return context


def connected(peer: Peer) -> socket.socket:
    """Return a connection, over TLS from its first byte where that is used."""
    sock = socket.create_connection((peer["name"], int(peer["port"])), timeout=ATTEMPT)
    return context_of(peer).wrap_socket(sock, server_hostname=peer["name"]) if on_tls(peer) else sock


def session(peer: Peer, ask: t.Callable[[socket.socket, Peer], None]) -> None:
    """Ask over one connection, as often as a session has messages."""
    answered = 0
    try:
        with connected(peer) as sock:
            for answered in range(requests(peer)):
                time.sleep(PAUSE if answered else 0)
                ask(sock, peer)
    except (OSError, NotAnswered) as error:
        raise NotAnswered(why(error), answered=answered) from error


def must_answer(answer: bytes, begin: bytes) -> None:
    """Refuse an answer that begins otherwise."""
    if not answer.startswith(begin):
        raise NotAnswered("it answers %r" % answer[:60])


def smtp(peer: Peer) -> None:
    """Hand in a mail: RFC 3207 for STARTTLS."""
    with smtplib.SMTP(peer["name"], int(peer["port"]), "load.lab.test", ATTEMPT) as session:
        if on_tls(peer):
            session.starttls(context=context_of(peer))
        session.sendmail("load@lab.test", [peer["to"]], "Subject: load\n\na message\n")


def options(sock: socket.socket, peer: Peer) -> None:
    """Ask for OPTIONS: RFC 3261, 11."""
    via, number = "TLS" if on_tls(peer) else "TCP", "%x" % time.time_ns()
    lines = (
        "OPTIONS sip:%s:%s;transport=%s SIP/2.0" % (peer["name"], peer["port"], via.lower()),
        "Via: SIP/2.0/%s %s:%d;branch=z9hG4bK%s;rport" % (via, *sock.getsockname()[:2], number),
        "From: <sip:load@lab.test>;tag=%s" % number,
        "To: <sip:%s>" % peer["name"],
        "Call-ID: %s@lab.test" % number,
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 5",
        "Content-Length: 0",
    )
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    must_answer(sock.recv(4096), b"SIP/2.0 200")


def sip(peer: Peer) -> None:
    """Have a session with a server of SIP."""
    session(peer, options)


def repeated(sock: socket.socket, _peer: Peer) -> None:
    """Have a line repeated."""
    sock.sendall(b"a line\n")
    must_answer(sock.recv(100), b"a line\n")


def line(peer: Peer) -> None:
    """Have a session with a server that repeats lines."""
    session(peer, repeated)


CLIENTS: t.Final[t.Mapping[str, t.Callable[[Peer], None]]] = {
    "line": line,
    "sip": sip,
    "smtp": smtp,
    **dict.fromkeys(PROGRAMS, run),
}


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
        """Ask until there is an answer, or a message is lost."""
        tally, begun = self.tally, time.monotonic()
        while True:
            peer = self.load.peers()[self.section]
            tally.update(id=peer["id"], tls=on_tls(peer))
            try:
                CLIENTS[peer["client"]](peer)
            except NotAnswered as error:
                failed = error
            except (OSError, smtplib.SMTPException) as error:
                failed = NotAnswered(why(error))
            else:
                self._answered(begun, requests(peer))
                return
            tally["said"] = str(failed)
            if failed.answered or self.load.ended.is_set() or time.monotonic() - begun >= float(peer["patience"]):
                self._lost(failed)
                return
            tally["resent"] += 1
            time.sleep(AGAIN)

    def _answered(self, begun: float, number: int) -> None:
        now = time.monotonic()
        gap = int((now - self._last - self.load.interval) * 1000)
        self._last = now
        self.tally["sent"] += number
        self.tally["answered"] += number
        self.tally["late"] += now - begun > LATE + PAUSE * number
        self.tally["longest_gap_ms"] = max(self.tally["longest_gap_ms"], gap)

    def _lost(self, failed: NotAnswered) -> None:
        lost = 0 if self.load.ended.is_set() else failed.lost
        self.tally["sent"] += failed.answered + lost
        self.tally["answered"] += failed.answered
        self.tally["lost"] += lost


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
        parser = configparser.ConfigParser(interpolation=None)
        with open(self.options) as file:
            parser.read_file(file)
        self.interval = parser.getfloat("component", "interval")
        found = {name: dict(parser[name]) for name in parser.sections() if name.startswith("peer.")}
        for name, peer in found.items():
            if peer.get("client") not in CLIENTS:
                raise SystemExit("%s: [%s] client is one of %s" % (self.options, name, ", ".join(sorted(CLIENTS))))
        self._peers = found

    def peers(self) -> t.Mapping[str, Peer]:
        """Return the options of each server, as they were read last."""
        return self._peers

    def run(self, folder: str) -> None:
        """Ask until somebody ends it, and write what was counted all the while."""
        for asked in self.asked:
            threading.Thread(target=asked.forever, daemon=True).start()
        while not self.ended.is_set():
            self.woken.wait(WRITTEN)
            self.woken.clear()
            if self.again:
                self.again = False
                self.read()
            temporary = os.path.join(folder, "tally.new")
            with open(temporary, "w") as file:
                file.write(json.dumps([asked.tally for asked in self.asked]))
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
