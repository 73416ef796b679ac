# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An entry of a directory is read, changed and taken back like a file; its server is one that keeps it in a file."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._host import _ldap_rest
from ansible_collections.connsec.tls.plugins.module_utils._host._files import write_durable
from ansible_collections.connsec.tls.plugins.module_utils._host._ldap_rest import Daemon
from ansible_collections.connsec.tls.plugins.module_utils._host._reading import FileUnreadable, read_regular, read_text

from .bench import Bench

ENTRY: t.Final = "ldapi:///cn=config"
HELD: t.Final = "dn: cn=config\ncn: config\nobjectClass: olcGlobal\nolcLogLevel: none\n"

#: Prints the entry; takes modifications as slapd does, and puts what it is given at the end.
SEARCH: t.Final = """#!/bin/sh
cat "$(dirname "$0")/entry" 2>/dev/null || { echo "ldap_sasl_bind: Can't contact LDAP server (-1)" >&2; exit 255; }
"""
MODIFY: t.Final = """#!/usr/bin/env python3
import pathlib, sys
entry = pathlib.Path(sys.argv[0]).with_name("entry")
lines = entry.read_text().splitlines()
given = sys.stdin.read()
pathlib.Path(sys.argv[0]).with_name("given").write_text(given)
if "refuse" in given:
    sys.exit("ldap_modify: Constraint violation (19)")
for part in given.split("replace: ")[1:]:
    name, *rows = part.splitlines()
    lines = [line for line in lines if not line.startswith(name + ":")] + [row for row in rows if row != "-"]
entry.write_text("\\n".join(lines) + "\\n")
"""


@pytest.fixture
def server(still: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = still.folder / "bin"
    folder.mkdir()
    for name, text in (("ldapsearch", SEARCH), ("ldapmodify", MODIFY)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (folder, os.environ["PATH"]))
    (folder / "entry").write_text(HELD)
    return folder


def step(still: Bench, name: str = "permit-a", **values: str) -> t.Any:
    """Return a step that sets attributes."""
    options = [{"key": key, "value": value, "separator": ": "} for key, value in values.items()]
    edits = [{"path": ENTRY, "format": "ini", "options": options}] if options else []
    return still.step(id=name, files=[ENTRY], edits=edits)


def test_an_entry_is_read_as_one_attribute_a_line_in_the_order_of_names(server: Path) -> None:
    (server / "entry").write_text("dn: cn=config\nolcB: 2\nolcA: 1\nolcB: 1\n\n")
    assert read_text(ENTRY) == "dn: cn=config\nolcA: 1\nolcB: 2\nolcB: 1\n"
    found = read_regular(ENTRY)
    assert found is not None and found.data == b"dn: cn=config\nolcA: 1\nolcB: 2\nolcB: 1\n"


def test_what_differs_is_replaced_in_one_operation(server: Path, still: Bench) -> None:
    step(still, olcTLSCertificateFile="/c", olcTLSCertificateKeyFile="/k", olcLogLevel="stats").carry_out("whole")
    assert (server / "given").read_text() == (
        "dn: cn=config\nchangetype: modify\nreplace: olcLogLevel\nolcLogLevel: stats\n-\n"
        "replace: olcTLSCertificateFile\nolcTLSCertificateFile: /c\n-\n"
        "replace: olcTLSCertificateKeyFile\nolcTLSCertificateKeyFile: /k\n-\n"
    )


def test_steps_on_an_entry_go_back_one_after_another(server: Path, still: Bench) -> None:
    step(still, olcLogLevel="stats", olcTLSVerifyClient="try").carry_out("whole")
    step(still, "demand-a", olcTLSVerifyClient="demand").carry_out("whole")
    step(still, "demand-a").carry_out("reverse")
    assert "olcTLSVerifyClient: try\n" in (server / "entry").read_text()
    step(still).carry_out("reverse")
    assert sorted((server / "entry").read_text().splitlines()) == sorted(HELD.splitlines())


def test_what_others_changed_since_stays(server: Path, still: Bench) -> None:
    step(still, olcTLSVerifyClient="try").carry_out("whole")
    write_durable(ENTRY, (read_text(ENTRY) or "").replace("none", "stats").encode(), mode=0o600)
    step(still).carry_out("reverse")
    assert "olcLogLevel: stats\n" in (server / "entry").read_text()
    assert "olcTLSVerifyClient" not in (server / "entry").read_text()


def test_what_the_server_says_is_passed_on(server: Path, still: Bench) -> None:
    with pytest.raises(TlsError, match=r"entry cn=config cannot be changed: ldap_modify: Constraint violation \(19\)"):
        step(still, olcX="refuse").carry_out("whole")
    (server / "entry").unlink()
    with pytest.raises(FileUnreadable, match=r"entry cn=config cannot be read: .*Can't contact LDAP server"):
        read_text(ENTRY)


#: Refuses to be without TLS while it runs; at rest it takes that.
UNWILLING: t.Final = "#!/bin/sh\necho 'ldap_modify: Server is unwilling to perform (53)' >&2\nexit 53\n"
NOTING: t.Final = '#!/bin/sh\necho "$(basename "$0") $*" >>"$(dirname "$0")/told"\n'


def test_what_a_server_takes_only_at_rest_is_changed_there(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (server / "pid").write_text("%d\n" % os.getpid())
    (server / "entry").write_text(HELD + "olcPidFile: %s\nolcTLSCertificateFile: /c\n" % (server / "pid"))
    (server / "ldapmodify").write_text(UNWILLING)
    for name in ("systemctl", "runuser"):
        (server / name).write_text(NOTING)
        (server / name).chmod(0o755)
    daemon = Daemon("slapd.service", "openldap", "/etc/ldap/slapd.d")
    monkeypatch.setattr(_ldap_rest, "daemon_of", lambda config: daemon if str(server / "pid") in config else None)
    write_durable(ENTRY, HELD.encode(), mode=0o600)
    assert (server / "told").read_text().splitlines() == [
        "systemctl stop -- slapd.service",
        "runuser -u openldap -- slapmodify -F /etc/ldap/slapd.d -n 0",
        "systemctl start -- slapd.service",
    ]


def test_a_server_that_cannot_be_changed_at_rest_is_started_again(server: Path) -> None:
    told: list[str] = []

    def run(command: t.Sequence[str], given: bytes) -> bytes:
        told.append(command[1])
        if command[0] == "runuser":
            raise TlsError("no")
        return b""

    with pytest.raises(TlsError, match="no"):
        _ldap_rest.change_at_rest(Daemon("slapd.service", "openldap", "/f"), b"", run)
    assert told == ["stop", "-u", "start"]


def test_a_server_whose_process_nobody_knows_is_not_stopped() -> None:
    with pytest.raises(TlsError, match="does not say its pid file"):
        _ldap_rest.daemon_of("dn: cn=config\n")
    with pytest.raises(TlsError, match="its process cannot be looked at"):
        _ldap_rest.daemon_of("dn: cn=config\nolcPidFile: /nowhere/pid\n")
