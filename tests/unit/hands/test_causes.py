# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What explains that a process does not take its configuration: its unit, the kernel's records, its own last words."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host import _causes
from ansible_collections.connsec.tls.plugins.module_utils._host._causes import causes

#: Programs that say what lies beside them, and write down how they were called.
SAYING = """\
#!/bin/sh
echo "$@" >>"$0.told"
case "$*" in
  show*MainPID*) cat "$0.pids" 2>/dev/null ;;
  *_TRANSPORT=*) cat "$0.kernel" 2>/dev/null ;;
  *) cat "$0.says" 2>/dev/null ;;
esac
"""
AVC = (
    'type=AVC msg=audit(%.3f:42): avc:  denied  { %s } for  pid=%d comm="nginx" %s'
    " scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:object_r:%s:s0 tclass=%s permissive=0"
)


class System:
    """What a system would say of one of its units."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("systemctl", "journalctl"):
            (folder / name).write_text(SAYING)
            (folder / name).chmod(0o755)

    def says(self, name: str, *lines: str) -> None:
        """Have a program say these lines."""
        (self.folder / name).write_text("".join(line + "\n" for line in lines))


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    found = System(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(found.folder), prepend=":")
    monkeypatch.setattr(_causes, "AUDIT_LOG", str(tmp_path / "audit.log"))
    monkeypatch.setattr(_causes, "pids_of", lambda process: [])
    return found


def asked(*, ports: t.Sequence[int] = (), paths: t.Sequence[str] = (), unit: str = "nginx") -> list[str]:
    return causes({"service": unit} if unit else {}, ports=ports, paths=paths, since=time.time())


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("InaccessiblePaths=/etc/connsec", "/etc/connsec/web/current/key.pem"),
        ("InaccessiblePaths=/srv -/etc/connsec/", "/etc/connsec/web/current/key.pem"),
        ("TemporaryFileSystem=/etc:ro", "/etc/connsec/web/current/key.pem"),
        ("ProtectHome=yes", "/root/connsec/web/current/key.pem"),
        ("ProtectHome=tmpfs", "/home/connsec/key.pem"),
        ("RootDirectory=/srv/web", "/etc/connsec/web/current/key.pem"),
    ],
)
def test_a_unit_that_hides_our_files_is_the_cause(system: System, setting: str, path: str) -> None:
    system.says("systemctl.says", setting)
    assert asked(paths=[path]) == ["%s is not seen by nginx, for its unit has %s" % (path, setting)]


@pytest.mark.parametrize(
    "setting", ["InaccessiblePaths=/etc/connsec-old", "ProtectHome=yes", "ProtectHome=read-only", "InaccessiblePaths="]
)
def test_a_unit_that_hides_something_else_is_not(system: System, setting: str) -> None:
    system.says("systemctl.says", setting)
    assert asked(paths=["/etc/connsec/web/current/key.pem"]) == []


@pytest.mark.parametrize(
    ("lines", "denied"),
    [
        (("SocketBindDeny=any",), True),
        (("SocketBindDeny=ipv4:tcp8443",), True),
        (("SocketBindDeny=tcp8000-9000",), True),
        (("SocketBindDeny=any", "SocketBindAllow=tcp8443"), False),
        (("SocketBindDeny=tcp8444",), False),
        (("SocketBindDeny=ipv4:udp8443",), False),
    ],
)
def test_a_unit_that_may_not_bind_a_port_is_the_cause(system: System, lines: t.Sequence[str], *, denied: bool) -> None:
    system.says("systemctl.says", *lines)
    rule = lines[0].partition("=")[2]
    said = "port 8443 is denied to nginx, which has SocketBindDeny=%s" % rule
    assert asked(ports=[8443]) == ([said] if denied else [])


def test_a_port_below_1024_needs_a_capability(system: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "start").write_text("1024\n")
    monkeypatch.setattr(_causes, "_UNPRIVILEGED", str(tmp_path / "start"))
    system.says("systemctl.says", "CapabilityBoundingSet=cap_chown cap_net_raw")
    said = "port 443 is below 1024, and nginx has no CAP_NET_BIND_SERVICE"
    assert asked(ports=[443, 8443]) == [said]
    system.says("systemctl.says", "CapabilityBoundingSet=cap_chown cap_net_bind_service")
    assert asked(ports=[443]) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="LEFT OUT: only root can take another account on")
def test_what_a_process_that_runs_may_do_is_seen_at_the_process(
    system: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "start").write_text("1024\n")
    monkeypatch.setattr(_causes, "_UNPRIVILEGED", str(tmp_path / "start"))
    waits = "import os, sys\nos.setuid(65534)\nprint(flush=True)\nsys.stdin.read()\n"
    with subprocess.Popen([sys.executable, "-c", waits], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        monkeypatch.setattr(_causes, "pids_of", lambda _process: [process.pid])
        assert asked(ports=[443]) == [
            "port 443 is below 1024, and process %d has no CAP_NET_BIND_SERVICE" % process.pid
        ]
        monkeypatch.setattr(_causes, "pids_of", lambda _process: [os.getpid()])
        assert asked(ports=[443]) == []
        process.communicate()


def test_what_selinux_denied_since_then_is_the_cause(system: System, tmp_path: Path) -> None:
    now = time.time() + 1
    generation = tmp_path / "connsec" / "web" / "generations" / "000001"
    generation.mkdir(parents=True)
    (tmp_path / "connsec" / "web" / "current").symlink_to("generations/000001")
    key = str(tmp_path / "connsec" / "web" / "current" / "key.pem")
    rows = [
        AVC % (now - 100, "name_bind", 7, "src=8443", "unreserved_port_t", "tcp_socket"),
        AVC % (now, "name_bind", 7, "src=8443", "unreserved_port_t", "tcp_socket"),
        AVC % (now, "open", 7, 'path="/srv/x" name="other"', "var_t", "file"),
        AVC % (now, "open", 7, 'name="key.pem" dev="vda1" ino=7', "admin_home_t", "file"),
        AVC % (now, "search", 7, 'name="connsec" dev="vda1" ino=8', "admin_home_t", "dir"),
        "type=SERVICE_START msg=audit(%.3f:43): pid=1" % now,
    ]
    (tmp_path / "audit.log").write_text("".join(row + "\n" for row in rows))
    found = asked(ports=[8443], paths=[key])
    assert found == ["the system denied it: " + row.partition(": ")[2] for row in (rows[1], rows[3], rows[4])]


def test_what_apparmor_denied_is_found_in_the_journal(system: System) -> None:
    record = (
        'apparmor="DENIED" operation="open" profile="/usr/sbin/slapd" name="/etc/connsec/ds/current/key.pem"'
        ' pid=7 comm="slapd" requested_mask="r" denied_mask="r" fsuid=105 ouid=105'
    )
    system.says("journalctl.kernel", "audit: type=1400 audit(%.3f:9): %s" % (time.time() + 1, record))
    assert asked(paths=["/etc/connsec/ds/current/key.pem"], unit="slapd") == ["the system denied it: " + record]
    assert asked(paths=["/etc/connsec/ds/current/other.pem"], unit="slapd") == []


def test_the_last_words_of_a_unit_are_told_without_secrets(system: System) -> None:
    system.says("journalctl.says", "first", "second", "third", "requirepass geheim", "")
    assert asked() == ["it says: second / third / requirepass ********"]
    told = (system.folder / "journalctl.told").read_text()
    assert "_SYSTEMD_UNIT=nginx.service" in told


def test_lines_of_trouble_are_told_before_those_of_the_next_try(system: System) -> None:
    lines = ("Loading config file", "Error: Unable to load CA certificates", "Loading config file", "starting")
    system.says("journalctl.says", *lines)
    assert asked() == ["it says: " + lines[1]]


def test_where_nothing_can_be_asked_there_is_no_cause(
    system: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert asked(ports=[8443], paths=["/etc/connsec/web/current/key.pem"]) == []
    assert asked(unit="") == []
