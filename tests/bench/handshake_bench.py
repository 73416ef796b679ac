# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many endpoints one core can look at in a second: verified handshakes, as handshake_info makes them.

The looking process is pinned to one core and the TLS server, a process of its own, to the others, where the system
allows that. Certificates are those of our own store: a P-256 leaf below two P-384 authorities. The best of several
batches counts, for noise only ever takes away; a look that is not verified ends the bench.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import ssl
import threading
import time
import typing as t
from multiprocessing.connection import Connection
from pathlib import Path

import stores

_NAME: t.Final = "server.example.net"
_SERVING_THREADS: t.Final = 8


def figures(work: Path, *, count: int = 200, repeats: int = 10) -> dict[str, float]:
    """Return `handshakes_per_second`."""
    stores.write_material(stores.issue(work / "store", {"server@host": _NAME}), "server@host", work)
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    server = processes.Process(target=_serve, args=(work, theirs), daemon=True)
    server.start()
    try:
        with processes.Pool(1) as looker:
            seconds = looker.apply(_look, (work, ours.recv(), count, repeats))
    finally:
        server.terminate()
        server.join()
    return {"handshakes_per_second": count / min(seconds)}


def _look(work: Path, port: int, count: int, repeats: int) -> list[float]:
    """Return the seconds of each batch of looks, on one core; the first batch is not counted."""
    from ansible_collections.connsec.tls.plugins.module_utils._host._handshake import look
    from ansible_collections.connsec.tls.plugins.module_utils._host._probe import parse_probe

    _pin(_cores()[:1])
    request = {"address": "127.0.0.1", "port": port, "name": _NAME, "trust": str(work / "trust.pem")}
    probes = [parse_probe({**request, "id": str(number)}) for number in range(count)]
    seconds = []
    for _unused in range(1 + repeats):
        begin = time.perf_counter()
        seen = look(probes)
        seconds.append(time.perf_counter() - begin)
        for row in seen.values():
            if not row["verified"]:
                raise RuntimeError("a look was not verified: %s" % row["reason"])
    return seconds[1:]


def _serve(work: Path, port: Connection) -> None:
    """Shake hands with everybody and close when they do, on the other cores."""
    _pin(_cores()[1:])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(work / "fullchain.pem", work / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    for _unused in range(_SERVING_THREADS):
        threading.Thread(target=_answer, args=(listener, context), daemon=True).start()
    port.send(listener.getsockname()[1])
    threading.Event().wait()


def _answer(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        sock, _address = listener.accept()
        with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as secure:
            secure.settimeout(5)
            secure.recv(1)  # until the other end says goodbye
            secure.unwrap()


def _cores() -> list[int]:
    """Return the cores that this process may use; nothing where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _pin(cores: t.Sequence[int]) -> None:
    """Stay on these cores; where there is none, wherever the system likes."""
    if cores:
        os.sched_setaffinity(0, cores)
