# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds in the mode in which no other rollout on hosts has them: SIP and Tomcat for all, HAProxy for known programs.

| kind | simple | mutual |
|---|---|---|
| apache | `integration/test_kinds_real.py` | the contact centre |
| haproxy | the contact centre | here |
| kamailio | here | `test_kind_kamailio.py` |
| libpq, postgresql, redis | `test_kinds_db.py` | `test_kinds_db.py` |
| mariadb | `test_kinds_db.py` | refused before anything runs, for no gate could see a demand |
| nginx, openldap, postfix, rabbitmq, stunnel | the contact centre | the contact centre, or a test of its own |
| tomcat | here | `test_kind_tomcat.py` |
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .driver import Lab
from .fleet import Json, LabFleet
from .judges import STRANGERS, Judge

pytestmark = pytest.mark.soak

HOSTS: t.Final = "srv1,app1"
#: Requests of a session, which take a second and a half.
SESSION: t.Final = 30
#: By server: its kind, its listener, and the files that steps edit.
SERVERS: t.Final[dict[str, Json]] = {
    "registrar": {
        "kind": "kamailio",
        "listener": {"port": 5060, "secure_port": 5061, "protocol": "sip"},
        "files": ("/etc/kamailio/kamailio-local.cfg", "/etc/kamailio/tls.cfg"),
    },
    "crm": {
        "kind": "tomcat",
        "listener": {"port": 8080, "secure_port": 8443, "protocol": "http"},
        "files": ("/etc/tomcat10/server.xml",),
    },
    "front": {
        "kind": "haproxy",
        "listener": {"port": 8081, "secure_port": 8444, "protocol": "http", "mode": "mutual"},
        "files": ("/etc/haproxy/haproxy.cfg",),
    },
}
#: As somebody sets them up on one host, in the clear.
SET_UP: t.Final = """\
printf 'listen=udp:{address}:5060\\nlisten=tcp:{address}:5060\\n' > /etc/kamailio/kamailio-local.cfg
cat >> /etc/haproxy/haproxy.cfg <<END

frontend front
\tbind *:8081
\thttp-request return status 200 content-type text/plain string "front"
END
systemctl start kamailio haproxy tomcat10
for each in $(seq 1000); do curl --silent --output /dev/null localhost:8080 && exit; sleep 0.2; done
exit 1
"""


def fleet_of(lab: Lab, root: Path) -> LabFleet:
    """Return the servers, each with an application of its own."""
    components: Json = {}
    settings: Json = {}
    for name, server in SERVERS.items():
        components[name] = {"kind": server["kind"], "hosts": ["srv1"], "listeners": {"it": server["listener"]}}
        components[name + "_desk"] = {"kind": "pem_service", "hosts": ["app1"]}
        settings[name] = {"interruption": 60} if server["kind"] == "tomcat" else {}  # for machines that are busy
    connections = [{"client": name + "_desk", "server": name + ".it", "dial": "srv1"} for name in SERVERS]
    model = {"components": components, "connections": connections}
    return LabFleet(lab, root, model=model, settings=settings)


def must_be_refused(lab: Lab) -> None:
    """Fail unless plaintext is refused, and on the mutual listener whoever presents nothing, or something foreign."""
    for name, server in SERVERS.items():
        listener = server["listener"]
        protocol, where = listener["protocol"], "srv1:%d" % listener["secure_port"]
        judge, is_mutual = Judge(lab, "app1", name + "_desk"), listener.get("mode") == "mutual"
        assert "Connection refused" in judge.in_the_clear("srv1", listener["port"], protocol)
        assert judge.is_served(where, protocol, who="itself" if is_mutual else "nobody"), name
        for stranger in STRANGERS:
            assert judge.is_served(where, protocol, who=stranger) is not is_mutual, (name, stranger)


def test_kinds_are_enforced_and_back_in_their_other_mode(lab: Lab, tmp_path: Path) -> None:
    fleet = fleet_of(lab, tmp_path / "fleet")
    lab.ssh("srv1", "bash -e", given=SET_UP.format(address=lab.host("srv1").address), seconds=300)
    fleet.work(session=SESSION)
    files = [path for server in SERVERS.values() for path in server["files"]]
    before = fleet.held("srv1", *files)

    try:
        seconds = fleet.enforced(exercised=True)
    except AssertionError:  # what the applications saw explains most
        print(fleet.traffic())
        raise
    must_be_refused(lab)
    fleet.unchanged(*[("srv1", unit) for unit in ("kamailio", "haproxy", "tomcat10")])
    for name in SERVERS:
        print("\n%s: %s" % (name, fleet.worked(name + "_desk")))
    # permit, demand and enforce each reload it, and then its old worker ends a session that waits for its next request:
    # curl dials again, and loses none
    assert fleet.worked("front_desk")["lost"] == 0
    fleet.taken_back()
    assert fleet.held("srv1", *files) == before
    for name in SERVERS:
        fleet.worked(name + "_desk")
    print("enforced in %.1f s" % seconds)
