# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the base tree of the lab's hosts is made of. Whatever stands here is part of the digest that names the tree."""

from __future__ import annotations

import hashlib
import json
import typing as t

#: Raise it whenever the way changes in which `base.py` makes a tree.
VERSION: t.Final = 3

SUITE: t.Final = "bookworm"

#: What makes a host that Ansible can reach.
BASE: t.Final = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)

#: The servers that people run, as their distribution packages them.
SERVERS: t.Final = (
    "apache2",
    "haproxy",
    "kamailio",
    "kamailio-tls-modules",
    "mariadb-server",
    "mosquitto",
    "nginx-light",
    "openjdk-17-jre-headless",
    "postfix",
    "postgresql",
    "rabbitmq-server",
    "redis-server",
    "rsync",  # Galera's members copy their data with it
    "slapd",
    "stunnel4",
    "tomcat10",
)

#: What puts load on them, and the client sides that people have.
CLIENTS: t.Final = (
    "amqp-tools",
    "apache2-utils",
    "ldap-utils",
    "libpostgresql-jdbc-java",
    "mariadb-client",
    "mosquitto-clients",
    "postgresql-client",
    "python3-psycopg2",
    "python3-requests",
    "redis-tools",
    "sipsak",
    "swaks",
)

#: Answers to what packages ask while they are installed. Without them postfix is left without a configuration.
ANSWERS: t.Final = (
    "postfix postfix/main_mailer_type select Local only",
    "postfix postfix/mailname string lab.test",
    "slapd slapd/domain string lab.test",
    "slapd shared/organization string lab",
)

#: What is done once all packages are there: a host's own name counts, not that of the machine that made the tree.
COMMANDS: t.Final = (("postconf", "-X", "myhostname"),)

#: What starts by itself on a host. Everything else waits for `systemctl start`.
STARTED: t.Final = ("ssh.service",)

#: Never wanted on a host, and slow or noisy at boot.
MASKED: t.Final = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "e2scrub_reap.service",
    "systemd-networkd.service",
    "systemd-timesyncd.service",
)

#: File: its text. Written before packages are installed.
FILES: t.Final = {
    "etc/dpkg/dpkg.cfg.d/lab": (
        "# A tree that is thrown away needs no sync, and nobody reads manuals on it.\n"
        "force-unsafe-io\n"
        "path-exclude=/usr/share/doc/*\n"
        "path-include=/usr/share/doc/*/copyright\n"
        "path-exclude=/usr/share/man/*\n"
        "path-exclude=/usr/share/locale/*\n"
    ),
    "etc/ssh/sshd_config.d/lab.conf": (
        "# Ansible opens many sessions at once; nobody has a password.\n"
        "PasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
        "MaxStartups 100\n"
        "MaxSessions 100\n"
        "UseDNS no\n"
    ),
    "etc/systemd/system-preset/00-lab.preset": (
        "".join("enable %s\n" % unit for unit in STARTED) + "disable *\n"
    ),
}  # fmt: skip


def digest() -> str:
    """Return what names a tree of this recipe: 16 characters that differ with anything that goes into it."""
    parts = (VERSION, SUITE, BASE, SERVERS, CLIENTS, ANSWERS, COMMANDS, STARTED, MASKED, FILES)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
