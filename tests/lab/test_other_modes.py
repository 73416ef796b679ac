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

import socket
import typing as t
from pathlib import Path

import pytest

from . import driver
from .conftest import NET
from .driver import Lab
from .names import parse_hosts
from .rollouts import PROGRAMS, Json, LabFleet, application
from .strangers import ASKING, STRANGERS, Callers

pytestmark = pytest.mark.soak

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
for each in $(seq 300); do curl --silent --output /dev/null localhost:8080 && exit; sleep 0.2; done
exit 1
"""


@pytest.fixture
def lab() -> t.Iterator[Lab]:
    driver.build(print)
    with driver.lab(NET, parse_hosts("srv1,app1")) as found:
        found.ssh("srv1", "bash -e", given=SET_UP.format(address=found.host("srv1").address))
        yield found


def fleet_of(lab: Lab, root: Path) -> LabFleet:
    """Return the servers, each with an application of its own."""
    components: Json = {}
    settings: Json = {}
    for name, server in SERVERS.items():
        listener = server["listener"]
        components[name] = {"kind": server["kind"], "hosts": ["srv1"], "listeners": {"it": listener}}
        components[name + "_desk"] = {"kind": "pem_service", "hosts": ["app1"]}
        settings[name] = {"interruption": 60} if server["kind"] == "tomcat" else {}  # for machines that are busy
        settings[name + "_desk"] = application(name + "_desk", mutual=listener.get("mode") == "mutual")
    connections = [{"client": name + "_desk", "server": name + ".it", "dial": "srv1"} for name in SERVERS]
    model = {"components": components, "connections": connections}
    return LabFleet(lab, root, model=model, settings=settings)


def start(fleet: LabFleet) -> None:
    """Start the applications."""
    fleet.write("app1", "/opt/say.py", (PROGRAMS / "say.py").read_text())
    for name, server in SERVERS.items():
        words, wanted = ASKING[server["listener"]["protocol"]]
        said = words.format(host="srv1", port="{port}").encode("unicode_escape").decode()
        rows = {"host": "srv1", "port": server["listener"]["port"], "say": said, "hear": wanted.strip()}
        text = "[server]\n" + "".join("%s = %s\n" % row for row in rows.items())
        file = "/etc/load/%s_desk.ini" % name
        fleet.write("app1", file, text, "600")
        words = "systemd-run --quiet --unit=load-%s_desk /usr/bin/python3 /opt/say.py %s" % (name, file)
        fleet.lab.ssh("app1", words)
        fleet.worked("app1", name + "_desk")


def must_be_refused(fleet: LabFleet, tmp_path: Path) -> None:
    """Fail unless plaintext is refused, and on the mutual listener whoever presents nothing, or something foreign."""
    address = fleet.lab.host("srv1").address
    for name, server in SERVERS.items():
        listener = server["listener"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, listener["port"]), timeout=5).close()
        is_mutual = listener.get("mode") == "mutual"
        callers = Callers(fleet.lab, "app1", name + "_desk", tmp_path / name)
        at = {"name": "srv1", "protocol": listener["protocol"]}
        assert callers.served("itself" if is_mutual else "nobody", address, listener["secure_port"], **at), name
        for stranger in STRANGERS:
            assert callers.served(stranger, address, listener["secure_port"], **at) is not is_mutual, (name, stranger)


def test_kinds_are_enforced_and_back_in_their_other_mode(lab: Lab, tmp_path: Path) -> None:
    fleet = fleet_of(lab, tmp_path / "fleet")
    start(fleet)
    files = [path for server in SERVERS.values() for path in server["files"]]
    before = fleet.held("srv1", *files)

    try:
        seconds = fleet.enforced()
    except AssertionError:  # what the applications saw explains most
        print(lab.ssh("app1", "cat /etc/load/*.json; cat /etc/load/registrar_desk.ini"))
        raise
    must_be_refused(fleet, tmp_path)
    units = [("srv1", unit) for unit in ("kamailio", "haproxy", "tomcat10")]
    fleet.unchanged(*units)
    for name in SERVERS:
        print("\n%s: %s" % (name, fleet.worked("app1", name + "_desk")))
    # permit, demand and enforce each reload it, and then its old worker ends a session that waits for its next request
    assert fleet.worked("app1", "front_desk").lost <= 3
    fleet.taken_back()
    assert fleet.held("srv1", *files) == before
    for name in SERVERS:
        fleet.worked("app1", name + "_desk")
    print("enforced in %.1f s" % seconds)
