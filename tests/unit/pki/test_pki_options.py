# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the task takes, and what it says of a mistake in it."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._material import FORMATS
from ansible_collections.connsec.tls.plugins.plugin_utils._wanted import (
    task_options,
    wanted_authorities,
    wanted_identities,
)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"identitys": []}, "did you mean identities?"),
        ({"identities": {}}, "a list of dictionaries"),
        ({"identities": [{"names": ["a.net"]}]}, "identities[0]: name is missing"),
        ({"identities": [{"name": "a@b"}]}, "identities[0]: names is missing"),
        ({"identities": [{"name": "a@b", "names": ["a.net"], "usage": []}]}, "did you mean usages?"),
        ({"identities": [{"name": "a@b", "names": "a.net"}]}, "identities[0].names: 'a.net' is not a list of text"),
        ({"identities": [{"name": "a@b", "names": ["a.net"], "days": "90"}]}, "is not a number"),
        ({"identities": [{"name": "../../x", "names": ["a.net"]}]}, "../../x"),
        ({"identities": [{"name": "a@b", "names": ["xn--\u00fc.net"]}]}, "xn--"),
        ({"identities": [{"name": "a@b", "names": ["xn--exmple-4nf.net"]}]}, "mixes Cyrillic and Latin letters"),
        ({"identities": [{"name": "a@b", "names": ["xn--bucher-xyd.net"]}]}, "Normalization Form C"),
        ({"identities": [{"name": "a@b", "names": ["xn--ab1-rph.net"]}]}, "mixes digits of several systems"),
        ({"identities": [{"name": "a@b", "names": ["a\u0967b1.net"]}]}, "Devanagari Digit Zero and Digit Zero"),
        ({"identities": [{"name": "a@b", "names": ["*.a.net"]}]}, "a wildcard cannot be dialled"),
        ({"identities": [{"name": "a@b", "names": ["192.0.2.300"]}]}, "192.0.2.300"),
        ({"store": {"pth": "/x"}}, "did you mean path?"),
        (
            {"authorities": [{"name": "a"}, {"name": "b"}], "identities": [{"name": "x", "names": ["a.net"]}]},
            "names no authority, and there are a, b",
        ),
    ],
)
def test_a_mistake_in_the_options_is_named_with_what_would_work(arguments: dict[str, t.Any], says: str) -> None:
    with pytest.raises(TlsError) as error:
        options = task_options(arguments)
        wanted_identities(options["identities"], authorities=wanted_authorities(options["authorities"]))
    assert says in str(error.value)


def test_names_and_addresses_are_taken_as_they_are_dialled() -> None:
    names = ["B\u00fccher.example", "PLAIN.example", "192.0.2.7", "2001:DB8::7", "xn--bcher-kva.example"]
    (identity,) = wanted_identities([{"name": "a@b", "names": names}], authorities=wanted_authorities([]))
    assert identity.names == ("192.0.2.7", "2001:db8::7", "plain.example", "xn--bcher-kva.example")


def test_ansible_doc_shows_the_same_options_that_the_task_takes() -> None:
    from ansible_collections.connsec.tls.plugins.modules import pki
    from ansible_collections.connsec.tls.plugins.plugin_utils import _wanted

    yaml = pytest.importorskip("yaml")
    options = yaml.safe_load(pki.DOCUMENTATION)["options"]
    assert set(options) == set(_wanted.TASK_OPTIONS)
    assert set(options["identities"]["suboptions"]) == set(_wanted.IDENTITY_OPTIONS)
    assert set(options["authorities"]["suboptions"]) == set(_wanted.AUTHORITY_OPTIONS)
    assert set(options["store"]["suboptions"]) == set(_wanted.STORE_OPTIONS)
    assert set(options["identities"]["suboptions"]["formats"]["choices"]) == set(FORMATS)
