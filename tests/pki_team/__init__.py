# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PKI team with nothing but openssl: a root, an issuing authority, and what it makes of requests."""

from __future__ import annotations

import subprocess
from pathlib import Path


def openssl(*arguments: object, data: str | None = None) -> str:
    """Run openssl and return what it says."""
    argv = ["openssl", *(str(each) for each in arguments)]
    done = subprocess.run(argv, input=data, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout


class Team:
    """A team with an authority of two steps."""

    def __init__(self, folder: Path, name: str = "corporate") -> None:
        self.folder = folder
        folder.mkdir()
        self.root, self.issuing = folder / "root.pem", folder / "issuing.pem"
        self._authority("root", "/O=Example/CN=%s root" % name, signer=None)
        self._authority("issuing", "/O=Example/CN=%s issuing" % name, signer="root")

    def _authority(self, part: str, subject: str, *, signer: str | None) -> None:
        key, csr, out = (self.folder / (part + end) for end in (".key", ".csr", ".pem"))
        curve = ["-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("req", "-new", "-newkey", "ec", *curve, "-nodes", "-keyout", key, "-out", csr, "-subj", subject)
        extensions = self.folder / (part + ".ext")
        extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
        by = ["-signkey", key] if signer is None else self._by(signer)
        openssl("x509", "-req", "-in", csr, *by, "-extfile", extensions, "-days", 3650, "-out", out)

    def _by(self, signer: str) -> list[object]:
        return ["-CA", self.folder / (signer + ".pem"), "-CAkey", self.folder / (signer + ".key"), "-CAcreateserial"]

    def sign(
        self,
        request: Path,
        *,
        names: str,
        usages: str,
        days: int = 90,
        more: str = "",
        subject: str = "/O=Example/CN=as they like it",
    ) -> str:
        """Return the certificate that the team makes of a request, with the subject and extensions that it sees fit."""
        extensions, out = self.folder / "leaf.ext", self.folder / "leaf.pem"
        rows = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", more]
        rows += ["subjectAltName=" + names, "extendedKeyUsage=" + usages]
        extensions.write_text("\n".join(rows) + "\n")
        openssl(
            "x509", "-req", "-in", request, *self._by("issuing"), "-extfile", extensions, "-days", days, "-out", out,
            "-subj", subject,
        )  # fmt: skip
        return out.read_text()

    def other_request(self) -> Path:
        """Return a request for a key of somebody else."""
        csr = self.folder / "other.csr"
        curve = ["-pkeyopt", "ec_paramgen_curve:P-256"]
        key = self.folder / "other.key"
        openssl("req", "-new", "-newkey", "ec", *curve, "-nodes", "-keyout", key, "-out", csr, "-subj", "/CN=other")
        return csr
