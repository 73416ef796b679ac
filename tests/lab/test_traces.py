# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of a lab is left on the machine: after `down`, and after a driver that was killed wherever it was."""

from __future__ import annotations

import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from . import driver, mounts, nspawn, state, traces
from .names import Host, Net, number_hosts, parse_hosts

HOSTS: t.Final = "a,b=64m,c"
LAB: t.Final = Path(__file__).resolve().with_name("lab.py")


def hosts_of(net: Net) -> tuple[Host, ...]:
    return number_hosts(net, parse_hosts(HOSTS))


def is_complete(net: Net) -> bool:
    known = state.read(net)
    return known is not None and known.complete


#: A moment of `up`: how it is seen. In the order in which they come.
MOMENTS: t.Final[dict[str, t.Callable[[Net], bool]]] = {
    "the lab is noted": lambda net: state.read(net) is not None,
    "the first namespace is mounted": lambda net: bool(mounts.below(hosts_of(net)[0].namespace)),
    "the bridge is there": lambda net: Path("/sys/class/net", net.bridge).exists(),
    "the last link is there": lambda net: Path("/sys/class/net", hosts_of(net)[-1].mark).exists(),
    "the first root is mounted": lambda net: bool(mounts.below(hosts_of(net)[0].root)),
    "memory is mounted": lambda net: bool(mounts.below(hosts_of(net)[1].layer)),
    "the first host boots": lambda net: bool(nspawn.members(hosts_of(net)[0].mark)),
    "the last host boots": lambda net: bool(nspawn.members(hosts_of(net)[-1].mark)),
    "it is complete": is_complete,
}


def called(net: Net, *arguments: str) -> list[str]:
    return [sys.executable, str(LAB), *arguments, "--net", net.prefix]


def kill_when(argv: list[str], moment: t.Callable[[], bool]) -> None:
    """Start a command, and kill it as soon as something is seen; fail if that is never seen."""
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not moment():
            assert process.poll() is None or moment(), "it ended before: %s" % process.communicate()[1]
            assert time.monotonic() < until, "it never came so far"
        process.kill()


def test_nothing_is_left_after_a_lab_went_down(net: Net) -> None:
    before = traces.found(net)
    with driver.lab(net, parse_hosts(HOSTS)) as lab:
        for host in lab.hosts:
            lab.ssh(host.name, "true")  # leaves a connection open
        assert traces.found(net) != before
    assert traces.found(net) == before


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_is_left_of_a_driver_that_was_killed_once_somebody_calls_down(net: Net, moment: str) -> None:
    before = traces.found(net)
    kill_when(called(net, "up", "--hosts", HOSTS), lambda: MOMENTS[moment](net))
    assert traces.found(net) != before
    driver.down(net)
    assert traces.found(net) == before


@pytest.mark.parametrize("moment", ["the bridge is there", "the last host boots"])
def test_the_next_lab_takes_the_place_of_one_whose_driver_was_killed(net: Net, moment: str) -> None:
    before = traces.found(net)
    kill_when(called(net, "up", "--hosts", HOSTS), lambda: MOMENTS[moment](net))
    lab = driver.up(net, parse_hosts("other"), owned=True)
    assert lab.ssh("other", "hostname").strip() == "other"
    driver.down(net)
    assert traces.found(net) == before


def test_a_lab_whose_owner_was_killed_makes_room_for_the_next_one(net: Net) -> None:
    before = traces.found(net)
    owner = (
        "import sys, time; sys.path.insert(0, %r); from lab import driver; from lab.names import *\n"
        "driver.up(Net(%r), parse_hosts('a'), owned=True); time.sleep(60)"
    ) % (str(LAB.parents[1]), net.prefix)
    kill_when([sys.executable, "-c", owner], lambda: is_complete(net))
    driver.up(net, parse_hosts("other"), owned=True)
    driver.down(net)
    assert traces.found(net) == before


@pytest.mark.parametrize("gone", ["the hosts", "the links", "the roots"])
def test_a_down_that_was_killed_is_finished_by_the_next(net: Net, gone: str) -> None:
    before = traces.found(net)
    driver.up(net, parse_hosts(HOSTS), owned=True)
    hosts = hosts_of(net)
    seen: dict[str, t.Callable[[], bool]] = {
        "the hosts": lambda: not nspawn.members(hosts[0].mark),
        "the links": lambda: not Path("/sys/class/net", hosts[-1].mark).exists(),
        "the roots": lambda: not mounts.below(hosts[-1].root),
    }
    kill_when(called(net, "down"), seen[gone])
    driver.down(net)
    assert traces.found(net) == before


def test_a_host_that_cannot_be_made_takes_the_whole_lab_with_it(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    before = traces.found(net)

    def fail(*_given: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "wait_answering", fail)
    with pytest.raises(KeyboardInterrupt):
        driver.up(net, parse_hosts(HOSTS))
    assert traces.found(net) == before


def test_down_without_a_lab_does_nothing(net: Net) -> None:
    before = traces.found(net)
    driver.down(net)
    assert traces.found(net) == before
