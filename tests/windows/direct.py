# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Material on a twin without any playbook: the controller's decision and the module's text, in one process.

What Ansible does in between is shown by the plays of test_material.py; here many cases cost little.
"""

from __future__ import annotations

import base64
import functools
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.connsec.tls.plugins.module_utils._core._windows_host import DIRECTORY
from ansible_collections.connsec.tls.plugins.plugin_utils._windows import Asked, Outcome, install
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from . import documentation, powershell
from .machine import opened
from .material import Pair, issued
from .model import Call
from .plays import ROOT
from .twin import WindowsTwin

MODULES: t.Final = ROOT / "plugins/modules"


def module(twin: WindowsTwin, name: str, arguments: dict[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    """Run one of our modules on a twin: its arguments checked, its text run."""
    options = documentation.options_of(str(MODULES / ("%s.ps1" % name)))
    call = Call(documentation.checked(name, arguments, options), {}, check=check, diff=False)
    with opened(twin.folder) as machine:
        return powershell.run((MODULES / ("%s.ps1" % name)).read_bytes(), machine, call, utilities(name))


def utilities(name: str) -> list[bytes]:
    """Return the texts of the utilities that one of our modules requires."""
    lines = (MODULES / ("%s.ps1" % name)).read_text(encoding="utf-8").splitlines()
    wanted = [
        line.rpartition(".")[2] for line in lines if line.startswith("#AnsibleRequires -PowerShell ..module_utils.")
    ]
    return [(ROOT / "plugins/module_utils" / ("%s.psm1" % each)).read_bytes() for each in wanted]


@functools.cache
def authority() -> tuple[Pair, Pair]:
    """Return a root and an issuing authority under it, made once."""
    root = issued("root", authority=True)
    return root, issued("issuing", root, authority=True)


@dataclass
class Rig:
    """A twin, and the material of its instances, issued by an authority of the test's own."""

    twin: WindowsTwin
    trips: int = 0
    _leaves: dict[str, Pair] = field(default_factory=dict)

    def renew(self, name: str = "confserv") -> None:
        """Have another certificate for an instance."""
        self._leaves[name] = issued(name, authority()[1])

    def leaf(self, name: str = "confserv") -> Pair:
        """Return key and certificate of an instance."""
        if name not in self._leaves:
            self.renew(name)
        return self._leaves[name]

    def row(self, name: str = "confserv", **more: t.Any) -> dict[str, t.Any]:
        """Return an instance as the action hands it on."""
        root, issuing = authority()
        leaf = self.leaf(name)
        key = leaf.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files = {
            "certificate.pem": leaf.pem,
            "chain.pem": issuing.pem,
            "fullchain.pem": leaf.pem + issuing.pem,
            "key.pem": key,
            "trust.pem": root.pem,
        }
        inputs = {
            "identities": {"": {"certificate": _sha256(leaf.certificate), "chain": [_sha256(issuing.certificate)]}},
            "trust": [_sha256(root.certificate)],
            "crl": None,
        }
        return {
            "name": "%s@win1" % name,
            "folder": name,
            "account": None,
            "formats": ["store"],
            "inputs": inputs,
            "files": [{"name": each, "content": base64.b64encode(files[each]).decode()} for each in files],
            **more,
        }

    def install(
        self,
        *rows: dict[str, t.Any],
        state: t.Literal["present", "previous", "absent"] = "present",
        check: bool = False,
    ) -> Outcome:
        """Install what these rows say."""
        return install(
            Asked(DIRECTORY, state, rows or [self.row()], check=check), functools.partial(self._call, check=check)
        )

    def _call(self, *, accounts: list[str], orders: list[dict[str, t.Any]], check: bool) -> dict[str, t.Any]:
        self.trips += 1
        given = {"directory": DIRECTORY, "accounts": accounts, "orders": orders}
        return module(self.twin, "win_material", given, check=check)


def _sha256(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def rig(folder: Path, **more: t.Any) -> Rig:
    """Return a rig with one twin."""
    return Rig(WindowsTwin.made(folder / "win1", **more))
