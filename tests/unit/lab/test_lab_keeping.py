# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab keeps about itself, how it is reached, where packages come from, and where it cannot run."""

from __future__ import annotations

import json
import typing as t

import pytest
from lab import LabError, Unfit, apt, fitness, inventory, mounts, nspawn, recipe, state
from lab import lab as command
from lab.names import Net, number_hosts, parse_hosts
from lab.processes import Process, boot_id, run, this_process

NET = Net("10.77.0")
HOSTS = number_hosts(NET, parse_hosts("web,db=64m"))
GONE = Process(1, "before")


def lab(**changes: t.Any) -> state.State:
    return state.State(**{"hosts": HOSTS, "complete": True, "tree": "/tree", "boot": boot_id(), **changes})


@pytest.mark.parametrize("changes", [{}, {"complete": False}, {"owner": GONE}, {"hosts": ()}], ids=str)
def test_a_lab_is_read_as_it_was_written(changes: dict[str, t.Any]) -> None:
    assert state.parse(NET, lab(**changes).text()) == lab(**changes)


def test_bytes_of_a_server_that_are_no_text_are_marked_in_what_a_program_wrote() -> None:
    assert run(["printf", r"CONNECTED \377\0\n"]) == "CONNECTED \ufffd\0\n"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"hosts": [{}]}', '{"hosts": 3}'])
def test_a_file_that_no_lab_wrote_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="is not what a lab keeps"):
        state.parse(NET, text)


@pytest.mark.parametrize(
    ("changes", "abandoned"),
    [
        ({}, False),
        ({"owner": this_process()}, False),
        ({"complete": False}, True),
        ({"owner": GONE}, True),
        ({"boot": "an earlier one"}, True),
    ],
    ids=["kept for its user", "its owner lives", "never completed", "its owner is gone", "the system began anew"],
)
def test_a_lab_is_abandoned_when_it_was_never_completed_or_nobody_has_it(
    changes: dict[str, t.Any], abandoned: bool
) -> None:
    assert lab(**changes).abandoned is abandoned


def test_ansible_reaches_each_host_by_its_address_with_the_labs_key_and_nothing_of_the_callers() -> None:
    found = json.loads(inventory.inventory_text(NET, HOSTS))["all"]
    assert {name: row["ansible_host"] for name, row in found["hosts"].items()} == {
        "web": "10.77.0.11",
        "db": "10.77.0.12",
    }
    assert found["vars"]["ansible_ssh_args"] == "-F /var/lib/connsec-tls-lab/10.77.0/ssh/config"
    assert found["vars"]["ansible_ssh_pipelining"] is True
    text = inventory.ssh_config_text(NET, HOSTS)
    assert "Host web 10.77.0.11\n  HostName 10.77.0.11\n  HostKeyAlias web\n" in text
    for words in ("StrictHostKeyChecking yes", "GlobalKnownHostsFile none", "ControlMaster auto", "IdentitiesOnly yes"):
        assert "\n  %s\n" % words in text


def test_hosts_are_known_by_name_and_key_without_what_a_key_file_says_besides() -> None:
    assert inventory.known_hosts_text({HOSTS[0]: "ssh-ed25519 AAAA web"}) == "web ssh-ed25519 AAAA\n"


LISTED = """\
http://mirror.test/debian/ bookworm-updates main
http://mirror.test/debian/ bookworm main
http://mirror.test/debian/ bookworm contrib
http://mirror.test/security/ bookworm-security main
http://elsewhere.test/tools/ stable main
http://odd.test/flat/ bookworm
"""


def test_packages_come_from_the_machines_own_mirrors_of_debian_and_from_nobody_else() -> None:
    begin = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    assert [line.removeprefix(begin) for line in apt.sources_list(apt.sources_of("bookworm", LISTED)).splitlines()] == [
        "http://mirror.test/debian/ bookworm main",
        "http://mirror.test/debian/ bookworm contrib",
        "http://mirror.test/debian/ bookworm-updates main",
        "http://mirror.test/security/ bookworm-security main",
    ]


def test_a_machine_whose_apt_does_not_have_the_suite_is_told_so() -> None:
    with pytest.raises(LabError, match="do not have Debian trixie"):
        apt.sources_of("trixie", LISTED)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", {}),
        ('Acquire::Check-Valid-Until "false";\n', {}),
        ('Acquire::http::Proxy "http://proxy.test:3128";\n', {"http_proxy": "http://proxy.test:3128"}),
        ('Acquire::HTTPS::Proxy "http://proxy.test:3128";\n', {"https_proxy": "http://proxy.test:3128"}),
        ('Acquire::http::Proxy "DIRECT";\n', {}),
    ],
)
def test_proxies_of_apt_become_variables_for_programs_that_do_not_ask_apt(options: str, found: dict[str, str]) -> None:
    assert apt.proxies(options) == found


@pytest.mark.parametrize(
    ("platform", "user", "missing", "words"),
    [
        ("linux", 0, [], None),
        ("darwin", 0, [], "it needs Linux, and this is darwin"),
        ("darwin", 501, ["iproute2"], "it needs Linux, and this is darwin"),
        ("linux", 1000, ["iproute2"], "it makes namespaces and mounts, which takes root"),
        ("linux", 0, ["iproute2"], "install iproute2 (scripts/lab-packages does)"),
    ],
)
def test_a_machine_that_cannot_run_a_lab_is_told_the_first_reason(
    platform: str, user: int, missing: list[str], words: str | None
) -> None:
    assert fitness.why_not(platform, user, missing) == words


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ("unshare", "nobody make namespaces"),
        ("systemd-nspawn", "nobody run systemd-nspawn"),
        ("/usr/lib/apt/apt-helper", "Debian bookworm cannot be fetched"),
        (None, None),
    ],
)
def test_a_machine_is_fit_if_what_hosts_are_made_with_works_there_when_it_is_tried(
    refused: str | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: t.Sequence[str]) -> str:
        if argv[0] == refused:
            raise LabError("%s failed: Operation not permitted" % refused)
        return "http://deb.test/debian/ bookworm main\n"

    monkeypatch.setattr(fitness, "run", run)
    monkeypatch.setattr(apt, "run", run)
    monkeypatch.setattr(fitness, "why_not", lambda *_asked: None)
    monkeypatch.setattr(nspawn, "command", lambda _name, *options: ["systemd-nspawn", *options])
    monkeypatch.setattr(nspawn, "forget", lambda _name, _root: None)
    if words is None:
        fitness.check(building=True)
        return
    with pytest.raises(Unfit, match="the lab cannot run here: .*%s.*Operation not permitted" % words):
        fitness.check(building=True)


def test_where_the_tree_is_made_already_nothing_has_to_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness, "why_not", lambda *_asked: None)
    monkeypatch.setattr(fitness, "run", lambda _argv: "")
    monkeypatch.setattr(nspawn, "command", lambda _name, *options: ["systemd-nspawn", *options])
    monkeypatch.setattr(nspawn, "forget", lambda _name, _root: None)
    monkeypatch.setattr(apt, "run", lambda _argv: "")  # no source has it
    fitness.check()
    with pytest.raises(Unfit, match="do not have Debian bookworm"):
        fitness.check(building=True)


@pytest.mark.parametrize("arguments", [["up", "--hosts", "a"], ["down"], ["build"]], ids=lambda words: words[0])
def test_a_caller_who_is_not_root_gets_one_sentence_and_an_exit_code_of_its_own(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("shutil.which", lambda name, **_named: "/usr/bin/" + name)
    assert command.main(arguments) == command.UNFIT == 3
    said = capsys.readouterr().err
    assert said == "lab.py: the lab cannot run here: it makes namespaces and mounts, which takes root\n"


def test_mounts_are_read_with_their_types_options_and_odd_names() -> None:
    text = (
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
        "40 31 0:37 / /sys/fs/cgroup/systemd rw shared:1 - cgroup cgroup rw,name=systemd\n"
        "42 23 0:40 / /mnt/a\\040b rw - ext4 /dev/sda rw\n"
    )
    assert mounts.parse_table(text) == [
        mounts.Mount("/sys/fs/cgroup", "tmpfs", ("rw", "mode=755")),
        mounts.Mount("/sys/fs/cgroup/systemd", "cgroup", ("rw", "name=systemd")),
        mounts.Mount("/mnt/a b", "ext4", ("rw",)),
    ]


def test_the_digest_of_a_recipe_differs_with_whatever_goes_into_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {recipe.digest()}
    for name, value in (("SERVERS", ("nginx-light",)), ("SUITE", "trixie"), ("VERSION", 0), ("FILES", {})):
        monkeypatch.setattr(recipe, name, value)
        found.add(recipe.digest())
    assert len(found) == 5
