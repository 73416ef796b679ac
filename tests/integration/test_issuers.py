# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that others sign: a PKI team with nothing but openssl answers between runs, while the fleet talks."""

from __future__ import annotations

import re
import socket
import ssl
import typing as t
from pathlib import Path

import pytest
from pki_team import Team, openssl

from .harness import ENFORCE, HOLDS_A_SESSION, PAIRS, QUICK, SERVERS, Fleet, still

#: What the team is asked for besides: a client holds these in reserve, each of them named by what it is answered with.
RESERVED: t.Final = ("another_key", "a_name_less", "a_name_more", "a_foreign_chain")


def ask_others(fleet: Fleet) -> None:
    """Have a PKI team sign for both servers and for what a client holds; give runs the identities' passphrase alone."""

    def model(data: dict[str, t.Any]) -> None:
        data["authorities"] = {"corporate": {"trust_file": "../corporate/root.pem"}}
        names = (*SERVERS, HOLDS_A_SESSION, *RESERVED)
        data["identities"] = {name: {"issuer": "requested"} for name in names}
        data["components"]["router"]["identities"] = [HOLDS_A_SESSION, *RESERVED]

    fleet.edit_yaml("tls_connections.yml", model)
    file = fleet.inventory / "group_vars/all.yml"
    file.write_text(file.read_text().replace("tls_store_passphrase:", "tls_identities_passphrase:"))


class Desk:
    """Where requests lie, and where answers are put."""

    def __init__(self, fleet: Fleet, team: Team) -> None:
        self._folder = fleet.store / "requests"
        self._team = team

    def request(self, identity: str) -> Path:
        """Return the file of a request."""
        return self._folder / identity / "request.pem"

    def answer(self, identity: str) -> Path:
        """Return where its answer belongs."""
        return self._folder / identity / "answer.pem"

    def names(self, identity: str) -> list[str]:
        """Return what a request asks for, as the extension of a certificate has it."""
        text = openssl("req", "-in", self.request(identity), "-noout", "-text")
        found = re.search(r"Subject Alternative Name:.*\n\s*(.+)", text)
        assert found
        return found.group(1).replace("IP Address:", "IP:").split(", ")

    def put(
        self,
        identity: str,
        *,
        usages: str,
        names: t.Sequence[str] | None = None,
        request: Path | None = None,
        team: Team | None = None,
    ) -> None:
        """Put the answer of a team beside a request: what is asked for, or something else."""
        team = team or self._team
        asked = ",".join(self.names(identity) if names is None else names)
        signed = team.sign(request or self.request(identity), names=asked, usages=usages)
        self.answer(identity).write_text(team.issuing.read_text() + signed)

    def everything(self) -> dict[Path, bytes]:
        """Return all requests and answers."""
        return {path: path.read_bytes() for path in self._folder.glob("*/*.pem")}


def answer_otherwise(desk: Desk, other: Team) -> dict[str, str]:
    """Have each request answered with something else than was asked for; return what has to be said of each."""
    server, standby = SERVERS
    key, less, more, foreign = RESERVED
    desk.put(server, usages="clientAuth")
    desk.put(standby, usages="serverAuth,codeSigning")
    desk.put(key, usages="clientAuth", request=other.other_request())
    kept, *lacking = desk.names(less)
    assert lacking
    desk.put(less, usages="clientAuth", names=[kept])
    desk.put(more, usages="clientAuth", names=[*desk.names(more), "DNS:more.example.net"])
    desk.put(foreign, usages="clientAuth", team=other)
    names = sorted(each.partition(":")[2] for each in lacking)
    return {
        server: "it is for client only, and not for server",
        standby: "it is also for 1.3.6.1.5.5.7.3.3, which was not asked for",
        key: "it is for another key: no certificate in it has the key of the request",
        less: "it lacks a name: %s" % ", ".join(names),
        more: "it has a name that was not asked for: more.example.net",
        foreign: "its chain is foreign: nothing leads from its issuer, ",
    }


def test_a_team_answers_between_runs_and_nothing_else_than_planned_is_taken(clear: Fleet):
    desk = Desk(clear, Team(clear.root / "corporate"))
    ask_others(clear)
    first = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("trusted", "waiting")}
    for name in (*SERVERS, *RESERVED):
        todo = "have authority corporate sign %s, put the answer at %s, and run again"
        assert todo % (desk.request(name), desk.answer(name)) in " ".join(first.last_lines.split())

    refused = answer_otherwise(desk, Team(clear.root / "foreign", "foreign"))
    before = desk.everything()
    second = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert second.changed == 0
    said = " ".join(second.last_lines.split())
    for name, words in refused.items():
        assert "%s is not taken: %s" % (desk.answer(name), words) in said
    assert desk.everything() == before

    for name in SERVERS:
        desk.put(name, usages="serverAuth")
    for name in RESERVED:
        desk.put(name, usages="clientAuth")
    clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    assert not clear.report()["findings"]
    held = [(clear.material(name), "sslserver") for name in SERVERS]
    held += [(clear.material(HOLDS_A_SESSION) / name, "sslclient") for name in RESERVED]
    root = clear.root / "corporate" / "root.pem"
    for folder, purpose in held:
        openssl("verify", "-x509_strict", "-purpose", purpose, "-trusted", root, "-untrusted",
                folder / "chain.pem", folder / "certificate.pem")  # fmt: skip
    assert not (clear.store / "authorities/secret.json").exists()
    assert clear.playbook("rollout", *ENFORCE).must_end(0).changed == 0
    clear.must_talk()


@pytest.mark.soak
def test_a_listener_goes_over_to_what_was_held_in_reserve_without_another_certificate(clear: Fleet):
    def reserve(data: dict[str, t.Any]) -> None:
        data["identities"] = {"used": {}, "spare": {}}
        data["components"]["confserv"]["identities"] = ["used", "spare"]

    def exchange(data: dict[str, t.Any]) -> None:
        data["components"]["confserv"]["listeners"]["default"]["identity"] = "spare"

    def presented() -> set[str]:
        found = set()
        for name in SERVERS:
            with socket.create_connection((clear.address(name), 12021), timeout=5) as sock:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with context.wrap_socket(sock) as secure:
                    found.add(ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b""))
        return found

    clear.edit_yaml("tls_connections.yml", reserve)
    clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    used, spare = (
        (clear.material(SERVERS[0]) / each).read_text() for each in ("certificate.pem", "spare/certificate.pem")
    )
    assert spare == (clear.material(SERVERS[1]) / "spare/certificate.pem").read_text(), "it is one on both"
    assert presented() == {used}
    rows = {(row["name"], row["host"]) for row in clear.report()["identities"]}
    assert {("spare", "cfg1"), ("spare", "cfg2")} <= rows

    clear.edit_yaml("tls_connections.yml", exchange)
    run = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert not [target for target, _reason in run.reasons() if target.startswith("identity ")]
    assert presented() == {spare}
    assert set(clear.stages().values()) == {("enforced", "done")}
    assert clear.playbook("rollout", *ENFORCE).must_end(0).changed == 0
    clear.must_talk()


def test_a_ca_list_that_is_not_there_holds_back_who_needs_it_and_nobody_else(clear: Fleet):
    prepared = (*QUICK, "-e", "tls_scope=all", "-e", "tls_until=presented")
    at_first, at_second = ({name for name in PAIRS if name.endswith(host)} for host in ("cfg1", "cfg2"))

    def model(data: dict[str, t.Any]) -> None:
        data["authorities"] = {"connsec": {}, "corporate": {"trust_file": "../corporate/root.pem"}}
        data["identities"] = {SERVERS[0]: {"issuer": "requested", "authority": "corporate"}}

    clear.edit_yaml("tls_connections.yml", model)
    run = clear.playbook("rollout", *prepared).must_end(0)
    place = clear.inventory / "../corporate/root.pem"
    said = (
        "the CA list of corporate, trust_file %s, cannot be read: No such file or directory; put CA certificates"
        % place
    )
    assert said in " ".join(run.last_lines.split())
    assert clear.stages() == {
        **dict.fromkeys(at_first, ("plain", "blocked")),
        **dict.fromkeys(at_second, ("presented", "done")),
    }

    team = Team(clear.root / "corporate")
    clear.playbook("rollout", *prepared).must_end(0)
    assert {clear.stages()[name] for name in at_first} == {("trusted", "waiting")}

    # what trusts it by now keeps it, whatever else would be due
    team.root.rename(team.folder / "away.pem")
    before = still(clear.root / "hosts")
    again = clear.playbook("rollout", *prepared).must_end(0)
    assert "has it from before, and nothing of its material is replaced without it" in " ".join(
        again.last_lines.split()
    )
    assert again.changed == 0
    assert still(clear.root / "hosts") == before
    clear.must_talk()


@pytest.mark.soak
def test_a_listener_that_is_on_tls_already_keeps_its_certificate_until_its_issuer_is_changed(clear: Fleet):
    team = Team(clear.root / "corporate")
    server, address = SERVERS[0], clear.address(SERVERS[0])
    key, held = team.folder / "own.key", team.folder / "own.pem"
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", team.folder / "own.csr",
            "-subj", "/CN=own")  # fmt: skip
    held.write_text(team.sign(team.folder / "own.csr", names="IP:" + address, usages="serverAuth"))
    with held.open("a") as file:
        file.write(team.issuing.read_text())
    section = "[listener.default]\ncertificate = %s\nkey = %s\ntls_port = 12021\n" % (held, key)
    clear.edit(server, r"^\[listener\.default\]\n", section)
    clear.fleet("restart", server)
    before = held.read_bytes(), key.read_bytes()

    def adopt(data: dict[str, t.Any]) -> None:
        data["authorities"] = {"corporate": {"trust_file": "../corporate/root.pem"}}
        files = {"certificate": str(held), "key": str(key)}
        data["identities"] = {server: {"issuer": "installed", "key_at": "host", "files": files}}

    clear.edit_yaml("tls_connections.yml", adopt)
    plan = clear.playbook("plan", *ENFORCE).must_end(0)
    assert "step permit-default confserv@cfg2" in plan.text
    assert "step permit-default confserv@cfg1" not in plan.text, "it is on TLS"
    clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    assert (held.read_bytes(), key.read_bytes()) == before
    assert not (clear.material(server) / "key.pem").exists()
    shown = next(row for row in clear.report()["identities"] if row["name"] == server)
    assert (shown["path"], shown["issuer"], shown["names"]) == (str(held), "corporate issuing", [address])
    assert clear.playbook("rollout", *ENFORCE).must_end(0).changed == 0

    # its own from now on, whose key stays where it was used: that is another key, born there
    clear.edit_yaml("tls_connections.yml", lambda data: data.update(identities={server: {"key_at": "host"}}))
    run = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert "step permit-default confserv@cfg1" in run.text
    assert (clear.material(server) / "key.pem").read_bytes() != before[1]
    assert "PRIVATE KEY-----" not in (clear.store / "identities" / (server + ".pem")).read_text()
    assert str(clear.material(server).parent) in clear.options(server).read_text()
    assert (held.read_bytes(), key.read_bytes()) == before
    clear.must_talk()
