# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers on loopback to look at: OpenSSL's own for TLS, and small ones that answer as they were told."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
import typing as t
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from .material import Pair


def written(folder: Path, name: str, *pairs: Pair) -> tuple[str, str]:
    """Write a certificate with its chain, and its key; return both paths."""
    certificate, key = folder / ("%s.pem" % name), folder / ("%s.key" % name)
    certificate.write_bytes(b"".join(each.pem for each in pairs))
    key.write_bytes(
        pairs[0].key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(certificate), str(key)


@contextlib.contextmanager
def openssl(folder: Path, *chain: Pair, more: t.Sequence[str] = ()) -> t.Iterator[int]:
    """Have `openssl s_server` serve a certificate with its chain; yield its port."""
    certificate, key = written(folder, "served", *chain)
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key, "-www"]
    command += ["-cert_chain", written(folder, "chain", *chain[1:])[0]] if chain[1:] else []
    command += more
    with open(folder / "server.err", "wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield _port(process, folder / "server.err")
    finally:
        process.kill()
        process.communicate()


def _port(process: subprocess.Popen[bytes], errors: Path) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        found = re.match(rb"ACCEPT 127\.0\.0\.1:(\d+)", line)
        if found:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return int(found[1])
    raise AssertionError("openssl s_server ended: %s" % errors.read_text(encoding="utf-8"))


@contextlib.contextmanager
def answering(act: t.Callable[[socket.socket], None]) -> t.Iterator[int]:
    """Have a listener act on each connection; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, act), daemon=True)
        thread.start()
        yield listener.getsockname()[1]


def _serve(listener: socket.socket, act: t.Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError):  # it was closed
        while True:
            connection, _address = listener.accept()
            threading.Thread(target=_acted, args=(connection, act), daemon=True).start()


def _acted(connection: socket.socket, act: t.Callable[[socket.socket], None]) -> None:
    with connection, contextlib.suppress(OSError):  # the client went first
        act(connection)
