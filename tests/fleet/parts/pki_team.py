# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A team that has a CA of its own and signs what it is asked for, with plain `openssl` and nothing of the collection.

It plays those whom a fleet depends on: the company's PKI, and the partner's.
"""

from __future__ import annotations

import os
import re
import subprocess
import typing as t
from pathlib import Path

from . import FleetError

#: The extensions of what it signs; RFC 5280 wants the authority's key identifier, and `x509_strict` looks for it.
_LEAF: t.Final = """
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = %s
subjectAltName = %s
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
_CA: t.Final = (
    "basicConstraints=critical,CA:TRUE%s",
    "keyUsage=critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier=hash",
)
_KEY: t.Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_BOTH: t.Final = "serverAuth,clientAuth"


class TeamError(FleetError):
    """openssl refuses something; its words say what."""


class Team:
    """A root, an issuing authority, and whatever was signed."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    @property
    def root(self) -> Path:
        """The certificate that everybody may have."""
        return self._folder / "root.pem"

    @property
    def issuing(self) -> Path:
        """The certificate between the root and what is signed."""
        return self._folder / "issuing.pem"

    def found(self) -> None:
        """Make root and issuing authority, once."""
        if self.root.exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self._folder, 0o700)
        self._authority("root", "CA", days=1000)
        self._authority("issuing", "issuing CA", days=900, signer="root", more=",pathlen:0")

    def sign(self, request: Path, answer: Path, *, days: int = 60) -> None:
        """Answer a request with the names and usages that it asks for: the certificate, and the chain below the root.

        Raises:
            TeamError: it is no request, or its signature is not of its key.
        """
        text = _openssl("req", "-in", request, "-noout", "-text", "-verify")
        names = [each.replace("IP Address:", "IP:") for each in _extension(text, "Subject Alternative Name")]
        usages = _extension(text, "Extended Key Usage")
        words = ",".join(
            word for word, use in (("serverAuth", "Server"), ("clientAuth", "Client")) if use in str(usages)
        )
        critical = ["critical"] * ("Subject Alternative Name: critical" in text)
        self._sign(request, answer, names=",".join([*critical, *names]), usages=words or _BOTH, days=days)

    def issue(self, name: str, address: str, *, days: int = 60) -> tuple[Path, Path]:
        """Return a key and a certificate with its chain, made here for an address."""
        key, request, answer = (self._folder / (name + each) for each in (".key.pem", ".csr.pem", ".pem"))
        _openssl("req", "-new", *_KEY, "-subj", "/CN=" + address, "-keyout", key, "-out", request)
        self._sign(request, answer, names="IP:" + address, usages=_BOTH, days=days)
        return key, answer

    def _sign(self, request: Path, answer: Path, *, names: str, usages: str, days: int) -> None:
        extensions = self._folder / "extensions.cnf"
        extensions.write_text(_LEAF % (usages, names), encoding="ascii")
        signed = _openssl(
            *("x509", "-req", "-in", request, "-days", str(days), "-extfile", extensions),
            *("-CA", self.issuing, "-CAkey", self._folder / "issuing.key", "-CAcreateserial"),
        )
        answer.parent.mkdir(parents=True, exist_ok=True)
        answer.write_text(signed + self.issuing.read_text(encoding="ascii"), encoding="ascii")

    def _authority(self, file: str, words: str, *, days: int, signer: str | None = None, more: str = "") -> None:
        subject = "/O=%s/CN=%s %s" % (self._name, self._name, words)
        key, certificate = self._folder / (file + ".key"), self._folder / (file + ".pem")
        extensions = [word for each in _CA for word in ("-addext", each.replace("%s", more))]
        above = ["-CA", self._folder / (signer + ".pem"), "-CAkey", self._folder / (signer + ".key")] if signer else []
        _openssl(
            *("req", "-x509", *_KEY, "-subj", subject, "-days", str(days)),
            *(*extensions, *above, "-keyout", key, "-out", certificate),
        )


def _extension(text: str, name: str) -> list[str]:
    """Return the values of an extension, as openssl prints a request."""
    found = re.search(r"X509v3 %s:.*\n\s*(.+)" % re.escape(name), text)
    return [each.strip() for each in found.group(1).split(",")] if found else []


def _openssl(*words: str | Path) -> str:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TeamError("openssl %s: %s" % (words[0], done.stderr.strip()[-500:]))
    return done.stdout
