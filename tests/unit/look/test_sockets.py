# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose sockets there are, who talks to a listener, and that a watch misses nobody."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host import _destroyed, _sockets
from ansible_collections.connsec.tls.plugins.module_utils._host._process import (
    ProcessUnknown,
    descendants,
    pids_of,
    started_at,
    user_of,
    variables_of,
)
from ansible_collections.connsec.tls.plugins.module_utils._host._sockets import (
    Row,
    own_sockets,
    tcp_rows,
)
from ansible_collections.connsec.tls.plugins.module_utils._host._watching import Watched, peers_of, watch

from .servers import closing, silent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets are seen on Linux")


def connected(address: str, port: int, source: str | None = None) -> socket.socket:
    return socket.create_connection((address, port), source_address=(source, 0) if source else None)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_process_is_shown_its_own_sockets(serve, address) -> None:
    server = serve(silent, address=address)
    with connected(address, server.port) as client:
        own = [row for row in own_sockets([os.getpid()]) if server.port in (row.local[1], row.peer[1])]
        mine = client.getsockname()[:2]
        assert Row(mine, (address, server.port), "ESTABLISHED", 0) in [Row(r.local, r.peer, r.state, 0) for r in own]
        assert any(row.state == "LISTEN" and row.local == (address, server.port) for row in own)


def test_a_peer_of_a_dual_socket_is_shown_by_its_ipv4_address() -> None:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with connected("127.0.0.1", port, "127.0.0.9"):
            peers = watch([Watched("it", ("127.0.0.1",), port)], seconds=0)["it"]["peers"]
    assert [(peer["address"], peer["state"], peer["new"]) for peer in peers] == [("127.0.0.9", "ESTABLISHED", False)]


@pytest.fixture
def child(serve, tmp_path) -> t.Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process whose child holds a session."""
    server = serve(silent)
    inner = "import socket,time; s=socket.create_connection(('127.0.0.1',%d)); print('up',flush=True); time.sleep(60)"
    outer = "import subprocess,sys; p=subprocess.Popen([sys.executable,'-c',sys.argv[1]]); p.wait()"
    process = subprocess.Popen(
        [sys.executable, "-c", outer, inner % server.port],
        stdout=subprocess.PIPE,
        env={**os.environ, "SSL_CERT_FILE": "/etc/connsec/trust.pem", "EMPTY": ""},
    )
    assert process.stdout and process.stdout.readline() == b"up\n"
    yield process, server.port
    for pid in descendants(process.pid):
        os.kill(pid, 9)
    process.kill()
    process.wait()


def test_the_sockets_of_children_belong_to_the_instance(child, tmp_path) -> None:
    process, port = child
    (tmp_path / "pid").write_text("%d\n/var/lib/data\n" % process.pid)
    pids = pids_of({"pid_file": str(tmp_path / "pid")})
    assert pids[0] == process.pid and len(pids) == 2
    assert [row.peer for row in own_sockets(pids) if row.inode] == [("127.0.0.1", port)]


def test_a_process_tells_since_when_as_whom_and_with_what_it_runs(child) -> None:
    process, _unused = child
    started = started_at(process.pid)
    assert started is not None and abs(started - time.time()) < 20
    assert user_of(process.pid) == user_of(os.getpid())
    names = ["SSL_CERT_FILE", "EMPTY", "NO_SUCH"]
    assert variables_of(process.pid, names) == {"SSL_CERT_FILE": "/etc/connsec/trust.pem", "EMPTY": "", "NO_SUCH": None}


def test_processes_that_are_not_there_are_none(tmp_path) -> None:
    assert pids_of({}) == [] and pids_of(None) == []
    assert pids_of({"pid_file": str(tmp_path / "no")}) == []
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "pid").write_text(str(gone.pid))
    assert pids_of({"pid_file": str(tmp_path / "pid")}) == []
    assert started_at(gone.pid) is None and user_of(gone.pid) is None
    with pytest.raises(ProcessUnknown, match="cannot be read"):
        variables_of(gone.pid, ["A"])


@pytest.mark.parametrize(
    ("process", "says"),
    [
        ({"pid_file": "{tmp}/bad"}, "does not begin with a number"),
        ({"pid_file": "{tmp}"}, "cannot be read"),
        ({"name": "x"}, "by pid_file or by service, not by name"),
        ({"service": "no-such-unit.service"}, "systemctl show .* fails"),
    ],
)
def test_processes_that_cannot_be_told_say_why(tmp_path, monkeypatch, process, says) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "bad").write_text("none\n")
    with pytest.raises(ProcessUnknown, match=says):
        pids_of({key: value.format(tmp=tmp_path) for key, value in process.items()})


def test_a_service_is_asked_of_systemd(tmp_path, monkeypatch) -> None:
    fake = tmp_path / "systemctl"
    fake.write_text(
        '#!/bin/sh\n[ "$1 $3 $4" = "show -- x.service" ] || exit 1\necho MainPID=%d\necho ControlGroup=\n' % os.getpid()
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    assert pids_of({"service": "x.service"})[0] == os.getpid()


def test_what_is_left_of_a_session_is_counted_to_its_address(serve) -> None:
    server = serve(silent)
    client = connected("127.0.0.1", server.port, "127.0.0.6")
    client.close()
    time.sleep(0.05)
    rows = own_sockets([os.getpid()], addresses={"127.0.0.6"})
    left = [row.to_json() for row in rows if row.peer == ("127.0.0.1", server.port) and row.local[0] == "127.0.0.6"]
    assert [(row["state"], row["owned"]) for row in left] == [("TIME_WAIT", False)]


@contextlib.contextmanager
def clients(address: str, port: int, *, source: str, after: float = 0, every: float) -> t.Iterator[list[int]]:
    """Connect and leave again and again, after a while; ports are told as they come, and all of them at the end."""
    ports: list[int] = []
    stop = threading.Event()

    def work() -> None:
        stop.wait(after)
        while not stop.wait(every):
            with connected(address, port, source) as client:
                ports.append(client.getsockname()[1])

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield ports
    finally:
        stop.set()
        thread.join(timeout=10)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_watch_sees_every_short_connection(serve, address) -> None:
    server = serve(closing, address=address)
    source = "127.0.0.8" if address == "127.0.0.1" else "::1"
    with clients(address, server.port, source=source, after=0.5, every=0.1) as ports:
        seen = watch([Watched("it", (address,), server.port)], seconds=1.5)["it"]
        during = tuple(ports[:-1])  # the last one may have come when the watch was over
    found = {peer["port"] for peer in seen["peers"] if peer["new"] and peer["address"] == source}
    assert during and set(during) <= found
    assert seen["coverage"]["samples"] >= 2 and seen["coverage"]["seconds"] >= 1.5


def test_a_stranger_and_a_session_left_over_are_told_apart(serve) -> None:
    server = serve(silent)
    with connected("127.0.0.1", server.port, "127.0.0.3") as session:
        held = session.getsockname()[1]
        with clients("127.0.0.1", server.port, source="127.0.0.99", every=0.05) as ports:
            seen = watch([Watched("it", ("127.0.0.1",), server.port)], seconds=0.4)["it"]
    peers = seen["peers"]
    left = [peer for peer in peers if peer["address"] == "127.0.0.3"]
    assert [(peer["port"], peer["state"], peer["new"]) for peer in left] == [(held, "ESTABLISHED", False)]
    assert left[0]["samples"] == seen["coverage"]["samples"] >= 2
    strange = {peer["port"] for peer in peers if peer["address"] == "127.0.0.99" and peer["new"]}
    assert strange and strange <= set(ports)


def test_what_ended_before_the_watch_is_not_new(serve) -> None:
    server = serve(silent)
    connected("127.0.0.1", server.port, "127.0.0.4").close()
    time.sleep(0.1)
    peers = watch([Watched("it", ("127.0.0.1",), server.port)], seconds=0.2)["it"]["peers"]
    assert [peer for peer in peers if peer["new"]] == []


def test_the_kernel_tells_what_no_sample_shows(serve) -> None:
    server = serve(closing)
    with _destroyed.Destroyed() as destroyed:
        if not destroyed.complete:
            pytest.skip("this system tells destroyed sockets to root only")
        with connected("127.0.0.1", server.port) as client:
            mine = client.getsockname()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no TIME_WAIT is left
        for _unused in range(50):
            gone = destroyed.take()
            if any(row.peer == mine for row in gone):
                break
            time.sleep(0.01)
        assert any(row.local == ("127.0.0.1", server.port) and row.peer == mine for row in gone)


def test_without_the_kernels_telling_a_watch_says_that_it_is_not_complete(serve, monkeypatch) -> None:
    monkeypatch.setattr(_destroyed, "_NETLINK_SOCK_DIAG", 12345)
    seen = watch([Watched("it", ("127.0.0.1",), serve(silent).port)], seconds=0.1)
    assert seen["it"]["coverage"]["events"] is False


HERE = ("10.0.0.1", 2020)
LISTENERS = {
    "one address": [Row(HERE, ("0.0.0.0", 0), "LISTEN", 1)],
    "all addresses": [Row(("0.0.0.0", 2020), ("0.0.0.0", 0), "LISTEN", 1)],
    "both": [Row(("0.0.0.0", 2020), ("0.0.0.0", 0), "LISTEN", 1), Row(("10.0.0.2", 2020), ("0.0.0.0", 0), "LISTEN", 2)],
    "none": [],
}
PEERS = [
    ("one address", "10.0.0.1", {"a"}),
    ("all addresses", "10.0.0.1", {"a", "b", "c"}),
    ("both", "10.0.0.1", {"a", "c"}),
    ("none", "10.0.0.1", {"a"}),
    ("one address", None, {"a", "b", "c"}),
]


@pytest.mark.parametrize(("listening", "address", "expected"), PEERS)
def test_a_listener_has_the_peers_of_the_addresses_that_it_is_bound_to(listening, address, expected) -> None:
    rows = [
        Row(HERE, ("192.0.2.1", 40001), "ESTABLISHED", 3),  # a
        Row(("10.0.0.2", 2020), ("192.0.2.1", 40002), "ESTABLISHED", 4),  # b
        Row(("127.0.0.1", 2020), ("127.0.0.1", 40003), "ESTABLISHED", 5),  # c
        Row(("10.0.0.1", 40009), ("192.0.2.9", 2020), "ESTABLISHED", 6),  # ours, to another host's listener
    ]
    names = {40001: "a", 40002: "b", 40003: "c", 2020: "other"}
    found = peers_of([*LISTENERS[listening], *rows], Watched("it", (address,) if address else (), 2020))
    assert {names[port] for _unused, port in found} == expected


def test_a_system_without_proc_says_so(tmp_path) -> None:
    with pytest.raises(_sockets.SocketsUnknown, match="on Linux only"):
        tcp_rows(folder=str(tmp_path))


def test_rows_are_plain_data(serve) -> None:
    server = serve(silent, address="::1")
    with connected("::1", server.port):
        rows = [row.to_json() for row in tcp_rows({server.port})]
    assert {"local": "[::1]:%d" % server.port, "peer": "[::]:0", "state": "LISTEN", "owned": True} in rows
    json.dumps(rows)


PID_FILES = [
    (0o644, "root", None),
    (0o644, "nobody", "belongs to nobody, and process"),
    (0o666, "root", "everybody may write to the pid file"),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="LEFT OUT: only root can give files away")
@pytest.mark.parametrize(("mode", "owner", "says"), PID_FILES)
def test_a_pid_file_names_only_a_process_that_its_owner_may_touch(tmp_path, mode, owner, says) -> None:
    path = tmp_path / "pid"
    path.write_text("%d\n" % os.getpid())
    path.chmod(mode)
    os.chown(path, pwd.getpwnam(owner).pw_uid, -1)
    if says is None:
        assert pids_of({"pid_file": str(path)})[0] == os.getpid()
    else:
        with pytest.raises(ProcessUnknown, match=says):
            pids_of({"pid_file": str(path)})
