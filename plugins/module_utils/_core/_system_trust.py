# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where families of systems keep the CA certificates that an administrator adds, and what has to change; private."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._anchor import Anchor, name_in, target_of, tells
from ._change import Change
from ._errors import TlsError

State = t.Literal["present", "absent"]

#: What a file of an anchor is given.
MODE: t.Final = 0o644


@dataclass(frozen=True)
class TrustStore:
    """How a system takes in the anchors of its administrator.

    Attributes:
        family: what it is called.
        anchors: the folder with one file an anchor.
        ending: how their names end; other files of the folder may be passed over.
        refresh: the command that makes the list anew.
        refresh_removed: the same after a file was removed.
        bundle: the list that the command makes, and that programs read.
        others: folders from which others' certificates come into the list, in whatever files.
        package: what brings the command.
        once: whether a certificate may lie among the anchors only once, so that no file of ours may say the same as
            another.
    """

    family: str
    anchors: str
    ending: str
    refresh: tuple[str, ...]
    refresh_removed: tuple[str, ...]
    bundle: str
    others: tuple[str, ...] = ()
    package: str = "the package that has it"
    once: bool = False


#: Family: what its systems call themselves (ID or ID_LIKE of os-release; AIX and Solaris by uname), and its store.
FAMILIES: t.Final[t.Mapping[tuple[str, ...], TrustStore]] = {
    # update-ca-certificates.8 of Debian: one certificate a file, *.crt only; without --fresh the link to a file that is
    # gone stays in /etc/ssl/certs.
    ("debian", "ubuntu"): TrustStore(
        family="debian",
        anchors="/usr/local/share/ca-certificates",
        ending=".crt",
        refresh=("update-ca-certificates",),
        refresh_removed=("update-ca-certificates", "--fresh"),
        bundle="/etc/ssl/certs/ca-certificates.crt",
        others=("/usr/share/ca-certificates",),
        package="ca-certificates",
    ),
    # update-ca-trust.8 of Fedora: files of any name; p11-kit makes all lists anew, and only authorities get into them.
    ("rhel", "fedora", "centos"): TrustStore(
        family="redhat",
        anchors="/etc/pki/ca-trust/source/anchors",
        ending=".pem",
        refresh=("update-ca-trust", "extract"),
        refresh_removed=("update-ca-trust", "extract"),
        bundle="/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        others=("/usr/share/pki/ca-trust-source", "/etc/pki/ca-trust/source"),
        package="ca-certificates",
    ),
    # etc_ssl.run and certbundle.run of openSUSE/ca-certificates: p11-kit makes the folder anew at each call, and the
    # list after it; /etc/ssl/ca-bundle.pem is a link to the list.
    ("suse", "opensuse", "sles"): TrustStore(
        family="suse",
        anchors="/etc/pki/trust/anchors",
        ending=".pem",
        refresh=("update-ca-certificates",),
        refresh_removed=("update-ca-certificates",),
        bundle="/var/lib/ca-certificates/ca-bundle.pem",
        others=("/usr/share/pki/trust", "/etc/pki/trust"),
        package="ca-certificates",
    ),
    # update-ca.c of alpine/ca-certificates: one certificate a file; it takes no options, and drops the links to files
    # that are gone by itself.
    ("alpine",): TrustStore(
        family="alpine",
        anchors="/usr/local/share/ca-certificates",
        ending=".crt",
        refresh=("update-ca-certificates",),
        refresh_removed=("update-ca-certificates",),
        bundle="/etc/ssl/certs/ca-certificates.crt",
        others=("/usr/share/ca-certificates",),
        package="ca-certificates",
    ),
    # ca-certificates (since 2020.2.41) and p11-kit for AIX, by the spec files that BullFreeware publishes; the AIX
    # Toolbox's package has the same places. p11-kit reads one trust path, of which only what lies in `anchors` is
    # trusted as it is; update-ca-bundles makes all lists anew. OpenSSL of AIX' own filesets has /var/ssl as its folder,
    # and cert.pem there is a link to the list.
    ("aix",): TrustStore(
        family="aix",
        anchors="/opt/freeware/share/pki/ca-trust-source/anchors",
        ending=".pem",
        refresh=("/opt/freeware/bin/update-ca-bundles",),
        refresh_removed=("/opt/freeware/bin/update-ca-bundles",),
        bundle="/var/ssl/cert.pem",
        others=("/opt/freeware/share/pki/ca-trust-source",),
        package="ca-certificates of the AIX Toolbox (2020.2.41 or newer)",
    ),
    # Oracle, "Using a Custom Certificate Authority Certificate" (Packaging and Delivering Software With IPS): files of
    # the folder itself, no certificate twice, and a refresh of the service. svcadm.8 since 11.2: -s returns when the
    # refresh method has ended.
    ("solaris",): TrustStore(
        family="solaris",
        anchors="/etc/certs/CA",
        ending=".pem",
        refresh=("/usr/sbin/svcadm", "refresh", "-s", "svc:/system/ca-certificates:default"),
        refresh_removed=("/usr/sbin/svcadm", "refresh", "-s", "svc:/system/ca-certificates:default"),
        bundle="/etc/certs/ca-certificates.crt",
        package="Solaris 11.2 or newer, with pkg:/crypto/ca-certificates",
        once=True,
    ),
}


def store_of(os_release: str | None, *, system: str = "linux") -> TrustStore:
    """Return the store of the system that describes itself so.

    Args:
        os_release: the text of /etc/os-release (os-release.5); None if there is none.
        system: ``aix`` or ``solaris`` where uname says so; newer Solaris has an os-release as well, AIX has none.

    Raises:
        TlsError: it is of no family that is known here.
    """
    fields = _fields(os_release or "") if system == "linux" else {"ID": system}
    names = [*fields.get("ID", "").split(), *fields.get("ID_LIKE", "").split()]
    for name in names:  # its own name first, then those that it is like, the closest first
        for known, store in FAMILIES.items():
            if name in known or name.partition("-")[0] in known:  # opensuse-leap, sles-...
                return store
    raise TlsError(
        "%s is of no family whose trust is known here (%s); say in the option store where its anchors lie"
        % (fields.get("PRETTY_NAME") or "this system", ", ".join(store.family for store in FAMILIES.values()))
    )


def _fields(text: str) -> dict[str, str]:
    rows = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _equals, value in rows}


@dataclass(frozen=True)
class FoundFile:
    """A file of ours among the anchors.

    Attributes:
        sha256: the fingerprint of the one certificate in it; None if something else stands there.
        is_as_written: whether its bytes and its mode are those that we give.
        shown: what a diff shows of it.
    """

    sha256: str | None
    is_as_written: bool
    shown: t.Any


def plan_system_trust(
    store: TrustStore,
    wanted: t.Sequence[Anchor],
    *,
    names: t.Collection[str],
    found: t.Mapping[str, FoundFile],
    bundle: t.Collection[str],
    unfinished: bool,
    elsewhere: t.Mapping[str, str] | None = None,
) -> list[Change]:
    """Return what makes the anchors of these names exactly the wanted ones.

    Args:
        store: where the system keeps them.
        wanted: what is to be trusted; none of a name that is to go.
        names: the names that this is about; anchors of other names stay.
        found: our files, by their names.
        bundle: the fingerprints in the list that programs read.
        unfinished: whether a refresh was begun and has not ended.
        elsewhere: files that are not about these names, by the fingerprint that they hold, where that matters.

    Raises:
        TlsError: a file with a name of ours does not hold what we put there, or the system would have one twice.
    """
    if store.once:
        _refuse_twice(wanted, elsewhere or {})
    files = {anchor.stem + store.ending: anchor for anchor in wanted}
    changes = [
        Change(anchor.target, None if seen is None else seen.shown, anchor.shown, reason)
        for file, anchor in files.items()
        for seen in [found.get(file)]
        for reason in [_why_written(anchor, seen, bundle)]
        if reason
    ]
    for file, seen in sorted(found.items()):
        stem = file[: -len(store.ending)]
        name = name_in(stem)
        if name is None or name not in names or file in files:
            continue
        if seen.sha256 is None or not tells(stem, seen.sha256):
            raise TlsError("%s is not the certificate that we put there; look at it, and remove it yourself" % file)
        stays = any(anchor.name == name for anchor in wanted)
        reason = "%s has other certificates now" % name if stays else "it is to be trusted no more"
        changes.append(Change(target_of(stem), seen.shown, None, reason))
    return changes or _refreshed(store, wanted, bundle, unfinished=unfinished)


def _refuse_twice(wanted: t.Sequence[Anchor], elsewhere: t.Mapping[str, str]) -> None:
    """Refuse a certificate that the system would have twice, where that is one time too many."""
    first: dict[str, str] = {}
    for anchor in wanted:
        other = elsewhere.get(anchor.sha256)
        if other is None and first.setdefault(anchor.sha256, anchor.name) != anchor.name:
            other = first[anchor.sha256]
        if other is not None:
            raise TlsError(
                "%s is trusted already by %s, and this system takes no certificate twice; leave it out"
                % (anchor.target, other)
            )


def _why_written(anchor: Anchor, seen: FoundFile | None, bundle: t.Collection[str]) -> str | None:
    """Return why an anchor's file has to be written; None if it is as it should be."""
    if seen is None:
        return "only others have the system trust it" if anchor.sha256 in bundle else "the system does not trust it"
    if seen.sha256 != anchor.sha256:
        return "its file holds something else"
    return None if seen.is_as_written else "its file is not as we wrote it"


def _refreshed(
    store: TrustStore, wanted: t.Sequence[Anchor], bundle: t.Collection[str], *, unfinished: bool
) -> list[Change]:
    """Return the refresh that is due though every file is as it should be."""
    lacking = sorted(anchor.target for anchor in wanted if anchor.sha256 not in bundle)
    if lacking:
        return [Change(store.bundle, None, {"trusted": lacking}, "it lacks %s" % ", ".join(lacking))]
    if unfinished:
        return [Change(store.bundle, None, {"refreshed": True}, "a refresh was begun and has not ended")]
    return []
