# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out docs/task_molecule.md from an empty folder, as its reader does: molecule_page.py [FOLDER]"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

ROOT: t.Final = Path(__file__).resolve().parents[2]
PAGE: t.Final = ROOT / "docs" / "task_molecule.md"
SCENARIOS: t.Final = ROOT / "extensions" / "testing"
#: A block of the page that is a file: its first line says which.
_FILE: t.Final = re.compile(r"^```\w+\n# (\S+/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(page: str) -> dict[str, str]:
    """Return the files that a page has its reader write."""
    return dict(_FILE.findall(page))


def lay_out(folder: Path, variant: str) -> None:
    """Write what the page says, and copy the scenario that it says to copy."""
    for name, text in files_of(PAGE.read_text(encoding="utf-8")).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in (SCENARIOS / variant).glob("*.yml"):
        shutil.copy(path, folder / "molecule" / "default")


def main() -> int:
    """Lay it out, and test it."""
    with tempfile.TemporaryDirectory(prefix="connsec-page-") as folder:
        lay_out(Path(folder), "nspawn")
        ours = {"CONNSEC_TLS": str(ROOT), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build")}
        argv = ["molecule", "test", "--no-command-borders"]
        return subprocess.run(argv, cwd=folder, env={**os.environ, **ours}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
