# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL Server's TLS settings on a twin: shown, set, renewed and put back."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible_collections.connsec.tls.plugins.module_utils._core._mssql import read_instance

from . import Failed
from .certificates import Opened
from .direct import MODULES, authority, module
from .documentation import assigned
from .machine import opened
from .material import issued
from .plays import play
from .registry import Value
from .test_material import bare, spec_of
from .twin import WindowsTwin

BASE: t.Final = "HKLM:\\SOFTWARE\\Microsoft\\Microsoft SQL Server"
PLACE: t.Final = BASE + "\\%s\\MSSQLServer\\SuperSocketNetLib"


@pytest.fixture
def host(twin: WindowsTwin) -> WindowsTwin:
    """A host with the default instance as it is installed, and one in a cluster that has no value of either."""
    with opened(twin.folder) as machine:
        registry = machine.registry
        for name, identifier in (("MSSQLSERVER", "MSSQL15.MSSQLSERVER"), ("PAY", "MSSQL16.PAY")):
            registry.set(BASE + "\\Instance Names\\SQL", Value(name, "string", identifier))
            registry.make(PLACE % identifier)
        registry.set(PLACE % "MSSQL15.MSSQLSERVER", Value("Certificate", "string", ""))
        registry.set(PLACE % "MSSQL15.MSSQLSERVER", Value("ForceEncryption", "dword", 0))
        registry.set(BASE + "\\MSSQL16.PAY\\Cluster", Value("ClusterName", "string", "SQLV"))
    twin.add_service("MSSQL$PAY", username="EXAMPLE\\sql$")
    return twin


def has(twin: WindowsTwin, *, key: bool = True) -> str:
    """Put a certificate into the machine's store; return its thumbprint."""
    pair = issued("sql1", authority()[1])
    with opened(twin.folder) as machine:
        kept = machine.stores.persist(pair.key, scope="machine", exportable=False) if key else None
        machine.stores.add("LocalMachine", "My", Opened(pair.certificate), kept)
    return pair.thumbprint


def sets(twin: WindowsTwin, *rows: dict[str, t.Any], check: bool = False) -> dict[str, t.Any]:
    """Set instances."""
    return module(twin, "win_mssql_tls", {"instances": list(rows)}, check=check)


def test_the_module_documents_the_options_that_it_takes() -> None:
    documented = yaml.safe_load(assigned(MODULES / "win_mssql_tls.py", "DOCUMENTATION"))["options"]
    assert spec_of(MODULES / "win_mssql_tls.ps1") == bare(documented)


def test_instances_are_shown_and_nothing_changes(host: WindowsTwin) -> None:
    before = host.snapshot()
    found = sets(host)
    assert found["changed"] is False and found["before"] == [] and found["restart"] == [] and host.snapshot() == before
    assert found["instances"]["PAY"] == {
        "id": "MSSQL16.PAY",
        "thumbprint": None,
        "force_encryption": None,
        "cluster": "SQLV",
        "service": "MSSQL$PAY",
        "account": "EXAMPLE\\sql$",
    }
    assert read_instance("PAY", found["instances"]["PAY"]).cluster == "SQLV"


@pytest.mark.parametrize(("name", "service"), [("MSSQLSERVER", "MSSQLSERVER"), ("PAY", "MSSQL$PAY")])
def test_an_instance_goes_from_plain_to_enforced_and_back_exactly(host: WindowsTwin, name: str, service: str) -> None:
    thumbprint = has(host)
    before = host.snapshot()
    served = {"name": name, "thumbprint": thumbprint, "force_encryption": False}
    assert sets(host, served, check=True)["changed"] is True and host.snapshot() == before
    first = sets(host, served)
    assert first["restart"] == [service] and first["instances"][name]["thumbprint"] == thumbprint.lower()
    assert sets(host, served)["changed"] is False
    second = sets(host, {"name": name, "force_encryption": True})
    assert second["instances"][name]["force_encryption"] == 1
    assert second["instances"][name]["thumbprint"] == thumbprint.lower()
    sets(host, *second["before"])
    back = sets(host, *first["before"])
    assert back["restart"] == [service] and host.snapshot() == before
    assert sets(host, *first["before"])["changed"] is False


def test_a_renewed_certificate_takes_the_place_of_the_old_one(host: WindowsTwin) -> None:
    old, new = has(host), has(host)
    sets(host, {"name": "PAY", "thumbprint": old})
    renewed = sets(host, {"name": "PAY", "thumbprint": new})
    assert [row["thumbprint"] for row in renewed["before"]] == [old.lower()]
    with opened(host.folder) as machine:
        machine.stores.remove("LocalMachine", "My", old)
    assert sets(host, {"name": "PAY", "thumbprint": new})["changed"] is False


def test_what_cannot_be_set_changes_nothing(host: WindowsTwin) -> None:
    good, keyless = {"name": "PAY", "thumbprint": has(host)}, has(host, key=False)
    before = host.snapshot()
    with pytest.raises(Failed, match="with a private key in LocalMachine"):
        sets(host, good, {"name": "MSSQLSERVER", "thumbprint": keyless})
    with pytest.raises(Failed, match="there is no instance ELSE of SQL Server"):
        sets(host, good, {"name": "ELSE"})
    assert host.snapshot() == before


def test_a_play_costs_one_round_trip(host: WindowsTwin) -> None:
    task = {"connsec.tls.win_mssql_tls": {"instances": [{"name": "PAY", "thumbprint": has(host)}]}}
    assert play([host], [task], "--check").changed == [True] and host.violations == []
    run = play([host], [task, task])
    assert run.code == 0 and run.changed == [True, False] and host.trips == 3 and host.refusals == [], run.text
