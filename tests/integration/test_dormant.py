# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby that refuses its port is moved with the others, and closed to plaintext once a failover was seen."""

from __future__ import annotations

import os
import signal
import time
import typing as t

from .harness import ENFORCE, SERVERS, Fleet


def stop(fleet: Fleet, instance: str) -> None:
    """Stop an instance, so that nobody listens at its ports."""
    pid = int((fleet.folder(instance) / "component.pid").read_text().split()[0])
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + 10
    while os.path.exists("/proc/%d/fd/0" % pid):
        assert time.monotonic() < until, "%s does not end" % instance
        time.sleep(0.02)


def stages_at(fleet: Fleet, host: str) -> set[tuple[str, str]]:
    return {row for name, row in fleet.stages().items() if name.endswith("@" + host)}


def sessions(fleet: Fleet, instance: str) -> str:
    return (fleet.folder(instance) / "sessions.jsonl").read_text()


def test_a_standby_is_configured_asleep_and_enforced_after_its_failover(clear: Fleet):
    def is_a_standby(data: dict[str, t.Any]) -> None:
        for connection in data["connections"]:
            connection["dormant"] = "standby"

    clear.edit_yaml("tls_connections.yml", is_a_standby)
    first, second = SERVERS
    stop(clear, second)
    run = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert stages_at(clear, "cfg1") == {("enforced", "done")}
    assert stages_at(clear, "cfg2") == {("switched", "waiting")}
    assert "no TLS session of it was seen so far, and no drill is named" in run.last_lines
    asleep = next(row for row in clear.report()["connections"] if row["id"].endswith("@cfg2"))
    assert asleep["dormant"] == {"why": "standby", "drill": None, "exercised": None}
    assert not any(item["live"] for item in asleep["evidence"])
    assert "tls_port = 12021" in clear.options(second).read_text(), "it is configured although it does not run"

    clear.fleet("restart", second)  # the failover: the standby wakes up with TLS, and the other one is gone
    stop(clear, first)
    run = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    awake = next(row for row in clear.report()["connections"] if row["id"].endswith("@cfg2"))
    assert any(item["live"] and item["gate"] == "switched" for item in awake["evidence"])
    assert '"tls": true' in sessions(clear, second)
    again = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0

    clear.fleet("restart", first)  # and back: what slept is enforced as it was
    stop(clear, second)
    clear.playbook("verify").must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    exercised = {row["id"]: row["dormant"]["exercised"] for row in clear.report()["connections"]}
    assert all(exercised.values()), exercised
