# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A JVM that knows TLS 1.2 and older suites alone, and a newer client, of one PostgreSQL: each gets what it can."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import pytest

from .driver import Lab
from .fleet import Json, LabFleet
from .judges import Judge
from .ledger import (
    JAVA_8,
    OF_JAVA_8,
    PROPERTIES,
    ledger_component,
    ledger_settings,
    must_have_an_rsa_key,
    must_refuse_what_is_older,
    sessions_over_tls,
    start_ledger,
)

pytestmark = pytest.mark.soak

HOSTS: t.Final = "db1,app1,app2"
SERVICES: t.Final = "/etc/postgresql-common/pg_service.conf"
CONFIG: t.Final = "/etc/postgresql/15/main/postgresql.conf"
#: JVMs as they were: what each is started with, what its component declares, and what becomes of it.
JVMS: t.Final[dict[str, Json]] = {
    "of Java 8": {
        "suites": list(JAVA_8),
        "listener": {},
        "said": "of profile intermediate: TLSv1.2, 2 suites, key rsa-3072",
        "ciphers": OF_JAVA_8,
    },
    # those of Java 7, which came before GCM: somebody has to answer for a listener that offers them
    "of Java 7": {
        "suites": [
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
            "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        ],
        "listener": {"profile": "old", "reason": "the ledger's JVM", "approver": "Ann", "until": "2999-01-01"},
        "said": "of profile old: TLSv1.2, 3 suites, key rsa-3072",
        "ciphers": {"ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA"},
    },
}
#: The database as a person sets it up.
DATABASE: t.Final = """\
echo "listen_addresses = '*'" > /etc/postgresql/15/main/conf.d/lab.conf
printf 'host crm crm samenet scram-sha-256\n' >> /etc/postgresql/15/main/pg_hba.conf
systemctl start postgresql
cd /; runuser -u postgres -- psql -qc "create user crm password 'geheim'" -c "create database crm owner crm"
"""
SERVICE: t.Final = "[crm_db]\nhost=db1.lab.test\ndbname=crm\nuser=crm\npassword=geheim\napplication_name=board\n"
#: Requests in a session of the newer application, which take four seconds: so one is seen on a busy machine as well.
SESSION: t.Final = 80


class Ledgers(LabFleet):
    """The fleet, and what its two applications show."""

    def enforced(self, *, exercised: bool = True) -> float:
        """Roll out until everything is enforced; where that fails, what the applications saw explains most."""
        try:
            return super().enforced(exercised=exercised)
        except AssertionError:
            print(self.lab.ssh("app1", "journalctl -u ledger -n 9"), self.traffic())
            raise

    def sessions(self) -> dict[str, tuple[str, str]]:
        """Return protocol and suite of each application's session, once both have one."""
        until = time.monotonic() + 30
        while len(rows := sessions_over_tls(self.lab, "db1", "crm")) < 2:
            assert time.monotonic() < until, rows
            time.sleep(0.2)
        return rows


def fleet_of(lab: Lab, root: Path, jvm: Json) -> Ledgers:
    """Return a fleet with a database, an application on this JVM, and one that knows what is new."""
    sql = {"port": 5432, "protocol": "postgresql", **jvm["listener"]}
    model = {
        "components": {
            "crm_db": {"kind": "postgresql", "hosts": ["db1"], "listeners": {"sql": sql}},
            "ledger": ledger_component("app1", jvm["suites"]),
            "board": {"kind": "libpq", "hosts": ["app2"]},
        },
        "connections": [
            {"client": "ledger", "server": "crm_db.sql", "dial": "db1.lab.test"},
            {"client": "board", "server": "crm_db.sql", "dial": "db1.lab.test"},
        ],
    }
    settings = {
        "crm_db": {"user": "crm", "database": "crm"},
        "board": {"process": {"service": "load@board"}},
        "ledger": ledger_settings(),
    }
    return Ledgers(lab, root, model=model, settings=settings)


def set_up(fleet: Ledgers, jvm: Json) -> None:
    """Start database and applications, in the clear."""
    fleet.lab.ssh("db1", "bash -e", given=DATABASE)
    start_ledger(fleet, user="crm", password="geheim", suites=jvm["suites"])
    fleet.put("app2", SERVICES, SERVICE)
    fleet.work("board", service="crm_db", session=SESSION)


@pytest.mark.parametrize("jvm", JVMS.values(), ids=list(JVMS))
def test_an_old_jvm_is_served_by_what_both_ends_know(fresh_lab: Lab, tmp_path: Path, jvm: Json) -> None:
    fleet = fleet_of(fresh_lab, tmp_path / "fleet", jvm)
    set_up(fleet, jvm)
    fleet.worked("ledger")
    files = {"db1": (CONFIG,), "app1": (PROPERTIES,), "app2": (SERVICES,)}
    before = {host: fleet.held(host, *paths) for host, paths in files.items()}

    planned = " ".join(fleet.playbook("plan", "-e", "tls_scope=all").must_end(0).text.split())
    why = "because component ledger is limited to TLSv1.2"
    assert "limits: ledger->crm_db.sql %s %s" % (jvm["said"], why) in planned, planned
    assert "limits: board->" not in planned or jvm["listener"], "the newer client is limited by nobody"

    seconds = fleet.enforced()
    tried = [row["expected"] for pair in fleet.report()["connections"] for row in pair["evidence"]]
    assert any("from app1, which knows TLSv1.2 and the suites" in str(each) for each in tried), tried
    must_be_served(fleet, jvm)

    fleet.unchanged(("app1", "ledger"))
    load = fleet.worked("ledger"), fleet.worked("board")
    fleet.taken_back()
    assert {host: fleet.held(host, *paths) for host, paths in files.items()} == before
    after = fleet.worked("ledger"), fleet.worked("board")
    print("\nenforced in %.1f s; the JVM %s, the other %s" % (seconds, after[0], after[1]))
    assert [each["lost"] for each in (*load, *after)] == [0, 0, 0, 0], after


def must_be_served(fleet: Ledgers, jvm: Json) -> None:
    """Fail unless each has the best of what it knows, and the server has the key that the older one takes."""
    seen = fleet.sessions()
    assert seen["board"] == ("TLSv1.3", "TLS_AES_256_GCM_SHA384"), seen
    protocol, cipher = seen["ledger"]
    assert protocol == "TLSv1.2", seen
    assert cipher in jvm["ciphers"], seen
    must_have_an_rsa_key(fleet.lab, "db1", "crm_db")
    written = fleet.lab.ssh("db1", "grep -E '^ssl' " + CONFIG)
    assert jvm["ciphers"] <= set(written.replace("'", " ").replace(":", " ").split()), written
    must_refuse_what_is_older(Judge(fleet.lab, "app1", "ledger"), "db1.lab.test:5432", cipher)
