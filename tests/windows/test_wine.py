# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The twin's judgement of PFX files and stores, against that of Wine's crypt32 through the names of the Windows API.

It is Wine's code and not Microsoft's: it proves the bytes and the order of calls, and nothing of Windows itself. Wine
8 reads no EC key in a PFX, drops a root that comes with its leaf, and gives the key to the whole chain; so it is asked
about RSA keys, and about leaves.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.plugin_utils._windows import StoreContent
from cryptography.hazmat.primitives import serialization

from . import Failed
from .certificates import opened
from .direct import rig
from .material import Pair, issued, pfx
from .twin import SERVER_2019

COMPILER: t.Final = "x86_64-w64-mingw32-gcc"
SOURCE: t.Final = Path(__file__).resolve().parent / "wine/crypt32.c"

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        shutil.which("wine") is None or shutil.which(COMPILER) is None,
        reason="wine or %s is missing: no crypt32 judges PFX files" % COMPILER,
    ),
]


class Wine:
    """The program in wine/crypt32.c, in a Windows of its own."""

    def __init__(self, folder: Path) -> None:
        self._program = folder / "crypt32.exe"
        subprocess.run([COMPILER, "-O1", "-Wall", "-Werror", "-o", self._program, SOURCE, "-lcrypt32"], check=True)
        self._environment = {
            **os.environ,
            "WINEPREFIX": str(folder / "prefix"),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree=;mshtml=",
        }

    def asked(self, *words: str | Path, given: str = "") -> tuple[int, list[str]]:
        """Return exit code and lines."""
        done = subprocess.run(
            ["wine", self._program, *words],
            env=self._environment,
            input=given + "\n",
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return done.returncode, done.stdout.split("\n")[:-1]

    def end(self) -> None:
        """End what Wine leaves running for a while."""
        subprocess.run(["wineserver", "-k"], env=self._environment, check=False)


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Wine]:
    found = Wine(tmp_path_factory.mktemp("wine"))
    yield found
    found.end()


@pytest.fixture(scope="module")
def root() -> Pair:
    return issued("root", authority=True)


@pytest.mark.parametrize("old", [False, True], ids=["AES-256", "3DES"])
def test_crypt32_opens_the_pfx_files_that_the_twin_opens_and_no_others(
    wine: Wine, root: Pair, tmp_path: Path, old: bool
) -> None:
    leaf = issued("leaf", root)
    (path := tmp_path / "leaf.pfx").write_bytes(pfx(leaf, "right-one", chain=[root], old=old))
    assert wine.asked("pfx", path, given="right-one") == (0, ["%s key" % leaf.thumbprint])
    ours = opened(path.read_bytes(), "right-one", build=SERVER_2019)
    assert (ours[0].thumbprint, ours[0].key is not None) == (leaf.thumbprint, True)

    code, lines = wine.asked("pfx", path, given="wrong-one")
    assert code == 1 and lines[0].startswith("error import"), lines
    with pytest.raises(Failed, match="network password is not correct"):
        opened(path.read_bytes(), "wrong-one", build=SERVER_2019)


@pytest.mark.parametrize("old", [False, True], ids=["AES-256", "3DES"])
def test_crypt32_opens_what_the_collection_makes_for_windows_hosts(wine: Wine, tmp_path: Path, old: bool) -> None:
    made = rig(tmp_path)
    found = StoreContent(made.row()).pfx("", old=old)
    (path := tmp_path / "leaf.pfx").write_bytes(base64.b64decode(found.content))
    code, lines = wine.asked("pfx", path, given=found.password)
    assert code == 0 and "%s key" % made.leaf().thumbprint in lines
    assert {line.partition(" ")[0] for line in lines} == {found.thumbprint, *found.chain}


def test_crypt32_refuses_what_is_no_pfx(wine: Wine, root: Pair, tmp_path: Path) -> None:
    (path := tmp_path / "junk.pfx").write_bytes(b"\x30\x82\x01\x00" + b"junk" * 64)
    code, lines = wine.asked("pfx", path)
    assert code == 1 and lines[0].startswith("error"), lines
    with pytest.raises(Failed):
        opened(path.read_bytes(), "", build=SERVER_2019)


def test_crypt32_knows_a_root_by_the_same_thumbprint_in_the_store_of_the_machine(
    wine: Wine, root: Pair, tmp_path: Path
) -> None:
    (path := tmp_path / "root.cer").write_bytes(root.certificate.public_bytes(serialization.Encoding.DER))
    code, lines = wine.asked("store", "Root", path)
    assert code == 0
    assert "%s no-key" % root.thumbprint in lines
