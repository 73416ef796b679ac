# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An entry of this host's directory, read and written as if it were a file of options; private to this collection.

slapd keeps its configuration in entries below cn=config, whose files nobody may edit, and takes changes over LDAP:
https://www.openldap.org/doc/admin25/slapdconfig.html. ``ldapi:///cn=config`` is such an entry: its text is LDIF, one
attribute a line; what differs is replaced in one operation, so that key and certificate change together. Who works on
the socket as root is known to slapd by that (SASL EXTERNAL).
"""

from __future__ import annotations

import subprocess
import typing as t

from .._core._errors import TlsError

SCHEME: t.Final = "ldapi:///"
_SECONDS: t.Final = 20.0
#: RFC 4511, 4.1.9: unwillingToPerform, with which slapd answers who takes all of TLS out.
_UNWILLING: t.Final = "(53)"
_ALIKE: t.Final = ("-Q", "-Y", "EXTERNAL", "-H", SCHEME)

#: The values of each attribute, as LDIF has them behind the name, by the name in small letters; and how it is written.
_Values = t.Dict[str, t.Tuple[str, t.List[str]]]


class EntryRefused(TlsError):
    """An entry cannot be read or changed."""


def read_entry(url: str) -> bytes:
    """Return an entry's attributes as LDIF, without those that the server keeps itself.

    Raises:
        EntryRefused: the server does not answer, or has no such entry.
    """
    name = url[len(SCHEME) :]
    said = _run(["ldapsearch", *_ALIKE, "-LLL", "-o", "ldif-wrap=no", "-s", "base", "-b", name], b"", "read", name)
    return canonical(said)


def canonical(data: bytes) -> bytes:
    """Return an entry's text in the order of its attributes' names: a server moves what it is given to the end."""
    lines = [line for line in data.splitlines() if line.strip()]
    head = [line for line in lines if line.startswith(b"dn:")]
    rest = [line for line in lines if not line.startswith(b"dn:")]
    return b"\n".join([*head, *sorted(rest, key=lambda line: line.partition(b":")[0].lower())]) + b"\n"


def write_entry(url: str, data: bytes) -> None:
    """Give an entry the attributes that a text has.

    Raises:
        EntryRefused: the server refuses it.
    """
    name = url[len(SCHEME) :]
    before, after = (_values(text.decode("utf-8", "surrogateescape")) for text in (read_entry(url), data))
    rows = ["dn: %s" % name, "changetype: modify"]
    for key in sorted({*before, *after}):
        old, new = before.get(key, (key, [])), after.get(key, (key, []))
        if old[1] != new[1]:
            attribute = (new if new[1] else old)[0]
            rows += ["replace: %s" % attribute, *("%s:%s" % (attribute, value) for value in new[1]), "-"]
    if len(rows) <= 2:
        return
    ldif = ("\n".join(rows) + "\n").encode("utf-8", "surrogateescape")
    try:
        _run(["ldapmodify", *_ALIKE], ldif, "changed", name)
    except EntryRefused as error:
        if _UNWILLING not in str(error):
            raise
        from ._ldap_rest import change_at_rest, daemon_of

        daemon = daemon_of(read_entry(SCHEME + "cn=config").decode("utf-8", "replace"))
        change_at_rest(daemon, ldif, lambda command, given: _run(command, given, "changed", name))


def _values(text: str) -> _Values:
    found: _Values = {}
    for line in text.splitlines():
        attribute, colon, value = line.partition(":")
        if colon and attribute not in ("dn", ""):
            found.setdefault(attribute.lower(), (attribute, []))[1].append(value)
    return found


def _run(command: t.Sequence[str], given: bytes, what: str, name: str) -> bytes:
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise EntryRefused("entry %s cannot be %s: %s" % (name, what, error)) from error
    if done.returncode != 0:
        says = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise EntryRefused("entry %s cannot be %s: %s" % (name, what, " / ".join(says[-2:]) or "it does not say why"))
    return done.stdout
