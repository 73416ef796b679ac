# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of a lab are machines: Ansible reaches them, servers run on them, and may be lost as real ones are."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import LabError, driver
from .driver import Lab
from .names import Net, parse_hosts

NAMES = ("web", "db", "small")


def ansible(lab: Lab, *arguments: str) -> str:
    """Run `ansible` on all hosts and return what it wrote."""
    argv = [str(Path(sys.executable).with_name("ansible")), "-i", str(lab.inventory), "all", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def reached(lab: Lab, name: str, *words: str) -> bool:
    """Return whether a command on a host succeeds within two seconds."""
    argv = lab.ssh_command(name, *(words or ("true",)))
    argv[1:1] = ["-o", "ConnectTimeout=2", "-o", "ControlPath=none"]
    return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 0


def test_ansible_reaches_every_host_and_its_python(lab: Lab) -> None:
    assert ansible(lab, "-m", "ansible.builtin.ping").count("SUCCESS") == len(NAMES)


def test_every_host_is_a_machine_of_its_own(lab: Lab) -> None:
    script = "hostname; cat /etc/machine-id; cat /etc/ssh/ssh_host_ed25519_key.pub; systemctl is-system-running --wait"
    seen = [lab.ssh(name, script).splitlines() for name in NAMES]
    assert [rows[0] for rows in seen] == list(NAMES)
    assert [rows[3] for rows in seen] == ["running"] * len(NAMES)
    for distinct in (1, 2):
        assert len({rows[distinct] for rows in seen}) == len(NAMES)


def test_hosts_find_each_other_by_name_and_reach_nobody_else(lab: Lab) -> None:
    assert lab.ssh("web", "getent hosts db.lab.test").split() == [lab.host("db").address, "db.lab.test", "db"]
    assert lab.ssh("web", "ip route show").split()[:3] == ["%s.0/24" % lab.net.prefix, "dev", "eth0"]
    assert "default" not in lab.ssh("web", "ip route show; ip -6 route show")


def test_nothing_listens_on_a_host_but_ssh_until_it_is_started(lab: Lab) -> None:
    assert lab.ssh("db", "ss -Hltun | awk '{print $5}' | sort -u").split() == ["0.0.0.0:22", "[::]:22"]


def test_a_server_is_started_as_its_package_has_it_and_others_reach_it(lab: Lab) -> None:
    lab.ssh("web", "systemctl start nginx")
    assert "200 OK" in lab.ssh("db", "curl --silent --head http://web.lab.test/")
    lab.ssh("web", "systemctl stop nginx")
    assert not reached(lab, "db", "curl --silent --head http://web.lab.test/")


def test_hosts_do_not_share_the_control_groups_of_their_services(lab: Lab) -> None:
    """In a group that they share, a service that stops waits for the other host's."""
    for name in ("web", "db"):
        lab.ssh(name, "systemctl start nginx")
    began = time.monotonic()
    lab.ssh("web", "systemctl stop nginx")
    assert time.monotonic() - began < 5
    assert lab.ssh("db", "systemctl is-active nginx").strip() == "active"
    lab.ssh("db", "systemctl stop nginx")


def test_a_limited_host_runs_full_and_the_others_do_not(lab: Lab) -> None:
    fill = "dd if=/dev/zero of=/var/tmp/fill bs=1M count=64"
    with pytest.raises(LabError, match="No space left on device"):
        lab.ssh("small", fill)
    lab.ssh("small", "rm /var/tmp/fill && touch /var/tmp/room")
    lab.ssh("web", fill + " && rm /var/tmp/fill")


def test_a_host_whose_cable_is_pulled_is_lost_and_runs_on(lab: Lab) -> None:
    before = lab.ssh("db", "cat /proc/1/stat").split()[21]
    lab.pause("db")
    try:
        assert not reached(lab, "db")
        assert not reached(lab, "web", "ping -c 1 -W 1 db || curl --max-time 1 db:22")
    finally:
        lab.resume("db")
    assert reached(lab, "db")
    assert lab.ssh("db", "cat /proc/1/stat").split()[21] == before


@pytest.mark.parametrize("gently", [True, False], ids=["shut down", "power cut"])
def test_a_host_that_stops_comes_back_with_its_disk_and_its_name(lab: Lab, gently: bool) -> None:
    lab.ssh("db", "echo kept >/var/tmp/file; sync; cat /etc/machine-id >/var/tmp/id")
    lab.stop("db", gently=gently)
    assert not driver.is_running(lab.host("db"))
    assert not reached(lab, "db")
    lab.start("db")
    assert lab.ssh("db", "cat /var/tmp/file; cmp /var/tmp/id /etc/machine-id && hostname").split() == ["kept", "db"]


def test_two_labs_live_beside_each_other_and_one_network_has_one(lab: Lab, net: Net) -> None:
    beside = driver.up(net, parse_hosts("web"), owned=True)
    assert beside.ssh("web", "hostname").strip() == "web"
    assert {lab.net, net} <= set(driver.labs())
    with pytest.raises(LabError, match=r"a lab is up in .*; `down` removes it"):
        driver.up(net, parse_hosts("other"))
    driver.down(net)
    assert reached(lab, "web")


def test_the_key_that_logs_in_is_readable_by_root_alone(lab: Lab) -> None:
    key = lab.ssh_config.with_name("key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert lab.net.state.stat().st_mode & 0o777 == 0o700


def test_a_host_that_is_not_there_is_named_with_those_that_are(lab: Lab) -> None:
    with pytest.raises(LabError, match="no host nobody; it has web, db, small"):
        lab.pause("nobody")


def test_eight_hosts_answer_within_twenty_seconds(net: Net) -> None:
    began = time.monotonic()
    driver.up(net, parse_hosts(",".join("h%d" % number for number in range(8))), owned=True)
    assert time.monotonic() - began < 20
