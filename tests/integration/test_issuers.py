# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that others sign: a PKI team with nothing but openssl answers between runs, while the fleet talks."""

from __future__ import annotations

import re
import typing as t

from pki_team import Team, openssl

from .harness import ENFORCE, SERVERS, Fleet


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
