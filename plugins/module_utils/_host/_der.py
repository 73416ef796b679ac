# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a certificate what evidence names, with the standard library alone; private to this collection.

Python's ``ssl`` tells nothing about a certificate that it did not verify, and those are the ones that a gate has to
name. This reader takes serial, issuer, subject, validity and subjectAltName out of DER and checks nothing else.
"""

from __future__ import annotations

import calendar
import hashlib
import socket
import typing as t
from dataclasses import dataclass

from .._core._errors import TlsError

#: Larger certificates exist only to do harm (a post-quantum leaf has about 6 KiB).
SIZE_LIMIT: t.Final = 64 * 1024

_COMMON_NAME: t.Final = bytes.fromhex("550403")
_ORGANIZATION: t.Final = bytes.fromhex("55040a")
_SUBJECT_ALT_NAME: t.Final = bytes.fromhex("551d11")
_BASIC_CONSTRAINTS: t.Final = bytes.fromhex("551d13")

_SEQUENCE: t.Final = 0x30
_TRUE: t.Final = (0x01, b"\xff")
_INTEGER: t.Final = 0x02
_OCTETS: t.Final = 0x04
_OID: t.Final = 0x06
_VERSION: t.Final = 0xA0
_EXTENSIONS: t.Final = 0xA3
_DNS_NAME: t.Final = 0x82
_IP_ADDRESS: t.Final = 0x87

#: How the string types of a name are encoded; an unknown one is shown as Latin-1.
_CHARACTERS: t.Final[t.Mapping[int, str]] = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x16: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}

_Field = t.Tuple[int, bytes]


class DerError(TlsError):
    """The bytes are not a certificate that can be read."""


@dataclass(frozen=True)
class Certificate:
    """What evidence says about a certificate.

    Attributes:
        serial: the serial number, lower-case hexadecimal without leading zeros.
        issuer: the issuer's common name, else its organization.
        subject: the subject's common name, else its organization.
        not_before: seconds since 1970.
        not_after: seconds since 1970.
        names: the DNS names and IP addresses of subjectAltName, in its order.
        sha256: fingerprint of the whole certificate.
    """

    serial: str
    issuer: str
    subject: str
    not_before: int
    not_after: int
    names: tuple[str, ...]
    sha256: str


def read_certificate(der: bytes) -> Certificate:
    """Return what ``der`` says.

    Raises:
        DerError: it is too large, cut off, or not a certificate.
    """
    if len(der) > SIZE_LIMIT:
        raise DerError("a certificate of %d bytes is not read; the limit is %d" % (len(der), SIZE_LIMIT))
    try:
        signed = _only(der, _SEQUENCE)
        fields = _fields(_take(_fields(signed), 0, _SEQUENCE))
        at = 1 if fields and fields[0][0] == _VERSION else 0
        validity = _fields(_take(fields, at + 3, _SEQUENCE))
        serial = int.from_bytes(_take(fields, at, _INTEGER), "big", signed=True)
        return Certificate(
            serial="%x" % serial,
            issuer=_name(_take(fields, at + 2, _SEQUENCE)),
            subject=_name(_take(fields, at + 4, _SEQUENCE)),
            not_before=_time(*validity[0]),
            not_after=_time(*validity[1]),
            names=_alternative_names(fields),
            sha256=hashlib.sha256(der).hexdigest(),
        )
    except (IndexError, ValueError, OverflowError) as error:
        raise DerError("these %d bytes are not a certificate: %s" % (len(der), error)) from error


def is_authority(der: bytes) -> bool:
    """Return whether a certificate that could be read says that its owner may sign others (RFC 5280, 4.2.1.9).

    A self-signed one of version 1 may: it has no place to say so, and libraries take it for an anchor all the same.
    """
    fields = _fields(_take(_fields(_only(der, _SEQUENCE)), 0, _SEQUENCE))
    if not fields or fields[0][0] != _VERSION:
        return _take(fields, 2, _SEQUENCE) == _take(fields, 4, _SEQUENCE)
    return _TRUE in (_extension(fields, _BASIC_CONSTRAINTS) or ())


def key_of_request(der: bytes) -> bytes:
    """Return the public key, as SubjectPublicKeyInfo, of a certificate request.

    Raises:
        DerError: it is too large, cut off, or not a request.
    """
    if len(der) > SIZE_LIMIT:
        raise DerError("a request of %d bytes is not read; the limit is %d" % (len(der), SIZE_LIMIT))
    try:
        about = _take(_fields(_only(der, _SEQUENCE)), 0, _SEQUENCE)
        _version, _content, subject = _field(about, 0)
        _subject, _content, start = _field(about, subject)
        tag, _content, end = _field(about, start)
    except IndexError as error:
        raise DerError("these %d bytes are not a certificate request" % len(der)) from error
    if tag != _SEQUENCE:
        raise DerError("the certificate request has no public key")
    return about[start:end]


def _field(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Return the tag, the content and the end of the field that begins at ``at``."""
    tag, length, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise DerError("a certificate has no tags of several bytes, but one stands at byte %d" % at)
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 3:
            raise DerError("the length at byte %d is not one of a certificate" % (at + 1))
        start += size
        length = int.from_bytes(data[at + 2 : start], "big")
    if start + length > len(data):
        raise DerError("the field at byte %d is cut off" % at)
    return tag, data[start : start + length], start + length


def _fields(data: bytes) -> list[_Field]:
    found, at = [], 0
    while at < len(data):
        tag, content, at = _field(data, at)
        found.append((tag, content))
    return found


def _only(data: bytes, tag: int) -> bytes:
    found, content, end = _field(data, 0)
    if found != tag or end != len(data):
        raise DerError("these %d bytes are not one certificate" % len(data))
    return content


def _take(fields: t.Sequence[_Field], index: int, tag: int) -> bytes:
    if fields[index][0] != tag:
        raise DerError("field %d of the certificate has tag %#x, not %#x" % (index, fields[index][0], tag))
    return fields[index][1]


def _name(data: bytes) -> str:
    """Return the common name of a distinguished name, else its organization, else nothing."""
    found: dict[bytes, str] = {}
    for _unused, relative in _fields(data):
        for _unused, attribute in _fields(relative):
            kind, value = _fields(attribute)[:2]
            found[kind[1]] = value[1].decode(_CHARACTERS.get(value[0], "latin-1"), "replace")
    return found.get(_COMMON_NAME) or found.get(_ORGANIZATION) or ""


def _time(tag: int, content: bytes) -> int:
    digits = content.decode("ascii")
    if tag == 0x17:  # UTCTime; RFC 5280, 4.1.2.5.1: 50 and later is the last century
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    if len(digits) != 15 or not digits[:14].isdigit() or digits[14] != "Z":
        raise DerError("%r is not a time of a certificate" % content)
    year, parts = int(digits[:4]), [int(digits[i : i + 2]) for i in range(4, 14, 2)]
    month, day, hour, minute, second = parts
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60 and year):
        raise DerError("%r is not a time of a certificate" % content)
    return calendar.timegm((year, month, day, hour, minute, second))


def _extension(fields: t.Sequence[_Field], oid: bytes) -> list[_Field] | None:
    """Return what stands in one extension, which is a sequence; None if the certificate has none of that kind."""
    for tag, content in fields:
        if tag != _EXTENSIONS:
            continue
        for _unused, extension in _fields(_only(content, _SEQUENCE)):
            parts = _fields(extension)
            if parts[0] == (_OID, oid):
                return _fields(_only(_take(parts, len(parts) - 1, _OCTETS), _SEQUENCE))
    return None


def _alternative_names(fields: t.Sequence[_Field]) -> tuple[str, ...]:
    names = _extension(fields, _SUBJECT_ALT_NAME) or ()
    return tuple(name for name in (_alternative_name(*entry) for entry in names) if name)


def _alternative_name(tag: int, content: bytes) -> str | None:
    if tag == _DNS_NAME:
        return content.decode("ascii", "backslashreplace")
    if tag == _IP_ADDRESS and len(content) in (4, 16):
        return socket.inet_ntop(socket.AF_INET if len(content) == 4 else socket.AF_INET6, content)
    return None
