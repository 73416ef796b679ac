# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bindings of IIS: which can be had, and what to bind again when a certificate is renewed; private to this collection.

Sources, both of Microsoft: "Binding <binding>" of the IIS configuration reference, and "Secure Sockets Layer
Certificates" of HTTP Server API. HTTP.sys keeps one certificate for an address and a port, and with SNI one for a name
and a port. So two sites that share an address and a port without SNI share the certificate as well.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass, replace

from ._errors import TlsError

SNI: t.Final = 1
CENTRAL_STORE: t.Final = 2
#: Sni, CentralCertStore, DisableHTTP2, DisableOCSPStp, DisableQUIC, DisableTLS13 and DisableLegacyTLS together.
_ALL_FLAGS: t.Final = 127
_THUMBPRINT: t.Final = re.compile(r"[0-9A-F]{40}")
_HOST: t.Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9])?)*", re.I)


class BindingRefused(TlsError):
    """A binding cannot be had as asked."""


@dataclass(frozen=True)
class Binding:
    """A binding of a site.

    Attributes:
        site: the site's name.
        protocol: ``http`` or ``https``.
        ip: the address that it listens on, ``*`` for all.
        port: the port.
        host: the name that is asked for; empty for any.
        thumbprint: the certificate; None for what has none.
        store: the store of the machine that the certificate is in.
        ssl_flags: as ``applicationHost.config`` has them.
    """

    site: str
    protocol: str
    ip: str
    port: int
    host: str = ""
    thumbprint: str | None = None
    store: str = "My"
    ssl_flags: int = 0

    @property
    def information(self) -> str:
        """Where it listens, as IIS writes it."""
        return "%s:%d:%s" % (self.ip, self.port, self.host)

    def row(self, state: str = "present") -> dict[str, t.Any]:
        """Return it as ``win_iis_binding`` takes it."""
        return {
            "site": self.site,
            "protocol": self.protocol,
            "ip": self.ip,
            "port": self.port,
            "host": self.host,
            "state": state,
            "thumbprint": self.thumbprint,
            "store": self.store,
            "ssl_flags": self.ssl_flags,
        }


def read_binding(row: t.Mapping[str, t.Any]) -> Binding:
    """Return the binding that a row describes.

    Raises:
        BindingRefused: IIS cannot have it.
    """
    protocol = row.get("protocol") or "https"
    thumbprint = row.get("thumbprint")
    found = Binding(
        site=str(row["site"]),
        protocol=protocol,
        ip=str(row.get("ip") or "*"),
        port=int(row["port"]),
        host=str(row.get("host") or ""),
        thumbprint=str(thumbprint).replace(" ", "").upper() if thumbprint else None,
        store=str(row.get("store") or "My"),
        ssl_flags=int(row.get("ssl_flags") or 0),
    )
    why = _listening(found) or (_secured(found) if row.get("state") != "absent" else None)
    if why is not None:
        raise BindingRefused("the binding %s of the site %s %s" % (found.information, found.site, why))
    return found


def _listening(binding: Binding) -> str | None:
    if not 0 < binding.port < 65536:
        return "has a port that is no number from 1 to 65535"
    if binding.host and not _HOST.fullmatch(binding.host):
        return "has a host that is no DNS name"
    if binding.ip != "*":
        try:
            address = ipaddress.ip_address(binding.ip.strip("[]"))
        except ValueError:
            return "has an address that is neither * nor an IP address"
        if address.version == 6 and not binding.ip.startswith("["):
            return "has an address of IPv6 without brackets"
    return None


def _secured(binding: Binding) -> str | None:
    if binding.protocol == "http":
        return "is http and names a certificate" if binding.thumbprint or binding.ssl_flags else None
    if not 0 <= binding.ssl_flags <= _ALL_FLAGS:
        return "has ssl_flags that are no sum of 1, 2, 4, 8, 16, 32 and 64"
    if binding.ssl_flags & CENTRAL_STORE:
        return "takes its certificate from a central store, which is not ours to fill"
    if binding.thumbprint is None or not _THUMBPRINT.fullmatch(binding.thumbprint):
        return "needs the thumbprint of a certificate, 40 hexadecimal digits"
    if binding.ssl_flags & SNI and not binding.host:
        return "has SNI, and so needs a host"
    return None


def read_sites(sites: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]]) -> list[Binding]:
    """Return all bindings that ``win_iis_binding`` showed, of http and https."""
    return [
        Binding(**{key: row[key] for key in Binding.__dataclass_fields__})
        for rows in sites.values()
        for row in rows
        if row["protocol"] in ("http", "https")
    ]


def conflict(wanted: Binding, bindings: t.Iterable[Binding]) -> str | None:
    """Return in one sentence why a binding cannot stand beside others; None if it can."""
    for other in bindings:
        if (other.ip, other.port) != (wanted.ip, wanted.port) or other == wanted:
            continue
        if other.site == wanted.site and other.host.lower() == wanted.host.lower():
            if other.protocol != wanted.protocol:
                return "%s speaks %s on %s already" % (other.site, other.protocol, other.information)
            continue
        if other.protocol != wanted.protocol:
            return "port %d of %s is %s's, which speaks %s" % (other.port, other.ip, other.site, other.protocol)
        if other.host.lower() == wanted.host.lower():
            return "%s is bound to %s already" % (other.site, other.information)
        alone = not (other.ssl_flags & SNI or wanted.ssl_flags & SNI)
        if wanted.protocol == "https" and alone and other.thumbprint != wanted.thumbprint:
            return "%s shares %s:%d without SNI, and so the certificate as well" % (other.site, other.ip, other.port)
    return None


def rebound(bindings: t.Iterable[Binding], *, old: str, new: str) -> list[Binding]:
    """Return all bindings that an old certificate serves with the new one in its place: the old one may leave then."""
    return [replace(each, thumbprint=new.upper()) for each in bindings if (each.thumbprint or "") == old.upper()]


def clear(bindings: t.Iterable[Binding], site: str) -> list[Binding]:
    """Return a site's bindings in the clear, which leave when TLS is enforced.

    Raises:
        BindingRefused: nothing else would be left of the site.
    """
    own = [each for each in bindings if each.site == site]
    if not any(each.protocol == "https" for each in own):
        raise BindingRefused("the site %s has no https binding, so its bindings in the clear stay" % site)
    return [each for each in own if each.protocol == "http"]
