# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A listener with the profile fips, an old client that cannot agree with it at first, and what is offered then."""

from __future__ import annotations

import socket
import ssl
import typing as t
from pathlib import Path

from .harness import CONNECTS_ANEW, ENFORCE, HOLDS_A_SESSION, QUICK, SERVERS, SWITCH, Fleet


def offer(value: str) -> t.Callable[[dict[str, t.Any]], None]:
    """Return the edit that has the server offer its profile, from this protocol version on."""

    def edit(data: dict[str, t.Any]) -> None:
        section = {"section": "listener.{listener}"}
        server = data["tls_settings"]["confserv"]
        kept = [row for row in server["permit"] if row["key"] not in ("ciphers", "minimum_protocol")]
        given = [{**section, "key": "ciphers", "value": "{ciphers}"}]
        server["permit"] = [*given, {**section, "key": "minimum_protocol", "value": value}, *kept]

    return edit


def agrees(fleet: Fleet, ciphers: str) -> bool:
    """Return whether the first server takes a client that knows these suites of TLS 1.2 alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    with socket.create_connection((fleet.address(SERVERS[0]), 12021), timeout=5) as sock:
        try:
            context.wrap_socket(sock).close()
        except ssl.SSLError:
            return False
    return True


def test_an_old_client_that_cannot_agree_is_seen_before_it_is_switched(clear: Fleet):
    def limited(data: dict[str, t.Any]) -> None:
        data["components"]["confserv"]["listeners"]["default"]["profile"] = "fips"
        data["components"]["desk"]["limits"] = {"protocols": ["TLSv1.2"]}

    clear.edit_yaml("tls_connections.yml", limited)
    clear.edit_yaml("group_vars/all.yml", offer("TLSv1.3"))
    run = clear.playbook("rollout", *SWITCH).must_end(2)
    said = " ".join(run.text.split())
    assert "of profile fips: TLSv1.2, 4 suites, key ec-p256 because component desk is limited to TLSv1.2" in said
    assert "from app1, which knows TLSv1.2; seen:" in run.last_lines
    stages = clear.stages()
    assert {stages[name] for name in stages if name.startswith(HOLDS_A_SESSION)} == {("switched", "done")}
    assert {stages[name] for name in stages if name.startswith(CONNECTS_ANEW)} == {("presented", "failed")}
    clear.must_talk()

    clear.edit_yaml("group_vars/all.yml", offer("{minimum_protocol}"))
    clear.playbook("rollout", *ENFORCE).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    assert agrees(clear, "ECDHE-ECDSA-AES128-GCM-SHA256")
    assert not agrees(clear, "ECDHE-ECDSA-CHACHA20-POLY1305")
    clear.must_talk()

    def past(data: dict[str, t.Any]) -> None:
        decided = {"reason": "a stack of 2012", "approver": "Ann", "until": "2020-01-01"}
        data["components"]["confserv"]["listeners"]["default"].update(profile="old", **decided)
        router = next(each for each in data["connections"] if each["client"] == "router")
        router.update(secure=False, **decided)

    clear.edit_yaml("tls_connections.yml", past)
    run = clear.playbook("report", *QUICK).must_end(0)
    assert "WAITING confserv.default" in run.last_lines
    assert "seen: profile old, which Ann allowed until 2020-01-01" in run.last_lines
    assert "WAITING router->confserv.default" in run.last_lines
    assert "seen: the one of Ann ended on 2020-01-01" in run.last_lines


def nothing_in_common(data: dict[str, t.Any]) -> None:
    data["components"]["desk"]["limits"] = {"protocols": ["TLSv1.1"]}


def weak_for_ever(data: dict[str, t.Any]) -> None:
    data["components"]["confserv"]["listeners"]["default"]["profile"] = "old"


def test_limits_that_cannot_hold_are_refused_before_anything_runs(tmp_path: Path, net: str):
    fleet = Fleet(tmp_path / "fleet", net=net)
    fleet.prepare()
    file = fleet.inventory / "tls_connections.yml"
    before = file.read_text()
    for edit, says in (
        (nothing_in_common, "no protocol version in common: component desk is limited to TLSv1.1"),
        (weak_for_ever, "profile old is an exception: it needs until"),
    ):
        fleet.edit_yaml(file.name, edit)
        run = fleet.playbook("rollout", *ENFORCE)
        assert run.code != 0
        assert says in " ".join(run.text.split())
        assert run.changed == 0
        assert not fleet.store.exists()
        file.write_text(before)
