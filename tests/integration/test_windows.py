# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an interruption is allowed: the window of a component, and an operator's word for a cluster that flips."""

from __future__ import annotations

import datetime
import json
import typing as t

from .harness import ENFORCE, SERVERS, Fleet, still

MEMBERS: t.Final = ("ring@cfg1", "ring@cfg2", "ring@app1")


def clock(*, hours: int) -> str:
    """Return the time of the day in some hours."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)).strftime("%H:%M")


def in_window(*, hours: int) -> tuple[str, str]:
    """Return the option that allows interruptions until in some hours."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    return "-e", "tls_window=" + moment.strftime("%Y-%m-%dT%H:%MZ")


def started(fleet: Fleet, instances: t.Iterable[str]) -> dict[str, str]:
    """Return the process record of each instance, which a restart writes anew."""
    return {each: (fleet.folder(each) / "process.json").read_text() for each in instances}


def test_what_interrupts_waits_for_its_window_and_what_does_not_goes_on(clear: Fleet):
    def window(data: dict[str, t.Any]) -> None:
        data["components"]["confserv"]["window"] = "%s-%s" % (clock(hours=2), clock(hours=4))

    def restarts(data: dict[str, t.Any]) -> None:
        data["tls_settings"]["confserv"].update(apply="restart", interruption=2)

    clear.edit_yaml("tls_connections.yml", window)
    clear.edit_yaml("group_vars/all.yml", restarts)
    processes = started(clear, SERVERS)

    run = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("presented", "waiting")}, clear.stages()
    assert "its window %s" % clock(hours=2)[:3] in run.last_lines
    assert "opens at" in run.last_lines
    assert started(clear, SERVERS) == processes
    clear.must_talk()

    run = clear.playbook("rollout", *ENFORCE, "-e", "tls_window=2026-01-01T00:00Z")
    assert run.code == 2
    assert "is over" in run.text

    clear.playbook("rollout", *ENFORCE, *in_window(hours=1)).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}, clear.stages()
    clear.must_talk()


def with_a_ring(fleet: Fleet) -> None:
    """Give the fleet a cluster of three that has one port for its links, and can only flip it."""
    listener, peer = {"section": "listener.{listener}"}, {"section": "peer.{server}.{server_host}"}
    stages = {
        "permit": [
            {**listener, "key": "certificate", "value": "{fullchain}"},
            {**listener, "key": "key", "value": "{key}"},
        ],
        "enforce": [{**listener, "key": "tls", "value": "only"}],
        "connect": [
            {**peer, "key": "name", "value": "{dial}"},
            {**peer, "key": "trust", "value": "{trust}"},
            {**peer, "key": "tls", "value": "yes"},
        ],
        "verify": [{**peer, "key": "verify", "value": "yes"}],
    }

    def model(data: dict[str, t.Any]) -> None:
        listeners = {"link": {"port": 13000, "protocol": "cluster"}}
        hosts = [each.partition("@")[2] for each in MEMBERS]
        data["components"]["ring"] = {"kind": "pem_service", "hosts": hosts, "listeners": listeners}
        data["connections"] = [{"client": "ring", "server": "ring.link", "link": True}]

    def settings(data: dict[str, t.Any]) -> None:
        text = json.dumps(data["tls_settings"]["confserv"]).replace("confserv", "ring")
        data["tls_settings"] = {"ring": {**json.loads(text), "shape": "flip", "interruption": 4, **stages}}

    fleet.down()
    fleet.edit_yaml("tls_connections.yml", model)
    fleet.edit_yaml("group_vars/all.yml", settings)
    fleet.up()


def test_a_cluster_that_can_only_flip_is_announced_and_waits_for_the_word_of_an_operator(clear: Fleet):
    with_a_ring(clear)
    plan = clear.playbook("plan", *ENFORCE).must_end(0)
    assert "the whole cluster" in plan.text
    before = {each: clear.options(each).read_bytes() for each in MEMBERS}

    run = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert len(clear.stages()) == 6
    assert set(clear.stages().values()) == {("presented", "waiting")}, clear.stages()
    assert "the whole cluster is interrupted at once" in run.last_lines
    assert "tls_window" in run.last_lines
    assert {each: clear.options(each).read_bytes() for each in MEMBERS} == before
    clear.must_talk()

    clear.playbook("rollout", *ENFORCE, *in_window(hours=1)).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}, clear.stages()
    clear.must_talk()

    folders = [clear.folder(each) for each in MEMBERS]
    enforced = still(*folders)
    again = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0
    assert still(*folders) == enforced


def test_a_cluster_whose_flip_fails_at_one_member_goes_back_as_one(clear: Fleet):
    with_a_ring(clear)
    clear.playbook("rollout", *ENFORCE).must_end(0)
    before = {each: clear.options(each).read_bytes() for each in MEMBERS}

    def refusing(data: dict[str, t.Any]) -> None:
        """Have one member's configuration test refuse whatever it is shown."""
        ring = data["tls_settings"]["ring"]
        ring["test"] = "{{ ['false'] if inventory_hostname == 'app1' else %s }}" % json.dumps(ring["test"])

    clear.edit_yaml("group_vars/all.yml", refusing)
    run = clear.playbook("rollout", *ENFORCE, *in_window(hours=1)).must_end(2)
    assert "the configuration test (false) ended with 1" in run.last_lines
    assert {each: clear.options(each).read_bytes() for each in MEMBERS} == before
    assert {stage for stage, _status in clear.stages().values()} == {"presented"}
    clear.must_be_answered()
