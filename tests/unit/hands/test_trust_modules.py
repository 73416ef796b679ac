# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules system_trust and java_trust in four beats: check, do, check again, do again."""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._system_trust import FAMILIES
from ansible_collections.connsec.tls.plugins.modules.system_trust import STORE
from unit.look.servers import Authority

from . import test_modules
from .test_modules import Run, four_beats
from .trusted_systems import System

run = test_modules.run  # its fixture

DEBIAN = next(store for store in FAMILIES.values() if store.family == "debian")


@pytest.fixture(scope="module")
def corp(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority("corp", tmp_path_factory.mktemp("corp"))


@pytest.fixture
def system(tmp_path: Path, corp: Authority) -> System:
    shipped = Authority("shipped", corp.folder).root
    return System.make("debian", tmp_path / "system", shipped=shipped.pem)


def options(system: System, *rows: dict[str, str]) -> dict[str, t.Any]:
    """Return the options of a system that is described, with commands that are really started."""
    store = system.store(DEBIAN)
    given = {name: getattr(store, name) for name in STORE}
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return {"certificates": list(rows), "store": given, "directory": str(system.root.parent / "connsec")}


def test_system_trust_in_four_beats(run: Run, system: System, corp: Authority) -> None:
    before, given = system.state(), options(system, {"name": "corp", "pem": corp.root.pem})
    first, *_rest, last = four_beats(run, "system_trust", system.state, **given)
    ((target, reason),) = first["reasons"].items()
    assert target.startswith("anchor corp ") and reason == "the system does not trust it"
    assert '"subject": "corp"' in first["diff"][0]["after"]
    assert last["family"] == "given" and len(last["anchors"]["corp"]) == 1 and last["still_trusted"] == {}
    four_beats(run, "system_trust", system.state, **options(system, {"name": "corp"}), state="absent")
    assert system.state() == before


def test_system_trust_fails_with_one_sentence(run: Run, system: System, corp: Authority) -> None:
    (system.root / "broken").write_text("fails")
    given = options(system, {"name": "corp", "pem": corp.root.pem})
    failed = run("system_trust", **given)
    assert failed["failed"] and failed["msg"].startswith("the refresh of the system's trust (")
    assert "connsec" not in "".join(system.state()), "the file that was written is gone"
    refused = run("system_trust", **{**given, "certificates": [{"name": "corp", "pem": corp.root.key_pem}]})
    assert refused["failed"] and "holds a private key" in refused["msg"]


@pytest.mark.judges
@pytest.mark.skipif(not shutil.which("keytool"), reason="LEFT OUT: there is no keytool on this machine")
def test_java_trust_in_four_beats(run: Run, tmp_path: Path, corp: Authority) -> None:
    path = tmp_path / "connsec/java.d/cacerts"

    def seen() -> list[tuple[str, bytes]]:
        return [(file.name, file.read_bytes()) for file in sorted(path.parent.glob("*"))]

    given = {"path": str(path), "directory": str(tmp_path / "connsec")}
    rows = [{"name": "corp", "pem": corp.root.pem}]
    first, *_rest, last = four_beats(run, "java_trust", seen, certificates=rows, **given)
    assert first["reasons"] == {"truststore %s" % path: "it is not there"}
    assert last["path"] == str(path) and last["cacerts"].endswith("cacerts")
    four_beats(run, "java_trust", seen, state="absent", **given)
    assert seen() == []
