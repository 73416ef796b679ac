# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each modelled module by real ansible-playbook: checked, done, checked again, done again; then its removal."""

from __future__ import annotations

import base64
import json
import re
import typing as t
from pathlib import Path

import pytest

from . import acls
from .accounts import Accounts
from .certificates import thumbprint
from .machine import Machine
from .material import Pair, issued, pfx
from .plays import Task, play, playbook
from .registry import MACHINE_ENVIRONMENT
from .twin import SERVER_2016, WindowsTwin

PASSWORD: t.Final = "canary-Passw0rd-1b9e"
FOLDER: t.Final = "C:\\ProgramData\\connsec"
#: What four beats of a task say of a change.
BEATS: t.Final = [True, True, False, False]


def beats(task: Task) -> list[Task]:
    """Return a task four times: check, do, check again, do again."""
    return [{**task, "check_mode": check} for check in (True, False, True, False)]


def may_fail(task: Task) -> Task:
    return {**task, "ignore_errors": True}


def module(called: str, **arguments: t.Any) -> Task:
    return {"ansible.windows.%s" % called: arguments}


@pytest.fixture(scope="module")
def root() -> Pair:
    return issued("root", authority=True)


@pytest.fixture(scope="module")
def leaf(root: Pair) -> Pair:
    return issued("confserv", root)


def test_files_are_made_sent_looked_at_and_removed(twin: WindowsTwin, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "inner" / "b.txt").write_text("b")
    (tmp_path / "t.j2").write_text("a={{ 6 * 7 }}\nb\n")
    tasks = [
        *beats(module("win_file", path=FOLDER, state="directory")),
        *beats(module("win_copy", content="hello", dest=FOLDER + "\\hello.txt")),
        *beats(module("win_copy", src=str(tree) + "/", dest=FOLDER + "\\tree")),
        *beats(module("win_copy", src=FOLDER + "\\hello.txt", dest=FOLDER + "\\again.txt", remote_src=True)),
        module("win_stat", path=FOLDER + "\\hello.txt"),
        module("win_file", path=FOLDER + "\\hello.txt", state="touch"),
        {"ansible.builtin.slurp": {"src": FOLDER + "\\tree\\inner\\b.txt"}},
        {"ansible.builtin.fetch": {"src": FOLDER + "\\hello.txt", "dest": str(tmp_path / "got.txt"), "flat": True}},
        *beats(module("win_template", src=str(tmp_path / "t.j2"), dest=FOLDER + "\\t.txt")),
        {"ansible.builtin.slurp": {"src": FOLDER + "\\t.txt"}},
        *beats(module("win_file", path=FOLDER, state="absent")),
    ]
    run = play([twin], tasks)
    assert run.code == 0, run.text
    results = run.results()
    assert run.changed[:16] == 4 * BEATS
    stat = results[16]["stat"]
    assert (stat["size"], stat["isreg"], stat["owner"]) == (5, True, "BUILTIN\\Administrators")
    assert base64.b64decode(results[18]["content"]) == b"b"
    assert (tmp_path / "got.txt").read_text() == "hello"
    assert run.changed[20:24] == run.changed[25:] == BEATS
    assert base64.b64decode(results[24]["content"]) == b"a=42\r\nb\r\n", "win_template ends lines as Windows does"
    assert twin.violations == [] and twin.refusals == []
    assert not twin.machine().disk.exists(FOLDER)
    assert [trip.what for trip in twin.log if trip.kind == "put"] == ["put_file"] * 3
    scratch = {path: digest for path, digest in twin.snapshot()["files"].items() if "ansible-tmp" in path}
    assert list(scratch.values()) == [None, None], "win_template leaves an empty folder where it changes something"


def test_round_trips_are_counted_each_by_what_it_was(twin: WindowsTwin) -> None:
    run = play([twin], [module("win_ping"), *beats(module("win_copy", content="x", dest="C:\\ProgramData\\x.txt"))])
    assert run.code == 0, run.text
    query, making, putting = "ansible.windows.win_copy", "powershell_mkdtemp.ps1", "put_file"
    assert [trip.what for trip in twin.log] == [
        "ansible.windows.win_ping",
        *(query, making, "Remove-Item"),  # the action plugin makes its folder in check mode too
        *(query, making, putting, query, "Remove-Item"),
        query,
        query,
    ]
    assert twin.trips == 11


def test_a_pfx_is_opened_with_its_password_and_lies_in_its_store(twin: WindowsTwin, leaf: Pair, root: Pair) -> None:
    twin.write(FOLDER + "\\leaf.pfx", pfx(leaf, PASSWORD))
    twin.write(FOLDER + "\\root.pem", root.pem)
    store = {"path": FOLDER + "\\leaf.pfx", "password": PASSWORD, "key_exportable": False, "key_storage": "machine"}
    tasks = [
        may_fail(module("win_certificate_store", **{**store, "password": "wrong"})),
        may_fail(module("win_certificate_store", **{**store, "password": None})),
        module("win_certificate_store", **store),
        module("win_certificate_store", **store),
        *beats(module("win_certificate_store", path=FOLDER + "\\root.pem", store_name="Root")),
        module("win_certificate_info", thumbprint=leaf.thumbprint),
        may_fail(module("win_certificate_store", path=FOLDER + "\\root.pem", store_name="Nowhere")),
        may_fail(module("win_certificate_store", path=FOLDER + "\\none.pem")),
        may_fail(
            module(
                "win_certificate_store",
                state="exported",
                thumbprint=leaf.thumbprint,
                path=FOLDER + "\\out.pfx",
                file_type="pkcs12",
            )
        ),
    ]
    run = play([twin], [{**task, "no_log": "win_certificate_store" in str(task)} for task in tasks])
    assert [trip.outcome for trip in twin.log][:4] == ["failed", "failed", "changed", "ok"]
    assert run.changed[4:8] == BEATS
    assert (found := run.results()[8])["exists"] and found["certificates"][0]["has_private_key"]
    assert [trip.outcome for trip in twin.log][9:] == ["failed"] * 3
    assert set(twin.certificates("My")) == {leaf.thumbprint}
    assert set(twin.certificates("Root")) == {root.thumbprint}
    key = twin.private_key(leaf.thumbprint)
    assert key is not None and key.public_key() == leaf.key.public_key()
    assert not twin.key_exportable(leaf.thumbprint)
    assert twin.read(FOLDER + "\\out.pfx") is None


def test_faults_of_the_real_module_are_acted_out_and_reported(twin: WindowsTwin, leaf: Pair, root: Pair) -> None:
    twin.write(FOLDER + "\\leaf.pfx", pfx(leaf, PASSWORD, chain=[root]))
    twin.write(FOLDER + "\\out.cer", b"what somebody keeps here")
    store = module("win_certificate_store", path=FOLDER + "\\leaf.pfx", password=PASSWORD)
    exported = module("win_certificate_store", state="exported", path=FOLDER + "\\out.cer", thumbprint=leaf.thumbprint)
    absent = module("win_certificate_store", state="absent", thumbprint=leaf.thumbprint.lower())
    copied = module("win_copy", src=FOLDER + "\\leaf.pfx", dest="C:\\missing\\", remote_src=True)
    checked = [{**task, "check_mode": True} for task in (exported, copied)]
    run = play([twin], [*beats(store), *checked, *beats(absent)])
    assert run.code == 0, run.text
    assert run.changed == [*BEATS, True, True, *BEATS]
    # its chain went into the same store, and each read of the PFX left a key behind
    assert set(twin.certificates("My")) == {root.thumbprint}
    assert twin.orphaned_keys == 4
    # `exported` removed the file in check mode
    assert twin.read(FOLDER + "\\out.cer") is None
    store_told = "module ansible.windows.win_certificate_store was told of check mode, and it "
    assert [re.sub("[0-9a-f]{32}", "...", each) for each in twin.violations] == [
        store_told + "made key container ... of the user",
        store_told + "made key container ... of the user",
        store_told + "removed " + FOLDER + "\\out.cer",
        "module ansible.windows.win_copy was told of check mode, and it made folder C:\\missing",
    ]


def test_a_windows_before_1709_reads_the_old_form_of_pfx_alone(tmp_path: Path, leaf: Pair) -> None:
    old = WindowsTwin.made(tmp_path / "old", name="OLD", build=SERVER_2016)
    new = WindowsTwin.made(tmp_path / "new", name="NEW")
    for host in (old, new):
        host.write(FOLDER + "\\new.pfx", pfx(leaf, PASSWORD))
        host.write(FOLDER + "\\old.pfx", pfx(leaf, PASSWORD, old=True))
    tasks = [
        may_fail(module("win_certificate_store", path=FOLDER + "\\%s.pfx" % form, password=PASSWORD))
        for form in ("new", "old")
    ]
    run = play([old, new], tasks)
    assert "The specified network password is not correct." in run.results("old")[0]["msg"]
    assert [bool(each.get("failed")) for each in run.results("old")] == [True, False]
    assert [bool(each.get("failed")) for each in run.results("new")] == [False, False]
    assert set(old.certificates("My")) == set(new.certificates("My")) == {leaf.thumbprint}


def test_access_to_files_and_keys_is_what_was_set(twin: WindowsTwin, leaf: Pair) -> None:
    twin.add_service("Confserv", username="NT SERVICE\\Confserv")
    twin.write(FOLDER + "\\leaf.pfx", pfx(leaf, PASSWORD))
    key = "Cert:\\LocalMachine\\My\\%s" % leaf.thumbprint
    account = {"user": "NT SERVICE\\Confserv", "type": "allow"}
    cut = module("win_acl_inheritance", path=FOLDER, state="absent")
    administrators = {"path": FOLDER, "user": "Administrators", "type": "allow", "rights": "FullControl"}
    tasks = [
        module("win_certificate_store", path=FOLDER + "\\leaf.pfx", password=PASSWORD, key_storage="machine"),
        *beats(cut),
        module("win_acl", **administrators),
        *beats(module("win_acl", path=FOLDER, rights="ReadAndExecute", **account)),
        *beats(module("win_acl", path=key, rights="Read", **account)),
        *beats(module("win_acl", path=FOLDER, rights="ReadAndExecute", state="absent", **account)),
        may_fail(module("win_acl", path="Cert:\\LocalMachine\\My\\00", rights="Read", **account)),
    ]
    run = play([twin], tasks)
    skipped_in_check_mode = [False, True, False, False]
    assert run.changed[1:5] == BEATS
    assert run.changed[6:18] == 3 * skipped_in_check_mode
    assert [bool(each.get("skipped")) for each in run.results()][6:10] == [True, False, True, False]
    assert "does not exist on the host" in run.results()[18]["msg"]
    assert twin.readers(FOLDER) == twin.readers(FOLDER + "\\leaf.pfx") == {"BUILTIN\\Administrators"}
    assert twin.key_readers(leaf.thumbprint) == {
        "NT AUTHORITY\\SYSTEM",
        "BUILTIN\\Administrators",
        "NT SERVICE\\Confserv",
    }
    assert twin.violations == []


def test_more_rights_than_asked_are_a_change_each_time_as_with_the_real_module(twin: WindowsTwin) -> None:
    twin.write(FOLDER + "\\a.txt", b"")
    one = {"path": FOLDER + "\\a.txt", "user": "Users", "type": "allow"}
    run = play([twin], [module("win_acl", rights=rights, **one) for rights in ("Modify", "Read", "Read", "Modify")])
    assert run.changed == [True, True, True, False]
    masks = [rule.mask for rule in twin.machine().explicit_rules(FOLDER + "\\a.txt")]
    assert masks == [acls.FILE_RIGHTS["modify"] | acls.FILE_RIGHTS["synchronize"]]


def test_variables_of_the_machine_lie_in_its_registry(twin: WindowsTwin) -> None:
    several = {"OPENSSL_CONF": "C:\\ProgramData\\connsec\\openssl.cnf", "JAVA_OPTS": "-Dx=1"}
    own = "HKLM:\\SYSTEM\\CurrentControlSet\\Services\\Confserv"
    tasks = [
        *beats(module("win_environment", level="machine", variables=several)),
        *beats(module("win_environment", level="machine", name="JAVA_OPTS", state="absent")),
        module("win_environment", level="machine", name="openssl_conf", value="c:\\programdata\\CONNSEC\\openssl.cnf"),
        module("win_environment", level="machine", name="Path", value="%SystemRoot%;C:\\Tools"),
        module("win_reg_stat", path=MACHINE_ENVIRONMENT, name="Path"),
        *beats(module("win_regedit", path=own, name="Environment", type="multistring", data=["A=1", "B=2"])),
        module("win_regedit", path=own, name="Environment", type="multistring", data=["a=1", "B=2"]),
        *beats(module("win_regedit", path=own, name="Limit", type="dword", data="0x10")),
        module("win_regedit", path=own, name="Limit", type="qword", data=16),
        module("win_reg_stat", path=own),
        *beats(module("win_regedit", path=own, name="Limit", state="absent")),
        *beats(module("win_regedit", path=own, state="absent")),
    ]
    run = play([twin], tasks)
    assert run.code == 0, run.text
    results, changed = run.results(), run.changed
    assert changed[:8] == 2 * BEATS
    assert changed[8] is False, "the real module compares without regard to case"
    assert (changed[9], results[10]["type"]) == (True, "REG_SZ"), "SetEnvironmentVariable writes REG_SZ"
    assert changed[11:15] == BEATS
    assert changed[15] is False, "Compare-Object compares lines without regard to case"
    assert changed[16:20] == BEATS
    assert results[20]["data_type_changed"] and not results[20]["data_changed"]
    assert results[21]["properties"]["Environment"]["value"] == ["A=1", "B=2"]
    assert changed[22:30] == 2 * BEATS
    assert twin.environment()["OPENSSL_CONF"] == several["OPENSSL_CONF"]
    assert "JAVA_OPTS" not in twin.environment()
    assert twin.violations == []


def test_a_service_takes_its_environment_when_it_starts(twin: WindowsTwin) -> None:
    twin.add_service("Stat", state="running", environment={"OWN": "old"})
    twin.add_service("Router", state="running", needs=["Stat"])
    twin.add_service("Dead", state="stopped")
    twin.break_services("Dead")
    tasks = [
        module("win_environment", level="machine", name="SHARED", value="1"),
        may_fail(module("win_service", name="Stat", state="restarted")),
        module("win_service", name="Stat", state="restarted", force_dependent_services=True),
        *beats(module("win_service", name="Stat", start_mode="delayed")),
        may_fail(module("win_service", name="Dead", state="started")),
        *beats(module("win_service", name="Fresh", path="C:\\f.exe", username="NT AUTHORITY\\NETWORK SERVICE")),
        module("win_service", name="Fresh", state="started"),
        module("win_service", name="fresh"),
        *beats(module("win_service", name="Fresh", state="stopped", start_mode="disabled")),
        may_fail(module("win_service", name="Fresh", state="started")),
        *beats(module("win_service", name="Fresh", state="absent")),
        module("win_service", name="Fresh"),
    ]
    run = play([twin], tasks)
    results = run.results()
    assert "has dependent services" in results[1]["msg"]
    assert run.changed[3:7] == run.changed[8:12] == run.changed[14:18] == run.changed[19:23] == BEATS
    assert "cannot be started" in results[7]["msg"] and "cannot be started" in results[18]["msg"]
    assert (results[13]["state"], results[13]["start_mode"]) == ("running", "auto")
    assert results[13]["username"] == "NT AUTHORITY\\NETWORK SERVICE"
    assert results[23]["exists"] is False
    assert twin.service("Stat") == {
        "state": "running",
        "starts": 2,
        "start_mode": "delayed",
        "username": "LocalSystem",
    }
    assert twin.service("Router")["starts"] == 2
    assert twin.environment("Stat")["SHARED"] == twin.environment("Router")["SHARED"] == "1"
    assert (twin.environment("Stat")["OWN"], twin.environment("Router").get("OWN")) == ("old", None)
    assert twin.violations == []


def test_what_is_not_modelled_is_refused_in_one_sentence(twin: WindowsTwin) -> None:
    tasks = [
        module("win_shell", _raw_params="dir"),
        module("win_whoami"),
        module("win_file", path="C:\\x", state="directory", mode="0700"),
        module("win_command", argv=["netsh", "http", "show", "sslcert"]),
        module("win_powershell", script="Get-ChildItem Cert:\\"),
        {**module("win_ping"), "environment": {"A": "1"}},
        {**module("win_ping"), "become": True, "become_method": "runas", "become_user": "Jane"},
        {**module("win_ping"), "async": 10, "poll": 1},
        {"ansible.builtin.raw": "dir"},
        {"ansible.builtin.command": "whoami"},
    ]
    before = twin.snapshot()
    run = play([twin], [may_fail(task) for task in tasks])
    results = run.results()
    assert [bool(each.get("failed")) for each in results] == [True] * len(tasks)
    words = [
        "windows_twin: the twin does not model ansible.windows.win_shell",
        "windows_twin: the twin does not model ansible.windows.win_whoami",
        "Unsupported parameters for (ansible.windows.win_file) module: mode.",
        "windows_twin: the twin has no PowerShell, and no function is registered for this text",
        "windows_twin: the twin has no PowerShell, and no function is registered for this text",
        "windows_twin: the twin models modules without `environment`; this task sets A",
        "windows_twin: the twin models become_user SYSTEM and no other; it was asked for Jane",
        "windows_twin: the twin models tasks that wait for their module",
    ]
    for result, word in zip(results, words, strict=False):
        assert result["msg"].startswith(word), result
    assert results[-2]["stderr"].startswith("windows_twin: the twin runs what Ansible's PowerShell shell sends")
    assert results[-1]["msg"].startswith("windows_twin: the twin runs PowerShell modules")
    assert not [trip for trip in twin.log if trip.outcome in ("ok", "changed") or trip.lasting]
    changed = {name: value for name, value in twin.snapshot().items() if value != before[name]}
    assert changed == {}, changed


def bindings(machine: Machine, parameters: dict[str, t.Any], *, check: bool) -> dict[str, t.Any]:
    """What a script of the next test does, on the twin."""
    found = machine.stores.thumbprints("LocalMachine", parameters["store"])
    return {"changed": False, "result": {"check": check, "thumbprints": found}}


def netsh(machine: Machine, parameters: dict[str, t.Any], *, check: bool) -> dict[str, t.Any]:
    """What a command line of the next test does, on the twin."""
    return {"stdout": "SSL Certificate bindings", "rc": int(parameters == {} and check)}


def test_scripts_that_a_test_registered_are_acted_out_by_their_exact_text(twin: WindowsTwin) -> None:
    script = "[CmdletBinding(SupportsShouldProcess)]\nparam($store)\nGet-ChildItem Cert:\\LocalMachine\\$store\n"
    twin.register(script, "windows.test_plays:bindings")
    twin.register("netsh http show sslcert", "windows.test_plays:netsh")
    run_script = module("win_powershell", script=script, parameters={"store": "My"})
    other = module("win_powershell", script=script + "Remove-Item C:\\", parameters={"store": "My"})
    command = module("win_command", argv=["netsh", "http", "show", "sslcert"])
    run = play(
        [twin], [run_script, {**run_script, "check_mode": True}, command, {**command, "check_mode": True}, other]
    )
    results = run.results()
    assert [each["result"] for each in results[:2]] == [{"check": check, "thumbprints": []} for check in (False, True)]
    assert results[2]["stdout_lines"] == ["SSL Certificate bindings"]
    assert results[3]["skipped"]
    assert results[4]["msg"].startswith("windows_twin: the twin has no PowerShell")


def test_a_host_is_lost_after_some_round_trips_and_found_again(tmp_path: Path) -> None:
    one, two = (WindowsTwin.made(tmp_path / name, name=name) for name in ("ONE", "TWO"))
    one.lose(after=1)
    tasks = [module("win_ping"), module("win_file", path=FOLDER, state="directory")]
    run = play([one, two], tasks, facts=False)
    assert run.code == 4
    assert run.results("one")[1]["unreachable"]
    assert [result["changed"] for result in run.results("two")] == [False, True]
    assert (one.trips, two.trips) == (1, 2)
    one.find()
    two.fill_disk()
    copy = module("win_copy", content="x", dest=FOLDER + "\\x.txt")
    run = play([one, two], [*tasks, may_fail(copy)], facts=True)
    assert one.read(FOLDER + "\\x.txt") == b"x"
    facts = run.results("one")[0]["ansible_facts"]
    assert (facts["ansible_hostname"], facts["ansible_os_family"]) == ("ONE", "Windows")
    # Ansible takes a host for unreachable where it can make no temporary folder, a real one too
    lost = run.results("two")[-1]
    assert lost["unreachable"] and "Failed to create temporary directory." in lost["msg"]
    assert two.read(FOLDER + "\\x.txt") is None


def test_a_check_run_reports_the_task_that_changes_all_the_same(twin: WindowsTwin) -> None:
    tasks = [
        module("win_file", path=FOLDER, state="directory"),
        {**module("win_file", path="C:\\slipped", state="directory"), "check_mode": False},
        module("win_copy", content="x", dest="C:\\ProgramData\\x.txt"),
    ]
    run = play([twin], tasks, "--check")
    assert run.code == 0, run.text
    assert twin.violations == [
        "caller of ansible.windows.win_file did not tell of check mode, and it made folder C:\\slipped"
    ]
    assert not twin.machine().disk.exists(FOLDER)


CARELESS: t.Final = """
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        self._connection.put_file(__file__, "C:\\\\ProgramData\\\\careless.txt")
        return {"changed": True}
"""


def test_an_action_plugin_that_sends_a_file_in_check_mode_is_reported(twin: WindowsTwin, tmp_path: Path) -> None:
    (tmp_path / "action_plugins").mkdir()
    (tmp_path / "action_plugins/careless.py").write_text(CARELESS, encoding="utf-8")
    tasks = [{"careless": {}, "check_mode": True}]
    path = tmp_path / "play.yml"
    path.write_text(json.dumps([{"hosts": "windows", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    run = playbook([twin], str(path))
    assert run.code == 0, run.text
    assert twin.violations == [
        "caller of put_file did not tell of check mode, and it made file C:\\ProgramData\\careless.txt"
    ]


def test_no_secret_is_left_in_the_log_nor_printed(twin: WindowsTwin, leaf: Pair) -> None:
    secret = "canary-of-a-service-77aa"
    content = pfx(leaf, PASSWORD)
    (material := twin.folder.parent / "leaf.pfx").write_bytes(content)
    become = {"become": True, "become_method": "runas", "become_user": "SYSTEM"}
    account = {"username": "WIN1\\Administrator", "password": secret, "path": "C:\\x.exe"}
    tasks = [
        module("win_copy", src=str(material), dest="C:\\ProgramData\\leaf.pfx"),
        {**module("win_certificate_store", path="C:\\ProgramData\\leaf.pfx", password=PASSWORD), **become},
        module("win_service", name="Svc", **account),
        module("win_file", path="C:\\ProgramData\\leaf.pfx", state="absent"),
    ]
    twin.write("C:\\ProgramData\\left.txt", PASSWORD.encode())
    assert twin.files_with(PASSWORD.encode()) == ["drives/C/ProgramData/left.txt"]
    tasks.append(module("win_file", path="C:\\ProgramData\\left.txt", state="absent"))
    run = play([twin], [{**task, "no_log": True} for task in tasks], "-vvvvv")
    assert run.code == 0, run.text
    encoded = base64.b64encode(content)[:64]
    key = leaf.key.private_numbers().d.to_bytes(256, "big")[16:48]
    for canary in (PASSWORD.encode(), secret.encode(), encoded, key, b"PRIVATE KEY"):
        assert canary not in run.text.encode(), canary
        assert twin.files_with(canary) == [], canary
    loud = play([twin], [module("win_service", name="Svc", **account)])
    assert loud.results()[0]["invocation"]["module_args"]["password"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert set(twin.certificates("My")) == {leaf.thumbprint}


def test_accounts_are_known_by_each_of_their_names() -> None:
    accounts = Accounts("WIN1", ["svc"], ["Confserv"], ["Pool"])
    for names in (
        ["SYSTEM", "NT AUTHORITY\\SYSTEM", "LocalSystem", "S-1-5-18"],
        ["svc", ".\\svc", "WIN1\\svc", "win1\\SVC"],
        ["Users", "BUILTIN\\Users"],
        ["IIS APPPOOL\\Pool", "iis apppool\\pool"],
        ["NT SERVICE\\Confserv", "nt service\\confserv"],
    ):
        assert len({accounts.sid(name) for name in names}) == 1 and accounts.sid(names[0]), names
    assert accounts.sid("NT SERVICE\\Other") is None
    assert accounts.sid("Confserv") is None
    assert accounts.name(str(accounts.sid("svc"))) == "WIN1\\svc"


def test_thumbprints_are_those_that_windows_shows(leaf: Pair) -> None:
    assert thumbprint(leaf.certificate) == leaf.thumbprint
    assert len(leaf.thumbprint) == 40 and leaf.thumbprint == leaf.thumbprint.upper()
