# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that others sign: a PKI team with nothing but openssl answers between runs, while the fleet talks."""

from __future__ import annotations

import re
import typing as t

from pki_team import Team, openssl

from .harness import ENFORCE, PAIRS, QUICK, SERVERS, Fleet, still


def ask_others(fleet: Fleet) -> None:
    """Have a PKI team sign for both servers, and give runs the identities' passphrase alone."""

    def model(data: dict[str, t.Any]) -> None:
        data["authorities"] = {"corporate": {"trust_file": "../corporate/root.pem"}}
        data["identities"] = {server: {"issuer": "requested"} for server in SERVERS}

    fleet.edit_yaml("tls_connections.yml", model)
    file = fleet.inventory / "group_vars/all.yml"
    file.write_text(file.read_text().replace("tls_store_passphrase:", "tls_identities_passphrase:"))


def test_a_team_answers_between_runs_and_nothing_else_than_planned_is_taken(clear: Fleet):
    team = Team(clear.root / "corporate")
    ask_others(clear)

    def places(server: str) -> tuple[t.Any, t.Any, str]:
        folder = clear.store / "requests" / server
        names = re.search(r"IP Address:(\S+)", openssl("req", "-in", folder / "request.pem", "-noout", "-text"))
        assert names
        return folder / "request.pem", folder / "answer.pem", "IP:" + names.group(1)

    first = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("trusted", "waiting")}
    for server in SERVERS:
        request, answer, names = places(server)
        todo = "to do: have authority corporate sign %s, put the answer at %s, and run again" % (request, answer)
        assert todo in first.last_lines
        answer.write_text(team.sign(request, names=names, usages="clientAuth") + team.issuing.read_text())
    before = {server: places(server)[0].read_bytes() for server in SERVERS}

    second = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert second.changed == 0
    assert "answer.pem is not taken: it is for client only, and not for server" in second.last_lines
    assert {server: places(server)[0].read_bytes() for server in SERVERS} == before
    for server in SERVERS:
        request, answer, names = places(server)
        answer.write_text(team.issuing.read_text() + team.sign(request, names=names, usages="serverAuth"))

    clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    for server in SERVERS:
        held = clear.material(server)
        openssl("verify", "-x509_strict", "-purpose", "sslserver", "-trusted", team.root, "-untrusted",
                held / "chain.pem", held / "certificate.pem")  # fmt: skip
    assert not (clear.store / "authorities/secret.json").exists()
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
        data["identities"] = {server: {"issuer": "installed", "files": files}}

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

    clear.edit_yaml("tls_connections.yml", lambda data: data.pop("identities"))
    run = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert "step permit-default confserv@cfg1" in run.text
    assert str(clear.material(server).parent) in clear.options(server).read_text()
    assert (held.read_bytes(), key.read_bytes()) == before
    clear.must_talk()
