# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of a Windows host and of its services: set, merged, told apart from others', and taken out exactly."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError

from .looks import variables
from .machine import opened
from .plays import play
from .registry import MACHINE_ENVIRONMENT, Value
from .twin import WindowsTwin

TRUST: t.Final = {"SSL_CERT_FILE": "C:\\ProgramData\\connsec\\a\\current\\trust.pem"}


def _row(name: str = "a@win1", target: str = "machine", **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "target": target, "variables": TRUST, **more}


def _service(name: str = "a@win1", **more: t.Any) -> dict[str, t.Any]:
    return _row(name, "service", unit="Confserv", **more)


def _lines(twin: WindowsTwin) -> list[str] | None:
    machine = twin.machine()
    found = machine.registry.value(machine.services.key("Confserv"), "Environment")
    return None if found is None else list(found.data)


def _state(twin: WindowsTwin) -> t.Any:
    return twin.snapshot()["state"]["registry"]


def test_a_play_sets_variables_in_two_round_trips_and_finds_nothing_to_do_in_one(twin: WindowsTwin) -> None:
    twin.add_service("Confserv", state="running")
    before = _state(twin)
    task = {"connsec.tls.tls_environment": {"instances": [_service(process={"service": "Confserv"})]}}
    checked = play([twin], [task], "--check")
    assert checked.code == 0, checked.text
    assert checked.changed == [True] and twin.trips == 1 and twin.violations == [] and _state(twin) == before
    first = play([twin], [task])
    (result,) = first.results()
    assert twin.trips == 3 and first.changed == [True] and twin.refusals == []
    assert result["reasons"] == {"environment a@win1": "SSL_CERT_FILE is not set"}
    assert result["reasons"] == checked.results()[0]["reasons"]
    assert result["paths"]["a@win1"].endswith("\\Services\\Confserv\\Environment")
    assert result["running"]["a@win1"]["missing"] == ["SSL_CERT_FILE"]
    assert _lines(twin) == ["SSL_CERT_FILE=" + TRUST["SSL_CERT_FILE"]]
    second = play([twin], [task])
    assert twin.trips == 4 and second.changed == [False]
    absent = {"connsec.tls.tls_environment": {"instances": [_service(state="absent")]}}
    assert play([twin], [absent]).changed == [True]
    assert _state(twin) == before and twin.violations == []


def test_a_service_that_was_started_since_has_its_variables_and_nobody_restarts_it(twin: WindowsTwin) -> None:
    twin.add_service("Confserv", state="running")
    row = _service(process={"service": "Confserv"})
    assert variables(twin, row).result["running"]["a@win1"]["missing"] == ["SSL_CERT_FILE"]
    assert twin.service("Confserv")["starts"] == 1
    time.sleep(0.01)
    twin.stop("Confserv")
    twin.start("Confserv")
    done = variables(twin, row)
    assert done.result["running"]["a@win1"]["missing"] == [] and not done.result["changed"]
    assert twin.environment("Confserv")["SSL_CERT_FILE"] == TRUST["SSL_CERT_FILE"]


def test_what_the_machine_had_comes_back_in_its_kind(twin: WindowsTwin) -> None:
    with opened(twin.folder) as machine:
        machine.registry.set(MACHINE_ENVIRONMENT, Value("Ssl_Cert_File", "expandstring", "%ProgramData%\\own.pem"))
    before = _state(twin)
    done = variables(twin, _row())
    assert done.changes[0].reason.startswith("SSL_CERT_FILE is %ProgramData%\\own.pem, planned C:")
    assert twin.environment()["Ssl_Cert_File"] == TRUST["SSL_CERT_FILE"]
    variables(twin, _row(state="absent"))
    assert _state(twin) == before


def test_a_list_keeps_what_others_have_in_it_and_what_they_add(twin: WindowsTwin) -> None:
    before = _state(twin)
    row = _row(variables={}, libraries=["loader"], paths={"libraries": "C:\\own\\lib"})
    variables(twin, row)
    had = "%SystemRoot%\\system32;%SystemRoot%"
    assert twin.environment()["Path"] == "C:\\own\\lib;" + had
    assert not variables(twin, row).changes
    with opened(twin.folder) as machine:
        machine.registry.set(MACHINE_ENVIRONMENT, Value("Path", "expandstring", "C:\\own\\lib;" + had + ";C:\\new"))
    assert not variables(twin, row).changes
    variables(twin, _row(variables={}, state="absent"))
    assert twin.environment()["Path"] == had + ";C:\\new"
    with opened(twin.folder) as machine:
        machine.registry.set(MACHINE_ENVIRONMENT, Value("Path", "expandstring", had))
    assert _state(twin) == before


def test_a_list_of_a_service_goes_on_with_the_machines_which_it_would_hide(twin: WindowsTwin) -> None:
    twin.add_service("Confserv", environment={"Mode": "x"})
    before = _state(twin)
    row = _service(variables={"Path": "C:\\own\\lib"})
    variables(twin, row)
    assert _lines(twin) == ["Mode=x", "PATH=C:\\own\\lib;C:\\Windows\\system32;C:\\Windows"]
    assert not variables(twin, row).changes
    with opened(twin.folder) as machine:
        machine.registry.set(MACHINE_ENVIRONMENT, Value("Path", "string", "C:\\Windows\\system32;C:\\tools"))
    variables(twin, row)
    assert _lines(twin) == ["Mode=x", "PATH=C:\\own\\lib;C:\\Windows\\system32;C:\\tools"]
    with opened(twin.folder) as machine:
        machine.registry.set(MACHINE_ENVIRONMENT, Value("Path", "expandstring", "%SystemRoot%\\system32;%SystemRoot%"))
    variables(twin, _service(state="absent"))
    assert _state(twin) == before


def test_a_value_of_a_service_comes_back_where_it_stood(twin: WindowsTwin) -> None:
    twin.add_service("Confserv", environment={"Ssl_Cert_File": "C:\\own.pem", "Mode": "x"})
    before = _state(twin)
    variables(twin, _service())
    assert _lines(twin) == ["Ssl_Cert_File=" + TRUST["SSL_CERT_FILE"], "Mode=x"]
    variables(twin, _service(state="absent"))
    assert _state(twin) == before


def test_two_instances_share_a_place_and_none_takes_the_others_out(twin: WindowsTwin) -> None:
    twin.add_service("Confserv")
    before = _state(twin)
    other = _service("b@win1", variables={"NODE_OPTIONS": "--use-openssl-ca"})
    variables(twin, _service(), other)
    assert _lines(twin) == ["SSL_CERT_FILE=" + TRUST["SSL_CERT_FILE"], "NODE_OPTIONS=--use-openssl-ca"]
    assert not variables(twin, _service(), other).changes
    with pytest.raises(TlsError, match="SSL_CERT_FILE of this service is a@win1's"):
        variables(twin, _service("b@win1"))
    variables(twin, _service(state="absent"))
    assert _lines(twin) == ["NODE_OPTIONS=--use-openssl-ca"]
    variables(twin, _service("b@win1", state="absent"))
    assert _state(twin) == before


def test_a_run_that_was_killed_between_note_and_value_is_completed_and_taken_back(twin: WindowsTwin) -> None:
    twin.add_service("Confserv")
    before = _state(twin)
    variables(twin, _service())
    whole = _lines(twin)
    with opened(twin.folder) as machine:
        machine.registry.unset(machine.services.key("Confserv"), "Environment")
    variables(twin, _service())
    assert _lines(twin) == whole
    with opened(twin.folder) as machine:
        machine.registry.unset(machine.services.key("Confserv"), "Environment")
    variables(twin, _service(state="absent"))
    assert _state(twin) == before


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (_row(target="unit"), "target is 'unit'; it is one of machine, service on windows"),
        (_row(target="service", unit="No"), "there is no service No"),
        (_row(target="service", unit="a\\b"), "unit is 'a\\\\\\\\b'; for target service"),
        (_row(path="C:\\x"), "variables lie in the registry on Windows; leave path out"),
        (_row(variables={"A": "1", "a": "2"}), "a is given twice, for names have no case on Windows"),
        (_row(variables={"A": "1\n2"}), "the value of A holds"),
        (_row(process={"pid_file": "C:\\x"}), "on Windows a process is found by its service"),
        (_row(libraries=["loader_32"]), "library 'loader_32' is not known on windows"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(
    twin: WindowsTwin, row: dict[str, t.Any], words: str
) -> None:
    before = twin.snapshot()
    with pytest.raises(TlsError, match=words):
        variables(twin, row)
    assert twin.snapshot() == before


def test_an_instance_that_is_given_twice_is_refused(twin: WindowsTwin) -> None:
    with pytest.raises(TlsError, match="a@win1 is given twice"):
        variables(twin, _row(), _row())
