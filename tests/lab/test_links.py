# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links between members of one server, on hosts: moved stage by stage with all that they carry, and taken back."""

from __future__ import annotations

import datetime
import shlex
import socket
import threading
import time
import typing as t
from pathlib import Path

import pytest
from integration.harness import ENFORCE, SWITCH

from . import driver
from .conftest import NET
from .driver import Lab
from .fleet import LabFleet
from .judges import Judge, Who
from .names import parse_hosts

#: Each by itself takes minutes.
pytestmark = pytest.mark.soak

HOSTS: t.Final = ("n1", "n2", "n3")


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    """Three hosts, for clusters of three."""
    driver.build(print)
    with driver.lab(NET, parse_hosts(",".join(HOSTS))) as found:
        yield found


def by_name(lab: Lab) -> dict[str, t.Any]:
    """Return the hosts of a model, which know each other by name."""
    return {host: {"os": "linux", "addresses": [host, lab.host(host).address]} for host in HOSTS}


def within_an_hour() -> tuple[str, str]:
    """Return the option that allows interruptions for an hour."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    return "-e", "tls_window=" + moment.strftime("%Y-%m-%dT%H:%MZ")


def must_be_at(fleet: LabFleet, stage: str, *options: str) -> None:
    """Roll out to a stage, and fail unless every pair gets there."""
    run = fleet.playbook("rollout", *ENFORCE, "-e", "tls_until=%s" % stage, *options).must_end(0)
    assert set(fleet.stages().values()) == {(stage, "done")}, run.last_lines


def must_be_back(fleet: LabFleet, *options: str) -> None:
    """Take everything back, and fail unless every pair is where it was."""
    run = fleet.playbook("rollback", *ENFORCE, *options).must_end(0)
    assert {stage for stage, _status in fleet.stages().values()} <= {"plain", "trusted", "presented"}, run.last_lines


def until(what: t.Callable[[], bool], seconds: float, why: t.Callable[[], object]) -> float:
    """Wait until something holds, and return the seconds that it took."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() < began + seconds, why()
        time.sleep(0.2)
    return time.monotonic() - began


def start(lab: Lab, unit: str, *hosts: str) -> None:
    """Start a unit on some hosts, however long that takes on a busy machine."""
    for host in hosts:
        lab.ssh(host, "systemctl start --no-block %s" % unit)
    states = "systemctl show --value --property=ActiveState %s" % unit

    def is_up() -> bool:
        return all(lab.ssh(host, states).strip() == "active" for host in hosts)

    until(is_up, 300, lambda: [lab.ssh(host, states) for host in hosts])


class Outage:
    """A watch of ports from outside, each asked every 50 ms: for how long none of them was open, and each was not."""

    def __init__(self, *ends: tuple[str, int]) -> None:
        """Begin to watch."""
        self._down: dict[tuple[str, int], float] = dict.fromkeys(ends, 0.0)
        self._all = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> tuple[float, float]:
        """Return the seconds for which all were down at once, and the longest that one was."""
        self._over.set()
        self._thread.join()
        return round(self._all, 1), round(max(self._down.values()), 1)

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._over.wait(0.05):
            closed = [end for end in self._down if not _is_open(*end)]
            passed, last = time.monotonic() - last, time.monotonic()
            for end in closed:
                self._down[end] += passed
            self._all += passed if len(closed) == len(self._down) else 0.0


def _is_open(address: str, port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(2)
        return sock.connect_ex((address, port)) == 0


def must_refuse(judge: Judge, name: str, port: int) -> None:
    """Fail unless a member refuses who has no certificate, or a stranger's; a busy host takes its time."""

    def refuses(who: Who, why: str) -> bool:
        return why in judge.refusal("%s:%d" % (name, port), who=who)

    until(lambda: refuses("nobody", "certificate required"), 30, lambda: "it lets one without a certificate in")
    until(lambda: refuses("stranger", "unknown ca"), 30, lambda: "it lets a stranger in")


def tell(link: str, **figures: object) -> None:
    """Print the figures that a kind's page gives."""
    print("\n%s: %s" % (link, ", ".join("%s %s" % row for row in figures.items())))


# PostgreSQL: a standby that streams

ETC: t.Final = "/etc/postgresql/15/main"
DATA: t.Final = "/var/lib/postgresql/15/main"
PRIMARY: t.Final = """\
set -e
echo "listen_addresses = '*'" > {etc}/conf.d/lab.conf
printf 'host replication replicator samenet scram-sha-256\n' >> {etc}/pg_hba.conf
systemctl start postgresql
cd /; runuser -u postgres -- psql -qc "create user replicator replication password 'geheim'" \\
  -c "create table said (x int)"
"""
STANDBY: t.Final = """\
set -e
echo "listen_addresses = '*'" > {etc}/conf.d/lab.conf
cd /; echo '*:*:*:*:geheim' | runuser -u postgres -- sh -c 'umask 077; cat > /var/lib/postgresql/.pgpass; rm -r {data}'
runuser -u postgres -- pg_basebackup -h {primary} -U replicator -D {data} -R -c fast
systemctl start postgresql
"""
#: One row a tenth of a second, each in a transaction of its own, in one session of the host itself.
WRITER: t.Final = "while psql -qc 'insert into said select coalesce(max(x), 0) + 1 from said'; do sleep 0.1; done"


def psql(lab: Lab, host: str, words: str) -> str:
    """Return what a PostgreSQL answers its own administrator."""
    return lab.ssh(host, 'cd /; runuser -u postgres -- psql -XAtqc "%s"' % words).strip()


def stream(lab: Lab) -> list[str]:
    """Return whether each stream of the primary is over TLS (``t`` or ``f``)."""
    return psql(lab, "n1", "select ssl from pg_stat_ssl join pg_stat_replication using (pid)").split()


def test_a_standby_of_postgresql_follows_through_every_stage_and_misses_nothing(lab: Lab, tmp_path: Path) -> None:
    names = {"etc": ETC, "data": DATA, "primary": lab.host("n1").address}
    lab.ssh("n1", "bash", given=PRIMARY.format(**names))
    lab.ssh("n2", "bash", given=STANDBY.format(**names))
    standby = DATA + "/postgresql.auto.conf"
    files = {"n1": (ETC + "/postgresql.conf", ETC + "/pg_hba.conf"), "n2": (standby,)}
    copier = {"user": "replicator", "replication": True}
    lets_in = {"key": "hostssl replication replicator samenet", "value": "scram-sha-256 clientcert=verify-ca"}
    sql = {"port": 5432, "protocol": "postgresql", "mode": "mutual"}
    fleet = LabFleet(
        lab,
        tmp_path / "fleet",
        model={
            "components": {
                "db": {"kind": "postgresql", "hosts": ["n1"], "listeners": {"sql": sql}},
                "copy": {"kind": "postgresql", "hosts": ["n2"]},
            },
            "connections": [{"client": "copy", "server": "db.sql"}],
        },
        settings={"db": {"demand": [lets_in], "logins": {"copy": copier}}, "copy": {"standby": standby}},
    )
    before = {host: fleet.held(host, *paths) for host, paths in files.items()}
    units = [(host, "postgresql@15-main") for host in ("n1", "n2")]
    since = fleet.started(*units)
    lab.ssh("n1", "systemd-run -q --unit=writer --uid=postgres --working-directory=/ sh -c %r" % WRITER)

    def goes_on() -> float:
        written = psql(lab, "n1", "select coalesce(max(x), 0) from said")
        late = "select coalesce(max(x), 0) >= %s from said" % written
        return until(lambda: psql(lab, "n2", late) == "t", 20, lambda: psql(lab, "n1", "table pg_stat_replication"))

    goes_on()
    # Debian's clients prefer TLS, which its server offers from the start, unverified
    late = {}
    for stage in ("permissive", "switched", "demanded", "enforced"):
        must_be_at(fleet, stage)
        assert stage == "permissive" or stream(lab) == ["t"]
        late[stage] = round(goes_on(), 1)
    clear = "host=%s user=replicator replication=1 sslmode=disable" % names["primary"]
    asked = "cd /; runuser -u postgres -- psql -d '%s' -c IDENTIFY_SYSTEM" % clear
    assert "rejects replication connection" in fleet.refuses("n2", asked)
    must_be_back(fleet)
    goes_on()
    lab.ssh("n1", "systemctl stop writer")
    goes_on()
    assert {host: fleet.held(host, *paths) for host, paths in files.items()} == before
    assert fleet.started(*units) == since
    whole = "select count(*) = max(x), max(x) from said"
    assert psql(lab, "n2", whole) == psql(lab, "n1", whole) and psql(lab, "n2", whole).startswith("t|")
    tell("postgresql", rows=psql(lab, "n2", whole), seconds_behind=late)
    lab.ssh("n1", "systemctl stop postgresql")
    lab.ssh("n2", "systemctl stop postgresql")


# Redis: a replica


def redis(lab: Lab, host: str, words: str) -> str:
    """Return what a Redis answers at its own socket."""
    return lab.ssh(host, "redis-cli -s /run/redis/redis-server.sock %s" % words).strip()


def test_a_replica_of_redis_is_up_after_every_stage_and_misses_nothing(lab: Lab, tmp_path: Path) -> None:
    primary = lab.host("n1").address
    for host in ("n1", "n2"):
        more = "unixsocket /run/redis/redis-server.sock\n" + ("replicaof %s 6379\n" % primary if host == "n2" else "")
        lab.ssh(host, "sed -i 's/^bind .*/bind %s 127.0.0.1/' /etc/redis/redis.conf" % lab.host(host).address)
        lab.ssh(host, "sed -i 's/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf")
        lab.ssh(host, "cat >> /etc/redis/redis.conf && systemctl start redis-server", given=more)
    keys = {"port": 6379, "secure_port": 6380, "protocol": "redis", "mode": "mutual"}
    fleet = LabFleet(
        lab,
        tmp_path / "fleet",
        model={
            "components": {
                "cache": {"kind": "redis", "hosts": ["n1"], "listeners": {"keys": keys}},
                "mirror": {"kind": "redis", "hosts": ["n2"]},
            },
            "connections": [{"client": "mirror", "server": "cache.keys"}],
        },
        settings={"cache": {}, "mirror": {}},
    )
    before = [fleet.held(host, "/etc/redis/redis.conf") for host in ("n1", "n2")]
    units = [(host, "redis-server") for host in ("n1", "n2")]
    since = fleet.started(*units)
    writer = "redis-cli -s /run/redis/redis-server.sock -r -1 -i 0.05 INCR said"
    lab.ssh("n1", "systemd-run -q --unit=increments sh -c '%s > /dev/null'" % writer)

    def follows(port: int) -> None:
        up = ("master_link_status:up", "master_port:%d" % port)
        until(lambda: all(each in redis(lab, "n2", "INFO replication") for each in up), 20,
              lambda: redis(lab, "n2", "INFO replication"))  # fmt: skip
        said = int(redis(lab, "n1", "GET said"))
        until(lambda: int(redis(lab, "n2", "GET said")) >= said, 20, lambda: redis(lab, "n2", "INFO replication"))

    follows(6379)
    whole = redis(lab, "n1", "INFO stats | grep ^sync_full")
    for stage, port in (("permissive", 6379), ("switched", 6380), ("demanded", 6380), ("enforced", 6380)):
        must_be_at(fleet, stage)
        follows(port)
        clear = redis(lab, "n1", "-h %s -p 6379 PING || true" % primary) if stage != "enforced" else "PONG"
        assert clear == "PONG", "both ports are kept until the end"
    assert "refused" in fleet.refuses("n2", "redis-cli -e -h %s -p 6379 PING" % primary)
    must_be_back(fleet)
    follows(6379)
    lab.ssh("n1", "systemctl stop increments")
    follows(6379)
    assert redis(lab, "n2", "GET said") == redis(lab, "n1", "GET said")
    assert redis(lab, "n1", "INFO stats | grep ^sync_full") == whole, "it went on where it was"
    assert [fleet.held(host, "/etc/redis/redis.conf") for host in ("n1", "n2")] == before
    assert fleet.started(*units) == since
    tell("redis", written=redis(lab, "n2", "GET said"), full_copies=whole)
    for host in ("n1", "n2"):
        lab.ssh(host, "systemctl stop redis-server")


# OpenLDAP: a consumer that follows

PROVIDER: t.Final = """\
set -e
systemctl start slapd
ldapmodify -Q -Y EXTERNAL -H ldapi:/// <<EOF
dn: cn=module{0},cn=config
changetype: modify
add: olcModuleLoad
olcModuleLoad: syncprov

dn: olcOverlay=syncprov,olcDatabase={1}mdb,cn=config
changetype: add
objectClass: olcOverlayConfig
objectClass: olcSyncProvConfig
olcOverlay: syncprov
EOF
"""
#: Debian's package gives each host a database of the same name, which a consumer takes from its provider.
CONSUMER: t.Final = """\
set -e
rm -f /var/lib/ldap/*.mdb
systemctl start slapd
ldapmodify -Q -Y EXTERNAL -H ldapi:/// <<EOF
dn: olcDatabase={1}mdb,cn=config
changetype: modify
add: olcSyncrepl
olcSyncrepl: {0}rid=001 provider=ldap://n1 bindmethod=simple searchbase="dc=lab,dc=test"
  type=refreshAndPersist retry="1 +"
EOF
"""
#: Root of the host may write and read all, as administrators have it.
ROOT: t.Final = """\
ldapmodify -Q -Y EXTERNAL -H ldapi:/// <<EOF
dn: olcDatabase={1}mdb,cn=config
changetype: modify
add: olcAccess
olcAccess: {0}to * by dn.exact=gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth manage by * break
EOF
"""
FOLLOW: t.Final = (
    '{0}rid=001 provider=ldap://{dial} bindmethod=simple searchbase="dc=lab,dc=test" type=refreshAndPersist retry="1 +"'
    " starttls=critical tls_reqcert=demand tls_cacert={trust} tls_cert={fullchain} tls_key={key}"
)
DATABASE: t.Final = "ldapi:///olcDatabase={1}mdb,cn=config"
CONFIG: t.Final = "ldapsearch -Q -Y EXTERNAL -H ldapi:/// -LLL -o ldif-wrap=no -b cn=config"


def entries(lab: Lab, host: str) -> int:
    """Return how many entries of ours a directory has."""
    said = lab.ssh(
        host, "ldapsearch -Q -Y EXTERNAL -H ldapi:/// -LLL -b dc=lab,dc=test '(description=said)' dn || true"
    )
    return said.count("dn: ")


def say(lab: Lab, name: str) -> None:
    """Add an entry to the provider."""
    text = "dn: ou=%s,dc=lab,dc=test\nobjectClass: organizationalUnit\nou: %s\ndescription: said\n" % (name, name)
    lab.ssh("n1", "ldapadd -Q -Y EXTERNAL -H ldapi:///", given=text)


def test_a_consumer_of_openldap_gets_every_change_in_every_stage(lab: Lab, tmp_path: Path) -> None:
    lab.ssh("n1", "bash", given=PROVIDER + ROOT)
    lab.ssh("n2", "bash", given=CONSUMER + ROOT)
    ldap = {"port": 389, "protocol": "ldap", "mode": "mutual"}
    fleet = LabFleet(
        lab,
        tmp_path / "fleet",
        model={
            "hosts": by_name(lab),
            "components": {
                "directory": {"kind": "openldap", "hosts": ["n1"], "listeners": {"ldap": ldap}},
                "replica": {"kind": "openldap", "hosts": ["n2"]},
            },
            "connections": [{"client": "replica", "server": "directory.ldap"}],
        },
        settings={
            "directory": {},
            "replica": {"database": DATABASE, "connect": [{"key": "olcSyncrepl", "value": FOLLOW}]},
        },
    )
    said = 0

    def arrives() -> float:
        nonlocal said
        said += 1
        say(lab, "said%d" % said)
        return until(lambda: entries(lab, "n2") == said, 30, lambda: lab.ssh("n2", "journalctl -u slapd -n 20"))

    arrives()
    before = {host: lab.ssh(host, CONFIG) for host in ("n1", "n2")}
    late = {}
    for stage in ("permissive", "switched", "demanded", "enforced"):
        must_be_at(fleet, stage)
        late[stage] = round(arrives(), 1)
    assert "onfidentiality required" in lab.ssh("n2", "ldapsearch -x -H ldap://n1 -b dc=lab,dc=test 2>&1 || true")
    again = fleet.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0, again.text[-3000:]
    must_be_back(fleet)
    late["back"] = round(arrives(), 1)
    for host, text in before.items():
        assert sorted(lab.ssh(host, CONFIG).splitlines()) == sorted(text.splitlines()), host
    tell("openldap", entries=said, seconds_behind=late)
    for host in ("n1", "n2"):
        lab.ssh(host, "systemctl stop slapd")


# RabbitMQ: a cluster that can only flip

PING: t.Final = (
    "erl -noinput -sname probe -setcookie geheim -eval 'io:format(\"~p\", [net_adm:ping(rabbit@n1)]), halt().'"
)
PROTOCOLS: t.Final = (
    "rabbitmqctl -q eval '{ok, All} = net_kernel:nodes_info(),"
    " [element(4, proplists:get_value(address, Each)) || {_, Each} <- All].'"
)
AMQP: t.Final = "--url amqp://desk:geheim@n2"


def as_a_cluster(lab: Lab) -> None:
    """Make a cluster of all hosts, as a person does, with a queue and a message that outlive restarts."""
    for host in HOSTS:
        lab.ssh(host, "printf geheim > /var/lib/rabbitmq/.erlang.cookie")
    start(lab, "rabbitmq-server", *HOSTS)
    for host in HOSTS[1:]:
        for words in ("stop_app", "join_cluster rabbit@n1", "start_app"):
            lab.ssh(host, "rabbitmqctl -q %s < /dev/null" % words)
    lab.ssh("n1", "rabbitmqctl -q add_user desk geheim < /dev/null")
    lab.ssh("n1", "rabbitmqctl -q set_permissions desk '.*' '.*' '.*' < /dev/null")
    lab.ssh("n3", "amqp-declare-queue %s -d -q said" % AMQP)
    lab.ssh("n3", "amqp-publish %s -p -r said -b before" % AMQP)


def works(lab: Lab) -> bool:
    """Return whether all nodes run, and know each other."""
    said = lab.ssh("n3", "rabbitmqctl -q eval 'length(rabbit_nodes:all_running()).' < /dev/null || true")
    return said.strip() == str(len(HOSTS))


def test_a_cluster_of_rabbitmq_flips_as_one_in_a_window_and_back(lab: Lab, tmp_path: Path) -> None:
    as_a_cluster(lab)
    ends = [(lab.host(host).address, 5672) for host in HOSTS]
    nodes = {"port": 25672, "protocol": "erlang", "mode": "mutual"}
    fleet = LabFleet(
        lab,
        tmp_path / "fleet",
        model={
            "hosts": by_name(lab),
            "components": {"bus": {"kind": "rabbitmq_cluster", "hosts": list(HOSTS), "listeners": {"nodes": nodes}}},
            "connections": [{"client": "bus", "server": "bus.nodes"}],
        },
        settings={"bus": {}},
    )
    file, units = "/etc/rabbitmq/rabbitmq-env.conf", [(host, "rabbitmq-server") for host in HOSTS]
    before = [fleet.held(host, file) for host in HOSTS]
    since = fleet.started(*units)
    assert lab.ssh("n2", PING) == "pong"

    run = fleet.playbook("rollout", *ENFORCE).must_end(0)
    assert set(fleet.stages().values()) == {("presented", "waiting")}, run.last_lines
    assert "the whole cluster is interrupted at once" in run.last_lines
    assert fleet.started(*units) == since

    watch = Outage(*ends)
    must_be_at(fleet, "enforced", *within_an_hour())
    until(lambda: works(lab), 60, lambda: lab.ssh("n1", "rabbitmqctl cluster_status < /dev/null"))
    flip = watch.end()
    assert lab.ssh("n1", PROTOCOLS + " < /dev/null").count("tls") == len(HOSTS), "two nodes, and the tool that asks"
    assert lab.ssh("n2", PING) == "pang"
    judge = Judge(lab, "n1", "bus")
    for host in HOSTS:
        must_refuse(judge, host, 25672)
    assert judge.refusal("n1:25672", who="itself") == ""

    fleet.renewed(*units)
    fleet.unchanged(*units)
    watch = Outage(*ends)
    must_be_back(fleet, *within_an_hour())
    until(lambda: works(lab), 60, lambda: lab.ssh("n1", "rabbitmqctl cluster_status < /dev/null"))
    back = watch.end()
    assert [fleet.held(host, file) for host in HOSTS] == before
    for host in HOSTS:
        assert "No such file" in fleet.refuses(host, "cat", "/etc/rabbitmq/inter_node_tls.config")
    assert lab.ssh("n2", PING) == "pong"
    assert lab.ssh("n3", "amqp-get %s -q said" % AMQP) == "before"
    tell("rabbitmq", flip="all nodes %s s, one %s s" % flip, back="all nodes %s s, one %s s" % back)
    for host in HOSTS:
        lab.ssh(host, "systemctl stop rabbitmq-server")


# Galera: a cluster whose members turn one after the other

GALERA: t.Final = """\
[mariadbd]
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_cluster_address = gcomm://{members}
wsrep_node_address = {own}
wsrep_sst_method = rsync
binlog_format = row
innodb_autoinc_lock_mode = 2
bind-address = 0.0.0.0
"""
OURS: t.Final = "/etc/mysql/mariadb.conf.d/71-galera-tls.cnf"
#: The next start fails, as that of a member which does not get into the cluster at once.
STUMBLE: t.Final = "[Service]\nExecStartPre=+/bin/sh -c 'test -e /run/stumbled || { touch /run/stumbled; exit 1; }'\n"
SIZE: t.Final = "select variable_value from information_schema.global_status where variable_name = 'wsrep_cluster_size'"


def sql(lab: Lab, host: str, words: str) -> str:
    """Return what a MariaDB answers its own administrator."""
    return lab.ssh(host, 'mariadb -NBe "%s"' % words).strip()


def as_one_database(lab: Lab) -> None:
    """Make a Galera cluster of all hosts, as a person does, and have its first member write for ever."""
    members = ",".join(lab.host(host).address for host in HOSTS)
    for host in HOSTS:
        text = GALERA.format(members=members, own=lab.host(host).address)
        lab.ssh(host, "cat > /etc/mysql/mariadb.conf.d/60-galera.cnf", given=text)
    lab.ssh("n1", "systemctl set-environment _WSREP_NEW_CLUSTER=--wsrep-new-cluster")  # as galera_new_cluster does
    start(lab, "mariadb", "n1")
    lab.ssh("n1", "systemctl unset-environment _WSREP_NEW_CLUSTER")
    for host in HOSTS[1:]:
        start(lab, "mariadb", host)
    sql(lab, "n1", "create database lab")
    sql(lab, "n1", "create table lab.said (x int auto_increment primary key, at double)")
    sql(lab, "n1", "create user writer@localhost; grant all on lab.* to writer@localhost")
    writes = "while true; do mariadb lab -e 'insert into said (at) values (unix_timestamp(now(6)))'; sleep 0.1; done"
    lab.ssh("n1", "systemd-run -q --unit=inserts sh -c %s" % shlex.quote(writes))


def everywhere(lab: Lab) -> list[str]:
    """Return how many rows each member has of those that the first one has now, once all have as many.

    Others are written all the while, so no two members could be asked for the same number of all.
    """
    last = sql(lab, HOSTS[0], "select max(x) from lab.said")

    def counts() -> list[str]:
        return [sql(lab, host, "select count(*) from lab.said where x <= %s" % last) for host in HOSTS]

    until(lambda: len(set(counts())) == 1, 20, counts)
    return counts()


def test_a_cluster_of_galera_moves_member_by_member_and_stays_one(lab: Lab, tmp_path: Path) -> None:
    as_one_database(lab)
    ends = [(lab.host(host).address, 3306) for host in HOSTS]
    group = {"port": 4567, "protocol": "galera", "mode": "mutual"}
    fleet = LabFleet(
        lab,
        tmp_path / "fleet",
        model={
            "components": {"links": {"kind": "galera", "hosts": list(HOSTS), "listeners": {"group": group}}},
            "connections": [{"client": "links", "server": "links.group"}],
        },
        settings={"links": {}},
    )
    units = [(host, "mariadb") for host in HOSTS]
    watch = Outage(*ends)
    must_be_at(fleet, "permissive")
    permitted = fleet.started(*units)
    run = fleet.playbook("rollout", *SWITCH).must_end(0)
    assert set(fleet.stages().values()) == {("permissive", "waiting")}, run.last_lines
    assert "they go from permissive to enforced at once" in run.last_lines
    assert fleet.started(*units) == permitted

    must_be_at(fleet, "enforced")
    forth = watch.end()
    assert [sql(lab, host, SIZE) for host in HOSTS] == ["3"] * 3
    judge = Judge(lab, "n1", "links")
    for host in HOSTS:
        must_refuse(judge, host + ".lab.test", 4567)
    assert judge.refusal("n1.lab.test:4567", who="itself") == ""
    fleet.renewed(*units)
    fleet.unchanged(*units)

    lab.ssh("n3", "systemctl stop mariadb; rm -rf /var/lib/mysql/*; mariadb-install-db --user=mysql > /dev/null")
    start(lab, "mariadb", "n3")
    assert "Using stunnel for SSL encryption" in lab.ssh("n3", "journalctl -u mariadb -n 500 --no-pager")
    assert len(set(everywhere(lab))) == 1

    drop_in = "/run/systemd/system/mariadb.service.d"
    lab.ssh("n2", "mkdir -p %s; cat > %s/stumble.conf; systemctl daemon-reload" % (drop_in, drop_in), given=STUMBLE)
    watch = Outage(*ends)
    must_be_back(fleet)
    back = watch.end()
    lab.ssh("n2", "test -e /run/stumbled; rm -r %s; systemctl daemon-reload" % drop_in)
    assert [sql(lab, host, SIZE) for host in HOSTS] == ["3"] * 3
    for host in HOSTS:
        assert "No such file" in fleet.refuses(host, "cat", OURS)
    lab.ssh("n1", "systemctl stop inserts")
    steps = "select at - lag(at) over (order by x) as step from lab.said"
    gap = sql(lab, "n1", "select round(max(step), 1) from (%s) as steps" % steps)
    tell("galera", rows=everywhere(lab), forth="all %s s, one %s s" % forth, back="all %s s, one %s s" % back, gap=gap)
    assert (forth[0], back[0]) == (0, 0), "the cluster as a whole was never down"
