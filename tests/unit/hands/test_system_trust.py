# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system's own trust, on systems of each family: what is added, what goes, and what stays as it was."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._system_trust import FAMILIES, TrustStore, store_of
from ansible_collections.connsec.tls.plugins.module_utils._host import _system_trust
from ansible_collections.connsec.tls.plugins.module_utils._host._anchors import read_given
from ansible_collections.connsec.tls.plugins.module_utils._host._program import ProgramError
from ansible_collections.connsec.tls.plugins.module_utils._host._system_trust import SystemTrust
from unit.look.servers import Authority, Issued

from .trusted_systems import System, refresh

STORES = {store.family: store for store in FAMILIES.values()}


@pytest.fixture(scope="module")
def corp(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority("corp", tmp_path_factory.mktemp("corp"))


@pytest.fixture(scope="module")
def next_corp(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return Authority("corp 2", tmp_path_factory.mktemp("next")).root


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return Authority("shipped", tmp_path_factory.mktemp("shipped")).root


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refresh without starting a program each time; test_modules.py starts it, and the lab has the real one."""

    def run(argv: t.Sequence[str], *, what: str) -> str:
        root = Path(argv[0]).parent
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = refresh((root / "family").read_text(), root, argv[1:])
        if code:
            raise ProgramError("%s ended with %d: %s" % (what, code, said.getvalue()))
        return said.getvalue()

    monkeypatch.setattr(_system_trust, "run", run)


@pytest.fixture(params=sorted(STORES))
def system(request: pytest.FixtureRequest, tmp_path: Path, shipped: Issued) -> System:
    return System.make(request.param, tmp_path / "system", shipped=shipped.pem)


@pytest.fixture
def debian(tmp_path: Path, shipped: Issued) -> System:
    return System.make("debian", tmp_path / "system", shipped=shipped.pem)


def trust(system: System, *rows: dict[str, str], state: str = "present") -> SystemTrust:
    store = system.store(STORES[system.family])
    return SystemTrust(store, read_given(rows, state=state), directory=str(system.root.parent / "connsec"))


def reasons(found: SystemTrust) -> list[str]:
    return [change.reason for change in found.changes]


def bundle(system: System) -> str:
    return Path(system.place(STORES[system.family].bundle)).read_text()


def anchors(system: System) -> list[Path]:
    """Return the files among the anchors, without what a system ships there."""
    files = Path(system.place(STORES[system.family].anchors)).iterdir()
    return sorted(file for file in files if file.name != "shipped.crt")


def settled(system: System, *rows: dict[str, str], state: str = "present") -> list[str]:
    found = trust(system, *rows, state=state)
    if found.changes:
        found.settle()
    assert trust(system, *rows, state=state).changes == []
    return reasons(found)


# recognized

DESCRIBED = (
    ("debian", "ID=debian\nPRETTY_NAME='Debian'"),
    ("debian", "ID=ubuntu\nID_LIKE=debian"),
    ("debian", 'ID=linuxmint\nID_LIKE="ubuntu debian"'),
    ("redhat", 'ID="rocky"\nID_LIKE="rhel centos fedora"'),
    ("redhat", "ID=fedora"),
    ("redhat", 'ID="amzn"\nID_LIKE="fedora"'),
    ("suse", 'ID="opensuse-leap"\nID_LIKE="suse opensuse"'),
    ("suse", 'ID="sles"\nID_LIKE="suse"'),
    ("suse", 'ID="opensuse-microos"'),
    ("alpine", "NAME=Alpine\nID=alpine"),
)


@pytest.mark.parametrize(("family", "text"), DESCRIBED)
def test_a_system_says_of_which_family_it_is(family: str, text: str) -> None:
    assert store_of(text).family == family


def test_aix_and_solaris_say_so_by_uname_whatever_else_they_say() -> None:
    assert store_of(None, system="aix").family == "aix"
    assert store_of("ID=solaris\nPRETTY_NAME='Oracle Solaris 11.4'", system="solaris").family == "solaris"


@pytest.mark.parametrize("text", [None, "", "ID=nixos\nPRETTY_NAME=NixOS", "# ID=debian"])
def test_one_of_no_known_family_is_told_what_would_work(text: str | None) -> None:
    with pytest.raises(TlsError, match=r"of no family .*debian, redhat, suse, alpine.* option store"):
        store_of(text)


# added, and taken out again


def test_an_anchor_is_added_once_and_goes_without_a_trace(system: System, corp: Authority) -> None:
    before = system.state()
    row = {"name": "corp", "pem": corp.root.pem}
    first = trust(system, row)
    assert reasons(first) == ["the system does not trust it"]
    assert first.changes[0].after["subject"] == "corp"
    assert system.state() == before, "planning changes nothing"
    first.settle()
    (file,) = anchors(system)
    assert file.name.startswith("connsec-corp-") and file.name.endswith(STORES[system.family].ending)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert corp.root.pem in bundle(system)
    assert trust(system, row).changes == []
    assert settled(system, {"name": "corp"}, state="absent") == ["it is to be trusted no more"]
    assert system.state() == before
    assert not list((system.root / "etc/ssl/certs").glob("connsec*")), "no link of it is left"


def test_each_certificate_has_a_file_of_its_own(system: System, corp: Authority, next_corp: Issued) -> None:
    settled(system, {"name": "corp", "pem": "# two of them\n" + corp.root.pem + next_corp.pem + corp.root.pem})
    assert len(anchors(system)) == 2
    assert bundle(system).count("BEGIN CERTIFICATE") == 3


def test_a_name_has_exactly_what_is_given_with_it(system: System, corp: Authority, next_corp: Issued) -> None:
    also = corp.root if not STORES[system.family].once else Authority("also", system.root).root
    settled(system, {"name": "corp", "pem": corp.root.pem}, {"name": "other", "pem": also.pem})
    said = settled(system, {"name": "corp", "pem": next_corp.pem})
    assert said == ["the system does not trust it", "corp has other certificates now"]
    assert {file.name.split("-")[1] for file in anchors(system)} == {"corp", "other"}
    assert len(anchors(system)) == 2


def test_others_are_never_touched(system: System, corp: Authority, shipped: Issued) -> None:
    folder = Path(system.place(STORES[system.family].anchors))
    folder.mkdir(parents=True, exist_ok=True)
    ending = STORES[system.family].ending
    others = [
        "admin" + ending,
        "connsec-notes.txt",
        "connsec-corp" + ending,
        "connsec-corp-more-0123456789abcdef" + ending,
    ]
    for name in others:
        (folder / name).write_text(shipped.pem)
    settled(system, {"name": "corp", "pem": corp.root.pem})
    settled(system, {"name": "corp"}, state="absent")
    assert sorted(file.name for file in anchors(system)) == sorted(others)


def test_debian_is_asked_for_fresh_links_after_a_removal_only(debian: System, corp: Authority) -> None:
    debian.calls()
    settled(debian, {"name": "corp", "pem": corp.root.pem})
    assert debian.calls() == [""]
    settled(debian, {"name": "corp"}, state="absent")
    assert debian.calls() == ["--fresh"]


def test_what_others_have_the_system_trust_stays_trusted_and_is_told(system: System, shipped: Issued) -> None:
    row = {"name": "shipped", "pem": shipped.pem}
    if STORES[system.family].once:
        with pytest.raises(TlsError, match="this system takes no certificate twice"):
            trust(system, row)
        return
    assert settled(system, row) == ["only others have the system trust it"]
    found = trust(system, {"name": "shipped"}, state="absent")
    found.settle()
    [(target, path)] = sorted(found.still_trusted.items())
    assert target.startswith("anchor shipped ") and path.endswith("shipped.crt")
    assert anchors(system) == []


def test_what_solaris_has_by_another_file_is_refused_for_it_takes_nothing_twice(
    tmp_path: Path, corp: Authority, shipped: Issued
) -> None:
    solaris = System.make("solaris", tmp_path / "system", shipped=shipped.pem)
    with pytest.raises(TlsError, match=r"anchor shipped \w+ is trusted already by .*/etc/certs/CA/shipped.crt, and"):
        trust(solaris, {"name": "shipped", "pem": shipped.pem})
    row = {"name": "corp", "pem": corp.root.pem}
    with pytest.raises(TlsError, match=r"anchor other \w+ is trusted already by corp, and this system takes no"):
        trust(solaris, row, {**row, "name": "other"})
    settled(solaris, row)
    with pytest.raises(TlsError, match=r"trusted already by .*/connsec-corp-\w+.pem"):
        trust(solaris, {**row, "name": "other"})
    assert [file.name.split("-")[1] for file in anchors(solaris)] == ["corp"]


# drift, and runs that were killed


def test_a_file_that_somebody_changed_is_put_right(system: System, corp: Authority, shipped: Issued) -> None:
    row = {"name": "corp", "pem": corp.root.pem}
    settled(system, row)
    (file,) = anchors(system)
    for spoil, said in (
        (lambda: file.chmod(0o600), "its file is not as we wrote it"),
        (lambda: file.write_text(corp.root.pem + "\n"), "its file is not as we wrote it"),
        (lambda: file.write_text(shipped.pem), "its file holds something else"),
        (file.unlink, "only others have the system trust it"),
    ):
        spoil()
        assert settled(system, row) == [said]
        assert file.read_text() == corp.root.pem
        assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_file_of_our_name_that_holds_something_else_is_not_removed(system: System, corp: Authority, shipped: Issued):
    settled(system, {"name": "corp", "pem": corp.root.pem})
    (file,) = anchors(system)
    file.write_text(shipped.pem)
    with pytest.raises(TlsError, match="not the certificate that we put there"):
        trust(system, {"name": "corp"}, state="absent")
    assert file.read_text() == shipped.pem


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours runs any more."""


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_refresh_that_was_cut_off_is_made_up_for(
    system: System, corp: Authority, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"name": "corp", "pem": corp.root.pem}
    if state == "absent":
        settled(system, row)

    def die(*_unused: t.Any, **_also: t.Any) -> t.NoReturn:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(_system_trust, "run", die)
        with pytest.raises(Killed):
            trust(system, row, state=state).settle()
    system.calls()
    (said,) = settled(system, row, state=state)
    assert said.startswith("it lacks anchor corp" if state == "present" else "a refresh was begun and has not ended")
    assert (corp.root.pem in bundle(system)) is (state == "present")
    store = STORES[system.family]
    assert system.calls() == [" ".join(store.refresh_removed[1:])]


# a refresh that fails


@pytest.mark.parametrize("how", ["fails", "does nothing"])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_refresh_that_does_not_do_it_puts_the_files_back(
    system: System, corp: Authority, next_corp: Issued, how: str, state: str
) -> None:
    settled(system, {"name": "corp", "pem": corp.root.pem})
    before = system.state()
    (system.root / "broken").write_text(how)
    found = trust(system, {"name": "corp", "pem": next_corp.pem}, state=state)
    with pytest.raises(TlsError, match="no space left" if how == "fails" else "all the same; what was there is back"):
        found.settle()
    assert system.state() == before
    (system.root / "broken").unlink()
    said = settled(system, {"name": "corp", "pem": corp.root.pem})
    assert said == (["a refresh was begun and has not ended"] if how == "fails" else [])


def test_a_system_without_the_command_is_told_what_to_install(debian: System, corp: Authority) -> None:
    store = TrustStore(
        "x", str(debian.root / "a"), ".crt", ("no-such-command",), ("no-such-command",), "b", package="ca"
    )
    with pytest.raises(TlsError, match="has no no-such-command; install ca"):
        SystemTrust(store, read_given([], state="present"), directory=str(debian.root / "c"))


# what is refused


def test_only_certificates_of_authorities_are_trusted(corp: Authority) -> None:
    leaf = corp.issue("leaf", "leaf.example")
    for pem, said in (
        ("", "holds no certificate"),
        (corp.root.pem + corp.root.key_pem, "holds a private key"),
        (corp.root.pem.replace("CERTIFICATE", "X509 CRL"), "holds a X509 CRL"),
        (corp.root.pem.replace("MII", "M!I", 1), "not base64"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "cut off|not a certificate|not one"),
        (leaf.pem, "is no authority's certificate"),
    ):
        with pytest.raises(TlsError, match="certificates, corp.*(%s)" % said):
            read_given([{"name": "corp", "pem": pem}], state="present")


@pytest.mark.parametrize("name", ["../x", "Corp", "a b", "", "a/b", "-x"])
def test_a_name_may_stand_in_a_file_name(name: str, corp: Authority) -> None:
    with pytest.raises(TlsError):
        read_given([{"name": name, "pem": corp.root.pem}], state="present")


def test_a_name_is_given_once_and_what_has_ended_is_told_of(tmp_path: Path, corp: Authority) -> None:
    row = {"name": "corp", "pem": corp.root.pem}
    with pytest.raises(TlsError, match="corp twice"):
        read_given([row, row], state="present")
    assert read_given([row], state="present").warnings == ()
    assert "has ended on" in read_given([row], state="present", now=4e9).warnings[0]


def test_nothing_is_written_through_a_link(system: System, corp: Authority, tmp_path: Path) -> None:
    row = {"name": "corp", "pem": corp.root.pem}
    settled(system, row)
    (file,) = anchors(system)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    file.unlink()
    os.symlink(elsewhere, file)
    with pytest.raises(TlsError, match="is a link"):
        trust(system, row)
    assert elsewhere.read_text() == "mine"
