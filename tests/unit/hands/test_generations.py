# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations are taken with one rename, known by numbers of their own, repaired in place, and gone back to."""

from __future__ import annotations

import errno
import json
import os
import pwd
import shutil
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host import _generations
from ansible_collections.connsec.tls.plugins.module_utils._host._generations import File, Material
from ansible_collections.connsec.tls.plugins.module_utils._host._reading import FilesError, account_of

from .instances import Installed, asked, files, tree

US = account_of(os.geteuid())
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="LEFT OUT: only root can give files away")


@pytest.fixture
def router(tmp_path: Path) -> Installed:
    return Installed(tmp_path / "connsec")


def reason(change: t.Any) -> str | None:
    return None if change is None else change.reason


# Installing


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_the_first_generation_has_its_files_modes_and_manifest(router: Installed, mask: int) -> None:
    before = os.umask(mask)
    try:
        change = router.install(public={"": {"names": ["urs1"], "not_after": 4e9}})
    finally:
        os.umask(before)
    assert reason(change) == "no generation is installed"
    assert os.readlink(router.base / "current") == "generations/000001"
    assert {name: row[:4] for name, row in tree(router.base).items() if "pem" in name or "json" in name} == {
        "generations/000001/certificate.pem": "0444",
        "generations/000001/key.pem": "0400",
        "generations/000001/trust.pem": "0444",
        "generations/000001/manifest.json": "0444",
    }
    assert {row[:4] for name, row in tree(router.directory).items() if Path(name).suffix == ""} == {"0755", "0777"}
    seen = router.seen()
    assert (seen["generation"], seen["previous"], seen["drift"]) == ("000001", None, {})
    manifest = json.loads(router.path("manifest.json").read_text())
    assert manifest["files"]["key.pem"]["owner"] == US
    assert manifest["files"]["key.pem"]["mode"] == "0400"
    assert (manifest["instance"], manifest["generation"]) == ("router@urs1", "000001")
    assert manifest["installed_at"] == pytest.approx(time.time(), abs=60)
    assert "key 1" not in json.dumps(manifest)


BESIDE = [File("outer/key.pem", b"key of outer", secret=True), File("outer/chain.pem", b"chain", secret=False)]


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_further_identities_lie_in_folders_of_their_names(router: Installed, mask: int) -> None:
    before = os.umask(mask)
    try:
        router.install(beside=BESIDE)
    finally:
        os.umask(before)
    outer = router.path("outer")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (outer, *outer.iterdir())}
    assert modes == {"outer": 0o755, "key.pem": 0o400, "chain.pem": 0o444}
    assert set(router.seen()["manifest"]["files"]) >= {"key.pem", "outer/key.pem", "outer/chain.pem"}
    assert router.install(beside=BESIDE) is None


def test_drift_of_a_further_identity_is_found_and_mended_by_its_file(router: Installed) -> None:
    router.install(beside=BESIDE)
    router.path("outer/key.pem").chmod(0o644)
    assert router.seen()["drift"] == {"outer/key.pem": "outer/key.pem is 0644, planned 0400"}
    assert reason(router.install(beside=BESIDE)) == "outer/key.pem is 0644, planned 0400"
    assert (router.seen()["generation"], router.seen()["drift"]) == ("000001", {})
    shutil.rmtree(router.path("outer"))
    assert reason(router.install(beside=BESIDE)) == "outer/chain.pem is missing"
    assert (router.seen()["generation"], router.seen()["drift"]) == ("000002", {})
    outer = router.base / "generations" / "000002" / "outer"
    outer.rename(outer.with_name("elsewhere"))
    outer.symlink_to("elsewhere")
    assert router.seen()["drift"]["outer/key.pem"] == "outer/key.pem lies behind a link"
    assert reason(router.install(beside=BESIDE)) == "outer/chain.pem lies behind a link"
    assert (router.seen()["generation"], router.seen()["drift"]) == ("000003", {})


LIVES: dict[str, t.Any] = {"not_after": 4e9}
OF_OUTER = {"certificate": "c-outer", "chain": [], "password": None}


def installed_beside(router: Installed, **public: t.Any) -> None:
    """Install an identity beside the default one."""
    router.install(beside=BESIDE, inputs=with_outer("1"), public={"": LIVES, "outer": public})


def with_outer(version: str) -> dict[str, t.Any]:
    inputs = asked(version)["inputs"]
    return {**inputs, "identities": {**inputs["identities"], "outer": OF_OUTER}}


def test_what_is_not_asked_for_any_more_goes_on_while_its_certificate_lives(router: Installed) -> None:
    installed_beside(router, **LIVES)
    assert router.install("1") is None
    assert reason(router.install("2", public={"": LIVES})) == "the certificate is another"
    assert router.path("outer/key.pem").read_bytes() == b"key of outer"
    assert router.path("outer/key.pem").stat().st_mode & 0o777 == 0o400
    assert router.path("key.pem").read_bytes() == b"key 2"
    manifest = router.seen()["manifest"]
    assert manifest["inputs"]["identities"]["outer"] == OF_OUTER
    assert manifest["identities"] == {"": LIVES, "outer": LIVES}
    assert router.install("2", public={"": LIVES}) is None


@pytest.mark.parametrize(
    ("text", "stays"), [("key = {base}/current/outer/key.pem\n", True), ("key = {base}/current/key.pem\n", False)]
)
def test_one_that_has_ended_goes_on_while_a_file_that_a_step_edited_names_it(router, tmp_path, text, stays) -> None:
    installed_beside(router, not_after=1000)
    options, step = tmp_path / "options.ini", router.base / "steps" / "permit-admin"
    options.write_text(text.format(base=router.base))
    step.mkdir(parents=True)
    (step / "before.json").write_text(json.dumps({"files": {str(options): None}}))
    router.install("2", public={"": LIVES})
    assert router.path("outer").exists() is stays
    assert (set(router.seen()["manifest"]["identities"]) == {"", "outer"}) is stays


def test_the_default_one_goes_on_as_well_and_what_was_spoilt_does_not(router: Installed) -> None:
    installed_beside(router, **LIVES)
    router.path("certificate.pem").chmod(0o600)
    router.path("certificate.pem").write_bytes(b"something else")
    place = router.place("1", inputs={**asked()["inputs"], "identities": {"outer": OF_OUTER}}, public={"outer": LIVES})
    assert reason(place.plan()) == "certificate.pem differs from what was installed"
    place.make([*BESIDE, *files()[2:]])
    assert router.path("key.pem").read_bytes() == b"key 1"
    assert not router.path("certificate.pem").exists()
    assert router.seen()["drift"] == {}


def test_a_second_run_finds_nothing_to_do(router: Installed) -> None:
    router.install()
    before = tree(router.base)
    assert router.install() is None
    assert tree(router.base) == before


def test_another_version_is_another_generation_and_the_one_before_stays(router: Installed) -> None:
    router.install("1")
    assert reason(router.install("2")) == "the certificate is another"
    seen = router.seen()
    assert (seen["generation"], seen["previous"]) == ("000002", "000001")
    assert router.path("key.pem").read_bytes() == b"key 2"
    assert router.path("key.pem", "000001").read_bytes() == b"key 1"


def test_pruning_keeps_the_latest_three(router: Installed) -> None:
    for version in "12345":
        router.install(version)
    assert router.generations() == ["000003", "000004", "000005"]


@pytest.mark.parametrize("back", [False, True])
def test_pruning_keeps_current_and_previous_however_old_they_are(router: Installed, back: bool) -> None:
    router.install("1")
    router.install("2")
    if back:
        router.go_back()
    for number in ("000003", "000004", "000005"):  # that were made and, for their makers were killed, never taken
        shutil.copytree(router.base / "generations" / "000001", router.base / "generations" / number)
    router.install("6")
    previous = "000001" if back else "000002"
    assert (router.seen()["generation"], router.seen()["previous"]) == ("000006", previous)
    assert router.generations() == [previous, "000004", "000005", "000006"]


def test_pruning_keeps_what_a_process_has_loaded(router: Installed) -> None:
    router.install("1")
    (router.base / "loaded.json").write_text('{"generation": "000001"}')
    for version in "23456":
        router.install(version)
    assert router.generations() == ["000001", "000004", "000005", "000006"]


def test_a_folder_that_others_could_rearrange_is_refused(router: Installed) -> None:
    router.install("1")
    router.base.chmod(0o775)
    with pytest.raises(FilesError, match=r"others may write to .*router \(mode 0775\); make it 0755"):
        router.install("2")


@needs_root
def test_a_folder_of_another_account_is_refused(router: Installed) -> None:
    router.install("1")
    os.chown(router.base, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(FilesError, match="belongs to nobody, who could swap what lies in it; give it to root"):
        router.install("2")


NAMES = ["../x", "/etc/x", "/x", ".hidden", ".a/b", "a/b/c", "a/", "", "a b", "a b/x", "manifest.json", "x\n", "x\n/a"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_would_leave_its_generation_is_refused_and_nothing_stays(router: Installed, name: str) -> None:
    router.install("1")
    before = tree(router.base)
    place = router.place("2")
    place.plan()
    with pytest.raises(FilesError, match="cannot be the name of a file of a generation"):
        place.make([*files("2"), File(name, b"", secret=False)])
    assert tree(router.base) == before


@pytest.mark.parametrize("folder", ["", ".", "..", "a/b", "/etc", "-x", "a\n"])
def test_a_folder_that_is_no_single_name_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(FilesError, match="it is a single name such as router"):
        Material(str(tmp_path), asked(folder=folder))


def test_an_account_that_is_not_there_is_refused_before_anything_is_made(router: Installed) -> None:
    with pytest.raises(FilesError, match="there is no account 'nobody-here'"):
        router.install(account="nobody-here")
    assert not router.directory.exists()


@pytest.mark.parametrize("call", ["write", "fsync", "symlink", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_leaves_the_generation_that_is_there(router, monkeypatch, call, number) -> None:
    router.install("1")
    before = tree(router.base)

    def refuse(*arguments: t.Any) -> t.NoReturn:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(FilesError, match=os.strerror(number)):
            router.install("2")
    assert {name: row for name, row in tree(router.base).items() if name in before} == before
    assert router.path("key.pem").read_bytes() == b"key 1"
    router.install("2")
    assert router.path("key.pem").read_bytes() == b"key 2"
    assert not list(router.base.rglob("*connsec-new"))


# Numbers


def test_a_number_is_never_used_again(router: Installed) -> None:
    router.install("1")
    router.install("2")
    router.go_back()
    router.install("3")
    assert router.seen()["generation"] == "000003"
    assert router.generations() == ["000001", "000002", "000003"]


def test_a_number_that_somebody_removed_is_not_used_again(router: Installed) -> None:
    """A process that has loaded the second generation must not be taken for one that has loaded the next."""
    router.install("1")
    router.install("2")
    shutil.rmtree(router.base / "generations" / "000002")
    assert reason(router.install("2")) == "manifest.json is missing or damaged"
    assert router.seen()["generation"] == "000003"
    assert not router.seen()["drift"]


def test_a_number_that_a_process_has_loaded_is_not_used_again(router: Installed) -> None:
    router.install("1")
    router.install("2")
    router.go_back()
    (router.base / "loaded.json").write_text('{"generation": "000002"}')
    shutil.rmtree(router.base / "generations" / "000002")
    router.install("3")
    assert router.seen()["generation"] == "000003"


def test_what_is_no_generation_of_ours_is_left_alone(router: Installed) -> None:
    router.install("1")
    there = router.base / "generations"
    (there / "2024").mkdir()
    (there / "2024" / "theirs").touch()
    (there / "notes").mkdir()
    (there / "000007").symlink_to("/etc")
    (there / "000008").touch()
    router.install("2")
    assert router.generations() == ["000001", "000007", "000008", "000009", "2024", "notes"]
    assert (there / "2024" / "theirs").exists()
    assert os.path.isdir("/etc")


# Drift


def swap(path: Path, make: t.Callable[[Path], t.Any]) -> None:
    path.unlink()
    make(path)


DRIFT: list[tuple[str, t.Callable[[Path], t.Any], str]] = [
    # file, what happens to it, what is seen
    ("key.pem", Path.unlink, "key.pem is missing"),
    ("key.pem", lambda path: swap(path, lambda new: new.write_bytes(b"another")), "key.pem differs from what was"),
    ("trust.pem", lambda path: swap(path, lambda new: new.symlink_to("/etc/passwd")), "trust.pem is a link"),
    ("trust.pem", lambda path: swap(path, Path.mkdir), "trust.pem is no regular file"),
    ("trust.pem", lambda path: swap(path, os.mkfifo), "trust.pem is no regular file"),
    ("manifest.json", Path.unlink, "manifest.json is missing or damaged"),
    ("manifest.json", lambda path: swap(path, lambda new: new.write_text("{")), "manifest.json is missing or damaged"),
    ("manifest.json", lambda path: swap(path, lambda new: new.write_text("[]")), "manifest.json is missing or damaged"),
    ("manifest.json", lambda path: swap(path, lambda new: new.symlink_to("x")), "manifest.json is missing or damaged"),
]


@pytest.mark.parametrize(("name", "happens", "says"), DRIFT)
def test_drift_is_named_and_takes_another_generation(router: Installed, name: str, happens, says: str) -> None:
    router.install()
    happens(router.path(name))
    assert router.seen()["drift"][name].startswith(says)
    change = router.install()
    assert change is not None
    assert change.reason.startswith(says)
    assert router.seen()["generation"] == "000002"
    assert router.install() is None
    assert os.stat("/etc/passwd").st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("name", "mode", "planned"), [("key.pem", 0o644, "0400"), ("trust.pem", 0o600, "0444")])
def test_a_mode_is_put_right_in_place(router: Installed, name: str, mode: int, planned: str) -> None:
    router.install()
    before = tree(router.base)
    router.path(name).chmod(mode)
    assert reason(router.install()) == "%s is %04o, planned %s" % (name, mode, planned)
    assert tree(router.base) == before
    assert router.install() is None


def test_several_modes_are_put_right_at_once(router: Installed) -> None:
    router.install()
    before = tree(router.base)
    for name in ("key.pem", "trust.pem"):
        router.path(name).chmod(0o666)
    change = router.install()
    assert change is not None
    assert change.before == "key.pem is 0666, planned 0400\ntrust.pem is 0666, planned 0444"
    assert tree(router.base) == before


def test_a_repair_touches_nothing_through_a_link(router: Installed, tmp_path: Path) -> None:
    (tmp_path / "theirs").touch(0o644)
    router.install()
    router.path("key.pem").chmod(0o644)
    place = router.place()
    assert place.plan() is not None
    swap(router.path("key.pem"), lambda path: path.symlink_to(tmp_path / "theirs"))
    with pytest.raises(FilesError, match="is a link"):
        place.make(files())
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o644


@needs_root
def test_an_owner_is_put_right_in_place(router: Installed) -> None:
    router.install(account="nobody")
    os.chown(router.path("key.pem"), 0, 0)
    assert reason(router.install(account="nobody")) == "key.pem belongs to root, planned nobody"
    assert router.seen()["drift"] == {}
    assert router.path("key.pem").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@needs_root
def test_files_are_given_to_another_account_in_place(router: Installed) -> None:
    router.install()
    assert reason(router.install(account="nobody")) == "certificate.pem belongs to root, planned nobody"
    seen = router.seen()
    assert (seen["generation"], seen["drift"]) == ("000001", {})
    assert {row["owner"] for row in seen["manifest"]["files"].values()} == {"nobody"}
    assert router.path("key.pem").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert router.install(account="nobody") is None
    assert not list(router.base.rglob("*new*"))


# Going back


def test_going_back_is_one_rename_and_goes_no_further(router: Installed) -> None:
    router.install("1")
    router.install("2")
    change = router.go_back()
    assert change is not None
    assert (change.before, change.after, change.reason) == ("000002", "000001", "going back was asked for")
    assert router.path("key.pem").read_bytes() == b"key 1"
    assert router.go_back() is None
    assert router.plan("1") is None
    assert reason(router.plan("2")) == "the certificate is another"


def test_what_was_gone_back_to_was_brought_into_effect_just_now(router: Installed) -> None:
    """Its files are old, and still a process that was started before has not loaded them."""
    router.install("1")
    router.install("2")
    for folder in (router.base / "generations").iterdir():
        path = folder / "manifest.json"
        text = json.dumps({**json.loads(path.read_text()), "installed_at": 1000.0})
        path.unlink()
        path.write_text(text)
    router.go_back()
    assert router.seen()["manifest"]["installed_at"] == pytest.approx(time.time(), abs=60)


def test_after_going_back_the_way_leads_on(router: Installed) -> None:
    for version in "12":
        router.install(version)
    router.go_back()
    router.install("3")
    assert (router.seen()["generation"], router.seen()["previous"]) == ("000003", "000001")
    router.go_back()
    assert router.path("key.pem").read_bytes() == b"key 1"


REFUSED: list[tuple[dict[str, t.Any], t.Callable[[Path], t.Any] | None, dict[str, t.Any], str]] = [
    # how the earlier one was installed, what happened to its folder, what is asked, the refusal
    (
        {"public": {"": {"not_after": 1000}}},
        None,
        {},
        "generation 000001 of router@urs1 has expired; install anew instead",
    ),
    (
        {"public": {"": {"serial": "0a"}}},
        None,
        {"revoked": ["0a"]},
        "000001 of router@urs1 is revoked; install anew",
    ),
    ({}, None, {"trusted": ["r2"]}, "trusts an authority that is not trusted any more; install anew instead"),
    ({}, None, {"trusted": []}, "trusts an authority that is not trusted any more"),
    ({}, lambda folder: (folder / "manifest.json").unlink(), {}, "generation 000001 of .* is not complete any more"),
    ({}, shutil.rmtree, {}, "generation 000001 of router@urs1 is not complete any more"),
    ({}, lambda folder: (folder / "key.pem").unlink(), {}, "is not as it was: key.pem is missing"),
    ({}, lambda folder: (folder / "key.pem").chmod(0o644), {}, "is not as it was: key.pem is 0644, planned 0400"),
]


@pytest.mark.parametrize(("installed", "happens", "asked_", "says"), REFUSED)
def test_a_generation_that_peers_would_not_accept_is_not_gone_back_to(router, installed, happens, asked_, says) -> None:
    router.install("1", **installed)
    router.install("2")
    if happens is not None:
        happens(router.base / "generations" / "000001")
    with pytest.raises(FilesError, match=says):
        router.go_back(**asked_)
    assert router.seen()["generation"] == "000002"


def test_going_back_is_accepted_while_its_authorities_are_trusted(router: Installed) -> None:
    router.install("1", public={"": {"not_after": time.time() + 1000}})
    router.install("2")
    assert router.go_back(trusted=["r1", "r2"]) is not None


@pytest.mark.parametrize("versions", ["", "1"])
def test_without_an_earlier_generation_there_is_no_way_back(router: Installed, versions: str) -> None:
    for version in versions:
        router.install(version)
    with pytest.raises(FilesError, match="router@urs1 has no earlier generation to go back to"):
        router.go_back()


# What others put there


def test_a_link_that_leads_elsewhere_is_refused(router: Installed) -> None:
    router.install()
    for target in ("/etc", "generations/x", "generations/../../x", "generations/1"):
        swap(router.base / "current", lambda path, target=target: path.symlink_to(target))
        with pytest.raises(FilesError, match="and not to a generation of ours; let it lead to generations/<number>"):
            router.install()
        with pytest.raises(FilesError, match="leads to"):
            router.seen()
    assert os.path.isdir("/etc")


def test_a_current_that_is_a_folder_is_refused(router: Installed) -> None:
    router.base.mkdir(parents=True)
    (router.base / "current").mkdir()
    with pytest.raises(FilesError, match="current must be a link to a generation: Invalid argument"):
        router.install()


@pytest.mark.parametrize("where", ["", "generations"])
def test_a_folder_of_ours_that_is_a_link_is_refused(router: Installed, tmp_path: Path, where: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = router.base / where if where else router.base
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FilesError, match="must be a folder and not a link or a file"):
        router.install()
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("where", ["", "generations"])
def test_a_folder_of_ours_that_everybody_may_write_to_is_refused(router: Installed, where: str) -> None:
    router.install("1")
    (router.base / where).chmod(0o777)
    with pytest.raises(FilesError, match="everybody may write to"):
        router.install("2")
    assert router.path("key.pem").read_bytes() == b"key 1"


def test_what_a_killed_run_did_not_complete_is_swept(router: Installed) -> None:
    router.install("1")
    half = router.base / "generations" / "000002"
    half.mkdir()
    (half / "key.pem").write_bytes(b"half")
    (router.base / _generations._LINK).symlink_to("generations/000002")
    router.install("2")
    assert router.generations() == ["000001", "000002"]
    assert router.path("key.pem").read_bytes() == b"key 2"
    assert not os.path.lexists(router.base / _generations._LINK)


def test_a_file_of_a_generation_does_not_show_what_it_holds() -> None:
    assert "hunter2" not in repr(File("key.pem", b"hunter2", secret=True))
