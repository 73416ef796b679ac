# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for the tests of looking."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t

import pytest

from .servers import Authority, Handler, Listening, Pki, accept


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    ours = Authority("connsec test CA", tmp_path_factory.mktemp("ours"))
    foreign = Authority("foreign CA", tmp_path_factory.mktemp("foreign"))
    return Pki(
        ours=ours,
        foreign=foreign,
        server=ours.issue("server", "server.example", "127.0.0.1", "::1"),
        client=ours.issue("client", "client.example"),
        stranger=foreign.issue("stranger", "client.example"),
    )


@pytest.fixture
def serve() -> t.Iterator[t.Callable[..., Listening]]:
    """Return a function that listens on loopback and gives each connection to a handler."""
    with contextlib.ExitStack() as stack:

        def start(handler: Handler, *, address: str = "127.0.0.1", port: int = 0) -> Listening:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(64)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            log: list[str] = []
            threading.Thread(target=accept, args=(listener, handler, log), daemon=True).start()
            return Listening(address, listener.getsockname()[1], log)

        yield start
