# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layer table of docs/architecture.md, held by reading the imports: they point downwards only."""

from __future__ import annotations

import ast
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
COLLECTION = "ansible_collections.connsec.tls.plugins."

#: Layer: its files, the layers that it may use, and the other packages that it may use beside the standard library.
LAYERS: dict[str, tuple[str, frozenset[str], frozenset[str]]] = {
    "core": ("module_utils/_core/**/*.py", frozenset({"core"}), frozenset()),
    "host hands": ("module_utils/_host/**/*.py", frozenset({"host hands", "core"}), frozenset()),
    "border of modules": (
        "module_utils/_*.py",
        frozenset({"border of modules", "host hands", "core"}),
        frozenset({"ansible.module_utils"}),
    ),
    "modules": (
        "modules/*.py",
        frozenset({"border of modules", "host hands", "core"}),
        frozenset({"ansible.module_utils"}),
    ),
    "controller hands": (
        "plugin_utils/**/*.py",
        frozenset({"controller hands", "host hands", "core"}),
        frozenset({"ansible", "cryptography", "idna", "yaml"}),
    ),
    "action plugins": (
        "action/*.py",
        frozenset({"border of modules", "controller hands", "core"}),
        frozenset({"ansible"}),
    ),
    "inventory plugin": (
        "inventory/*.py",
        frozenset({"controller hands", "core"}),
        frozenset({"ansible"}),
    ),
    "filters": ("filter/*.py", frozenset({"controller hands", "core"}), frozenset({"ansible"})),
    "documentation fragments": ("doc_fragments/*.py", frozenset(), frozenset()),
}

#: What the core must not have: it neither reads nor writes, has no clock, no chance and no processes.
NOT_IN_CORE = frozenset(
    [
        "asyncio",
        "glob",
        "http",
        "io",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
    ]
)

#: Asking the clock, by whichever class of ``datetime``.
CLOCKS = frozenset({"now", "today", "utcnow"})

#: Modules of the standard library by which code would be loaded past this test.
LOADERS = frozenset({"importlib", "imp", "runpy", "pkgutil"})


class Import(t.NamedTuple):
    """One import: the dotted name, and the line where it stands."""

    name: str
    line: int


def imports(path: Path) -> list[Import]:
    """Return what a file imports, relative imports made absolute; what is only for type checkers is left in."""
    package = COLLECTION.split(".")[:-1] + list(path.relative_to(PLUGINS).parts[:-1])
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [Import("%s.%s" % (module, alias.name), node.lineno) for alias in node.names]
    return found


def layer_of(name: str) -> str | None:
    """Return the layer that a dotted name of ours belongs to; None if it is not ours."""
    if not name.startswith(COLLECTION):
        return None
    parts = name[len(COLLECTION) :].split(".")
    if parts[0] == "module_utils":
        return {"_core": "core", "_host": "host hands"}.get(([*parts, ""])[1], "border of modules")
    folders = {
        pattern.split("/", maxsplit=1)[0]: layer
        for layer, (pattern, _below, _packages) in LAYERS.items()
        if "module_utils" not in pattern
    }
    return folders.get(parts[0], "outside every layer: plugins/%s" % parts[0])


def is_standard(name: str) -> bool:
    """Return whether a dotted name belongs to the standard library of the Python that runs this."""
    return name.split(".")[0] in sys.stdlib_module_names


def is_one_of(name: str, packages: t.Iterable[str]) -> bool:
    """Return whether a dotted name is one of the packages, or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def faults(layer: str, path: Path) -> list[str]:
    """Return each import of a file that its layer does not allow, as a sentence."""
    _unused, below, packages = LAYERS[layer]
    said = []
    for name, line in imports(path):
        where = "%s:%d" % (path.relative_to(ROOT), line)
        ours = layer_of(name)
        if ours is not None:
            if ours not in below:
                said.append("%s: %s uses %s (%s)" % (where, layer, ours, name))
        elif is_standard(name):
            if name.split(".")[0] in LOADERS and path.name != "_kinds.py":
                said.append("%s: %s would load code past this test (%s)" % (where, layer, name))
            if layer == "core" and name.split(".")[0] in NOT_IN_CORE:
                said.append("%s: the core does no input, output or clock (%s)" % (where, name))
        elif not is_one_of(name, packages):
            said.append("%s: %s uses %s" % (where, layer, name))
    return said


def files_of(layer: str) -> list[Path]:
    return sorted(PLUGINS.glob(LAYERS[layer][0]))


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_imports_point_downwards_only(layer: str) -> None:
    assert [fault for path in files_of(layer) for fault in faults(layer, path)] == []


def test_every_python_file_of_the_plugins_stands_in_a_layer() -> None:
    known = {path for layer in LAYERS for path in files_of(layer)}
    assert sorted(set(PLUGINS.rglob("*.py")) - known) == []


def test_the_core_asks_no_clock() -> None:
    asked = [
        "%s:%d" % (path.relative_to(ROOT), node.lineno)
        for path in files_of("core")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
    ]
    assert asked == []


@pytest.mark.parametrize("layer", ["core", "host hands", "modules", "controller hands"])
def test_a_layer_that_exists_is_really_read(layer: str) -> None:
    assert sum(len(imports(path)) for path in files_of(layer)) > 0


def test_roles_hold_no_plugins() -> None:
    assert [str(path) for path in ROOT.glob("roles/*/*") if path.name in ("library", "module_utils", "plugins")] == []


@pytest.mark.parametrize(
    ("layer", "file", "text", "said"),
    [
        ("core", "module_utils/_core/_x.py", "import socket", "no input, output or clock"),
        ("core", "module_utils/_core/_x.py", "from .._host._files import read", "core uses host hands"),
        ("core", "module_utils/_core/_x.py", "def f():\n    import ansible", "core uses ansible"),
        ("host hands", "module_utils/_host/_x.py", "import cryptography", "host hands uses cryptography"),
        ("modules", "modules/x.py", "from ..plugin_utils import _pki", "modules uses controller hands"),
        ("controller hands", "plugin_utils/_x.py", "from ..action import x", "controller hands uses action"),
        ("action plugins", "action/x.py", "import cryptography", "action plugins uses cryptography"),
        ("action plugins", "action/x.py", "import importlib", "would load code past this test"),
    ],
)
def test_an_import_that_points_upwards_is_found(
    layer: str, file: str, text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    monkeypatch.setitem(globals(), "PLUGINS", tmp_path)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert len(faults(layer, path)) == 1
    assert said in faults(layer, path)[0]
