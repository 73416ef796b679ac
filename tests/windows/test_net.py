# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the twin models and .NET itself has as well: PFX files and certificates, by the calls of win_material."""

from __future__ import annotations

import base64
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.plugin_utils._windows import StoreContent

from .certificates import Opened
from .direct import authority, rig
from .machine import opened
from .powershell import clr
from .powershell.keys import Certificate, Collection
from .powershell.values import Net, PsError
from .twin import WindowsTwin

FLAGS: t.Final = "PersistKeySet, MachineKeySet"


def _read(data: bytes, password: str) -> set[tuple[str, bool]]:
    """Return thumbprint, and whether there is a key, of each certificate that .NET's Import finds in a PFX."""
    system = clr.runtime()
    place = system.Security.Cryptography.X509Certificates
    found = place.X509Certificate2Collection()
    clr.guarded(lambda: found.Import(clr.to_net(data), password, place.X509KeyStorageFlags.EphemeralKeySet))
    return {(str(each.Thumbprint), bool(each.HasPrivateKey)) for each in found}


@pytest.mark.parametrize("old", [False, True], ids=["aes256", "3des"])
def test_net_opens_the_pfx_files_that_we_make_as_the_twin_does(tmp_path: Path, old: bool) -> None:
    made = rig(tmp_path)
    found = StoreContent(made.row()).pfx("", old=old)
    data = base64.b64decode(found.content)
    read = _read(data, found.password)
    assert (made.leaf().thumbprint, True) in read and len(read) == 2
    with opened(made.twin.folder) as machine:
        modelled = Collection.new(machine)
        modelled.m_import(data, found.password, FLAGS)
        assert {(each.p_thumbprint(), each.p_hasprivatekey()) for each in modelled.items()} == read
    with pytest.raises(PsError) as wrong:
        _read(data, "wrong")
    assert wrong.value.kind == "System.Security.Cryptography.CryptographicException"


def test_net_knows_a_certificate_by_what_the_twin_knows_it_by(twin: WindowsTwin) -> None:
    pair = authority()[0]
    certificate = Certificate(twin.machine(), Opened(pair.certificate), None)
    real = certificate.real
    assert str(real.Thumbprint) == certificate.p_thumbprint() == pair.thumbprint
    assert bytes(real.GetCertHash()) == certificate.m_getcerthash()
    again = Certificate.new(twin.machine(), bytes(real.RawData))
    assert isinstance(again, Net) and again.found.certificate == pair.certificate
