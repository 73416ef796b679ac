# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of loopback for servers that a test starts."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import typing as t

ADDRESS: t.Final = "127.0.0.1"
#: Below the ports that the kernel gives to whoever dials (32768 and up): one that is free stays so until its server
#: opens it. Each worker of pytest has ports of its own.
_FIRST: t.Final = 20000 + 3000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4)
_PORTS: t.Final = itertools.cycle((_FIRST + (os.getpid() * 7 + at) % 3000) for at in range(3000))


def free_port() -> int:
    """Return a port of loopback that nobody listens on; the next call returns another."""
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind((ADDRESS, port))
            return port
    raise AssertionError("ports do not end")
