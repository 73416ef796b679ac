# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Material on Windows hosts: by the role in real plays, and case by case; modelled hosts run the module's own text."""

from __future__ import annotations

import ast
import json
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._windows_host import windows_directory
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from . import Failed
from .acls import FILE_RIGHTS, Rule
from .certificates import Opened
from .direct import MODULES, Rig, authority, module, rig
from .machine import opened
from .model import Call
from .plays import Run, play
from .powershell.basic import AnsibleModule, options_in
from .powershell.language import Session
from .powershell.values import Table
from .twin import SERVER_2016, SERVER_2019, SERVER_2022, WindowsTwin

SERVICE: t.Final = "NT SERVICE\\Confserv"
TOP: t.Final = "C:\\ProgramData\\connsec"
BASE: t.Final = TOP + "\\confserv"
OWNERS: t.Final = {"NT AUTHORITY\\SYSTEM", "BUILTIN\\Administrators"}
PASSPHRASE: t.Final = "a passphrase of a test's store"


@pytest.fixture
def one(tmp_path: Path) -> Rig:
    """One host with Windows Server 2019 and a service."""
    made = rig(tmp_path)
    made.twin.add_service("Confserv", username=SERVICE)
    return made


@dataclass(frozen=True)
class Site:
    """A twin, and the store on the controller that its material comes from."""

    twin: WindowsTwin
    folder: Path

    def role(self, *arguments: str, state: str = "present", **row: t.Any) -> Run:
        """Run the role for one service."""
        given = {"name": "confserv", "names": ["win1.example.com"], "account": SERVICE, "formats": ["store"], **row}
        return self.rows([given], *arguments, tls_material_state=state)

    def rows(self, rows: list[dict[str, t.Any]], *arguments: str, **variables: t.Any) -> Run:
        """Run the role with several services."""
        given = {"tls_material": rows, **self.variables, **variables}
        task = {"ansible.builtin.include_role": {"name": "connsec.tls.material"}, "vars": given}
        return play([self.twin], [task], *arguments)

    def module(self, *arguments: str, **given: t.Any) -> Run:
        """Run the module alone, on what the role has issued."""
        row = {"name": "confserv@win1", "folder": "confserv", "account": SERVICE, "trust": ["connsec"]}
        return play(
            [self.twin], [{"connsec.tls.material": {"instances": [row], **given}, "vars": self.variables}], *arguments
        )

    @property
    def variables(self) -> dict[str, t.Any]:
        return {"tls_store": str(self.folder / "store"), "tls_store_passphrase": PASSPHRASE}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """One host with Windows Server 2019 and a service, for plays."""
    twin = WindowsTwin.made(tmp_path / "win1")
    twin.add_service("Confserv", username=SERVICE)
    return Site(twin, tmp_path)


def installed(run: Run) -> dict[str, t.Any]:
    """Return what the task said that installs."""
    return next(result for result in run.results() if "generations" in result)


def entries(twin: WindowsTwin) -> dict[str, set[str]]:
    """Return what lies in the stores, by thumbprint."""
    return {store: set(twin.certificates(store)) for store in ("My", "CA", "Root")}


# ------------------------------------------------ plays


def test_the_role_brings_key_chain_and_root_into_their_stores_in_four_beats(site: Site) -> None:
    twin, before = site.twin, site.twin.snapshot()
    trial = site.role("--check", "--diff")
    assert trial.code == 0 and installed(trial)["changed"] and twin.snapshot() == before, trial.text
    run = site.role()
    assert run.code == 0, run.text
    after = twin.snapshot()
    for arguments in (["--check"], []):
        again = site.role(*arguments)
        assert again.code == 0 and not any(again.changed), again.text
    assert twin.snapshot() == after and twin.violations == [] and twin.refusals == []
    (leaf,), (issuing,), (root,) = (list(twin.certificates(store).values()) for store in ("My", "CA", "Root"))
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    (thumbprint,) = twin.certificates("My")
    assert twin.key_readers(thumbprint) == {SERVICE, *OWNERS} and not twin.key_exportable(thumbprint)
    assert installed(run)["thumbprints"] == {"confserv": {"": thumbprint}}
    assert installed(run)["ansible_facts"] == {"tls_thumbprints": {"confserv": {"": thumbprint}}}


def test_a_host_costs_two_round_trips_when_it_is_filled_and_one_when_nothing_is_due(site: Site) -> None:
    names = ["service%d" % number for number in range(6)]
    rows = [{"name": each, "names": [each + ".example.com"], "formats": ["store", "java", "pkcs12"]} for each in names]
    assert site.rows(rows).code == 0
    assert site.twin.trips == 2 and len(site.twin.certificates("My")) == 6
    assert site.rows(rows).code == 0
    assert site.twin.trips == 3


def test_no_key_and_no_password_is_in_an_output_or_stays_in_a_file(site: Site) -> None:
    twin = site.twin
    run = site.role("-vvvvv", "--diff", key_type="rsa-2048")
    assert run.code == 0, run.text
    (thumbprint,) = twin.certificates("My")
    key = twin.private_key(thumbprint)
    assert key is not None
    raw = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    said = run.text + json.dumps(run.rows)
    assert "PRIVATE KEY" not in said and '"action": "pfx"' not in said
    assert twin.files_with(raw) == [] and twin.files_with(b"PRIVATE KEY") == []
    assert not [trip for trip in twin.log if trip.kind != "module"], "nothing was sent as a file"


def test_going_back_and_removal_are_what_they_are_elsewhere(site: Site) -> None:
    twin, before = site.twin, site.twin.snapshot()
    first = installed(site.role(formats=["store", "java", "pkcs12"]))["thumbprints"]
    (site.folder / "store/identities/confserv@win1.pem").unlink()
    assert installed(site.role(formats=["store", "java", "pkcs12"]))["thumbprints"] != first
    back = site.module(state="previous")
    assert back.code == 0 and installed(back)["thumbprints"] == first, back.text
    gone = site.role(state="absent")
    assert gone.code == 0, gone.text
    assert {**twin.snapshot()["files"], **before["files"]} == {**before["files"], "drives/C/ProgramData/connsec": None}
    assert entries(twin) == {"My": set(), "CA": set(), "Root": set()} and twin.orphaned_keys == 0


def test_an_older_windows_gets_the_old_form_and_a_line_says_so(tmp_path: Path) -> None:
    twin = WindowsTwin.made(tmp_path / "win1", build=SERVER_2016)
    run = Site(twin, tmp_path).role(account="LocalSystem")
    assert run.code == 0 and len(twin.certificates("My")) == 1, run.text
    assert "build 14393, is older than Server 2019 and reads no other" in " ".join(run.text.split())


def test_what_its_windows_does_not_read_or_its_host_does_not_know_is_one_sentence(tmp_path: Path) -> None:
    twin = WindowsTwin.made(tmp_path / "win1", build=SERVER_2016)
    twin.add_service("Confserv", username=SERVICE)
    rows = [
        {"name": name, "names": [name + ".example.com"], "formats": ["store"], "account": account}
        for name, account in (("good", SERVICE), ("bad", "NT SERVICE\\Nobody"))
    ]
    run = Site(twin, tmp_path).rows(rows, tls_windows_pfx="aes256")
    assert run.code == 2
    assert installed(run)["failures"] == {
        "bad@win1": "this host knows no account NT SERVICE\\Nobody;"
        " name one that is there, such as NT SERVICE\\<service>",
        "good@win1": "The specified network password is not correct.",
    }
    assert entries(twin)["My"] == set() and twin.orphaned_keys == 0


def test_a_host_that_is_lost_before_it_is_filled_goes_on_with_the_next_run(site: Site) -> None:
    site.twin.lose(after=1)
    assert site.role().code == 4
    site.twin.find()
    run = site.role()
    assert run.code == 0 and installed(run)["generations"] == {"confserv@win1": "000001"}, run.text


def test_the_format_of_windows_is_refused_elsewhere(tmp_path: Path) -> None:
    row = {"name": "a@localhost", "folder": "a", "formats": ["store"]}
    task = {
        "connsec.tls.material": {"instances": [row]},
        "vars": {**Site(WindowsTwin(tmp_path), tmp_path).variables, "ansible_connection": "local"},
        "delegate_to": "localhost",
    }
    run = play([WindowsTwin.made(tmp_path / "win1")], [task])
    assert run.code == 2 and "reads the format store, which is that of Windows" in run.text


# ------------------------------------------------ what is installed


@pytest.mark.parametrize("provider", ["csp", "cng"])
def test_only_the_account_and_administrators_may_use_a_key_of_any_provider(
    tmp_path: Path, provider: t.Literal["csp", "cng"]
) -> None:
    one = rig(tmp_path, provider=provider)
    one.twin.add_service("Confserv", username=SERVICE)
    assert one.install(one.row(account=SERVICE)).result["failures"] == {}
    (thumbprint,) = one.twin.certificates("My")
    key = one.twin.private_key(thumbprint)
    assert key is not None and thumbprint == one.leaf().thumbprint
    raw = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.public_key().public_bytes(*raw) == one.leaf().key.public_key().public_bytes(*raw)
    assert one.twin.key_readers(thumbprint) == {SERVICE, *OWNERS} and not one.twin.key_exportable(thumbprint)
    one.renew()
    one.install(one.row(account=SERVICE))
    one.install(one.row(), state="absent")
    assert one.twin.machine().stores.containers() == [], "keys leave with their certificates"


@pytest.mark.parametrize("account", ["LocalSystem", "NT AUTHORITY\\SYSTEM", None])
def test_the_system_needs_no_right_of_its_own(one: Rig, account: str | None) -> None:
    assert one.install(one.row(account=account, formats=["store", "pem"])).result["failures"] == {}
    assert one.twin.key_readers(one.leaf().thumbprint) == OWNERS
    assert one.twin.readers(BASE + "\\current\\key.pem") == OWNERS
    assert one.install(one.row(account=account, formats=["store", "pem"])).changes == []


@pytest.mark.parametrize(
    ("account", "name"), [("NetworkService", "NETWORK SERVICE"), ("localservice", "LOCAL SERVICE")]
)
def test_accounts_have_the_names_of_the_service_manager_as_well(one: Rig, account: str, name: str) -> None:
    one.install(one.row(account=account))
    assert one.twin.key_readers(one.leaf().thumbprint) == {"NT AUTHORITY\\" + name, *OWNERS}


def test_what_reads_files_has_them_in_a_folder_that_inherits_nothing(one: Rig) -> None:
    one.install(one.row(account=SERVICE, formats=["pem"]))
    for name in ("key.pem", "trust.pem", "fullchain.pem", "manifest.json"):
        assert one.twin.readers("%s\\current\\%s" % (BASE, name)) == {SERVICE, *OWNERS}, name
    assert one.twin.readers(TOP) == OWNERS
    assert entries(one.twin) == {"My": set(), "CA": set(), "Root": set()}, "nothing reads the stores"


def test_no_key_lies_in_a_file_where_the_stores_alone_are_read(one: Rig) -> None:
    one.install()
    assert one.twin.read(BASE + "\\current\\key.pem") is None
    assert one.twin.read(BASE + "\\current\\fullchain.pem") is not None
    assert one.twin.files_with(b"PRIVATE KEY") == []
    change = one.install(one.row(formats=["store", "pem"])).changes
    assert [each.reason for each in change] == ["the formats are others"]
    assert one.twin.read(BASE + "\\current\\key.pem") is not None


@pytest.mark.parametrize("build", [SERVER_2016, SERVER_2019, SERVER_2022])
def test_a_pfx_can_be_read_by_every_windows(tmp_path: Path, build: int) -> None:
    one = rig(tmp_path, build=build)
    found = one.install().result
    assert found["failures"] == {} and len(one.twin.certificates("My")) == 1
    assert bool(found["warnings"]) is (build == SERVER_2016)


# ------------------------------------------------ renewal, and what leaves


def test_a_renewed_certificate_stands_beside_the_old_one_until_nothing_names_it(one: Rig) -> None:
    one.install()
    seen = [one.leaf().thumbprint]
    for _renewal in range(4):
        one.renew()
        assert one.install().result["failures"] == {}
        seen.append(one.leaf().thumbprint)
        assert set(seen[-2:]) <= set(one.twin.certificates("My"))
    assert set(one.twin.certificates("My")) == set(seen[-3:]), "the current one, and the two before"
    assert len(one.twin.certificates("Root")) == 1 and one.twin.orphaned_keys == 0
    assert len(one.twin.machine().stores.containers()) == 3


def test_going_back_is_one_junction_and_a_second_call_goes_no_further(one: Rig) -> None:
    one.install()
    first = one.leaf().thumbprint
    one.renew()
    one.install()
    row = {"name": "confserv@win1", "folder": "confserv", "account": None}
    back = one.install(row, state="previous")
    assert back.result["generations"] == {"confserv@win1": "000001"}
    assert back.result["thumbprints"] == {"confserv": {"": first}}
    assert one.install(row, state="previous").changes == []
    other = one.install({"name": "other@win1", "folder": "other"}, state="previous").result
    assert other["failures"] == {"other@win1": "other@win1 has no earlier generation to go back to"}


def test_nobody_goes_back_to_what_is_revoked_or_spoilt(one: Rig) -> None:
    one.install(one.row(public={"": {"serial": "0A"}}))
    one.renew()
    one.install()
    row = {"name": "confserv@win1", "folder": "confserv", "account": None, "revoked": ["0A"]}
    said = one.install(row, state="previous").result["failures"]["confserv@win1"]
    assert said == "generation 000001 of confserv@win1 is revoked; install anew instead"
    with opened(one.twin.folder) as machine:
        machine.remove(BASE + "\\generations\\000001\\trust.pem")
    said = one.install({**row, "revoked": []}, state="previous").result["failures"]["confserv@win1"]
    assert said == "generation 000001 of confserv@win1 is not as it was: trust.pem is missing"


def test_a_root_that_was_there_before_or_that_another_service_needs_stays(one: Rig) -> None:
    rows = [one.row("one"), one.row("two")]
    root, issuing = (each.thumbprint for each in authority())
    one.install(*rows)
    one.install(rows[0], state="absent")
    assert entries(one.twin) == {"My": {one.leaf("two").thumbprint}, "CA": {issuing}, "Root": {root}}
    one.install(rows[1], state="absent")
    assert entries(one.twin) == {"My": set(), "CA": set(), "Root": set()}
    with opened(one.twin.folder) as machine:
        machine.stores.add("LocalMachine", "Root", Opened(authority()[0].certificate), None)
    one.install(*rows)
    one.install(*rows, state="absent")
    assert entries(one.twin) == {"My": set(), "CA": set(), "Root": {root}}, "it was not ours"


def test_a_service_that_is_gone_does_not_keep_its_material(one: Rig) -> None:
    one.install(one.row(account=SERVICE))
    with opened(one.twin.folder) as machine:
        machine.services.remove("Confserv")
    gone = one.install({"name": "confserv@win1", "folder": "confserv", "account": SERVICE}, state="absent")
    assert gone.result["failures"] == {} and entries(one.twin) == {"My": set(), "CA": set(), "Root": set()}


def test_a_run_that_was_killed_leaves_nothing_that_the_next_one_does_not_take_away(one: Rig) -> None:
    """Each order is the last that is carried out once."""
    root, issuing = authority()
    counted = len(_orders(one))
    for last in range(1, counted):
        twin = WindowsTwin.made(one.twin.folder.parent / ("killed%d" % last))
        killed = Rig(twin, _leaves={"confserv": one.leaf()})
        orders = _orders(killed)
        module(twin, "win_material", {"directory": TOP, "orders": orders[:last]})
        killed.renew()
        assert killed.install().result["failures"] == {}, last
        assert killed.install().changes == [], last
        wanted = {killed.leaf().thumbprint} | ({one.leaf().thumbprint} if last == counted - 1 else set())
        assert entries(twin)["My"] <= wanted | {one.leaf().thumbprint}, last
        killed.install(killed.row(), state="absent")
        assert entries(twin) == {"My": set(), "CA": set(), "Root": set()} and twin.orphaned_keys == 0, last
    assert (root, issuing) == authority()


def _orders(of: Rig) -> list[dict[str, t.Any]]:
    """Return the orders that fill a host, without carrying them out."""
    seen: list[list[dict[str, t.Any]]] = []

    class Watched(Rig):
        def _call(self, *, accounts: list[str], orders: list[dict[str, t.Any]], check: bool) -> dict[str, t.Any]:
            seen.append(orders)
            return super()._call(accounts=accounts, orders=[], check=check)

    Watched(of.twin, _leaves={"confserv": of.leaf()}).install()
    return seen[-1]


# ------------------------------------------------ drift


def _file_opened(twin: WindowsTwin) -> None:
    with opened(twin.folder) as machine:
        path = machine.disk.final(BASE + "\\current\\trust.pem")
        machine.set_rules(path, [Rule("S-1-5-32-545", "allow", FILE_RIGHTS["read"])])


def _folder_opened(twin: WindowsTwin) -> None:
    with opened(twin.folder) as machine:
        everybody = Rule("S-1-1-0", "allow", FILE_RIGHTS["read"], objects=True)
        machine.set_rules(BASE, [*machine.explicit_rules(BASE), everybody])


def _key_opened(twin: WindowsTwin) -> None:
    with opened(twin.folder) as machine:
        (container,) = machine.stores.containers()
        users = Rule("S-1-5-32-545", "allow", 0x80120089)
        machine.stores.set_rules(container, [*machine.stores.rules(container), users])


def _file_changed(twin: WindowsTwin) -> None:
    with opened(twin.folder) as machine:
        machine.disk.write(machine.disk.final(BASE + "\\current\\trust.pem"), b"another")


def _root_removed(twin: WindowsTwin) -> None:
    with opened(twin.folder) as machine:
        (root,) = machine.stores.thumbprints("LocalMachine", "Root")
        machine.stores.remove("LocalMachine", "Root", root)


def _key_lost(twin: WindowsTwin) -> None:
    with opened(twin.folder) as machine:
        (container,) = machine.stores.containers()
        machine.stores.drop(container)


def _manifest_lost(twin: WindowsTwin) -> None:
    with opened(twin.folder) as machine:
        machine.remove(machine.disk.final(BASE + "\\current\\manifest.json"))


def _junction_lost(twin: WindowsTwin) -> None:
    with opened(twin.folder) as machine:
        machine.disk.unlink(BASE + "\\current")


@pytest.mark.parametrize(
    ("spoil", "generation", "reason"),
    [
        (_file_opened, "000001", "the access rules of trust.pem are not as planned"),
        (_folder_opened, "000001", "the access rules of certificate.pem are not as planned"),
        (_key_opened, "000001", "who may use the key of LocalMachine\\My\\"),
        (_file_changed, "000002", "trust.pem differs from what was installed"),
        (_root_removed, "000002", "certificate LocalMachine\\Root\\"),
        (_key_lost, "000002", "the private key of LocalMachine\\My\\"),
        (_manifest_lost, "000002", "manifest.json is missing or damaged"),
        (_junction_lost, "000002", "no generation is installed"),
    ],
)
def test_what_somebody_changed_is_named_and_put_right(
    one: Rig, spoil: t.Callable[[WindowsTwin], None], generation: str, reason: str
) -> None:
    row = one.row(account=SERVICE)
    one.install(row)
    spoil(one.twin)
    before = one.twin.snapshot()
    (change,) = one.install(row, check=True).changes
    assert change.reason.startswith(reason) and one.twin.snapshot() == before
    assert one.install(row).result["generations"] == {"confserv@win1": generation}
    assert one.twin.key_readers(one.leaf().thumbprint) == {SERVICE, *OWNERS}
    assert one.twin.readers(BASE + "\\current\\trust.pem") == {SERVICE, *OWNERS}
    assert len(one.twin.certificates("Root")) == 1
    assert one.install(row).changes == []


def test_another_account_gets_its_rights_and_the_one_before_loses_them(one: Rig) -> None:
    one.twin.add_service("Router", username="NT SERVICE\\Router")
    one.install(one.row(account=SERVICE, formats=["store", "pem"]))
    done = one.install(one.row(account="NT SERVICE\\Router", formats=["store", "pem"]))
    assert done.result["generations"] == {"confserv@win1": "000001"}, "nothing has to be written again"
    assert one.twin.key_readers(one.leaf().thumbprint) == {"NT SERVICE\\Router", *OWNERS}
    assert one.twin.readers(BASE + "\\current\\key.pem") == {"NT SERVICE\\Router", *OWNERS}


# ------------------------------------------------ what is refused


def test_a_folder_that_somebody_else_made_before_us_is_refused(one: Rig) -> None:
    with opened(one.twin.folder) as machine:
        machine.disk.make_folder(TOP)
        machine.state["rules"][TOP.lower()] = {"rules": [], "protected": False, "owner": "S-1-5-32-545"}
    with pytest.raises(TlsError, match="belongs to an account that is no administrator"):
        one.install()
    assert one.twin.certificates("My") == {}


def test_a_folder_that_is_a_link_is_refused(one: Rig) -> None:
    with opened(one.twin.folder) as machine:
        machine.disk.make_folder("C:\\Elsewhere")
        machine.disk.link(TOP, "C:\\Elsewhere")
    with pytest.raises(TlsError, match="is a link; let it be a folder"):
        one.install()


def test_a_junction_that_leads_elsewhere_is_refused(one: Rig) -> None:
    one.install()
    with opened(one.twin.folder) as machine:
        machine.disk.unlink(BASE + "\\current")
        machine.disk.link(BASE + "\\current", "C:\\Windows")
    with pytest.raises(TlsError, match="is no junction to a generation of ours"):
        one.install()


@pytest.mark.parametrize("path", ["C:\\Windows\\System32", TOP + "\\..\\other", TOP + "2\\x"])
def test_an_order_outside_the_folder_is_refused_on_the_host(one: Rig, path: str) -> None:
    with opened(one.twin.folder) as machine:
        machine.disk.make_folder("C:\\ProgramData\\other")
    order = {"instance": "x@y", "action": "remove", "path": path}
    found = module(one.twin, "win_material", {"directory": TOP, "orders": [order]})
    assert found["failures"] == {"x@y": "%s does not lie in %s" % (path, TOP)}
    assert one.twin.machine().disk.is_folder("C:\\ProgramData\\other")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"born": {"": {"identity": "confserv@win1"}}}, "keys that are born on their host are not built for Windows"),
        ({"environment": {"target": "unit"}}, "environments of processes are not built for Windows"),
    ],
)
def test_what_is_not_built_is_one_sentence(one: Rig, asked: dict[str, t.Any], sentence: str) -> None:
    done = one.install(one.row(**asked))
    assert done.result["failures"]["confserv@win1"].startswith(sentence) and done.changes == []


@pytest.mark.parametrize("folder", ["a b", "..", "a\\b", ""])
def test_a_folder_is_a_single_name(one: Rig, folder: str) -> None:
    done = one.install(one.row(folder=folder))
    assert "it is a single name such as router" in done.result["failures"]["confserv@win1"]


@pytest.mark.parametrize("directory", ["/srv/tls", "C:\\", "connsec", "C:\\a\\..\\b", "\\\\server\\share"])
def test_a_directory_that_is_no_folder_on_a_drive_is_refused(directory: str) -> None:
    with pytest.raises(TlsError, match="on Windows it is a folder on a drive such as"):
        windows_directory(directory, default="/etc/connsec")


def test_the_default_of_other_systems_stands_for_that_of_windows() -> None:
    assert windows_directory("/etc/connsec", default="/etc/connsec") == TOP
    assert windows_directory("D:\\tls\\", default="/etc/connsec") == "D:\\tls"


def test_a_full_disk_leaves_the_generation_before_in_place(one: Rig) -> None:
    one.install()
    first = one.leaf().thumbprint
    one.twin.fill_disk()
    one.renew()
    done = one.install().result
    assert done["failures"] == {"confserv@win1": "There is not enough space on the disk."}
    assert done["generations"] == {"confserv@win1": "000001"} and first in one.twin.certificates("My")
    one.twin.fill_disk(full=False)
    assert one.install().result["failures"] == {} and one.install().changes == []


# ------------------------------------------------ the module's text


@pytest.mark.parametrize("name", ["win_material", "win_observe", "win_step", "win_variables"])
def test_a_module_documents_the_options_that_it_takes(name: str) -> None:
    documented = yaml.safe_load(_documentation(MODULES / ("%s.py" % name)))["options"]
    assert spec_of(MODULES / ("%s.ps1" % name)) == bare(documented)


def test_a_module_that_the_twin_cannot_run_is_refused_and_says_where(one: Rig) -> None:
    from . import Refused, powershell

    def run(text: str) -> None:
        powershell.run(text.encode(), one.twin.machine(), Call({}, {}, check=False, diff=False))

    with pytest.raises(Refused, match="knows no command Get-Process"):
        run("Get-Process -Name x")
    with pytest.raises(Refused, match="would not read line 2"):
        run("$a = 1\nif ($a {")
    with pytest.raises(Refused, match=r"models no Copy of \[System.IO.File\]"):
        run("[System.IO.File]::Copy('a', 'b')")
    with pytest.raises(Failed, match="has not been set"):
        run("$a = $b")


def spec_of(path: Path) -> dict[str, t.Any]:
    """Return the argument spec in a module's own text, by running it until it makes its module."""
    found: list[Table] = []

    class Spy(Session):
        def _invoked(self, place: t.Any, member: str, arguments: list[t.Any], *, static: bool) -> t.Any:
            if place is AnsibleModule:
                found.append(arguments[1])
                raise StopIteration
            return super()._invoked(place, member, arguments, static=static)

    with pytest.raises(StopIteration):
        Spy(t.cast(t.Any, None), Call({}, {}, check=False, diff=False)).run(path.read_bytes())
    return options_in(found[0])


def bare(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        name: {key: bare(value) if key == "suboptions" else value for key, value in row.items() if key != "description"}
        for name, row in options.items()
    }


def _documentation(path: Path) -> str:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id == "DOCUMENTATION":
            return str(ast.literal_eval(node.value))
    raise AssertionError("%s documents nothing" % path)
