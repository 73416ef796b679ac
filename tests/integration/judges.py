# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that we did not write, asked what they think of certificates and endpoints; empty if they find nothing.

`mozilla-6.0-intermediate.json` beside this file is Mozilla's guideline (guidelines/6.0.json of its configuration
generator), with the empty cipher lists that sslyze 6.3 wants.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

from .harness import ROOT

GUIDELINE: t.Final = Path(__file__).with_name("mozilla-6.0-intermediate.json")
SSLYZE: t.Final = ROOT / ".venv-sslyze" / "bin" / "python"


def said(argv: t.Sequence[str | Path], *, seconds: float = 120) -> tuple[int, str]:
    """Run a program and return its code and everything that it said."""
    done = subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )
    return done.returncode, done.stdout


def openssl_verify(material: Path, *, trust: Path, dialled: str, purpose: str) -> str:
    """Return what openssl has against a chain: strict about RFC 5280, with nothing of the system's own store."""
    name = ["-verify_ip", dialled] if re.fullmatch(r"[\d.]+", dialled) else ["-verify_hostname", dialled]
    argv: list[str | Path] = [
        "openssl",
        "verify",
        "-x509_strict",
        "-no-CAfile",
        "-no-CApath",
        "-purpose",
        purpose,
        *name,
    ]
    argv += ["-CAfile", trust, "-untrusted", material / "chain.pem", material / "certificate.pem"]
    code, text = said(argv)
    return "" if code == 0 else text


def certtool_verify(material: Path, *, trust: Path, dialled: str) -> str:
    """Return what GnuTLS has against a chain."""
    name = ["--verify-hostname", dialled]
    argv: list[str | Path] = ["certtool", "--verify", "--load-ca-certificate", trust, *name]
    code, text = said([*argv, "--infile", material / "fullchain.pem"])
    return "" if code == 0 and "Chain verification output: Verified" in text else text


def keytool_entries(store: Path, password: Path | None) -> list[str]:
    """Return the sort of each entry that Java finds in a PKCS#12 file."""
    argv: list[str | Path] = ["keytool", "-list", "-storetype", "PKCS12", "-keystore", store]
    argv += ["-storepass:file", password] if password else ["-storepass", "changeit"]
    code, text = said(argv)
    assert code == 0, text
    return re.findall(r"\b(PrivateKeyEntry|trustedCertEntry)\b", text)


def endpoint(address: str, port: int, at: str) -> str:
    """Return an endpoint as sslyze takes it: whom to ask for, and perhaps at which IP address."""
    return "%s:%d%s" % (address, port, "{%s}" % at if at else "")


def sslyze(address: str, port: int, *, root: Path, starttls: str | None = None, at: str = "") -> str:
    """Return what sslyze finds at an endpoint that Mozilla's intermediate guideline does not allow."""
    argv: list[str | Path] = [SSLYZE, "-m", "sslyze", "--custom_tls_config=%s" % GUIDELINE]
    argv += ["--certinfo_ca_file=%s" % root]
    if starttls is not None:
        argv += ["--starttls=%s" % starttls]
    code, text = said([*argv, endpoint(address, port, at)])
    return "" if code == 0 and "OK - Compliant" in text else text


#: The scans of sslyze by protocol version. Its scan for SSL 2 ends in an error where it presents a certificate, and
#: with it the whole comparison with a guideline.
_VERSIONS: t.Final = {
    "SSLv3": "ssl_3_0_cipher_suites",
    "TLSv1": "tls_1_0_cipher_suites",
    "TLSv1.1": "tls_1_1_cipher_suites",
    "TLSv1.2": "tls_1_2_cipher_suites",
    "TLSv1.3": "tls_1_3_cipher_suites",
}


def sslyze_as(client: Path, address: str, port: int, *, root: Path, work: Path, at: str = "") -> list[str]:
    """Return what sslyze finds, as a client with a certificate, that the guideline does not allow.

    Args:
        client: the folder of the client's material.
        address, port: the endpoint.
        at: the IP address of a name that the machine does not know.
        root: file of the CA certificates that it has to lead to.
        work: a folder for the result.
    """
    output = work / ("sslyze-%s-%d.json" % (address, port))
    scans = ["--certinfo", "--elliptic_curves", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3"]
    argv: list[str | Path] = [SSLYZE, "-m", "sslyze", *scans, "--certinfo_ca_file=%s" % root, "--json_out=%s" % output]
    argv += ["--cert=%s" % (client / "fullchain.pem"), "--key=%s" % (client / "key.pem")]
    code, text = said([*argv, endpoint(address, port, at)])
    assert code == 0, text
    (server,) = json.loads(output.read_text(encoding="utf-8"))["server_scan_results"]
    results = server["scan_result"]
    guideline = json.loads(GUIDELINE.read_text(encoding="utf-8"))
    suites = {"TLSv1.2": set(guideline["ciphers"]["iana"]), "TLSv1.3": set(guideline["ciphersuites"])}
    faults = []
    for version, scan in _VERSIONS.items():
        if results[scan]["result"] is None:
            faults.append("%s: not scanned: %s" % (version, results[scan].get("error_reason")))
            continue
        found = {row["cipher_suite"]["name"] for row in results[scan]["result"]["accepted_cipher_suites"]}
        if bool(found) != (version in guideline["tls_versions"]):
            faults.append("%s: %s" % (version, ", ".join(sorted(found)) or "refused"))
        faults += ["%s: %s" % (version, name) for name in sorted(found - suites.get(version, set()))]
    curves = {row["name"] for row in results["elliptic_curves"]["result"]["supported_curves"]}
    same = {"secp256r1": "prime256v1"}
    faults += ["curve %s" % name for name in sorted(curves) if same.get(name, name) not in guideline["tls_curves"]]
    (deployment,) = results["certificate_info"]["result"]["certificate_deployments"]
    ours = [row for row in deployment["path_validation_results"] if row["trust_store"]["path"] == str(root)]
    faults += ["its chain is not accepted" for row in ours if not row["was_validation_successful"]]
    return faults if ours else [*faults, "its chain was not judged"]


def missing() -> list[str]:
    """Return the judges that this machine does not have."""
    absent = [name for name in ("openssl", "certtool", "keytool") if not shutil.which(name)]
    return [*absent, *([] if SSLYZE.exists() else ["sslyze"])]
