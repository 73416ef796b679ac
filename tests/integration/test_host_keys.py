# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that are born on hosts: from plain to enforced, killed on the way, renewed, lost, and never anywhere else."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import stat
import typing as t
from pathlib import Path

import pytest
from pki_team import Team, openssl

from .harness import ENFORCE, HOLDS_A_SESSION, SERVERS, Fleet

#: Who has its key at home: a server, and a client that presents a certificate. The others' come from the controller.
AT_HOME: t.Final = (SERVERS[0], HOLDS_A_SESSION)


def home(fleet: Fleet, instance: str) -> Path:
    """Return the folder of an instance's material."""
    return fleet.material(instance).parent


def waiting(fleet: Fleet) -> dict[str, bytes]:
    """Return the keys that wait for their certificates, by instance."""
    found = {name: home(fleet, name) / ("pending-key-" + name) / "key.pem" for name in AT_HOME}
    return {name: path.read_bytes() for name, path in found.items() if path.exists()}


def installed(fleet: Fleet) -> dict[str, bytes]:
    """Return the keys that instances read."""
    return {name: (fleet.material(name) / "key.pem").read_bytes() for name in AT_HOME}


def found_elsewhere(fleet: Fleet, keys: t.Iterable[bytes], *texts: str) -> list[str]:
    """Return where a key is found besides the folders of those who use it: by its text, and by its bytes."""
    shapes = []
    for key in keys:
        lines = key.splitlines()
        shapes += [lines[1], base64.b64decode(b"".join(lines[1:-1]))[36:64]]
    homes = [home(fleet, name) for name in AT_HOME]
    files = [path for path in fleet.root.rglob("*") if path.is_file() and not path.is_symlink()]
    places = {str(path): path.read_bytes() for path in files if not any(path.is_relative_to(each) for each in homes)}
    assert len(places) > 20, places.keys()
    places.update({"output %d" % number: text.encode() for number, text in enumerate(texts)})
    return [where for where, data in places.items() if any(shape in data for shape in shapes)]


def names_at_home(data: dict[str, t.Any]) -> None:
    """Have the keys of some instances born where they are used."""
    data["identities"] = {name: {"key_at": "host"} for name in AT_HOME}


def adds_a_name(data: dict[str, t.Any]) -> None:
    """Have a certificate due again."""
    data["identities"][SERVERS[0]]["names"] = ["added.example.net"]


def test_a_key_is_born_on_its_host_and_is_never_anywhere_else(clear: Fleet):
    clear.make_mutual(presenting=("router", "desk"))
    clear.edit_yaml("tls_connections.yml", names_at_home)

    # killed between birth and issue, and between issue and installation: the key that waits is gone on with
    killed = clear.killed_at("task Make what is missing in the store", *ENFORCE, "-vvv")
    assert killed.code == -signal.SIGKILL
    keys = waiting(clear)
    assert set(keys) == set(AT_HOME)
    assert not list(clear.store.glob("identities/*.pem"))
    assert clear.killed_at("task Install material", *ENFORCE).code == -signal.SIGKILL
    assert waiting(clear) == keys
    assert len(list(clear.store.glob("identities/*.pem"))) == 4

    run = clear.playbook("rollout", *ENFORCE, "--diff", "-vvv").must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    assert installed(clear) == keys
    assert waiting(clear) == {}
    for name in AT_HOME:
        assert stat.S_IMODE((clear.material(name) / "key.pem").stat().st_mode) == 0o400
        assert b"PRIVATE KEY-----" not in (clear.store / "identities" / (name + ".pem")).read_bytes()
    assert found_elsewhere(clear, keys.values(), killed.text, run.text) == []
    again = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0, again.text[-3000:]
    assert "Have keys born where they are used" not in again.text

    # another certificate has a key of its own, and the generation before keeps its own
    clear.edit_yaml("tls_connections.yml", adds_a_name)
    renewed = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert installed(clear)[SERVERS[0]] != keys[SERVERS[0]]
    assert installed(clear)[HOLDS_A_SESSION] == keys[HOLDS_A_SESSION]
    assert (home(clear, SERVERS[0]) / "previous" / "key.pem").read_bytes() == keys[SERVERS[0]]
    assert found_elsewhere(clear, [*keys.values(), *installed(clear).values()], renewed.text) == []

    # a host that lost its key has another one born, and says why its certificate is another
    lost = installed(clear)[SERVERS[0]]
    shutil.rmtree(home(clear, SERVERS[0]))
    mended = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert ("identity " + SERVERS[0], "its key is not on its host any more") in mended.reasons()
    assert installed(clear)[SERVERS[0]] != lost
    manifest = json.loads((clear.material(SERVERS[0]) / "manifest.json").read_text())
    assert manifest["inputs"]["identities"][""]["key"] == manifest["identities"][""]["spki_sha256"]
    clear.must_be_enforced_by_the_next_run()


def ask_others(data: dict[str, t.Any]) -> None:
    """Have a PKI team sign for the instances whose keys are born where they are used, and ours for all others."""
    data["authorities"] = {"connsec": {}, "corporate": {"trust_file": "../corporate/root.pem"}}
    data["identities"] = {name: {"key_at": "host", "issuer": "requested", "authority": "corporate"} for name in AT_HOME}


def answer(fleet: Fleet, team: Team, instance: str) -> str:
    """Have the team answer the request of an instance with what it asks for, and return its public key."""
    folder = fleet.store / "requests" / instance
    text = openssl("req", "-in", folder / "request.pem", "-noout", "-text", "-verify")
    asked = re.search(r"Subject Alternative Name:.*\n\s*(.+)", text)
    assert asked
    names = asked.group(1).replace("IP Address:", "IP:").replace(" ", "")
    usages = ",".join(
        word for word, use in (("serverAuth", "Server"), ("clientAuth", "Client")) if "Web " + use in text
    )
    (folder / "answer.pem").write_text(
        team.sign(folder / "request.pem", names=names, usages=usages) + team.issuing.read_text()
    )
    return openssl("req", "-in", folder / "request.pem", "-noout", "-pubkey")


@pytest.mark.soak
def test_a_key_that_never_leaves_its_host_is_signed_by_others(clear: Fleet):
    team = Team(clear.root / "corporate")
    clear.make_mutual(presenting=("router", "desk"))
    clear.edit_yaml("tls_connections.yml", ask_others)

    # killed before others were asked: the keys that wait are gone on with
    assert clear.killed_at("task Make what is missing in the store", *ENFORCE).code == -signal.SIGKILL
    keys = waiting(clear)
    assert set(keys) == set(AT_HOME)
    assert not (clear.store / "requests").exists()

    first = clear.playbook("rollout", *ENFORCE, "-vvv").must_end(0)
    assert waiting(clear) == keys
    for name in AT_HOME:
        assert "have authority corporate sign %s" % (clear.store / "requests" / name) in first.last_lines
    again = clear.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0, again.text[-3000:]
    assert waiting(clear) == keys

    public = {name: answer(clear, team, name) for name in AT_HOME}
    run = clear.playbook("rollout", *ENFORCE, "--diff", "-vvv").must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}, clear.stages()
    assert installed(clear) == keys
    assert waiting(clear) == {}
    for name in AT_HOME:
        held = clear.material(name)
        assert openssl("pkey", "-in", held / "key.pem", "-pubout") == public[name]
        openssl("verify", "-x509_strict", "-trusted", team.root, "-untrusted", held / "chain.pem",
                held / "certificate.pem")  # fmt: skip
    assert found_elsewhere(clear, keys.values(), first.text, run.text) == []
    assert clear.playbook("rollout", *ENFORCE).must_end(0).changed == 0

    # a host that lost its key makes another, and others are asked for that one
    shutil.rmtree(home(clear, SERVERS[0]))
    lost = clear.playbook("rollout", *ENFORCE).must_end(2)
    assert ("identity " + SERVERS[0], "its key is not on its host any more") in lost.reasons()
    said = "identity %s waits for a signature of authority corporate" % SERVERS[0]
    assert said in lost.last_lines, "who has to sign is told of, not only that the key is gone"
    assert answer(clear, team, SERVERS[0]) != public[SERVERS[0]]
    clear.must_be_enforced_by_the_next_run()
