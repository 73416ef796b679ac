# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SChannel of a Windows host can negotiate: tables of what the registry says and what follows."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._schannel import (
    SchannelUnknown,
    lacks,
    negotiable,
    read_policy,
    state_of,
    suites_of,
)

GCM_RSA, GCM_EC = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
CBC_RSA, NEWEST = "TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_AES_256_GCM_SHA384"
SUITES = [NEWEST, GCM_RSA, GCM_EC, CBC_RSA, "TLS_RSA_WITH_NULL_SHA256", "TLS_PSK_WITH_AES_256_GCM_SHA384"]
SERVER_2016, SERVER_2019, SERVER_2022, SERVER_2025 = 14393, 17763, 20348, 26100
VERSIONS = ("SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3")

Said = t.Dict[str, t.Tuple[t.Optional[int], t.Optional[int]]]


def shown(build: int = SERVER_2019, said: Said | None = None, **more: t.Any) -> dict[str, t.Any]:
    """Return what the module shows; ``said`` has Enabled and DisabledByDefault of the server's versions."""
    protocols = {
        version: {
            side: {"enabled": None, "disabled_by_default": None}
            if side == "client"
            else dict(zip(("enabled", "disabled_by_default"), (said or {}).get(version, (None, None))))
            for side in ("client", "server")
        }
        for version in VERSIONS
    }
    rest = {"switches": {}, "policy_suites": None, "local_suites": SUITES}
    return {"build": build, "protocols": protocols, **rest, **more}


@pytest.mark.parametrize(
    ("build", "version", "said", "expected"),
    [
        # what Windows has where the registry says nothing
        (SERVER_2016, "SSL 2.0", (None, None), "off"),
        (SERVER_2016, "SSL 3.0", (None, None), "off"),
        (SERVER_2016, "TLS 1.0", (None, None), "on"),
        (SERVER_2019, "TLS 1.2", (None, None), "on"),
        (SERVER_2019, "TLS 1.3", (None, None), "off"),
        (SERVER_2022, "TLS 1.3", (None, None), "on"),
        (SERVER_2022, "TLS 1.0", (None, None), "on"),
        (SERVER_2025, "TLS 1.0", (None, None), "unknown"),
        (SERVER_2025, "TLS 1.2", (None, None), "on"),
        # what the registry makes of it
        (SERVER_2019, "TLS 1.0", (0, None), "off"),
        (SERVER_2019, "TLS 1.0", (0, 0), "off"),
        (SERVER_2019, "TLS 1.0", (1, 1), "by_request"),
        (SERVER_2019, "TLS 1.0", (None, 1), "by_request"),
        (SERVER_2019, "TLS 1.0", (-1, 0), "on"),
        (SERVER_2019, "SSL 3.0", (1, 0), "on"),
        (SERVER_2019, "SSL 3.0", (1, None), "by_request"),
        (SERVER_2019, "SSL 3.0", (None, 0), "off"),
        (SERVER_2025, "TLS 1.0", (1, None), "on"),
        # what a Windows does not have is not to be turned on
        (SERVER_2019, "TLS 1.3", (1, 0), "off"),
        (SERVER_2022, "SSL 2.0", (1, 0), "off"),
    ],
)
def test_a_version_is_on_as_windows_and_its_registry_have_it(
    build: int, version: str, said: tuple[int | None, int | None], expected: str
) -> None:
    policy = read_policy(shown(build, {version: said}))
    assert state_of(policy, version, "server") == expected


def test_sides_are_apart() -> None:
    policy = read_policy(shown(said={"TLS 1.2": (0, 1)}))
    assert (state_of(policy, "TLS 1.2", "server"), state_of(policy, "TLS 1.2", "client")) == ("off", "on")


@pytest.mark.parametrize(
    ("version", "key", "switches", "expected"),
    [
        ("TLS 1.3", "rsa", {}, (NEWEST,)),
        ("TLS 1.3", "ecdsa", {}, (NEWEST,)),
        ("TLS 1.3", "rsa", {"AES 256/256": 0}, ()),
        ("TLS 1.2", "rsa", {}, (GCM_RSA, CBC_RSA)),
        ("TLS 1.2", "ecdsa", {}, (GCM_EC,)),
        ("TLS 1.2", "rsa", {"PKCS": 0}, (GCM_RSA,)),
        ("TLS 1.2", "rsa", {"ECDH": 0}, (CBC_RSA,)),
        ("TLS 1.2", "rsa", {"ECDH": None, "PKCS": 1}, (GCM_RSA, CBC_RSA)),
        ("TLS 1.0", "rsa", {}, (CBC_RSA,)),
        ("TLS 1.0", "ecdsa", {}, ()),
    ],
)
def test_suites_are_those_that_fit_the_version_and_the_key(
    version: str, key: t.Any, switches: dict[str, int | None], expected: tuple[str, ...]
) -> None:
    assert suites_of(read_policy(shown(switches=switches)), version, key) == expected


def test_a_group_policy_takes_the_place_of_the_machines_own_list() -> None:
    policy = read_policy(shown(SERVER_2022, policy_suites="%s_P256, %s" % (GCM_RSA, CBC_RSA)))
    assert policy.suites == (GCM_RSA, CBC_RSA)
    assert negotiable(policy, "server", "rsa") == ("TLS 1.0", "TLS 1.1", "TLS 1.2")


def test_what_asks_by_name_negotiates_more() -> None:
    policy = read_policy(shown(said={"TLS 1.2": (1, 1), "TLS 1.0": (0, 1), "TLS 1.1": (0, 1)}))
    assert negotiable(policy, "server", "rsa") == ()
    assert negotiable(policy, "server", "rsa", asks=["TLS 1.2"]) == ("TLS 1.2",)
    assert lacks(policy, "server", "rsa", asks=["TLS 1.2"]) is None


@pytest.mark.parametrize(
    ("state", "key", "says"),
    [
        (shown(said={"TLS 1.2": (0, 1)}), "rsa", "has TLS 1.2 and TLS 1.3 off for the server"),
        (shown(said={"TLS 1.2": (None, 1)}), "rsa", "only for a server that asks for it by name"),
        (shown(local_suites=[GCM_RSA]), "ecdsa", "have none for TLS 1.2 or later with a key of the sort ECDSA"),
        (shown(), "rsa", None),
        (shown(SERVER_2022, {"TLS 1.2": (0, 1)}), "rsa", None),
        (shown(local_suites=None), "ecdsa", None),
    ],
)
def test_what_lacks_is_said_in_one_sentence(state: dict[str, t.Any], key: t.Any, says: str | None) -> None:
    found = lacks(read_policy(state), "server", key)
    assert found is None if says is None else says in str(found)


def test_a_windows_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(SchannelUnknown, match="build 9600 is older than Server 2016"):
        read_policy(shown(9600))
