# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe says about servers that behave, and about every way in which one can misbehave."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host import _tls
from ansible_collections.connsec.tls.plugins.module_utils._host._handshake import look
from ansible_collections.connsec.tls.plugins.module_utils._host._probe import ProbeRefused, parse_probe
from ansible_collections.connsec.tls.plugins.module_utils._host._sockets import own_sockets

from .servers import (
    Listening,
    Pki,
    closed_at_once,
    closing,
    in_the_clear,
    over_tls,
    refusing_in_http,
    resetting,
    silent,
)

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def probe(server: Listening, **request: t.Any) -> dict[str, t.Any]:
    """Probe a server as a request of ``observe`` would."""
    full = {"id": "it", "address": server.address, "port": server.port, "timeout": 3.0, **request}
    return look([parse_probe(full)])["it"]


@pytest.fixture(params=["noted", "plain"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run with handshake messages noted, and as on a Python that cannot."""
    if request.param == "plain":
        monkeypatch.setattr(_tls, "can_note", lambda context: False)
    return str(request.param)


def test_a_good_server_is_verified_by_name_and_by_address(serve, pki: Pki) -> None:
    server = serve(over_tls(pki.context()))
    for name in ("server.example", "127.0.0.1"):
        seen = probe(server, name=name, trust=pki.trust)
        assert (seen["outcome"], seen["verified"], seen["security"]) == ("tls", True, "verified"), seen
        assert seen["protocol"] == "TLSv1.3" and seen["cipher"].startswith("TLS_")
    assert seen["names"] == ["server.example", "127.0.0.1", "::1"]
    assert seen["serial"] == "%x" % pki.server.certificate.serial_number
    assert seen["not_after"] == int(pki.server.certificate.not_valid_after_utc.timestamp())
    assert seen["issuer"] == "connsec test CA"
    assert seen["chain"][0]["sha256"] == seen["sha256"] and seen["chain"][-1]["subject"] == "connsec test CA"
    assert seen["source_ports"] == [seen["source_port"]] and seen["source_port"] > 0
    assert "reset" not in " ".join(server.log).lower(), "a probe says goodbye; it does not reset"


def test_without_trust_nothing_is_verified(serve, pki: Pki) -> None:
    seen = probe(serve(over_tls(pki.context())))
    assert (seen["outcome"], seen["verified"], seen["security"]) == ("tls", None, "tls_unverified")


def test_a_trust_file_that_is_not_there_leaves_the_look_unverified(serve, pki: Pki, tmp_path) -> None:
    seen = probe(serve(over_tls(pki.context())), trust=str(tmp_path / "trust.pem"))
    assert (seen["outcome"], seen["verified"], seen["class"]) == ("tls", False, "trust_unreadable")
    assert "trust.pem cannot be used: No such file" in seen["reason"]


def test_a_pinned_certificate_is_an_end_of_the_chain_and_no_other_is(serve, pki: Pki, tmp_path) -> None:
    """Of one's own listener the installed chain is known, which has no root in it."""
    server = serve(over_tls(pki.context()))
    for file, pinned, verified in (
        (pki.server.certificate_file, True, True),
        (pki.server.certificate_file, False, False),
        (pki.stranger.certificate_file, True, False),
    ):
        seen = probe(server, name="server.example", trust=file, pinned=pinned)
        assert (seen["outcome"], seen["verified"]) == ("tls", verified), seen


def test_an_ipv6_server_is_verified(serve, pki: Pki) -> None:
    seen = probe(serve(over_tls(pki.context()), address="::1"), trust=pki.trust, source="::1")
    assert seen["security"] == "verified", seen


NOT_ACCEPTED = [
    ("unknown_authority", {"foreign": True}, "127.0.0.1", "'foreign CA'"),
    ("name_mismatch", {}, "other.example", "for server.example, 127.0.0.1, ::1, not for other.example"),
    ("name_mismatch", {}, "127.0.0.9", "not for 127.0.0.9"),
    ("expired", {"days": (-9, -2)}, "127.0.0.1", "expired"),
    ("not_yet_valid", {"days": (2, 9)}, "127.0.0.1", "not valid yet"),
]


@pytest.mark.parametrize(("kind", "served", "name", "says"), NOT_ACCEPTED)
def test_what_is_not_accepted_is_named(serve, pki: Pki, python, kind, served, name, says) -> None:
    authority = pki.foreign if served.get("foreign") else pki.ours
    names = ("server.example", "127.0.0.1", "::1")
    issued = authority.issue("served-" + kind, *names, days=served.get("days", (-1, 30)))
    seen = probe(serve(over_tls(pki.context(issued))), name=name, trust=pki.trust)
    assert (seen["outcome"], seen["verified"], seen["security"]) == ("tls", False, "tls_unverified"), seen
    assert seen["class"] == kind and says in seen["reason"], seen
    assert seen["serial"] == "%x" % issued.certificate.serial_number
    assert len(seen["source_ports"]) == (1 if python == "noted" else 2)


def test_the_common_name_counts_for_nothing(serve, pki: Pki) -> None:
    issued = pki.ours._sign("cn", (), subject="server.example", key=pki.ours.root.key, days=(-1, 9), authority=False)
    seen = probe(serve(over_tls(pki.context(issued))), name="server.example", trust=pki.trust)
    assert (seen["verified"], seen["class"]) == (False, "name_mismatch")


def test_nobody_listens(pki: Pki) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        for tls in (True, False):
            seen = probe(Listening("127.0.0.1", held.getsockname()[1], []), tls=tls, trust=pki.trust)
            assert (seen["outcome"], seen["class"]) == ("refused", "connection_refused"), seen


SILENT = [
    (silent, {"tls": True}, "timeout", "no_answer"),
    (in_the_clear, {"tls": True, "timeout": 0.3}, "clear", "not_tls"),
    (resetting, {"tls": True}, "reset", "reset"),
    (closing, {"tls": True}, "closed", "closed_in_handshake"),
    (closed_at_once, {"tls": True}, None, None),
    (silent, {"tls": True, "protocol": "postgresql"}, "timeout", "no_answer"),
    (closing, {"tls": True, "protocol": "postgresql"}, "closed", "closed_at_once"),
    (in_the_clear, {"tls": True, "protocol": "postgresql"}, "clear", "tls_not_offered"),
    (in_the_clear, {"tls": False}, "clear", None),
    (silent, {"tls": False}, "clear", None),
    (closing, {"tls": False}, "clear", None),
    (resetting, {"tls": False}, "clear", None),
    (closed_at_once, {"tls": False}, "closed", "closed_at_once"),
]


@pytest.mark.parametrize(("handler", "request_", "outcome", "kind"), SILENT)
def test_servers_without_tls_are_classified_within_their_time(serve, pki, handler, request_, outcome, kind) -> None:
    started = time.monotonic()
    seen = probe(serve(handler), **{"timeout": 0.5, "trust": pki.trust, **request_})
    assert time.monotonic() - started < 2.5
    if outcome is None:
        assert seen["outcome"] in ("closed", "reset")
    else:
        assert (seen["outcome"], seen["class"]) == (outcome, kind), seen
    assert str(seen["reason"]).startswith("127.0.0.1:") or "handshake" in seen["reason"]


def test_a_socket_that_never_accepts_times_out(pki: Pki) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _unused in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        seen = probe(Listening("127.0.0.1", full.getsockname()[1], []), timeout=0.3)
        assert (seen["outcome"], seen["class"]) == ("timeout", "no_answer"), seen
        assert seen["seconds"] < 1
        for filler in fillers:
            filler.close()


def test_plaintext_on_a_tls_port_is_refused(serve, pki: Pki) -> None:
    seen = probe(serve(over_tls(pki.context())), tls=False)
    assert (seen["outcome"], seen["class"]) == ("closed", "tls_only"), seen


def test_a_tls_server_that_is_slow_to_close_is_not_clear(serve, pki: Pki) -> None:
    context = pki.context()

    def slow(connection: socket.socket) -> None:
        if connection.recv(1, socket.MSG_PEEK) == b"\x16":
            over_tls(context)(connection)
        else:
            time.sleep(0.4)

    assert probe(serve(slow), tls=False)["class"] == "tls_only"


def test_a_port_that_has_both_answers_in_the_clear(serve, pki: Pki) -> None:
    context = pki.context()

    def both(connection: socket.socket) -> None:
        (over_tls(context) if connection.recv(1, socket.MSG_PEEK) == b"\x16" else silent)(connection)

    seen = probe(serve(both), tls=False)
    assert (seen["outcome"], seen["security"]) == ("clear", "clear")
    assert "speaks TLS too" in seen["reason"]


def test_a_server_that_has_only_tls_1_1_is_refused_and_told(serve, pki: Pki) -> None:
    old = ssl.TLSVersion.TLSv1_1
    server = serve(over_tls(pki.context(minimum=old, maximum=old)))
    seen = probe(server, trust=pki.trust)
    assert (seen["outcome"], seen["class"]) in (("alert", "old_protocol"), ("error", "old_protocol")), seen


KNOWN = [
    # what the client knows, what the server has, what comes of it
    ({"protocols": ["TLSv1.2"]}, {}, ("tls", "TLSv1.2")),
    ({"protocols": ["TLSv1.3"]}, {}, ("tls", "TLSv1.3")),
    ({"protocols": ["TLSv1.2"]}, {"minimum": TLS13}, ("alert", None)),
    ({"protocols": ["TLSv1.2"], "ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"}, {}, ("tls", "TLSv1.2")),
    ({"protocols": ["TLSv1.2"], "ciphers": "ECDHE-RSA-AES128-GCM-SHA256"}, {}, ("alert", None)),
]


@pytest.mark.parametrize(("known", "options", "expected"), KNOWN)
def test_a_look_knows_no_more_than_the_client_that_it_stands_for(serve, pki: Pki, known, options, expected) -> None:
    seen = probe(serve(over_tls(pki.context(**options))), trust=pki.trust, **known)
    assert (seen["outcome"], seen.get("protocol") if seen["outcome"] == "tls" else None) == expected, seen


def test_a_version_that_no_look_has_is_refused() -> None:
    with pytest.raises(ProbeRefused, match=r"protocols has 'TLSv1'; it has TLSv1\.2, TLSv1\.3$"):
        parse_probe({"address": "a", "port": 1, "protocols": ["TLSv1"]})


OLD = [
    ({}, {"TLSv1.1": "refused", "TLSv1": "refused"}),
    ({"minimum": ssl.TLSVersion.TLSv1_1, "weak": True}, {"TLSv1.1": "accepted", "TLSv1": "refused"}),
    ({"minimum": ssl.TLSVersion.TLSv1, "weak": True}, {"TLSv1.1": "accepted", "TLSv1": "accepted"}),
    ({"minimum": TLS13}, {"TLSv1.1": "refused", "TLSv1": "refused"}),
]


@pytest.mark.parametrize(("options", "expected"), OLD)
def test_old_versions_are_asked_for_without_openssl(serve, pki: Pki, options, expected) -> None:
    seen = probe(serve(over_tls(pki.context(**options))), trust=pki.trust, old_protocols=True)
    assert seen["verified"] is True and seen["old_protocols"] == expected


CLIENTS = [
    # verify mode, versions, tickets, demanded, foreign
    (ssl.CERT_REQUIRED, TLS12, 2, True, "refused"),
    (ssl.CERT_REQUIRED, TLS13, 2, True, "refused"),
    (ssl.CERT_REQUIRED, TLS13, 0, True, "refused"),
    (ssl.CERT_REQUIRED, None, 2, True, "refused"),
    (ssl.CERT_OPTIONAL, TLS12, 2, False, "refused"),
    (ssl.CERT_OPTIONAL, TLS13, 2, False, "refused"),
    (ssl.CERT_NONE, TLS12, 2, False, "accepted"),
    (ssl.CERT_NONE, TLS13, 2, False, "accepted"),
]


@pytest.mark.parametrize(("clients", "version", "tickets", "demanded", "foreign"), CLIENTS)
def test_what_becomes_of_clients_without_and_with_certificates(
    serve, pki: Pki, python, clients, version, tickets, demanded, foreign
) -> None:
    versions = {"minimum": version, "maximum": version} if version else {}
    server = serve(over_tls(pki.context(clients=clients, tickets=tickets, **versions)))
    ours = {"certificate": pki.client.certificate_file, "key": pki.client.key_file}
    theirs = {"certificate": pki.stranger.pem, "key": pki.stranger.key_pem}
    seen = probe(server, trust=pki.trust, **ours, demand=True, foreign=theirs)
    assert (seen["outcome"], seen["verified"]) == ("tls", True), seen
    assert (seen["demanded"], seen["foreign"]) == (demanded, foreign), (seen, server.log)
    if python == "noted":
        assert seen["security"] == ("verified" if clients == ssl.CERT_NONE else "mutual")
        assert seen["requested"] is (clients != ssl.CERT_NONE)
    bare = probe(server, trust=pki.trust, demand=True)
    assert (bare["outcome"], bare["class"]) == (("alert", "certificate_required") if demanded else ("tls", None)), bare
    assert bare["demanded"] is demanded
    refused = probe(server, trust=pki.trust, certificate=pki.stranger.certificate_file, key=pki.stranger.key_file)
    assert (refused["class"] == "certificate_refused") is (foreign == "refused"), refused


def test_an_identity_that_cannot_be_read_is_left_out_and_named(serve, pki: Pki, tmp_path) -> None:
    seen = probe(
        serve(over_tls(pki.context(clients=ssl.CERT_OPTIONAL))),
        trust=pki.trust,
        certificate=pki.client.certificate_file,
        key=pki.stranger.key_file,
    )
    assert (seen["verified"], seen["security"], seen["class"]) == (True, "verified", "identity_unreadable")
    assert "key values mismatch" in seen["reason"]


NGINX = b"HTTP/1.1 400 Bad Request\r\n\r\n<center>No required SSL certificate was sent</center>"
REFUSING = [
    # answers, what it says to one without a certificate, demanded
    ("http", NGINX, True),
    ("http", b"HTTP/1.1 400 Bad Request\r\n\r\nno such host", False),
    ("http", b"HTTP/1.1 200 OK\r\n\r\nyour certificate", False),
    ("http", b"220 mail\r\n", False),
    (None, NGINX, False),
    ("smtp", b"421 4.7.1 mail.example Error: No client certificate presented\r\n", True),
    ("smtp", b"250-mail.example\r\n250 CHUNKING\r\n", False),
    ("smtp", b"421 4.3.2 too many connections\r\n", False),
    ("ldap", b"", True),
    ("ldap", b"0\x0c\x02\x01\x01a\x07\n\x01\x00\x04\x00\x04\x00", False),
]


@pytest.mark.parametrize(("answers", "said", "demanded"), REFUSING)
def test_a_server_that_refuses_in_its_own_words_demands_a_certificate(serve, pki: Pki, answers, said, demanded) -> None:
    server = serve(refusing_in_http(pki.context(clients=ssl.CERT_OPTIONAL), said))
    asked = {"trust": pki.trust, "demand": True, "answers": answers}
    bare = probe(server, **asked)
    assert (bare["class"], bare["demanded"]) == (("certificate_required", True) if demanded else (None, False)), bare
    ours = probe(server, **asked, certificate=pki.client.certificate_file, key=pki.client.key_file)
    assert (ours["security"], ours["demanded"]) == ("mutual", demanded), ours


def test_the_foreign_key_leaves_no_file(serve, pki: Pki, tmp_path, monkeypatch) -> None:
    monkeypatch.delattr(_tls.os, "memfd_create", raising=False)
    monkeypatch.setattr(_tls.tempfile, "tempdir", str(tmp_path))
    theirs = {"certificate": pki.stranger.pem, "key": pki.stranger.key_pem}
    seen = probe(serve(over_tls(pki.context(clients=ssl.CERT_REQUIRED))), foreign=theirs, timeout=2)
    assert seen["foreign"] == "refused" and list(tmp_path.iterdir()) == []


def test_a_probe_binds_its_source_and_names_every_port(serve, pki: Pki) -> None:
    peers = []
    handle = over_tls(pki.context(clients=ssl.CERT_REQUIRED))

    def note(connection: socket.socket) -> None:
        peers.append(connection.getpeername())
        handle(connection)

    seen = probe(
        serve(note),
        trust=pki.trust,
        source="127.0.0.7",
        certificate=pki.client.certificate_file,
        key=pki.client.key_file,
        demand=True,
        old_protocols=True,
    )
    time.sleep(0.05)
    assert {address for address, _unused in peers} == {"127.0.0.7"}
    assert sorted(port for _unused, port in peers) == sorted(seen["source_ports"])


FAILURES = [
    ({"source": "192.0.2.1"}, "error", "source_unavailable"),
    ({"address": "no-such-host.invalid"}, ("unreachable", "timeout"), "name_unresolved"),
    ({"ciphers": "NO-SUCH-CIPHER"}, "error", "bad_ciphers"),
    ({"name": ".dot.example"}, "error", "bad_name"),
    ({"name": "x" * 70 + ".example"}, "error", "bad_name"),
    ({"ciphers": "AES128-SHA"}, "tls", None),  # TLS 1.3 has ciphers of its own
]


@pytest.mark.parametrize(("request_", "outcome", "kind"), FAILURES)
def test_looks_that_cannot_be_taken_say_why(serve, pki: Pki, request_, outcome, kind) -> None:
    seen = probe(serve(over_tls(pki.context())), **request_)
    assert seen["outcome"] in outcome and seen["class"] == kind and seen["reason"], seen


@pytest.mark.parametrize(
    "request_",
    [{"port": 1}, {"address": "a\nb", "port": 1}, {"address": "a", "port": 0}, {"address": "a", "port": True},
     {"address": "a", "port": 1, "timeout": -1}],
)  # fmt: skip
def test_a_probe_that_makes_no_sense_is_refused_in_one_sentence(request_) -> None:
    with pytest.raises(ProbeRefused, match=r"^probe .*; it is "):
        parse_probe(request_)


def test_many_probes_are_under_way_at_once(serve, pki: Pki) -> None:
    server, good = serve(silent), serve(over_tls(pki.context()))
    probes = [{"id": str(i), "address": "127.0.0.1", "port": server.port, "timeout": 0.5} for i in range(32)]
    probes += [{"id": "good%d" % i, "address": "127.0.0.1", "port": good.port, "trust": pki.trust} for i in range(32)]
    started = time.monotonic()
    seen = look([parse_probe(request) for request in probes])
    assert time.monotonic() - started < 3
    assert [seen[str(i)]["outcome"] for i in range(32)] == ["timeout"] * 32
    assert all(seen["good%d" % i]["verified"] for i in range(32))


def test_a_probe_leaves_nothing_that_looks_like_a_session(serve, pki: Pki) -> None:
    server = serve(over_tls(pki.context()))
    seen = probe(server, trust=pki.trust, old_protocols=True, source="127.0.0.5")
    assert left_behind(server.port, seen) == []
    assert not [entry for entry in server.log if "Reset" in entry], "the server sees an ordinary end"


CLEAR_SERVER = """
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        try:
            while connection.recv(1024):
                pass
            print("end", flush=True)
        except OSError as error:
            print(error, flush=True)
        connection.close()
"""


def test_a_clear_probe_leaves_nothing_and_resets_nobody(tmp_path) -> None:
    with subprocess.Popen([sys.executable, "-c", CLEAR_SERVER], stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())
        seen = probe(Listening("127.0.0.1", port, []), tls=False, source="127.0.0.5")
        said = [process.stdout.readline() for _unused in seen["source_ports"]]
        left = left_behind(port, seen)
        process.kill()
    assert seen["outcome"] == "clear"
    assert set(said) == {"end\n"} and left == []


def left_behind(port: int, seen: dict[str, t.Any]) -> list[t.Any]:
    """Return what a later look would take for a session of a component at the probe's address."""
    time.sleep(0.05)
    rows = own_sockets([os.getpid()], addresses={"127.0.0.5"})
    return [
        row
        for row in rows
        if row.local[0] == "127.0.0.5" and row.peer[1] == port and row.local[1] in seen["source_ports"]
    ]


BOUND = b"0\x0c\x02\x01\x01a\x07\n\x01\x00\x04\x00\x04\x00"
IN_LDAP = [
    # what slapd says to a bind as nobody, and to a search; how that is taken
    ([b"0\x0c\x02\x01\x01a\x07\n\x01\r\x04\x00\x04\x00"], "refused", "it answers confidentialityRequired"),
    (
        [BOUND, b"0$\x02\x01\x02e\x1f\n\x01\r\x04\x00\x04\x18confidentiality required"],
        "refused",
        "it answers a search with confidentialityRequired",
    ),
    ([BOUND, b"0\x07\x02\x01\x02d\x04\x04\x000\x00"], "clear", "answers a search in the clear"),
    ([b"0\x0c\x02\x01\x01a\x07\n\x01\x31\x04\x00\x04\x00"], "clear", "answers a bind in the clear"),
]


@pytest.mark.parametrize(("answers", "outcome", "says"), IN_LDAP)
def test_a_directory_refuses_plaintext_where_it_refuses_what_follows_a_bind(serve, answers, outcome, says) -> None:
    def slapd(connection: socket.socket) -> None:
        for answer in answers:
            connection.recv(4096)
            connection.sendall(answer)
        connection.recv(1)

    seen = probe(serve(slapd), tls=False, protocol="ldap")
    assert seen["outcome"] == outcome and says in seen["reason"], seen
