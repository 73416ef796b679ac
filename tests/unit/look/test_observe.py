# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a host: what stands in the answer, what is named as unreadable, and what it costs."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._host import _sight
from ansible_collections.connsec.tls.plugins.module_utils._host._observe import observe

from .servers import Pki, closing, in_the_clear, over_tls, silent


def instance(name: str = "router@urs1", **asked: t.Any) -> dict[str, t.Any]:
    return {"name": name, "process": {}, **asked}


def see(request: dict[str, t.Any], name: str = "router@urs1") -> dict[str, t.Any]:
    """Return what is seen of one instance; the answer is plain data."""
    return json.loads(json.dumps(observe({"instances": [instance(name, **request)]})))["instances"][name]


def test_nothing_asked_is_nothing_seen() -> None:
    seen = observe({})
    assert seen.pop("clock") == pytest.approx(time.time(), abs=5)
    assert all(ipaddress.ip_address(each) and not each.startswith("127.") for each in seen.pop("addresses"))
    assert len(seen.pop("probe_ports")) in (0, 2)
    assert seen == {"instances": {}, "probes": {}, "watch": {}, "settled": {}, "source_ports": []}


def test_the_answer_carries_the_token_of_its_request() -> None:
    assert observe({"token": "7"})["token"] == "7"


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"instance": []}, "a request has no 'instance'"),
        ({"probes": [{"id": "x"}]}, "probe 'x': address is None"),
        ({"watch": {"seconds": 1e9}}, "the limit is 3600"),
        ({"watch": {"seconds": 0, "instances": ["x@y"]}}, "the request does not describe it"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_one_sentence(request_, says) -> None:
    with pytest.raises(TlsError, match=says):
        observe(request_)


def test_settings_are_read_back_by_id(tmp_path) -> None:
    path = tmp_path / "router.ini"
    path.write_text("[peer.confserv]\ntls = yes\n")
    row = {"file": str(path), "format": "ini", "section": "peer.confserv"}
    seen = see(
        {
            "reads": [
                {"id": "set", "key": "tls", **row},
                {"id": "not set", "key": "trust", **row},
                {"id": "no file", "key": "tls", **row, "file": str(tmp_path / "none.ini")},
                {"id": "to be made", "key": "tls", **row, "file": str(tmp_path / "none.ini"), "made": True},
                {"id": "a folder", "key": "tls", **row, "file": str(tmp_path)},
            ]
        }
    )
    assert seen["reads"] == {"set": "yes", "not set": None, "to be made": None}
    assert seen["unreadable"] == {
        "no file": "%s does not exist" % (tmp_path / "none.ini"),
        "a folder": "%s is not a file" % tmp_path,
    }


def test_what_is_installed_is_told(tmp_path) -> None:
    seen = observe({"directory": str(tmp_path), "instances": [instance(folder="router")]})["instances"]["router@urs1"]
    assert {"generation", "previous", "manifest", "drift", "pending", "loaded", "steps"} <= set(seen)
    assert seen["generation"] is None and seen["unreadable"] == {}


SESSIONS = [
    ('{"peer": "127.0.0.3:4000", "tls": true, "verified": true}\n\n{"peer": "127.0.0.4:1", "tls": false}\n', 2, None),
    ('{"peer": "127.0.0.3:4000", "tls"', 0, "1 lines of the session list are not JSON"),
    ("[1]\n2\n", 0, None),
    ("", 0, None),
]


@pytest.mark.parametrize("how", ["file", "command"])
@pytest.mark.parametrize(("text", "count", "says"), SESSIONS)
def test_sessions_are_listed_by_a_file_or_a_command(tmp_path, how, text, count, says) -> None:
    (tmp_path / "sessions").write_text(text)
    path = str(tmp_path / "sessions")
    seen = see({"sessions": {"file": path} if how == "file" else {"command": ["cat", path]}})
    assert len(seen["sessions"]) == count
    assert seen["unreadable"].get("sessions") == says


def test_a_listed_session_that_is_gone_a_moment_later_is_brief(tmp_path) -> None:
    path = tmp_path / "sessions"
    lasting, brief = '{"peer": "127.0.0.3:4000", "tls": true}\n', '{"peer": "127.0.0.4:1", "tls": false}\n'
    path.write_text(lasting + brief)
    timer = threading.Timer(0.1, path.write_text, [lasting])
    timer.start()
    seen = see({"sessions": {"file": str(path)}})["sessions"]
    timer.join()
    assert [row.get("brief", False) for row in seen] == [False, True]


def test_a_session_list_that_fails_is_unreadable() -> None:
    seen = see({"sessions": {"command": ["false"]}})
    assert seen["sessions"] is None and "fails" in seen["unreadable"]["sessions"]


def test_commands_that_list_sessions_run_side_by_side_and_each_instance_gets_its_own(tmp_path) -> None:
    """Each waits for the other to have begun, which it never has where one ends before the next one starts."""
    script = """
import os, sys, time
own, other = sys.argv[1:]
open(own, "w").close()
until = time.monotonic() + 5
while not os.path.exists(other) and time.monotonic() < until:
    time.sleep(0.01)
print('{"peer": "127.0.0.3:%s", "tls": %s}' % (own[-1], str(os.path.exists(other)).lower()))
"""
    ends = [(str(tmp_path / "1"), str(tmp_path / "2")), (str(tmp_path / "2"), str(tmp_path / "1"))]
    asked = [
        instance("a@%d" % number, glance=True, sessions={"command": [sys.executable, "-c", script, *row]})
        for number, row in enumerate(ends, 1)
    ]
    seen = observe({"instances": asked})["instances"]
    assert {name: row["sessions"] for name, row in seen.items()} == {
        "a@1": [{"peer": "127.0.0.3:1", "tls": True}],
        "a@2": [{"peer": "127.0.0.3:2", "tls": True}],
    }


def test_the_running_process_and_the_file_that_gives_it_its_environment_are_told_apart(tmp_path) -> None:
    script = "import time; print('up', flush=True); time.sleep(60)"
    wanted = {"SSL_CERT_FILE": "/trust.pem", "LD_LIBRARY_PATH": "/ours"}
    (tmp_path / "env").write_text("SSL_CERT_FILE=/old.pem\n")
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "SSL_CERT_FILE": "/trust.pem"}
    ) as process:
        process.stdout.readline()
        (tmp_path / "pid").write_text(str(process.pid))
        seen = see(
            {
                "process": {"pid_file": str(tmp_path / "pid")},
                "variables": wanted,
                "environment": {"target": "file", "path": str(tmp_path / "env")},
            }
        )
        process.kill()
    assert seen["process"]["pids"] == [process.pid]
    assert seen["process"]["variables"]["SSL_CERT_FILE"] == "/trust.pem"
    assert seen["environment"] == {
        "target": "file",
        "path": str(tmp_path / "env"),
        "missing": ["LD_LIBRARY_PATH", "SSL_CERT_FILE"],
        "reason": "LD_LIBRARY_PATH is not set; SSL_CERT_FILE is /old.pem, planned /trust.pem",
    }


def test_a_process_that_does_not_run_has_no_variables(tmp_path) -> None:
    seen = see({"process": {"pid_file": str(tmp_path / "none")}, "variables": {"A": "1"}})
    assert seen["process"] == {"pids": [], "started": None, "user": None, "variables": {"A": None}}


@pytest.fixture
def me(tmp_path) -> dict[str, t.Any]:
    (tmp_path / "me.pid").write_text(str(os.getpid()))
    return instance("me@here", process={"pid_file": str(tmp_path / "me.pid")}, sockets=True)


def test_probes_are_not_among_the_sockets_of_an_instance(serve, pki: Pki, me) -> None:
    server = serve(over_tls(pki.context()))
    probe = {"id": "it", "address": "127.0.0.1", "port": server.port, "trust": pki.trust, "source": "127.0.0.5"}
    for _unused in range(2):
        seen = observe({"instances": [me], "probes": [probe, {**probe, "id": "clear", "tls": False}]})
        assert seen["probes"]["it"]["verified"] is True
        ports = {port for one in seen["probes"].values() for port in one["source_ports"]}
        assert set(seen["source_ports"]) == ports and len(ports) == 3
        theirs = [row["local"] for row in seen["instances"]["me@here"]["sockets"]]
        assert not [local for local in theirs if local.startswith("127.0.0.5:")]


def test_a_watch_tells_peers_and_the_sockets_of_instances(serve, me) -> None:
    server = serve(silent)
    stop = threading.Event()

    def client() -> None:
        while not stop.wait(0.1):
            with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.16", 0)):
                time.sleep(0.2)

    thread = threading.Thread(target=client, daemon=True)
    with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.15", 0)) as held:
        thread.start()
        listener = {"id": "it", "addresses": ["127.0.0.1"], "port": server.port}
        seen = observe(
            {"instances": [me], "watch": {"seconds": 1.0, "listeners": [listener], "instances": ["me@here"]}}
        )
        stop.set()
        held_name = "%s:%d" % held.getsockname()
    peers = seen["watch"]["listeners"]["it"]["peers"]
    assert {(peer["address"], peer["new"]) for peer in peers} == {("127.0.0.15", False), ("127.0.0.16", True)}
    recent = [row for row in seen["watch"]["sockets"]["me@here"] if row["peer"] == "127.0.0.1:%d" % server.port]
    assert recent == [row for row in seen["instances"]["me@here"]["recent"] if row in recent]
    assert [row["new"] for row in recent if row["local"] == held_name] == [False]
    # its first session may have been there when the watch began, on a machine with much to do
    assert True in {row["new"] for row in recent if row["local"].startswith("127.0.0.16:")}


def test_a_client_settles_once_it_has_the_new_session_and_not_the_old_one(serve, me) -> None:
    old, new = serve(silent), serve(silent)
    places = {"present": ["127.0.0.1:%d" % new.port], "absent": ["127.0.0.1:%d" % old.port]}
    first = socket.create_connection(("127.0.0.1", old.port))
    row = {"instance": "me@here", "seconds": 0.2, **places}
    assert observe({"instances": [me], "settle": [row]})["settled"]["me@here"]["settled"] is False

    def switch() -> None:
        held.append(socket.create_connection(("127.0.0.1", new.port)))
        time.sleep(0.1)
        first.close()

    held: list[socket.socket] = []
    threading.Timer(0.2, switch).start()
    seen = observe({"instances": [me], "settle": [{**row, "seconds": 5}]})["settled"]["me@here"]
    held[0].close()
    assert seen["settled"] is True and 0.2 < seen["seconds"] < 2


def test_who_is_caught_in_a_moment_is_told_from_who_holds_a_session(serve, me) -> None:
    lasting, brief = serve(silent), serve(silent)
    held = [socket.create_connection(("127.0.0.1", each.port)) for each in (lasting, brief)]
    timer = threading.Timer(0.1, held[1].close)
    timer.start()
    rows = observe({"instances": [me]})["instances"]["me@here"]["sockets"]
    timer.join()
    held[0].close()
    glanced = observe({"instances": [{**me, "glance": True}]})["instances"]["me@here"]["sockets"]
    assert not any("brief" in row for row in glanced)
    told = {row["peer"]: row.get("brief", False) for row in rows}
    assert told["127.0.0.1:%d" % lasting.port] is False
    assert told["127.0.0.1:%d" % brief.port] is True


def test_a_client_that_connects_for_each_message_settles_too(serve, me) -> None:
    new, stop = serve(in_the_clear), threading.Event()

    def work() -> None:
        while not stop.wait(0.1):
            with socket.create_connection(("127.0.0.1", new.port)) as client:
                client.sendall(b"ping\n")
                client.recv(10)

    threading.Thread(target=work, daemon=True).start()
    row = {"instance": "me@here", "seconds": 3, "present": ["127.0.0.1:%d" % new.port], "absent": []}
    seen = observe({"instances": [me], "settle": [row]})["settled"]["me@here"]
    stop.set()
    assert seen["settled"] is True


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel tells root of sockets that it destroys")
def test_a_client_whose_sessions_its_server_ends_settles_by_what_the_kernel_tells(serve, me) -> None:
    server = serve(closing)
    row = {"instance": "me@here", "seconds": 5.0, "present": ["127.0.0.1:%d" % server.port], "absent": ["127.0.0.1:9"]}
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.3):
            with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.7", 0)) as sock:
                sock.sendall(b"?")
                sock.recv(1)  # the server ends it, and nothing of this end is left

    thread = threading.Thread(target=ask)
    thread.start()
    seen = observe({"instances": [{**me, "addresses": ["127.0.0.7"]}], "settle": [row]})
    over.set()
    thread.join()
    assert seen["settled"]["me@here"]["settled"] is True
    assert any(shown["peer"] == row["present"][0] and shown["new"] for shown in seen["instances"]["me@here"]["recent"])


def test_a_client_that_goes_on_dialling_the_clear_port_does_not_settle(serve, me) -> None:
    old, new, stop = serve(in_the_clear), serve(silent), threading.Event()

    def work() -> None:  # one whose handshakes fail dials both
        while not stop.wait(0.1):
            for server in (new, old):
                socket.create_connection(("127.0.0.1", server.port)).close()

    threading.Thread(target=work, daemon=True).start()
    places = {"present": ["127.0.0.1:%d" % new.port], "absent": ["127.0.0.1:%d" % old.port]}
    seen = observe({"instances": [me], "settle": [{"instance": "me@here", "seconds": 1.5, **places}]})
    stop.set()
    assert seen["settled"]["me@here"]["settled"] is False


def test_a_noted_socket_tells_for_how_long_it_was_seen(serve, me) -> None:
    server = serve(silent)
    with socket.create_connection(("127.0.0.1", server.port)):
        row = {"instance": "me@here", "seconds": 0.5, "present": ["127.0.0.1:1"], "absent": []}
        seen = observe({"instances": [me], "settle": [row]})["instances"]["me@here"]["recent"]
    (lasted,) = [one["lasted"] for one in seen if one["peer"] == "127.0.0.1:%d" % server.port]
    assert 0.3 <= lasted <= 1.5


LISTS = [
    ('{"peer": "10.0.0.3:4000", "tls": true, "listener": "sql"}', True),
    ('{"peer": "10.0.0.3:4000", "tls": true}', True),
    ('{"peer": "[10.0.0.3]:4000", "tls": false}', False),
    ('{"peer": "10.0.0.3:4000", "tls": true, "ended": true}', False),
    ('{"peer": "10.0.0.9:4000", "tls": true}', False),
    ('{"peer": "10.0.0.3:4000", "tls": true, "listener": "other"}', False),
    ('{"peer": "10.0.0.3:4000", "tls": true}\n{"peer": "10.0.0.3:4001", "tls": false}', False),
    (None, False),
]


@pytest.mark.parametrize(("text", "settles"), LISTS)
def test_a_client_settles_once_its_server_lists_its_session(tmp_path, text, settles) -> None:
    if text is not None:
        (tmp_path / "sessions").write_text(text + "\n")
    server = instance(sessions={"file": str(tmp_path / "sessions")})
    row = {"instance": "router@urs1", "seconds": 0.3, "listed": ["10.0.0.3"], "listener": "sql", "hold": 0.1}
    assert observe({"instances": [server], "settle": [row]})["settled"]["router@urs1"]["settled"] is settles


def listing(monkeypatch, asked: dict[str, t.Any], *looks: list[int]) -> dict[str, t.Any]:
    """Return what is seen of a server that lists other ports at each look while its clients are waited for."""
    left = [list(ports) for ports in looks]

    def listed(_unused: t.Any) -> str:
        ports = left.pop(0) if len(left) > 1 else left[0]
        return "".join(json.dumps({"peer": "10.0.0.3:%d" % port, "tls": True}) + "\n" for port in ports)

    monkeypatch.setattr(_sight, "_listed", listed)
    row = {"instance": "router@urs1", "listed": ["10.0.0.3"], "hold": 0.3, "gather": True, **asked}
    return observe({"instances": [instance(sessions={"file": "/unread"})], "settle": [row]})


def test_as_many_sessions_as_there_were_before_are_waited_for(monkeypatch) -> None:
    late = [[4001]] * 4 + [[4001, 4002]]
    seen = listing(monkeypatch, {"least": 2, "seconds": 60}, *late)
    assert seen["settled"]["router@urs1"]["settled"] is True
    assert 1 <= seen["settled"]["router@urs1"]["seconds"] < 50
    assert [row["peer"] for row in seen["instances"]["router@urs1"]["sessions"]] == ["10.0.0.3:4001", "10.0.0.3:4002"]


def test_sessions_of_several_looks_are_told_together_and_those_that_are_over_as_such(monkeypatch) -> None:
    seen = listing(monkeypatch, {"whole": True, "seconds": 2}, [4001], [4002], [4003])
    told = {row["peer"]: bool(row.get("ended")) for row in seen["instances"]["router@urs1"]["sessions"]}
    assert told == {"10.0.0.3:4001": True, "10.0.0.3:4002": True, "10.0.0.3:4003": False}
    assert seen["settled"]["router@urs1"]["seconds"] >= 2


def test_a_client_is_not_settled_by_the_session_that_it_had(serve, me) -> None:
    server = serve(silent)
    held = [socket.create_connection(("127.0.0.1", server.port))]
    row = {"instance": "me@here", "hold": 0.1, "present": ["127.0.0.1:%d" % server.port], "absent": []}
    known = {**row, "known": ["%s:%d" % held[0].getsockname()]}

    def settles(row: dict[str, t.Any], seconds: float) -> bool:
        return observe({"instances": [me], "settle": [{**row, "seconds": seconds}]})["settled"]["me@here"]["settled"]

    assert settles(row, 60) is True
    assert settles(known, 0.5) is False
    held.append(socket.create_connection(("127.0.0.1", server.port)))
    assert settles(known, 60) is True
    for one in held:
        one.close()


def test_a_list_of_sessions_that_is_not_there_is_no_empty_list(tmp_path) -> None:
    seen = see({"sessions": {"file": str(tmp_path / "none")}})
    assert seen["sessions"] is None and "does not exist" in seen["unreadable"]["sessions"]


def test_a_client_whose_process_nobody_can_find_is_not_one_without_sockets() -> None:
    assert see({"sockets": True})["unreadable"]["process"] == "nothing says how its process is found"


def test_a_listener_to_which_nobody_listens_is_named(serve) -> None:
    server = serve(silent)
    rows = [
        {"id": "up", "addresses": ["127.0.0.1"], "port": server.port},
        {"id": "other", "addresses": ["127.0.0.2"], "port": server.port},
        {"id": "any", "addresses": [], "port": server.port},
    ]
    seen = observe({"watch": {"seconds": 0, "listeners": rows}})["watch"]["listeners"]
    assert {name: row["listening"] for name, row in seen.items()} == {"up": True, "other": False, "any": True}


def test_an_instance_that_is_not_described_does_not_settle_and_does_not_hang() -> None:
    assert observe({"settle": [{"instance": "x@y", "present": ["a:1"], "seconds": 60}]})["settled"] == {}


def test_a_look_at_a_host_with_nothing_special_imports_nothing_big() -> None:
    code = (
        "import sys; from ansible_collections.connsec.tls.plugins.module_utils._host._observe import observe;"
        "observe({'instances': [{'name': 'a@b', 'folder': 'a'}]});"
        "print(*sorted({'ssl', 'asyncio', 'subprocess_', 'ipaddress', 'cryptography', 'tempfile'} & set(sys.modules)))"
    )
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="sockets are seen on Linux")
def test_an_instance_shows_on_which_udp_ports_it_has_a_socket(tmp_path) -> None:
    pid_file = tmp_path / "me.pid"
    pid_file.write_text(str(os.getpid()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine, socket.socket() as tcp:
        mine.bind(("127.0.0.1", 0))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        ports = [mine.getsockname()[1], tcp.getsockname()[1]]
        asked = {"process": {"pid_file": str(pid_file)}, "udp": ports}
        assert see(asked)["udp"] == {str(ports[0]): True, str(ports[1]): False}
    assert see(asked)["udp"][str(ports[0])] is False
    pid_file.unlink()
    assert see(asked)["udp"] is None, "without a process nobody can tell"
