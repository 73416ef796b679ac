# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The twin held against the real modules' source and documentation, and its parts against tables. No play is run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import typing as t
from pathlib import Path

import pytest
from ansible.executor.powershell.module_manifest import _create_powershell_wrapper, _get_powershell_script
from ansible.plugins.loader import shell_loader
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7

from . import Failed, Refused, acls, documentation, payload
from .accounts import service_sid
from .certificates import opened
from .conftest import COLLECTION
from .disk import normal
from .host import Host
from .machine import Machine
from .material import issued, pfx
from .modules import MODELS
from .twin import SERVER_2019, WindowsTwin

MODULES: t.Final = COLLECTION / "plugins/modules"
NAMES: t.Final = sorted(name.rpartition(".")[2] for name in MODELS)


def model_of(name: str) -> t.Any:
    return MODELS["ansible.windows.%s" % name]


def sent(
    name: str, arguments: dict[str, t.Any], *, content: bytes | None = None, check: bool = False
) -> tuple[str, bytes]:
    """Return what Ansible itself makes of a module call: the command and its input."""
    path = MODULES / ("%s.ps1" % name)
    full = "ansible_collections.ansible.windows.plugins.modules.%s" % name
    return bootstrap(), wrapped(full, path, path.read_bytes() if content is None else content, arguments, check=check)


def wrapped(name: str, path: Path, content: bytes, arguments: dict[str, t.Any], *, check: bool) -> bytes:
    """Return a module in Ansible's own wrapper."""
    found = _create_powershell_wrapper(
        name=name,
        module_data=content,
        module_path=str(path),
        module_args={**arguments, "_ansible_check_mode": check},
        environment={},
        async_timeout=0,
        become_plugin=None,
        substyle="powershell",
        task_vars={},
        profile="legacy",
    )
    return bytes(found)


def bootstrap() -> str:
    shell = shell_loader.get("powershell")
    return str(
        shell._encode_script(_get_powershell_script("bootstrap_wrapper.ps1"), strict_mode=False, preserve_rc=False)
    )


def answered(twin: WindowsTwin, *call: t.Any, check_run: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """Return the twin's answer to a module call."""
    _code, out, _err = Host(twin.folder, check_run=check_run).execute(*sent(*call, **options))
    return t.cast("dict[str, t.Any]", json.loads(out))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_was_written_from_the_module_that_is_installed(name: str) -> None:
    assert hashlib.sha256((MODULES / ("%s.ps1" % name)).read_bytes()).hexdigest() == model_of(name).source


@pytest.mark.parametrize("name", NAMES)
def test_a_model_names_documented_options_only(name: str) -> None:
    model = model_of(name)
    documented = set(documentation.options_of(str(MODULES / ("%s.ps1" % name))))
    assert {*model.shown, *model.secret, *model.combined, *model.unmodelled} <= documented
    assert not documented & set(model.internal)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_real_module_keeps_out_of_logs_no_model_shows(name: str) -> None:
    source = (MODULES / ("%s.ps1" % name)).read_text(encoding="utf-8-sig")
    hidden = set(re.findall(r"^\s*(\w+) = @\{[^}\n]*no_log = \$true", source, re.MULTILINE))
    model = model_of(name)
    assert hidden & set(model.shown) == set()
    assert hidden - {"value"} <= {*model.secret, "password"}  # those of win_powershell lie in sub-options


@pytest.mark.parametrize("name", NAMES)
def test_a_model_runs_in_check_mode_where_the_real_module_does(name: str) -> None:
    source = (MODULES / ("%s.ps1" % name)).read_text(encoding="utf-8-sig")
    runs = re.search(r"supports_check_mode\s*=?\s*\$true", source) is not None
    assert model_of(name).in_check_mode is runs


def test_another_version_of_a_module_is_refused_until_its_model_was_reviewed(twin: WindowsTwin) -> None:
    changed = (MODULES / "win_ping.ps1").read_bytes().replace(b'"pong"', b'"other"')
    result = answered(twin, "win_ping", {}, content=changed)
    assert result["failed"]
    assert result["msg"].startswith(
        "windows_twin: the twin models another ansible.windows.win_ping than the one that was sent"
    )
    assert answered(twin, "win_ping", {}) | {"invocation": None} == {
        "changed": False,
        "ping": "pong",
        "invocation": None,
    }


def test_a_default_that_documentation_changes_reaches_the_model(tmp_path: Path) -> None:
    source = (MODULES / "win_certificate_store.py").read_text(encoding="utf-8")
    (tmp_path / "win_certificate_store.py").write_text(
        source.replace("default: My", "default: WebHosting"), encoding="utf-8"
    )
    for folder, store in ((MODULES, "My"), (tmp_path, "WebHosting")):
        options = documentation.options_of(str(folder / "win_certificate_store.ps1"))
        assert documentation.checked("x", {}, options)["store_name"] == store


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (
            "win_file",
            {"path": "C:\\x", "stat": "absent"},
            "Unsupported parameters for (ansible.windows.win_file) module: stat.",
        ),
        (
            "win_file",
            {"path": "C:\\x", "state": "Absent"},
            "value of state must be one of: absent, directory, file, touch.",
        ),
        ("win_file", {"path": "C:\\x", "dest": "C:\\y"}, "path is given twice, once as its alias"),
        ("win_file", {"state": "absent"}, "missing required arguments: path"),
        ("win_file", {"path": ["C:\\x"]}, "argument for path is of type list and we were unable to convert to path"),
        ("win_service", {"name": "x", "force_dependent_services": "maybe"}, "unable to convert to bool"),
        (
            "win_service",
            {"name": "x", "sid_info": "none"},
            "windows_twin: the twin does not model sid_info of win_service",
        ),
        (
            "win_acl",
            {"path": "C:\\", "user": "Users", "type": "allow", "rights": "Look"},
            "unable to match the identifier name",
        ),
        (
            "win_acl",
            {"path": "C:\\", "user": "nobody", "type": "allow", "rights": "Read"},
            "nobody is not a valid account",
        ),
        ("win_stat", {"path": "\\\\server\\share"}, "windows_twin: the twin models absolute paths on a drive"),
        ("win_stat", {"path": "C:\\a?"}, "Illegal characters in path: C:\\a?"),
        ("win_file", {"path": "C:\\nul", "state": "touch"}, "nul names a device of Windows"),
        ("win_file", {"path": "D:\\x", "state": "touch"}, "A drive with the name 'D' does not exist."),
        ("win_regedit", {"path": "HKLM\\x"}, "path: HKLM\\x is not a valid powershell path"),
        (
            "win_regedit",
            {"path": "HKLM:\\x", "name": "n", "type": "dword", "data": 1 << 32},
            "cannot be larger than 0xffffffff",
        ),
        ("win_environment", {"level": "machine"}, "one of the following is required: name, variables"),
        ("win_powershell", {"script": "Get-Item C:\\"}, "windows_twin: the twin has no PowerShell, and no function"),
    ],
)
def test_bad_input_gets_one_sentence(twin: WindowsTwin, module: str, arguments: dict[str, t.Any], words: str) -> None:
    before = twin.snapshot()
    result = answered(twin, module, arguments)
    assert result["failed"] and words in result["msg"] and "\n" not in result["msg"], result
    assert twin.snapshot() == before
    assert [trip.outcome for trip in twin.log] == ["refused" if words.startswith("windows_twin") else "failed"]


@pytest.mark.parametrize(
    ("command", "data", "words"),
    [
        ("cmd /c dir", None, "it was sent a command that begins with cmd"),
        (
            "bootstrap",
            b"{}",
            "the twin runs PowerShell modules as ansible-core 2.19 wraps them; it was sent something else",
        ),
        ("Get-Process", None, "the twin has no PowerShell; it was sent a script that begins with Get-Process"),
    ],
)
def test_what_is_no_module_is_refused(command: str, data: bytes | None, words: str) -> None:
    if command == "bootstrap":
        command = bootstrap()
    elif command.startswith("Get"):
        command = payload._START + base64.b64encode(command.encode("utf-16-le")).decode()
    with pytest.raises(Refused, match=re.escape(words)):
        payload.read(command, data)


def test_become_is_modelled_for_system_alone() -> None:
    wrapping = [{"name": "become_wrapper.ps1", "params": {"BecomeUser": "SYSTEM"}}]
    assert payload._become(wrapping) == "SYSTEM"
    with pytest.raises(Refused, match="become_user SYSTEM and no other; it was asked for Jane"):
        payload._become([{"name": "become_wrapper.ps1", "params": {"BecomeUser": "Jane"}}])
    with pytest.raises(Refused, match="wrapped in async_wrapper"):
        payload._become([{"name": "async_wrapper.ps1", "params": {}}])


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("c:/Temp//a\\.\\b\\..\\c", "C:\\Temp\\a\\c"),
        ("C:\\", "C:\\"),
        ("C:\\..\\..\\x", "C:\\x"),
    ],
)
def test_paths_are_read_as_windows_reads_them(text: str, path: str) -> None:
    assert normal(text) == path


def test_names_are_found_without_regard_to_case_and_keep_their_spelling(twin: WindowsTwin) -> None:
    twin.write("C:\\ProgramData\\Vendor\\App.ini", b"1")
    stat = answered(twin, "win_stat", {"path": "c:/programdata/VENDOR/app.INI"})["stat"]
    assert (stat["exists"], stat["path"]) == (True, "C:\\ProgramData\\Vendor\\App.ini")


def test_files_are_read_as_windows_reads_them() -> None:
    root, leaf = issued("root", authority=True), issued("leaf")
    key = leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    bundle = pkcs7.serialize_certificates([leaf.certificate, root.certificate], Encoding.DER)
    text = pkcs7.serialize_certificates([leaf.certificate], Encoding.PEM)
    for content, thumbprints in (
        (leaf.certificate.public_bytes(Encoding.DER), [leaf.thumbprint]),
        (leaf.pem + root.pem, [leaf.thumbprint]),
        (b"a note\n" + leaf.pem + key, [leaf.thumbprint]),
        (bundle, [leaf.thumbprint, root.thumbprint]),
        (text, [leaf.thumbprint]),
        (pfx(leaf, "x", chain=[root]), [leaf.thumbprint, root.thumbprint]),
    ):
        found = opened(content, "x", build=SERVER_2019)
        assert sorted(each.thumbprint for each in found) == sorted(thumbprints)
    for content in (key + leaf.pem, b"junk", b""):
        with pytest.raises(Failed, match="Cannot find the requested object"):
            opened(content, None, build=SERVER_2019)


def test_sids_of_services_are_those_of_windows() -> None:
    # Microsoft documents this one: TrustedInstaller's.
    assert service_sid("TrustedInstaller") == "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"


def test_rules_are_inherited_as_their_flags_say() -> None:
    rule = acls.Rule("S-1-1-0", "allow", 1, containers=True, objects=False)
    assert rule.for_child(folder=False) is None
    inherited = rule.for_child(folder=True)
    assert inherited is not None and inherited.inherited and inherited.containers and not inherited.inherit_only
    once = acls.Rule("S-1-1-0", "allow", 1, containers=True, no_propagate=True).for_child(folder=True)
    assert once is not None and not once.containers
    through = acls.Rule("S-1-1-0", "allow", 1, objects=True).for_child(folder=True)
    assert through is not None and through.inherit_only
    file = through.for_child(folder=False)
    assert file is not None and acls.readers([file]) == {"S-1-1-0"} and acls.readers([through]) == set()


def test_who_is_denied_may_not_read() -> None:
    allowed, denied = acls.Rule("S-1-1-0", "allow", 1), acls.Rule("S-1-1-0", "deny", 1)
    assert acls.readers([allowed]) == {"S-1-1-0"}
    assert acls.readers([allowed, denied]) == set()


def test_the_rights_of_an_account_are_joined_and_taken_apart() -> None:
    read = acls.Rule("S-1-1-0", "allow", acls.FILE_RIGHTS["read"])
    write = acls.Rule("S-1-1-0", "allow", acls.FILE_RIGHTS["write"])
    both = acls.added([read], write)
    assert [rule.mask for rule in both] == [acls.FILE_RIGHTS["read"] | acls.FILE_RIGHTS["write"]]
    assert [rule.mask for rule in acls.removed(both, write)] == [acls.FILE_RIGHTS["read"] & ~acls.FILE_RIGHTS["write"]]


def test_a_disk_that_is_full_keeps_what_it_has(twin: WindowsTwin) -> None:
    twin.write("C:\\ProgramData\\a.txt", b"old")
    twin.fill_disk()
    before = twin.snapshot()
    with pytest.raises(Failed, match="There is not enough space on the disk"):
        Host(twin.folder, check_run=False).put(b"new", "C:\\ProgramData\\a.txt")
    assert answered(twin, "win_file", {"path": "C:\\new", "state": "directory"})["failed"]
    assert twin.snapshot() == before
    twin.fill_disk(full=False)
    assert answered(twin, "win_file", {"path": "C:\\new", "state": "directory"})["changed"]


def test_a_caller_that_does_not_tell_of_check_mode_is_reported(twin: WindowsTwin) -> None:
    answered(twin, "win_file", {"path": "C:\\a", "state": "directory"}, check=True, check_run=True)
    assert twin.violations == []
    answered(twin, "win_file", {"path": "C:\\a", "state": "directory"}, check_run=True)
    assert twin.violations == [
        "caller of ansible.windows.win_file did not tell of check mode, and it made folder C:\\a"
    ]


def counted(machine: Machine, parameters: dict[str, t.Any], *, check: bool) -> dict[str, t.Any]:
    """What the module of the next test does, on the twin."""
    return {"changed": False, "services": machine.services.names()[: parameters["limit"]], "check": check}


def test_a_module_of_others_is_acted_out_where_a_test_registered_it(twin: WindowsTwin, tmp_path: Path) -> None:
    options = {"limit": {"description": "how many", "type": "int", "default": 1}}
    (tmp_path / "win_counted.yml").write_text(json.dumps({"DOCUMENTATION": {"options": options}}), encoding="utf-8")
    (source := tmp_path / "win_counted.ps1").write_bytes(b"#!powershell\nGet-Service\n")
    twin.add_service("A")
    twin.add_service("B")
    assert "the twin does not model ansible.windows.win_counted" in called(twin, source, {})["msg"]
    twin.register(source.read_bytes(), "windows.test_models:counted")
    assert called(twin, source, {})["services"] == ["A"]
    assert called(twin, source, {"limit": "2"}, check=True)["services"] == ["A", "B"]
    assert "Unsupported parameters" in called(twin, source, {"limits": 2})["msg"]
    source.write_bytes(b"#!powershell\nGet-Service -Name A\n")
    assert "the twin does not model ansible.windows.win_counted" in called(twin, source, {})["msg"]


def called(twin: WindowsTwin, source: Path, arguments: dict[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    """Return the twin's answer to a module of others."""
    name = "ansible_collections.ansible.windows.plugins.modules.%s" % source.stem
    data = wrapped(name, source, source.read_bytes(), arguments, check=check)
    _code, out, _err = Host(twin.folder, check_run=False).execute(bootstrap(), data)
    return t.cast("dict[str, t.Any]", json.loads(out))
