# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store on a real disk, what is wanted of it, and the moment at which it is."""

from __future__ import annotations

import hashlib
import stat
import typing as t
from pathlib import Path

import pytest

if t.TYPE_CHECKING:
    from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedAuthority, WantedIdentity
    from ansible_collections.connsec.tls.plugins.plugin_utils._store import MaterialFiles, StorePaths, StoreView

NOW = 1_800_000_000  # 2027-01-15
DAY = 86400
CANARY = "canary-passphrase-7f3b"


def wanted(name: str = "router@urs1", **options: t.Any) -> WantedIdentity:
    """Return an identity that is wanted."""
    from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedIdentity

    return WantedIdentity(name, **{"names": ("urs1.example.net", "192.0.2.7"), **options})


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return every file and folder with its mode, its time and its content's digest."""
    found = {}
    for path in [folder, *folder.rglob("*")] if folder.exists() else []:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, hashlib.sha256(content).hexdigest())
    return found


class Bench:
    """A store, and short names for what is done to it."""

    def __init__(self, folder: Path) -> None:
        from ansible_collections.connsec.tls.plugins.module_utils._core._material import WantedAuthority
        from ansible_collections.connsec.tls.plugins.plugin_utils._secrets import Passphrases
        from ansible_collections.connsec.tls.plugins.plugin_utils._store import StorePaths

        self.folder = folder
        self.paths: StorePaths = StorePaths(*(str(folder / part) for part in ("authorities", "identities", "ledger")))
        self.authorities: list[WantedAuthority] = [WantedAuthority()]
        self.passphrases = Passphrases(CANARY, CANARY)

    def inspect(self, *identities: WantedIdentity, now: int = NOW, **options: t.Any) -> StoreView:
        """Look at the store."""
        from ansible_collections.connsec.tls.plugins.plugin_utils._store import inspect

        return inspect(self.paths, self.authorities, identities, now=now, **options)

    def carry_out(self, *identities: WantedIdentity, now: int = NOW, **options: t.Any) -> StoreView:
        """Do what is due."""
        from ansible_collections.connsec.tls.plugins.plugin_utils._store import carry_out

        given: dict[str, t.Any] = {"passphrases": self.passphrases, **options}
        return carry_out(self.paths, self.authorities, identities, now=now, **given)

    def material(
        self, identity: str | None = "router@urs1", *further: str, now: int = NOW, **options: t.Any
    ) -> MaterialFiles:
        """Take what an instance holds out of the store: its default identity, and others in folders of their names."""
        from ansible_collections.connsec.tls.plugins.module_utils._core._material import by_folder
        from ansible_collections.connsec.tls.plugins.plugin_utils._store import material

        given: dict[str, t.Any] = {"trust": ["connsec"], "passphrase": CANARY, **options}
        return material(self.paths, by_folder(identity, further), now=now, **given)

    def journal(self) -> list[dict[str, t.Any]]:
        """Return the journal's lines."""
        import json

        return [json.loads(line) for line in (self.folder / "authorities/journal.jsonl").read_text().splitlines()]


@pytest.fixture
def store(tmp_path: Path) -> Bench:
    """Return an empty store."""
    return Bench(tmp_path / "store")


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return a filled store that tests only read."""
    bench = Bench(tmp_path_factory.mktemp("pki") / "store")
    bench.carry_out(wanted(), wanted("gateway@gw1", key_type="rsa-3072", common_name=True, usages=("server",)))
    return bench


def reasons(view: StoreView) -> dict[str, str]:
    """Return the reasons of a view's changes by target."""
    return {change.target: change.reason for change in view.changes}
