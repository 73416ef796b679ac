# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends that are not ours, and what lies between: their owners are named, and what is seen closes the wait."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

from .harness import ENFORCE, HOLDS_A_SESSION, ROOT, SERVERS, SMALL, Fleet

sys.path.insert(0, str(SMALL.parent))

from parts.serving import cut_off

CLEAR_PORT: t.Final = 12020
SECURE_PORT: t.Final = 12021
TRUNK: t.Final = "router@app1->carrier.trunk@carrier"
_COMPONENT: t.Final = str(ROOT / "tests" / "fleet" / "component.py")


def self_signed(folder: Path, name: str, address: str) -> tuple[Path, Path]:
    """Return certificate and key of somebody whose own certificate is all that one can pin."""
    certificate, key = folder / (name + ".pem"), folder / (name + ".key")
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=" + name, "-addext", "subjectAltName=IP:" + address]
    argv += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return certificate, key


class Carrier:
    """A server of somebody else, which speaks both and stops to when its owner likes."""

    def __init__(self, folder: Path, address: str) -> None:
        folder.mkdir()
        self._options = folder / "options.ini"
        self._address = address
        self.certificate, self._key = self_signed(folder, "carrier", address)

    def _write(self, *, clear: bool) -> None:
        port = "port = 13020\n" if clear else ""
        self._options.write_text(
            "[component]\nname = carrier\nhost = carrier\naddress = %s\nlog = log\ntraffic = traffic\npid_file = pid\n"
            "sessions = sessions\n\n[listener.trunk]\n%stls_port = 13021\ncertificate = %s\nkey = %s\n"
            % (self._address, port, self.certificate, self._key)
        )

    @contextlib.contextmanager
    def running(self, environment: t.Mapping[str, str]) -> t.Iterator[None]:
        self._write(clear=True)
        argv = [sys.executable, _COMPONENT, str(self._options)]
        with subprocess.Popen(argv, env=dict(environment), cwd=self._options.parent) as process:
            self._process = process
            try:
                must_come(lambda: answers(self._address, 13021), "the carrier answers")
                yield
            finally:
                process.terminate()

    def closes_its_clear_port(self) -> None:
        self._write(clear=False)
        self._process.send_signal(signal.SIGHUP)
        must_come(lambda: not answers(self._address, 13020), "the carrier closes its clear port")


def answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def must_come(happens: t.Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 15
    while not happens():
        assert time.monotonic() < until, what
        time.sleep(0.05)


class Partner:
    """A client of somebody else's, which holds a session with both servers and verifies nothing."""

    def __init__(self, fleet: Fleet, address: str) -> None:
        self._servers = [fleet.address(name) for name in SERVERS]
        self._address = address
        self._held: list[socket.socket] = []

    def dials(self, *, tls: bool) -> None:
        """Open new sessions, and leave those that it had."""
        left, self._held = self._held, [self._session(server, tls=tls) for server in self._servers]
        for one in left:
            one.close()

    def _session(self, server: str, *, tls: bool) -> socket.socket:
        port = SECURE_PORT if tls else CLEAR_PORT
        one = socket.create_connection((server, port), timeout=5, source_address=(self._address, 0))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            one = context.wrap_socket(one)
        one.sendall(b"partner 1 hello\n")
        assert one.recv(100)
        return one

    def leaves(self) -> None:
        for one in self._held:
            one.close()


def enumerated(fleet: Fleet, carrier: Carrier, addresses: t.Mapping[str, str]) -> None:
    """Enumerate both, and have the router dial the carrier as it dials everybody."""

    def model(data: dict[str, t.Any]) -> None:
        data["components"]["carrier"] = {
            "kind": "appliance",
            "managed": False,
            "relation": "third_party",
            "owner": "the carrier's desk",
            "addresses": [addresses["carrier"]],
            "trust_file": str(carrier.certificate),
            "listeners": {"trunk": {"port": 13020, "secure_port": 13021, "protocol": "sip"}},
        }
        data["components"]["partner"] = {
            "kind": "desktop",
            "managed": False,
            "owner": "Workplace team",
            "addresses": [addresses["partner"].rpartition(".")[0] + ".0/24"],
        }
        data["connections"] += [
            {"client": "router", "server": "carrier.trunk"},
            {"client": "partner", "server": "confserv.default"},
        ]

    fleet.edit_yaml("tls_connections.yml", model)
    options = fleet.options("router@app1")
    options.write_text(
        options.read_text()
        + "\n[peer.carrier.carrier]\nid = %s\naddress = %s\nport = 13020\ntls = no\nverify = yes\ncanary = trunk\n"
        % (TRUNK, addresses["carrier"])
    )
    os.kill(int((fleet.folder("router@app1") / "component.pid").read_text()), signal.SIGHUP)


def test_ends_that_are_not_ours_are_waited_for_by_name_and_what_is_seen_closes_the_wait(clear: Fleet, tmp_path: Path):
    network = clear.net.rpartition(".")[0]
    addresses = {"carrier": network + ".98.7", "partner": network + ".97.7"}
    carrier, partner = Carrier(tmp_path / "carrier", addresses["carrier"]), Partner(clear, addresses["partner"])
    enumerated(clear, carrier, addresses)
    from_partner = ["partner@partner->confserv.default@%s" % name.partition("@")[2] for name in SERVERS]
    with carrier.running(clear.environment()):
        partner.dials(tls=False)
        run = clear.playbook("rollout", *ENFORCE).must_end(0)
        stages = clear.stages()
        assert stages.pop(TRUNK) == ("switched", "waiting")
        assert {stages.pop(name) for name in from_partner} == {("permissive", "waiting")}
        assert set(stages.values()) == {("switched", "waiting")}  # our own clients wait for the partner
        assert "ask the carrier's desk to have carrier refuse plaintext" in run.last_lines
        assert "ask Workplace team to have partner move to TLS" in run.last_lines
        assert carrier.certificate.read_text() in (clear.material("router@app1") / "trust.pem").read_text()

        partner.dials(tls=True)
        carrier.closes_its_clear_port()
        clear.playbook("rollout", *ENFORCE).must_end(0)
        assert set(clear.stages().values()) == {("enforced", "done")}, clear.stages()
        live = {row["id"]: [item["live"] for item in row["evidence"]] for row in clear.report()["connections"]}
        assert all(any(live[name]) for name in from_partner)
        partner.leaves()
        again = clear.playbook("rollout", *ENFORCE).must_end(0)
        assert again.changed == 0, again.text[-3000:]


class Balancer:
    """Passes connections on to members in turn, from its own address, and checks their health in the clear."""

    def __init__(self, fleet: Fleet, address: str) -> None:
        self.address = address
        self._members = [fleet.address(name) for name in SERVERS]
        self._turn = 0
        self._stop = threading.Event()
        self._checking = threading.Event()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Balancer:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._stop.set()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def passes(self, port: int, *, but_not_from: str | None = None) -> socket.socket:
        """Listen on a port, and pass on what comes; what comes from one address may get lost on its way."""
        listener = socket.create_server((self.address, port))
        cut_off(listener, but_not_from)
        self._sockets.append(listener)
        threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _peer = listener.accept()
                self._turn += 1
                member = self._members[self._turn % len(self._members)]
                try:
                    server = socket.create_connection((member, port), timeout=5, source_address=(self.address, 0))
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self._sockets += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()

    @contextlib.contextmanager
    def checking_in_the_clear(self) -> t.Iterator[None]:
        """Ask each member's clear port all the while."""
        ended = threading.Event()

        def check() -> None:
            while not ended.wait(0.2):
                for member in self._members:
                    with contextlib.suppress(OSError):
                        place = (member, CLEAR_PORT)
                        with socket.create_connection(place, timeout=1, source_address=(self.address, 0)) as one:
                            one.sendall(b"health 1 check\n")
                            one.recv(100)

        thread = threading.Thread(target=check)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def dialled_through(fleet: Fleet, balancer: Balancer) -> None:
    """Have the router dial the balancer, for both members."""

    def model(data: dict[str, t.Any]) -> None:
        addresses = {"addresses": [balancer.address], "owner": "Network team"}
        data["components"]["balancer"] = {"kind": "appliance", "managed": False, **addresses}
        router = next(each for each in data["connections"] if each["client"] == "router")
        router.update(dial=balancer.address, through=[{"component": "balancer", "does": "pass"}])

    fleet.edit_yaml("tls_connections.yml", model)
    for server in SERVERS:
        fleet.edit(HOLDS_A_SESSION, r"^address = %s$" % fleet.address(server), "address = " + balancer.address)
    os.kill(int((fleet.folder(HOLDS_A_SESSION) / "component.pid").read_text()), signal.SIGHUP)


def test_a_client_behind_a_balancer_gets_through_to_every_member_before_it_moves(clear: Fleet):
    with Balancer(clear, clear.net.rpartition(".")[0] + ".96.1") as balancer:
        balancer.passes(CLEAR_PORT)
        dialled_through(clear, balancer)
        client = clear.address(HOLDS_A_SESSION)
        firewalled = balancer.passes(SECURE_PORT, but_not_from=client)
        run = clear.playbook("rollout", *ENFORCE).must_end(0)
        stages = clear.stages()
        through = {name: row for name, row in stages.items() if name.startswith(HOLDS_A_SESSION)}
        assert set(through.values()) == {("permissive", "waiting")}, stages
        assert {row for name, row in stages.items() if name not in through} == {("switched", "waiting")}
        words = "ask Network team to have balancer pass port %d of %s on to confserv" % (SECURE_PORT, balancer.address)
        said = " ".join(run.last_lines.split())
        assert words in said
        cited = r"does not answer in time; line (\d+) of the firewall sheet \(app1 \(%s\) -> %s tcp %d\)"
        line = re.search(cited % (re.escape(client), re.escape(balancer.address), SECURE_PORT), said)
        assert line, said
        assert "to do: have line %s allowed; if it is, %s" % (line.group(1), words) in said

        cut_off(firewalled, None)
        with balancer.checking_in_the_clear():
            run = clear.playbook("rollout", *ENFORCE, "-e", "tls_watch=1").must_end(0)
            assert set(clear.stages().values()) == {("switched", "waiting")}, clear.stages()
            assert "a clear session of %s through balancer" % HOLDS_A_SESSION in run.last_lines
        clear.must_be_enforced_by_the_next_run()
