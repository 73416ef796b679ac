# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind of somebody's own: a role anywhere on their roles path, with an entry point that edits by usual tasks."""

from __future__ import annotations

import typing as t
from pathlib import Path

from .harness import CONNECTS_ANEW, ENFORCE, PAIRS, Fleet

ROLES: t.Final = str(Path(__file__).parent / "roles")


def make_it_lines(fleet: Fleet) -> None:
    """Have the client that connects anew be of kind ``lines``."""

    def kind(data: dict[str, t.Any]) -> None:
        data["components"]["desk"]["kind"] = "lines"

    def settings(data: dict[str, t.Any]) -> None:
        desk = data["tls_settings"]["desk"]
        data["tls_settings"]["desk"] = {
            "config": desk["config"],
            "test": desk["test"],
            "pid_file": desk["process"]["pid_file"],
        }

    fleet.edit_yaml("tls_connections.yml", kind)
    fleet.edit_yaml("group_vars/all.yml", settings)


def test_a_kind_that_edits_by_tasks_is_moved_like_any_other(clear: Fleet):
    make_it_lines(clear)
    clear.playbook("rollout", *ENFORCE, ANSIBLE_ROLES_PATH=ROLES).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    again = clear.playbook("rollout", *ENFORCE, ANSIBLE_ROLES_PATH=ROLES).must_end(0)
    assert again.changed == 0
    clear.must_talk()
    before = clear.playbook("rollback", *ENFORCE, ANSIBLE_ROLES_PATH=ROLES).must_end(0)
    assert before.changed > 0
    assert "tls = yes" not in clear.options(CONNECTS_ANEW).read_text()
    clear.must_talk()


def test_an_entry_point_that_fails_is_taken_back_and_says_what_it_said(clear: Fleet, tmp_path: Path):
    make_it_lines(clear)
    role = tmp_path / "kind_lines"
    for name in ("vars/main.yml", "tasks/connect.yml"):
        (role / name).parent.mkdir(parents=True, exist_ok=True)
        (role / name).write_text((Path(ROLES) / "kind_lines" / name).read_text())
    failing = "\n- name: Fail after the edit\n  ansible.builtin.fail:\n    msg: the vendor's tool says no\n"
    with (role / "tasks" / "connect.yml").open("a") as file:
        file.write(failing)
    before = clear.options(CONNECTS_ANEW).read_bytes()
    run = clear.playbook("rollout", *ENFORCE, ANSIBLE_ROLES_PATH=str(tmp_path)).must_end(2)
    assert "the vendor's tool says no" in run.last_lines
    assert clear.options(CONNECTS_ANEW).read_bytes() == before
    stages = clear.stages()
    assert {stages[name] for name in PAIRS if name.startswith("desk@")} == {("permissive", "failed")}
    assert {stages[name] for name in PAIRS if name.startswith("router@")} == {("switched", "waiting")}
    clear.must_talk()
