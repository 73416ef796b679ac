# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers of the collection come from Python's bytecode cache; Ansible's own loader would compile them in each run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

pytest.importorskip("ansible.utils.collection_loader")

ROOT: t.Final = Path(__file__).resolve().parents[2]

#: Prints, for each module of ours that the action of a plan needs, its loader and the bytecode that it came from.
PROGRAM: t.Final = """
import json, sys
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
_AnsibleCollectionFinder(paths=[sys.argv[1]])._install()
import ansible_collections.connsec.tls.plugins.inventory.connections  # as Ansible does, in this order
import ansible_collections.connsec.tls.plugins.action.plan
ours = [(name, each) for name, each in sys.modules.items() if "connsec.tls.plugins." in name]
print(json.dumps({name: [type(each.__loader__).__name__, getattr(each, "__cached__", None)] for name, each in ours}))
"""


def loaded(collections: Path, **variables: str) -> dict[str, tuple[str, str | None]]:
    """Return the loader and the cache of each helper, by its name below plugins/."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    argv = [sys.executable, "-c", PROGRAM, str(collections)]
    run = subprocess.run(argv, env={**kept, **variables}, capture_output=True, text=True, check=True)
    found = {name.split(".plugins.")[1]: each for name, each in json.loads(run.stdout).items()}
    helpers = ("module_utils._core.", "module_utils._host.", "plugin_utils.")
    return {name: (loader, cache) for name, (loader, cache) in found.items() if name.startswith(helpers)}


@pytest.fixture
def collections(tmp_path: Path) -> Path:
    """A folder of collections, with ours, that caches nothing elsewhere."""
    folder = tmp_path / "ansible_collections" / "connsec" / "tls"
    folder.mkdir(parents=True)
    for path in (ROOT / "plugins").rglob("*.py"):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path


def test_every_helper_is_loaded_by_pythons_own_loader_and_cached(collections: Path):
    found = loaded(collections)
    assert len(found) > 50
    assert {loader for loader, _cache in found.values()} == {"SourceFileLoader"}
    assert [name for name, (_loader, cache) in found.items() if not cache or not Path(cache).is_file()] == []


def test_a_helper_that_was_changed_is_compiled_anew(collections: Path):
    loaded(collections)
    path = collections / "ansible_collections/connsec/tls/plugins/plugin_utils/_planning.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nraise SystemExit('it is new')\n", encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        loaded(collections)
    assert "it is new" in failed.value.stderr


def test_where_no_cache_can_be_written_everything_loads_all_the_same(collections: Path):
    found = loaded(collections, PYTHONPYCACHEPREFIX="/proc/nowhere")
    assert len(found) > 50
    assert not list(collections.rglob("*.pyc"))
