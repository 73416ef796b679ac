# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How both systems make the list of CA certificates that their programs trust.

Sources: for AIX the spec files of ca-certificates (2021.2.48) and p11-kit (0.23.22) of BullFreeware, and p11-kit's
manual of its trust module: below a trust path, files of ``anchors`` are trusted as they are, others only as far as they
say so themselves, and folders below are not read. For Solaris "Using a Custom Certificate Authority Certificate" of
Oracle's manual of IPS: files of the folder itself, each a certificate, none of them twice.
"""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

from .host import Failed, Host, Usage

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
SOURCES = "opt/freeware/share/pki/ca-trust-source"
EXTRACTED = "opt/freeware/etc/ssl/certs/extracted/pem/tls-ca-bundle.pem"
CLASSIC = "opt/freeware/etc/ssl/certs/ca-bundle.crt"
ON_SOLARIS = "etc/certs/CA"


def update_ca_bundles(host: Host, arguments: t.Sequence[str]) -> str:
    """Make the lists of AIX anew, and the links that lead to them."""
    if arguments:
        raise Usage("update-ca-bundles takes no arguments, and would not look at them")
    sources = host.root / SOURCES
    found = []
    for file in sorted(each for each in sources.iterdir() if each.is_file()):
        objects = file.read_text().split("[p11-kit-object-v1]")[1:]
        found += [each for text in objects if "\ntrusted: true\n" in text for each in CERTIFICATE.findall(text)]
    for file in sorted(each for each in (sources / "anchors").iterdir() if each.is_file()):
        found += CERTIFICATE.findall(file.read_text(errors="replace"))
    _replace(host.root / EXTRACTED, "".join("# a comment\n" + each for each in dict.fromkeys(found)))
    said = ""
    folder = host.root / "var/ssl/certs"
    _link(host.root / CLASSIC, host.root / EXTRACTED)
    _link(host.root / "var/ssl/cert.pem", host.root / CLASSIC)
    _link(host.root / "var/ssl/64/cert.pem", host.root / "var/ssl/cert.pem")
    if folder.is_dir() and not folder.is_symlink():
        said = "/var/ssl/certs exists. Save it as /var/ssl/certs.orig.\n"
        folder.rename(folder.with_name("certs.orig"))
    _link(folder, host.root / "opt/freeware/etc/ssl/certs")
    return said


def ca_certificates(host: Host, arguments: t.Sequence[str]) -> str:
    """Make the list of Solaris anew: what svc:/system/ca-certificates does at its start and at a refresh."""
    if list(arguments) not in (["start"], ["refresh"]):
        raise Usage("the method ca-certificates is called with start or refresh")
    found: dict[str, Path] = {}
    for file in sorted((host.root / ON_SOLARIS).iterdir()):
        certificates = CERTIFICATE.findall(file.read_text(errors="replace")) if file.is_file() else []
        if len(certificates) != 1:
            raise Failed("%s is not a valid certificate file" % file.name)
        if certificates[0] in found:
            raise Failed("%s is a duplicate of %s" % (file.name, found[certificates[0]].name))
        found[certificates[0]] = file
    _replace(host.root / "etc/certs/ca-certificates.crt", "".join(found))
    return ""


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)


def _link(path: Path, target: Path) -> None:
    """Link as ``ln -sf`` does; a target of the twin's is one in its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
