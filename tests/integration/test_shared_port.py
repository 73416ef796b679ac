# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clients of one host at one port that negotiates TLS: each is judged by its own sessions, seen at any moment."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

from .harness import CONNECTS_ANEW, ENFORCE, PAIRS, Fleet

#: The sessions that stand, as a server's own statement would list them: of those that ended it knows nothing.
STANDING: t.Final = (
    "import json, sys; rows = [json.loads(line) for line in open(sys.argv[1])];"
    " [print(json.dumps({name: row[name] for name in ('peer', 'tls', 'verified', 'listener')}))"
    " for row in rows if not row['ended']]"
)
#: Seconds for which a client has no session between the one that it leaves and the next.
REST: t.Final = 4.0


def on_one_port(fleet: Fleet) -> None:
    """Have the servers negotiate TLS on their one port, and list the sessions that stand."""

    def model(data: dict[str, t.Any]) -> None:
        data["components"]["confserv"]["listeners"]["default"] = {"port": 12020, "protocol": "postgresql"}

    def settings(data: dict[str, t.Any]) -> None:
        server, at = data["tls_settings"]["confserv"], "listener.{listener}"
        file = server["sessions"]["file"]
        server["sessions"] = {"command": [sys.executable, "-S", "-c", STANDING, file]}
        server["shape"] = "same_port"
        server["permit"] = [row for row in server["permit"] if row["key"] != "tls_port"]
        server["permit"].append({"section": at, "key": "tls", "value": "permit"})
        server["enforce"] = [{"section": at, "key": "tls", "value": "only"}]

    fleet.edit_yaml("tls_connections.yml", model)
    fleet.edit_yaml("group_vars/all.yml", settings)


@pytest.fixture(params=["hold sessions", pytest.param("connect anew", marks=pytest.mark.soak)])
def both(request: pytest.FixtureRequest, tmp_path: Path, net: str) -> t.Iterator[Fleet]:
    """A fleet whose two clients share host and port, and either hold sessions or connect now and then."""
    fleet = Fleet(tmp_path / "fleet", net=net)
    fleet.prepare()
    on_one_port(fleet)
    anew = ["router", "desk"] if request.param == "connect anew" else []
    fleet.edit_yaml("group_vars/all.yml", lambda data: data.update(fleet_connect_per_message=anew))
    fleet.up()
    try:
        yield fleet
    finally:
        fleet.down()


def test_clients_that_share_host_and_port_are_moved_though_they_come_back_at_different_moments(both: Fleet) -> None:
    both.edit(CONNECTS_ANEW, r"^(canary = .*)$", r"\1\nrest = %g" % REST)
    run = both.playbook("rollout", *ENFORCE).must_end(0)
    assert set(both.stages().values()) == {("enforced", "done")}, run.last_lines
    both.must_be_answered()
    seen = {row["id"]: row["evidence"] for row in both.report()["connections"]}
    assert sorted(seen) == sorted(PAIRS)
    again = both.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0, again.text[-3000:]
