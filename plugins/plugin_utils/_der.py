# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DER where cryptography has no builder for it: sequences put together and taken apart; private to this collection."""

from __future__ import annotations

import typing as t


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of values that are DER already."""
    return _tagged(0x30, b"".join(parts))


def octets(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return _tagged(0x04, content)


def parts_of(der: bytes) -> list[bytes]:
    """Return the values of a SEQUENCE that we made or had made, in order and still DER."""
    _header, content = _split(der)
    return list(_values(content))


def _tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def _values(content: bytes) -> t.Iterator[bytes]:
    while content:
        header, inner = _split(content)
        yield header + inner
        content = content[len(header) + len(inner) :]


def _split(der: bytes) -> tuple[bytes, bytes]:
    """Return the first value's tag with its length, and its content (X.690, 8.1.3)."""
    start, length = 2, der[1]
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return der[:start], der[start : start + length]
