# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in the middle: lost hosts, broken servers, foreign edits, strangers. The run ends with its last lines,
both ends of every pair still talk, the next run completes, and the one after changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from .harness import ENFORCE, QUICK, ROOT, Fleet, last_lines
from .ssh_hosts import SshHosts


def completes(fleet: Fleet) -> None:
    """Assert that the next run completes, the one after changes nothing, and everybody talks."""
    run = fleet.playbook("rollout", *ENFORCE)
    assert run.code == 0, run.text[-4000:]
    assert set(fleet.stages().values()) == {("enforced", "done")}, last_lines(run)
    again = fleet.playbook("rollout", *ENFORCE)
    assert (again.code, again.changed) == (0, 0), again.text[-3000:]
    fleet.assert_everybody_talks()


def pairs_of(fleet: Fleet) -> list[dict]:
    fleet.playbook("report")
    return list(fleet.report()["connections"])


def ini(fleet: Fleet, instance: str) -> Path:
    component, host = instance.split("@")
    return next((fleet.root / "hosts" / host / component).glob("*.ini"))


def components(fleet: Fleet) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return servers and clients by component, from the enumerated pairs."""
    servers: dict[str, list[str]] = {}
    clients: dict[str, list[str]] = {}
    for row in pairs_of(fleet):
        for found, name in ((servers, row["server"]), (clients, row["client"])):
            names = found.setdefault(name.split("@")[0], [])
            if name not in names:
                names.append(name)
    return servers, clients


def test_a_permit_that_breaks_its_server_is_taken_back_byte_by_byte(fleet: Fleet):
    servers, _ = components(fleet)
    members = next(names for names in servers.values() if len(names) > 1)
    file = ini(fleet, sorted(members)[0])
    text = file.read_text()
    file.write_text(re.sub(r"^(\[listener\..*\])$", r"\1\nbroken = yes", text, flags=re.M))
    before = file.read_bytes()
    run = fleet.playbook("rollout", *ENFORCE)
    assert run.code == 2, run.text[-4000:]
    assert file.read_bytes() == before
    assert sorted(members)[1] + " is left alone" in last_lines(run)
    fleet.assert_everybody_talks()
    file.write_text(text)
    completes(fleet)


def test_a_line_that_somebody_added_since_survives_going_back(enforced: Fleet):
    row = enforced.report()["connections"][0]
    file = ini(enforced, row["client"])
    file.write_text(file.read_text() + "\n# somebody's own line\n")
    run = enforced.playbook("rollback", *QUICK, "-e", "tls_scope=all")
    assert run.code == 0, run.text[-4000:]
    assert "# somebody's own line" in file.read_text()
    assert not re.search(r"^tls *= *yes", file.read_text(), re.M)
    enforced.assert_everybody_talks()


def test_a_line_of_ours_that_somebody_changed_is_not_taken_back_in_silence(enforced: Fleet):
    row = enforced.report()["connections"][0]
    file = ini(enforced, row["client"])
    component, host = row["server"].split("@")
    changed = re.sub(r"(\[peer\.%s\.%s\][^\[]*?\ntrust *= *)[^\n]*" % (component, host), r"\1/somebody/elses.pem", file.read_text())
    assert changed != file.read_text()
    file.write_text(changed)
    run = enforced.playbook("rollback", *QUICK, "-e", "tls_scope=all")
    assert run.code == 2, run.text[-4000:]
    assert "/somebody/elses.pem" in file.read_text()
    assert "/somebody/elses.pem" in run.text


def test_a_stranger_keeps_the_clear_listener_open_and_is_named(fleet: Fleet):
    first = pairs_of(fleet)[0]
    switched = fleet.playbook("rollout", *QUICK, "-e", "tls_scope=all")
    assert switched.code == 0, switched.text[-4000:]
    section = ini(fleet, first["server"]).read_text()
    port = int(re.search(r"^port *= *(\d+)", section, re.M).group(1))
    address = re.search(r"^address *= *(\S+)", section, re.M).group(1)
    stranger = fleet.net.rpartition(".")[0] + ".99.9"
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            with socket.socket() as one:
                one.bind((stranger, 0))
                one.connect((address, port))
                one.sendall(b"stranger 1 hello\n")
                one.recv(100)
            stop.wait(1.0)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        run = fleet.playbook("rollout", "-e", "tls_soak=0", "-e", "tls_watch=2", "-e", "tls_until=enforced", "-e", "tls_scope=all")
    finally:
        stop.set()
        thread.join()
    assert run.code == 0, run.text[-4000:]
    assert stranger in last_lines(run)
    assert ("switched", "waiting") in fleet.stages().values() or ("demanded", "waiting") in fleet.stages().values()
    completes(fleet)


def test_a_clear_session_that_is_left_open_keeps_the_listener_open(fleet: Fleet):
    first = pairs_of(fleet)[0]
    fleet.playbook("rollout", *QUICK, "-e", "tls_scope=all")
    section = ini(fleet, first["server"]).read_text()
    port = int(re.search(r"^port *= *(\d+)", section, re.M).group(1))
    address = re.search(r"^address *= *(\S+)", section, re.M).group(1)
    client = re.search(r"^address *= *(\S+)", ini(fleet, first["client"]).read_text(), re.M).group(1)
    with socket.socket() as left:
        left.bind((client, 0))
        left.connect((address, port))
        run = fleet.playbook("rollout", *ENFORCE)
        assert run.code == 0, run.text[-4000:]
        assert "a clear session of" in last_lines(run)
    completes(fleet)


def foreign_ca(folder: Path) -> Path:
    """Return a CA certificate that has signed nothing of ours."""
    key, certificate = folder / "foreign.key", folder / "foreign.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*argv, "-days", "2", "-subj", "/CN=foreign"], check=True, capture_output=True, timeout=60)
    return certificate


def test_a_client_with_a_foreign_ca_list_stays_back_alone(fleet: Fleet):
    """Its CA list is its own affair (no option of ours writes it), so only its sessions can tell."""
    row = next(row for row in pairs_of(fleet))
    component = row["client"].split("@")[0]
    foreign = foreign_ca(fleet.root)
    file = fleet.inventory / "group_vars" / "all.yml"
    override = fleet.inventory / "host_vars" / (row["client_host"] + ".yml")
    override.parent.mkdir(exist_ok=True)
    settings = settings_of(fleet, row["client_host"])
    mine = settings[component]
    mine["connect"] = [o for o in mine["connect"] if o["key"] != "trust"]
    mine["verify"] = []
    import json

    override.write_text(json.dumps({"tls_settings": settings}))
    path = ini(fleet, row["client"])
    path.write_text(re.sub(r"^(\[peer\..*\])$", r"\1\ntrust = %s" % foreign, path.read_text(), flags=re.M))
    assert file.exists()
    run = fleet.playbook("rollout", *ENFORCE)
    assert run.code == 2, run.text[-4000:]
    stages = fleet.stages()
    back = {name for name in stages if name.startswith(row["client"] + "->")}
    assert all(stages[name][1] == "failed" for name in back), stages
    assert "no session comes up" in last_lines(run)
    assert not any(stage == "enforced" for name, (stage, _) in stages.items() if name in back)
    fleet.assert_everybody_talks()


def settings_of(fleet: Fleet, host: str) -> dict:
    """Return a host's settings as Ansible sees them."""
    import json
    import sys

    argv = [str(Path(sys.executable).parent / "ansible"), "-i", str(fleet.inventory), host, "-m", "ansible.builtin.debug", "-a", "var=tls_settings"]
    done = subprocess.run(argv, env=fleet.environment(), capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(done.stdout[done.stdout.index("{") :])["tls_settings"])


def test_a_client_that_does_not_verify_stays_back_alone(fleet: Fleet):
    row = pairs_of(fleet)[0]
    path = ini(fleet, row["client"])
    path.write_text(re.sub(r"^verify *= *yes", "verify = no", path.read_text(), flags=re.M))
    assert "verify = no" in path.read_text()
    run = fleet.playbook("rollout", *ENFORCE)
    assert run.code == 2, run.text[-4000:]
    stages = fleet.stages()
    for name, (stage, status) in stages.items():
        if name.startswith(row["client"] + "->"):
            assert (stage, status) == ("permissive", "failed"), stages
    assert "does not verify" in last_lines(run)
    fleet.assert_everybody_talks()


@pytest.mark.skipif(os.geteuid() != 0, reason="LEFT OUT: mounting a full disk needs root")
def test_a_full_disk_on_one_host_holds_its_pairs_back_and_nobody_else(fleet: Fleet):
    rows = pairs_of(fleet)
    host = rows[0]["client_host"]
    folder = fleet.root / "hosts" / host / "connsec"
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=20", "tmpfs", str(folder)], check=True)
    try:
        run = fleet.playbook("rollout", *ENFORCE)
        assert run.code == 2, run.text[-4000:]
        assert "No space left" in last_lines(run)
        fleet.assert_everybody_talks()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)
    completes(fleet)


def lose_when(fleet: Fleet, hosts: SshHosts, name: str, process: subprocess.Popen, words: str) -> None:
    """Lose a host as soon as the run has said these words."""
    log = fleet.root / "playbook.log"
    until = time.monotonic() + 120
    while words not in log.read_text() and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    hosts.lose(name)


def test_a_client_host_that_is_lost_in_the_middle_keeps_only_its_pairs_back(fleet: Fleet):
    rows = pairs_of(fleet)
    host = rows[0]["client_host"]
    hosts = SshHosts(fleet, [host])
    try:
        process = fleet.start("rollout", *ENFORCE)
        lose_when(fleet, hosts, host, process, "round 1 of")
        run = fleet.finish(process)
    finally:
        hosts.close()
    assert run.code in (2, 4), run.text[-4000:]
    lines = last_lines(run)
    assert all(row["id"] in lines for row in rows)
    assert "gate reach" in lines
    fleet.assert_everybody_talks()
    shutil.rmtree(fleet.inventory / "host_vars")
    completes(fleet)


def test_when_every_host_is_lost_the_last_lines_still_appear(fleet: Fleet):
    names = sorted({name for row in pairs_of(fleet) for name in (row["client_host"], row["server_host"])})
    hosts = SshHosts(fleet, names)
    try:
        process = fleet.start("rollout", *ENFORCE)
        for name in names:
            lose_when(fleet, hosts, name, process, "round 1 of")
        run = fleet.finish(process)
    finally:
        hosts.close()
    assert run.code in (2, 4)
    assert "gate reach" in last_lines(run)
    fleet.assert_everybody_talks()
    shutil.rmtree(fleet.inventory / "host_vars")
    completes(fleet)


def test_the_passphrase_is_found_nowhere(fleet: Fleet):
    log = fleet.root / "ansible.log"
    run = fleet.playbook("rollout", *ENFORCE, "--diff", "-vvvvv", ANSIBLE_LOG_PATH=str(log))
    assert run.code == 0, run.text[-4000:]
    from .harness import PASSPHRASE

    keys = [path.read_text().splitlines()[1] for path in (fleet.root / "hosts").glob("*/connsec/*/current/key.pem")]
    assert keys
    texts = [run.text, log.read_text(), *(path.read_text(errors="replace") for path in (fleet.root / "ansible").rglob("*") if path.is_file())]
    for secret in [PASSPHRASE, *keys]:
        assert not [text for text in texts if secret in text]
    assert ssl.OPENSSL_VERSION
    assert ROOT.exists()
