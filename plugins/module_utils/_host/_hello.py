# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ClientHello made by hand, and what the first bytes of an answer to it are; private to this collection.

The local OpenSSL may have lost the old protocol versions that a listener still accepts, so whether it does is asked
without OpenSSL. The same hello tells a listener that speaks TLS from one that does not, at no handshake's cost.
"""

from __future__ import annotations

import os
import struct
import typing as t

#: The versions as they stand in a hello.
VERSIONS: t.Final[t.Mapping[str, int]] = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303}

#: What any server of the last twenty years shares one of: ECDHE and DHE and RSA, AES-GCM, AES-CBC and 3DES.
_SUITES: t.Final = (
    0xC02B, 0xC02F, 0xC02C, 0xC030, 0xC00A, 0xC009, 0xC014, 0xC013, 0x0039, 0x0033, 0x009C, 0x0035, 0x002F,
    0xC008, 0xC012, 0x000A, 0x00FF,
)  # fmt: skip
_GROUPS: t.Final = (29, 23, 24, 25)
_SIGNATURES: t.Final = (0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501, 0x0203, 0x0201)

Answer = t.Literal["hello", "alert", "not_tls"]


def client_hello(version: str, *, name: str | None = None) -> bytes:
    """Return a record with a ClientHello that offers ``version`` at most.

    Args:
        version: a key of :data:`VERSIONS`.
        name: DNS name for servers that choose their certificate by it; None for an IP address.
    """
    extensions = [
        _extension(10, _list16(struct.pack("!%dH" % len(_GROUPS), *_GROUPS))),
        _extension(11, b"\x01\x00"),
        _extension(13, _list16(struct.pack("!%dH" % len(_SIGNATURES), *_SIGNATURES))),
    ]
    if name:
        encoded = name.encode("ascii", "replace")
        extensions.insert(0, _extension(0, _list16(b"\x00" + _list16(encoded))))
    body = b"".join(
        (
            struct.pack("!H", VERSIONS[version]),
            os.urandom(32),
            b"\x00",  # no session to resume
            _list16(struct.pack("!%dH" % len(_SUITES), *_SUITES)),
            b"\x01\x00",  # no compression
            _list16(b"".join(extensions)),
        )
    )
    handshake = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"\x16" + struct.pack("!HH", 0x0301, len(handshake)) + handshake


def answered(data: bytes) -> tuple[Answer, str | None]:
    """Return what the first bytes of an answer are, and the version of a ServerHello."""
    if len(data) >= 3 and data[1] == 3 and data[0] == 0x15:
        return "alert", None
    if len(data) >= 11 and data[1] == 3 and data[0] == 0x16 and data[5] == 0x02:
        chosen = int.from_bytes(data[9:11], "big")
        return "hello", next((name for name, number in VERSIONS.items() if number == chosen), None)
    return "not_tls", None


def _list16(content: bytes) -> bytes:
    return struct.pack("!H", len(content)) + content


def _extension(number: int, content: bytes) -> bytes:
    return struct.pack("!H", number) + _list16(content)
