# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores for the bench, filled by the collection's own code."""

from __future__ import annotations

import sys
import time
import typing as t
from pathlib import Path

from commands import COLLECTIONS, PASSPHRASE

sys.path.insert(0, str(COLLECTIONS))

if t.TYPE_CHECKING:
    from ansible_collections.connsec.tls.plugins.plugin_utils._store import StorePaths


def issue(folder: Path, names: t.Mapping[str, str]) -> StorePaths:
    """Fill an empty store with an identity for each of these servers, by the name that it is dialled by."""
    from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedAuthority, WantedIdentity
    from ansible_collections.connsec.tls.plugins.plugin_utils._store import Passphrases, StorePaths, carry_out

    paths = StorePaths(*(str(folder / part) for part in ("authorities", "identities", "ledger")))
    wanted = [WantedIdentity(name, names=(dialled,), usages=("server",)) for name, dialled in names.items()]
    passphrases = Passphrases(PASSPHRASE, PASSPHRASE)
    carry_out(paths, [WantedAuthority()], wanted, now=int(time.time()), passphrases=passphrases, generations_seen=())
    return paths


def record(paths: StorePaths, stages: t.Mapping[str, str]) -> None:
    """Write the stage of each of these pairs to the store's ledger."""
    from ansible_collections.connsec.tls.plugins.plugin_utils._ledger import Ledger
    from ansible_collections.connsec.tls.plugins.plugin_utils._operator import Operator

    rows = {
        pair: {
            "stage": stage,
            "status": "waiting",
            "evidence": [{"gate": stage, "holds": True, "expected": "what the gate asks for", "seen": "made up"}],
        }
        for pair, stage in stages.items()
    }
    Ledger(paths.ledger).record(rows, operator=Operator("bench", "bench", "bench"), now=time.time())


def write_material(paths: StorePaths, identity: str, folder: Path) -> None:
    """Write what is installed for an identity: `fullchain.pem`, `key.pem`, and its own authority in `trust.pem`."""
    from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedAuthority
    from ansible_collections.connsec.tls.plugins.plugin_utils._store import material

    found = material(paths, {"": identity}, trust=(WantedAuthority().name,), passphrase=PASSPHRASE)
    for name, data in found.files.items():
        (folder / name).write_bytes(data)
