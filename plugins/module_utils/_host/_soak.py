# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collector of clear listeners' peers on a host, installed; private to this collection."""

from __future__ import annotations

import inspect
import json
import os
import typing as t

from .._core._change import Change
from . import _collector
from ._collected import FOLDER
from ._files import make_own, write_durable
from ._reading import read_regular

PROGRAM: t.Final = "collect.py"


class Collector:
    """The collector in its folder, as it should be."""

    def __init__(self, directory: str, listeners: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        """Take in which listeners it is to watch."""
        self._folder = os.path.join(directory, FOLDER)
        rows = [
            {
                **{"id": row["id"], "addresses": list(row["addresses"]), "port": row["port"]},
                **({"looks": dict(row["looks"])} if row.get("looks") else {}),
            }
            for row in listeners
        ]
        wanted = json.dumps({"listeners": sorted(rows, key=lambda row: str(row["id"]))}, indent=1, sort_keys=True)
        self._files = {PROGRAM: (_program(), 0o755), _collector.CONFIGURATION: ((wanted + "\n").encode(), 0o644)}

    def changes(self) -> list[Change]:
        """Return what has to be written, each with its reason."""
        found = []
        for name, (wanted, _mode) in self._files.items():
            seen = read_regular(os.path.join(self._folder, name))
            if seen is not None and seen.data == wanted:
                continue
            reason = "it is not there" if seen is None else "it is another"
            after = wanted.decode() if name == _collector.CONFIGURATION else None
            before = seen.data.decode("utf-8", "replace") if seen and name == _collector.CONFIGURATION else None
            found.append(Change("%s/%s" % (FOLDER, name), before, after, reason))
        return found

    def make(self, change: Change) -> None:
        """Write one of its files."""
        name = change.target.rpartition("/")[2]
        data, mode = self._files[name]
        make_own(self._folder)
        write_durable(os.path.join(self._folder, name), data, mode=mode)


def _program() -> bytes:
    """Return the program's own text: it travels with this module, and nothing else of ours is there when it runs."""
    return b"#!/usr/bin/env python3\n" + inspect.getsource(_collector).encode()
