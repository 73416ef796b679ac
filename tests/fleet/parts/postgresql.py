# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The beginning of PostgreSQL's protocol (its documentation, chapter "Message Formats"): TLS on demand, and a login."""

from __future__ import annotations

import struct
import typing as t

SSL_REQUEST: t.Final = struct.pack("!II", 8, 80877103)
YES: t.Final = b"S"
NO: t.Final = b"N"
#: AuthenticationOk.
LET_IN: t.Final = struct.pack("!cII", b"R", 8, 0)

_VERSION_3: t.Final = 196608
_STARTUP_LIMIT: t.Final = 10000


class NotPostgresql(Exception):
    """What came is not what PostgreSQL's protocol has at this place."""


def startup(user: str) -> bytes:
    """Return the StartupMessage of a client."""
    words = b"".join(word.encode() + b"\0" for word in ("user", user, "database", "crm")) + b"\0"
    return struct.pack("!II", len(words) + 8, _VERSION_3) + words


def take_first(data: bytes) -> tuple[bytes, bytes] | None:
    """Return the first message of a client, which has no type, and what follows it; None until it is complete.

    Raises:
        NotPostgresql: it is neither SSLRequest nor StartupMessage.
    """
    if len(data) < 8:
        return None
    length, code = struct.unpack("!II", data[:8])
    if not 8 <= length <= _STARTUP_LIMIT or (data[:8] != SSL_REQUEST and code != _VERSION_3):
        raise NotPostgresql("neither SSLRequest nor StartupMessage")
    return (data[:length], data[length:]) if len(data) >= length else None


def user_of(message: bytes) -> str:
    """Return who a StartupMessage says that it is."""
    words = message[8:].split(b"\0")
    names = dict(zip(words[::2], words[1::2], strict=False))
    return names.get(b"user", b"").decode("utf-8", "replace")


def refusal(text: str) -> bytes:
    """Return an ErrorResponse that says that pg_hba.conf has no line for this client."""
    fields = b"".join(
        code + value.encode() + b"\0"
        for code, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", "28000"), (b"M", text))
    )
    return struct.pack("!cI", b"E", len(fields) + 5) + fields + b"\0"
