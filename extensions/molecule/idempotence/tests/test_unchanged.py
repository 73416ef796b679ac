# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a check and a second run every host is as it was: no file was written, no process started or reloaded."""

from __future__ import annotations

from pathlib import Path

from connsec_testinfra import Host, enforced

testinfra_hosts = ["all"]
LOOKS = Path(__file__).parents[1] / "looks.sh"


def test_nothing_was_changed(host: Host) -> None:
    done = host.run("sh -c %s looks /run/after", LOOKS.read_text(encoding="utf-8").replace('"$1"', "/run/after"))
    assert done.rc == 0, done.stderr
    assert "/etc/connsec" in host.run("cat /run/before").stdout
    found = host.run("diff /run/before /run/after")
    assert found.rc == 0, found.stdout


def test_the_fleet_is_still_enforced(host: Host) -> None:
    trust = "/etc/connsec/front/current/trust.pem"
    if host.run("test -e %s", trust).rc == 0:
        assert enforced(host, "web1.lab.test", port=8080, secure_port=8443, trust=trust)
