# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names from outside, refused unless safe in certificates, paths and arguments; private to this collection.

Everything that becomes a subjectAltName, a part of a path or an argument passes one of these functions first. Each
takes the value and where it was found, and returns the clean value or raises :class:`NameRefused`.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import reprlib
import typing as t
import unicodedata

from ._errors import TlsError

#: Names of devices, which Windows takes for a file of any extension: ``con``, ``con.txt``.
RESERVED: t.Final = frozenset(
    ["aux", "con", "conin$", "conout$", "nul", "prn"]
    + ["%s%d" % (port, n) for port in ("com", "lpt") for n in range(10)]
)
#: The longest name that becomes one part of a path; file systems allow 255, and we append to it.
LONGEST_PART: t.Final = 200

_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
_IDENTITY = re.compile(r"(?!.*\.\.)(?!.*\.\Z)[a-z0-9][a-z0-9_.-]{0,62}\Z")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*\Z")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,62}(?:\.[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62})?\Z")
_ACCOUNT = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}\\)?[A-Za-z_][A-Za-z0-9._-]{0,62}\$?\Z")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\Z")


#: YAML's aliases can make a short file a value whose full text would fill the memory.
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 2

#: Without them some names in Persian or Sinhala cannot be written.
_JOINERS = "\u200c\u200d"


class NameRefused(TlsError):
    """A name that cannot be taken; the sentence says where it stands and what would be."""


def shown(value: object) -> str:
    """Return the value as a message may show it: quoted, on one line, and not too long."""
    text = repr(str(value[:100])) if isinstance(value, str) else _BRIEF.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _refusal(value: object, where: str, why: str) -> NameRefused:
    return NameRefused("%s: %s %s" % (where, shown(value), why))


def _text(value: object, where: str, what: str) -> str:
    if not isinstance(value, str):
        raise _refusal(value, where, "is not %s: it is written as text" % what)
    return str(value)


def _not_reserved(value: str, where: str) -> None:
    if value.split(".")[0].split("@")[0].lower() in RESERVED:
        raise _refusal(value, where, "is refused: Windows reserves it for a device")


def _word(value: object, where: str, what: str, pattern: t.Pattern[str], rule: str) -> str:
    text = _text(value, where, what)
    if not pattern.match(text):
        raise _refusal(value, where, "is not %s: %s" % (what, rule))
    _not_reserved(text, where)
    return text


_WORD_RULE = "lower-case letters, digits, _ and -, beginning with a letter or a digit, at most 63"


def component_name(value: object, where: str) -> str:
    """Return the name of a component; it becomes the folder of its material on hosts."""
    return _word(value, where, "a component's name", _WORD, _WORD_RULE)


def listener_name(value: object, where: str) -> str:
    """Return the name of a listener."""
    return _word(value, where, "a listener's name", _WORD, _WORD_RULE)


def authority_name(value: object, where: str) -> str:
    """Return the name of an authority; it becomes a folder of the store."""
    return _word(value, where, "an authority's name", _IDENTITY, _WORD_RULE.replace("_ and -", "_ . and -"))


def protocol_name(value: object, where: str) -> str:
    """Return the name of a payload protocol; it becomes part of a group's name."""
    return _word(value, where, "a protocol's name", _WORD, _WORD_RULE)


def kind_name(value: object, where: str) -> str:
    """Return the name of a kind: ``nginx``, or ``namespace.collection.nginx`` for a kind of another collection."""
    rule = "it is a role's name without kind_: lower-case letters, digits and _, or namespace.collection.name"
    return _word(value, where, "a kind's name", _KIND, rule)


def identity_name(value: object, where: str) -> str:
    """Return the name of an identity: a word, or ``component@host`` for an instance's own."""
    text = _text(value, where, "an identity's name")
    component, at, host = text.partition("@")
    if not at:
        return _word(text, where, "an identity's name", _IDENTITY, _WORD_RULE.replace("_ and -", "_ . and -"))
    component_name(component, where)
    host_name(host, where)
    return part_of_path(text, where)


def host_name(value: object, where: str) -> str:
    """Return an inventory name that may become a part of a path."""
    text = _text(value, where, "a host's name")
    if len(text) > 253:
        raise _refusal(value, where, "is refused: a host's name has at most 253 characters, and it has %d" % len(text))
    if not _HOST.match(text):
        rule = "letters, digits, . _ and -, beginning with a letter or a digit; give others a name and ansible_host"
        raise _refusal(value, where, "cannot name a host here: %s" % rule)
    for label in text.split("."):
        if not 1 <= len(label) <= 63:
            raise _refusal(value, where, "cannot name a host here: each part between dots has 1 to 63 characters")
    _not_reserved(text, where)
    return text


def folder_name(value: object, where: str = "folder") -> str:
    """Return a name that is safe as one part of a path on every system."""
    text = _text(value, where, "a folder's name")
    if not _FOLDER.match(text) or ".." in text or text.endswith("."):
        raise _refusal(value, where, "is not a folder's name: letters, digits, . _ @ and -, and neither .. nor / in it")
    _not_reserved(text, where)
    return part_of_path(text, where)


def part_of_path(value: str, where: str) -> str:
    """Return the name if it is short enough to be one part of a path."""
    if len(value) > LONGEST_PART:
        raise _refusal(
            value,
            where,
            "is refused: it becomes a file's name of at most %d characters, and has %d" % (LONGEST_PART, len(value)),
        )
    return value


def dns_name(value: object, where: str) -> str:
    """Return the DNS name in lower case; international names are A-labels by now."""
    text = _text(value, where, "a DNS name").lower()
    why = _why_no_dns_name(text)
    if why:
        raise _refusal(value, where, "is not a DNS name that can be dialled: %s" % why)
    return text


def _why_no_dns_name(text: str) -> str | None:
    if "*" in text:
        return "a wildcard cannot be dialled; name the host"
    if not text.isascii():
        return "it is not an A-label (xn--...)"
    if len(text) > 253:
        return "it has %d characters, and at most 253 are allowed" % len(text)
    if text.endswith("."):
        return "it ends with a dot; leave the dot out"
    if text in RESERVED:
        return "Windows reserves it for a device"
    labels = text.split(".")
    if labels[-1].isdigit() or re.match(r"0x[0-9a-f]*\Z", labels[-1]):
        return "its last part is a number, so it would be taken for an IP address"
    for label in labels:
        why = _why_no_label(label)
        if why:
            return why
    return None


def _why_no_label(label: str) -> str | None:
    if len(label) > 63:
        return "its part %s has %d characters, and at most 63 are allowed" % (shown(label), len(label))
    if not _LABEL.match(label):
        return "parts are letters, digits and inner hyphens, and %s is not" % shown(label)
    if label[2:4] == "--":
        return _why_no_a_label(label)
    return None


def _why_no_a_label(label: str) -> str | None:
    try:
        if not label.startswith("xn--"):
            raise ValueError("only xn-- may stand there")
        text = label[4:].encode("ascii").decode("punycode")
        if text.isascii() or text.encode("punycode").decode("ascii") != label[4:] or text != text.lower():
            raise ValueError("not the one way to write it")
        if any(unicodedata.category(letter)[0] in "CSZ" and letter not in _JOINERS for letter in text):
            raise ValueError("something else than letters, digits and marks")
    except (UnicodeError, ValueError, OverflowError):
        return "%s is not punycode" % shown(label)
    return None


def ip_address(value: object, where: str) -> str:
    """Return the IP address of one host, in its shortest form."""
    text = _text(value, where, "an IP address")
    try:
        # ipaddress of older Pythons takes leading zeros, which some programs read as octal
        address = ipaddress.ip_address(text) if ":" in text or _IPV4.match(text) else None
    except ValueError:
        address = None
    if address is None or "%" in text:
        raise _refusal(value, where, "is not an IP address like 192.0.2.10 or 2001:db8::10")
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped:
        raise _refusal(value, where, "is not dialled as such: write %s" % mapped)
    if address.is_unspecified or address.is_multicast or text == "255.255.255.255":
        raise _refusal(value, where, "is not the address of one host")
    return str(address)


def is_ip_address(text: str) -> bool:
    """Return whether a clean endpoint name is an IP address."""
    return ":" in text or bool(_IPV4.match(text))


def endpoint_name(value: object, where: str) -> str:
    """Return what somebody may dial and verify: a DNS name, or an IP address."""
    text = _text(value, where, "a DNS name or an IP address")
    if ":" in text or _IPV4.match(text):
        return ip_address(text, where)
    return dns_name(text, where)


def network(value: object, where: str) -> str:
    """Return a network like ``192.0.2.0/24`` in its shortest form."""
    text = _text(value, where, "a network")
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise _refusal(value, where, "is not a network like 192.0.2.0/24 (no host bits set)") from error


@functools.lru_cache(maxsize=4096)
def in_network(address: str, place: str) -> bool:
    """Return whether an IP address is the one, or in the network, that ``place`` is; it is in no DNS name."""
    if "/" not in place:
        return address == place
    return ipaddress.ip_address(address) in ipaddress.ip_network(place)


def unix_path(value: object, where: str) -> str:
    """Return an absolute path without ``..``, doubled slashes or control characters."""
    text = _text(value, where, "a path")
    if not text.startswith("/") or not text.isprintable() or len(text) > 4096:
        raise _refusal(value, where, "is not an absolute path of printable characters")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or any(len(part.encode()) > 255 for part in parts):
        raise _refusal(
            value, where, "is not a path that can be taken: no .. in it, and at most 255 bytes between slashes"
        )
    return "/" + "/".join(parts)


def account_name(value: object, where: str) -> str:
    r"""Return the name of an account: ``genesys``, ``svc$``, or ``DOMAIN\svc``."""
    rule = r"letters, digits, . _ and -, beginning with a letter or _; on Windows also DOMAIN\name and a $ at its end"
    text = _text(value, where, "an account")
    if not _ACCOUNT.match(text):
        raise _refusal(value, where, "is not an account: %s" % rule)
    return text
