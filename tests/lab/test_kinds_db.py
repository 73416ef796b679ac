# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of databases and brokers on hosts, as packages bring them: moved under load, looked at, and taken back."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from . import driver
from .conftest import NET
from .driver import Lab
from .names import parse_hosts
from .rollouts import Judge, LabFleet, application


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    """A server, another one that depends on it, and a host of applications."""
    driver.build(print)
    with driver.lab(NET, parse_hosts("db1,db2,app1")) as found:
        yield found


def tell(kind: str, **figures: object) -> None:
    """Print the figures that a kind's page gives."""
    print("\n%s: %s" % (kind, ", ".join("%s %s" % row for row in figures.items())))


# Redis


def test_redis_and_its_replica_move_without_a_lost_request(lab: Lab, tmp_path: Path) -> None:
    db1, db2 = lab.host("db1").address, lab.host("db2").address
    for host, address in (("db1", db1), ("db2", db2)):
        more = "requirepass geheim\nmasterauth geheim\n" + ("replicaof %s 6379\n" % db1 if host == "db2" else "")
        lab.ssh(host, "sed -i 's/^bind .*/bind %s 127.0.0.1/' /etc/redis/redis.conf" % address)
        lab.ssh(host, "cat >> /etc/redis/redis.conf && systemctl start redis-server", given=more)
    fleet = LabFleet(
        lab,
        tmp_path / "fleet",
        model={
            "components": {
                "cache": {
                    "kind": "redis",
                    "hosts": ["db1"],
                    "listeners": {"keys": {"port": 6379, "secure_port": 6380, "protocol": "redis", "mode": "mutual"}},
                },
                "copy": {
                    "kind": "redis",
                    "hosts": ["db2"],
                    "listeners": {"keys": {"port": 6379, "secure_port": 6380, "protocol": "redis"}},
                },
                "desk": {"kind": "pem_service", "hosts": ["app1"]},
                "wall": {"kind": "pem_service", "hosts": ["app1"]},
            },
            "connections": [
                {"client": "desk", "server": "cache.keys"},
                {"client": "copy", "server": "cache.keys"},
                {"client": "wall", "server": "copy.keys"},
            ],
        },
        settings={
            "cache": {},
            "copy": {},
            "desk": application("desk", mutual=True),
            "wall": application("wall"),
        },
    )
    fleet.work("app1", "desk", "redis", {"host": db1, "port": "6379", "ask": "INCR asked"}, REDISCLI_AUTH="geheim")
    fleet.work("app1", "wall", "redis", {"host": db2, "port": "6379", "ask": "EXISTS asked"}, REDISCLI_AUTH="geheim")
    fleet.worked("app1", "wall")
    before = [fleet.held(host, "/etc/redis/redis.conf") for host in ("db1", "db2")]
    started = [fleet.started(host, "redis-server") for host in ("db1", "db2")]

    seconds = round(fleet.enforced(), 1)
    assert [fleet.started(host, "redis-server") for host in ("db1", "db2")] == started

    known, judge = Judge(fleet, "app1", "desk", tmp_path / "desk"), Judge(fleet, "app1", "wall", tmp_path / "wall")
    assert known.refusal(db1, 6380, as_="itself") == judge.refusal(db2, 6380) == ""
    assert "certificate required" in known.refusal(db1, 6380)
    assert "unknown ca" in known.refusal(db1, 6380, as_="foreign")
    for address in (db1, db2):
        assert "refused" in fleet.refuses("app1", "redis-cli -e -h %s -p 6379 PING" % address)
    assert "master_link_status:up" in lab.ssh("db2", info(db2, "copy"))
    assert "master_port:6380" in lab.ssh("db2", info(db2, "copy"))

    fleet.unchanged(("db1", "redis-server"), ("db2", "redis-server"))
    load = [fleet.worked("app1", name) for name in ("desk", "wall")]
    fleet.taken_back()
    assert [fleet.held(host, "/etc/redis/redis.conf") for host in ("db1", "db2")] == before
    after = [fleet.worked("app1", name) for name in ("desk", "wall")]
    tell(
        "redis",
        seconds=round(seconds, 1),
        answered=[each.answered for each in after],
        lost=[each.lost for each in after],
    )
    assert [each.lost for each in (*load, *after)] == [0, 0, 0, 0], after
    assert [fleet.started(host, "redis-server") for host in ("db1", "db2")] == started
    for name in ("desk", "wall"):
        fleet.rest("app1", name)


def info(address: str, component: str) -> str:
    """Return the command that asks a Redis that only speaks TLS how its replication goes."""
    trust = "/etc/connsec/%s/current/fullchain.pem" % component
    return "REDISCLI_AUTH=geheim redis-cli -h %s -p 6380 --tls --insecure --cacert %s INFO replication" % (
        address,
        trust,
    )
