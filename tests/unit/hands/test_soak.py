# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collector: a program of its own that a timer starts, and what it keeps of who used clear listeners."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import time

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host import _collector
from ansible_collections.connsec.tls.plugins.module_utils._host._collected import collected
from ansible_collections.connsec.tls.plugins.module_utils._host._soak import Collector

NAME = "confserv.default@cfg1"


@pytest.fixture
def door():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def installed(tmp_path, port):
    collector = Collector(str(tmp_path), [{"id": NAME, "addresses": ["127.0.0.1"], "port": port}])
    for change in collector.changes():
        collector.make(change)
    assert collector.changes() == []
    return tmp_path / "soak.d" / "collect.py"


def run(program, seconds=0.3):
    """Run it as a timer does: with no library but the standard one."""
    subprocess.run([sys.executable, "-I", "-S", str(program), "--seconds", str(seconds)], check=True, timeout=30)


def test_it_is_installed_once_and_read_back(tmp_path, door):
    assert collected(str(tmp_path))["listeners"] == {}
    port = door.getsockname()[1]
    program = installed(tmp_path, port)
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert collected(str(tmp_path))["configured"] == [{"id": NAME, "addresses": ["127.0.0.1"], "port": port}]
    other = Collector(str(tmp_path), [{"id": NAME, "addresses": ["127.0.0.1"], "port": port + 1}])
    assert [(change.target, change.reason) for change in other.changes()] == [("soak.d/collect.json", "it is another")]


def test_it_keeps_each_peer_with_its_times_and_the_interval_that_it_watched(tmp_path, door):
    program = installed(tmp_path, door.getsockname()[1])
    before = time.time()
    with socket.socket() as stranger:
        stranger.bind(("127.9.9.9", 0))
        stranger.connect(door.getsockname())
        run(program)
    seen = collected(str(tmp_path))["listeners"][NAME]
    assert set(seen["peers"]) == {"127.9.9.9"}
    peer = seen["peers"]["127.9.9.9"]
    assert peer["count"] == 1
    assert before <= peer["first"] <= peer["last"] <= time.time()
    ((first, last),) = seen["intervals"]
    assert before <= first < last <= time.time()


def test_runs_without_a_gap_are_one_interval_and_peers_are_counted_on(tmp_path, door):
    program = installed(tmp_path, door.getsockname()[1])
    for _turn in range(2):
        with socket.socket() as stranger:
            stranger.bind(("127.9.9.9", 0))
            stranger.connect(door.getsockname())
            run(program, 0.1)
    seen = collected(str(tmp_path))["listeners"][NAME]
    assert len(seen["intervals"]) == 1
    assert seen["peers"]["127.9.9.9"]["count"] >= 2


def end_a_connection(door):
    """Leave a connection that the server ended first: its end is listed for another minute."""
    with socket.socket() as client:
        client.bind(("127.9.9.9", 0))
        client.connect(door.getsockname())
        door.accept()[0].close()
        assert client.recv(1) == b""


def test_what_had_ended_before_the_first_watch_does_not_count(tmp_path, door):
    program = installed(tmp_path, door.getsockname()[1])
    end_a_connection(door)
    run(program, 0.6)
    assert collected(str(tmp_path))["listeners"][NAME]["peers"] == {}


def test_what_ended_between_two_watches_without_a_gap_counts(tmp_path, door):
    program = installed(tmp_path, door.getsockname()[1])
    run(program, 0.1)
    end_a_connection(door)
    run(program, 0.1)
    assert collected(str(tmp_path))["listeners"][NAME]["peers"]["127.9.9.9"]["count"] == 1


def test_a_pause_makes_another_interval():
    seen = {"peers": {}, "intervals": [[0.0, 60.0]]}
    _collector.watched(seen, 61.0, 120.0)
    _collector.watched(seen, 1000.0, 1055.0)
    assert seen["intervals"] == [[0.0, 120.0], [1000.0, 1055.0]]


def test_what_is_old_is_forgotten():
    now = _collector.KEPT + 1000
    seen = {
        "peers": {"a": {"first": 1, "last": 1, "count": 1}, "b": {"first": 1, "last": now, "count": 1}},
        "intervals": [[0.0, 60.0], [now - 60, now]],
    }
    assert _collector.trimmed(seen, now) == {"peers": {"b": seen["peers"]["b"]}, "intervals": [[now - 60, now]]}


def test_our_own_looks_and_other_ports_are_nobody():
    here, there = ("10.0.0.1", 2020), ("10.0.0.1", 2021)
    rows = [(here, ("10.0.0.9", 40000)), (here, ("10.0.0.8", 61500)), (there, ("10.0.0.7", 40000))]
    listener = {"id": NAME, "addresses": ["10.0.0.1"], "port": 2020}
    assert _collector.peers_of(listener, rows, 61000) == {("10.0.0.9", 40000)}
    assert _collector.peers_of({**listener, "addresses": ["10.0.0.2"]}, rows, 61000) == set()


def test_from_which_ports_looks_are_made_is_written_and_read_back(tmp_path):
    row = {"id": NAME, "addresses": [], "port": 2020, "looks": {"10.0.0.9": 61000}}
    collector = Collector(str(tmp_path), [row])
    for change in collector.changes():
        collector.make(change)
    assert collected(str(tmp_path))["configured"] == [row]


def test_looks_from_a_host_are_known_by_the_port_that_it_has_told():
    here = ("10.0.0.1", 2020)
    rows = [(here, ("10.0.0.9", 61500)), (here, ("10.0.0.8", 61500)), (here, ("10.0.0.9", 40000))]
    listener = {"id": NAME, "addresses": [], "port": 2020, "looks": {"10.0.0.9": 61000}}
    assert _collector.peers_of(listener, rows, 65536) == {("10.0.0.8", 61500), ("10.0.0.9", 40000)}


AIX = """\
Active Internet connections (including servers)
Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)
tcp        0      0  *.2020                 *.*                    LISTEN
tcp4       0      0  192.0.2.8.2020         192.0.2.9.40000        ESTABLISHED
tcp6       0      0  ::ffff:192.0.2.8.2020  ::ffff:192.0.2.7.41000 TIME_WAIT
tcp4       0      0  *.32790                *.*
udp4       0      0  *.514                  *.*
"""
SOLARIS = """\

TCP: IPv4
   Local Address        Remote Address    Swind  Send-Q  Rwind  Recv-Q    State
-------------------- -------------------- ------- ------ ------- ------ -----------
      *.2020               *.*                 0      0  128000      0 LISTEN
192.0.2.8.2020       192.0.2.9.40000      128000      0  128000      0 ESTABLISHED

TCP: IPv6
   Local Address                     Remote Address                   Swind  Send-Q  Rwind  Recv-Q   State      If
--------------------------------- --------------------------------- ------- ------ ------- ------ ----------- -----
fe80::1%net0.2020                 fe80::2.41000                       49152      0  128000      0 TIME_WAIT   net0
"""


def test_the_lists_of_netstat_are_read_as_their_vendors_write_them():
    session = (("192.0.2.8", 2020), ("192.0.2.9", 40000), "ESTABLISHED")
    assert _collector.from_netstat(AIX, "AIX") == [session, (("192.0.2.8", 2020), ("192.0.2.7", 41000), "TIME_WAIT")]
    assert _collector.from_netstat(SOLARIS, "SunOS") == [session, (("fe80::1", 2020), ("fe80::2", 41000), "TIME_WAIT")]


def test_what_netstat_says_otherwise_ends_a_watch_and_is_not_guessed():
    for line in ("tcp4 0 0 192.0.2.8.2020 192.0.2.9.40000 ODD", "tcp4 0 0 here.2020 there.40000 ESTABLISHED"):
        with pytest.raises((ValueError, OSError)):
            _collector.from_netstat(line, "AIX")


def test_two_never_watch_at_once(tmp_path, door):
    program = installed(tmp_path, door.getsockname()[1])
    argv = [sys.executable, "-I", "-S", str(program), "--seconds", "3"]
    first = subprocess.Popen(argv)
    try:
        until = time.monotonic() + 10
        while not (program.parent / "collect.lock").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.2)
        begun = time.monotonic()
        run(program, 3)
        assert time.monotonic() - begun < 2.5
        assert not (program.parent / "collected.json").exists(), "the first one is not through"
    finally:
        first.kill()
        first.wait()


@pytest.mark.parametrize("content", ["", "[]", "{", json.dumps({"listeners": None})])
def test_a_damaged_file_counts_as_nothing_collected(tmp_path, door, content):
    program = installed(tmp_path, door.getsockname()[1])
    (program.parent / "collected.json").write_text(content)
    assert collected(str(tmp_path))["listeners"] == {}
    run(program, 0)
    assert NAME in collected(str(tmp_path))["listeners"]
