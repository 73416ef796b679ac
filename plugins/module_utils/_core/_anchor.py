# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An anchor, a CA certificate that a host is told to trust, and the names that ours have there; private."""

from __future__ import annotations

import base64
import hashlib
import re
import typing as t
from dataclasses import dataclass

from ._errors import TlsError
from ._names import authority_name

#: What the names of our files and aliases begin with: nothing else is ever removed.
OURS: t.Final = "connsec-"
#: How much of a fingerprint stands in a name: 64 bits tell the anchors of a host apart.
_TELLING: t.Final = 16

_PEM: t.Final = re.compile(r"^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n(.*?)^-----END \1-----", re.MULTILINE | re.DOTALL)
_NAMED: t.Final = re.compile(r"%s(?P<name>.+)-(?P<telling>[0-9a-f]{%d})" % (re.escape(OURS), _TELLING))


class AnchorRefused(TlsError):
    """What was given to be trusted is nothing that can be."""


@dataclass(frozen=True)
class Anchor:
    """A CA certificate that a host is to trust.

    Attributes:
        name: the name that it goes by: an authority, or whatever the user calls it.
        sha256: its fingerprint.
        pem: the certificate, as we write it.
        subject: whose it is.
        until: the day on which it ends.
    """

    name: str
    sha256: str
    pem: str
    subject: str
    until: str

    @property
    def stem(self) -> str:
        """What its file and its alias are called."""
        return "%s%s-%s" % (OURS, self.name, self.sha256[:_TELLING])

    @property
    def target(self) -> str:
        """What a change of it is called."""
        return target_of(self.stem)

    @property
    def shown(self) -> dict[str, str]:
        """What a diff shows of it."""
        return {"subject": self.subject, "sha256": self.sha256, "until": self.until}


def anchor_name(value: object, where: str) -> str:
    """Return a name that may stand in file names, by the rule that authorities have.

    Raises:
        NameRefused: it may not.
    """
    return authority_name(value, where)


def name_in(stem: str) -> str | None:
    """Return the name in what a file or an alias of ours is called; None if it is none of ours."""
    found = _NAMED.fullmatch(stem)
    return None if found is None else found.group("name")


def target_of(stem: str) -> str:
    """Return what a change of the anchor with this name of ours is called."""
    found = _NAMED.fullmatch(stem)
    return "anchor %s %s" % found.group("name", "telling") if found else "anchor " + stem


def tells(stem: str, sha256: str) -> bool:
    """Return whether a name of ours speaks of this fingerprint."""
    return stem.endswith("-" + sha256[:_TELLING])


def certificates_in(text: str, where: str) -> list[bytes]:
    """Return the certificates of a PEM text in DER, each once, in its order.

    Raises:
        AnchorRefused: there is none, or there is something else beside them.
    """
    found: dict[bytes, None] = {}
    for label, body in _PEM.findall(text):
        if "PRIVATE KEY" in label:
            raise AnchorRefused("%s holds a private key; give the certificate alone, for everybody may read it" % where)
        if label != "CERTIFICATE":
            raise AnchorRefused("%s holds a %s; give certificates (BEGIN CERTIFICATE) alone" % (where, label))
        found[_decoded(body, where)] = None
    if not found:
        raise AnchorRefused("%s holds no certificate; give one as PEM (BEGIN CERTIFICATE)" % where)
    return list(found)


def _decoded(body: str, where: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except ValueError:
        raise AnchorRefused("%s holds a certificate that is not whole: its body is not base64" % where) from None


def fingerprints_in(text: str) -> set[str]:
    """Return the fingerprints of whatever certificates stand in a list of others, however it is commented."""
    found = set()
    for label, body in _PEM.findall(text):
        if label == "CERTIFICATE":
            try:
                found.add(hashlib.sha256(base64.b64decode("".join(body.split()), validate=True)).hexdigest())
            except ValueError:
                continue  # that one is nobody's anchor
    return found


def pem_of(der: bytes) -> str:
    """Return a certificate as PEM, always the same."""
    body = base64.b64encode(der).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n" % "\n".join(lines)
