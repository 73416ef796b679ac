# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller hands. Importing one makes what this collection imports after it come from Python's bytecode cache.

Ansible's loader of collections compiles every file anew in every process (`get_code` of ansible-core 2.19's
`utils/collection_loader/_collection_finder.py` keeps nothing), which for a tool of some size costs each run as much as
several hosts do. The two folders of helpers have nothing of what that loader is for (no plugins, no redirections), so
Python's own finder loads them. Where a cache cannot be written, it compiles them like Ansible does.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
import typing as t

#: What lies below these packages: helpers of ours.
_HELPERS: t.Final = tuple(__name__.rpartition(".")[0] + each for each in (".module_utils.", ".plugin_utils."))


class _Cached(importlib.abc.MetaPathFinder):
    """Finds our helpers as Python finds any other module that lies in a folder."""

    def find_spec(
        self, fullname: str, path: t.Sequence[str] | None, target: t.Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where a helper is; None where it is none of ours, and for the folders themselves."""
        if not path or not fullname.startswith(_HELPERS):
            return None
        spec = _finder_in(path[0]).find_spec(fullname)
        return spec if spec and spec.loader else None


@functools.cache
def _finder_in(path: str) -> importlib.machinery.FileFinder:
    loader = (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES)
    return importlib.machinery.FileFinder(path, loader)


if not any(type(each).__qualname__ == _Cached.__qualname__ for each in sys.meta_path):
    sys.meta_path.insert(0, _Cached())
