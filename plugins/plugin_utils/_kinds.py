# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the kinds are: roles named ``kind_<name>``, read wherever Ansible finds them; private to this collection."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import yaml

from ..module_utils._core._errors import TlsError
from ..module_utils._core._kind import Kind, parse_kind
from ._yaml import Loader

_OURS = Path(__file__).resolve().parents[2] / "roles"
_cache: dict[tuple[str, int], Kind] = {}


class KindNotFound(TlsError):
    """No role of a kind's name is on the roles path."""


def load_kind(name: str, *, roles_path: t.Sequence[str] = ()) -> Kind:
    """Return the kind of this name.

    A user's own role comes before ours; ``namespace.collection.name`` is the role ``kind_name`` of that collection.

    Args:
        name: the kind, as components use it.
        roles_path: folders that hold roles, in Ansible's order.

    Raises:
        KindNotFound: there is no such role; the sentence tells where it was looked for and what there is.
    """
    for role, folder in _places(name, roles_path):
        file = folder / "vars" / "main.yml"
        if file.is_file():
            return _read(name, role, file)
    known = sorted(
        {path.name[5:] for _unused, base in _bases(roles_path) for path in base.glob("kind_*") if path.is_dir()}
    )
    raise KindNotFound(
        "there is no kind %r: no role kind_%s is on the roles path; the kinds found are %s"
        % (name, name, ", ".join(known))
    )


def _bases(roles_path: t.Sequence[str]) -> list[tuple[str, Path]]:
    return [("", Path(os.path.expanduser(path))) for path in roles_path] + [("connsec.tls.", _OURS)]


def _places(name: str, roles_path: t.Sequence[str]) -> t.Iterator[tuple[str, Path]]:
    if name.count(".") == 2:
        from ansible.utils.collection_loader._collection_finder import _get_collection_path

        collection, _unused, short = name.rpartition(".")
        try:
            root = _get_collection_path(collection)
        except ValueError as error:
            raise KindNotFound("kind %r: the collection %s is not installed" % (name, collection)) from error
        yield "%s.kind_%s" % (collection, short), Path(root) / "roles" / ("kind_" + short)
        return
    for prefix, base in _bases(roles_path):
        yield prefix + "kind_" + name, base / ("kind_" + name)


def _read(name: str, role: str, file: Path) -> Kind:
    key = (str(file), file.stat().st_mtime_ns)
    if key not in _cache:
        try:
            data = yaml.load(file.read_text(encoding="utf-8"), Loader)
        except yaml.YAMLError as error:
            raise TlsError("%s is not YAML: %s" % (file, error)) from error
        declared = data.get("tls_kind") if isinstance(data, dict) else None
        if not isinstance(declared, dict):
            raise TlsError("%s: a kind's role declares one dict named tls_kind there" % file)
        _cache[key] = parse_kind(name, role=role, source=str(file), declared=declared)
    return _cache[key]
