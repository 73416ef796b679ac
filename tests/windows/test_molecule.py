# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that users run on Windows hosts of their own, run on twins first."""

from __future__ import annotations

import typing as t
from pathlib import Path

from .machine import opened
from .plays import ROOT, Run, playbook
from .twin import SERVER_2016, SERVER_2022, WindowsTwin

SCENARIO: t.Final = ROOT / "extensions/molecule/windows"


def test_the_scenario_for_real_hosts_passes_on_twins_and_notices_what_is_wrong(tmp_path: Path) -> None:
    twins = [
        WindowsTwin.made(tmp_path / "win1", name="WIN1", build=SERVER_2022, provider="cng"),
        WindowsTwin.made(tmp_path / "win2", name="WIN2", build=SERVER_2016),
    ]

    def run(name: str) -> Run:
        return playbook(twins, str(SCENARIO / name), "-e", "tls_store=%s" % (tmp_path / "store"))

    before = [twin.snapshot()["state"]["stores"] for twin in twins]
    assert (first := run("converge.yml")).code == 0, first.text
    assert not any((again := run("converge.yml")).changed), again.text
    assert (seen := run("verify.yml")).code == 0, seen.text

    with opened(twins[0].folder) as machine:
        (container,) = machine.stores.containers()
        machine.stores.set_rules(container, machine.stores.rules(container)[:2])
    assert "Hold the rights on the key" in (spoilt := run("verify.yml")).text and spoilt.code == 2

    assert (gone := run("cleanup.yml")).code == 0, gone.text
    assert [twin.snapshot()["state"]["stores"] for twin in twins] == before
    assert [twin.refusals + twin.violations for twin in twins] == [[], []]
