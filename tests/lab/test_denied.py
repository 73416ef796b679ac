# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems that deny a server its material, or its secure port: the last lines say what does, and the others go on.

What denies is systemd's sandbox of the unit, for no SELinux is to be had here: files that are hidden from the process,
and a port that it may not open. Both are refused by the kernel.
"""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import pytest
from integration.harness import ENFORCE

from .driver import Lab
from .fleet import LabFleet

pytestmark = pytest.mark.soak

WEBS: t.Final = ("web1", "web2", "web3")
HOSTS: t.Final = ",".join([*WEBS, "app1"])
SITE: t.Final = "/etc/nginx/sites-available/default"
DROP_IN: t.Final = "/etc/systemd/system/nginx.service.d/strict.conf"
#: What each host's unit is denied by its administrator; the third one has nothing in its way.
DENIED: t.Final = {
    "web1": "[Service]\nInaccessiblePaths=/etc/connsec\n",
    "web2": "[Service]\nCapabilityBoundingSet=~CAP_NET_BIND_SERVICE\n",
}
SECURE: t.Final = {"web1": 8443, "web2": 443, "web3": 8443}
PAGE: t.Final = "server {\n\tlisten 8080;\n\tlocation / { return 200 'shop'; }\n}\n"
#: A client that asks with curl, as curl's own option file says, and counts.
CLIENT: t.Final = """\
mkdir -p /etc/desk
for host in {hosts}; do
  printf '# %s\nurl = "http://%s:8080/"\n' $host $host > /etc/desk/$host.curl
  systemd-run --quiet --unit=desk-$host --property=StandardOutput=append:/var/log/desk-$host bash -c "
    while :; do
      curl -sSf --max-time 5 --output /dev/null --config /etc/desk/$host.curl 2>&1 && echo answered
      sleep 0.1
    done"
done
"""


class Webs(LabFleet):
    """Servers, each with a client of its own."""

    def must_answer(self, host: str) -> list[str]:
        """Fail unless a host's client is answered anew, and return the faults that it noted so far."""
        until = time.monotonic() + 30
        before = self._noted(host)
        while self._noted(host).count("answered") <= before.count("answered"):
            assert time.monotonic() < until, before[-5:]
            time.sleep(0.2)
        return [line for line in self._noted(host) if line != "answered"]

    def _noted(self, host: str) -> list[str]:
        return self.lab.ssh("app1", "cat /var/log/desk-" + host).splitlines()


def fleet_of(lab: Lab, root: Path) -> Webs:
    """Return the servers, of a component each, and their clients."""
    components: dict[str, t.Any] = {}
    connections: list[dict[str, str]] = []
    settings: dict[str, t.Any] = {}
    secure = [{"key": "cacert", "value": '"{trust}"'}, {"key": "url", "value": '"https://{dial}:{secure_port}/"'}]
    for host in WEBS:
        listener = {"port": 8080, "secure_port": SECURE[host], "protocol": "http"}
        components[host + "_site"] = {"kind": "nginx", "hosts": [host], "listeners": {"http": listener}}
        components[host + "_desk"] = {"kind": "pem_service", "hosts": ["app1"]}
        connections.append({"client": host + "_desk", "server": host + "_site.http", "dial": host})
        settings[host + "_site"] = {}
        settings[host + "_desk"] = {
            "config": "/etc/desk/%s.curl" % host,
            "format": "conf",
            "process": {"service": "desk-" + host},
            "reload": {"command": ["true"]},
            "connect": secure,
            "verify": secure[:1],
        }
    return Webs(lab, root, model={"components": components, "connections": connections}, settings=settings)


def set_up(fleet: Webs) -> None:
    """Start servers, with their units as strict as they are, and clients."""
    for host in WEBS:
        fleet.put(host, SITE, PAGE)
        if host in DENIED:
            fleet.put(host, DROP_IN, DENIED[host])
        fleet.lab.ssh(
            host, "mkdir /etc/connsec; systemctl daemon-reload; systemctl start nginx"
        )  # else nothing is hidden
    fleet.lab.ssh("app1", "bash -e", given=CLIENT.format(hosts=" ".join(WEBS)))
    for host in WEBS:
        fleet.must_answer(host)


def test_what_a_system_denies_is_the_cause_in_the_last_lines(lab: Lab, tmp_path: Path) -> None:
    fleet = fleet_of(lab, tmp_path / "fleet")
    set_up(fleet)
    before = {host: fleet.held(host, SITE) for host in WEBS}

    run = fleet.playbook("rollout", *ENFORCE).must_end(2)
    stages = {name.partition("_")[0]: row for name, row in fleet.stages().items()}
    assert stages == {"web1": ("presented", "failed"), "web2": ("presented", "failed"), "web3": ("enforced", "done")}
    said = " ".join(run.last_lines.split())
    print("\n" + run.last_lines)
    hidden = "/etc/connsec/web1_site/current/fullchain.pem is not seen by process "
    assert hidden in said, said
    assert "for its unit has InaccessiblePaths=/etc/connsec" in said, said
    assert "cannot load certificate" in said, "what nginx itself says of it"
    assert "port 443 of web2.lab.test is not open" in said, said
    assert "port 443 is below 1024, and process " in said, said
    assert "has no CAP_NET_BIND_SERVICE" in said, said
    assert {host: fleet.held(host, SITE) for host in DENIED} == {host: before[host] for host in DENIED}

    for host in DENIED:
        lab.ssh(host, "rm %s; systemctl daemon-reload; systemctl restart nginx" % DROP_IN)
    run = fleet.playbook("rollout", *ENFORCE).must_end(0)
    assert set(fleet.stages().values()) == {("enforced", "done")}, run.last_lines
    for host in WEBS:
        told = fleet.must_answer(host)
        print("%s: %d not answered %s" % (host, len(told), told[:1]))
    fleet.taken_back()
    assert {host: fleet.held(host, SITE) for host in WEBS} == before
    for host in WEBS:
        fleet.must_answer(host)
