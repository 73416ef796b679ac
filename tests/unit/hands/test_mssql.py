# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates SQL Server can serve with, in a table."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._mssql import (
    SERVER_AUTH,
    Certificate,
    Instance,
    InstanceUnknown,
    dialled,
    read_instance,
    unfit,
)

NAME = "sql1.example.net"
FITS = Certificate("rsa", NAME, (NAME,), frozenset([SERVER_AUTH]), encipherment=True)
OF_2017, OF_2022 = Instance("MSSQLSERVER", 14), Instance("MSSQLSERVER", 16)
CLUSTERED = Instance("PAY", 16, cluster="SQLV")


@pytest.mark.parametrize(
    ("changed", "instance", "says"),
    [
        ({}, OF_2022, None),
        ({}, OF_2017, None),
        ({"encipherment": None}, OF_2022, None),
        ({"common_name": "SQL1.example.NET", "names": ()}, OF_2017, None),
        ({"common_name": "else"}, OF_2022, None),
        ({"common_name": "else"}, OF_2017, "older than 2019 and looks at the common name alone, which is else"),
        ({"common_name": ""}, OF_2017, "which is empty and not sql1.example.net"),
        ({"common_name": "", "names": ("a.net",)}, OF_2022, "needs sql1.example.net as common name"),
        ({"common_name": "", "names": ("*.example.net",)}, OF_2022, "needs sql1.example.net as common name"),
        ({"common_name": "", "names": ("a.net",)}, CLUSTERED, "on every node of its cluster"),
        ({"key": "ecdsa"}, OF_2022, "needs an RSA key, and this one is ECDSA"),
        ({"encipherment": False}, OF_2022, "does not allow keyEncipherment"),
        ({"usages": None}, OF_2022, "extendedKeyUsage with server authentication"),
        ({"usages": frozenset(["1.3.6.1.5.5.7.3.2"])}, OF_2022, "extendedKeyUsage with server authentication"),
    ],
)
def test_what_sql_server_would_pass_over_is_said(
    changed: dict[str, t.Any], instance: Instance, says: str | None
) -> None:
    found = unfit(replace(FITS, **changed), instance, NAME)
    assert found is None if says is None else says in str(found)


@pytest.mark.parametrize(
    ("instance", "host", "domain", "expected"),
    [
        (OF_2022, "SQL1", "example.net", "sql1.example.net"),
        (OF_2022, "sql1.example.net", "example.net", "sql1.example.net"),
        (OF_2022, "SQL1", "", "sql1"),
        (CLUSTERED, "NODE1", "example.net", "sqlv.example.net"),
    ],
)
def test_the_name_of_a_cluster_goes_before_that_of_its_node(
    instance: Instance, host: str, domain: str, expected: str
) -> None:
    assert dialled(instance, host, domain) == expected


def test_an_instance_has_its_version_in_its_identifier() -> None:
    assert read_instance("PAY", {"id": "MSSQL16.PAY", "cluster": "SQLV"}) == CLUSTERED
    assert read_instance("OLD", {"id": "MSSQL10_50.OLD", "cluster": None}).version == 10
    with pytest.raises(InstanceUnknown, match="identifier 'else'"):
        read_instance("PAY", {"id": "else", "cluster": None})
