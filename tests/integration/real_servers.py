# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of others, as their packages bring them, on loopback: configured by their kinds, moved and looked at."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible_collections.connsec.tls.plugins.module_utils._core._kind import InstanceKind, Option, expand, parse_kind
from ansible_collections.connsec.tls.plugins.module_utils._core._kind_settings import settle
from ansible_collections.connsec.tls.plugins.module_utils._core._option_formats import read
from ansible_collections.connsec.tls.plugins.module_utils._core._profile import PROFILES
from ansible_collections.connsec.tls.plugins.module_utils._core._spec import State, StepSpec
from ansible_collections.connsec.tls.plugins.module_utils._host._handshake import look
from ansible_collections.connsec.tls.plugins.module_utils._host._probe import parse_probe
from ansible_collections.connsec.tls.plugins.module_utils._host._step import Step
from ports import ADDRESS
from unit.look.servers import Authority, Issued

ROOT: t.Final = Path(__file__).resolve().parents[2]
NAME: t.Final = "localhost"
SBIN: t.Final = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


def program(name: str) -> str | None:
    """Return where a server's program is."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), SBIN]))


@dataclass(frozen=True)
class Material:
    """The files of an instance, in the layout of a generation."""

    folder: Path
    trust: str

    @staticmethod
    def make(folder: Path, authority: Authority, issued: Issued) -> Material:
        """Lay out what a generation would hold."""
        folder.mkdir()
        certificate, key = Path(issued.certificate_file).read_text(), Path(issued.key_file).read_text()
        own, end, chain = certificate.partition("-----END CERTIFICATE-----\n")
        for name, text in (("fullchain", certificate), ("key", key), ("combined", own + end + key + chain)):
            (folder / (name + ".pem")).write_text(text)
        return Material(folder, authority.root.certificate_file)

    def words(self) -> dict[str, str]:
        """Return where they lie, in the words of options."""
        paths = {name: str(self.folder / (name + ".pem")) for name in ("fullchain", "key", "combined")}
        return {**paths, "certificate": paths["fullchain"], "trust": self.trust}


@contextlib.contextmanager
def backend(answer: str, port: int, *, presents: Issued | None = None, clients: str | None = None) -> t.Iterator[None]:
    """Answer in HTTP on a port of loopback: in the clear, or over TLS, and then perhaps for known clients only."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_unused: t.Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer((ADDRESS, port), Handler)
    if presents is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(presents.certificate_file, presents.key_file)
        if clients is not None:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
        # the handshake belongs to the thread of its connection, not to the one that accepts
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class Made(t.NamedTuple):
    """What a server is made of.

    Attributes:
        folder: where its files lie.
        mode: of its listener.
        material: what it presents.
        port, secure_port: of its listener.
        backend: the port that it passes requests on to.
    """

    folder: Path
    mode: str
    material: Material
    port: int
    secure_port: int
    backend: int

    @property
    def words(self) -> dict[str, t.Any]:
        """What its configuration is written with."""
        return {**self._asdict(), "address": ADDRESS}


@dataclass
class Server:
    """A server's process with its files, as one instance of a component.

    Attributes:
        kind: what its role declares, settings put in.
        made: what it is made of.
        start: the command that starts it in the background.
    """

    kind: InstanceKind
    made: Made
    start: t.Sequence[str]

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self.made, name)

    def options(self, stage: str, **words: t.Any) -> tuple[Option, ...]:
        """Return the options of a stage."""
        context = {
            "mode": self.mode,
            "port": self.port,
            "secure_port": self.secure_port,
            "listener": "web",
            **PROFILES["intermediate"].words(),
            **self.material.words(),
        }
        return expand(self.kind.reads[stage], {**context, **words})

    def missing(self, stage: str, **words: t.Any) -> list[Option]:
        """Return the options of a stage that its files do not hold."""
        return [
            each
            for each in self.options(stage, **words)
            if read(Path(each.file).read_text(), each.format, each.section, each.key) != each.value
        ]

    def step(self, stage: str, *ports: tuple[int, bool], **words: t.Any) -> Step:
        """Return a step of it, after which these ports are open, or closed."""
        files: dict[str, list[dict[str, t.Any]]] = {}
        for option in self.missing(stage, **words):
            row = {"section": option.section, "key": option.key, "like": option.like}
            row.update({"state": "absent"} if option.value is None else {"value": option.value})
            files.setdefault(option.file, []).append(row)
        form = self.options(stage, **words)[0].format
        return Step(
            StepSpec(
                state=t.cast(State, "whole"),
                id="%s-web" % stage,
                stage=stage,
                target="web@h web",
                reason="it is due",
                instance="web@h",
                component="web",
                host="h",
                directory=str(self.folder / "connsec"),
                folder="web",
                edits=[{"path": path, "format": form, "options": rows} for path, rows in sorted(files.items())],
                files=list(self.kind.files),
                test=list(self.kind.test),
                reload=dict(self.kind.reload),
                workers=self.kind.workers,
                process=dict(self.kind.process),
                wait_for=[{"address": ADDRESS, "port": port, "open": is_open} for port, is_open in ports],
                own=True,
            )
        )

    def held(self) -> dict[str, bytes]:
        """Return what its files hold."""
        return {path: Path(path).read_bytes() for path in self.kind.files}

    def __enter__(self) -> Server:
        subprocess.run(self.start, check=True, capture_output=True, timeout=30)
        until = time.monotonic() + 10
        while not is_open(self.port):
            assert time.monotonic() < until, "%s does not come up" % self.start[0]
            time.sleep(0.05)
        return self

    def __exit__(self, *_unused: object) -> None:
        pid = int(Path(self.kind.process["pid_file"]).read_text())
        with contextlib.suppress(ProcessLookupError):  # it may have died, and then the test says of what
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 10
        while os.path.isdir("/proc/%d" % pid) and time.monotonic() < until:
            time.sleep(0.05)


def kind_of(name: str, /, **given: t.Any) -> InstanceKind:
    """Return a kind of ours with settings put in."""
    path = ROOT / "roles" / ("kind_%s" % name) / "vars" / "main.yml"
    declared = yaml.safe_load(path.read_text())["tls_kind"]
    kind = parse_kind(name, role="kind_%s" % name, source=str(path), declared=declared)
    return settle(kind, given, instance="web@h", where="tls_settings.web")


def is_open(port: int) -> bool:
    """Return whether somebody listens there."""
    with socket.socket() as sock:
        sock.settimeout(2)
        return sock.connect_ex((ADDRESS, port)) == 0


def get(port: int, path: str = "/") -> str:
    """Return what a web server answers in the clear."""
    with socket.create_connection((ADDRESS, port), timeout=5) as sock:
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
        answer = b""
        while part := sock.recv(4096):
            answer += part
    return answer.decode("latin-1")


@contextlib.contextmanager
def requests(port: int, wanted: str) -> t.Iterator[list[str]]:
    """Ask all the time, each time over a new connection; hand out what was answered otherwise, and what failed."""
    lost: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.005):
            try:
                answer = get(port)
            except OSError as error:
                lost.append(repr(error))
            else:
                lost.extend([] if wanted in answer else [answer])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()


def seen(port: int, trust: str, *, client: Issued | None = None, foreign: Issued | None = None) -> dict[str, t.Any]:
    """Return what our own look shows of a secure port."""
    request: dict[str, t.Any] = {
        "id": "it",
        "address": ADDRESS,
        "port": port,
        "name": NAME,
        "trust": trust,
        "answers": "http",
        "demand": True,
        "old_protocols": True,
    }
    if client is not None:
        request.update(certificate=client.certificate_file, key=client.key_file)
    if foreign is not None:
        request["foreign"] = {"certificate": foreign.pem, "key": foreign.key_pem}
    return look([parse_probe(request)])["it"]


def served(port: int, trust: str, *, client: Issued | None = None) -> str:
    """Return what openssl's client is answered when it asks for a page, presenting a certificate or none."""
    own = () if client is None else ("-cert", client.certificate_file, "-key", client.key_file)
    command = ["openssl", "s_client", "-connect", "%s:%d" % (ADDRESS, port), "-servername", NAME, "-CAfile", trust]
    command += ["-verify_hostname", NAME, "-verify_return_error", "-quiet", *own]
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    done = subprocess.run(command, input=request, capture_output=True, timeout=20, check=False)
    return done.stdout.decode("utf-8", "replace")


def s_client(port: int, trust: str, *arguments: str) -> str:
    """Return what openssl says of a secure port."""
    command = ["openssl", "s_client", "-connect", "%s:%d" % (ADDRESS, port), "-servername", NAME, "-CAfile", trust]
    command += ["-verify_hostname", NAME, "-verify_return_error", "-brief", *arguments]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")
