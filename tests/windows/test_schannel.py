# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SChannel's policy on a twin: shown, changed, and put back as it was."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible_collections.connsec.tls.plugins.module_utils._core._schannel import lacks, negotiable, read_policy

from . import Failed
from .direct import MODULES, module
from .documentation import assigned
from .machine import opened
from .plays import play
from .registry import Value
from .test_material import bare, spec_of
from .twin import WindowsTwin

SCHANNEL: t.Final = "HKLM:\\SYSTEM\\CurrentControlSet\\Control\\SecurityProviders\\SCHANNEL"
LOCAL: t.Final = "HKLM:\\SYSTEM\\CurrentControlSet\\Control\\Cryptography\\Configuration\\Local\\SSL\\00010002"
SUITES: t.Final = ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_RSA_WITH_AES_128_CBC_SHA"]
OLD_OFF: t.Final = [{"version": "TLS 1.0", "side": side, "state": "off"} for side in ("server", "client")]


@pytest.fixture
def host(twin: WindowsTwin) -> WindowsTwin:
    """A host with the keys that Windows has, where somebody has set a value in a way of their own."""
    with opened(twin.folder) as machine:
        machine.registry.set(LOCAL, Value("Functions", "multistring", SUITES))
        machine.registry.set(SCHANNEL + "\\Protocols\\TLS 1.1\\Server", Value("Enabled", "qword", 1))
        machine.registry.set(SCHANNEL + "\\Ciphers\\RC4 128/128", Value("Enabled", "dword", 0))
        machine.registry.make("HKLM:\\SOFTWARE\\Policies\\Microsoft")
    return twin


def test_the_module_documents_the_options_that_it_takes() -> None:
    documented = yaml.safe_load(assigned(MODULES / "win_schannel.py", "DOCUMENTATION"))["options"]
    assert spec_of(MODULES / "win_schannel.ps1") == bare(documented)


def test_the_policy_is_shown_and_nothing_changes(host: WindowsTwin) -> None:
    before = host.snapshot()
    found = module(host, "win_schannel", {})
    assert found["changed"] is False and found["before"] == [] and host.snapshot() == before
    state = found["state"]
    assert state["local_suites"] == SUITES and state["policy_suites"] is None
    assert state["switches"] == {"RC4 128/128": 0}
    assert state["protocols"]["TLS 1.1"]["server"] == {"enabled": 1, "disabled_by_default": None}
    assert negotiable(read_policy(state), "server", "rsa") == ("TLS 1.0", "TLS 1.1", "TLS 1.2")


def test_what_is_changed_is_put_back_exactly(host: WindowsTwin) -> None:
    before = host.snapshot()
    asked: dict[str, t.Any] = {
        "protocols": [*OLD_OFF, {"version": "TLS 1.1", "side": "server", "state": "by_request"}],
        "suites": ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"],
    }
    told = module(host, "win_schannel", asked, check=True)
    assert told["changed"] is True and host.snapshot() == before
    done = module(host, "win_schannel", asked)
    assert negotiable(read_policy(done["state"]), "server", "rsa") == ("TLS 1.2",)
    assert module(host, "win_schannel", asked)["changed"] is False
    assert [row["kind"] for row in done["before"] if row["name"] == "Enabled"] == ["QWord", None, None]
    back = module(host, "win_schannel", {"restore": done["before"]})
    assert back["changed"] is True and host.snapshot() == before
    assert module(host, "win_schannel", {"restore": done["before"]})["changed"] is False


def test_what_somebody_else_put_beside_it_stays(host: WindowsTwin) -> None:
    done = module(host, "win_schannel", {"protocols": OLD_OFF})
    key = SCHANNEL + "\\Protocols\\TLS 1.0\\Server"
    with opened(host.folder) as machine:
        machine.registry.set(key, Value("Owner", "string", "the bank"))
    module(host, "win_schannel", {"restore": done["before"]})
    registry = host.machine().registry
    assert [each.name for each in registry.values(key)] == ["Owner"]
    assert not registry.has(SCHANNEL + "\\Protocols\\TLS 1.0\\Client")


def test_a_listener_that_would_be_left_with_nothing_is_told(host: WindowsTwin) -> None:
    found = module(host, "win_schannel", {"suites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]})
    assert lacks(read_policy(found["state"]), "server", "rsa") is not None
    assert lacks(read_policy(found["state"]), "server", "ecdsa") is None


def test_a_key_that_is_not_schannels_is_refused(host: WindowsTwin) -> None:
    before = host.snapshot()
    row = {"key": "SOFTWARE\\Elsewhere", "name": "a", "kind": "String", "data": "b", "made": None}
    with pytest.raises(Failed, match=r"SOFTWARE\\Elsewhere is no key of SChannel's policy"):
        module(host, "win_schannel", {"restore": [row]})
    assert host.snapshot() == before


def test_a_play_changes_and_puts_back_in_one_round_trip_each(host: WindowsTwin) -> None:
    before = host.snapshot()
    change = {"connsec.tls.win_schannel": {"protocols": OLD_OFF}, "register": "policy"}
    back = {"connsec.tls.win_schannel": {"restore": "{{ policy.before }}"}}
    run = play([host], [change, back])
    assert run.code == 0 and run.changed == [True, True] and host.trips == 2, run.text
    assert host.snapshot() == before and host.refusals == []
    assert play([host], [change], "--check").changed == [True]
    assert host.violations == [] and host.snapshot() == before
