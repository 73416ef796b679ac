# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base tree is made by one builder at a time, and what a killed one left is swept by the next.

`debootstrap` is played by a script here, for the real one takes a minute.
"""

from __future__ import annotations

import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from . import base, driver, processes, recipe, traces
from .names import Net
from .test_traces import LAB, kill_when

#: Mounts something in the tree as the real one does, leaves a child, and never ends.
PLAYED: t.Final = """#!/bin/sh
tree=$5
mkdir -p "$tree/proc"
mount -t proc proc "$tree/proc"
sleep 4711 &
touch "$tree/begun"
wait
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a debootstrap that never ends."""
    program = tmp_path / "bin" / "debootstrap"
    program.parent.mkdir()
    program.write_text(PLAYED, encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "%s:/usr/sbin:/usr/bin:/sbin:/bin" % program.parent)
    return tmp_path


def builders() -> list[processes.Process]:
    return processes.find(lambda words: words == ["sleep", "4711"] or words[:2] == ["/bin/sh", "debootstrap"])


def test_a_killed_build_leaves_no_process_and_no_mount_and_the_next_one_sweeps_its_files(
    net: Net, stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces.found(net)
    making = base.cache() / (recipe.digest() + ".making")
    kill_when([sys.executable, str(LAB), "build"], (making / "root" / "begun").exists)
    until = time.monotonic() + 10
    while builders() and time.monotonic() < until:
        time.sleep(0.05)
    assert builders() == []
    assert traces.found(net) == before
    assert base.find() is None
    monkeypatch.setattr(base, "_Build", _Refused)
    with pytest.raises(RuntimeError):
        driver.build()
    assert [path.name for path in base.cache().iterdir()] == ["lock"]


class _Refused:
    """Stands for a build that is not to begin."""

    def __init__(self, *_given: object) -> None:
        raise RuntimeError


def test_a_second_builder_waits_for_the_first_and_says_so(stage: Path) -> None:
    argv = [sys.executable, "-u", str(LAB), "build"]
    making = base.cache() / (recipe.digest() + ".making")
    first = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        while not (making / "root" / "begun").exists():
            assert first.poll() is None
            time.sleep(0.02)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert "waiting for another build to end" in second.stdout.readline()
            second.kill()
    finally:
        first.kill()
        first.wait()


def test_the_tree_has_no_keys_no_identity_and_no_mirror_of_the_machine_that_made_it() -> None:
    root = driver.build(print).root
    assert list(root.glob("etc/ssh/ssh_host_*")) == []
    assert list(root.glob("etc/apt/sources.list*/*")) == []
    for name in ("etc/machine-id", "etc/hostname", "etc/apt/sources.list", "usr/sbin/policy-rc.d"):
        assert not (root / name).exists(), name


def test_the_tree_says_which_versions_are_in_it() -> None:
    versions = dict(line.split(" ") for line in driver.build(print).packages.read_text(encoding="utf-8").splitlines())
    assert {*recipe.BASE, *recipe.SERVERS, *recipe.CLIENTS} - {"postgresql"} <= set(versions)
