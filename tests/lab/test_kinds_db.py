# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of databases and brokers on hosts, as packages bring them: moved under load, looked at, and taken back."""

from __future__ import annotations

import errno
import socket
import typing as t
from pathlib import Path

import pytest

from .driver import Lab
from .fleet import LabFleet, load_settings
from .judges import Judge

#: All kinds at once are in test_centre.py; each by itself takes most of a minute.
pytestmark = pytest.mark.soak

#: A server, another one that depends on it, and a host of applications.
HOSTS: t.Final = "db1,db2,app1"
#: Requests of a session, which take a second and a half.
SESSION: t.Final = 30


def is_closed(address: str, port: int) -> bool:
    """Return whether a port refuses connections."""
    with socket.socket() as sock:
        sock.settimeout(5)
        return sock.connect_ex((address, port)) == errno.ECONNREFUSED


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
                {"client": "copy", "server": "cache.keys", "dial": db1},
                {"client": "wall", "server": "copy.keys"},
            ],
        },
        settings={"cache": {}, "copy": {}},
    )
    fleet.work("desk", ask="INCR asked", password="geheim", session=SESSION)
    fleet.work("wall", ask="EXISTS asked", password="geheim", session=SESSION)
    before = [fleet.held(host, "/etc/redis/redis.conf") for host in ("db1", "db2")]
    units = (("db1", "redis-server"), ("db2", "redis-server"))
    started = fleet.started(*units)

    seconds = round(fleet.enforced(exercised=True), 1)
    assert fleet.started(*units) == started

    known, judge = Judge(lab, "app1", "desk"), Judge(lab, "app1", "wall")
    assert known.refusal("db1.lab.test:6380", who="itself") == judge.refusal("db2.lab.test:6380") == ""
    assert "certificate required" in known.refusal("db1.lab.test:6380")
    assert "unknown ca" in known.refusal("db1.lab.test:6380", who="stranger")
    for address in (db1, db2):
        assert is_closed(address, 6379)
        assert "refused" in fleet.refuses("app1", "redis-cli -e -h %s -p 6379 PING" % address)
    assert "master_link_status:up" in lab.ssh("db2", info(db2, "copy"))
    assert "master_port:6380" in lab.ssh("db2", info(db2, "copy"))

    fleet.renewed(*units)
    fleet.unchanged(*units)
    load = [fleet.worked(name) for name in ("desk", "wall")]
    fleet.taken_back()
    assert [fleet.held(host, "/etc/redis/redis.conf") for host in ("db1", "db2")] == before
    after = [fleet.worked(name) for name in ("desk", "wall")]
    tell("redis", seconds=seconds, counted=after)
    assert [each["lost"] for each in (*load, *after)] == [0, 0, 0, 0], after
    assert fleet.started(*units) == started
    fleet.rest("desk", "wall")


def info(address: str, component: str) -> str:
    """Return the command that asks a Redis that only speaks TLS how its replication goes."""
    trust = "/etc/connsec/%s/current/fullchain.pem" % component
    return "REDISCLI_AUTH=geheim redis-cli -h %s -p 6380 --tls --insecure --cacert %s INFO replication" % (
        address,
        trust,
    )


# PostgreSQL

POSTGRESQL: t.Final = "/etc/postgresql/15/main"
DATA: t.Final = "/var/lib/postgresql/15/main"
SERVICES: t.Final = "/etc/postgresql-common/pg_service.conf"
#: As a person sets up a primary, a standby, and the applications of both.
PRIMARY: t.Final = """\
set -e
echo "listen_addresses = '*'" > {etc}/conf.d/lab.conf
printf 'host crm crm {app1}/32 scram-sha-256\nhost replication replicator samenet scram-sha-256\n' >> {etc}/pg_hba.conf
systemctl start postgresql
cd /; runuser -u postgres -- psql -qc "create user crm password 'geheim'" -c "create database crm owner crm" \
  -c "create user replicator replication password 'geheim'"
runuser -u postgres -- psql -qd crm -c "create table asked (x int)" -c "alter table asked owner to crm"
"""
STANDBY: t.Final = """\
set -e
echo "listen_addresses = '*'" > {etc}/conf.d/lab.conf
printf 'host crm crm {app1}/32 scram-sha-256\n' >> {etc}/pg_hba.conf
cd /; echo '*:*:*:*:geheim' | runuser -u postgres -- sh -c 'umask 077; cat > /var/lib/postgresql/.pgpass; rm -r {data}'
runuser -u postgres -- pg_basebackup -h {db1} -U replicator -D {data} -R -c fast
systemctl start postgresql
"""
APPLICATIONS: t.Final = """\
set -e
printf '[crm_db]\nhost=db1.lab.test\ndbname=crm\nuser=crm\npassword=geheim\n' > {services}
printf '\n# reads\n[crm_copy]\nhost={db2}\ndbname=crm\nuser=crm\npassword=geheim\n' >> {services}
"""


def test_postgresql_and_its_standby_move_without_a_lost_request(lab: Lab, tmp_path: Path) -> None:
    db1, db2, app1 = (lab.host(name).address for name in ("db1", "db2", "app1"))
    config, hba, standby = POSTGRESQL + "/postgresql.conf", POSTGRESQL + "/pg_hba.conf", DATA + "/postgresql.auto.conf"
    names = {"etc": POSTGRESQL, "data": DATA, "services": SERVICES, "db1": db1, "db2": db2, "app1": app1}
    for host, script in (("db1", PRIMARY), ("db2", STANDBY), ("app1", APPLICATIONS)):
        lab.ssh(host, "bash", given=script.format(**names))
    rule = {"key": "hostssl crm crm %s/32" % app1, "value": "scram-sha-256 clientcert=verify-ca"}
    copying = {"key": "hostssl replication replicator samenet", "value": "scram-sha-256 clientcert=verify-ca"}
    copier = {"user": "replicator", "replication": True}
    fleet = LabFleet(
        lab,
        tmp_path / "fleet",
        model={
            "components": {
                "crm_db": {
                    "kind": "postgresql",
                    "hosts": ["db1"],
                    "listeners": {"sql": {"port": 5432, "protocol": "postgresql", "mode": "mutual"}},
                },
                "crm_copy": {
                    "kind": "postgresql",
                    "hosts": ["db2"],
                    "listeners": {"sql": {"port": 5432, "protocol": "postgresql"}},
                },
                "crm": {"kind": "libpq", "hosts": ["app1"]},
                "board": {"kind": "libpq", "hosts": ["app1"]},
            },
            "connections": [
                {"client": "crm", "server": "crm_db.sql", "dial": "db1.lab.test"},
                {"client": "crm_copy", "server": "crm_db.sql", "dial": db1},
                {"client": "board", "server": "crm_copy.sql", "dial": db2},
            ],
        },
        settings={
            "crm_db": {"demand": [rule, copying], "user": "crm", "database": "crm", "logins": {"crm_copy": copier}},
            "crm_copy": {"standby": standby, "user": "crm", "database": "crm"},
            "crm": {"process": {"service": "load@crm"}},
            "board": {"process": {"service": "load@board"}},
        },
    )
    fleet.work("crm", service="crm_db", ask="insert into asked values (1) returning 1", session=SESSION)
    fleet.work("board", service="crm_copy", ask="select 1 from asked limit 1", session=SESSION)
    files = {"db1": (config, hba), "db2": (config, hba, standby), "app1": (SERVICES,)}
    before = {host: fleet.held(host, *paths) for host, paths in files.items()}
    units = [(host, "postgresql@15-main") for host in ("db1", "db2")]
    started = fleet.started(*units)

    seconds = round(fleet.enforced(exercised=True), 1)

    starttls = ("-starttls", "postgres")
    known, judge = Judge(lab, "app1", "crm"), Judge(lab, "app1", "board")
    assert known.refusal("db1.lab.test:5432", *starttls, who="itself") == ""
    assert judge.refusal(db2 + ":5432", *starttls) == ""
    assert "unknown ca" in known.refusal("db1.lab.test:5432", *starttls, who="stranger")
    for name in ("db1", "db2"):
        said = fleet.refuses("app1", psql(name, "sslmode=disable"))
        assert "rejects connection" in said and "no encryption" in said, said
    without = "sslmode=require sslcert=/none sslkey=/none sslrootcert=/none"
    assert "requires a valid client certificate" in fleet.refuses("app1", psql("db1", without))
    streams = "runuser -u postgres -- psql -Atqc 'select ssl from pg_stat_ssl join pg_stat_replication using (pid)'"
    assert lab.ssh("db1", "cd /; " + streams).split() == ["t"]

    fleet.renewed(*units)
    fleet.unchanged(*units)
    load = [fleet.worked(name) for name in ("crm", "board")]
    fleet.taken_back()
    assert {host: fleet.held(host, *paths) for host, paths in files.items()} == before
    after = [fleet.worked(name) for name in ("crm", "board")]
    tell("postgresql", seconds=seconds, counted=after)
    assert [each["lost"] for each in (*load, *after)] == [0, 0, 0, 0], after
    assert fleet.started(*units) == started
    fleet.rest("crm", "board")


def psql(host: str, parameters: str) -> str:
    """Return the command that asks a PostgreSQL as its application may."""
    return "psql -Atqc 'select 1' 'host=%s.lab.test dbname=crm user=crm password=geheim %s'" % (host, parameters)


# MariaDB

DATABASE: t.Final = """\
set -e
sed -i 's/^bind-address.*/bind-address = 0.0.0.0/' /etc/mysql/mariadb.conf.d/50-server.cnf
systemctl start mariadb
mariadb -e "create database shop; create table shop.asked (x int)"
mariadb -e "grant all on shop.* to 'shop'@'%' identified by 'geheim'"
"""


def test_mariadb_is_restarted_once_and_loses_no_more_than_that_takes(lab: Lab, tmp_path: Path) -> None:
    lab.ssh("db1", "bash", given=DATABASE)
    ours, own, unit = "/etc/mysql/mariadb.conf.d/70-tls.cnf", "/etc/shop.cnf", ("db1", "mariadb")
    secure = [{"key": "ssl-ca", "value": "{trust}"}, {"key": "ssl-verify-server-cert", "value": "on"}]
    fleet = LabFleet(
        lab,
        tmp_path / "fleet",
        model={
            "components": {
                "shop_db": {
                    "kind": "mariadb",
                    "hosts": ["db1"],
                    "listeners": {"sql": {"port": 3306, "protocol": "mysql"}},
                },
                "shop": {"kind": "pem_service", "hosts": ["app1"]},
            },
            "connections": [{"client": "shop", "server": "shop_db.sql", "dial": "db1.lab.test"}],
        },
        settings={
            "shop_db": {},
            "shop": {
                **load_settings("shop"),
                "config": own,
                "connect": [{"section": "client", **row} for row in secure],
                "verify": [{"section": "client", **row} for row in secure[1:]],
            },
        },
    )
    fleet.put("app1", own, "[client]\nhost = db1.lab.test\nuser = shop\npassword = geheim\n", "600")
    fleet.work("shop", file=own, ask="insert into shop.asked values (1); select 1", session=SESSION)
    started = fleet.started(unit)

    seconds = round(fleet.enforced(exercised=True), 1)
    assert fleet.started(unit) != started, "it is restarted once"

    where, starttls, judge = "db1.lab.test:3306", ("-starttls", "mysql"), Judge(lab, "app1", "shop")
    assert judge.refusal(where, *starttls) == ""
    assert "handshake failure" in judge.refusal(where, *starttls, "-tls1_2", "-cipher", "AES128-GCM-SHA256")
    asked = "mariadb -h db1.lab.test -u shop -pgeheim -e 'select 1' "
    assert "Access denied" in fleet.refuses("app1", asked + "--skip-ssl")
    assert "1" in lab.ssh("app1", asked + "--ssl")

    moved = fleet.worked("shop")
    fleet.renewed(unit)
    fleet.unchanged(unit)
    assert fleet.worked("shop")["lost"] == moved["lost"]
    fleet.taken_back()
    assert "No such file" in fleet.refuses("db1", "cat", ours)
    after = fleet.worked("shop")
    tell("mariadb", seconds=seconds, lost_moving=moved["lost"], counted=after)
    assert moved["lost"] <= 20 and after["lost"] <= 2 * 20, after
    fleet.rest("shop")


# RabbitMQ

BROKER: t.Final = """\
set -e
systemctl start rabbitmq-server
rabbitmqctl -q add_user desk geheim < /dev/null
rabbitmqctl -q set_permissions desk '.*' '.*' '.*' < /dev/null
"""


def test_rabbitmq_is_restarted_in_each_stage_and_a_client_that_dials_anew_goes_on(lab: Lab, tmp_path: Path) -> None:
    db1, ours = lab.host("db1").address, "/etc/rabbitmq/rabbitmq.conf"
    lab.ssh("db1", "bash", given=BROKER)
    lab.ssh("app1", "amqp-declare-queue --url amqp://desk:geheim@db1.lab.test -d -q asked")
    fleet = LabFleet(
        lab,
        tmp_path / "fleet",
        model={
            "components": {
                "broker": {
                    "kind": "rabbitmq",
                    "hosts": ["db1"],
                    "listeners": {"amqp": {"port": 5672, "secure_port": 5671, "protocol": "amqp", "mode": "mutual"}},
                },
                "bus": {"kind": "pem_service", "hosts": ["app1"]},
            },
            "connections": [{"client": "bus", "server": "broker.amqp", "dial": "db1.lab.test"}],
        },
        settings={"broker": {}},
    )
    fleet.work("bus", login="desk:geheim", queue="asked", session=SESSION)

    seconds = round(fleet.enforced(exercised=True), 1)

    known, where = Judge(lab, "app1", "bus"), "db1.lab.test:5671"
    assert known.refusal(where, who="itself") == ""
    assert "certificate required" in known.refusal(where)
    assert "unknown ca" in known.refusal(where, who="stranger")
    assert "opening socket" in fleet.refuses("app1", "amqp-get --url amqp://desk:geheim@db1.lab.test -q asked")
    assert is_closed(db1, 5672)

    moved = fleet.worked("bus")
    fleet.renewed(("db1", "rabbitmq-server"))
    fleet.unchanged(("db1", "rabbitmq-server"))
    assert fleet.worked("bus")["lost"] == moved["lost"]
    fleet.taken_back()
    assert "No such file" in fleet.refuses("db1", "cat", ours)
    after = fleet.worked("bus")
    tell("rabbitmq", seconds=seconds, lost_moving=moved["lost"], counted=after)
    fleet.rest("bus")
