# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every field of the model, its check and its default; see docs/model.md; private to this collection."""

from __future__ import annotations

import datetime
import re
import typing as t

from ._entities import MODES, SYSTEMS, Limits, Through
from ._limits import FORMATS, KEY_TYPES, NAME_TYPES, clean_suite
from ._names import (
    NameRefused,
    account_name,
    authority_name,
    component_name,
    identity_name,
    kind_name,
    network,
    protocol_name,
    shown,
    unix_path,
)
from ._profile import PROFILES
from ._reader import (
    Check,
    Field,
    Reader,
    Table,
    choice,
    endpoint,
    flag,
    matching,
    named,
    nearest,
    nested,
    number,
    several,
    text,
)

#: Longer than this a leaf may live only with a reason (CA/Browser Forum BR 6.3.2 asks for 200 days at most).
LONGEST_LEAF_DAYS: t.Final = 199

_SUITE = re.compile(r"[A-Z0-9][A-Za-z0-9_-]{2,63}\Z")


def _host_reference(reader: Reader, value: t.Any, where: str) -> str:
    """Take the name as written; that it is a host is checked against the inventory, with the nearest name."""
    if not isinstance(value, str):
        raise NameRefused("%s: %s is not a host's name" % (where, shown(value)))
    return str(value)


def _endpoint_or_network(reader: Reader, value: t.Any, where: str) -> str:
    """Check an address of somebody else: desktops are known by their network."""
    if isinstance(value, str) and "/" in value:
        return network(value, where)
    return endpoint(reader, value, where)


def _suite(reader: Reader, value: t.Any, where: str) -> str:
    """Take any suite: what an old stack knows need not be in a profile."""
    if not isinstance(value, str) or not _SUITE.match(value):
        raise NameRefused("%s: %s is not a cipher suite's IANA or OpenSSL name" % (where, shown(value)))
    return clean_suite(value) or str(value)


def _date(reader: Reader, value: t.Any, where: str) -> str:
    try:
        return datetime.datetime.strptime(str(value), "%Y-%m-%d").date().isoformat()
    except ValueError as error:
        raise NameRefused("%s: %s is not a date like 2027-03-31" % (where, shown(value))) from error


def _trust_file(reader: Reader, value: t.Any, where: str) -> str:
    """Check a path on the controller: absolute, or from the inventory's folder on, which it may begin by leaving."""
    if isinstance(value, str) and not value.startswith("/"):
        up = re.match(r"(?:\.\./)*", value)
        start = up.group() if up else ""
        return start + unix_path("/" + value[len(start) :], where)[1:]
    return unix_path(value, where)


def _server(reader: Reader, value: t.Any, where: str) -> tuple[str, str]:
    """Check ``component.listener``; that both exist is checked later, with the nearest name."""
    if isinstance(value, str):
        component, dot, listener = value.partition(".")
        if dot and component and listener:
            return str(component), str(listener)
    raise NameRefused("%s: %s is not component.listener" % (where, shown(value)))


def _host_path(reader: Reader, value: t.Any, where: str) -> str:
    return unix_path(value, where)


#: The files of an identity that is on its hosts already, under the words that options have for them.
_FILES: t.Final[Table] = {
    name: Field(_host_path)
    for name in ("certificate", "chain", "fullchain", "key", "combined", "keystore", "keystore_password_file")
}


def _files(reader: Reader, value: t.Any, where: str) -> dict[str, str]:
    return {name: path for name, path in reader.record(value, _FILES, where).items() if path}


_IDENTITY_BY_USAGE: t.Final[Table] = {
    "server": Field(named(identity_name)),
    "client": Field(named(identity_name)),
}


def _identities(reader: Reader, value: t.Any, where: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Check identities by usage, or a list whose first one is presented in both usages."""
    if isinstance(value, (list, tuple)):
        names = several(named(identity_name), least=1)(reader, value, where)
        return ({"server": names[0], "client": names[0]} if names else {}), tuple(names[1:])
    read = reader.record(value, _IDENTITY_BY_USAGE, where)
    return {usage: name for usage, name in read.items() if name}, ()


def _known(names: t.Collection[str], what: str) -> Check:
    def check(reader: Reader, value: t.Any, where: str) -> str:
        if not isinstance(value, str) or value not in names:
            raise NameRefused("%s: there is no %s %s%s" % (where, what, shown(value), nearest(value, names)))
        return str(value)

    return check


LIMITS: t.Final[Table] = {
    "protocols": Field(several(choice("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"), least=1)),
    "key_types": Field(several(choice(*KEY_TYPES), least=1)),
    "suites": Field(several(_suite, least=1)),
    "formats": Field(several(choice(*FORMATS), least=1)),
    "names": Field(several(choice(*NAME_TYPES), least=1)),
    "common_name": Field(flag, False),
}
_LIMITS: t.Final = Field(nested(LIMITS, lambda read: Limits(**read)), Limits())

HOST: t.Final[Table] = {
    "os": Field(choice(*SYSTEMS)),
    "addresses": Field(several(endpoint, least=1), ()),
}
LISTENER: t.Final[Table] = {
    "port": Field(number(1, 65535), required=True),
    "protocol": Field(named(protocol_name), required=True),
    "secure_port": Field(number(1, 65535)),
    "mode": Field(choice(*MODES), "simple"),
    "transport": Field(choice("tcp", "udp"), "tcp"),
    "identity": Field(named(identity_name)),
    "limits": _LIMITS,
    "profile": Field(_known(PROFILES, "profile"), "intermediate"),
    "reason": Field(text(500)),
    "approver": Field(text(200)),
    "until": Field(_date),
}
_DAYS = "(?:(?:mon|tue|wed|thu|fri|sat|sun)(?:,(?:mon|tue|wed|thu|fri|sat|sun))* )?"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
COMPONENT: t.Final[Table] = {
    "kind": Field(named(kind_name), required=True),
    "hosts": Field(several(_host_reference), ()),
    "listeners": Field(lambda reader, value, where: value, {}),  # read entry by entry, see _model
    "managed": Field(flag, True),
    "relation": Field(choice("internal", "third_party"), "internal"),
    "account": Field(named(account_name)),
    "addresses": Field(several(_endpoint_or_network, least=1), ()),
    "trust_file": Field(_trust_file),
    "owner": Field(text(200)),
    "version": Field(text(100)),
    "limits": _LIMITS,
    "identities": Field(_identities, ({}, ())),
    "window": Field(matching(_DAYS + _TIME + "-" + _TIME, "a window like 22:00-04:00 or sat,sun 22:00-04:00 (UTC)")),
}
_THROUGH: t.Final[Table] = {
    "component": Field(named(component_name), required=True),
    "does": Field(choice("pass", "terminate"), required=True),
}
CONNECTION: t.Final[Table] = {
    "client": Field(named(component_name), required=True),
    "server": Field(_server, required=True),
    "wave": Field(number(1, 9999), 1),
    "dial": Field(endpoint),
    "through": Field(several(nested(_THROUGH, lambda read: Through(**read)), least=1), ()),
    "link": Field(flag),
    "dormant": Field(choice("standby", "scheduled", "rare")),
    "drill": Field(text(100)),
    "secure": Field(flag, True),
    "reason": Field(text(500)),
    "approver": Field(text(200)),
    "until": Field(_date),
}
IDENTITY: t.Final[Table] = {
    "issuer": Field(choice("own", "requested", "installed"), "own"),
    "key_at": Field(choice("controller", "host"), "controller"),
    "authority": Field(named(authority_name)),
    "usages": Field(several(choice("server", "client"), least=1)),
    "names": Field(several(endpoint), ()),
    "files": Field(_files, {}),
}
AUTHORITY: t.Final[Table] = {
    # X.520 allows an organizationName of 64 characters
    "organization": Field(text(64), ""),
    # 9132 days are the most that the CA/Browser Forum allows a root
    "root_days": Field(number(2, 9132), 3652),
    "issuing_days": Field(number(1, 9132), 1826),
    "leaf_days": Field(number(1, 3652), 90),
    "days_reason": Field(text(500), ""),
    "key_type": Field(choice("ec-p384", "rsa-4096"), "ec-p384"),
    "trust_file": Field(_trust_file),
}
DOCUMENT: t.Final = ("plugin", "model", "hosts", "components", "connections", "identities", "authorities")
