# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application on an old JVM that asks a PostgreSQL over JDBC (programs/Ledger.java).

It is the unit `ledger`, and counts as the load program does. Here are its settings, how it starts, and what it shows.
"""

from __future__ import annotations

import typing as t

from .driver import Lab
from .fleet import PROGRAMS, Json, LabFleet
from .judges import Judge

#: Where its options lie, and what it counts beside them.
PROPERTIES: t.Final = "/opt/load/ledger/options.properties"
#: The suites with GCM of Java 8, where SunEC has no keys for ECDSA.
JAVA_8: t.Final = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")
#: The same as OpenSSL calls them.
OF_JAVA_8: t.Final = frozenset({"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"})

_OPTIONS: t.Final = "# the ledger\nurl=jdbc:postgresql://%s/%s\nuser=%s\n%sApplicationName=ledger\nsslmode=disable\n"
_COMPILED: t.Final = """\
java -cp '/usr/share/java/*' org.eclipse.jdt.internal.compiler.batch.Main -8 -proc:none -d /opt/load/ledger \
  /opt/load/ledger/Ledger.java
systemctl daemon-reload
systemctl start ledger
"""
_UNIT: t.Final = """\
[Service]
ExecStart=/usr/bin/java -Djdk.tls.client.protocols=TLSv1.2 -Djdk.tls.client.cipherSuites=%s \
  -cp /opt/load/ledger:/usr/share/java/postgresql.jar Ledger %s %s
"""
_SESSIONS: t.Final = (
    "cd /; runuser -u postgres -- psql -AtF ' ' -c 'select application_name, version, cipher from pg_stat_ssl"
    " join pg_stat_activity using (pid) where ssl and usename = $$%s$$'"
)


def ledger_component(host: str, suites: t.Sequence[str] = JAVA_8) -> Json:
    """Return its entry in a model, which says what it can do."""
    return {"kind": "java", "hosts": [host], "limits": {"protocols": ["TLSv1.2"], "suites": list(suites)}}


def ledger_settings() -> Json:
    """Return its settings."""
    verified = {"key": "sslmode", "value": "verify-full"}
    factory = {"key": "sslfactory", "value": "org.postgresql.ssl.DefaultJavaSSLFactory"}
    return {
        "config": PROPERTIES,
        "process": {"service": "ledger"},
        "restart": {"service": "ledger"},
        "interruption": 5,
        "connect": [{"key": "trustStore", "value": "{truststore}"}, factory, verified],
        "verify": [verified],
    }


def start_ledger(fleet: LabFleet, *, user: str, password: str = "", suites: t.Sequence[str] = JAVA_8) -> None:
    """Compile it on its host, and start it in the clear on a JVM that knows these suites alone."""
    (pair,) = (each for each in fleet.pairs if each.client == "ledger")
    secret = "password=%s\n" % password if password else ""
    fleet.put(pair.client_host, PROPERTIES, _OPTIONS % (pair.dial, user, user, secret))
    fleet.put(pair.client_host, "/opt/load/ledger/Ledger.java", (PROGRAMS / "Ledger.java").read_text())
    unit = _UNIT % (",".join(suites), PROPERTIES, pair.id)
    fleet.put(pair.client_host, "/etc/systemd/system/ledger.service", unit)
    fleet.lab.ssh(pair.client_host, "bash -e", given=_COMPILED)


def sessions_over_tls(lab: Lab, host: str, user: str) -> dict[str, tuple[str, str]]:
    """Return protocol and suite of an account's sessions over TLS, by the name of the application."""
    rows = [line.split() for line in lab.ssh(host, _SESSIONS % user).splitlines()]
    return {name: (version, cipher) for name, version, cipher in rows}


def must_have_an_rsa_key(lab: Lab, host: str, component: str) -> None:
    """Fail unless a component presents a key that such a JVM takes."""
    shown = lab.ssh(host, "openssl x509 -in /etc/connsec/%s/current/certificate.pem -noout -text" % component)
    assert "rsaEncryption" in shown, shown


def must_refuse_what_is_older(judge: Judge, where: str, suite: str) -> None:
    """Fail unless a PostgreSQL lets openssl in with a suite of TLS 1.2, and not with TLS 1.1."""
    starttls = ("-starttls", "postgres")
    assert judge.refusal(where, *starttls, "-tls1_2", "-cipher", suite) == ""
    assert "protocol version" in judge.refusal(where, *starttls, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
