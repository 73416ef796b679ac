# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What playbooks do with options that they cannot have, with mistakes in the model, and without running at all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .harness import BIN, ENFORCE, PAIRS, QUICK, ROOT, Fleet

REFUSED = {
    "--tags pki": "--tags and --skip-tags would leave steps out of their order",
    "--skip-tags steps": "--tags and --skip-tags would leave steps out of their order",
    "--limit cfg1": "--limit cfg1 leaves localhost out",
    "-e tls_until=enforcd": "tls_until: 'enforcd' is no stage to go to",
    "-e tls_scope=nothing": "tls_scope: 'nothing' is neither all, a wave",
    "-e tls_watch=soon": "tls_watch: 'soon' is not a number of seconds",
    "-e tls_observe=false": "tls_observe=false plans from the ledger alone",
    "-e tls_os=aix": "tls_os",
}


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The inventory of a fleet of which nothing runs."""
    fleet = Fleet(tmp_path_factory.mktemp("still"), net="127.89.0")
    fleet.prepare()
    return fleet


@pytest.mark.parametrize("options", REFUSED)
def test_what_cannot_be_had_is_refused_in_one_sentence_before_anything_runs(still: Fleet, options: str):
    run = still.playbook("rollout", *QUICK, *options.split())
    assert run.code != 0
    assert REFUSED[options] in " ".join(run.text.split())
    assert run.changed == 0
    assert not still.store.exists()


@pytest.mark.parametrize("option", ["--syntax-check", "--list-tasks", "--list-hosts", "--list-tags"])
@pytest.mark.parametrize("name", ["rollout", "enumerate"])
def test_what_only_lists_does_not_run(still: Fleet, name: str, option: str):
    still.playbook(name, option).must_end(0)
    assert not still.store.exists()


@pytest.mark.parametrize("name", ["enumerate", "plan", "rollout", "verify", "rollback", "report"])
def test_a_mistake_in_the_model_stops_every_playbook(tmp_path: Path, name: str):
    fleet = Fleet(tmp_path, net="127.89.0")
    fleet.prepare()
    file = fleet.inventory / "tls_connections.yml"
    file.write_text(file.read_text() + "\nconections: []\n")
    run = fleet.playbook(name, *QUICK)
    assert run.code != 0
    assert "tls_connections.yml: there is no entry 'conections'; did you mean 'connections'" in " ".join(
        run.text.split()
    )
    assert run.changed == 0
    assert not fleet.store.exists()


def test_every_pair_is_enumerated_with_the_reason_of_each_category(still: Fleet):
    run = still.playbook("enumerate", "--limit", "localhost,app1").must_end(0)
    for words in (*PAIRS, "internal", "configuration", "linux", "pem_service"):
        assert words in run.text, words
    (rows,) = [result["rows"] for result in run.results() if "rows" in result]
    assert [row["id"] for row in rows] == sorted(PAIRS)
    for row in rows:
        assert set(row["category"]["reasons"]) == {"relation", "protocol", "operating_systems", "implementation"}
        assert all(row["category"]["reasons"].values())


def test_the_example_inventory_is_enumerated_and_planned(still: Fleet, tmp_path: Path):
    """What somebody copies has to say in the plan what it would do, and what is not built yet."""
    example = shutil.copytree(ROOT / "inventory" / "example", tmp_path / "example")
    for playbook, words in (
        ("enumerate", ("agent_desktops@agent_desktops->balancer.web.http@balancer", "third_party")),
        ("plan", ("step permit-default config@cfg1", "not built yet", "waiting for wave 2", "14 blocked, 4 due")),
    ):
        argv = [str(BIN / "ansible-playbook"), "-i", str(example), "connsec.tls." + playbook, "-e", "tls_observe=false"]
        done = subprocess.run(
            argv, env=still.environment(), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        for word in words:
            assert word in done.stdout, (playbook, word)
    assert not (tmp_path / "example-store").exists()


def test_the_archive_is_a_collection_that_runs_with_nothing_else_of_the_repository(clear: Fleet, tmp_path: Path):
    galaxy = [str(BIN / "ansible-galaxy"), "collection"]
    (tmp_path / "ansible.cfg").touch()
    alone = {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}
    environment = clear.environment(**alone)
    del environment["ANSIBLE_COLLECTIONS_PATH"]

    def run(*words: str) -> None:
        subprocess.run([*galaxy, *words], env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=120)

    run("build", str(ROOT), "--output-path", str(tmp_path))
    (archive,) = tmp_path.glob("connsec-tls-*.tar.gz")
    place = tmp_path / "elsewhere"
    run("install", "--offline", str(archive), "--collections-path", str(place))
    installed = place / "ansible_collections" / "connsec" / "tls"
    for unneeded in ("docs", "extensions", "tests", "inventory", "changelogs"):
        shutil.rmtree(installed / unneeded, ignore_errors=True)
    assert sorted(path.name for path in installed.iterdir() if path.is_dir()) == [
        "meta",
        "playbooks",
        "plugins",
        "roles",
    ]
    alone |= {"ANSIBLE_COLLECTIONS_PATH": str(place), "ANSIBLE_PIPELINING": "true"}
    clear.playbook("enumerate", **alone).must_end(0)
    clear.playbook("rollout", *ENFORCE, **alone).must_end(0)
    assert set(clear.stages().values()) == {("enforced", "done")}
    clear.must_talk()
