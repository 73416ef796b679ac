# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model's files: found, read, and kept parsed for the rest of the process; private to this collection.

Ansible parses inventories in its main process and runs actions in forks of it, which find the model parsed already.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import typing as t
from dataclasses import dataclass

from ..module_utils._core._entities import Host, Model
from ..module_utils._core._errors import TlsError
from ..module_utils._core._model import Document, ModelError, parse_model
from ..module_utils._core._names import shown
from ._idna import to_a_label
from ._yaml import YamlError, read_yaml

#: How the main file's name ends; Ansible reads a folder in alphabetical order, and this comes after hosts.yml.
NAMES: t.Final = ("tls_connections.yml", "tls_connections.yaml")
#: A model of 5,000 hosts has about 2 MiB.
MOST_BYTES: t.Final = 64 * 1024 * 1024
MOST_FILES: t.Final = 1000

ReadText = t.Callable[[str], str]
Stamp = tuple[str, int, int]


@dataclass(frozen=True)
class LoadedModel:
    """A model and the files that it came from, the main one first."""

    model: Model
    path: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Kept:
    """A loaded model with what it depends on."""

    loaded: LoadedModel
    patterns: tuple[str, ...]
    stamps: tuple[Stamp, ...]
    inventory: t.Any


_kept: dict[str, _Kept] = {}


def load(
    path: str,
    *,
    inventory_hosts: t.Collection[str] | None = None,
    declared: t.Mapping[str, Host] | None = None,
    read_vaulted: ReadText | None = None,
) -> LoadedModel:
    """Return the model of a main file and of those that it names, parsed once for as long as none of them changes.

    Args:
        path: the main file, ``.../tls_connections.yml``.
        inventory_hosts: the hosts that there are; None takes a model that this process has parsed for any.
        declared: os and addresses of hosts as inventory sources declare them.
        read_vaulted: returns the text of a file that Ansible Vault encrypted as a whole.

    Raises:
        ModelError: with every mistake.
    """
    path = os.path.abspath(path)
    inventory = None if inventory_hosts is None else (frozenset(inventory_hosts), dict(declared or {}))
    kept = _kept.get(path)
    if (
        kept
        and (inventory is None or inventory == kept.inventory)
        and _stamps(_found(path, kept.patterns)) == kept.stamps
    ):
        return kept.loaded
    with _uncollected():
        main = _read(path, read_vaulted)
        patterns = _patterns(main)
        files = _found(path, patterns)
        stamps = _stamps(files)
        documents = [main, *(_read(name, read_vaulted) for name in files[1:])]
        _refuse_mains(documents[1:])
        model = parse_model(documents, inventory_hosts, declared=declared, a_label=to_a_label)
    loaded = LoadedModel(model=model, path=path, files=files)
    _kept[path] = _Kept(loaded=loaded, patterns=patterns, stamps=stamps, inventory=inventory)
    return loaded


@contextlib.contextmanager
def _uncollected() -> t.Iterator[None]:
    """Keep Python's collector away: it would look at hundreds of thousands of new objects again and again.

    Reading 15,000 pairs takes a third of the time without it, and nothing here makes a cycle.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def source_name(path: str) -> str:
    """Return how messages call a file: as seen from where the user stands, if it lies below."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _patterns(main: Document) -> tuple[str, ...]:
    patterns = main.data.get("model") if isinstance(main.data, dict) else None
    if patterns is None:
        return ()
    if not isinstance(patterns, list) or not all(isinstance(each, str) and each for each in patterns):
        raise ModelError(["%s: model: %s is not a list of file names" % (main.source, shown(patterns))])
    return tuple(patterns)


def _found(path: str, patterns: t.Sequence[str]) -> tuple[str, ...]:
    """Return the main file and those that it names, each once, in order of its patterns and then by name."""
    base = os.path.dirname(path)
    files: dict[str, None] = {path: None}
    for pattern in patterns:
        names = sorted(os.path.abspath(name) for name in glob.glob(os.path.join(base, pattern)))
        names = [name for name in names if os.path.isfile(name)]
        if not names:
            raise ModelError(["%s: model: %s matches no file in %s" % (source_name(path), shown(pattern), base)])
        files.update(dict.fromkeys(names))
    if len(files) > MOST_FILES:
        what = "%d files; that is more than %d, so the pattern takes too much" % (len(files), MOST_FILES)
        raise ModelError(["%s: model: it names %s" % (source_name(path), what)])
    return tuple(files)


def _stamps(files: t.Sequence[str]) -> tuple[Stamp, ...]:
    stamps = []
    for name in files:
        try:
            found = os.stat(name)
        except OSError as error:
            raise ModelError(["%s: it cannot be read: %s" % (source_name(name), error.strerror)]) from error
        stamps.append((name, found.st_mtime_ns, found.st_size))
    return tuple(stamps)


def _read(path: str, read_vaulted: ReadText | None) -> Document:
    source = source_name(path)
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ModelError(["%s: it cannot be read: %s" % (source, error.strerror)]) from error
    if len(content) > MOST_BYTES:
        raise ModelError(["%s: it is larger than %d MiB; split it (model: [fleet/*.yml])" % (source, MOST_BYTES >> 20)])
    try:
        if content.startswith(b"$ANSIBLE_VAULT;"):
            if read_vaulted is None:
                raise ModelError(["%s: it is encrypted by Ansible Vault, and nothing here can decrypt it" % source])
            text = read_vaulted(path)
        else:
            text = content.decode("utf-8-sig")
        data = read_yaml(text)
    except UnicodeDecodeError as error:
        raise ModelError(["%s: it is not UTF-8 at byte %d" % (source, error.start)]) from error
    except YamlError as error:
        raise ModelError(["%s: %s" % (source, mistake) for mistake in error.mistakes]) from error
    return Document(source, {} if data is None else data)


def _refuse_mains(documents: t.Sequence[Document]) -> None:
    """Refuse files that name further files: what belongs to a model stands in one place."""
    mistakes = [
        "%s: model: only the file that Ansible reads names others" % document.source
        for document in documents
        if isinstance(document.data, dict) and "model" in document.data
    ]
    if mistakes:
        raise ModelError(mistakes)


def model_from_vars(task_vars: t.Mapping[str, t.Any], *, read_vaulted: ReadText | None = None) -> LoadedModel:
    """Return the model of this run, for an action.

    Args:
        task_vars: the action's; ``tls_model_path`` and ``tls_model_error`` come from the inventory plugin.
        read_vaulted: returns the text of a file that Ansible Vault encrypted (``self._loader.get_text_file_contents``).

    Raises:
        TlsError: the model has mistakes, or no connections were enumerated.
    """
    error = task_vars.get("tls_model_error")
    if error:
        raise TlsError(str(error))
    path = task_vars.get("tls_model_path")
    if not path:
        raise TlsError(
            "no connections were enumerated: no inventory source is a file named %s"
            " with plugin: connsec.tls.connections (see Ansible's warnings above; -i names the sources)"
            % " or ".join(NAMES)
        )
    kept = _kept.get(os.path.abspath(str(path)))
    hosts = None if kept else [str(name) for name in task_vars.get("groups", {}).get("all", ())] or None
    declared = _declared_by_hostvars(task_vars, hosts) if hosts else None
    return load(str(path), inventory_hosts=hosts, declared=declared, read_vaulted=read_vaulted)


def _declared_by_hostvars(task_vars: t.Mapping[str, t.Any], hosts: t.Sequence[str]) -> dict[str, Host]:
    """Return what variables declare of hosts where no inventory plugin has run in this process."""
    from ._inventory_hosts import declared_hosts

    hostvars = task_vars.get("hostvars", {})
    return declared_hosts((name, hostvars[name]) for name in hosts if name in hostvars)


def check_against_hostvars(model: Model, hostvars: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Check what variables that the inventory plugin could not see (``group_vars``, ``-e``, facts) say of hosts.

    Raises:
        ModelError: they differ from the model; every difference names both places.
    """
    from ._inventory_hosts import differences

    mistakes = [
        mistake
        for name, host in sorted(model.hosts.items())
        if name in hostvars
        for mistake in differences(host, hostvars[name])
    ]
    if mistakes:
        raise ModelError(mistakes)
