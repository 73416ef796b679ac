# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
r"""Probes of a look as ``win_handshake_info`` takes them; private to this collection.

Windows presents certificates of the machine's store, by their thumbprints. What a probe names as files of our own
folder is the certificate of an identity, whose thumbprint the installed generation holds.
"""

from __future__ import annotations

import typing as t

from ._errors import TlsError

Json = t.Dict[str, t.Any]
Asked = t.Mapping[str, t.Any]

#: What goes on as it is.
_PASSED: t.Final = (
    "id", "address", "port", "name", "tls", "protocol", "source", "trust", "timeout", "patience", "demand", "user",
    "database", "thumbprint", "machine_trust",
)  # fmt: skip
#: What SslStream, or its module, cannot be asked for.
_NOT_BUILT: t.Final[t.Mapping[str, str]] = {
    "answers": "a refusal behind the handshake is not read on Windows",
    "ciphers": "SslStream offers the ciphers of SChannel's policy",
    "foreign": "nothing foreign is presented from Windows",
    "old_protocols": "SslStream offers the versions of SChannel's policy",
    "pinned": "a chain has to end at a root on Windows",
    "protocols": "SslStream offers the versions of SChannel's policy",
}
_OURS: t.Final = ("certificate", "key", "prefer_source")


class ProbeRefused(TlsError):
    """A probe asks for what cannot be seen from Windows."""


def refuse_unseen(probes: t.Iterable[Asked]) -> None:
    """Refuse probes that cannot be made, before anything is asked.

    Raises:
        ProbeRefused: one of them asks for what is not there.
    """
    for probe in probes:
        name = probe.get("id")
        for what in sorted(set(probe) - {*_PASSED, *_OURS}):
            if what not in _NOT_BUILT:
                raise ProbeRefused("probe %s: a probe has no %r" % (name, what))
            if probe[what]:
                raise ProbeRefused("probe %s: %s; leave %s out" % (name, _NOT_BUILT[what], what))


def endpoints(probes: t.Iterable[Asked], instances: t.Mapping[str, Asked], addresses: t.Collection[str]) -> list[Json]:
    """Return the probes as the module takes them.

    Args:
        probes: as of a look.
        instances: manifests of installed generations, by the paths of their ``current``.
        addresses: the host's.

    Raises:
        ProbeRefused: a certificate is to be presented that is in no generation of ours.
    """
    return [_endpoint(probe, instances, addresses) for probe in probes]


def _endpoint(probe: Asked, instances: t.Mapping[str, Asked], addresses: t.Collection[str]) -> Json:
    found: Json = {name: probe[name] for name in _PASSED if probe.get(name) is not None}
    if probe.get("prefer_source") in addresses and "source" not in found:
        found["source"] = probe["prefer_source"]
    if probe.get("certificate"):
        found["thumbprint"] = _thumbprint(str(probe.get("id")), str(probe["certificate"]), instances)
    return found


def _thumbprint(name: str, path: str, instances: t.Mapping[str, Asked]) -> str:
    for current, manifest in instances.items():
        if path.lower().startswith(current.lower() + "\\"):
            folder = path[len(current) + 1 :].rpartition("\\")[0].replace("\\", "/")
            found = (manifest.get("thumbprints") or {}).get(folder)
            in_store = [["My", found]] if found else []
            if in_store and in_store[0] in [list(each) for each in manifest.get("stores") or ()]:
                return str(found)
            raise ProbeRefused("probe %s: %s is not in the machine's store; install the format store" % (name, path))
    raise ProbeRefused("probe %s: %s is no certificate of an installed generation; name its thumbprint" % (name, path))
