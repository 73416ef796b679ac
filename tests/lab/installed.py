# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a user has it: built, installed from its archive, and read-only, also for root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import typing as t
from pathlib import Path

from integration.harness import BIN, ROOT


def galaxy(collections: Path, *arguments: str) -> None:
    """Run ansible-galaxy on collections, without a server, as somebody who knows nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    ours = {"ANSIBLE_HOME": str(collections.with_name("ansible")), "ANSIBLE_COLLECTIONS_PATH": str(collections)}
    argv = [str(BIN / "ansible-galaxy"), "collection", *arguments]
    done = subprocess.run(
        argv, env={**kept, **ours}, cwd=collections, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def installed(folder: Path) -> t.Iterator[Path]:
    """Build the collection, install it from its archive, and hand out the folder, in which nobody can write."""
    collections = folder / "collections"
    collections.mkdir()
    galaxy(collections, "build", "--output-path", str(folder), str(ROOT))
    (archive,) = folder.glob("connsec-tls-*.tar.gz")
    galaxy(collections, "install", "--offline", "--no-deps", str(archive))
    archive.unlink()
    # root may write whatever modes say, so the file system has to refuse
    subprocess.run(["mount", "--bind", str(collections), str(collections)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(collections)], check=True)
        yield collections
    finally:
        subprocess.run(["umount", str(collections)], check=True)
