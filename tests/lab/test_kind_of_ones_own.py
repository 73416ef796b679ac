# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind that docs/task_kind.md writes, outside of a collection that is installed read-only: Mosquitto under load."""

from __future__ import annotations

import json
import re
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from integration.harness import ROOT

from .driver import Lab
from .fleet import PROGRAMS, Json, LabFleet
from .installed import installed
from .judges import Judge, Who

PAGE: t.Final = ROOT / "docs" / "task_kind.md"
MODES: t.Final = ("simple", "mutual")
#: The page's hosts; the program that publishes works on the host of the board.
HOSTS: t.Final = "mq1,mq2,app1"
CLEAR, BRIDGE = "/etc/mosquitto/conf.d/clear.conf", "/etc/mosquitto/conf.d/bridge.conf"
FILES: t.Final = {
    "mq1": "/etc/mosquitto /etc/mosquitto/conf.d",
    "mq2": "/etc/mosquitto /etc/mosquitto/conf.d",
    "app1": "/etc/board /etc/desk",
}

#: A broker as somebody set it up, and one of a branch that has what is published there as well.
HUB: t.Final = """\
mkdir -p /etc/mosquitto/conf.d
printf '# the floor\nlistener 1883\nallow_anonymous true\nmax_queued_messages 0\nlog_dest stderr\n' > %s
systemctl start mosquitto
"""
BRANCH: t.Final = """\
printf 'listener 1884 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n' > /etc/mosquitto/conf.d/own.conf
printf '# the hub has it\nconnection hub\naddress {hub}:1883\ntopic asked in 1\ncleansession false\n' > {file}
printf 'restart_timeout 1\n' >> {file}
systemctl start mosquitto
"""
#: Subscribers with sessions that outlive their connections: what they miss meanwhile, they are told afterwards.
SUBSCRIBER: t.Final = """\
mkdir -p /etc/{name}
printf -- '# the board\n-h {host}\n--port {port}\n-q 1\n-c\n-i {name}\n-t asked\n' > /etc/{name}/mosquitto_sub
systemd-run --quiet --unit={name} --setenv=XDG_CONFIG_HOME=/etc/{name} --property=Restart=always \
  --property=RestartSec=0.1 --property=StandardOutput=append:/var/log/{name} mosquitto_sub
"""
PUBLISHER: t.Final = """\
mkdir -p /etc/desk
printf -- '-h {host}\n--port 1883\n' > /etc/desk/mosquitto_pub
systemd-run --quiet --unit=desk /usr/bin/python3 /opt/publish.py /etc/desk
"""


def blocks_of(page: Path) -> list[str]:
    """Return the fenced blocks of YAML of a page."""
    return re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def block(start: str) -> str:
    """Return the page's block that begins so."""
    (found,) = (each for each in blocks_of(PAGE) if each.startswith(start))
    return found


class OnesOwn(LabFleet):
    """A fleet whose operator has the collection read-only, and a folder of roles of their own."""

    collections: Path
    roles: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of playbooks, in which the checkout's collection is not to be found."""
        ours = {"ANSIBLE_COLLECTIONS_PATH": str(self.collections), "ANSIBLE_ROLES_PATH": str(self.roles)}
        return super().environment(**ours, **more)

    def arrived(self, host: str, name: str) -> list[int]:
        """Return the numbers that a subscriber was told."""
        return [int(line) for line in self.lab.ssh(host, "cat /var/log/" + name).split()]

    def published(self) -> Json:
        """Return what the publisher counted."""
        found: Json = json.loads(self.lab.ssh("app1", "cat /etc/desk/published.json 2>/dev/null || echo {}"))
        return found

    def must_have_it_all(self) -> Json:
        """Fail unless both subscribers are told, in a while, all that was published by now, and more than before."""
        before, until = self.published().get("published", 0), time.monotonic() + 60
        while (now := self.published()).get("published", 0) <= before:
            assert time.monotonic() < until, now
            time.sleep(0.2)
        wanted = set(range(now["published"]))
        while missing := [len(wanted - set(self.arrived(*who))) for who in (("app1", "board"), ("mq2", "wall"))]:
            if not any(missing):
                return now
            assert time.monotonic() < until, "missing at board and wall: %s of %d" % (missing, len(wanted))
            time.sleep(0.5)
        raise AssertionError("unreachable")

    def held_in(self, host: str) -> str:
        """Return digests, modes and owners of all files of the folders that may be edited on a host."""
        find = "find %s -maxdepth 1 -type f ! -name '*.json' ! -name new" % FILES[host]
        return self.lab.ssh(host, "%s -exec sha256sum {} + -exec stat -c '%%n %%a %%U %%G' {} + | sort" % find)


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Path]:
    with installed(tmp_path_factory.mktemp("installed")) as folder:
        yield folder


def fleet_of(lab: Lab, tmp_path: Path, collections: Path, *, mode: str) -> OnesOwn:
    """Return the page's fleet, with its kind in a folder of roles, and a publisher besides."""
    model = yaml.safe_load(block("# inventory/prod/tls_connections.yml"))
    settings = yaml.safe_load(block("# inventory/prod/group_vars/all.yml"))["tls_settings"]
    model["components"]["hub"]["listeners"]["mqtt"]["mode"] = mode
    model["components"]["desk"] = {"kind": "pem_service", "hosts": ["app1"]}
    model["connections"].append({"client": "desk", "server": "hub.mqtt"})
    once = {"config": "/etc/desk/mosquitto_pub", "process": {"service": "desk"}, "apply": "reload"}
    settings["desk"] = {**settings["board"], **once, "reload": {"command": ["true"]}, "interruption": 0}
    del settings["desk"]["restart"], model["plugin"]
    role = tmp_path / "roles" / "kind_mosquitto" / "vars" / "main.yml"
    role.parent.mkdir(parents=True)
    role.write_text(block("# roles/kind_mosquitto/vars/main.yml"))
    fleet = OnesOwn(lab, tmp_path / "fleet", model=model, settings=settings)
    fleet.collections, fleet.roles = collections, tmp_path / "roles"
    return fleet


def set_up(fleet: OnesOwn) -> None:
    """Start brokers, subscribers and the publisher, in the clear."""
    hub = "mq1.lab.test"
    fleet.put("app1", "/opt/publish.py", (PROGRAMS / "publish.py").read_text())
    fleet.lab.ssh("mq1", "bash -e", given=HUB % CLEAR)
    fleet.lab.ssh("mq2", "bash -e", given=BRANCH.format(hub=hub, file=BRIDGE))
    fleet.lab.ssh("app1", "bash -e", given=SUBSCRIBER.format(name="board", host=hub, port=1883))
    fleet.lab.ssh("mq2", "bash -e", given=SUBSCRIBER.format(name="wall", host="127.0.0.1", port=1884))
    time.sleep(1.5)  # the bridge has subscribed
    fleet.lab.ssh("app1", "bash -e", given=PUBLISHER.format(host=hub))


def test_the_collection_is_installed_and_cannot_be_written_to(collections: Path) -> None:
    ours = collections / "ansible_collections" / "connsec" / "tls"
    assert (ours / "MANIFEST.json").is_file()
    assert not (ours / "tests").exists()
    with pytest.raises(OSError, match="Read-only file system"):
        (ours / "roles" / "new").mkdir()


@pytest.mark.soak
@pytest.mark.parametrize("mode", MODES)
def test_a_kind_of_ones_own_goes_plain_enforced_and_back_under_load(
    fresh_lab: Lab, tmp_path: Path, collections: Path, mode: str
) -> None:
    fleet = fleet_of(fresh_lab, tmp_path, collections, mode=mode)
    set_up(fleet)
    fleet.must_have_it_all()
    before = {host: fleet.held_in(host) for host in FILES}

    seconds = fleet.enforced(exercised=True)
    moved = fleet.must_have_it_all()
    must_be_refused(fleet, mode=mode)

    units = ("mq1", "mosquitto"), ("mq2", "mosquitto")
    fleet.renewed(*units)
    fleet.unchanged(*units, ("app1", "board"))
    fleet.taken_back()
    assert {host: fleet.held_in(host) for host in FILES} == before
    after = fleet.must_have_it_all()
    again = len(fleet.arrived("app1", "board")) - len(set(fleet.arrived("app1", "board")))
    figures = (mode, seconds, after["published"], after["sessions"], again, moved["failed"], after["failed"])
    print(
        "\nmosquitto %s: enforced in %.1f s; published %d in %d sessions, all arrived, %d twice; sessions that failed:"
        " %d until enforced, %d in all" % figures
    )


def must_be_refused(fleet: OnesOwn, *, mode: str) -> None:
    """Fail unless plaintext is refused, and on a mutual listener whoever presents nothing, or something foreign."""
    hub = "mq1.lab.test"
    asked = "mosquitto_pub -h %s -t other -m x" % hub
    assert "Connection refused" in fleet.refuses("app1", asked)
    judge, where = Judge(fleet.lab, "app1", "board"), hub + ":8883"
    known: Who = "itself" if mode == "mutual" else "nobody"
    assert judge.refusal(where, who=known) == ""
    assert "alert" in judge.refusal(where, "-tls1_1", who=known)
    if mode == "mutual":
        assert "certificate required" in judge.refusal(where)
        assert "unknown ca" in judge.refusal(where, who="stranger")
