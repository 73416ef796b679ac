# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made gets the label of the policy, where a system has SELinux; a restorecon that writes down tells."""

from __future__ import annotations

import base64
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._host import _files
from ansible_collections.connsec.tls.plugins.module_utils._host._files import make_directory, write_durable
from ansible_collections.connsec.tls.plugins.module_utils._host._generations import File, Material

RESTORECON = """\
#!/bin/sh
[ ! -e "$0.fails" ] || { echo "restorecon: lsetfilecon: Operation not permitted"; exit 255; }
echo "$@" >>"$0.told"
"""


class Labels:
    """A restorecon, and what it was told."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.program = folder / "restorecon"
        self.program.write_text(RESTORECON)
        self.program.chmod(0o755)

    def told(self) -> list[str]:
        """Return the arguments of each call since this was asked last."""
        file = self.program.with_name("restorecon.told")
        found = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found

    def fail(self) -> None:
        """Refuse from now on."""
        self.program.with_name("restorecon.fails").touch()


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Labels:
    found = Labels(tmp_path / "bin")
    (tmp_path / "enforce").write_text("1")
    monkeypatch.setenv("PATH", str(found.program.parent), prepend=":")
    monkeypatch.setattr(_files, "SELINUX", str(tmp_path / "enforce"))
    return found


def test_a_new_file_is_labelled_and_one_that_was_there_keeps_what_it_has(labels: Labels, tmp_path: Path) -> None:
    write_durable(str(tmp_path / "a"), b"one", mode=0o600)
    assert labels.told() == ["-- %s" % (tmp_path / "a")]
    write_durable(str(tmp_path / "a"), b"two", mode=0o600)
    assert labels.told() == []


def test_each_folder_that_is_made_is_labelled_before_anything_lies_in_it(labels: Labels, tmp_path: Path) -> None:
    make_directory(str(tmp_path / "a" / "b"))
    assert labels.told() == ["-- %s" % (tmp_path / "a"), "-- %s" % (tmp_path / "a" / "b")]
    make_directory(str(tmp_path / "a" / "b"))
    assert labels.told() == []


def material(directory: Path) -> Material:
    asked: dict[str, t.Any] = {"name": "router@h1", "folder": "router", "inputs": {"identities": {}}, "public": {}}
    found = Material(str(directory), asked)
    assert found.plan() is not None
    return found


def test_a_generation_is_labelled_as_a_whole_before_it_is_taken(labels: Labels, tmp_path: Path) -> None:
    directory = tmp_path / "connsec"
    material(directory).make([File("key.pem", b"key", secret=True)])
    told = labels.told()
    generation = directory / "router" / "generations" / "000001"
    assert "-- %s" % directory in told
    assert told[-1] == "-R -- %s" % generation
    assert (directory / "router" / "current").resolve() == generation


def test_a_generation_that_cannot_be_labelled_is_not_taken_and_nothing_of_it_is_left(
    labels: Labels, tmp_path: Path
) -> None:
    directory = tmp_path / "connsec"
    make_directory(str(directory / "router" / "generations"))
    labels.fail()
    with pytest.raises(TlsError, match=r"setting the SELinux label of .*Operation not permitted"):
        material(directory).make([File("key.pem", base64.b64encode(b"key"), secret=True)])
    assert list((directory / "router" / "generations").iterdir()) == []
    assert not (directory / "router" / "current").exists()


def test_without_selinux_nothing_is_started(labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "SELINUX", str(tmp_path / "none"))
    write_durable(str(tmp_path / "a"), b"one", mode=0o600)
    make_directory(str(tmp_path / "b"))
    assert labels.told() == []


def test_without_restorecon_the_label_of_the_kernel_stays(
    labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    write_durable(str(tmp_path / "a"), b"one", mode=0o600)
    assert labels.told() == []
    assert (tmp_path / "a").read_bytes() == b"one"
