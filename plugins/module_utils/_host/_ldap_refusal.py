# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directory servers that complete a handshake and hang up on its client; private to this collection.

slapd built with GnuTLS, as Debian has it, checks what a client presented once the handshake is done, and closes without
an alert where it does not like it (tlsg_session_accept in libraries/libldap/tls_g.c). A bind as nobody tells: whatever
comes of that, one who is let in is answered.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

from ._dial import Deadline

_SECONDS = 2.0
#: RFC 4511, 4.2: message 1, a bind of version 3, nobody, no password.
BIND = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"


def refusal(secure: ssl.SSLSocket, deadline: Deadline) -> str | None:
    """Return in which words a directory server refused this connection's client; None if it did not.

    Args:
        secure: a connection whose handshake is done.
        deadline: when to give up.
    """
    answer = b""
    with contextlib.suppress(OSError, ValueError):
        within = Deadline(min(_SECONDS, deadline.left()))
        within.arm(secure)
        try:
            secure.sendall(BIND)
            answer = secure.recv(16)
        except socket.timeout:
            return None
    return None if answer else "it closes the connection after the handshake"
