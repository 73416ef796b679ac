# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An identity of an authority that nobody trusts, for gates to see it refused; private to this collection."""

from __future__ import annotations

import time

from cryptography import x509

from ..module_utils._core._material import WantedAuthority, WantedIdentity
from . import _pki

_NAME = "stranger.invalid"  # RFC 6761: nobody has it


def strange_identity() -> dict[str, str]:
    """Return ``certificate`` and ``key`` as PEM: sound, but for their authority, which is forgotten at once."""
    now = int(time.time())
    wanted = WantedAuthority(name="stranger")
    root = _pki.build_root(wanted, key=_pki.KEY_TYPES[wanted.key_type](), serial=x509.random_serial_number(), now=now)
    key = _pki.KEY_TYPES["ec-p256"]()
    leaf = _pki.build_leaf(
        WantedIdentity(_NAME, names=(_NAME,), usages=("client",), days=1),
        key=key.public_key(),
        serial=x509.random_serial_number(),
        issuer=root,
        now=now,
    )
    return {"certificate": _pki.certificate_pem(leaf).decode(), "key": _pki.plain_pem(key).decode()}
