# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates SQL Server can serve with; private to this collection.

Source: Microsoft, "Certificate requirements for SQL Server". A certificate that does not fit is passed over in silence
at the start, and SQL Server makes one of its own, or with forced encryption does not start. So it is said before.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ._errors import TlsError

SERVER_AUTH: t.Final = "1.3.6.1.5.5.7.3.1"
#: SQL Server 2019, the first that looks for its name in subjectAltName, by the number in the identifier of an instance.
_READS_SAN: t.Final = 15
_IDENTIFIER: t.Final = re.compile(r"MSSQL(\d+)(?:_\d+)?\.(.+)", re.I)


class InstanceUnknown(TlsError):
    """What the registry says of an instance is not understood."""


@dataclass(frozen=True)
class Certificate:
    """What SQL Server looks at in a certificate.

    Attributes:
        key: ``rsa`` or ``ecdsa``.
        common_name: of the subject.
        names: the DNS names of subjectAltName.
        usages: the object identifiers of extendedKeyUsage; None without that extension.
        encipherment: whether keyUsage allows keyEncipherment; None without that extension.
    """

    key: str
    common_name: str
    names: tuple[str, ...]
    usages: frozenset[str] | None
    encipherment: bool | None


@dataclass(frozen=True)
class Instance:
    """An instance of SQL Server on one host.

    Attributes:
        name: as clients know it, ``MSSQLSERVER`` for the default one.
        version: the number in its identifier, 13 for 2016 to 16 for 2022.
        cluster: the virtual name of the failover cluster that it belongs to; None where it stands alone.
    """

    name: str
    version: int
    cluster: str | None = None


def read_instance(name: str, row: t.Mapping[str, t.Any]) -> Instance:
    """Return the instance that ``win_mssql_tls`` showed.

    Raises:
        InstanceUnknown: its identifier is not like those of SQL Server.
    """
    found = _IDENTIFIER.fullmatch(str(row["id"]))
    if found is None:
        raise InstanceUnknown(
            "the instance %s has the identifier %r, which has no version of SQL Server" % (name, row["id"])
        )
    return Instance(name, int(found[1]), row["cluster"] or None)


def dialled(instance: Instance, host: str, domain: str) -> str:
    """Return the name that a certificate has to hold: the cluster's where there is one, on every node of it."""
    name = (instance.cluster or host).split(".")[0]
    return ("%s.%s" % (name, domain) if domain else name).lower()


def unfit(certificate: Certificate, instance: Instance, name: str) -> str | None:
    """Return in one sentence why SQL Server would not serve with a certificate; None if it would.

    Args:
        certificate: what it looks at.
        instance: which one.
        name: the name that clients dial, from :func:`dialled`.
    """
    what = "SQL Server's instance %s" % instance.name
    if certificate.key != "rsa":
        return "%s needs an RSA key, and this one is %s" % (what, certificate.key.upper())
    if certificate.encipherment is False:
        return "%s needs a key for key exchange, and keyUsage does not allow keyEncipherment" % what
    if certificate.usages is None or SERVER_AUTH not in certificate.usages:
        return "%s needs extendedKeyUsage with server authentication" % what
    common = certificate.common_name.lower()
    if common == name.lower():
        return None
    if instance.version < _READS_SAN:
        return "%s is older than 2019 and looks at the common name alone, which is %s and not %s" % (
            what,
            certificate.common_name or "empty",
            name,
        )
    if name.lower() not in [each.lower() for each in certificate.names]:
        return "%s needs %s as common name or in subjectAltName%s" % (
            what,
            name,
            ", on every node of its cluster" if instance.cluster else "",
        )
    return None
