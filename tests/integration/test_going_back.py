# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back late: what a week, a renewal, a revocation and other people's edits leave of it, each said in words."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
import typing as t

import pytest
import yaml

from .harness import BIN, ENFORCE, HOLDS_A_SESSION, SERVERS, Fleet

DAY: t.Final = 86400
SERVER: t.Final = SERVERS[0]


def later(fleet: Fleet, *, days: int) -> dict[str, str]:
    """Return the environment in which Python's clock is days ahead, at the controller and on its hosts alike."""
    folder = fleet.root / ("%d-days-later" % days)
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        "import time\nnow = time.time\ntime.time = lambda: now() + %d\n" % (days * DAY)
    )
    return {"PYTHONPATH": str(folder)}


def play(fleet: Fleet, hosts: str, task: t.Mapping[str, t.Any], **environment: str) -> tuple[int, str]:
    """Run one task, as somebody's own play has it."""
    file = fleet.root / "play.yml"
    file.write_text(yaml.safe_dump([{"hosts": hosts, "gather_facts": False, "tasks": [dict(task)]}]))
    argv = [str(BIN / "ansible-playbook"), "-i", str(fleet.inventory), str(file)]
    variables = fleet.environment(**environment)
    done = subprocess.run(argv, env=variables, capture_output=True, text=True, check=False, timeout=240)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def the_generation_before(fleet: Fleet, **environment: str) -> tuple[int, str]:
    """Take a server's material one generation back."""
    instance = {"name": SERVER, "folder": "confserv", "trust": ["connsec"]}
    options = {"state": "previous", "directory": "{{ tls_directory }}", "instances": [instance]}
    task = {"connsec.tls.material": options}
    return play(fleet, "cfg1", task, **environment)


@pytest.mark.soak
def test_a_generation_that_has_expired_or_is_revoked_is_not_gone_back_to(enforced: Fleet):
    manifest = json.loads((enforced.material(SERVER) / "manifest.json").read_text())
    first, (issuer, *_roots) = manifest["identities"][""], manifest["inputs"]["identities"][""]["chain"]
    names = {"identities": {SERVER: {"names": ["added.example.net"]}}}
    enforced.edit_yaml("tls_connections.yml", lambda data: data.update(names))
    enforced.playbook("rollout", *ENFORCE).must_end(0)
    held = enforced.material(SERVER).resolve()
    assert held.name == "000002"

    code, said = the_generation_before(enforced, **later(enforced, days=100))
    assert code == 2
    assert "generation 000001 of %s has expired; install anew instead" % SERVER in said
    assert enforced.material(SERVER).resolve() == held

    given = {"name": SERVER, "serial": first["serial"], "issuer": issuer, "not_after": first["not_after"]}
    code, said = play(enforced, "localhost", {"connsec.tls.pki": {"revoke": [given]}})
    assert code == 0, said
    code, said = the_generation_before(enforced)
    assert code == 2
    assert "generation 000001 of %s is revoked; install anew instead" % SERVER in said
    assert enforced.material(SERVER).resolve() == held
    enforced.must_talk()


@pytest.mark.soak
def test_going_back_after_a_week_says_since_when_and_leaves_what_others_did_meanwhile(enforced: Fleet):
    today = datetime.datetime.now(datetime.UTC).date()
    other = enforced.root / "other.pem"
    shutil.copy(enforced.material(HOLDS_A_SESSION) / "trust.pem", other)
    enforced.edit(HOLDS_A_SESSION, r"^trust = .*$", "trust = %s" % other, count=1)
    kept = enforced.folder(SERVERS[1]).parent / "connsec" / "confserv" / "steps"
    shutil.rmtree(kept)  # somebody cleared up on the standby

    run = enforced.playbook("rollback", *ENFORCE, **later(enforced, days=8)).must_end(2)
    plan, _unused, rounds = run.text.partition("RESULT (")[0].partition("round 1 of 1: enforce")
    assert "cannot go back: undo connect-confserv.default router@app1" in plan
    assert "is open to plaintext again: desk@app1->confserv.default@cfg1" in plan
    days = ["its files are kept as they were on %s" % (today + datetime.timedelta(days=n)) for n in (0, -1)]
    assert any(each in rounds for each in days), rounds
    said = " ".join(run.last_lines.split())
    assert "+trust = %s" % other in said
    assert "expected confserv@cfg2 answers in the clear; seen: it does not, and nothing that goes back opens it" in said
    assert re.search(r"^port = ", enforced.options(SERVERS[0]).read_text(), re.M), "what could go back did"
    assert enforced.material(SERVERS[1]).exists(), "material is not gone back to"
    stages = enforced.stages()
    desk = [stages["desk@app1->confserv.default@%s" % host] for host in ("cfg1", "cfg2")]
    assert desk == [("switched", "waiting"), ("enforced", "waiting")]
    enforced.must_talk()


@pytest.mark.soak
def test_what_is_issued_is_rolled_out_to_switched_without_the_authorities_passphrase(clear: Fleet):
    clear.playbook("rollout", *ENFORCE, "-e", "tls_until=presented").must_end(0)
    assert set(clear.stages().values()) == {("presented", "done")}
    file = clear.inventory / "group_vars/all.yml"
    file.write_text(file.read_text().replace("tls_store_passphrase:", "tls_identities_passphrase:"))
    clear.playbook("rollout", *ENFORCE, "-e", "tls_until=switched").must_end(0)
    assert set(clear.stages().values()) == {("switched", "done")}

    names = {"identities": {SERVER: {"names": ["added.example.net"]}}}
    clear.edit_yaml("tls_connections.yml", lambda data: data.update(names))
    run = clear.playbook("rollout", *ENFORCE, "-e", "tls_until=switched").must_end(0)
    assert "tls_authorities_passphrase" in " ".join(run.text.split())
    assert set(clear.stages().values()) == {("switched", "done")}, "what it has goes on meanwhile"
    clear.must_talk()
